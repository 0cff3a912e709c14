#include "broker/pipeline.h"

#include <algorithm>
#include <array>
#include <deque>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "base/log.h"
#include "broker/api/table.h"
#include "broker/request.h"
#include "broker/tls.h"

namespace weir::broker {
namespace {

// How many answers are handed to the socket in one write at most.
constexpr std::size_t answers_in_a_write_max = 16;

// A connection that comes before the broker is part of the cluster waits this long.
constexpr seconds start_wait_max{30};

// Memory of answers that wait for a peer to take them; over it the connection is not read.
constexpr std::uint64_t unsent_bytes_max = 8 * MiB;

// Requests of brokers among themselves.
bool among_brokers(std::int16_t api_key) {
  constexpr std::array<std::int16_t, 6> keys{4, 5, 6, 7, 56, 67};
  return std::ranges::find(keys, api_key) != keys.end();
}

struct Slot {
  std::unique_ptr<Request> request;  // until the answer is there
  Response response;
  bool done = false;
  std::size_t size = 0;
  std::uint64_t unsent = 0;  // memory of the answer
  std::string kind;          // of what is logged when the connection is closed for it
  nanoseconds began{};
  const ApiMetrics* metrics = nullptr;
};

// One connection being served; lives in the frame of serve().
class Serving {
 public:
  Serving(Node& node, net::Connection& connection)
      : node_(node), connection_(connection), scope_(connection.shard()), turn_(connection.shard()) {}

  Task<void> run();

 private:
  Task<void> read_requests();
  // No more is read: too many requests are unanswered, or too many answers unsent.
  bool full() const { return slots_.size() >= requests_in_flight_max || unsent_bytes_ > unsent_bytes_max; }
  Task<void> answer(Slot& slot);
  Task<Response> respond(Request& request);
  Task<void> until_ready(std::int16_t api_key);
  Task<void> write_answers();
  void bad(std::string_view what, std::string_view kind);

