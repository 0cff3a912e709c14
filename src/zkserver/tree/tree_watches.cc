// Watches: setting them, and telling them. They belong to a connection; a client that reconnects brings its own
// (setWatches), with the last zxid it saw.
#include <utility>

#include "zkserver/tree/path.h"
#include "zkserver/tree/tree.h"

namespace weir::zkserver {

using zkwire::Code;
using zkwire::EventType;
using zkwire::OpCode;
using zkwire::WatcherType;

void Tree::set_modes(WatchTable& table, std::string_view path, ConnId conn, std::uint8_t modes) {
  const auto before = table.modes(path, conn);
  if (before == modes) return;
  note(Touch::nothing, {}, [this, &table, kept = std::string(path), conn, before] {
    if (connections_.contains(conn)) table.set(kept, conn, before);
  });
  table.set(path, conn, modes);
}

Tree::Zk<void> Tree::watch(WatchTable& table, std::string_view path, ConnId conn, std::uint8_t mode) {
  const auto before = table.modes(path, conn);
  const auto& data = data_watches_.of(conn);
  const auto& child = child_watches_.of(conn);
  if (before == watch_mode::none && (data.paths.size() + child.paths.size() >= watches_per_connection_max_ ||
                                     data.bytes + child.bytes + path.size() > watch_bytes_per_connection_max)) {
    return std::unexpected(Code::throttled_op);
  }
  set_modes(table, path, conn, before | mode);
  return {};
}

std::set<ConnId> Tree::fire(WatchTable& table, EventType type, const std::string& path, const AclRef& acl,
                            const std::set<ConnId>& told) {
  std::set<ConnId> all;
  std::vector<std::pair<ConnId, std::uint8_t>> spent;
  for (const auto& hit : table.hits(path)) {
    if (hit.spent) spent.emplace_back(hit.conn, hit.modes & ~watch_mode::standard);
    if (!all.insert(hit.conn).second || told.contains(hit.conn)) continue;
    // An event must not tell of a node that its watcher may not read.
    if (!acl || zkserver::permitted(*acl, zkwire::perm::read, ids(hit.conn))) {
      events_.push_back({hit.conn, type, path});
    }
  }
  for (const auto& [conn, modes] : spent) set_modes(table, path, conn, modes);
  return all;
}

void Tree::fire(const Trigger& trigger) {
  const std::string above(parent_of(trigger.path));
  const auto told = fire(data_watches_, trigger.type, trigger.path, trigger.acl, {});
  if (trigger.type == EventType::node_data_changed) return;
  if (trigger.type == EventType::node_deleted) {
    fire(child_watches_, EventType::node_deleted, trigger.path, trigger.acl, told);
  }
  fire(child_watches_, EventType::node_children_changed, above, trigger.parent_acl, {});
}

Answer Tree::set_watches(const Caller& caller, const zkwire::SetWatches2& request) {
  const auto tell = [&](EventType type, std::string_view path) {
    events_.push_back({caller.conn, type, std::string(path)});
  };
  bool room = true;
  const auto keep = [&](WatchTable& table, std::string_view path, std::uint8_t mode) {
    room = room && watch(table, path, caller.conn, mode).has_value();
  };
  for (const auto path : request.data) {
    const auto* one = find(path);
    if (one == nullptr) {
      tell(EventType::node_deleted, path);
    } else if (one->mzxid > request.relative_zxid) {
      tell(EventType::node_data_changed, path);
    } else {
      keep(data_watches_, path, watch_mode::standard);
    }
  }
  for (const auto path : request.exist) {
    if (find(path) != nullptr) {
      tell(EventType::node_created, path);
    } else {
      keep(data_watches_, path, watch_mode::standard);
    }
  }
  for (const auto path : request.child) {
    const auto* one = find(path);
    if (one == nullptr) {
      tell(EventType::node_deleted, path);
    } else if (one->pzxid > request.relative_zxid) {
      tell(EventType::node_children_changed, path);
    } else {
      keep(child_watches_, path, watch_mode::standard);
    }
  }
  for (const auto path : request.persistent) {
    keep(child_watches_, path, watch_mode::persistent);
    keep(data_watches_, path, watch_mode::persistent);
  }
  for (const auto path : request.persistent_recursive) keep(data_watches_, path, watch_mode::recursive);
  return {room ? Code::ok : Code::throttled_op, {}};
}

Tree::Zk<void> Tree::add_watch(const Caller& caller, const zkwire::AddWatchRequest& request) {
  if (!valid_path(request.path)) return std::unexpected(Code::bad_arguments);
  if (request.mode == zkwire::AddWatchMode::persistent_recursive) {
    return watch(data_watches_, request.path, caller.conn, watch_mode::recursive);
  }
  if (request.mode != zkwire::AddWatchMode::persistent) return std::unexpected(Code::bad_arguments);
  const auto data = watch(data_watches_, request.path, caller.conn, watch_mode::persistent);
  if (!data) return data;
  return watch(child_watches_, request.path, caller.conn, watch_mode::persistent);
}

Tree::Zk<void> Tree::change_watches(const Caller& caller, const zkwire::WatchesRequest& request, bool remove) {
  std::uint8_t in_data = watch_mode::none;
  std::uint8_t in_child = watch_mode::none;
  switch (request.type) {
    case WatcherType::children: in_child = watch_mode::standard; break;
    case WatcherType::data: in_data = watch_mode::standard; break;
    case WatcherType::any: in_data = in_child = watch_mode::any; break;
    case WatcherType::persistent: in_data = in_child = watch_mode::persistent; break;
    case WatcherType::persistent_recursive: in_data = watch_mode::recursive; break;
    default: return std::unexpected(Code::marshalling_error);  // a number that is no type
  }
  const auto data = data_watches_.modes(request.path, caller.conn);
  const auto child = child_watches_.modes(request.path, caller.conn);
  if ((data & in_data) == 0 && (child & in_child) == 0) return std::unexpected(Code::no_watcher);
  if (remove) {
    set_modes(data_watches_, request.path, caller.conn, data & ~in_data);
    set_modes(child_watches_, request.path, caller.conn, child & ~in_child);
  }
  return {};
}

Answer Tree::handle_watch(const Caller& caller, OpCode type, bytes::Bytes body) {
  if (type == OpCode::set_watches2) {
    const auto request = zkwire::decode<zkwire::SetWatches2>(body);
    return request ? set_watches(caller, *request) : Answer{Code::marshalling_error, {}};
  }
  if (type == OpCode::set_watches) {
    auto old = zkwire::decode<zkwire::SetWatches>(body);
    if (!old) return {Code::marshalling_error, {}};
    zkwire::SetWatches2 request;
    request.relative_zxid = old->relative_zxid;
    request.data = std::move(old->data);
    request.exist = std::move(old->exist);
    request.child = std::move(old->child);
    return set_watches(caller, request);
  }
  if (type == OpCode::add_watch) {
    const auto request = zkwire::decode<zkwire::AddWatchRequest>(body);
    if (!request) return {Code::marshalling_error, {}};
    const auto done = add_watch(caller, *request);
    if (!done) return {done.error(), {}};
    return {Code::ok, zkwire::encode(zkwire::ErrorResponse{Code::ok})};
  }
  const auto request = zkwire::decode<zkwire::WatchesRequest>(body);
  if (!request) return {Code::marshalling_error, {}};
  const auto done = change_watches(caller, *request, type == OpCode::remove_watches);
  return {done ? Code::ok : done.error(), {}};
}

}  // namespace weir::zkserver
