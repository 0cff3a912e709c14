#include "zkclient/real.h"

#include <fmt/format.h>
#include <zookeeper/zookeeper.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "base/log.h"
#include "base/zk_connect.h"
#include "zkclient/hub.h"
#include "zkclient/native.h"

namespace weir::zkclient {
namespace {

using namespace std::chrono_literals;

ZkCode code_of(int rc) {
  switch (rc) {
    case ZOK: return ZkCode::ok;
    case ZCONNECTIONLOSS:
    case ZTHROTTLEDOP:
    case ZNOTREADONLY: return ZkCode::connection_loss;
    case ZOPERATIONTIMEOUT: return ZkCode::operation_timeout;
    case ZSESSIONEXPIRED:
    case ZSESSIONMOVED:
    case ZINVALIDSTATE: return ZkCode::session_expired;
    case ZNONODE: return ZkCode::no_node;
    case ZNODEEXISTS: return ZkCode::node_exists;
    case ZBADVERSION: return ZkCode::bad_version;
    case ZNOTEMPTY: return ZkCode::not_empty;
    case ZNOCHILDRENFOREPHEMERALS: return ZkCode::no_children_for_ephemerals;
    case ZNOAUTH: return ZkCode::no_auth;
    case ZAUTHFAILED: return ZkCode::auth_failed;
    case ZINVALIDACL: return ZkCode::invalid_acl;
    case ZBADARGUMENTS: return ZkCode::bad_arguments;
    case ZRUNTIMEINCONSISTENCY: return ZkCode::rolled_back;
    case ZCLOSING: return ZkCode::closed;
    default: return ZkCode::system;
  }
}

Stat stat_of(const ::Stat& from) {
  Stat to;
  to.czxid = from.czxid;
  to.mzxid = from.mzxid;
  to.pzxid = from.pzxid;
  to.ctime_ms = from.ctime;
  to.mtime_ms = from.mtime;
  to.version = from.version;
  to.cversion = from.cversion;
  to.aversion = from.aversion;
  to.ephemeral_owner = from.ephemeralOwner;
  to.data_length = from.dataLength;
  to.num_children = from.numChildren;
  return to;
}

int flags_of(CreateMode mode) {
  switch (mode) {
    case CreateMode::persistent: return ZOO_PERSISTENT;
    case CreateMode::ephemeral: return ZOO_EPHEMERAL;
    case CreateMode::persistent_sequential: return ZOO_PERSISTENT_SEQUENTIAL;
    case CreateMode::ephemeral_sequential: return ZOO_EPHEMERAL_SEQUENTIAL;
  }
  return ZOO_PERSISTENT;
}

const ACL_vector* acl_of(Acl acl) {
  static std::array<char, 6> world{"world"};
  static std::array<char, 7> anyone{"anyone"};
  static std::array<char, 5> auth{"auth"};
  static std::array<char, 1> none{""};
  static std::array<ACL, 2> both{ACL{ZOO_PERM_ALL, Id{auth.data(), none.data()}},
                                 ACL{ZOO_PERM_READ, Id{world.data(), anyone.data()}}};
  static const ACL_vector creator_all_read{2, both.data()};
  switch (acl) {
    case Acl::open: return &ZOO_OPEN_ACL_UNSAFE;
    case Acl::creator: return &ZOO_CREATOR_ALL_ACL;
    case Acl::creator_all_read: return &creator_all_read;
  }
  return &ZOO_OPEN_ACL_UNSAFE;
}

// An empty node is written as one without data, as Kafka does.
const char* data_of(const std::string& data) { return data.empty() ? nullptr : data.data(); }
int size_of(const std::string& data) { return data.empty() ? -1 : static_cast<int>(data.size()); }

// As libzookeeper reads it: a port to each host, and the last colon is the one before it.
std::string hosts_of(const ZkConnect& where) {
  std::string out;
  for (const auto& server : where.servers) {
    out += fmt::format("{}{}:{}", out.empty() ? "" : ",", server.host, server.port);
  }
  return out;
}

void on_log(const char* message) {
  const std::string_view text(message);
  if (text.find(":ZOO_ERROR@") != std::string_view::npos) {
    WEIR_LOG_LIMITED(warn, 10s, "libzookeeper: {}", text);
  } else if (text.find(":ZOO_WARN@") != std::string_view::npos) {
    WEIR_LOG_LIMITED(info, 10s, "libzookeeper: {}", text);
  }
}

// --- one call in flight -----------------------------------------------------------------------------------------

class RealZk;

// Owned by RealZk's table until the library answered, or until the handle it was made on is closed: the library
// calls back with a pointer to it.
struct Call {
  virtual ~Call() = default;
  // Ends it without an answer of the library.
  virtual void fail(ZkCode code) = 0;

