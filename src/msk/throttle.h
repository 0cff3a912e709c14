// Moves of partitions that leave room for clients (KIP-73): what is copied for a reassignment goes at a rate, set as
// Kafka's own tool sets it, in the configurations of the topics that move and of the brokers.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "msk/facts.h"

namespace weir::msk {

// The lists of a topic: those that have its data send at the rate, those that get it fetch at the rate.
struct ThrottleLists {
  std::string leaders;    // leader.replication.throttled.replicas: "0:1,0:2"
  std::string followers;  // follower.replication.throttled.replicas: "0:4"
  friend bool operator==(const ThrottleLists&, const ThrottleLists&) = default;
};
// Pure. By topic; those of which nothing is copied are left out.
std::map<std::string, ThrottleLists> throttle_lists(const std::vector<PartitionFact>& partitions,
                                                    const std::map<Partition, std::vector<std::int32_t>>& assignment);

// Before the reassignment is asked for. `bytes_per_second` of each of `brokers`, as leader and as follower.
Task<Stored<>> throttle(KafkaView view, std::map<Partition, std::vector<std::int32_t>> assignment,
                        std::vector<std::int32_t> brokers, std::int64_t bytes_per_second);
// When no move is under way: no topic is throttled any more, nor is any of `brokers`, as Kafka's tool leaves it.
Task<Stored<>> unthrottle(KafkaView view, std::vector<std::int32_t> brokers);

}  // namespace weir::msk
