// The requests that change the tree. Each checks first, in ZooKeeper's order, and changes only what it may.
#include <fmt/format.h>

#include <utility>

#include "zkserver/tree/path.h"
#include "zkserver/tree/tree.h"

namespace weir::zkserver {

using zkwire::Code;
using zkwire::CreateMode;
using zkwire::EventType;
using zkwire::OpCode;

namespace {

bool mode_of(std::int32_t flags, CreateMode& mode) {
  if (flags < 0 || flags > static_cast<std::int32_t>(CreateMode::persistent_sequential_with_ttl)) return false;
  mode = static_cast<CreateMode>(flags);
  return true;
}
bool sequential(CreateMode mode) {
  return mode == CreateMode::persistent_sequential || mode == CreateMode::ephemeral_sequential ||
         mode == CreateMode::persistent_sequential_with_ttl;
}
bool ephemeral(CreateMode mode) { return mode == CreateMode::ephemeral || mode == CreateMode::ephemeral_sequential; }
bool with_ttl(CreateMode mode) {
  return mode == CreateMode::persistent_with_ttl || mode == CreateMode::persistent_sequential_with_ttl;
}

bool can_be_named(std::string_view path) { return path.find('/') != path.npos && path.find('\0') == path.npos; }

// The next of a version; -1 is left out, because a client's -1 means "any".
std::expected<std::int32_t, Code> next_version(std::int32_t now, std::int32_t expected) {
  if (expected != -1 && expected != now) return std::unexpected(Code::bad_version);
  const auto next = static_cast<std::int32_t>(static_cast<std::uint32_t>(now) + 1);
  return next == -1 ? 0 : next;
}

}  // namespace

Tree::Zk<std::string> Tree::create(const Caller& caller, OpCode type, std::string_view path, zkwire::Buffer data,
                                   const Acls& acls, std::int32_t flags, std::int64_t ttl_ms, Zxid zxid) {
  CreateMode mode{};
  if (!mode_of(flags, mode)) return std::unexpected(Code::bad_arguments);
  // The time to live comes with its own operation, and with no other.
  if (with_ttl(mode) != (type == OpCode::create_ttl)) return std::unexpected(Code::bad_arguments);
  if (with_ttl(mode) && (ttl_ms <= 0 || ttl_ms > ttl_ms_max)) return std::unexpected(Code::bad_arguments);
  if (!can_be_named(path)) return std::unexpected(Code::bad_arguments);
  auto fixed = fix_acls(acls, ids(caller.conn));
  if (!fixed) return std::unexpected(fixed.error());

  const auto* parent = find(parent_of(path));
  if (parent == nullptr) return std::unexpected(Code::no_node);
  if (!permitted(caller, *parent, zkwire::perm::create)) return std::unexpected(Code::no_auth);
  CreateArgs args;
  args.path = sequential(mode) ? fmt::format("{}{:010d}", path, parent->cversion) : std::string(path);
  if (!valid_path(args.path)) return std::unexpected(Code::bad_arguments);
  if (find(args.path) != nullptr) return std::unexpected(Code::node_exists);
  if (is_ephemeral(parent->owner)) return std::unexpected(Code::no_children_for_ephemerals);

  args.data = data;
  args.acl = share(std::move(*fixed));
  args.now = caller.now;
  if (type == OpCode::create_container || mode == CreateMode::container) {
    args.owner = container_owner;
  } else if (with_ttl(mode)) {
    args.owner = ttl_mask | ttl_ms;
  } else if (ephemeral(mode)) {
    args.owner = caller.session;
  }
  auto made = args.path;
  insert(std::move(args), zxid);
  return made;
}

Tree::Zk<void> Tree::remove(const Caller& caller, std::string_view path, std::int32_t version, Zxid zxid) {
  if (!can_be_named(path) || special_path(path)) return std::unexpected(Code::bad_arguments);
  const auto* parent = find(parent_of(path));
  if (parent == nullptr) return std::unexpected(Code::no_node);
  if (!permitted(caller, *parent, zkwire::perm::remove)) return std::unexpected(Code::no_auth);
  const auto* one = find(path);
  if (one == nullptr) return std::unexpected(Code::no_node);
  if (const auto next = next_version(one->version, version); !next) return std::unexpected(next.error());
  if (!one->children.empty()) return std::unexpected(Code::not_empty);
  erase(std::string(path), zxid);
  return {};
}

Tree::Zk<zkwire::Stat> Tree::set_data(const Caller& caller, const zkwire::SetDataRequest& request, Zxid zxid) {
  if (!valid_path(request.path)) return std::unexpected(Code::bad_arguments);
  auto* one = node(request.path);
  if (one == nullptr) return std::unexpected(Code::no_node);
  if (!permitted(caller, *one, zkwire::perm::write)) return std::unexpected(Code::no_auth);
  const auto next = next_version(one->version, request.version);
  if (!next) return std::unexpected(next.error());

  std::string path(request.path);
  auto before = static_cast<const NodeState&>(*one);
  note(Touch::whole, path, [this, path, kept = std::move(before)]() mutable {
    auto& now = *node(path);
    data_bytes_ += kept.data.size() - now.data.size();
    static_cast<NodeState&>(now) = std::move(kept);
  });
  data_bytes_ -= one->data.size();
  one->null_data = !request.data.has_value();
  one->data = request.data ? bytes::Shared::copy(*request.data) : bytes::Shared();
  data_bytes_ += one->data.size();
  one->mtime = caller.now;
  one->mzxid = zxid;
  one->version = *next;
  triggers_.push_back({EventType::node_data_changed, std::move(path), one->acl, nullptr});
  return one->stat();
}

Tree::Zk<zkwire::Stat> Tree::set_acl(const Caller& caller, const zkwire::SetAclRequest& request, Zxid) {
  if (!valid_path(request.path)) return std::unexpected(Code::bad_arguments);
  auto fixed = fix_acls(request.acl, ids(caller.conn));
  if (!fixed) return std::unexpected(fixed.error());
  auto* one = node(request.path);
  if (one == nullptr) return std::unexpected(Code::no_node);
  if (!permitted(caller, *one, zkwire::perm::admin)) return std::unexpected(Code::no_auth);
  const auto next = next_version(one->aversion, request.version);
  if (!next) return std::unexpected(next.error());

  std::string path(request.path);
  note(Touch::numbers, path, [this, path, acl = one->acl, aversion = one->aversion] {
    auto& now = *node(path);
    now.acl = acl;
    now.aversion = aversion;
  });
  one->acl = share(std::move(*fixed));
  one->aversion = *next;
  return one->stat();
}

Tree::Zk<void> Tree::check(const Caller& caller, const zkwire::PathVersion& request) const {
  if (!valid_path(request.path)) return std::unexpected(Code::bad_arguments);
  const auto one = readable(caller, request.path, zkwire::perm::read);
  if (!one) return std::unexpected(one.error());
  if (const auto next = next_version((*one)->version, request.version); !next) return std::unexpected(next.error());
  return {};
}

// One operation of a multi. Its answer is of the kind that older clients know: whatever creates and tells a Stat
// says create2.
Tree::Zk<zkwire::MultiResult> Tree::apply(const Caller& caller, const zkwire::MultiOp& op, Zxid zxid) {
  zkwire::MultiResult out;
  out.type = op.type;
  if (const auto* c = std::get_if<zkwire::CreateRequest>(&op.request)) {
    auto path = create(caller, op.type, c->path, c->data, c->acl, c->flags, -1, zxid);
    if (!path) return std::unexpected(path.error());
    if (op.type == OpCode::create) {
      out.response = zkwire::CreateResponse{std::move(*path)};
    } else {
      out.type = OpCode::create2;
      const auto stat = find(*path)->stat();
      out.response = zkwire::Create2Response{std::move(*path), stat};
    }
  } else if (const auto* t = std::get_if<zkwire::CreateTtlRequest>(&op.request)) {
    auto path = create(caller, op.type, t->path, t->data, t->acl, t->flags, t->ttl_ms, zxid);
    if (!path) return std::unexpected(path.error());
    out.type = OpCode::create2;
    const auto stat = find(*path)->stat();
    out.response = zkwire::Create2Response{std::move(*path), stat};
  } else if (const auto* p = std::get_if<zkwire::PathVersion>(&op.request)) {
    const auto done = op.type == OpCode::check ? check(caller, *p) : remove(caller, p->path, p->version, zxid);
    if (!done) return std::unexpected(done.error());
  } else if (const auto* s = std::get_if<zkwire::SetDataRequest>(&op.request)) {
    const auto stat = set_data(caller, *s, zxid);
    if (!stat) return std::unexpected(stat.error());
    out.response = zkwire::StatResponse{*stat};
  } else {
    return std::unexpected(Code::bad_arguments);  // a read has no place here
  }
  return out;
}

Answer Tree::multi(const Caller& caller, bytes::Bytes body) {
  const auto ops = zkwire::decode_multi(body);
  if (!ops) return {Code::marshalling_error, {}};
  const auto before = mark();
  const Zxid zxid = zxid_ + 1;
  std::vector<zkwire::MultiResult> results;
  results.reserve(ops->size());
  for (const auto& op : *ops) {
    auto result = apply(caller, op, zxid);
    if (result) {
      results.push_back(std::move(*result));
      continue;
    }
    // All or nothing: those before did not happen, those after were not tried.
    rollback(before);
    const auto failed = results.size();
    results.assign(ops->size(), {OpCode::error, zkwire::ErrorResponse{Code::ok}});
    results[failed].response = zkwire::ErrorResponse{result.error()};
    for (auto i = failed + 1; i < results.size(); ++i) {
      results[i].response = zkwire::ErrorResponse{Code::runtime_inconsistency};
    }
    return {Code::ok, zkwire::encode_multi(results)};
  }
  if (journal_.size() > before.journal) accept(zxid);
  return {Code::ok, zkwire::encode_multi(results)};
}

Answer Tree::handle_write(const Caller& caller, OpCode type, bytes::Bytes body) {
  if (type == OpCode::multi) return multi(caller, body);
  if (type == OpCode::set_acl) {
    const auto request = zkwire::decode<zkwire::SetAclRequest>(body);
    if (!request) return {Code::marshalling_error, {}};
    const auto stat = set_acl(caller, *request, zxid_ + 1);
    if (!stat) return {stat.error(), {}};
    accept(zxid_ + 1);
    return {Code::ok, zkwire::encode(zkwire::StatResponse{*stat})};
  }
  // The others are those that a multi has.
  bytes::Reader in(body);
  zkwire::MultiOp op;
  op.type = type;
  const auto take = [&]<class T>(std::type_identity<T>) {
    auto request = zkwire::decode<T>(in);
    if (request) op.request = std::move(*request);
    return request.has_value();
  };
  const bool decoded = type == OpCode::create_ttl ? take(std::type_identity<zkwire::CreateTtlRequest>())
                       : type == OpCode::remove   ? take(std::type_identity<zkwire::PathVersion>())
                       : type == OpCode::set_data ? take(std::type_identity<zkwire::SetDataRequest>())
                                                  : take(std::type_identity<zkwire::CreateRequest>());
  if (!decoded) return {Code::marshalling_error, {}};
  auto result = apply(caller, op, zxid_ + 1);
  if (!result) return {result.error(), {}};
  accept(zxid_ + 1);
  return std::visit(
      []<class T>(const T& response) -> Answer {
        if constexpr (std::is_same_v<T, std::monostate>) {
          return {};
        } else {
          return {Code::ok, zkwire::encode(response)};
        }
      },
      result->response);
}

}  // namespace weir::zkserver
