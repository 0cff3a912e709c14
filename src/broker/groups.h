// The group coordinators of this broker: carries out what coordinator::CoordinatorRuntime decides. One runtime a
// shard, for the partitions of __consumer_offsets that live there; its records go through the same partitions as
// everybody's, its timers through the shard's.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "coordinator/runtime.h"
#include "replica/manager.h"
#include "runtime/pool.h"
#include "runtime/shard.h"

namespace weir::broker {

class Interrupts;

class Groups {
 public:
  Groups(std::vector<runtime::Shard*> shards, runtime::Pool& pool, replica::ReplicaManager& replicas,
         coordinator::group::Config config, std::int32_t partitions);
  ~Groups();

  // Of __consumer_offsets, for a group; `partitions` is the topic's count.
  std::int32_t partition_of(std::string_view group, std::int32_t partitions) const {
    return coordinator::partition_for(group, partitions);
  }
  // The topic's real count, when it differs from offsets.topic.num.partitions. Before any election.
  runtime::Task<void> set_partitions(std::int32_t count);
  std::int32_t partitions() const { return partitions_; }

  // This broker leads a partition of __consumer_offsets from now on: its log is read in the background.
  runtime::Task<void> elected(PartitionId partition, LeaderEpoch epoch);
  // It leads it no more; no epoch: the replica is gone.
  runtime::Task<void> resigned(PartitionId partition, std::optional<LeaderEpoch> epoch);
  runtime::Task<void> topics_deleted(std::vector<std::string> topics);
  // Everyone who waits is answered; requests are refused from now on.
  runtime::Task<void> stop();

  // Asks the coordinator of `group` on its shard; from any shard. For what is answered at once.
  template <class Fn>
  auto ask(std::string_view group, Fn fn) {
    auto& part = part_of(group);
    return runtime::call(part.shard, [&part, fn = std::move(fn)]() mutable { return fn(*part.runtime, now(part)); });
  }
  // For what may wait: `fn(runtime, token, now)` gives Effects; the answer comes here. Nothing when the connection
  // ended first (the request goes on all the same).
  using Start = std::function<coordinator::group::Effects(coordinator::CoordinatorRuntime&, coordinator::Token,
                                                          coordinator::Now)>;
  runtime::Task<std::optional<coordinator::group::Response>> wait(std::string_view group, Interrupts& interrupts,
                                                                  Start start);
  // Every shard's answer, for listings.
  runtime::Task<coordinator::group::ListResponse> list(coordinator::group::ListRequest request);

  struct Counts {
    std::uint64_t groups = 0;
    std::uint64_t offsets = 0;
    std::uint64_t waiting = 0;
  };
  runtime::Task<Counts> counts();

 private:
  // An answer on its way to the shard that asked.
  struct Pending {
    explicit Pending(runtime::Shard& home_shard) : home(home_shard), waiter(home_shard) {}
    runtime::Shard& home;
    runtime::Waiter waiter;
    std::optional<coordinator::group::Response> response;
  };
  struct Part {
    Part(runtime::Shard& s, const coordinator::group::Config& config, std::int32_t partitions)
        : shard(s), runtime(std::make_unique<coordinator::CoordinatorRuntime>(config, partitions)), scope(s) {}
    runtime::Shard& shard;
    std::unique_ptr<coordinator::CoordinatorRuntime> runtime;
    runtime::Scope scope;
    coordinator::Token next_token = 1;
    std::unordered_map<coordinator::Token, std::shared_ptr<Pending>> pending;
    runtime::Shard::TimerId timer = 0;
    nanoseconds timer_at{};
    bool stopped = false;
  };

  static coordinator::Now now(Part& part);
  Part& part_of(std::string_view group);
  Part& part_of(PartitionId partition);
  void carry_out(Part& part, coordinator::group::Effects effects);
  void reply(Part& part, coordinator::group::Reply reply);
  void append(Part& part, coordinator::Append append);
  runtime::Task<void> await_commit(Part& part, std::shared_ptr<replica::Partition> partition, Offset last,
                                   std::int32_t index, coordinator::AppendId id);
  runtime::Task<void> load(Part& part, PartitionId partition, LeaderEpoch epoch);
  // Until the in-sync set has everything before `end`; false: leadership or the process ended. A member that hangs
  // holds it up until it leaves the set (replica.lag.time.max.ms, or the end of its session). No shorter bound is
  // right: as long as it is in the set it may lead next, and without these records. Little would be gained: what a
  // group needs to go on (a new generation, a commit) is not committed either while that member hangs, in Kafka
  // neither, and who is in a group keeps what it reads, for heartbeats are answered during a load. Only offsets could
  // be read sooner, and those may go again.
  static runtime::Task<bool> all_committed(Part& part, replica::Partition& partition, Offset end);
  void arm(Part& part);

  runtime::Pool& pool_;
  replica::ReplicaManager& replicas_;
  std::atomic<std::int32_t> partitions_;  // set on the control shard, read on all
  std::vector<std::unique_ptr<Part>> parts_;
};

}  // namespace weir::broker
