#include "msk/throttle.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "zkwire/layout.h"

namespace weir::msk {
namespace {

namespace layout = zkwire::layout;

constexpr auto leader_list = "leader.replication.throttled.replicas";
constexpr auto follower_list = "follower.replication.throttled.replicas";
constexpr auto leader_rate = "leader.replication.throttled.rate";
constexpr auto follower_rate = "follower.replication.throttled.rate";

void add(std::string& list, std::int32_t partition, std::int32_t broker) {
  list += fmt::format("{}{}:{}", list.empty() ? "" : ",", partition, broker);
}

// Takes the two keys away where one of them is.
Task<Stored<>> clear(KafkaView view, std::string type, std::string name, std::array<std::string, 2> keys) {
  const auto path = view.chroot + layout::path_of_config(type, name);
  auto now = co_await view.zk->get(path);
  if (!now && now.error().code == zkclient::ZkCode::no_node) co_return Stored<>{};
  if (!now) co_return std::unexpected(StoreError{StoreError::Kind::unavailable, now.error().text()});
  const auto config = layout::decode_config(path, now->data);
  if (!config || (!config->contains(keys[0]) && !config->contains(keys[1]))) co_return Stored<>{};
  std::map<std::string, std::optional<std::string>> changes{{keys[0], std::nullopt}, {keys[1], std::nullopt}};
  co_return co_await set_config(view, std::move(type), std::move(name), std::move(changes));
}

}  // namespace

std::map<std::string, ThrottleLists> throttle_lists(const std::vector<PartitionFact>& partitions,
                                                    const std::map<Partition, std::vector<std::int32_t>>& assignment) {
  std::map<std::string, ThrottleLists> out;
  for (const auto& p : partitions) {
    const auto target = assignment.find({p.topic, p.partition});
    if (target == assignment.end()) continue;
    std::vector<std::int32_t> added;
    for (const auto id : target->second) {
      if (std::ranges::find(p.replicas, id) == p.replicas.end()) added.push_back(id);
    }
    if (added.empty()) continue;  // another order of the same
    auto& lists = out[p.topic];
    for (const auto id : p.replicas) add(lists.leaders, p.partition, id);
    for (const auto id : added) add(lists.followers, p.partition, id);
  }
  return out;
}

Task<Stored<>> throttle(KafkaView view, std::map<Partition, std::vector<std::int32_t>> assignment,
                        std::vector<std::int32_t> brokers, std::int64_t bytes_per_second) {
  std::set<std::string> names;
  for (const auto& [partition, replicas] : assignment) names.insert(partition.first);
  std::vector<PartitionFact> partitions;
  for (const auto& name : names) {
    auto read = co_await topic(view, name);
    if (!read) co_return std::unexpected(read.error());
    for (auto& p : read->partitions) partitions.push_back(std::move(p));
  }
  for (auto& [name, lists] : throttle_lists(partitions, assignment)) {
    std::map<std::string, std::optional<std::string>> changes{{leader_list, lists.leaders},
                                                              {follower_list, lists.followers}};
    auto set = co_await set_config(view, std::string(layout::topics_type), name, std::move(changes));
    if (!set) co_return set;
  }
  const auto rate = std::to_string(bytes_per_second);
  for (const auto id : brokers) {
    std::map<std::string, std::optional<std::string>> changes{{leader_rate, rate}, {follower_rate, rate}};
    auto set = co_await set_config(view, std::string(layout::brokers_type), std::to_string(id), std::move(changes));
    if (!set) co_return set;
  }
  co_return Stored<>{};
}

Task<Stored<>> unthrottle(KafkaView view, std::vector<std::int32_t> brokers) {
  const auto names = co_await topic_names(view);
  if (!names) co_return std::unexpected(names.error());
  for (const auto& name : *names) {
    auto cleared = co_await clear(view, std::string(layout::topics_type), name, {leader_list, follower_list});
    if (!cleared) co_return cleared;
  }
  for (const auto id : brokers) {
    auto cleared =
        co_await clear(view, std::string(layout::brokers_type), std::to_string(id), {leader_rate, follower_rate});
    if (!cleared) co_return cleared;
  }
  co_return Stored<>{};
}

}  // namespace weir::msk
