// Which brokers hold the replicas of new partitions: the result of Apache Kafka 3.9's AdminUtils for the same start.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/id.h"

namespace weir::cluster {

struct BrokerRack {
  BrokerId id;
  std::optional<std::string> rack;
};

// Kafka draws `start_index` and `shift` from 0 to brokers - 1 for a new topic; for more partitions of a topic both
// are the position of the first replica of its partition 0 among the brokers.
struct AssignStart {
  std::uint32_t start_index = 0;
  std::uint32_t shift = 0;
  std::int32_t first_partition = 0;
};

// One list of replicas a partition, the preferred leader first, for partitions first_partition and on. Rack-aware
// when every broker has a rack; some with and some without is an error (INVALID_REQUEST), as is a
// replication factor over the number of brokers (INVALID_REPLICATION_FACTOR).
Result<std::vector<std::vector<BrokerId>>> assign_replicas(const std::vector<BrokerRack>& brokers,
                                                           std::int32_t partitions, std::int32_t replication_factor,
                                                           AssignStart start);

// Brokers in an order in which neighbours are of different racks.
std::vector<BrokerId> rack_alternated(const std::vector<BrokerRack>& brokers);

}  // namespace weir::cluster
