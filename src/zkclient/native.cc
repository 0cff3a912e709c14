#include "zkclient/native.h"

#include <fmt/format.h>

#include <utility>

#include "zkclient/hub.h"
#include "zkclient/native_session.h"
#include "zkwire/messages.h"

namespace weir::zkclient {
namespace {

using zkwire::OpCode;
using Wish = NativeSession::Wish;

Stat stat_of(const zkwire::Stat& from) {
  Stat to;
  to.czxid = from.czxid;
  to.mzxid = from.mzxid;
  to.pzxid = from.pzxid;
  to.ctime_ms = from.ctime;
  to.mtime_ms = from.mtime;
  to.version = from.version;
  to.cversion = from.cversion;
  to.aversion = from.aversion;
  to.ephemeral_owner = from.ephemeral_owner;
  to.data_length = from.data_length;
  to.num_children = from.num_children;
  return to;
}

std::vector<zkwire::Acl> acl_of(Acl acl) {
  const zkwire::Acl everything{zkwire::perm::all, {"world", "anyone"}};
  const zkwire::Acl creator{zkwire::perm::all, {"auth", ""}};
  const zkwire::Acl read{zkwire::perm::read, {"world", "anyone"}};
  switch (acl) {
    case Acl::open: return {everything};
    case Acl::creator: return {creator};
    case Acl::creator_all_read: return {creator, read};
  }
  return {everything};
}

zkwire::CreateMode mode_of(CreateMode mode) {
  switch (mode) {
    case CreateMode::persistent: return zkwire::CreateMode::persistent;
    case CreateMode::ephemeral: return zkwire::CreateMode::ephemeral;
    case CreateMode::persistent_sequential: return zkwire::CreateMode::persistent_sequential;
    case CreateMode::ephemeral_sequential: return zkwire::CreateMode::ephemeral_sequential;
  }
  return zkwire::CreateMode::persistent;
}

// An empty node is written as one without data, as Kafka does.
zkwire::Buffer buffer_of(const std::string& data) {
  return data.empty() ? zkwire::Buffer() : zkwire::Buffer(bytes::as_bytes(data));
}

// As the server would say, which sees a path only behind the chroot.
bool good_path(std::string_view path, bool sequential) {
  if (!path.starts_with('/')) return false;
  if (path == "/") return true;
  if (path.ends_with('/') && !sequential) return false;
  for (std::size_t at = 1; at <= path.size();) {
    const auto end = std::min(path.find('/', at), path.size());
    const auto part = path.substr(at, end - at);
    const bool last = end == path.size();
    if ((part.empty() && !(last && sequential)) || part == "." || part == "..") return false;
    at = end + 1;
  }
  for (const char c : path) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
  }
  return true;
}

zkwire::CreateRequest create_request(const std::string& full, const std::string& data, CreateMode mode, Acl acl) {
  zkwire::CreateRequest out;
  out.path = full;
  out.data = buffer_of(data);
  out.acl = acl_of(acl);
  out.flags = static_cast<std::int32_t>(mode_of(mode));
  return out;
}

// For answers that say nothing but that it was done.
auto nothing(const std::string& path) {
  return [path](ZkCode code, bytes::Bytes) -> ZkResult<> {
    if (code != ZkCode::ok) return zk_fail(code, path);
    return {};
  };
}

class NativeZk final : public Zk {
 public:
  explicit NativeZk(std::shared_ptr<NativeSession> session) : session_(std::move(session)) { session_->start(); }

  Task<ZkResult<std::string>> create(std::string path, std::string data, CreateMode mode, Acl acl) override {
    if (path == "/" && !session_->chroot().empty()) co_return co_await create_chroot(acl);
    const bool good =
        good_path(path, mode == CreateMode::persistent_sequential || mode == CreateMode::ephemeral_sequential);
    co_return co_await create_at(session_->full_path(path), good, std::move(data), mode, acl_for(path, acl));
  }