  RealZk* owner = nullptr;
  std::string path;         // as the caller gave it
  std::uint64_t watch = 0;  // the registration it would arm; 0: none
  bool abandoned = false;   // failed already; kept because the library may still know it
};
template <class T>
struct CallOf final : Call {
  std::shared_ptr<Reply<T>> reply;
  // Of a multi: what the library writes its answer to.
  std::vector<Op> ops;
  std::vector<zoo_op_t> raw;
  std::vector<zoo_op_result_t> results;
  std::vector<std::string> made;
  std::vector<::Stat> stats;

  void fail(ZkCode code) override { complete<T>(reply, zk_fail(code, path)); }
};

// "a208d7c1bf0001:00112233445566778899aabbccddeeff"
std::string key_text(const clientid_t& id) {
  std::string text = fmt::format("{:x}:", static_cast<std::uint64_t>(id.client_id));
  for (const char c : id.passwd) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

bool parse_key(std::string_view text, clientid_t& id) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || text.size() - colon - 1 != 2 * sizeof id.passwd) return false;
  std::uint64_t number = 0;
  const auto digits = text.substr(0, colon);
  const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
  if (end.ec != std::errc() || end.ptr != digits.data() + digits.size() || number == 0) return false;
  id.client_id = static_cast<std::int64_t>(number);
  for (std::size_t i = 0; i < sizeof id.passwd; ++i) {
    const char* at = text.data() + colon + 1 + 2 * i;
    unsigned byte = 0;
    const auto read = std::from_chars(at, at + 2, byte, 16);
    if (read.ec != std::errc() || read.ptr != at + 2) return false;
    id.passwd[i] = static_cast<char>(byte);
  }
  return true;
}

// --- the session ------------------------------------------------------------------------------------------------

// Threads: the shards call; the library's two threads answer and tell; one thread of our own opens and closes
// handles, because both may block (name resolution, the goodbye to the server). Locks, none held while another room
// runs: `handle_mutex_` keeps a handle from being closed under a call, `mutex_` guards the tables.
class RealZk final : public Zk {
 public:
  RealZk(RealOptions options, std::string hosts, std::string chroot)
      : options_(std::move(options)), hosts_(std::move(hosts)), chroot_(std::move(chroot)) {
    keeper_ = std::thread([this] { keep(); });
  }
  ~RealZk() override {
    stop();
    keeper_.join();
  }

