#include "zkserver/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/log.h"
#include "metrics/registry.h"
#include "runtime/pool.h"
#include "runtime/random.h"
#include "zkserver/auth.h"
#include "zkserver/store.h"

namespace weir::zkserver {

using runtime::Task;
using zkwire::Code;
using zkwire::OpCode;

namespace {

// A batch is bounded, so that answers do not wait for a queue that never empties.
constexpr std::size_t batch_requests_max = 4096;

bytes::Shared connect_response(const ConnectOp& op, SessionId session, milliseconds timeout, const Password& password) {
  zkwire::ConnectResponse response;
  response.timeout_ms = static_cast<std::int32_t>(timeout.count());
  response.session_id = session;
  response.password = bytes::Bytes(password);
  return op.tells_read_only ? zkwire::encode_frame(response, zkwire::ReadOnly{false}) : zkwire::encode_frame(response);
}

// The reply header, then a body that is encoded already.
bytes::Shared reply_frame(const zkwire::ReplyHeader& header, const bytes::Shared& body) {
  const auto head = zkwire::jute::size_of(header);
  auto out = bytes::Shared::allocate(4 + head + body.size());
  bytes::Writer w(out.mutable_view());
  w.i32(static_cast<std::int32_t>(head + body.size()));
  zkwire::jute::write_field(w, header);
  w.put(body.view());
  return out;
}

}  // namespace

struct Engine::Shown {
  explicit Shown(metrics::Registry& to)
      : requests(to.counter("weir_zk_requests_total", "Requests of ZooKeeper clients that were answered")),
        commits(to.counter("weir_zk_commits_total", "Transactions that brought changes to the disk")),
        changes(to.counter("weir_zk_changes_total", "Requests that changed something, in all transactions")),
        failures(to.counter("weir_zk_commit_failures_total", "Transactions that the disk refused")),
        commit_time(to.histogram("weir_zk_commit_seconds", "Time of a transaction, with its fsync")),
        connections(to.gauge("weir_zk_connections", "Connections with a session")),
        sessions(to.gauge("weir_zk_sessions", "Sessions")),
        nodes(to.gauge("weir_zk_nodes", "Nodes of the tree")),
        watches(to.gauge("weir_zk_watches", "Watches")),
        state_bytes(to.gauge("weir_zk_state_bytes", "Size of the database")) {}