  Task<ZkResult<Data>> get(std::string path, Watch watch) override {
    auto parse = [path](ZkCode code, bytes::Bytes body) -> ZkResult<Data> {
      if (code != ZkCode::ok) return zk_fail(code, path);
      const auto said = zkwire::decode<zkwire::GetDataResponse>(body);
      if (!said) return zk_fail(ZkCode::system, path);
      Data out;
      if (said->data) out.data = bytes::as_text(*said->data);
      out.stat = stat_of(said->stat);
      return out;
    };
    auto body = read_body(path, watch);
    co_return co_await ask<Data>(OpCode::get_data, std::move(path), std::move(body),
                                 wish(Wish::Kind::node, std::move(watch)), std::move(parse));
  }

  Task<ZkResult<Stat>> set(std::string path, std::string data, std::int32_t version) override {
    auto parse = [path](ZkCode code, bytes::Bytes body) -> ZkResult<Stat> {
      if (code != ZkCode::ok) return zk_fail(code, path);
      const auto said = zkwire::decode<zkwire::StatResponse>(body);
      if (!said) return zk_fail(ZkCode::system, path);
      return stat_of(said->stat);
    };
    const auto full = session_->full_path(path);
    zkwire::SetDataRequest request;
    request.path = full;
    request.data = buffer_of(data);
    request.version = version;
    auto body = zkwire::encode(request);
    co_return co_await ask<Stat>(OpCode::set_data, std::move(path), std::move(body), Wish{}, std::move(parse));
  }

  Task<ZkResult<>> remove(std::string path, std::int32_t version) override {
    const auto full = session_->full_path(path);
    zkwire::DeleteRequest request;
    request.path = full;
    request.version = version;
    auto body = zkwire::encode(request);
    auto parse = nothing(path);
    co_return co_await ask<void>(OpCode::remove, std::move(path), std::move(body), Wish{}, std::move(parse));
  }

  Task<ZkResult<std::vector<std::string>>> children(std::string path, Watch watch) override {
    using Names = std::vector<std::string>;
    auto parse = [path](ZkCode code, bytes::Bytes body) -> ZkResult<Names> {
      if (code != ZkCode::ok) return zk_fail(code, path);
      auto said = zkwire::decode<zkwire::PathsResponse>(body);
      if (!said) return zk_fail(ZkCode::system, path);
      return std::move(said->paths);
    };
    auto body = read_body(path, watch);
    co_return co_await ask<Names>(OpCode::get_children, std::move(path), std::move(body),
                                  wish(Wish::Kind::child, std::move(watch)), std::move(parse));
  }

  Task<ZkResult<std::optional<Stat>>> exists(std::string path, Watch watch) override {
    using Found = std::optional<Stat>;
    auto parse = [path](ZkCode code, bytes::Bytes body) -> ZkResult<Found> {
      if (code == ZkCode::no_node) return Found();
      if (code != ZkCode::ok) return zk_fail(code, path);
      const auto said = zkwire::decode<zkwire::StatResponse>(body);
      if (!said) return zk_fail(ZkCode::system, path);
      return Found(stat_of(said->stat));
    };
    auto body = read_body(path, watch);
    co_return co_await ask<Found>(OpCode::exists, std::move(path), std::move(body),
                                  wish(Wish::Kind::node, std::move(watch)), std::move(parse));
  }

  Task<ZkResult<std::vector<OpResult>>> multi(std::vector<Op> ops) override {
    using Results = std::vector<OpResult>;
    std::string first = ops.empty() ? std::string("/") : ops.front().path;
    for (std::size_t i = 0; i < ops.size(); ++i) {
      const bool sequential = ops[i].kind == Op::Kind::create && (ops[i].mode == CreateMode::persistent_sequential ||
                                                                  ops[i].mode == CreateMode::ephemeral_sequential);
      if (!good_path(ops[i].path, sequential)) {
        co_return zk_fail(ZkCode::bad_arguments, ops[i].path, static_cast<int>(i));
      }
    }
    auto body = multi_body(ops);
    auto parse = [this, first, ops = std::move(ops)](ZkCode code, bytes::Bytes answer) {
      return parse_multi(ops, first, code, answer);
    };
    co_return co_await ask<Results>(OpCode::multi, std::move(first), std::move(body), Wish{}, std::move(parse));
  }

