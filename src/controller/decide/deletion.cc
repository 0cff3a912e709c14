#include "controller/decide/deletion.h"

#include <algorithm>

namespace weir::controller::decide {

bool has_reassignment(const State& state, const std::string& topic) {
  const auto at = state.reassigning.lower_bound(PartitionRef{topic, PartitionId{0}});
  return at != state.reassigning.end() && at->topic == topic;
}

void forget_topic(State& state, const std::string& topic) {
  state.deletions.erase(topic);
  const auto from = state.reassigning.lower_bound(PartitionRef{topic, PartitionId{0}});
  auto to = from;
  while (to != state.reassigning.end() && to->topic == topic) ++to;
  state.reassigning.erase(from, to);
  std::erase_if(state.doubts, [&](const auto& doubt) { return doubt.first.topic == topic; });
}

std::vector<std::string> next_deletions(State& state, Batch& batch) {
  std::vector<std::string> gone;
  for (auto& [name, deletion] : state.deletions) {
    if (has_reassignment(state, name)) continue;
    const auto topic = state.image->topic(name);
    bool all_done = true;
    if (topic) {
      topic->partitions.each([&](PartitionId id, const cluster::Partition& partition) {
        const PartitionRef at{name, id};
        if (!deletion.announced) batch.tell(at);
        for (const auto replica : partition.replicas) {
          auto& progress = deletion.replicas[{id, replica}];
          if (progress == ReplicaDeletion::waiting && online(state, partition, replica, true)) {
            batch.stop(replica, at, true);
            progress = ReplicaDeletion::ordered;
          }
          all_done = all_done && progress == ReplicaDeletion::done;
        }
      });
    }
    deletion.announced = true;
    if (all_done) gone.push_back(name);
  }
  return gone;
}

void replica_removed(State& state, const PartitionRef& at, BrokerId broker, ErrorCode error) {
  const auto deletion = state.deletions.find(at.topic);
  if (deletion == state.deletions.end()) return;
  const auto replica = deletion->second.replicas.find({at.partition, broker});
  if (replica == deletion->second.replicas.end() || replica->second != ReplicaDeletion::ordered) return;
  // Of an unknown partition there is nothing left to remove.
  const bool done = error == ErrorCode::NONE || error == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
  replica->second = done ? ReplicaDeletion::done : ReplicaDeletion::failed;
}

void broker_gone(State& state, BrokerId broker) {
  for (auto& [name, deletion] : state.deletions) {
    for (auto& [key, progress] : deletion.replicas) {
      if (key.second == broker && progress == ReplicaDeletion::ordered) progress = ReplicaDeletion::waiting;
    }
  }
}

void broker_back(State& state, BrokerId broker) {
  for (auto& [name, deletion] : state.deletions) {
    for (auto& [key, progress] : deletion.replicas) {
      if (key.second == broker && progress != ReplicaDeletion::done) progress = ReplicaDeletion::waiting;
    }
  }
}

}  // namespace weir::controller::decide
