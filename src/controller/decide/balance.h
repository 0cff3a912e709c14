// Which partitions are to go back to their preferred leader: those of brokers that miss more than a percentage of the
// partitions they should lead (leader.imbalance.per.broker.percentage).
#pragma once

#include <cstddef>
#include <vector>

#include "controller/decide/state.h"

namespace weir::controller::decide {

// Only those that the preferred replica can lead now (online and in the ISR); not of topics being deleted.
std::vector<PartitionRef> unbalanced(const State& state, std::int32_t percent);

// Counts for the metrics; topics being deleted are not counted.
struct Health {
  std::size_t offline_partitions = 0;   // no state, or a leader that is not online
  std::size_t preferred_imbalance = 0;  // led by another than the first replica
};
Health health(const State& state);

}  // namespace weir::controller::decide