  Task<ZkResult<std::string>> create(std::string path, std::string data, CreateMode mode, Acl acl) override {
    if (path == "/" && !chroot_.empty()) co_return co_await create_chroot();
    co_return co_await create_at(full_path(path), std::move(data), mode, acl);
  }
  Task<ZkResult<Data>> get(std::string path, Watch watch) override {
    auto start = [&](const std::shared_ptr<Reply<Data>>& reply) {
      return send<Data>(reply, path, watch, Kind::node, [&](zhandle_t* zh, const std::string& full, Call* call) {
        return zoo_awget(zh, full.c_str(), call->watch != 0 ? on_watch : nullptr, context(call->watch), on_data, call);
      });
    };
    co_return co_await ask<Data>(start);
  }
  Task<ZkResult<Stat>> set(std::string path, std::string data, std::int32_t version) override {
    auto start = [&](const std::shared_ptr<Reply<Stat>>& reply) {
      return send<Stat>(reply, path, {}, Kind::none, [&](zhandle_t* zh, const std::string& full, Call* call) {
        return zoo_aset(zh, full.c_str(), data_of(data), size_of(data), version, on_stat, call);
      });
    };
    co_return co_await ask<Stat>(start);
  }
  Task<ZkResult<>> remove(std::string path, std::int32_t version) override {
    auto start = [&](const std::shared_ptr<Reply<void>>& reply) {
      return send<void>(reply, path, {}, Kind::none, [&](zhandle_t* zh, const std::string& full, Call* call) {
        return zoo_adelete(zh, full.c_str(), version, on_void, call);
      });
    };
    co_return co_await ask<void>(start);
  }
  Task<ZkResult<std::vector<std::string>>> children(std::string path, Watch watch) override {
    using Names = std::vector<std::string>;
    auto start = [&](const std::shared_ptr<Reply<Names>>& reply) {
      return send<Names>(reply, path, watch, Kind::child, [&](zhandle_t* zh, const std::string& full, Call* call) {
        return zoo_awget_children(zh, full.c_str(), call->watch != 0 ? on_watch : nullptr, context(call->watch),
                                  on_strings, call);
      });
    };
    co_return co_await ask<Names>(start);
  }
  Task<ZkResult<std::optional<Stat>>> exists(std::string path, Watch watch) override {
    using Found = std::optional<Stat>;
    auto start = [&](const std::shared_ptr<Reply<Found>>& reply) {
      return send<Found>(reply, path, watch, Kind::node, [&](zhandle_t* zh, const std::string& full, Call* call) {
        return zoo_awexists(zh, full.c_str(), call->watch != 0 ? on_watch : nullptr, context(call->watch), on_exists,
                            call);
      });
    };
    co_return co_await ask<Found>(start);
  }
  Task<ZkResult<std::vector<OpResult>>> multi(std::vector<Op> ops) override {
    using Results = std::vector<OpResult>;
    const std::string first = ops.empty() ? std::string("/") : ops.front().path;
    auto start = [&](const std::shared_ptr<Reply<Results>>& reply) {
      return send<Results>(reply, first, {}, Kind::none, [&](zhandle_t* zh, const std::string&, Call* call) {
        auto& m = static_cast<CallOf<Results>&>(*call);
        prepare(m, std::move(ops));
        return zoo_amulti(zh, static_cast<int>(m.raw.size()), m.raw.data(), m.results.data(), on_multi, call);
      });
    };
    co_return co_await ask<Results>(start);
  }
  Task<ZkResult<>> sync(std::string path) override {
    auto start = [&](const std::shared_ptr<Reply<void>>& reply) {
      return send<void>(reply, path, {}, Kind::none, [&](zhandle_t* zh, const std::string& full, Call* call) {
        return zoo_async(zh, full.c_str(), on_sync, call);
      });
    };
    co_return co_await ask<void>(start);
  }

  std::int64_t session_id() const override { return session_.load(); }
  std::string session_key() const override {
    const std::lock_guard lock(mutex_);
    return key_;
  }
  State state() const override { return hub_.state(); }
  milliseconds session_timeout() const override { return milliseconds(timeout_ms_.load()); }
  void listen(Watch watcher) override { hub_.listen(std::move(watcher)); }
  Task<bool> wait_connected(nanoseconds timeout) override { return hub_.wait_connected(timeout); }
  Task<void> close() override {
    auto start = [this](const std::shared_ptr<Reply<void>>& reply) {
      const std::lock_guard lock(mutex_);
      if (gone_) {
        reply->result.emplace();
        return false;
      }
      closing_.push_back(reply);
      stop_ = true;
      keeper_wakes_.notify_all();
      return true;
    };
    (void)co_await ask<void>(start);
  }