  metrics::Counter& requests;
  metrics::Counter& commits;
  metrics::Counter& changes;
  metrics::Counter& failures;
  metrics::Histogram& commit_time;
  metrics::Gauge& connections;
  metrics::Gauge& sessions;
  metrics::Gauge& nodes;
  metrics::Gauge& watches;
  metrics::Gauge& state_bytes;
};

Engine::Engine(runtime::Shard& shard, runtime::Pool& pool, runtime::Random& random, Store& store,
               std::unique_ptr<Tree> tree, const Options& options)
    : shard_(shard),
      pool_(pool),
      random_(random),
      store_(store),
      options_(options),
      tree_(std::move(tree)),
      deadlines_(options.expiry_grain()),
      work_(shard),
      scope_(shard) {
  numbers_.state_bytes = store_.size_bytes();
  tree_->set_watches_per_connection_max(options.watches_per_connection_max);
}

Engine::~Engine() { WEIR_CHECK(!started_ || stopping_, "an engine that started is stopped before it goes"); }

void Engine::show_in(metrics::Registry& registry) {
  shown_ = std::make_unique<Shown>(registry);
  show();
}

void Engine::show() {
  if (!shown_) return;
  const auto set = [](metrics::Gauge& gauge, std::uint64_t n) { gauge.set(static_cast<std::int64_t>(n)); };
  set(shown_->connections, clients_.size());
  set(shown_->sessions, tree_->sessions().size());
  set(shown_->nodes, tree_->size());
  set(shown_->watches, tree_->data_watches().watches() + tree_->child_watches().watches());
  set(shown_->state_bytes, numbers_.state_bytes);
}

void Engine::start() {
  WEIR_CHECK(shard_.here() && !started_, "the engine starts once, on its shard");
  started_ = true;
  // As ZooKeeper makes them: the time in the upper bytes, the (only) server's number 0 above it.
  const auto now = static_cast<std::uint64_t>(shard_.clock().wall().count());
  next_session_ = static_cast<SessionId>((now << 24) >> 8) + 1;
  deadlines_.advance(shard_.clock().mono());
  for (const auto& [id, session] : tree_->sessions()) {
    deadlines_.touch(id, session.timeout);
    next_session_ = std::max(next_session_, id + 1);
  }
  tick();
  sweep_timer_ = shard_.schedule(shard_.clock().mono() + options_.container_check_interval, [this] { sweep(); });
  scope_.spawn(run());
}

Task<void> Engine::stop() {
  WEIR_CHECK(shard_.here(), "the engine stops on its shard");
  stopping_ = true;
  if (tick_timer_ != 0) shard_.cancel(tick_timer_);
  if (sweep_timer_ != 0) shard_.cancel(sweep_timer_);
  work_.wake();
  co_await scope_.stop();
  clients_.clear();
}

void Engine::post(Op op) {
  if (std::holds_alternative<RequestOp>(op)) queued_.fetch_add(1, std::memory_order_relaxed);
  if (shard_.here()) {
    enqueue(std::move(op));
    return;
  }
  shard_.post([this, kept = std::move(op)]() mutable { enqueue(std::move(kept)); });
}

void Engine::enqueue(Op op) {
  if (auto* request = std::get_if<RequestOp>(&op)) {
    // What counts for the session is that its client spoke, not when we came to it.
    deadlines_.advance(shard_.clock().mono());
    if (const auto at = clients_.find(request->conn); at != clients_.end() && at->second.session != 0) {
      deadlines_.touch(at->second.session, at->second.timeout);
      ++at->second.received;
      ++at->second.waiting;
    }
  }
  if (std::holds_alternative<RequestOp>(op) || std::holds_alternative<ConnectOp>(op)) ++numbers_.received;
  if (stopping_) {
    if (auto* end = std::get_if<EndOp>(&op); end != nullptr && end->waiting != nullptr) {
      end->waiting->result = fail(ErrorCode::BROKER_NOT_AVAILABLE, "the coordination service stops");
      end->waiting->waiter.wake();
    }
    return;
  }
  queue_.push_back(std::move(op));
  work_.wake();
}

void Engine::tick() {
  deadlines_.advance(shard_.clock().mono());
  for (const auto id : deadlines_.expired()) enqueue(EndOp{id, true, nullptr});
  tick_timer_ = shard_.schedule(shard_.clock().mono() + options_.expiry_grain(), [this] { tick(); });
}

void Engine::sweep() {
  enqueue(SweepOp{});
  sweep_timer_ = shard_.schedule(shard_.clock().mono() + options_.container_check_interval, [this] { sweep(); });
}

Task<void> Engine::run() {
  while (true) {
    if (queue_.empty()) {
      if (stopping_) co_return;
      co_await work_.wait();
      continue;
    }
    std::vector<Op> ops;
    if (queue_.size() <= batch_requests_max) {
      ops.swap(queue_);
    } else {
      const auto cut = queue_.begin() + batch_requests_max;
      ops.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(cut));
      queue_.erase(queue_.begin(), cut);
    }
    co_await process(std::move(ops));
  }
}

