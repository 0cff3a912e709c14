#include "zkclient/native_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "base/zk_connect.h"
#include "net/tls.h"
#include "runtime/random.h"
#include "zkclient/digest_md5.h"

namespace weir::zkclient {
namespace {

using namespace std::chrono_literals;
using zkwire::Code;
using zkwire::OpCode;

constexpr std::uint32_t answer_bytes_max = 64 * 1024 * 1024;       // the names of a million topics
constexpr std::uint64_t queued_bytes_max = 1024ULL * 1024 * 1024;  // our own calls
constexpr auto round_pause = 1s;                                   // after every server was tried in vain
constexpr auto steady_after = 1s;                                  // a connection that lived so long was a good one
constexpr auto goodbye_max = 3s;
constexpr milliseconds connect_least = 200ms;
constexpr milliseconds connect_most = 5s;
constexpr auto log_interval = 10s;

std::string fresh_nonce() {
  std::array<std::byte, 20> chance{};
  runtime::system_random().fill(chance);
  std::string out;
  for (const auto b : chance) out += fmt::format("{:02x}", static_cast<unsigned>(b));
  return out;
}

}  // namespace

ZkCode native_code(Code code) {
  switch (code) {
    case Code::ok: return ZkCode::ok;
    case Code::connection_loss:
    case Code::throttled_op:
    case Code::not_read_only: return ZkCode::connection_loss;
    case Code::operation_timeout:
    case Code::request_timeout: return ZkCode::operation_timeout;
    case Code::session_expired:
    case Code::session_moved: return ZkCode::session_expired;
    case Code::no_node: return ZkCode::no_node;
    case Code::node_exists: return ZkCode::node_exists;
    case Code::bad_version: return ZkCode::bad_version;
    case Code::not_empty: return ZkCode::not_empty;
    case Code::no_children_for_ephemerals: return ZkCode::no_children_for_ephemerals;
    case Code::no_auth: return ZkCode::no_auth;
    case Code::auth_failed:
    case Code::session_closed_require_sasl_auth: return ZkCode::auth_failed;
    case Code::invalid_acl: return ZkCode::invalid_acl;
    case Code::bad_arguments: return ZkCode::bad_arguments;
    case Code::runtime_inconsistency: return ZkCode::rolled_back;
    case Code::system_error:
    case Code::data_inconsistency:
    case Code::marshalling_error:
    case Code::unimplemented:
    case Code::invalid_callback:
    case Code::no_watcher:
    case Code::reconfig_disabled:
    case Code::quota_exceeded: break;
  }
  WEIR_LOG_LIMITED(warn, log_interval, "ZooKeeper answered {} ({})", static_cast<int>(code), zkwire::name(code));
  return ZkCode::system;
}

Result<ConnectString> parse_connect_string(std::string_view text) {
  auto parsed = parse_zk_connect(text);
  if (!parsed) return fail(ErrorCode::INVALID_CONFIG, fmt::format("zookeeper.connect={}: {}", text, parsed.error()));
  ConnectString out;
  out.chroot = std::move(parsed->chroot);
  for (auto& server : parsed->servers) out.servers.push_back({std::move(server.host), server.port});
  return out;
}

std::string SessionKey::text() const {
  std::string out = fmt::format("{:x}:", static_cast<std::uint64_t>(id));
  for (const auto b : password) out += fmt::format("{:02x}", static_cast<unsigned>(b));
  return out;
}

std::optional<SessionKey> SessionKey::parse(std::string_view text) {
  SessionKey out;
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || text.size() - colon - 1 != 2 * out.password.size()) return std::nullopt;
  std::uint64_t number = 0;
  const auto id_end = std::from_chars(text.data(), text.data() + colon, number, 16);
  if (id_end.ec != std::errc() || id_end.ptr != text.data() + colon || number == 0) return std::nullopt;
  out.id = static_cast<std::int64_t>(number);
  for (std::size_t i = 0; i < out.password.size(); ++i) {
    const char* at = text.data() + colon + 1 + 2 * i;
    unsigned byte = 0;
    const auto end = std::from_chars(at, at + 2, byte, 16);
    if (end.ec != std::errc() || end.ptr != at + 2) return std::nullopt;
    out.password[i] = static_cast<std::byte>(byte);
  }
  return out;
}

