// The tree of nodes with its sessions and watches: a state machine. A request and the time go in; an answer, events
// for watchers and changes for the disk come out. It does no I/O and reads no clock.
//
// Every change is undoable until committed: the owner applies some requests, writes `changes()` to the disk, and
// calls `committed()`, or `rollback()` when the disk refused; answers and events of the requests leave only after
// `committed()`. While it writes it applies nothing. So what memory shows is never ahead of the disk.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/units.h"
#include "bytes/shared.h"
#include "zkserver/tree/acl.h"
#include "zkserver/tree/watches.h"
#include "zkwire/codes.h"
#include "zkwire/messages.h"

namespace weir::zkserver {

using SessionId = std::int64_t;
using Zxid = std::int64_t;
using Password = std::array<std::byte, 16>;

// What marks a container and a TTL node where others have the session that owns them.
inline constexpr std::int64_t container_owner = INT64_MIN;
inline constexpr std::int64_t ttl_mask = static_cast<std::int64_t>(0xff00000000000000ULL);
inline constexpr std::int64_t ttl_ms_max = 0x000000ffffffffffLL;
bool is_ephemeral(std::int64_t owner);  // owned by a session
bool is_ttl(std::int64_t owner);

// What the disk keeps of a node. `cversion` counts creations of children (a Stat shows creations and deletions).
struct NodeState {
  bytes::Shared data;
  bool null_data = false;
  AclRef acl;
  Zxid czxid = 0, mzxid = 0, pzxid = 0;
  std::int64_t ctime = 0, mtime = 0;
  std::int32_t version = 0, cversion = 0, aversion = 0;
  std::int64_t owner = 0;
};

struct Node : NodeState {
  std::set<std::string, std::less<>> children;
  zkwire::Stat stat() const;
};

struct SessionState {
  SessionId id = 0;
  milliseconds timeout{0};
  Password password{};
};

// What one commit writes. A node is put whole, or only its numbers when its data stayed as it was.
struct Changes {
  struct NodeChange {
    std::string path;
    enum class Kind : std::uint8_t { put, numbers, remove } kind = Kind::put;
    NodeState state;
  };
  struct SessionChange {
    SessionState session;
    bool removed = false;
  };
  Zxid zxid = 0;
  std::vector<NodeChange> nodes;
  std::vector<SessionChange> sessions;
  bool empty() const { return nodes.empty() && sessions.empty(); }
};

struct Event {
  ConnId to = 0;
  zkwire::EventType type = zkwire::EventType::none;
  std::string path;
};

// What the paths of one connection's watches may take together.
inline constexpr std::size_t watch_bytes_per_connection_max = 32 * MiB;

// Who asks. The connection must be attached.
struct Caller {
  ConnId conn = 0;
  SessionId session = 0;
  TimestampMs now = 0;
};

struct Answer {
  zkwire::Code err = zkwire::Code::ok;
  bytes::Shared body;  // what follows the ReplyHeader; empty with an error
};

class Tree {
 public:
  template <class T>
  using Zk = std::expected<T, zkwire::Code>;

  // A tree as a fresh ZooKeeper has it.
  Tree();
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  // --- loading, before anything else ---
  void load_node(std::string path, NodeState state);
  void load_session(SessionState session);
  // Ties children to parents. False: a node without its parent, or an ephemeral node without its session.
  bool loaded(Zxid zxid);

  // --- connections: not undone by rollback ---
  void attach(ConnId conn, Ids ids);
  void add_id(ConnId conn, zkwire::Id id);
  void detach(ConnId conn);  // its watches go
  const Ids& ids(ConnId conn) const;

  // --- requests ---
  // Any request but auth, ping, sasl, createSession and closeSession.
  Answer handle(const Caller& caller, zkwire::OpCode type, bytes::Bytes body);
  void create_session(const SessionState& session);
  // False: there is none.
  bool close_session(SessionId id);
  const SessionState* session(SessionId id) const;
  const std::unordered_map<SessionId, SessionState>& sessions() const { return sessions_; }
  // Empty containers, and TTL nodes not changed for their time, that are due.
  std::vector<std::string> overdue(TimestampMs now, milliseconds container_never_used_max) const;
  void remove_overdue(const std::string& path);

  // Events since the last call, in the order to send; those of undone changes are not among them.
  std::vector<Event> take_events();

  // --- commit ---
  struct Mark {
    std::size_t journal = 0;
    Zxid zxid = 0;
    std::size_t events = 0;
  };
  Mark mark() const { return {journal_.size(), zxid_, events_.size()}; }
  // Whether something for the disk changed since `mark`.
  bool changed_since(const Mark& mark) const { return zxid_ != mark.zxid; }
  Changes changes() const;
  void committed() { journal_.clear(); }
  void rollback(const Mark& mark);
  void rollback() { rollback(Mark{0, base_zxid(), 0}); }

  // --- to look at ---
  Zxid zxid() const { return zxid_; }
  const Node* find(std::string_view path) const;
  std::size_t size() const { return nodes_.size(); }
  std::size_t data_bytes() const { return data_bytes_; }
  std::size_t ephemerals() const;
  const std::map<SessionId, std::set<std::string, std::less<>>>& ephemerals_by_session() const { return ephemerals_; }
  const WatchTable& data_watches() const { return data_watches_; }
  const WatchTable& child_watches() const { return child_watches_; }
  void set_watches_per_connection_max(std::size_t n) { watches_per_connection_max_ = n; }