  Task<ZkResult<>> sync(std::string path) override {
    const auto full = session_->full_path(path);
    auto body = zkwire::encode(zkwire::PathOnly{full});
    auto parse = nothing(path);
    co_return co_await ask<void>(OpCode::sync, std::move(path), std::move(body), Wish{}, std::move(parse));
  }

  std::int64_t session_id() const override { return session_->session_id(); }
  std::string session_key() const override { return session_->session_key(); }
  State state() const override { return session_->hub().state(); }
  milliseconds session_timeout() const override { return session_->timeout(); }
  void listen(Watch watcher) override { session_->hub().listen(std::move(watcher)); }
  Task<bool> wait_connected(nanoseconds timeout) override { return session_->hub().wait_connected(timeout); }
  Task<void> close() override {
    auto end = [session = session_] { return session->close(); };
    co_await runtime::call(session_->shard(), std::move(end));
  }

 private:
  Acl acl_for(std::string_view path, Acl asked) const {
    const auto& policy = session_->options().acl_of;
    return asked == Acl::open && policy ? policy(path) : asked;
  }
  static Wish wish(Wish::Kind kind, Watch watch) {
    if (watch.expired()) return {};
    return Wish{kind, std::move(watch), runtime::Shard::current()};
  }
  bytes::Shared read_body(const std::string& path, const Watch& watch) const {
    const auto full = session_->full_path(path);
    return zkwire::encode(zkwire::PathWatch{full, !watch.expired()});
  }

  template <class T, class Parse>
  Task<ZkResult<T>> ask(OpCode op, std::string path, bytes::Shared body, Wish wish, Parse parse, bool checked = false) {
    auto begin = [&](const std::shared_ptr<Reply<T>>& reply) {
      if (!checked && !good_path(path, false)) {
        reply->result.emplace(zk_fail(ZkCode::bad_arguments, path));
        return false;
      }
      auto done = [reply, parse = std::move(parse)](ZkCode code, bytes::Bytes answer) mutable {
        complete<T>(reply, parse(code, answer));
      };
      session_->submit(op, std::move(path), std::move(body), std::move(wish), std::move(done));
      return true;
    };
    Asking<T, decltype(begin)> asking{std::make_shared<Reply<T>>(), begin};
    co_return co_await asking;
  }

  Task<ZkResult<std::string>> create_at(std::string full, bool good, std::string data, CreateMode mode, Acl acl) {
    auto own = session_->own_path(full);
    if (!good) co_return zk_fail(ZkCode::bad_arguments, own);
    auto parse = [session = session_, own](ZkCode code, bytes::Bytes body) -> ZkResult<std::string> {
      if (code != ZkCode::ok) return zk_fail(code, own);
      const auto said = zkwire::decode<zkwire::CreateResponse>(body);
      if (!said) return zk_fail(ZkCode::system, own);
      return session->own_path(said->path);
    };
    auto body = zkwire::encode(create_request(full, data, mode, acl));
    co_return co_await ask<std::string>(OpCode::create, std::move(own), std::move(body), Wish{}, std::move(parse),
                                        true);
  }
  // The root as callers see it: made with all above it, which callers cannot name.
  Task<ZkResult<std::string>> create_chroot(Acl acl) {
    const auto& chroot = session_->chroot();
    const auto chosen = acl_for("/", acl);
    for (std::size_t end = chroot.find('/', 1);; end = chroot.find('/', end + 1)) {
      auto made = co_await create_at(chroot.substr(0, end), true, "", CreateMode::persistent, chosen);
      if (end == std::string::npos) {
        if (!made) made.error().path = "/";
        co_return made;
      }
      if (!made && made.error().code != ZkCode::node_exists) co_return made;
    }
  }