NativeSession::NativeSession(RealOptions options, ConnectString where)
    : options_(std::move(options)),
      where_(std::move(where)),
      home_(*runtime::Shard::current()),
      sockets_(options_.sockets != nullptr ? *options_.sockets : runtime::system_sockets()),
      scope_(home_),
      pause_(home_) {
  // Every client its own order, so that the servers share the load.
  for (std::size_t i = where_.servers.size(); i > 1; --i) {
    std::swap(where_.servers[i - 1], where_.servers[runtime::system_random().below(i)]);
  }
}

NativeSession::~NativeSession() { WEIR_CHECK(scope_.running() == 0, "a session is closed before it goes"); }

void NativeSession::start() { scope_.spawn(run()); }

void NativeSession::start_with(const SessionKey& key) {
  resume_ = key;
  only_this_session_ = true;
  start();
}

std::string NativeSession::session_key() const {
  const std::lock_guard lock(key_mutex_);
  return key_;
}

std::string NativeSession::full_path(std::string_view path) const {
  if (path == "/" && !where_.chroot.empty()) return where_.chroot;
  return where_.chroot + std::string(path);
}

std::string NativeSession::own_path(std::string_view full) const {
  if (!where_.chroot.empty() && full.starts_with(where_.chroot)) full.remove_prefix(where_.chroot.size());
  return full.empty() ? std::string("/") : std::string(full);
}

milliseconds NativeSession::connect_max() const {
  const auto share = options_.session_timeout / static_cast<int>(where_.servers.size());
  return std::clamp<milliseconds>(share, connect_least, connect_most);
}

// --- calls ------------------------------------------------------------------------------------------------------

void NativeSession::submit(OpCode op, std::string path, bytes::Shared body, Wish wish, Done done) {
  Call call;
  call.op = op;
  call.path = std::move(path);
  call.body = std::move(body);
  call.wish = std::move(wish);
  call.done = std::move(done);
  if (home_.here()) {
    enqueue(std::move(call));
    return;
  }
  home_.post([self = shared_from_this(), call = std::move(call)]() mutable { self->enqueue(std::move(call)); });
}

void NativeSession::enqueue(Call call) {
  if (stopping_) {
    call.done(ZkCode::closed, {});
  } else if (refused_) {
    call.done(ZkCode::auth_failed, {});
  } else if (phase_ == Phase::live) {
    send(std::move(call));
  } else {
    waiting_.push_back(std::move(call));
  }
}

std::int32_t NativeSession::next_xid() {
  last_xid_ = last_xid_ == INT32_MAX ? 1 : last_xid_ + 1;
  return last_xid_;
}

void NativeSession::send(Call call) {
  call.xid = next_xid();
  auto frame = bytes::Shared::allocate(12 + call.body.size());
  bytes::Writer out(frame.mutable_view());
  out.i32(static_cast<std::int32_t>(8 + call.body.size()));
  out.i32(call.xid);
  out.i32(static_cast<std::int32_t>(call.op));
  out.put(call.body.view());
  call.body = {};
  in_flight_.push_back(std::move(call));
  last_sent_ = home_.clock().mono();
  connection_->send(std::move(frame));
}

void NativeSession::end_calls(ZkCode code) {
  auto sent = std::exchange(in_flight_, {});
  auto queued = std::exchange(waiting_, {});
  for (auto& call : sent) call.done(code, {});
  for (auto& call : queued) call.done(code, {});
}

// --- the way of a session -----------------------------------------------------------------------------------------

Task<void> NativeSession::run() {
  std::size_t in_vain = 0;
  while (!stopping_ && !refused_ && !over_) {
    const auto at = where_.servers[next_server_++ % where_.servers.size()];
    const auto begun = home_.clock().mono();
    co_await serve(at);
    if (stopping_ || refused_ || over_) break;
    in_vain = home_.clock().mono() - begun >= steady_after && last_heard_ >= begun ? 0 : in_vain + 1;
    if (in_vain >= where_.servers.size()) {
      in_vain = 0;
      (void)co_await pause_.wait(round_pause);
    }
  }
  end_calls(refused_ && !stopping_ ? ZkCode::auth_failed : ZkCode::closed);
  if (over_) hub_.close();
}

