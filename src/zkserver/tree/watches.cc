#include "zkserver/tree/watches.h"

#include "zkserver/tree/path.h"

namespace weir::zkserver {

std::uint8_t WatchTable::modes(std::string_view path, ConnId conn) const {
  const auto at = by_path_.find(path);
  if (at == by_path_.end()) return watch_mode::none;
  const auto mode = at->second.find(conn);
  return mode == at->second.end() ? watch_mode::none : mode->second;
}

void WatchTable::set(std::string_view path, ConnId conn, std::uint8_t modes_now) {
  const auto before = modes(path, conn);
  if (before == modes_now) return;
  if ((before & watch_mode::recursive) != 0) --recursive_;
  if ((modes_now & watch_mode::recursive) != 0) ++recursive_;
  if (modes_now != watch_mode::none) {
    by_path_[std::string(path)][conn] = modes_now;
    if (before == watch_mode::none) {
      auto& own = by_conn_[conn];
      own.paths.emplace(path);
      own.bytes += path.size();
      ++watches_;
    }
    return;
  }
  --watches_;
  const auto own = by_conn_.find(conn);
  const auto at = by_path_.find(path);
  at->second.erase(conn);
  if (at->second.empty()) by_path_.erase(at);
  own->second.bytes -= path.size();
  // Last: `path` may be a view of this very string.
  own->second.paths.erase(own->second.paths.find(path));
  if (own->second.paths.empty()) by_conn_.erase(own);
}

void WatchTable::remove(ConnId conn) {
  while (true) {
    const auto own = by_conn_.find(conn);
    if (own == by_conn_.end()) return;
    set(*own->second.paths.begin(), conn, watch_mode::none);
  }
}

std::vector<WatchTable::Hit> WatchTable::hits(std::string_view path) const {
  std::vector<Hit> out;
  if (const auto at = by_path_.find(path); at != by_path_.end()) {
    for (const auto& [conn, mode] : at->second) {
      out.push_back({conn, at->first, mode, (mode & watch_mode::standard) != 0});
    }
  }
  for (auto above = path; recursive_ > 0 && above != "/";) {
    above = parent_of(above);
    const auto at = by_path_.find(above);
    if (at == by_path_.end()) continue;
    for (const auto& [conn, mode] : at->second) {
      if ((mode & watch_mode::recursive) != 0) out.push_back({conn, at->first, mode, false});
    }
  }
  return out;
}

const WatchTable::Own& WatchTable::of(ConnId conn) const {
  static const Own none;
  const auto own = by_conn_.find(conn);
  return own == by_conn_.end() ? none : own->second;
}

}  // namespace weir::zkserver
