#include "broker/orders.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "cluster/topic_name.h"
#include "zkwire/layout.h"

namespace weir::broker {

using controller::OrderAnswer;
using runtime::Task;
namespace layout = zkwire::layout;

Result<> Orders::check(BrokerId to, const controller::OrderHead& head) {
  if (to != node_.id) {
    return fail(ErrorCode::BROKER_NOT_AVAILABLE, fmt::format("broker {} is not reached from here", to.value));
  }
  if (head.controller_epoch < heard_) {
    return fail(ErrorCode::STALE_CONTROLLER_EPOCH,
                fmt::format("controller {} of epoch {} is older than epoch {}", head.controller.value,
                            head.controller_epoch.value, heard_.value));
  }
  heard_ = head.controller_epoch;
  return {};
}

// How many partitions __consumer_offsets has decides which one a group belongs to: asked before the first election.
Task<void> Orders::know_group_partitions() {
  if (group_partitions_known_) co_return;
  const auto path = layout::path_of_topic(cluster::group_metadata_topic);
  auto data = co_await node_.zk->get(path);
  if (!data) co_return;
  auto topic = layout::decode_topic(path, data->data);
  if (!topic) {
    WEIR_LOG(error, "{}", topic.error().message);
    co_return;
  }
  group_partitions_known_ = true;
  co_await node_.groups->set_partitions(static_cast<std::int32_t>(topic->partitions.size()));
}

Task<Result<OrderAnswer>> Orders::leader_and_isr(BrokerId to, controller::LeaderAndIsrOrder order) {
  if (auto fine = check(to, order.head); !fine) co_return std::unexpected(fine.error());
  std::vector<replica::Change> changes;
  bool groups_change = false;
  for (const auto& item : order.partitions) {
    auto& change = changes.emplace_back();
    change.partition = {item.at.topic, item.at.partition};
    if (const auto id = order.topic_ids.find(item.at.topic); id != order.topic_ids.end()) change.topic_id = id->second;
    change.leadership = {item.state.leader, item.state.leader_epoch, item.state.isr, item.state.replicas,
                         item.state.version};
    if (item.at.topic == cluster::group_metadata_topic) groups_change = true;
  }
  auto results = co_await node_.replicas->apply(std::move(changes));
  if (groups_change) co_await know_group_partitions();
  OrderAnswer answer;
  for (std::size_t i = 0; i < order.partitions.size(); ++i) {
    const auto& item = order.partitions[i];
    answer.push_back({item.at, results[i] ? ErrorCode::NONE : results[i].error().code});
    if (!results[i] || item.at.topic != cluster::group_metadata_topic) continue;
    if (item.state.leader == node_.id) {
      co_await node_.groups->elected(item.at.partition, item.state.leader_epoch);
    } else {
      co_await node_.groups->resigned(item.at.partition, item.state.leader_epoch);
    }
  }
  co_return answer;
}

Task<Result<>> Orders::update_metadata(BrokerId to, controller::UpdateMetadataOrder order) {
  if (auto fine = check(to, order.head); !fine) co_return std::unexpected(fine.error());
  std::set<std::string> gone;
  for (const auto& item : order.partitions) {
    if (item.state.leader.value == controller::leader_during_delete) gone.insert(item.at.topic);
  }
  auto edit = [&](cluster::ImageBuilder& next) {
    next.set_cluster_id(node_.cluster_id);
    next.set_controller(order.head.controller, order.head.controller_epoch);
    std::vector<cluster::Broker> brokers;
    for (const auto& broker : order.brokers) brokers.push_back(*broker);
    next.set_brokers(std::move(brokers));
    for (const auto& [name, id] : order.topic_ids) {
      if (!gone.contains(name)) next.put_topic(name, id);
    }
    for (auto& item : order.partitions) {
      if (!gone.contains(item.at.topic)) next.put_partition(item.at.topic, item.at.partition, std::move(item.state));
    }
    for (const auto& name : gone) next.remove_topic(name);
  };
  co_await node_.images->change(std::move(edit));
  if (!gone.empty()) co_await node_.groups->topics_deleted({gone.begin(), gone.end()});
  co_return Result<>{};
}

Task<Result<OrderAnswer>> Orders::stop_replica(BrokerId to, controller::StopReplicaOrder order) {
  if (auto fine = check(to, order.head); !fine) co_return std::unexpected(fine.error());
  OrderAnswer answer;
  for (const auto& item : order.partitions) {
    if (item.at.topic == cluster::group_metadata_topic) {
      co_await node_.groups->resigned(item.at.partition, std::nullopt);
      group_partitions_known_ = false;
    }
    auto done = co_await node_.replicas->stop_replica({item.at.topic, item.at.partition}, item.remove);
    answer.push_back({item.at, done ? ErrorCode::NONE : done.error().code});
    if (!done) WEIR_LOG(error, "{}-{}: cannot stop the replica: {}", item.at.topic, item.at.partition.value, done.error().message);
  }
  co_return answer;
}

}  // namespace weir::broker
