// How replicas move (KIP-455), as Apache Kafka's controller does it: a partition has all replicas, old and new, while
// those that are added catch up; when all of the target are in the ISR, the rest leaves. `replicas` lists the target
// first; `adding` and `removing` say which of it is new and which goes. Pure functions of partitions.
#pragma once

#include <optional>
#include <vector>

#include "base/error.h"
#include "controller/decide/state.h"

namespace weir::controller::decide {

inline bool being_reassigned(const cluster::Partition& p) { return !p.adding.empty() || !p.removing.empty(); }
// Where it was before the reassignment, and where it goes; both are `replicas` when there is none.
std::vector<BrokerId> origin_replicas(const cluster::Partition& partition);
std::vector<BrokerId> target_replicas(const cluster::Partition& partition);

// The partition with the three lists that lead from its origin to `target`. The order of the origin is lost where the
// two overlap.
cluster::Partition reassigned_to(cluster::Partition partition, const std::vector<BrokerId>& target);

// INVALID_REPLICA_ASSIGNMENT with the reason: no replicas, one twice, no broker's number; with `alive`: a new replica
// on a broker that is not there.
Result<> check_target(const State& state, const cluster::Partition& partition, const std::vector<BrokerId>& target,
                      bool alive);
// INVALID_REPLICA_ASSIGNMENT when nobody in the ISR is among the replicas of `next`: with them the data would go.
Result<> check_isr_stays(const cluster::Partition& now, const cluster::Partition& next);

// All of the target are in the ISR.
bool caught_up(const cluster::Partition& partition);

// The next state while it goes on: those of `leaving` are no longer in the ISR, and another leads where one of them
// did; always a new leader_epoch, so that the leader takes the new list of replicas.
cluster::Partition under_way(const State& state, cluster::Partition partition, const std::vector<BrokerId>& leaving);
// The last state, when it has caught up: replicas are the target, so is the ISR; the leader is one of them. Nothing
// when none of them may lead now.
std::optional<cluster::Partition> settled(const State& state, cluster::Partition partition);

}  // namespace weir::controller::decide