Task<void> Engine::process(std::vector<Op> ops) {
  Batch batch;
  for (const bool refuse : {false, true}) {
    const auto moved = std::exchange(batch, Batch()).moved;
    batch.refuse = refuse;
    batch.now = shard_.clock().wall().count();
    for (const auto conn : moved) end(batch, conn);
    for (const auto& op : ops) {
      std::visit([&](const auto& one) { serve(batch, one); }, op);
      push_events(batch);
    }
    const auto changes = tree_->changes();
    if (changes.empty()) break;
    WEIR_CHECK(!refuse, "what the disk refused is not there a second time");
    const auto started = shard_.clock().mono();
    std::uint64_t bytes = 0;
    const auto write = [this, &changes, &bytes] {
      auto result = store_.commit(changes);
      bytes = store_.size_bytes();
      return result;
    };
    const auto written = co_await pool_.run(write);
    numbers_.state_bytes = bytes;
    if (shown_) {
      shown_->commit_time.observe(shard_.clock().mono() - started);
      (written ? shown_->commits : shown_->failures).add();
      if (written) shown_->changes.add(batch.changes);
    }
    if (written) {
      ++numbers_.commits;
      numbers_.committed_changes += batch.changes;
      break;
    }
    ++numbers_.commit_failures;
    WEIR_LOG_LIMITED(error, seconds(5), "coordination state is not written, changes are refused: {}",
                     written.error().message);
    tree_->rollback();
  }
  tree_->committed();
  send(batch);
  const auto requests =
      std::count_if(ops.begin(), ops.end(), [](const Op& op) { return std::holds_alternative<RequestOp>(op); });
  queued_.fetch_sub(static_cast<std::uint32_t>(requests), std::memory_order_relaxed);
  if (shown_) shown_->requests.add(static_cast<std::uint64_t>(requests));
  show();
}

// --- serving one -----------------------------------------------------------------------------------------------

void Engine::end(Batch& batch, ConnId conn) {
  if (batch.ended.insert(conn).second) batch.outputs.push_back({conn, {}, false, true, {}});
}

void Engine::push_events(Batch& batch) {
  for (const auto& event : tree_->take_events()) {
    if (batch.ended.contains(event.to)) continue;
    const zkwire::ReplyHeader header{zkwire::notification_xid, -1, Code::ok};
    const zkwire::WatcherEvent body{event.type, zkwire::KeeperState::sync_connected, event.path};
    batch.outputs.push_back({event.to, zkwire::encode_frame(header, body), false, false, {}});
  }
}

void Engine::reply(Batch& batch, const RequestOp& op, Code err, const bytes::Shared& body, bool close) {
  // A watcher hears of a change before it can read it.
  push_events(batch);
  const zkwire::ReplyHeader header{op.header.xid, tree_->zxid(), err};
  batch.outputs.push_back({op.conn, reply_frame(header, body), true, close, op.came_at});
  if (close) batch.ended.insert(op.conn);
}

bool Engine::refused(Batch& batch, const Tree::Mark& mark) {
  if (!tree_->changed_since(mark)) return false;
  ++batch.changes;
  if (!batch.refuse) return false;
  tree_->rollback(mark);
  return true;
}

std::optional<SessionId> Engine::open_session(Batch& batch, const ConnectOp& op, milliseconds timeout) {
  SessionState session;
  session.id = next_session_++;
  session.timeout = timeout;
  random_.fill(session.password);
  const auto mark = tree_->mark();
  tree_->create_session(session);
  if (refused(batch, mark)) return std::nullopt;
  batch.outputs.push_back({op.link->id, connect_response(op, session.id, timeout, session.password), true, false, {}});
  return session.id;
}

// A client that comes back: on this connection or, when it is faster than we are to see the old one die, while the
// old one is still there.
bool Engine::resume_session(Batch& batch, const ConnectOp& op) {
  const auto* session = tree_->session(op.session);
  if (session == nullptr ||
      !std::equal(op.password.begin(), op.password.end(), session->password.begin(), session->password.end())) {
    batch.outputs.push_back({op.link->id, connect_response(op, 0, milliseconds(0), {}), true, false, {}});
    return false;
  }
  if (const auto owner = owners_.find(op.session); owner != owners_.end() && owner->second != op.link->id) {
    batch.moved.push_back(owner->second);
    end(batch, owner->second);
  }
  return true;
}

void Engine::serve(Batch& batch, const ConnectOp& op) {
  const auto conn = op.link->id;
  auto& client = clients_[conn];
  client.link = op.link;
  client.received = 1;
  client.since = batch.now;
  client.timeout = std::clamp(op.timeout, options_.min_timeout(), options_.max_timeout());
  if (op.last_zxid_seen > tree_->zxid()) {
    WEIR_LOG_LIMITED(warn, seconds(5), "client {} has seen zxid {:#x}, which is not here (last {:#x}): refused",
                     op.link->address, op.last_zxid_seen, tree_->zxid());
    end(batch, conn);
    return;
  }
  std::optional<SessionId> session = op.session;
  if (op.session == 0) {
    session = open_session(batch, op, client.timeout);
  } else if (!resume_session(batch, op)) {
    session.reset();
  } else {
    batch.outputs.push_back({conn,
                             connect_response(op, op.session, client.timeout, tree_->session(op.session)->password),
                             true,
                             false,
                             {}});
  }
  if (!session) {
    end(batch, conn);
    return;
  }
  client.session = *session;
  client.last_op = OpCode::create_session;
  owners_[*session] = conn;
  tree_->attach(conn, Ids{{"ip", op.link->address}});
  deadlines_.touch(*session, client.timeout);
}

