// One set of orders for a broker, and how two that wait for it become one. Everything is sorted by partition.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "controller/orders.h"

namespace weir::controller::decide {

// Carried out in this order. `brokers_first` says who is alive before the roles that refer to them.
struct Orders {
  std::optional<UpdateMetadataOrder> brokers_first;
  std::optional<LeaderAndIsrOrder> leader_and_isr;
  std::optional<UpdateMetadataOrder> update_metadata;
  std::optional<StopReplicaOrder> stop_replica;
};

// Whether `newer`, carried out after `older`, may be carried out together with it: nothing that `older` stops or
// calls deleted is made anew by `newer`.
bool mergeable(const Orders& older, const Orders& newer);
// For mergeable ones. Of a partition in both the newer state stays.
void merge(Orders& into, Orders newer);

// In parts of at most `partitions_max` partitions; at least one part.
std::vector<LeaderAndIsrOrder> split(LeaderAndIsrOrder order, std::size_t partitions_max);
std::vector<UpdateMetadataOrder> split(UpdateMetadataOrder order, std::size_t partitions_max);
std::vector<StopReplicaOrder> split(StopReplicaOrder order, std::size_t partitions_max);

}  // namespace weir::controller::decide
