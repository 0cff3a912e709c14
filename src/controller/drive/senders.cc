#include "controller/drive/senders.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/log.h"

namespace weir::controller {

using namespace std::chrono_literals;

void Senders::send(std::map<BrokerId, decide::Orders> orders) {
  std::vector<BrokerId> full;
  for (auto& [broker, order] : orders) {
    auto& queue = queues_[broker];
    if (!queue) queue = std::make_shared<Queue>(shard_);
    if (!queue->waiting.empty() && decide::mergeable(queue->waiting.back(), order)) {
      decide::merge(queue->waiting.back(), std::move(order));
      continue;
    }
    if (queue->waiting.size() >= waiting_max) {
      full.push_back(broker);
      continue;
    }
    queue->waiting.push_back(std::move(order));
    if (queue->running) continue;
    queue->running = true;
    ++busy_;
    scope_.spawn(drain(broker, queue));
  }
  for (const auto broker : full) {
    WEIR_LOG(error, "broker {} takes no orders: {} wait for it, and are dropped", broker.value, waiting_max);
    drop(broker);
    tell_.untold(broker);
  }
}

void Senders::drop(BrokerId broker) {
  const auto found = queues_.find(broker);
  if (found == queues_.end()) return;
  const auto queue = std::move(found->second);
  queues_.erase(found);
  queue->ended = true;
  queue->waiting.clear();
  queue->pause.wake();
  queue->refusal.wake();
  if (queue->running) rest();
}

void Senders::drop_all() {
  while (!queues_.empty()) drop(queues_.begin()->first);
}

void Senders::rest() {
  if (--busy_ == 0) tell_.idle();
}

std::map<BrokerId, std::size_t> Senders::waiting() const {
  std::map<BrokerId, std::size_t> out;
  for (const auto& [broker, queue] : queues_) out[broker] = queue->waiting.size() + (queue->running ? 1 : 0);
  return out;
}

Task<void> Senders::stop() {
  drop_all();
  co_await scope_.stop();
}

Task<void> Senders::drain(BrokerId broker, QueuePtr queue) {
  while (!queue->waiting.empty() && !queue->ended) {
    auto orders = std::move(queue->waiting.front());
    queue->waiting.pop_front();
    if (orders.brokers_first) co_await update(broker, queue, std::move(*orders.brokers_first));
    if (orders.leader_and_isr) {
      for (auto& part : decide::split(std::move(*orders.leader_and_isr), options_.partitions_max)) {
        co_await lead(broker, queue, std::move(part));
      }
    }
    if (orders.update_metadata) {
      for (auto& part : decide::split(std::move(*orders.update_metadata), options_.partitions_max)) {
        co_await update(broker, queue, std::move(part));
      }
    }
    if (orders.stop_replica) {
      for (auto& part : decide::split(std::move(*orders.stop_replica), options_.partitions_max)) {
        co_await halt(broker, queue, std::move(part));
      }
    }
  }
  queue->running = false;
  if (!queue->ended) rest();
}

Task<bool> Senders::again(BrokerId broker, QueuePtr queue, std::string_view what, Error error) {
  if (queue->ended) co_return false;
  WEIR_LOG_LIMITED(warn, 5s, "broker {} did not take {}: {} {}", broker.value, what, name(error.code), error.message);
  // Meant for another life of the broker: its registration says so, and brings it everything anew.
  if (error.code == ErrorCode::STALE_BROKER_EPOCH) co_return false;
  if (error.code == ErrorCode::INVALID_REQUEST) {
    if (!std::exchange(queue->rebuilding, true)) scope_.spawn(make_anew(broker, queue));
    co_return false;
  }
  // If the office is lost, all that waits is dropped; if not, somebody told the broker a wrong epoch, and it takes
  // orders again when it has found that out.
  if (error.code == ErrorCode::STALE_CONTROLLER_EPOCH) tell_.superseded();
  queue->retry = std::clamp(2 * queue->retry, options_.retry, options_.retry_max);
  (void)co_await queue->pause.wait(queue->retry);
  co_return !queue->ended;
}

Task<void> Senders::make_anew(BrokerId broker, QueuePtr queue) {
  const bool long_ago = shard_.clock().mono() - queue->rebuilt_at > 2 * options_.rebuild_max;
  queue->rebuild =
      long_ago || queue->rebuild == 0ms ? options_.retry : std::min(2 * queue->rebuild, options_.rebuild_max);
  (void)co_await queue->refusal.wait(queue->rebuild);
  queue->rebuilding = false;
  queue->rebuilt_at = shard_.clock().mono();
  if (!queue->ended) tell_.untold(broker);
}

Task<void> Senders::lead(BrokerId broker, QueuePtr queue, LeaderAndIsrOrder order) {
  while (!queue->ended) {
    auto answer = co_await link_.leader_and_isr(broker, order);
    if (answer) {
      queue->retry = 0ms;
      if (!queue->ended) tell_.led(broker, std::move(*answer));
      co_return;
    }
    if (!co_await again(broker, queue, "LeaderAndIsr", answer.error())) co_return;
  }
}

Task<void> Senders::update(BrokerId broker, QueuePtr queue, UpdateMetadataOrder order) {
  while (!queue->ended) {
    auto answer = co_await link_.update_metadata(broker, order);
    if (answer) {
      queue->retry = 0ms;
      co_return;
    }
    if (!co_await again(broker, queue, "UpdateMetadata", answer.error())) co_return;
  }
}

Task<void> Senders::halt(BrokerId broker, QueuePtr queue, StopReplicaOrder order) {
  std::set<PartitionRef> to_remove;
  for (const auto& item : order.partitions) {
    if (item.remove) to_remove.insert(item.at);
  }
  while (!queue->ended) {
    auto answer = co_await link_.stop_replica(broker, order);
    if (answer) {
      queue->retry = 0ms;
      std::erase_if(*answer, [&](const PartitionAnswer& a) { return !to_remove.contains(a.at); });
      if (!queue->ended && !answer->empty()) tell_.removed(broker, std::move(*answer));
      co_return;
    }
    const auto code = answer.error().code;
    if (co_await again(broker, queue, "StopReplica", answer.error())) continue;
    if (queue->ended || code != ErrorCode::INVALID_REQUEST || to_remove.empty()) co_return;
    // It is remembered what was to go, and said again when the broker is told everything; no other order waits for it.
    OrderAnswer refused;
    for (const auto& at : to_remove) refused.push_back({at, code});
    tell_.removed(broker, std::move(refused));
    co_return;
  }
}

}  // namespace weir::controller