 private:
  enum class Kind : std::uint8_t { none, node, child };
  struct WatchKey {
    Kind kind;
    std::string path;
    Watch watcher;
    bool operator<(const WatchKey& other) const {
      if (kind != other.kind) return kind < other.kind;
      if (path != other.path) return path < other.path;
      return watcher.owner_before(other.watcher);
    }
  };
  // One watcher at one path; its number is what the library knows, so that nothing it says late can harm.
  struct Watching {
    WatchKey key;
    runtime::Shard* shard = nullptr;
    bool armed = false;
    int asking = 0;  // calls in flight that would arm it
  };

  Task<ZkResult<std::string>> create_at(std::string full, std::string data, CreateMode mode, Acl acl) {
    auto start = [&](const std::shared_ptr<Reply<std::string>>& reply) {
      return send<std::string>(reply, own_path(full), {}, Kind::none,
                               [&](zhandle_t* zh, const std::string&, Call* call) {
                                 return zoo_acreate(zh, full.c_str(), data_of(data), size_of(data), acl_of(acl),
                                                    flags_of(mode), on_string, call);
                               });
    };
    co_return co_await ask<std::string>(start);
  }
  // The root as callers see it: made with all above it, which callers cannot name.
  Task<ZkResult<std::string>> create_chroot() {
    for (std::size_t end = chroot_.find('/', 1);; end = chroot_.find('/', end + 1)) {
      auto made = co_await create_at(chroot_.substr(0, end), "", CreateMode::persistent, Acl::open);
      if (end == std::string::npos) {
        if (!made) made.error().path = "/";
        co_return made;
      }
      if (!made && made.error().code != ZkCode::node_exists) co_return made;
    }
  }

  // The library carries a pointer; a number that is looked up names no memory that may be gone.
  static void* context(std::uint64_t watch) {
    return reinterpret_cast<void*>(watch);  // NOLINT(performance-no-int-to-ptr)
  }

  template <class T, class Start>
  static Task<ZkResult<T>> ask(Start& start) {
    auto begin = [&start](const std::shared_ptr<Reply<T>>& reply) { return start(reply); };
    Asking<T, decltype(begin)> asking{std::make_shared<Reply<T>>(), begin};
    co_return co_await asking;
  }

  std::string full_path(const std::string& path) const {
    return path == "/" && !chroot_.empty() ? chroot_ : chroot_ + path;
  }
  std::string own_path(std::string_view full) const {
    if (!chroot_.empty() && full.starts_with(chroot_)) full.remove_prefix(chroot_.size());
    // (What lies above the chroot, while that is made, keeps its name.)
    return full.empty() ? std::string("/") : std::string(full);
  }

  // Gives the call to the library. False when it failed at once; then the reply has its result.
  template <class T, class Fn>
  bool send(const std::shared_ptr<Reply<T>>& reply, const std::string& path, const Watch& watch, Kind kind, Fn fn) {
    const auto refuse = [&](ZkCode code) {
      reply->result.emplace(zk_fail(code, path));
      return false;
    };
    if (path.empty() || path.front() != '/') return refuse(ZkCode::bad_arguments);
    const std::shared_lock handle_lock(handle_mutex_);
    auto owned = std::make_unique<CallOf<T>>();
    auto* call = owned.get();
    {
      const std::lock_guard lock(mutex_);
      if (stop_) return refuse(ZkCode::closed);
      if (handle_ == nullptr) return refuse(ZkCode::connection_loss);
      call->owner = this;
      call->path = path;
      call->reply = reply;
      if (kind != Kind::none && !watch.expired()) call->watch = register_watch({kind, path, watch});
      calls_.emplace(call, std::move(owned));
    }
    const int rc = fn(handle_, full_path(path), call);
    if (rc == ZOK) return true;
    const std::lock_guard lock(mutex_);
    if (call->watch != 0) asked(call->watch, false);
    if (rc == ZMARSHALLINGERROR) {
      call->abandoned = true;
      call->watch = 0;
    } else {
      calls_.erase(call);
    }
    return refuse(code_of(rc));
  }