  bytes::Shared multi_body(const std::vector<Op>& ops) const {
    std::string out;
    const auto add = [&out](OpCode type, const auto& request) {
      const auto part = zkwire::encode(zkwire::MultiHeader{type, false, -1}, request);
      out += part.text();
    };
    for (const auto& op : ops) {
      const auto full = session_->full_path(op.path);
      switch (op.kind) {
        case Op::Kind::check: add(OpCode::check, zkwire::PathVersion{full, op.version}); break;
        case Op::Kind::create:
          add(OpCode::create, create_request(full, op.data, op.mode, acl_for(op.path, op.acl)));
          break;
        case Op::Kind::set: add(OpCode::set_data, zkwire::SetDataRequest{full, buffer_of(op.data), op.version}); break;
        case Op::Kind::remove: add(OpCode::remove, zkwire::PathVersion{full, op.version}); break;
      }
    }
    out += zkwire::encode(zkwire::multi_end).text();
    return bytes::Shared::copy(std::string_view(out));
  }

  // Of a multi that failed every part has an error: its own, or that another's took it along.
  ZkResult<std::vector<OpResult>> parse_multi(const std::vector<Op>& ops, const std::string& first, ZkCode code,
                                              bytes::Bytes answer) const {
    if (answer.empty()) return zk_fail(code == ZkCode::ok ? ZkCode::system : code, first);
    std::vector<OpResult> out(ops.size());
    bytes::Reader in(answer);
    const auto malformed = [&] { return zk_fail(ZkCode::system, first); };
    for (std::size_t i = 0; i < ops.size(); ++i) {
      const auto header = zkwire::decode<zkwire::MultiHeader>(in);
      if (!header || header->done) return malformed();
      if (header->type == OpCode::error) {
        const auto error = zkwire::decode<zkwire::ErrorResponse>(in);
        if (!error) return malformed();
        if (error->err == zkwire::Code::ok || error->err == zkwire::Code::runtime_inconsistency) continue;
        return zk_fail(native_code(error->err), ops[i].path, static_cast<int>(i));
      }
      if (header->type == OpCode::create) {
        const auto made = zkwire::decode<zkwire::CreateResponse>(in);
        if (!made) return malformed();
        out[i].path = session_->own_path(made->path);
      } else if (header->type == OpCode::set_data) {
        const auto set = zkwire::decode<zkwire::StatResponse>(in);
        if (!set) return malformed();
        out[i].stat = stat_of(set->stat);
      } else if (header->type != OpCode::check && header->type != OpCode::remove) {
        return malformed();
      }
    }
    if (code != ZkCode::ok) return zk_fail(code, first);
    const auto end = zkwire::decode<zkwire::MultiHeader>(in);
    if (!end || !end->done) return malformed();
    return out;
  }

  const std::shared_ptr<NativeSession> session_;
};

}  // namespace

Result<std::unique_ptr<Zk>> connect_native(RealOptions options) {
  auto where = parse_connect_string(options.connect);
  if (!where) return std::unexpected(where.error());
  WEIR_CHECK(runtime::Shard::current() != nullptr, "a session of our own belongs to a shard");
  return std::unique_ptr<Zk>(
      std::make_unique<NativeZk>(std::make_shared<NativeSession>(std::move(options), std::move(*where))));
}

bool end_session_native(const RealOptions& options, std::string_view key, milliseconds timeout) {
  const auto left = SessionKey::parse(key);
  auto where = parse_connect_string(options.connect);
  if (!left || !where) return false;
  bool over = false;
  runtime::Shards shards(1);
  auto work = [&]() -> Task<void> {
    auto session = std::make_shared<NativeSession>(options, std::move(*where));
    session->start_with(*left);
    const bool connected = co_await session->hub().wait_connected(timeout);
    over = connected || session->over();
    co_await session->close();
  };
  runtime::block_on(shards[0], work);
  shards.stop();
  return over;
}

}  // namespace weir::zkclient
