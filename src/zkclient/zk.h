// One session with a coordination service that speaks ZooKeeper's protocol.
//
// Bodies: real (real.h, over libzookeeper), in memory (memory.h), fault-injecting (faulty.h), patient (patient.h:
// retries what a lost connection left open).
//
// Calls may be made on any shard, are sent when awaited, in that order, without waiting for each other's answers
// (pipeline.h runs many at once), and resume on the shard that made them. Watches and session events arrive on the
// shard that asked for them. A call in flight ends: with an answer, with connection_loss when the connection goes, with
// closed at close(). connection_loss and operation_timeout leave open whether a write happened.
//
// When the session expires the body tells listeners, ends what is in flight with session_expired, forgets all
// watches and opens a new session by itself; listeners then hear connected with another session id and register
// again what they need.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "runtime/task.h"

namespace weir::zkclient {

using runtime::Task;

enum class ZkCode : std::uint8_t {
  ok,  // only in results of parts of a multi
  connection_loss,
  operation_timeout,
  session_expired,
  no_node,
  node_exists,
  bad_version,
  not_empty,
  no_children_for_ephemerals,
  no_auth,
  auth_failed,
  invalid_acl,
  bad_arguments,
  rolled_back,  // part of a multi that failed elsewhere
  closed,
  system,  // anything else; the number is in the log
};
std::string_view name(ZkCode code);
// connection_loss and operation_timeout: whether it happened is not known.
inline bool ambiguous(ZkCode code) { return code == ZkCode::connection_loss || code == ZkCode::operation_timeout; }

struct ZkError {
  ZkCode code = ZkCode::system;
  std::string path;
  int op = -1;  // of a multi: the part that failed

  std::string text() const;  // "no_node: /brokers/topics/t"
  friend bool operator==(const ZkError&, const ZkError&) = default;
};
template <class T = void>
using ZkResult = std::expected<T, ZkError>;
inline std::unexpected<ZkError> zk_fail(ZkCode code, std::string path, int op = -1) {
  return std::unexpected<ZkError>(ZkError{code, std::move(path), op});
}
// As an error for a Kafka client: connection loss and expiry become a retriable code.
Error to_error(const ZkError& error);

struct Stat {
  std::int64_t czxid = 0;
  std::int64_t mzxid = 0;
  std::int64_t pzxid = 0;
  std::int64_t ctime_ms = 0;
  std::int64_t mtime_ms = 0;
  std::int32_t version = 0;
  std::int32_t cversion = 0;
  std::int32_t aversion = 0;
  std::int64_t ephemeral_owner = 0;  // session id; 0 for persistent nodes
  std::int32_t data_length = 0;
  std::int32_t num_children = 0;
};
struct Data {
  std::string data;  // a node without data reads as empty
  Stat stat;
};

inline constexpr std::int32_t any_version = -1;

enum class CreateMode : std::uint8_t { persistent, ephemeral, persistent_sequential, ephemeral_sequential };
// open: anyone may do all. creator: only who made it. creator_all_read: and anyone may read. The latter two need
// auth in the body's options.
enum class Acl : std::uint8_t { open, creator, creator_all_read };

// A part of a multi.
struct Op {
  enum class Kind : std::uint8_t { check, create, set, remove };
  Kind kind = Kind::check;
  std::string path;
  std::string data;
  std::int32_t version = any_version;
  CreateMode mode = CreateMode::persistent;
  Acl acl = Acl::open;

  static Op check(std::string path, std::int32_t version);
  static Op create(std::string path, std::string data, CreateMode mode = CreateMode::persistent, Acl acl = Acl::open);
  static Op set(std::string path, std::string data, std::int32_t version = any_version);
  static Op remove(std::string path, std::int32_t version = any_version);
};
struct OpResult {
  std::string path;  // of a create: as made, with its sequence number
  Stat stat;         // of a set
};

struct WatchEvent {
  enum class Type : std::uint8_t { created, deleted, changed, children };
  Type type;
  std::string path;
};
enum class SessionEvent : std::uint8_t {
  connected,     // also again after a disconnect; session_id() tells whether it is the same session
  disconnected,  // the session may still live
  expired,       // ephemeral nodes and watches are gone; a new session is being opened
  auth_failed,   // no new session will come
};
enum class State : std::uint8_t { connecting, connected, auth_failed, closed };

// Who is told. Held weakly: when the owner is gone nobody is told. A watch tells once.
class Watcher {
 public:
  virtual ~Watcher() = default;
  virtual void on_watch(const WatchEvent& event) = 0;
  virtual void on_session(SessionEvent) {}  // after listen()
};
using Watch = std::weak_ptr<Watcher>;

class Zk {
 public:
  virtual ~Zk() = default;

  // The path as made. An empty `data` is written as no data.
  virtual Task<ZkResult<std::string>> create(std::string path, std::string data,
                                             CreateMode mode = CreateMode::persistent, Acl acl = Acl::open) = 0;
  // `watch` hears of the next change or removal; not set when the node is missing.
  virtual Task<ZkResult<Data>> get(std::string path, Watch watch = {}) = 0;
  virtual Task<ZkResult<Stat>> set(std::string path, std::string data, std::int32_t version = any_version) = 0;
  virtual Task<ZkResult<>> remove(std::string path, std::int32_t version = any_version) = 0;
  // Names, in no order. `watch` hears of the next child made or removed, and of the node's own removal.
  virtual Task<ZkResult<std::vector<std::string>>> children(std::string path, Watch watch = {}) = 0;
  // Nothing when there is none; then `watch` hears of its creation.
  virtual Task<ZkResult<std::optional<Stat>>> exists(std::string path, Watch watch = {}) = 0;
  // All parts or none.
  virtual Task<ZkResult<std::vector<OpResult>>> multi(std::vector<Op> ops) = 0;
  // What others wrote before this call is seen by reads after it.
  virtual Task<ZkResult<>> sync(std::string path) = 0;

  // 0 while there was none yet.
  virtual std::int64_t session_id() const = 0;
  // What end_session (real.h) needs to end this session from another process: id and password. A secret. Empty
  // while there is none, and where there is no such thing.
  virtual std::string session_key() const { return {}; }
  virtual State state() const = 0;
  // As the server granted it.
  virtual milliseconds session_timeout() const = 0;
  // Session events for `watcher`, on the calling shard, until it is gone.
  virtual void listen(Watch watcher) = 0;
  // True when connected; false when time ran out, auth failed or closed.
  virtual Task<bool> wait_connected(nanoseconds timeout) = 0;
  // Ends the session (its ephemeral nodes go) and all calls. Called once; await it before destruction.
  virtual Task<void> close() = 0;
};

// Creates missing parents (persistent, without data) first.
Task<ZkResult<std::string>> create_with_parents(Zk& zk, std::string path, std::string data,
                                                CreateMode mode = CreateMode::persistent, Acl acl = Acl::open);
// The node is there afterwards.
Task<ZkResult<>> ensure(Zk& zk, std::string path);
// Removes a node and all below it; a missing node is fine.
Task<ZkResult<>> remove_tree(Zk& zk, std::string path);

}  // namespace weir::zkclient