  std::uint64_t register_watch(WatchKey key) {
    auto [at, fresh] = watch_numbers_.try_emplace(key, 0);
    if (fresh) {
      at->second = ++last_watch_;
      watching_[at->second] = Watching{std::move(key), runtime::Shard::current()};
    }
    ++watching_[at->second].asking;
    return at->second;
  }
  // A call that would arm the watch came back.
  void asked(std::uint64_t number, bool armed) {
    const auto found = watching_.find(number);
    if (found == watching_.end()) return;
    --found->second.asking;
    found->second.armed = found->second.armed || armed;
    if (!found->second.armed && found->second.asking == 0) {
      watch_numbers_.erase(found->second.key);
      watching_.erase(found);
    }
  }

  // Takes the call from the table; null when it was given up.
  template <class T>
  std::unique_ptr<CallOf<T>> take(Call* call, bool armed) {
    const std::lock_guard lock(mutex_);
    const auto found = calls_.find(call);
    if (found == calls_.end()) return nullptr;
    std::unique_ptr<CallOf<T>> taken(static_cast<CallOf<T>*>(found->second.release()));
    calls_.erase(found);
    if (taken->watch != 0) asked(taken->watch, armed);
    if (taken->abandoned) return nullptr;
    return taken;
  }
  // The library says "closing" also when we close the handle of an expired session.
  ZkCode answer_code(int rc) const {
    const auto code = code_of(rc);
    if (code == ZkCode::system) WEIR_LOG_LIMITED(warn, 10s, "ZooKeeper answered {} ({})", rc, zerror(rc));
    return code == ZkCode::closed ? end_code_.load() : code;
  }

