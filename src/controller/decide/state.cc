#include "controller/decide/state.h"

#include <algorithm>

namespace weir::controller::decide {
namespace {

bool contains(const std::vector<BrokerId>& list, BrokerId id) {
  return std::find(list.begin(), list.end(), id) != list.end();
}

template <class Keep>
std::vector<PartitionRef> collect(const State& state, Keep keep) {
  std::vector<PartitionRef> out;
  state.image->each_topic([&](const cluster::TopicPtr& topic) {
    topic->partitions.each([&](PartitionId id, const cluster::Partition& partition) {
      if (keep(*topic, partition)) out.push_back({topic->name, id});
    });
  });
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

bool online(const State& state, const cluster::Partition& partition, BrokerId replica, bool or_shutting_down) {
  return state.image->alive(replica) && !state.vanished.contains(replica) &&
         (or_shutting_down || !state.shutting_down.contains(replica)) && !contains(partition.offline, replica);
}

std::vector<BrokerId> online_replicas(const State& state, const cluster::Partition& partition, bool or_shutting_down) {
  std::vector<BrokerId> out;
  for (const auto id : partition.replicas) {
    if (online(state, partition, id, or_shutting_down)) out.push_back(id);
  }
  return out;
}

std::vector<PartitionRef> all_partitions(const State& state) {
  return collect(state, [](const cluster::Topic&, const cluster::Partition&) { return true; });
}

std::vector<PartitionRef> without_leader(const State& state) {
  auto out = collect(state, [&](const cluster::Topic& topic, const cluster::Partition& partition) {
    return !state.image->deleting(topic.name) &&
           (!partition.has_state() || !online(state, partition, partition.leader, true));
  });
  if (state.doubts.empty()) return out;
  for (const auto& [at, doubt] : state.doubts) {
    if (state.image->partition(at.topic, at.partition) != nullptr && !state.image->deleting(at.topic)) {
      out.push_back(at);
    }
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::vector<PartitionRef> on_broker(const State& state, BrokerId broker) {
  return collect(state, [&](const cluster::Topic&, const cluster::Partition& partition) {
    return contains(partition.replicas, broker);
  });
}

}  // namespace weir::controller::decide
