// Carries orders to brokers: one queue a broker, one order at a time, tried again until the broker is gone.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "controller/decide/batch.h"
#include "runtime/shard.h"

namespace weir::controller {

class Senders {
 public:
  using Answered = std::function<void(BrokerId, OrderAnswer)>;
  // `led` and `stopped` are called on the shard with what a broker answered.
  Senders(runtime::Shard& shard, BrokerLink& link, milliseconds retry, Answered led, Answered stopped)
      : shard_(shard), link_(link), retry_(retry), led_(std::move(led)), stopped_(std::move(stopped)), scope_(shard) {}

  void send(std::map<BrokerId, decide::Orders> orders);
  // What waits for the broker is dropped; what is under way ends unheard.
  void drop(BrokerId broker);
  void drop_all();
  bool idle() const { return busy_ == 0; }
  // Called when idle() becomes true.
  std::function<void()> on_idle;
  Task<void> stop();

 private:
  struct Queue {
    explicit Queue(runtime::Shard& shard) : pause(shard) {}
    std::deque<decide::Orders> waiting;
    runtime::Waiter pause;
    bool running = false;
    bool ended = false;
  };
  Task<void> drain(BrokerId broker, std::shared_ptr<Queue> queue);
  Task<void> lead(BrokerId broker, std::shared_ptr<Queue> queue, LeaderAndIsrOrder order);
  Task<void> update(BrokerId broker, std::shared_ptr<Queue> queue, UpdateMetadataOrder order);
  Task<void> halt(BrokerId broker, std::shared_ptr<Queue> queue, StopReplicaOrder order);
  // Whether to try again, after a pause.
  Task<bool> again(BrokerId broker, std::shared_ptr<Queue> queue, Error error);

  runtime::Shard& shard_;
  BrokerLink& link_;
  milliseconds retry_;
  Answered led_;
  Answered stopped_;
  runtime::Scope scope_;
  std::map<BrokerId, std::shared_ptr<Queue>> queues_;
  std::size_t busy_ = 0;
};

}  // namespace weir::controller
