#include "controller/drive/senders.h"

#include <utility>

#include "base/log.h"

namespace weir::controller {

using namespace std::chrono_literals;

void Senders::send(std::map<BrokerId, decide::Orders> orders) {
  for (auto& [broker, order] : orders) {
    auto& queue = queues_[broker];
    if (!queue) queue = std::make_shared<Queue>(shard_);
    queue->waiting.push_back(std::move(order));
    if (queue->running) continue;
    queue->running = true;
    ++busy_;
    scope_.spawn(drain(broker, queue));
  }
}

void Senders::drop(BrokerId broker) {
  const auto found = queues_.find(broker);
  if (found == queues_.end()) return;
  found->second->ended = true;
  found->second->pause.wake();
  queues_.erase(found);
}

void Senders::drop_all() {
  while (!queues_.empty()) drop(queues_.begin()->first);
}

Task<void> Senders::stop() {
  drop_all();
  co_await scope_.stop();
}

Task<void> Senders::drain(BrokerId broker, std::shared_ptr<Queue> queue) {
  while (!queue->waiting.empty() && !queue->ended) {
    auto orders = std::move(queue->waiting.front());
    queue->waiting.pop_front();
    if (orders.leader_and_isr) co_await lead(broker, queue, std::move(*orders.leader_and_isr));
    if (orders.update_metadata) co_await update(broker, queue, std::move(*orders.update_metadata));
    if (orders.stop_replica) co_await halt(broker, queue, std::move(*orders.stop_replica));
  }
  queue->running = false;
  if (--busy_ == 0 && on_idle) on_idle();
}

Task<bool> Senders::again(BrokerId broker, std::shared_ptr<Queue> queue, Error error) {
  if (queue->ended) co_return false;
  WEIR_LOG_LIMITED(warn, 5s, "broker {} did not take an order: {} {}", broker.value, name(error.code), error.message);
  // Meant for another life of the broker, or from an office that is lost: the events that say so are under way.
  if (error.code == ErrorCode::STALE_BROKER_EPOCH || error.code == ErrorCode::STALE_CONTROLLER_EPOCH) co_return false;
  (void)co_await queue->pause.wait(retry_);
  co_return !queue->ended;
}

Task<void> Senders::lead(BrokerId broker, std::shared_ptr<Queue> queue, LeaderAndIsrOrder order) {
  while (!queue->ended) {
    auto answer = co_await link_.leader_and_isr(broker, order);
    if (answer) {
      if (!queue->ended) led_(broker, std::move(*answer));
      co_return;
    }
    if (!co_await again(broker, queue, answer.error())) co_return;
  }
}

Task<void> Senders::update(BrokerId broker, std::shared_ptr<Queue> queue, UpdateMetadataOrder order) {
  while (!queue->ended) {
    auto answer = co_await link_.update_metadata(broker, order);
    if (answer || !co_await again(broker, queue, answer.error())) co_return;
  }
}

Task<void> Senders::halt(BrokerId broker, std::shared_ptr<Queue> queue, StopReplicaOrder order) {
  while (!queue->ended) {
    auto answer = co_await link_.stop_replica(broker, order);
    if (answer) {
      if (!queue->ended) stopped_(broker, std::move(*answer));
      co_return;
    }
    if (!co_await again(broker, queue, answer.error())) co_return;
  }
}

}  // namespace weir::controller