  // --- what the library calls, on its threads -------------------------------------------------------------------
  static Call* call_of(const void* data) { return static_cast<Call*>(const_cast<void*>(data)); }
  template <class T, class Fn>
  static void answer(int rc, const void* data, bool armed, Fn value) {
    Call* raw = call_of(data);
    RealZk* self = raw->owner;
    const auto call = self->take<T>(raw, armed);
    if (!call) return;
    if (rc != ZOK) {
      complete<T>(call->reply, zk_fail(self->answer_code(rc), call->path));
    } else {
      complete<T>(call->reply, value(*self, *call));
    }
  }
  static void on_string(int rc, const char* value, const void* data) {
    answer<std::string>(rc, data, false,
                        [&](RealZk& self, Call&) { return ZkResult<std::string>(self.own_path(value)); });
  }
  static void on_data(int rc, const char* value, int size, const ::Stat* stat, const void* data) {
    answer<Data>(rc, data, rc == ZOK, [&](RealZk&, Call&) {
      Data out;
      if (value != nullptr && size > 0) out.data.assign(value, static_cast<std::size_t>(size));
      out.stat = stat_of(*stat);
      return ZkResult<Data>(std::move(out));
    });
  }
  static void on_stat(int rc, const ::Stat* stat, const void* data) {
    answer<Stat>(rc, data, false, [&](RealZk&, Call&) { return ZkResult<Stat>(stat_of(*stat)); });
  }
  static void on_exists(int rc, const ::Stat* stat, const void* data) {
    using Found = std::optional<Stat>;
    const bool missing = rc == ZNONODE;
    answer<Found>(missing ? ZOK : rc, data, rc == ZOK || missing,
                  [&](RealZk&, Call&) { return ZkResult<Found>(missing ? Found() : Found(stat_of(*stat))); });
  }
  static void on_void(int rc, const void* data) {
    answer<void>(rc, data, false, [](RealZk&, Call&) { return ZkResult<void>(); });
  }
  static void on_sync(int rc, const char*, const void* data) { on_void(rc, data); }
  static void on_strings(int rc, const String_vector* strings, const void* data) {
    using Names = std::vector<std::string>;
    answer<Names>(rc, data, rc == ZOK, [&](RealZk&, Call&) {
      Names out;
      if (strings != nullptr) out.assign(strings->data, strings->data + strings->count);
      return ZkResult<Names>(std::move(out));
    });
  }
  static void on_multi(int rc, const void* data) {
    using Results = std::vector<OpResult>;
    Call* raw = call_of(data);
    RealZk* self = raw->owner;
    const auto call = self->take<Results>(raw, false);
    if (!call) return;
    // Of a multi that failed, the part to blame has an error of its own.
    ZkError error{rc == ZOK ? ZkCode::ok : self->answer_code(rc), call->path};
    for (std::size_t i = 0; i < call->results.size() && !ambiguous(error.code); ++i) {
      const int err = call->results[i].err;
      if (err == ZOK || err == ZRUNTIMEINCONSISTENCY) continue;
      error = ZkError{self->answer_code(err), self->own_path(call->ops[i].path), static_cast<int>(i)};
      break;
    }
    if (error.code != ZkCode::ok) {
      complete<Results>(call->reply, std::unexpected(std::move(error)));
      return;
    }
    Results out(call->ops.size());
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (call->ops[i].kind == Op::Kind::create) {
        const char* path = call->made[i].data();  // up to its NUL: the buffer has room for a sequence number
        out[i].path = self->own_path(path);
      }
      if (call->ops[i].kind == Op::Kind::set) out[i].stat = stat_of(call->stats[i]);
    }
    complete<Results>(call->reply, std::move(out));
  }
  static void on_watch(zhandle_t* zh, int type, int, const char*, void* number) {
    if (type == ZOO_SESSION_EVENT || type == ZOO_NOTWATCHING_EVENT) return;
    auto* self = static_cast<RealZk*>(const_cast<void*>(zoo_get_context(zh)));
    self->fire(reinterpret_cast<std::uint64_t>(number), type);
  }
  static void on_session(zhandle_t* zh, int type, int state, const char*, void* context) {
    if (type == ZOO_SESSION_EVENT) static_cast<RealZk*>(context)->session_changed(zh, state);
  }

  void fire(std::uint64_t number, int type) {
    const std::lock_guard lock(mutex_);
    const auto found = watching_.find(number);
    if (found == watching_.end()) return;
    WatchEvent event{WatchEvent::Type::changed, found->second.key.path};
    if (type == ZOO_CREATED_EVENT) event.type = WatchEvent::Type::created;
    if (type == ZOO_DELETED_EVENT) event.type = WatchEvent::Type::deleted;
    if (type == ZOO_CHILD_EVENT) event.type = WatchEvent::Type::children;
    tell(*found->second.shard, found->second.key.watcher, std::move(event));
    found->second.armed = false;
    if (found->second.asking > 0) return;  // a call in flight arms it again
    watch_numbers_.erase(found->second.key);
    watching_.erase(found);
  }

