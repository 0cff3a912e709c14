// Moves of partitions that leave room for clients (KIP-73): what is copied for a reassignment goes at a rate, set as
// Kafka's own tool sets it, in the configurations of the topics that move and of the brokers.
//
// What a user had set there stays in force and is there again at the end: lists are added to, a rate that a broker has
// is left. How it was is remembered by the operation (Operation::settings_before) before anything is set.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
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
// Pure. A user's list with ours behind it; "*" is all there is.
std::string joined_lists(std::string_view users, std::string_view ours);

// What these moves would be throttled by.
struct Throttle {
  std::map<std::string, ThrottleLists> topics;
  std::vector<std::int32_t> brokers;  // nothing is set for them where nothing is copied, but remembered all the same
  std::int64_t bytes_per_second = 0;  // of each broker, as leader and as follower
};
Task<Stored<Throttle>> throttle_for(KafkaView view, std::map<Partition, std::vector<std::int32_t>> assignment,
                                    std::vector<std::int32_t> brokers, std::int64_t bytes_per_second);
// How all of it is now, of those that `before` does not know yet.
Task<Stored<Settings>> settings_to_remember(KafkaView view, Throttle throttle, Settings before);
// Before the reassignment is asked for. `before` knows all of it.
Task<Stored<>> set_throttle(KafkaView view, Throttle throttle, Settings before);
// When no move is under way.
Task<Stored<>> unthrottle(KafkaView view, Settings before);

// Pure. Whether this operation's moves were throttled by a control plane of before there was `settings_before`: what it
// set is not to be taken for a user's. One that has asked for a move since then remembers at least its brokers.
bool throttled_unremembered(const Operation& operation);
// All throttles go, whoever set them.
Task<Stored<>> clear_throttles(KafkaView view, std::vector<std::int32_t> brokers);

}  // namespace weir::msk
