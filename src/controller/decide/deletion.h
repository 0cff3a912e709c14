// How a topic goes: brokers hear that it has no leader, every replica is removed by its broker, then its znodes go.
// A replica whose broker is not alive waits until it is; the topic with it. (Kafka's TopicDeletionManager.)
#pragma once

#include <string>
#include <vector>

#include "controller/decide/batch.h"
#include "controller/decide/state.h"

namespace weir::controller::decide {

// Such a topic's deletion waits for the end of the reassignment.
bool has_reassignment(const State& state, const std::string& topic);

// The topic is gone: neither deletion nor reassignment goes on.
void forget_topic(State& state, const std::string& topic);

// Carries every deletion a step on: marks what is ordered in `state`, puts the orders into `batch`, and gives the
// topics all of whose replicas are gone (also one that never had any).
std::vector<std::string> next_deletions(State& state, Batch& batch);

// The answer of a broker about one replica.
void replica_removed(State& state, const PartitionRef& at, BrokerId broker, ErrorCode error);
// Orders to a broker that is gone, or is another since, will not be answered: they wait until it is back.
void broker_gone(State& state, BrokerId broker);
// What failed there is tried again.
void broker_back(State& state, BrokerId broker);

}  // namespace weir::controller::decide