void Engine::serve(Batch& batch, const RequestOp& op) {
  const auto at = clients_.find(op.conn);
  if (at == clients_.end() || batch.ended.contains(op.conn)) return;
  auto& client = at->second;
  client.last_op = op.header.type;
  client.last_cxid = op.header.xid;
  const auto owner = owners_.find(client.session);
  if (tree_->session(client.session) == nullptr || owner == owners_.end() || owner->second != op.conn) {
    reply(batch, op, Code::session_expired, {}, true);
    return;
  }
  switch (op.header.type) {
    case OpCode::ping: reply(batch, op, Code::ok, {}); return;
    case OpCode::auth: authenticate(batch, op); return;
    case OpCode::sasl: {
      // There is no mechanism here. A client that insists on one is told so, not left to time out.
      reply(batch, op, Code::auth_failed, zkwire::encode(zkwire::SaslToken{}), true);
      return;
    }
    case OpCode::close_session: {
      const auto mark = tree_->mark();
      tree_->close_session(client.session);
      if (refused(batch, mark)) {
        reply(batch, op, Code::system_error, {});
        return;
      }
      batch.closed.push_back(client.session);
      reply(batch, op, Code::ok, {}, true);
      return;
    }
    default: break;
  }
  const auto mark = tree_->mark();
  const Caller caller{op.conn, client.session, batch.now};
  const auto answer = tree_->handle(caller, op.header.type, op.body.view());
  if (refused(batch, mark)) {
    reply(batch, op, Code::system_error, {});
    return;
  }
  reply(batch, op, answer.err, answer.body, answer.err == Code::unimplemented);
}

void Engine::authenticate(Batch& batch, const RequestOp& op) {
  const auto packet = zkwire::decode<zkwire::AuthPacket>(op.body.view());
  if (!packet) {
    reply(batch, op, Code::marshalling_error, {}, true);
    return;
  }
  const auto& address = clients_.at(op.conn).link->address;
  const auto auth = bytes::as_text(packet->auth.value_or(bytes::Bytes()));
  const auto ids = zkserver::authenticate(packet->scheme, auth, address, options_.super_digest);
  if (!ids || tree_->ids(op.conn).size() + ids->size() > 64) {
    WEIR_LOG_LIMITED(warn, seconds(5), "authentication of {} with scheme {} failed", address,
                     packet->scheme.substr(0, 32));
    reply(batch, op, Code::auth_failed, {}, true);
    return;
  }
  for (const auto& id : *ids) tree_->add_id(op.conn, id);
  reply(batch, op, Code::ok, {});
}

void Engine::serve(Batch& batch, const LeaveOp& op) {
  const auto at = clients_.find(op.conn);
  if (at == clients_.end()) return;
  if (const auto owner = owners_.find(at->second.session); owner != owners_.end() && owner->second == op.conn) {
    owners_.erase(owner);
  }
  tree_->detach(op.conn);
  batch.ended.insert(op.conn);
  // Not erased: when this batch is served again, what came before it needs its client. send() does it.
  batch.outputs.push_back({op.conn, {}, false, true, {}});
}

bool Engine::close_session(Batch& batch, SessionId id) {
  const auto mark = tree_->mark();
  if (!tree_->close_session(id)) return false;
  if (refused(batch, mark)) return true;
  batch.closed.push_back(id);
  push_events(batch);
  if (const auto owner = owners_.find(id); owner != owners_.end()) end(batch, owner->second);
  return true;
}