Task<void> NativeSession::close() {
  if (!std::exchange(stopping_, true)) {
    if (phase_ == Phase::live) {
      Call goodbye;
      goodbye.op = OpCode::close_session;
      goodbye.done = [this](ZkCode, bytes::Bytes) {
        if (connection_) connection_->close("the session is closed");
      };
      send(std::move(goodbye));
      arm_deadline(goodbye_max);
    } else if (dialing_ != nullptr) {
      dialing_->close();
    } else if (connection_) {
      connection_->close("the session is closed");
    }
    pause_.wake();
  }
  co_await scope_.stop();
  if (!std::exchange(stopped_, true)) {
    disarm(deadline_);
    watches_.clear();
    hub_.close();
  }
}

// One connection, from the dialling to its end.
Task<void> NativeSession::serve(runtime::Address at) {
  phase_ = Phase::dialing;
  auto transport = co_await dial(at);
  if (transport && !stopping_) {
    phase_ = Phase::entering;
    net::ConnectionOptions options;
    options.frame_bytes_max = answer_bytes_max;
    options.queued_push_bytes_max = queued_bytes_max;
    options.protocol = "ZooKeeper";
    connection_ = net::Connection::make(home_, std::move(transport), options, ++connections_, "zookeeper");
    if (co_await enter(at)) co_await read();
    disarm(tick_);
    connection_->close();
    co_await connection_->finish();
    connection_.reset();
  }
  disarm(deadline_);
  const bool was_live = std::exchange(phase_, Phase::away) == Phase::live;
  if (stopping_) co_return;
  end_calls(refused_ ? ZkCode::auth_failed : ZkCode::connection_loss);
  if (was_live && !refused_ && hub_.state() == State::connected) {
    WEIR_LOG(info, "ZooKeeper session 0x{:x} lost its connection to {}", static_cast<std::uint64_t>(resume_.id),
             at.text());
    hub_.change(State::connecting, SessionEvent::disconnected);
  }
}

Task<std::unique_ptr<net::Transport>> NativeSession::dial(runtime::Address at) {
  runtime::SocketOptions options;
  options.connect_max = connect_max();
  auto socket = co_await sockets_.connect(home_, at, options);
  if (!socket) {
    WEIR_LOG_LIMITED(warn, log_interval, "cannot reach ZooKeeper at {}: {}", at.text(), socket.error().message);
    co_return nullptr;
  }
  auto transport = net::plain_transport(std::move(*socket));
  const auto& security = options_.security;
  if (security && security->tls) transport = net::tls_client(std::move(transport), security->tls, at.host);
  if (stopping_) co_return nullptr;
  dialing_ = transport.get();
  arm_deadline(connect_max());
  auto opened = co_await transport->open();
  dialing_ = nullptr;
  if (opened) co_return std::move(transport);
  if (!stopping_) {
    WEIR_LOG_LIMITED(warn, log_interval, "no session with ZooKeeper at {}: {}", at.text(), opened.error().message);
  }
  co_return nullptr;
}

// Handshakes of the session: who we are, then what is watched. True: requests may be sent.
Task<bool> NativeSession::enter(runtime::Address at) {
  arm_deadline(connect_max());
  zkwire::ConnectRequest hello;
  hello.last_zxid_seen = last_zxid_;
  hello.timeout_ms = static_cast<std::int32_t>(std::min<std::int64_t>(options_.session_timeout.count(), INT32_MAX));
  hello.session_id = resume_.id;
  hello.password = bytes::Bytes(resume_.password);
  connection_->send(zkwire::encode_frame(hello, zkwire::ReadOnly{false}));
  auto frame = co_await connection_->read_frame();
  if (!frame) {
    if (!stopping_) {
      WEIR_LOG_LIMITED(warn, log_interval,
                       "ZooKeeper at {} does not let us in: it closed the connection, or said nothing for {} ms (no "
                       "quorum, or read-only?)",
                       at.text(), connect_max().count());
    }
    co_return false;
  }
  if (!accept(frame->bytes.view(), at)) co_return false;
  const auto& security = options_.security;
  if (security && !security->sasl_username.empty()) {
    if (!co_await authenticate()) co_return false;
  }
  if (!options_.auth_scheme.empty()) {
    zkwire::AuthPacket auth;
    auth.scheme = options_.auth_scheme;
    auth.auth = bytes::as_bytes(options_.auth_credential);
    connection_->send(zkwire::encode_frame(zkwire::RequestHeader{zkwire::auth_xid, OpCode::auth}, auth));
  }
  if (stopping_ || connection_->closed()) co_return false;
  for (auto& watches : watches_.frames(where_.chroot, last_zxid_)) connection_->send(std::move(watches));
  disarm(deadline_);
  phase_ = Phase::live;
  was_live_ = true;
  WEIR_LOG(info, "ZooKeeper session 0x{:x} connected to {}, timeout {} ms", static_cast<std::uint64_t>(resume_.id),
           at.text(), timeout_ms_.load());
  hub_.change(State::connected, SessionEvent::connected);
  for (auto& call : std::exchange(waiting_, {})) send(std::move(call));
  co_return true;
}

