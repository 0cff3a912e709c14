#include "controller/decide/balance.h"

#include <algorithm>
#include <map>

#include "controller/decide/elect.h"

namespace weir::controller::decide {

std::vector<PartitionRef> unbalanced(const State& state, std::int32_t percent) {
  struct Share {
    std::size_t all = 0;
    std::vector<PartitionRef> missing;
  };
  std::map<BrokerId, Share> shares;
  state.image->each_topic([&](const cluster::TopicPtr& topic) {
    if (state.image->deleting(topic->name)) return;
    topic->partitions.each([&](PartitionId id, const cluster::Partition& partition) {
      if (partition.replicas.empty()) return;
      const auto preferred = partition.replicas.front();
      auto& share = shares[preferred];
      ++share.all;
      if (partition.has_state() && partition.leader != preferred) share.missing.push_back({topic->name, id});
    });
  });
  std::vector<PartitionRef> out;
  for (auto& [broker, share] : shares) {
    if (static_cast<double>(share.missing.size()) / static_cast<double>(share.all) <= percent / 100.0) continue;
    for (auto& at : share.missing) {
      const auto& partition = *state.image->partition(at.topic, at.partition);
      if (elect(state, partition, Election::preferred, false)) out.push_back(std::move(at));
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

Health health(const State& state) {
  Health out;
  state.image->each_topic([&](const cluster::TopicPtr& topic) {
    if (state.image->deleting(topic->name)) return;
    topic->partitions.each([&](PartitionId, const cluster::Partition& partition) {
      if (!partition.has_state() || !online(state, partition, partition.leader, true)) ++out.offline_partitions;
      if (partition.has_state() && !partition.replicas.empty() && partition.leader != partition.replicas.front()) {
        ++out.preferred_imbalance;
      }
    });
  });
  return out;
}

}  // namespace weir::controller::decide
