// The one place where the tree changes: a queue of requests from all connections, served on one shard.
//
// While a commit runs on the pool, requests gather; when it is done they are served together, against memory, and
// what they changed is committed in one transaction: one fsync for all of them. Answers and events leave after it, in
// the order of the requests. A batch that changes nothing costs no commit. If the disk refuses, all of the batch is
// undone and served again without its changes: those get a SystemError, reads their answer.
//
// Everything but post() and queued() is used on the engine's shard only.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "runtime/budget.h"
#include "runtime/shard.h"
#include "zkserver/link.h"
#include "zkserver/options.h"
#include "zkserver/sessions.h"
#include "zkserver/tree/tree.h"

namespace weir::metrics {
class Registry;
}  // namespace weir::metrics
namespace weir::runtime {
class Pool;
class Random;
}  // namespace weir::runtime

namespace weir::zkserver {

class Store;

// --- what is asked of the engine ---

struct ConnectOp {
  std::shared_ptr<Link> link;
  Zxid last_zxid_seen = 0;
  milliseconds timeout{0};
  SessionId session = 0;  // 0: a new one
  std::vector<std::byte> password;
  bool tells_read_only = false;  // clients since 3.4
};
struct RequestOp {
  ConnId conn = 0;
  zkwire::RequestHeader header;
  bytes::Shared body;
  runtime::Lease lease;  // of the memory of the body
  nanoseconds came_at{0};
};
struct LeaveOp {  // the connection is gone; its session is not
  ConnId conn = 0;
};
struct EndOp {
  SessionId session = 0;
  bool expired = false;
  struct Waiting {
    runtime::Waiter waiter;
    std::optional<Result<bool>> result;
  };
  Waiting* waiting = nullptr;  // null: nobody
};
struct SweepOp {};  // containers and TTL nodes
using Op = std::variant<ConnectOp, RequestOp, LeaveOp, EndOp, SweepOp>;

class Engine {
 public:
  struct Numbers {  // since the start, or since srst
    std::uint64_t received = 0;
    std::uint64_t sent = 0;
    std::uint64_t answered = 0;
    std::uint64_t latency_ms_sum = 0;
    std::uint64_t latency_ms_min = 0;
    std::uint64_t latency_ms_max = 0;
    std::uint64_t commits = 0;            // transactions
    std::uint64_t committed_changes = 0;  // requests that changed something, in all of them
    std::uint64_t commit_failures = 0;
    std::uint64_t expired_sessions = 0;
    std::uint64_t state_bytes = 0;  // of the database, after the last commit
  };
  struct Client {
    std::shared_ptr<Link> link;
    SessionId session = 0;
    milliseconds timeout{0};
    TimestampMs since = 0;
    zkwire::OpCode last_op = zkwire::OpCode::create_session;
    std::int64_t last_cxid = -1;
    Zxid last_zxid = 0;
    nanoseconds last_answer{0};
    std::uint64_t received = 0, sent = 0, waiting = 0;
    std::uint64_t latency_ms_last = 0, latency_ms_min = 0, latency_ms_max = 0, latency_ms_sum = 0, answered = 0;
  };

  // `tree` is loaded. The engine starts with start(), on `shard`.
  Engine(runtime::Shard& shard, runtime::Pool& pool, runtime::Random& random, Store& store, std::unique_ptr<Tree> tree,
         const Options& options);
  ~Engine();

  // Shows its numbers there from now on. Before start(); the registry outlives the engine.
  void show_in(metrics::Registry& registry);

  void start();
  // Serves what is queued, then ends. What is posted later is dropped.
  runtime::Task<void> stop();

  // From any thread; in the order of the posts of one shard.
  void post(Op op);
  // Requests that wait; a glance from any thread.
  std::uint32_t queued() const { return queued_.load(std::memory_order_relaxed); }

  // Ends a session and waits until that is on the disk.
  runtime::Task<Result<bool>> end_session(SessionId id, bool expired);

  const Tree& tree() const { return *tree_; }
  const std::map<ConnId, Client>& clients() const { return clients_; }
  const Deadlines& deadlines() const { return deadlines_; }
  const Numbers& numbers() const { return numbers_; }
  void reset_numbers();
  void reset_client_numbers();

 private:
  struct Output {
    ConnId conn = 0;
    bytes::Shared frame;  // empty: only closes
    bool reply = false;
    bool close = false;
    nanoseconds came_at{0};
  };
  // What serving a batch leaves to do once it is on the disk.
  struct Batch {
    std::vector<Output> outputs;
    std::unordered_set<ConnId> ended;  // connections: later requests of theirs are dropped
    std::vector<ConnId> moved;         // ended because their session is on another connection now
    std::vector<SessionId> closed;
    std::vector<std::pair<EndOp::Waiting*, bool>> results;
    std::uint64_t changes = 0;
    bool refuse = false;  // the disk does not take changes
    TimestampMs now = 0;
  };

  runtime::Task<void> run();
  runtime::Task<void> process(std::vector<Op> ops);
  void enqueue(Op op);
  void tick();
  void sweep();

  void serve(Batch& batch, const ConnectOp& op);
  void serve(Batch& batch, const RequestOp& op);
  void serve(Batch& batch, const LeaveOp& op);
  void serve(Batch& batch, const EndOp& op);
  void serve(Batch& batch, const SweepOp& op);
  std::optional<SessionId> open_session(Batch& batch, const ConnectOp& op, milliseconds timeout);
  bool resume_session(Batch& batch, const ConnectOp& op);
  void authenticate(Batch& batch, const RequestOp& op);
  bool close_session(Batch& batch, SessionId id);
  // Undoes what happened since `mark` when the disk takes no changes; true then.
  bool refused(Batch& batch, const Tree::Mark& mark);
  void reply(Batch& batch, const RequestOp& op, zkwire::Code err, const bytes::Shared& body, bool close = false);
  void push_events(Batch& batch);
  void end(Batch& batch, ConnId conn);
  void send(Batch& batch);
  void count(Client& client, const Output& output, nanoseconds now);
  void show();

  runtime::Shard& shard_;
  runtime::Pool& pool_;
  runtime::Random& random_;
  Store& store_;
  const Options options_;
  const std::unique_ptr<Tree> tree_;
  Deadlines deadlines_;
  std::map<ConnId, Client> clients_;
  std::unordered_map<SessionId, ConnId> owners_;  // which connection speaks for a session
  SessionId next_session_ = 0;

  std::vector<Op> queue_;
  std::atomic<std::uint32_t> queued_{0};
  runtime::Waiter work_;
  runtime::Scope scope_;
  bool started_ = false;
  bool stopping_ = false;
  runtime::Shard::TimerId tick_timer_ = 0;
  runtime::Shard::TimerId sweep_timer_ = 0;
  Numbers numbers_;
  struct Shown;
  std::unique_ptr<Shown> shown_;  // null: nobody looks
};

}  // namespace weir::zkserver