bool NativeSession::accept(bytes::Bytes response, const runtime::Address& at) {
  bytes::Reader in(response);
  const auto said = zkwire::decode<zkwire::ConnectResponse>(in);
  if (!said) {
    WEIR_LOG_LIMITED(warn, log_interval, "{} answers, but is no ZooKeeper", at.text());
    return false;
  }
  if (said->timeout_ms <= 0) {
    expire();
    return false;
  }
  if (in.left() > 0 && in.boolean()) {
    WEIR_LOG_LIMITED(warn, log_interval, "ZooKeeper at {} is read-only: it has lost its quorum", at.text());
    return false;
  }
  if (said->session_id == 0 || !said->password || said->password->size() != resume_.password.size() ||
      (resume_.id != 0 && said->session_id != resume_.id)) {
    WEIR_LOG_LIMITED(warn, log_interval, "ZooKeeper at {} answered with a session that is not ours", at.text());
    return false;
  }
  resume_.id = said->session_id;
  std::memcpy(resume_.password.data(), said->password->data(), resume_.password.size());
  session_id_ = resume_.id;
  timeout_ms_ = said->timeout_ms;
  {
    const std::lock_guard lock(key_mutex_);
    key_ = resume_.text();
  }
  last_heard_ = last_sent_ = home_.clock().mono();
  arm_tick();
  return true;
}

void NativeSession::expire() {
  WEIR_LOG(warn, "ZooKeeper session 0x{:x} expired", static_cast<std::uint64_t>(resume_.id));
  if (only_this_session_) {
    over_ = true;
    return;
  }
  watches_.clear();
  resume_ = {};
  last_zxid_ = 0;
  hub_.change(State::connecting, SessionEvent::expired);
  end_calls(ZkCode::session_expired);
}

// For good, unless these credentials were taken before: then it is that server's fault, and the next is tried.
void NativeSession::refuse(std::string_view why) {
  if (was_live_) {
    WEIR_LOG_LIMITED(error, log_interval, "ZooKeeper refused our credentials, which it took before: {}", why);
    return;
  }
  if (std::exchange(refused_, true)) return;
  WEIR_LOG(error, "ZooKeeper refused our credentials: {}", why);
  hub_.change(State::auth_failed, SessionEvent::auth_failed);
}

// --- SASL -----------------------------------------------------------------------------------------------------------

// A token for a token; nothing when that is the end, of the connection or of our credit.
Task<std::optional<std::string>> NativeSession::exchange_sasl(std::string token) {
  const auto xid = next_xid();
  zkwire::SaslToken message;
  message.token = bytes::as_bytes(token);
  connection_->send(zkwire::encode_frame(zkwire::RequestHeader{xid, OpCode::sasl}, message));
  for (;;) {
    auto frame = co_await connection_->read_frame();
    if (!frame) co_return std::nullopt;
    last_heard_ = home_.clock().mono();
    bytes::Reader in(frame->bytes.view());
    const auto header = zkwire::decode<zkwire::ReplyHeader>(in);
    if (!header) co_return std::nullopt;
    if (header->xid != xid) continue;  // a ping's answer
    if (header->err != Code::ok) {
      refuse(fmt::format("{} for SASL user '{}'", zkwire::name(header->err), options_.security->sasl_username));
      co_return std::nullopt;
    }
    const auto answer = zkwire::decode<zkwire::SaslToken>(in);
    if (!answer || !answer->token || answer->token->empty()) {
      refuse("the server speaks no SASL DIGEST-MD5");
      co_return std::nullopt;
    }
    co_return std::string(bytes::as_text(*answer->token));
  }
}

Task<bool> NativeSession::authenticate() {
  DigestMd5 machine(options_.security->sasl_username, options_.security->sasl_password, fresh_nonce());
  // The server speaks first, and is asked to.
  auto challenge = co_await exchange_sasl("");
  if (!challenge) co_return false;
  auto response = machine.respond(*challenge);
  if (!response) {
    refuse(response.error().message);
    co_return false;
  }
  auto proof = co_await exchange_sasl(std::move(*response));
  if (!proof) co_return false;
  if (!machine.server_knows(*proof)) {
    refuse("the server does not know our password, and would not be who it says");
    co_return false;
  }
  co_return true;
}