  Node& node_;
  net::Connection& connection_;
  Interrupts interrupts_;
  runtime::Scope scope_;
  runtime::Waiter turn_;  // run() waits here: for its turn to read, or for room
  bool waiting_ = false;
  bool may_go_on_ = true;
  bool writing_ = false;
  std::uint64_t unsent_bytes_ = 0;  // memory of answers that wait for the socket
  std::deque<std::unique_ptr<Slot>> slots_;
};

Task<void> Serving::run() {
  // Who waits is told when the connection ends, also while nobody reads it.
  connection_.on_close([this] {
    interrupts_.raise();
    turn_.wake();
  });
  try {
    co_await read_requests();
  } catch (const std::exception& e) {
    WEIR_LOG(error, "the connection from {} failed: {}", connection_.peer().text(), e.what());
    connection_.close(e.what());
  }
  connection_.on_close(nullptr);
  if (!interrupts_.raised()) interrupts_.raise();
  co_await scope_.stop();
  node_.metrics->in_flight.sub(static_cast<std::int64_t>(slots_.size()));
}

Task<void> Serving::read_requests() {
  while (!connection_.closed()) {
    auto frame = co_await connection_.read_frame();
    if (!frame) break;
    auto slot = std::make_unique<Slot>();
    slot->size = frame->bytes.size();
    slot->began = connection_.shard().clock().mono();
    slot->request = std::make_unique<Request>(node_, connection_, interrupts_, std::move(*frame));
    may_go_on_ = false;
    slot->request->when_going_on([this] {
      may_go_on_ = true;
      if (waiting_) turn_.wake();
    });
    connection_.mute();
    node_.metrics->in_flight.add();
    slots_.push_back(std::move(slot));
    scope_.spawn(answer(*slots_.back()));
    while ((!may_go_on_ || full()) && !connection_.closed()) {
      waiting_ = true;
      co_await turn_.wait();
      waiting_ = false;
    }
  }
}

void Serving::bad(std::string_view what, std::string_view kind) {
  WEIR_LOG_LIMITED_BY(warn, seconds(10), kind, "closing the connection from {}: {}", connection_.peer().text(), what);
  connection_.close(what);
}

// While the broker starts its listeners are bound, but it has nothing true to say to clients before the controller has
// told it of the cluster, itself among it. The controller's orders are what it waits for.
Task<void> Serving::until_ready(std::int16_t api_key) {
  constexpr std::array<std::int16_t, 4> always{4, 5, 6, 18};  // LeaderAndIsr, StopReplica, UpdateMetadata, ApiVersions
  if (std::ranges::find(always, api_key) != always.end()) co_return;
  auto ready = [id = node_.id](const cluster::Image& image) { return image.alive(id); };
  for (auto waited = seconds(0); !node_.image()->alive(node_.id); ++waited) {
    if (connection_.closed() || waited >= start_wait_max || node_.images->stopped()) co_return;
    co_await node_.images->wait_until(ready, seconds(1));
  }
}

Task<Response> Serving::respond(Request& request) {
  const bool decoded = request.read_header();
  if (request.frame().size() < 4) co_return Response::malformed("its header does not decode");
  const auto& header = request.header();
  const auto* row = find_row(header.request_api_key);
  if (row == nullptr) {
    node_.metrics->unsupported.add();
    co_return Response::close(fmt::format("request for API {}, which is not served", header.request_api_key), "API");
  }
  const bool has = header.request_api_version >= row->version_min && header.request_api_version <= row->version_max;
  // ApiVersions answers any version: that is how a client learns which ones there are (KIP-511). What the header of
  // another version that is not served looks like, nobody knows.
  if (!has && header.request_api_key != 18) {
    node_.metrics->unsupported.add();
    co_return Response::close(
        fmt::format("{} request of version {}, served are {} to {}", protocol::find_api(row->key)->name,
                    header.request_api_version, row->version_min, row->version_max),
        "version");
  }
  if (!decoded) co_return Response::malformed("its header does not decode");
  if (among_brokers(header.request_api_key) && connection_.listener() != node_.config()->config.inter_broker_listener) {
    node_.metrics->unsupported.add();
    co_return Response::close(fmt::format("{} is for brokers, on their listener (inter.broker.listener.name)",
                                          protocol::find_api(row->key)->name),
                              "brokers only");
  }
  co_await until_ready(header.request_api_key);
  co_return co_await row->handler(request);
}

Task<void> Serving::answer(Slot& slot) {
  try {
    slot.response = co_await respond(*slot.request);
  } catch (const std::exception& e) {
    slot.response = Response::close(fmt::format("internal error: {}", e.what()));
    WEIR_LOG(error, "request of API {} version {} from {} failed: {}", slot.request->header().request_api_key,
             slot.request->version(), connection_.peer().text(), e.what());
  }
  slot.metrics = node_.metrics->of(slot.request->header().request_api_key);
  if (slot.metrics != nullptr && !slot.metrics->requests) slot.metrics = nullptr;
  slot.request->go_on();
  if (slot.response.kind == Response::Kind::malformed) {
    slot.response.reason =
        fmt::format("malformed request of API {} version {}: {}", slot.request->header().request_api_key,
                    slot.request->version(), slot.response.reason);
  }
  if (slot.response.kind == Response::Kind::malformed || slot.response.kind == Response::Kind::close) {
    const auto key = slot.request->header().request_api_key;
    slot.kind = fmt::format("{} {}", slot.response.kind_of_reason, find_row(key) == nullptr ? -1 : key);
  }
  slot.request.reset();  // the frame's memory goes back
  for (const auto& chunk : slot.response.chunks) slot.unsent += chunk.memory.size();
  unsent_bytes_ += slot.unsent;
  slot.done = true;
  if (writing_) co_return;
  try {
    co_await write_answers();
  } catch (const std::exception& e) {
    writing_ = false;
    bad(e.what(), "exception");
  }
}

Task<void> Serving::write_answers() {
  writing_ = true;
  while (!slots_.empty() && slots_.front()->done) {
    std::vector<runtime::Chunk> chunks;
    std::vector<std::unique_ptr<Slot>> taken;
    bool closing = false;
    while (!slots_.empty() && slots_.front()->done && taken.size() < answers_in_a_write_max && !closing) {
      auto& slot = taken.emplace_back(std::move(slots_.front()));
      slots_.pop_front();
      switch (slot->response.kind) {
        case Response::Kind::none: break;
        case Response::Kind::send: {
          std::uint64_t size = 0;
          for (auto& chunk : slot->response.chunks) {
            size += chunk.size();
            chunks.push_back(std::move(chunk));
          }
          if (slot->metrics != nullptr) slot->metrics->bytes_out->add(size);
          break;
        }
        case Response::Kind::malformed: node_.metrics->malformed.add(); [[fallthrough]];
        case Response::Kind::close: closing = true; break;
      }
    }
    if (!chunks.empty() && !connection_.closed()) co_await connection_.write(std::move(chunks));
    const auto now = connection_.shard().clock().mono();
    for (auto& slot : taken) {
      unsent_bytes_ -= slot->unsent;
      connection_.unmute();
      node_.metrics->in_flight.sub();
      if (slot->metrics == nullptr) continue;
      slot->metrics->requests->add();
      slot->metrics->bytes_in->add(slot->size);
      slot->metrics->total_time->observe(now - slot->began);
    }
    if (closing) bad(taken.back()->response.reason, taken.back()->kind);
    if (waiting_) turn_.wake();
  }
  writing_ = false;
}

}  // namespace

Task<void> Pipeline::serve(std::shared_ptr<net::Connection> connection) {
  if (node_.tls != nullptr && node_.tls->any()) {
    const auto principal = node_.tls->principal(*connection);
    if (!principal) {
      WEIR_LOG_LIMITED(warn, seconds(10), "closing the connection from {}: {}", connection->peer().text(),
                       principal.error().message);
      co_return;
    }
    WEIR_LOG(debug, "connection {} of listener {}: {}, {}", connection->id(), connection->listener(), *principal,
             connection->transport().protection().empty() ? "plaintext" : connection->transport().protection());
  }
  Serving serving(node_, *connection);
  co_await serving.run();
}

}  // namespace weir::broker
