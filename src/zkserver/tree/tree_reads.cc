// The requests that only look, and the way of any request to the function that serves it.
#include <algorithm>
#include <utility>

#include "zkserver/tree/path.h"
#include "zkserver/tree/tree.h"

namespace weir::zkserver {

using zkwire::Code;
using zkwire::OpCode;

namespace {

template <class T>
Answer answer(const std::expected<T, Code>& result) {
  if (!result) return {result.error(), {}};
  return {Code::ok, zkwire::encode(*result)};
}

zkwire::Buffer data_of(const Node& node) {
  return node.null_data ? zkwire::Buffer() : zkwire::Buffer(node.data.view());
}

std::vector<std::string> names(const Node& node) { return {node.children.begin(), node.children.end()}; }

// What somebody who may not administer sees of a digest: the user, not the hash.
Acls masked(Acls acls) {
  for (auto& acl : acls) {
    if (acl.id.scheme == "digest") acl.id.id = acl.id.id.substr(0, acl.id.id.find(':')) + ":x";
  }
  return acls;
}

}  // namespace

Tree::Zk<const Node*> Tree::readable(const Caller& caller, std::string_view path, std::int32_t permissions) const {
  const auto* one = find(path);
  if (one == nullptr) return std::unexpected(Code::no_node);
  if (!permitted(caller, *one, permissions)) return std::unexpected(Code::no_auth);
  return one;
}

Tree::Zk<zkwire::Stat> Tree::exists(const Caller& caller, const zkwire::PathWatch& request) {
  if (request.path.find('\0') != request.path.npos) return std::unexpected(Code::bad_arguments);
  const auto one = readable(caller, request.path, zkwire::perm::read);
  if (!one && one.error() != Code::no_node) return std::unexpected(one.error());
  // The one read that watches what is not there.
  if (request.watch) {
    const auto set = watch(data_watches_, request.path, caller.conn, watch_mode::standard);
    if (!set) return std::unexpected(set.error());
  }
  if (!one) return std::unexpected(one.error());
  return (*one)->stat();
}

Tree::Zk<zkwire::GetDataResponse> Tree::get_data(const Caller& caller, const zkwire::PathWatch& request) {
  const auto one = readable(caller, request.path, zkwire::perm::read);
  if (!one) return std::unexpected(one.error());
  if (request.watch) {
    const auto set = watch(data_watches_, request.path, caller.conn, watch_mode::standard);
    if (!set) return std::unexpected(set.error());
  }
  return zkwire::GetDataResponse{data_of(**one), (*one)->stat()};
}

Tree::Zk<const Node*> Tree::get_children(const Caller& caller, const zkwire::PathWatch& request) {
  const auto one = readable(caller, request.path, zkwire::perm::read);
  if (one && request.watch) {
    const auto set = watch(child_watches_, request.path, caller.conn, watch_mode::standard);
    if (!set) return std::unexpected(set.error());
  }
  return one;
}

Tree::Zk<zkwire::GetAclResponse> Tree::get_acl(const Caller& caller, std::string_view path) const {
  const auto one = readable(caller, path, zkwire::perm::read | zkwire::perm::admin);
  if (!one) return std::unexpected(one.error());
  const bool all = permitted(caller, **one, zkwire::perm::admin);
  return zkwire::GetAclResponse{all ? *(*one)->acl : masked(*(*one)->acl), (*one)->stat()};
}

Answer Tree::multi_read(const Caller& caller, bytes::Bytes body) {
  const auto ops = zkwire::decode_multi(body);
  if (!ops) return {Code::marshalling_error, {}};
  std::vector<zkwire::MultiResult> results;
  results.reserve(ops->size());
  std::size_t bytes = 0;
  for (const auto& op : *ops) {
    const auto* request = std::get_if<zkwire::PathWatch>(&op.request);
    if (request == nullptr) return {Code::marshalling_error, {}};
    auto& result = results.emplace_back();
    const auto fail = [&](Code code) { result.response = zkwire::ErrorResponse{code}; };
    if (op.type == OpCode::get_data) {
      auto got = get_data(caller, {request->path, false});
      if (!got) {
        fail(got.error());
        continue;
      }
      result = {op.type, *got};
      bytes += zkwire::jute::size_of(*got);
    } else {
      const auto got = get_children(caller, {request->path, false});
      if (!got) {
        fail(got.error());
        continue;
      }
      zkwire::PathsResponse response{names(**got)};
      bytes += zkwire::jute::size_of(response);
      result = {op.type, std::move(response)};
    }
    // A small request must not make a huge answer: the same large node, named a thousand times.
    if (bytes > 16 * MiB) return {Code::throttled_op, {}};
  }
  return {Code::ok, zkwire::encode_multi(results)};
}

Answer Tree::handle_read(const Caller& caller, OpCode type, bytes::Bytes body) {
  if (type == OpCode::multi_read) return multi_read(caller, body);
  if (type == OpCode::who_am_i) {
    zkwire::WhoAmIResponse response;
    for (const auto& id : ids(caller.conn)) {
      const auto user = id.scheme == "digest" ? id.id.substr(0, id.id.find(':')) : id.id;
      response.client_info.push_back({id.scheme, user});
    }
    return {Code::ok, zkwire::encode(response)};
  }
  if (type == OpCode::exists || type == OpCode::get_data || type == OpCode::get_children ||
      type == OpCode::get_children2) {
    const auto request = zkwire::decode<zkwire::PathWatch>(body);
    if (!request) return {Code::marshalling_error, {}};
    if (type == OpCode::get_data) return answer(get_data(caller, *request));
    if (type == OpCode::exists) {
      const auto stat = exists(caller, *request);
      if (!stat) return {stat.error(), {}};
      return {Code::ok, zkwire::encode(zkwire::StatResponse{*stat})};
    }
    const auto one = get_children(caller, *request);
    if (!one) return {one.error(), {}};
    if (type == OpCode::get_children) return {Code::ok, zkwire::encode(zkwire::PathsResponse{names(**one)})};
    return {Code::ok, zkwire::encode(zkwire::GetChildren2Response{names(**one), (*one)->stat()})};
  }
  if (type == OpCode::check) {
    const auto request = zkwire::decode<zkwire::PathVersion>(body);
    if (!request) return {Code::marshalling_error, {}};
    const auto done = check(caller, *request);
    if (!done) return {done.error(), {}};
    return {Code::ok, zkwire::encode(zkwire::StatResponse{find(request->path)->stat()})};
  }
  const auto request = zkwire::decode<zkwire::PathOnly>(body);
  if (!request) return {Code::marshalling_error, {}};
  if (type == OpCode::sync) return {Code::ok, zkwire::encode(*request)};
  if (type == OpCode::get_acl) return answer(get_acl(caller, request->path));
  if (type == OpCode::get_ephemerals) {
    zkwire::PathsResponse response;
    if (const auto owned = ephemerals_.find(caller.session); owned != ephemerals_.end()) {
      std::copy_if(owned->second.begin(), owned->second.end(), std::back_inserter(response.paths),
                   [&](const std::string& path) { return path.starts_with(request->path); });
    }
    return {Code::ok, zkwire::encode(response)};
  }
  // getAllChildrenNumber: all below, not only the next.
  const auto one = readable(caller, request->path, zkwire::perm::read);
  if (!one) return {one.error(), {}};
  const std::string below = request->path == "/" ? "/" : std::string(request->path) + "/";
  const auto n = std::count_if(nodes_.begin(), nodes_.end(), [&](const auto& entry) {
    return entry.first.size() > below.size() && entry.first.starts_with(below);
  });
  return {Code::ok, zkwire::encode(zkwire::GetAllChildrenNumberResponse{static_cast<std::int32_t>(n)})};
}

Answer Tree::handle(const Caller& caller, OpCode type, bytes::Bytes body) {
  switch (type) {
    case OpCode::create:
    case OpCode::create2:
    case OpCode::create_container:
    case OpCode::create_ttl:
    case OpCode::remove:
    case OpCode::set_data:
    case OpCode::set_acl:
    case OpCode::multi: return handle_write(caller, type, body);
    case OpCode::exists:
    case OpCode::get_data:
    case OpCode::get_acl:
    case OpCode::get_children:
    case OpCode::get_children2:
    case OpCode::sync:
    case OpCode::check:
    case OpCode::multi_read:
    case OpCode::get_ephemerals:
    case OpCode::get_all_children_number:
    case OpCode::who_am_i: return handle_read(caller, type, body);
    case OpCode::check_watches:
    case OpCode::remove_watches:
    case OpCode::set_watches:
    case OpCode::set_watches2:
    case OpCode::add_watch: return handle_watch(caller, type, body);
    case OpCode::reconfig: return {Code::reconfig_disabled, {}};
    case OpCode::notification:
    case OpCode::ping:
    case OpCode::delete_container:
    case OpCode::auth:
    case OpCode::sasl:
    case OpCode::create_session:
    case OpCode::close_session:
    case OpCode::error: break;
  }
  return {Code::unimplemented, {}};
}

}  // namespace weir::zkserver
