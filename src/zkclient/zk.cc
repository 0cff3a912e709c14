#include "zkclient/zk.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace weir::zkclient {

std::string_view name(ZkCode code) {
  switch (code) {
    case ZkCode::ok: return "ok";
    case ZkCode::connection_loss: return "connection_loss";
    case ZkCode::operation_timeout: return "operation_timeout";
    case ZkCode::session_expired: return "session_expired";
    case ZkCode::no_node: return "no_node";
    case ZkCode::node_exists: return "node_exists";
    case ZkCode::bad_version: return "bad_version";
    case ZkCode::not_empty: return "not_empty";
    case ZkCode::no_children_for_ephemerals: return "no_children_for_ephemerals";
    case ZkCode::no_auth: return "no_auth";
    case ZkCode::auth_failed: return "auth_failed";
    case ZkCode::invalid_acl: return "invalid_acl";
    case ZkCode::bad_arguments: return "bad_arguments";
    case ZkCode::rolled_back: return "rolled_back";
    case ZkCode::closed: return "closed";
    case ZkCode::system: return "system";
  }
  return "system";
}

std::string ZkError::text() const { return fmt::format("{}: {}", name(code), path); }

Error to_error(const ZkError& error) {
  switch (error.code) {
    case ZkCode::connection_loss:
    case ZkCode::operation_timeout:
    case ZkCode::session_expired:
    case ZkCode::closed:
      return Error{ErrorCode::REQUEST_TIMED_OUT, "the coordination service could not be reached: " + error.text()};
    case ZkCode::ok:
    case ZkCode::no_node:
    case ZkCode::node_exists:
    case ZkCode::bad_version:
    case ZkCode::not_empty:
    case ZkCode::no_children_for_ephemerals:
    case ZkCode::no_auth:
    case ZkCode::auth_failed:
    case ZkCode::invalid_acl:
    case ZkCode::bad_arguments:
    case ZkCode::rolled_back:
    case ZkCode::system: break;
  }
  return Error{ErrorCode::UNKNOWN_SERVER_ERROR, "the coordination service answered " + error.text()};
}

Op Op::check(std::string path, std::int32_t version) {
  Op op;
  op.path = std::move(path);
  op.version = version;
  return op;
}
Op Op::create(std::string path, std::string data, CreateMode mode, Acl acl) {
  Op op;
  op.kind = Kind::create;
  op.path = std::move(path);
  op.data = std::move(data);
  op.mode = mode;
  op.acl = acl;
  return op;
}
Op Op::set(std::string path, std::string data, std::int32_t version) {
  Op op;
  op.kind = Kind::set;
  op.path = std::move(path);
  op.data = std::move(data);
  op.version = version;
  return op;
}
Op Op::remove(std::string path, std::int32_t version) {
  Op op;
  op.kind = Kind::remove;
  op.path = std::move(path);
  op.version = version;
  return op;
}

namespace {

std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos || slash == 0 ? std::string("/") : path.substr(0, slash);
}

}  // namespace

Task<ZkResult<>> ensure(Zk& zk, std::string path) {
  // From the node upwards until something is there, then down again; nodes removed meanwhile are made again.
  std::vector<std::string> missing{path};
  int tries = 0;
  while (!missing.empty()) {
    auto made = co_await zk.create(missing.back(), "", CreateMode::persistent, Acl::open);
    if (made || made.error().code == ZkCode::node_exists) {
      missing.pop_back();
    } else if (made.error().code == ZkCode::no_node && missing.back() != "/" && ++tries < 1000) {
      missing.push_back(parent_of(missing.back()));
    } else {
      co_return std::unexpected(made.error());
    }
  }
  co_return ZkResult<>();
}

Task<ZkResult<std::string>> create_with_parents(Zk& zk, std::string path, std::string data, CreateMode mode, Acl acl) {
  for (int tries = 0;; ++tries) {
    auto made = co_await zk.create(path, data, mode, acl);
    if (made || made.error().code != ZkCode::no_node || tries == 3) co_return made;
    auto parent = parent_of(path);
    auto there = co_await ensure(zk, std::move(parent));
    if (!there) co_return std::unexpected(there.error());
  }
}

Task<ZkResult<>> remove_tree(Zk& zk, std::string path) {
  std::vector<std::string> left{path};
  while (!left.empty()) {
    const std::string at = left.back();
    auto removed = co_await zk.remove(at, any_version);
    if (removed || removed.error().code == ZkCode::no_node) {
      left.pop_back();
      continue;
    }
    if (removed.error().code != ZkCode::not_empty) co_return std::unexpected(removed.error());
    auto names = co_await zk.children(at, Watch{});
    if (!names && names.error().code != ZkCode::no_node) co_return std::unexpected(names.error());
    if (!names) continue;
    for (const auto& child : *names) left.push_back(at == "/" ? "/" + child : at + "/" + child);
  }
  co_return ZkResult<>();
}

}  // namespace weir::zkclient
