// What a leader knows of its followers, and what it concludes: pure. (Kafka's Replica, and the ISR part of Partition.)
//
// Times are of the shard's monotonic clock. A replica that has not fetched since leadership began ends at no_offset.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "base/topic.h"
#include "base/units.h"
#include "base/uuid.h"
#include "runtime/task.h"

namespace weir::replica {

// What the controller says of a partition (LeaderAndIsr).
struct Leadership {
  BrokerId leader = no_broker;
  LeaderEpoch leader_epoch = no_leader_epoch;
  std::vector<BrokerId> isr;
  std::vector<BrokerId> replicas;
  std::int32_t partition_epoch = 0;  // version of the state znode
  ControllerEpoch controller_epoch{-1};
  std::vector<BrokerId> adding;  // KIP-455
  std::vector<BrokerId> removing;
  bool is_new = false;
  std::int8_t leader_recovery_state = 0;  // KIP-704; 1: an unclean leader that has to recover
  // Of a proposal: the lives of the isr's members that were seen in sync, in its order; nothing: not known, or the
  // leader itself (KIP-903).
  std::vector<std::optional<BrokerEpoch>> isr_epochs;
};

// How a leader has its in-sync set changed: AlterPartition to the controller, or a write of the state znode. The
// broker room implements it. Called on the shard of the partition, which has one call under way at a time; resumes
// there. It must end, with any error, once the broker stops.
//
// `proposed` has the new isr; its leader epoch and partition epoch are those of the state it replaces. The answer is
// the state as written (leader_epoch, isr, partition_epoch, leader_recovery_state are looked at).
// Errors, as AlterPartition has them: OPERATION_NOT_ATTEMPTED and INELIGIBLE_REPLICA take the proposal back;
// UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, FENCED_LEADER_EPOCH, INVALID_UPDATE_VERSION, INVALID_REQUEST and
// NEW_LEADER_ELECTED leave it pending until the controller says more; any other is tried again.
class IsrChanger {
 public:
  virtual ~IsrChanger() = default;
  virtual runtime::Task<Result<Leadership>> alter(TopicPartition partition, Uuid topic_id, Leadership proposed) = 0;
};

// A follower, as its leader sees it.
struct Follower {
  static constexpr nanoseconds never = nanoseconds::min() / 2;

  BrokerId id = no_broker;
  Offset log_end = no_offset;  // where it fetched last: it has everything before
  Offset log_start = no_offset;
  Offset leader_end_at_fetch = no_offset;  // the leader's end when it fetched last
  nanoseconds last_fetch = never;
  nanoseconds last_caught_up = never;  // the latest time at which it had all that the leader had
  std::optional<BrokerEpoch> epoch;

  // A fetch at `offset`, seen at `now`, when the leader's log ended at `leader_end`.
  void fetched(Offset offset, Offset start, Offset leader_end, std::optional<BrokerEpoch> broker_epoch,
               nanoseconds now);
  // Leadership with a new epoch began at `leader_end`; `new_leader` when this broker did not lead before.
  void reset(Offset leader_end, bool new_leader, bool in_isr, nanoseconds now);
  bool caught_up(Offset leader_end, nanoseconds now, nanoseconds lag_max) const {
    return log_end == leader_end || now - last_caught_up <= lag_max;
  }
};

// The largest offset that everyone in `maximal_isr` has, and every follower that is about to join (caught up, though
// not in the set). `own_end` is how far the leader counts itself. `eligible` says who could join.
template <class Eligible>
Offset high_watermark_of(Offset own_end, Offset leader_end, const std::vector<Follower>& followers,
                         const std::vector<BrokerId>& maximal_isr, nanoseconds now, nanoseconds lag_max,
                         Eligible&& eligible) {
  auto out = own_end;
  for (const auto& follower : followers) {
    if (follower.log_end >= out) continue;
    bool counts = false;
    for (const auto id : maximal_isr) counts = counts || id == follower.id;
    if (counts || (follower.caught_up(leader_end, now, lag_max) && eligible(follower.id))) out = follower.log_end;
  }
  return out;
}

}  // namespace weir::replica
