// The session under native.h: one connection at a time, its handshakes, requests in order, pings, and what happens when
// it goes. Of the shard it was made on, but for what says otherwise. Not for other rooms.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/connection.h"
#include "runtime/shard.h"
#include "runtime/sockets.h"
#include "zkclient/hub.h"
#include "zkclient/native_watches.h"
#include "zkclient/real.h"
#include "zkwire/messages.h"

namespace weir::zkclient {

// zookeeper.connect, taken apart.
struct ConnectString {
  std::vector<runtime::Address> servers;
  std::string chroot;  // "" or "/a/b"
};
Result<ConnectString> parse_connect_string(std::string_view text);

// A session's id and password; as text "a208d7c1bf0001:0011...ff".
struct SessionKey {
  std::int64_t id = 0;
  std::array<std::byte, 16> password{};

  std::string text() const;
  static std::optional<SessionKey> parse(std::string_view text);
};

// As a caller sees it; what is not named there is logged.
ZkCode native_code(zkwire::Code code);

// Everything is touched on its shard, but for the atomics and for `key_`, which a mutex guards: who asks for them may
// be on any shard.
class NativeSession : public std::enable_shared_from_this<NativeSession> {
 public:
  // What a call may arm. Kind::node is data or exist, as the answer says.
  struct Wish {
    enum class Kind : std::uint8_t { none, node, child };
    Kind kind = Kind::none;
    Watch watcher;
    runtime::Shard* shard = nullptr;
  };
  // `body` is there only with ok, and (maybe) for a multi. Called once, on the session's shard.
  using Done = std::move_only_function<void(ZkCode code, bytes::Bytes body)>;

  NativeSession(RealOptions options, ConnectString where);
  ~NativeSession();

  void start();
  // To end what another process left: its key, and no new session when it is over already (over() tells).
  void start_with(const SessionKey& key);
  // From any shard; calls of one shard are sent in their order. `path` is without the chroot.
  void submit(zkwire::OpCode op, std::string path, bytes::Shared body, Wish wish, Done done);
  Task<void> close();

  // From any shard.
  Hub& hub() { return hub_; }
  const std::string& chroot() const { return where_.chroot; }
  const RealOptions& options() const { return options_; }
  runtime::Shard& shard() { return home_; }
  std::int64_t session_id() const { return session_id_.load(); }
  std::string session_key() const;
  milliseconds timeout() const { return milliseconds(timeout_ms_.load()); }
  bool over() const { return over_; }

  std::string full_path(std::string_view path) const;
  std::string own_path(std::string_view full) const;

 private:
  struct Call {
    std::int32_t xid = 0;
    zkwire::OpCode op{};
    std::string path;
    bytes::Shared body;
    Wish wish;
    Done done;
  };
  enum class Phase : std::uint8_t { away, dialing, entering, live };

  Task<void> run();
  Task<void> serve(runtime::Address at);
  Task<std::unique_ptr<net::Transport>> dial(runtime::Address at);
  Task<bool> enter(runtime::Address at);
  bool accept(bytes::Bytes response, const runtime::Address& at);
  Task<bool> authenticate();
  Task<std::optional<std::string>> exchange_sasl(std::string token);
  Task<void> read();
  bool take(const bytes::Shared& frame);
  bool answer(const zkwire::ReplyHeader& header, bytes::Bytes body);
  void notify(bytes::Bytes body);
  void arm(const Call& call, ZkCode code);

  void enqueue(Call call);
  void send(Call call);
  std::int32_t next_xid();
  void end_calls(ZkCode code);
  void expire();
  void refuse(std::string_view why);
  void arm_deadline(nanoseconds time);
  void disarm(runtime::Shard::TimerId& timer);
  void arm_tick();
  void tick();
  milliseconds connect_max() const;

  const RealOptions options_;
  ConnectString where_;
  runtime::Shard& home_;
  runtime::Sockets& sockets_;
  Hub hub_;
  runtime::Scope scope_;
  runtime::Waiter pause_;

  // Seen from any shard.
  std::atomic<std::int64_t> session_id_{0};
  std::atomic<std::int64_t> timeout_ms_{0};
  std::atomic<bool> over_{false};
  mutable std::mutex key_mutex_;  // of key_, shared with who asks on other shards
  std::string key_;

  SessionKey resume_;  // id 0: a new session
  bool only_this_session_ = false;
  std::int64_t last_zxid_ = 0;
  std::int32_t last_xid_ = 0;
  std::size_t next_server_ = 0;
  std::uint64_t connections_ = 0;

  Phase phase_ = Phase::away;
  bool stopping_ = false;
  bool refused_ = false;
  bool was_live_ = false;  // with these credentials
  bool stopped_ = false;
  net::Transport* dialing_ = nullptr;
  std::shared_ptr<net::Connection> connection_;
  runtime::Shard::TimerId deadline_ = 0;
  runtime::Shard::TimerId tick_ = 0;
  nanoseconds last_heard_{0};
  nanoseconds last_sent_{0};
  std::deque<Call> waiting_;    // not sent yet
  std::deque<Call> in_flight_;  // in the order of their answers
  NativeWatches watches_;
};

}  // namespace weir::zkclient
