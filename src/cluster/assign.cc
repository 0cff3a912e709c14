#include "cluster/assign.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace weir::cluster {
namespace {

using Assignment = std::vector<std::vector<BrokerId>>;

// Where the replica after the leader goes: `shift` moves it on each round over the brokers.
std::size_t replica_index(std::size_t first, std::size_t shift, std::size_t replica, std::size_t brokers) {
  return (first + 1 + (shift + replica) % (brokers - 1)) % brokers;
}

Assignment without_racks(const std::vector<BrokerRack>& brokers, std::size_t partitions, std::size_t factor,
                         AssignStart start) {
  const std::size_t n = brokers.size();
  Assignment out;
  auto partition = static_cast<std::size_t>(start.first_partition);
  std::size_t shift = start.shift;
  for (std::size_t i = 0; i < partitions; ++i, ++partition) {
    if (partition > 0 && partition % n == 0) ++shift;
    const std::size_t first = (partition + start.start_index) % n;
    auto& replicas = out.emplace_back();
    replicas.push_back(brokers[first].id);
    for (std::size_t j = 0; j + 1 < factor; ++j) replicas.push_back(brokers[replica_index(first, shift, j, n)].id);
  }
  return out;
}

Assignment with_racks(const std::vector<BrokerRack>& brokers, std::size_t partitions, std::size_t factor,
                      AssignStart start) {
  std::map<BrokerId, std::string> rack_of;
  std::set<std::string> racks;
  for (const auto& broker : brokers) {
    rack_of[broker.id] = *broker.rack;
    racks.insert(*broker.rack);
  }
  const auto order = rack_alternated(brokers);
  const std::size_t n = order.size();
  Assignment out;
  auto partition = static_cast<std::size_t>(start.first_partition);
  std::size_t shift = start.shift;
  for (std::size_t i = 0; i < partitions; ++i, ++partition) {
    if (partition > 0 && partition % n == 0) ++shift;
    const std::size_t first = (partition + start.start_index) % n;
    auto& replicas = out.emplace_back();
    replicas.push_back(order[first]);
    std::set<std::string> racks_used{rack_of[order[first]]};
    std::set<BrokerId> brokers_used{order[first]};
    std::size_t k = 0;
    for (std::size_t j = 0; j + 1 < factor; ++j) {
      for (bool done = false; !done; ++k) {
        const BrokerId broker = order[replica_index(first, shift * racks.size(), k, n)];
        const auto& rack = rack_of[broker];
        // A rack is used again only when every rack is; a broker only when every broker is.
        if ((!racks_used.contains(rack) || racks_used.size() == racks.size()) &&
            (!brokers_used.contains(broker) || brokers_used.size() == n)) {
          replicas.push_back(broker);
          racks_used.insert(rack);
          brokers_used.insert(broker);
          done = true;
        }
      }
    }
  }
  return out;
}

}  // namespace

std::vector<BrokerId> rack_alternated(const std::vector<BrokerRack>& brokers) {
  std::map<std::string, std::vector<BrokerId>> by_rack;
  for (const auto& broker : brokers) by_rack[broker.rack.value_or("")].push_back(broker.id);
  for (auto& [rack, ids] : by_rack) std::sort(ids.begin(), ids.end());
  std::vector<BrokerId> out;
  for (std::size_t i = 0; out.size() < brokers.size(); ++i) {
    for (const auto& [rack, ids] : by_rack) {
      if (i < ids.size()) out.push_back(ids[i]);
    }
  }
  return out;
}

Result<Assignment> assign_replicas(const std::vector<BrokerRack>& brokers, std::int32_t partitions,
                                   std::int32_t replication_factor, AssignStart start) {
  if (partitions <= 0) return fail(ErrorCode::INVALID_PARTITIONS, "Number of partitions must be larger than 0.");
  if (replication_factor <= 0) {
    return fail(ErrorCode::INVALID_REPLICATION_FACTOR, "Replication factor must be larger than 0.");
  }
  const auto factor = static_cast<std::size_t>(replication_factor);
  if (factor > brokers.size()) {
    return fail(ErrorCode::INVALID_REPLICATION_FACTOR,
                fmt::format("Replication factor: {} larger than available brokers: {}.", factor, brokers.size()));
  }
  const auto with =
      std::count_if(brokers.begin(), brokers.end(), [](const BrokerRack& b) { return b.rack.has_value(); });
  if (with != 0 && static_cast<std::size_t>(with) != brokers.size()) {
    return fail(ErrorCode::INVALID_REQUEST,
                "Not all brokers have rack information. Replicas cannot be spread over racks.");
  }
  const auto count = static_cast<std::size_t>(partitions);
  return with == 0 ? without_racks(brokers, count, factor, start) : with_racks(brokers, count, factor, start);
}

}  // namespace weir::cluster
