#include "zkclient/native_watches.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "zkclient/hub.h"
#include "zkwire/messages.h"

namespace weir::zkclient {
namespace {

// Well below jute.maxbuffer.
constexpr std::size_t frame_path_bytes_max = 128 * 1024;

std::optional<WatchEvent::Type> type_of(zkwire::EventType type) {
  switch (type) {
    case zkwire::EventType::node_created: return WatchEvent::Type::created;
    case zkwire::EventType::node_deleted: return WatchEvent::Type::deleted;
    case zkwire::EventType::node_data_changed: return WatchEvent::Type::changed;
    case zkwire::EventType::node_children_changed: return WatchEvent::Type::children;
    case zkwire::EventType::none: break;
  }
  return std::nullopt;
}

bool same(const Watch& a, const Watch& b) { return !a.owner_before(b) && !b.owner_before(a); }

}  // namespace

void NativeWatches::arm(Kind kind, const std::string& path, const Watch& watcher, runtime::Shard& shard) {
  auto& here = by_path_[path];
  std::erase_if(here, [](const Armed& one) { return one.watcher.expired(); });
  for (auto& one : here) {
    if ((one.kind == Kind::child) == (kind == Kind::child) && same(one.watcher, watcher)) {
      one.kind = kind;
      return;
    }
  }
  here.push_back({kind, watcher, &shard});
}

void NativeWatches::fire(zkwire::EventType type, const std::string& path) {
  const auto event = type_of(type);
  const auto found = by_path_.find(path);
  if (!event || found == by_path_.end()) return;
  const auto hears = [&](const Armed& one) {
    if (*event == WatchEvent::Type::deleted) return true;
    return (one.kind == Kind::child) == (*event == WatchEvent::Type::children);
  };
  for (const auto& one : found->second) {
    if (hears(one)) tell(*one.shard, one.watcher, WatchEvent{*event, path});
  }
  std::erase_if(found->second, hears);
  if (found->second.empty()) by_path_.erase(found);
}

std::size_t NativeWatches::size() const {
  std::size_t sum = 0;
  for (const auto& [path, all] : by_path_) sum += all.size();
  return sum;
}

std::vector<bytes::Shared> NativeWatches::frames(std::string_view chroot, std::int64_t last_zxid) {
  std::vector<bytes::Shared> out;
  std::vector<std::string> paths;  // what a message's views point into
  zkwire::SetWatches message;
  std::vector<std::pair<Kind, std::size_t>> kinds;
  std::size_t size = 0;
  const auto flush = [&] {
    if (kinds.empty()) return;
    message = {};
    message.relative_zxid = last_zxid;
    for (const auto& [kind, index] : kinds) {
      if (kind == Kind::data) message.data.emplace_back(paths[index]);
      if (kind == Kind::exist) message.exist.emplace_back(paths[index]);
      if (kind == Kind::child) message.child.emplace_back(paths[index]);
    }
    out.push_back(
        zkwire::encode_frame(zkwire::RequestHeader{zkwire::set_watches_xid, zkwire::OpCode::set_watches}, message));
    kinds.clear();
    paths.clear();
    size = 0;
  };
  for (auto at = by_path_.begin(); at != by_path_.end();) {
    std::erase_if(at->second, [](const Armed& one) { return one.watcher.expired(); });
    if (at->second.empty()) {
      at = by_path_.erase(at);
      continue;
    }
    paths.push_back(at->first == "/" && !chroot.empty() ? std::string(chroot) : std::string(chroot) + at->first);
    for (const Kind kind : {Kind::data, Kind::exist, Kind::child}) {
      if (std::ranges::any_of(at->second, [kind](const Armed& one) { return one.kind == kind; })) {
        kinds.emplace_back(kind, paths.size() - 1);
      }
    }
    size += paths.back().size() + 4;
    if (size >= frame_path_bytes_max) flush();
    ++at;
  }
  flush();
  return out;
}

}  // namespace weir::zkclient