// --- what the server says -------------------------------------------------------------------------------------------

Task<void> NativeSession::read() {
  for (;;) {
    auto frame = co_await connection_->read_frame();
    if (!frame) co_return;
    last_heard_ = home_.clock().mono();
    if (!take(frame->bytes)) {
      if (!refused_) WEIR_LOG_LIMITED(warn, log_interval, "what ZooKeeper sent cannot be read; connecting again");
      co_return;
    }
  }
}

bool NativeSession::take(const bytes::Shared& frame) {
  bytes::Reader in(frame.view());
  const auto header = zkwire::decode<zkwire::ReplyHeader>(in);
  if (!header) return false;
  switch (header->xid) {
    case zkwire::notification_xid: notify(in.rest()); return true;
    case zkwire::ping_xid: return true;
    case zkwire::auth_xid:
      if (header->err == Code::ok) return true;
      refuse(fmt::format("{} for scheme {}", zkwire::name(header->err), options_.auth_scheme));
      return false;
    case zkwire::set_watches_xid: return header->err == Code::ok;
    default: return answer(*header, in.rest());
  }
}

void NativeSession::notify(bytes::Bytes body) {
  const auto event = zkwire::decode<zkwire::WatcherEvent>(body);
  if (event && event->type != zkwire::EventType::none) watches_.fire(event->type, own_path(event->path));
}

bool NativeSession::answer(const zkwire::ReplyHeader& header, bytes::Bytes body) {
  if (in_flight_.empty() || in_flight_.front().xid != header.xid) return false;
  auto call = std::move(in_flight_.front());
  in_flight_.pop_front();
  if (header.zxid > 0) last_zxid_ = std::max(last_zxid_, header.zxid);
  const auto code = native_code(header.err);
  arm(call, code);
  call.done(code, body);
  return true;
}

void NativeSession::arm(const Call& call, ZkCode code) {
  using Kind = NativeWatches::Kind;
  if (call.wish.kind == Wish::Kind::none || call.wish.watcher.expired()) return;
  const bool missing = code == ZkCode::no_node && call.op == OpCode::exists;
  if (code != ZkCode::ok && !missing) return;
  const auto kind = call.wish.kind == Wish::Kind::child ? Kind::child : missing ? Kind::exist : Kind::data;
  watches_.arm(kind, call.path, call.wish.watcher, *call.wish.shard);
}

// --- time -----------------------------------------------------------------------------------------------------------

void NativeSession::disarm(runtime::Shard::TimerId& timer) {
  if (timer != 0) home_.cancel(std::exchange(timer, 0));
}

void NativeSession::arm_deadline(nanoseconds time) {
  disarm(deadline_);
  deadline_ = home_.schedule(home_.clock().mono() + time, [this] {
    deadline_ = 0;
    if (dialing_ != nullptr) dialing_->close();
    if (connection_) connection_->close("no answer in time");
  });
}

void NativeSession::arm_tick() {
  disarm(tick_);
  const auto step = std::max<nanoseconds>(milliseconds(timeout_ms_.load()) / 6, 5ms);
  tick_ = home_.schedule(home_.clock().mono() + step, [this] {
    tick_ = 0;
    tick();
  });
}

// A ping when a third of the timeout passed without a word of ours; the end when two thirds did without one of theirs.
void NativeSession::tick() {
  if (!connection_ || connection_->closed()) return;
  const nanoseconds timeout = milliseconds(timeout_ms_.load());
  const auto now = home_.clock().mono();
  if (now - last_heard_ >= timeout * 2 / 3) {
    WEIR_LOG(info, "ZooKeeper at {} is silent for {} ms", connection_->peer().text(),
             std::chrono::duration_cast<milliseconds>(now - last_heard_).count());
    connection_->close("the server is silent");
    return;
  }
  if (phase_ == Phase::live && now - last_sent_ >= timeout / 3 - 5ms) {
    last_sent_ = now;
    connection_->send(zkwire::encode_frame(zkwire::RequestHeader{zkwire::ping_xid, OpCode::ping}));
  }
  arm_tick();
}

}  // namespace weir::zkclient
