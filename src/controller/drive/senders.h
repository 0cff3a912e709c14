// Carries orders to brokers: one queue a broker, one order at a time, tried again until the broker is gone. While a
// broker is slow, what waits for it is merged, so that its queue stays short.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "controller/decide/batch.h"
#include "runtime/shard.h"

namespace weir::controller {

struct SenderOptions {
  milliseconds retry{100};  // after the first failure; doubles up to
  milliseconds retry_max{2000};
  std::size_t partitions_max = 50'000;  // of one request
  milliseconds rebuild_max{60'000};     // between orders made anew, where those before were refused
};

class Senders {
 public:
  // Called on the shard.
  struct Callbacks {
    std::function<void(BrokerId, OrderAnswer)> led;
    std::function<void(BrokerId, OrderAnswer)> removed;  // StopReplica's answers for replicas to remove
    std::function<void(BrokerId)> untold;                // orders to it were dropped: too many, or refused
    std::function<void()> superseded;                    // a broker knows a newer controller, or believes so
    std::function<void()> idle;                          // idle() became true
  };
  Senders(runtime::Shard& shard, BrokerLink& link, SenderOptions options, Callbacks callbacks)
      : shard_(shard), link_(link), options_(options), tell_(std::move(callbacks)), scope_(shard) {}

  void send(std::map<BrokerId, decide::Orders> orders);
  // What waits for the broker is dropped; what is under way ends unheard.
  void drop(BrokerId broker);
  void drop_all();
  bool idle() const { return busy_ == 0; }
  std::map<BrokerId, std::size_t> waiting() const;
  Task<void> stop();

  static constexpr std::size_t waiting_max = 1000;  // sets of orders that could not be merged

 private:
  struct Queue {
    explicit Queue(runtime::Shard& shard) : pause(shard), refusal(shard) {}
    std::deque<decide::Orders> waiting;
    runtime::Waiter pause;
    milliseconds retry{0};
    runtime::Waiter refusal;  // woken by the end
    milliseconds rebuild{0};  // from the last refusal to the orders that were made anew
    nanoseconds rebuilt_at{0};
    bool rebuilding = false;
    bool running = false;
    bool ended = false;
  };
  using QueuePtr = std::shared_ptr<Queue>;
  Task<void> drain(BrokerId broker, QueuePtr queue);
  Task<void> lead(BrokerId broker, QueuePtr queue, LeaderAndIsrOrder order);
  Task<void> update(BrokerId broker, QueuePtr queue, UpdateMetadataOrder order);
  Task<void> halt(BrokerId broker, QueuePtr queue, StopReplicaOrder order);
  // Whether to try again, after a pause. What a broker refuses as such (INVALID_REQUEST) it would refuse for ever: that
  // order is given up, and a little later the broker is told everything as it is by then.
  Task<bool> again(BrokerId broker, QueuePtr queue, std::string_view what, Error error);
  Task<void> make_anew(BrokerId broker, QueuePtr queue);
  void rest();

  runtime::Shard& shard_;
  BrokerLink& link_;
  SenderOptions options_;
  Callbacks tell_;
  runtime::Scope scope_;
  std::map<BrokerId, QueuePtr> queues_;
  std::size_t busy_ = 0;  // queues that are worked off, dropped ones not among them
};

}  // namespace weir::controller