  void session_changed(zhandle_t* zh, int state) {
    {
      // The first event may come before zookeeper_init has returned.
      std::unique_lock lock(mutex_);
      handle_known_.wait(lock, [&] { return handle_ == zh || retired_ == zh || stop_; });
      if (handle_ != zh) return;
    }
    if (state == ZOO_CONNECTED_STATE) {
      const auto* id = zoo_client_id(zh);
      session_ = id->client_id;
      {
        const std::lock_guard lock(mutex_);
        key_ = key_text(*id);
      }
      timeout_ms_ = zoo_recv_timeout(zh);
      WEIR_LOG(info, "ZooKeeper session 0x{:x} connected to {}, timeout {} ms",
               static_cast<std::uint64_t>(session_.load()), hosts_, timeout_ms_.load());
      hub_.change(State::connected, SessionEvent::connected);
    } else if (state == ZOO_EXPIRED_SESSION_STATE) {
      WEIR_LOG(warn, "ZooKeeper session 0x{:x} expired", static_cast<std::uint64_t>(session_.load()));
      const std::lock_guard lock(mutex_);
      reopen_ = true;
      keeper_wakes_.notify_all();
    } else if (state == ZOO_AUTH_FAILED_STATE) {
      WEIR_LOG(error, "ZooKeeper refused our credentials ({})", options_.auth_scheme);
      hub_.change(State::auth_failed, SessionEvent::auth_failed);
    } else if (hub_.state() == State::connected) {
      WEIR_LOG(info, "ZooKeeper session 0x{:x} lost its connection", static_cast<std::uint64_t>(session_.load()));
      hub_.change(State::connecting, SessionEvent::disconnected);
    }
  }

  void prepare(CallOf<std::vector<OpResult>>& call, std::vector<Op> ops) {
    call.ops = std::move(ops);
    const auto n = call.ops.size();
    call.raw.resize(n);
    call.results.resize(n);
    call.made.resize(n);
    call.stats.resize(n);
    for (std::size_t i = 0; i < n; ++i) {
      auto& op = call.ops[i];
      op.path = full_path(op.path);
      switch (op.kind) {
        case Op::Kind::check: zoo_check_op_init(&call.raw[i], op.path.c_str(), op.version); break;
        case Op::Kind::create:
          call.made[i].resize(op.path.size() + 16);
          zoo_create_op_init(&call.raw[i], op.path.c_str(), data_of(op.data), size_of(op.data), acl_of(op.acl),
                             flags_of(op.mode), call.made[i].data(), static_cast<int>(call.made[i].size()));
          break;
        case Op::Kind::set:
          zoo_set_op_init(&call.raw[i], op.path.c_str(), data_of(op.data), size_of(op.data), op.version,
                          &call.stats[i]);
          break;
        case Op::Kind::remove: zoo_delete_op_init(&call.raw[i], op.path.c_str(), op.version); break;
      }
    }
  }

  // --- the keeper: opens and closes handles ----------------------------------------------------------------------
  void stop() {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    keeper_wakes_.notify_all();
    handle_known_.notify_all();
  }

  void keep() {
    for (;;) {
      if (!open()) {
        std::unique_lock lock(mutex_);
        if (keeper_wakes_.wait_for(lock, 1s, [this] { return stop_; })) break;
        continue;
      }
      bool last = false;
      {
        std::unique_lock lock(mutex_);
        keeper_wakes_.wait(lock, [this] { return stop_ || reopen_; });
        reopen_ = false;
        last = stop_;
      }
      shut(last ? ZkCode::closed : ZkCode::session_expired);
      if (last) break;
    }
    hub_.close();
    const std::lock_guard lock(mutex_);
    gone_ = true;
    for (auto& reply : std::exchange(closing_, {})) complete<void>(reply, ZkResult<void>());
  }