void Engine::serve(Batch& batch, const EndOp& op) {
  const bool known = close_session(batch, op.session);
  if (op.waiting != nullptr) batch.results.emplace_back(op.waiting, known);
  if (op.expired && known && batch.refuse) {
    // It could not be written now: in a tick it is tried again.
    deadlines_.touch(op.session, milliseconds(0));
  }
  if (op.expired && known && !batch.refuse) {
    ++numbers_.expired_sessions;
    WEIR_LOG(info, "session {:#x} expired", static_cast<std::uint64_t>(op.session));
  }
}

void Engine::serve(Batch& batch, const SweepOp&) {
  for (const auto& path : tree_->overdue(batch.now, options_.container_never_used_max)) {
    const auto mark = tree_->mark();
    tree_->remove_overdue(path);
    refused(batch, mark);
  }
}

// --- after the commit ------------------------------------------------------------------------------------------

void Engine::count(Client& client, const Output& output, nanoseconds now) {
  ++client.sent;
  ++numbers_.sent;
  if (!output.reply || output.came_at.count() == 0) return;
  const auto ms = static_cast<std::uint64_t>(std::max<std::int64_t>(0, (now - output.came_at).count() / 1'000'000));
  client.latency_ms_min = client.answered == 0 ? ms : std::min(client.latency_ms_min, ms);
  client.latency_ms_max = std::max(client.latency_ms_max, ms);
  client.latency_ms_last = ms;
  client.latency_ms_sum += ms;
  ++client.answered;
  client.last_answer = now;
  client.last_zxid = tree_->zxid();
  if (client.waiting > 0) --client.waiting;
  numbers_.latency_ms_min = numbers_.answered == 0 ? ms : std::min(numbers_.latency_ms_min, ms);
  numbers_.latency_ms_max = std::max(numbers_.latency_ms_max, ms);
  numbers_.latency_ms_sum += ms;
  ++numbers_.answered;
}

void Engine::send(Batch& batch) {
  const auto now = shard_.clock().mono();
  std::map<ConnId, Delivery> deliveries;
  for (auto& output : batch.outputs) {
    const auto at = clients_.find(output.conn);
    if (at == clients_.end()) continue;
    auto& delivery = deliveries[output.conn];
    delivery.close |= output.close;
    if (output.frame.empty()) continue;
    count(at->second, output, now);
    delivery.replies += output.reply ? 1 : 0;
    delivery.frames.push_back(std::move(output.frame));
  }
  for (const auto id : batch.closed) {
    deadlines_.forget(id);
    owners_.erase(id);
  }
  for (auto& [conn, delivery] : deliveries) {
    const auto at = clients_.find(conn);
    auto link = at->second.link;
    if (delivery.close) {
      if (const auto owner = owners_.find(at->second.session); owner != owners_.end() && owner->second == conn) {
        owners_.erase(owner);
      }
      tree_->detach(conn);
      clients_.erase(at);
    }
    auto& to = link->shard;
    to.post([kept = std::move(link), what = std::move(delivery)]() mutable { kept->deliver(std::move(what)); });
  }
  for (const auto& [waiting, known] : batch.results) {
    if (batch.refuse && known) {
      waiting->result = fail(ErrorCode::KAFKA_STORAGE_ERROR, "the session's end could not be written");
    } else {
      waiting->result = known;
    }
    waiting->waiter.wake();
  }
}

Task<Result<bool>> Engine::end_session(SessionId id, bool expired) {
  EndOp::Waiting waiting{runtime::Waiter(shard_), std::nullopt};
  EndOp op;
  op.session = id;
  op.expired = expired;
  op.waiting = &waiting;
  enqueue(std::move(op));
  while (!waiting.result) co_await waiting.waiter.wait();
  co_return std::move(*waiting.result);
}

void Engine::reset_numbers() {
  numbers_.received = numbers_.sent = numbers_.answered = 0;
  numbers_.latency_ms_sum = numbers_.latency_ms_min = numbers_.latency_ms_max = 0;
}

void Engine::reset_client_numbers() {
  for (auto& [conn, client] : clients_) {
    client.received = client.sent = client.answered = 0;
    client.latency_ms_last = client.latency_ms_min = client.latency_ms_max = client.latency_ms_sum = 0;
  }
}

}  // namespace weir::zkserver