 private:
  enum class Touch : std::uint8_t { nothing, numbers, whole, session };
  struct Change {
    Touch touch = Touch::nothing;
    std::string path;
    SessionId session = 0;
    Zxid zxid_before = 0;
    std::move_only_function<void()> undo;
  };
  // A change of a node that watchers are told of once the request as a whole succeeds.
  struct Trigger {
    zkwire::EventType type = zkwire::EventType::none;
    std::string path;
    AclRef acl;
    AclRef parent_acl;
  };
  struct CreateArgs {
    std::string path;
    zkwire::Buffer data;
    AclRef acl;
    std::int64_t owner = 0;
    TimestampMs now = 0;
  };

  Zxid base_zxid() const { return journal_.empty() ? zxid_ : journal_.front().zxid_before; }
  Node* node(std::string_view path);
  AclRef share(Acls acls);
  bool permitted(const Caller& caller, const Node& node, std::int32_t permissions) const;
  void note(Touch touch, std::string path, std::move_only_function<void()> undo);
  void note_session(SessionId id, std::move_only_function<void()> undo);

  // Changes without questions, each with its undo.
  void link(std::string path, Node node);
  void unlink(const std::string& path);
  void insert(CreateArgs args, Zxid zxid);
  void erase(const std::string& path, Zxid zxid);
  void own(std::int64_t owner, const std::string& path);
  void disown(std::int64_t owner, const std::string& path);

  // Requests that change, at `zxid`; the error leaves all as it was.
  Zk<std::string> create(const Caller& caller, zkwire::OpCode type, std::string_view path, zkwire::Buffer data,
                         const Acls& acls, std::int32_t flags, std::int64_t ttl_ms, Zxid zxid);
  Zk<void> remove(const Caller& caller, std::string_view path, std::int32_t version, Zxid zxid);
  Zk<zkwire::Stat> set_data(const Caller& caller, const zkwire::SetDataRequest& request, Zxid zxid);
  Zk<zkwire::Stat> set_acl(const Caller& caller, const zkwire::SetAclRequest& request, Zxid zxid);
  Zk<void> check(const Caller& caller, const zkwire::PathVersion& request) const;
  Zk<zkwire::MultiResult> apply(const Caller& caller, const zkwire::MultiOp& op, Zxid zxid);
  // One request that changes: numbers it, and tells the watchers.
  void accept(Zxid zxid);

  // Requests that read.
  Zk<const Node*> readable(const Caller& caller, std::string_view path, std::int32_t permissions) const;
  Zk<zkwire::Stat> exists(const Caller& caller, const zkwire::PathWatch& request);
  Zk<zkwire::GetDataResponse> get_data(const Caller& caller, const zkwire::PathWatch& request);
  Zk<const Node*> get_children(const Caller& caller, const zkwire::PathWatch& request);
  Zk<zkwire::GetAclResponse> get_acl(const Caller& caller, std::string_view path) const;
  Answer multi(const Caller& caller, bytes::Bytes body);
  Answer multi_read(const Caller& caller, bytes::Bytes body);
  Answer set_watches(const Caller& caller, const zkwire::SetWatches2& request);
  Zk<void> add_watch(const Caller& caller, const zkwire::AddWatchRequest& request);
  Zk<void> change_watches(const Caller& caller, const zkwire::WatchesRequest& request, bool remove);
  Answer handle_write(const Caller& caller, zkwire::OpCode type, bytes::Bytes body);
  Answer handle_read(const Caller& caller, zkwire::OpCode type, bytes::Bytes body);
  Answer handle_watch(const Caller& caller, zkwire::OpCode type, bytes::Bytes body);

  Zk<void> watch(WatchTable& table, std::string_view path, ConnId conn, std::uint8_t mode);
  void set_modes(WatchTable& table, std::string_view path, ConnId conn, std::uint8_t modes);
  // Events for the watchers of `path` that may read it, once each, but not for those in `told`; gives all of them.
  std::set<ConnId> fire(WatchTable& table, zkwire::EventType type, const std::string& path, const AclRef& acl,
                        const std::set<ConnId>& told);
  void fire(const Trigger& trigger);

  std::unordered_map<std::string, Node, TextHash, std::equal_to<>> nodes_;
  std::unordered_map<SessionId, SessionState> sessions_;
  std::map<SessionId, std::set<std::string, std::less<>>> ephemerals_;
  std::set<std::string, std::less<>> expiring_;  // containers and TTL nodes
  std::unordered_map<ConnId, Ids> connections_;
  std::unordered_map<std::string, std::weak_ptr<const Acls>> acls_;  // equal lists share memory
  std::size_t acls_prune_at_ = 1024;
  WatchTable data_watches_;
  WatchTable child_watches_;
  std::vector<Change> journal_;
  std::vector<Trigger> triggers_;
  std::vector<Event> events_;
  Zxid zxid_ = 0;
  std::size_t data_bytes_ = 0;
  std::size_t watches_per_connection_max_ = 200'000;
};

}  // namespace weir::zkserver