  bool open() {
    zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);
    zhandle_t* zh = zookeeper_init2(hosts_.c_str(), on_session, static_cast<int>(options_.session_timeout.count()),
                                    nullptr, this, ZOO_NO_LOG_CLIENTENV, on_log);
    if (zh == nullptr) {
      WEIR_LOG_LIMITED(warn, 10s, "cannot begin a ZooKeeper session with {}: {}", hosts_, std::strerror(errno));
      return false;
    }
    if (!options_.auth_scheme.empty()) {
      zoo_add_auth(zh, options_.auth_scheme.c_str(), options_.auth_credential.data(),
                   static_cast<int>(options_.auth_credential.size()), nullptr, nullptr);
    }
    const std::unique_lock handle_lock(handle_mutex_);
    const std::lock_guard lock(mutex_);
    handle_ = zh;
    handle_known_.notify_all();
    return true;
  }

  void shut(ZkCode why) {
    zhandle_t* zh = nullptr;
    {
      const std::unique_lock handle_lock(handle_mutex_);
      const std::lock_guard lock(mutex_);
      zh = retired_ = std::exchange(handle_, nullptr);
      end_code_ = why;
      handle_known_.notify_all();
    }
    if (why == ZkCode::session_expired) hub_.change(State::connecting, SessionEvent::expired);
    zookeeper_close(zh);  // joins the library's threads: from here on nobody calls back
    const std::lock_guard lock(mutex_);
    for (auto& [raw, call] : std::exchange(calls_, {})) {
      if (!call->abandoned) call->fail(why);
    }
    watching_.clear();
    watch_numbers_.clear();
    retired_ = nullptr;
  }

  const RealOptions options_;
  const std::string hosts_;
  const std::string chroot_;  // "" or "/a/b"
  Hub hub_;
  std::atomic<std::int64_t> session_{0};
  std::string key_;  // under mutex_
  std::atomic<std::int64_t> timeout_ms_{0};
  std::atomic<ZkCode> end_code_{ZkCode::closed};

  std::shared_mutex handle_mutex_;
  mutable std::mutex mutex_;
  zhandle_t* handle_ = nullptr;   // changed with both locks held
  zhandle_t* retired_ = nullptr;  // being closed
  std::unordered_map<Call*, std::unique_ptr<Call>> calls_;
  std::map<WatchKey, std::uint64_t> watch_numbers_;
  std::unordered_map<std::uint64_t, Watching> watching_;
  std::uint64_t last_watch_ = 0;
  std::vector<std::shared_ptr<Reply<void>>> closing_;
  bool stop_ = false;
  bool reopen_ = false;
  bool gone_ = false;
  std::condition_variable keeper_wakes_;
  std::condition_variable handle_known_;
  std::thread keeper_;
};

}  // namespace

Result<std::unique_ptr<Zk>> connect(RealOptions options) {
  if (options.security || options.acl_of) return connect_native(std::move(options));
  const auto where = parse_zk_connect(options.connect);
  if (!where) {
    return fail(ErrorCode::INVALID_CONFIG, fmt::format("zookeeper.connect={}: {}", options.connect, where.error()));
  }
  return std::unique_ptr<Zk>(std::make_unique<RealZk>(std::move(options), hosts_of(*where), where->chroot));
}

bool end_session(const RealOptions& options, std::string_view key, milliseconds timeout) {
  if (options.security) return end_session_native(options, key, timeout);
  clientid_t id{};
  if (!parse_key(key, id)) return false;
  struct Seen {
    std::mutex mutex;  // between the library's thread and this one
    std::condition_variable changed;
    int state = 0;
  } seen;
  const auto on_event = [](zhandle_t*, int type, int state, const char*, void* context) {
    if (type != ZOO_SESSION_EVENT) return;
    auto& to = *static_cast<Seen*>(context);
    const std::lock_guard lock(to.mutex);
    if (state == ZOO_CONNECTED_STATE || state == ZOO_EXPIRED_SESSION_STATE) to.state = state;
    to.changed.notify_all();
  };
  const auto where = parse_zk_connect(options.connect);
  if (!where) return false;
  zhandle_t* zh = zookeeper_init2(hosts_of(*where).c_str(), on_event, static_cast<int>(options.session_timeout.count()),
                                  &id, &seen, 0, on_log);
  if (zh == nullptr) return false;
  bool over = false;
  {
    std::unique_lock lock(seen.mutex);
    over = seen.changed.wait_for(lock, timeout, [&seen] { return seen.state != 0; });
  }
  zookeeper_close(zh);  // says goodbye, when connected: that is what ends the session
  return over;
}

}  // namespace weir::zkclient
