#include "broker/orders.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "broker/inter/controller_channel.h"
#include "cluster/topic_name.h"
#include "zkclient/pipeline.h"
#include "zkwire/layout.h"

namespace weir::broker {

using controller::OrderAnswer;
using runtime::Task;
namespace layout = zkwire::layout;

namespace {

bool same_brokers(const cluster::Image& a, const cluster::Image& b) {
  return std::ranges::equal(a.brokers(), b.brokers(), [](const auto& x, const auto& y) {
    return x.first == y.first && x.second->endpoints == y.second->endpoints;
  });
}

}  // namespace

Task<Result<>> Orders::check(controller::OrderHead head) {
  const auto own = node_.epoch();
  if (own.value < 0) co_return fail(ErrorCode::STALE_BROKER_EPOCH, "this broker is not registered");
  if (head.broker_epoch.value >= 0 && head.broker_epoch < own) {
    co_return fail(ErrorCode::STALE_BROKER_EPOCH,
                   fmt::format("an order for broker epoch {}, this is epoch {}", head.broker_epoch.value, own.value));
  }
  if (head.controller_epoch < heard_) {
    WEIR_LOG_LIMITED(info, seconds(1), "an order of controller {} of epoch {} is refused: epoch {} was heard of",
                     head.controller.value, head.controller_epoch.value, heard_.value);
    co_return fail(ErrorCode::STALE_CONTROLLER_EPOCH,
                   fmt::format("controller {} of epoch {} is older than epoch {}", head.controller.value,
                               head.controller_epoch.value, heard_.value));
  }
  if (head.controller_epoch > heard_) {
    // A stranger could make this broker deaf to its controller by an epoch that there will not be for long.
    const std::string path(layout::controller_epoch_path);
    auto there = co_await node_.zk->get(path);
    ControllerEpoch known{-1};
    if (there) known = layout::decode_controller_epoch(path, there->data).value_or(known);
    if (head.controller_epoch > known) {
      WEIR_LOG_LIMITED(warn, seconds(1), "an order of controller {} is refused: there is no epoch {} yet",
                       head.controller.value, head.controller_epoch.value);
      co_return fail(ErrorCode::STALE_CONTROLLER_EPOCH, "there is no such controller epoch");
    }
    heard_ = head.controller_epoch;
  }
  co_return Result<>{};
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

// A topic is made with its configuration in place and no word in /config/changes: it is read when the topic is first
// heard of, before its logs are made.
Task<void> Orders::know_configs(const std::vector<controller::LeaderAndIsrOrder::Item>& items) {
  std::vector<std::string> topics;
  for (const auto& item : items) {
    if (configured_.insert(item.at.topic).second) topics.push_back(item.at.topic);
  }
  if (topics.empty()) co_return;
  std::vector<std::optional<cluster::ConfigMap>> configs(topics.size());
  auto read = [&](std::size_t i) -> Task<void> {
    const auto path = layout::path_of_config(layout::topics_type, topics[i]);
    auto data = co_await node_.zk->get(path);
    if (!data) co_return;  // no configuration of its own
    auto config = layout::decode_config(path, data->data);
    if (config) {
      configs[i] = cluster::ConfigMap(config->begin(), config->end());
    } else {
      WEIR_LOG(error, "{}", config.error().message);
    }
  };
  constexpr std::size_t in_flight_max = 256;
  co_await zkclient::pipeline(*node_.control, topics.size(), in_flight_max, std::move(read));
  auto edit = [&](cluster::ImageBuilder& next) {
    for (std::size_t i = 0; i < topics.size(); ++i) {
      // What is there came by /config/changes, and later than what was read here.
      const cluster::ConfigKey key{cluster::ConfigType::topic, topics[i]};
      if (configs[i] && next.now().config(key).empty()) next.set_config(key, *configs[i]);
    }
  };
  co_await node_.images->change(std::move(edit));
}

void Orders::know_topic_ids(const std::map<std::string, Uuid>& ids) {
  const auto& image = node_.images->latest();
  const auto before = node_.fresh_topics();
  Node::TopicNames fresh;
  for (const auto& [id, name] : *before) {
    if (!image->topic(id)) fresh.emplace(id, name);
  }
  for (const auto& [name, id] : ids) {
    if (!id.is_zero() && !image->topic(id)) fresh.emplace(id, name);
  }
  if (fresh != *before) node_.set_fresh_topics(std::make_shared<const Node::TopicNames>(std::move(fresh)));
}

void Orders::note_gone(const cluster::Image& before, const cluster::Image& now) {
  const auto at = node_.clock->mono();
  Node::AllGone gone;
  for (const auto& each : *node_.gone()) {
    if (!now.alive(each.broker->id) && at - each.at < Node::gone_named) gone.push_back(each);
  }
  for (const auto& [id, broker] : before.brokers()) {
    if (!now.alive(id)) gone.push_back({broker, at});
  }
  if (!gone.empty() || !node_.gone()->empty()) node_.set_gone(std::make_shared<const Node::AllGone>(std::move(gone)));
}

Task<Result<OrderAnswer>> Orders::leader_and_isr(controller::LeaderAndIsrOrder order) {
  const auto turn = co_await turns_.take();
  if (auto fine = co_await check(order.head); !fine) co_return std::unexpected(fine.error());
  co_await know_configs(order.partitions);
  std::vector<replica::Change> changes;
  bool groups_change = false;
  std::set<controller::PartitionRef> named;
  std::erase_if(order.partitions, [&named](const auto& item) { return !named.insert(item.at).second; });
  for (const auto& item : order.partitions) {
    auto& change = changes.emplace_back();
    change.partition = {item.at.topic, item.at.partition};
    if (const auto id = order.topic_ids.find(item.at.topic); id != order.topic_ids.end()) change.topic_id = id->second;
    auto& to = change.leadership;
    to.leader = item.state.leader;
    to.leader_epoch = item.state.leader_epoch;
    to.isr = item.state.isr;
    to.replicas = item.state.replicas;
    to.partition_epoch = item.state.version;
    to.controller_epoch = item.state.controller_epoch;
    to.adding = item.state.adding;
    to.removing = item.state.removing;
    to.is_new = item.is_new;
    to.leader_recovery_state = item.state.leader_recovery_state;
    if (item.at.topic == cluster::group_metadata_topic) groups_change = true;
  }
  std::erase_if(order.topic_ids, [](const auto& topic) { return !cluster::validate_name_of_existing(topic.first); });
  know_topic_ids(order.topic_ids);
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
  answer.insert(answer.end(), order.left_out.begin(), order.left_out.end());
  co_return answer;
}

Task<Result<>> Orders::update_metadata(controller::UpdateMetadataOrder order) {
  const auto turn = co_await turns_.take();
  if (auto fine = co_await check(order.head); !fine) co_return std::unexpected(fine.error());
  std::set<std::string> gone;
  for (const auto& item : order.partitions) {
    if (item.state.leader.value == controller::leader_during_delete) gone.insert(item.at.topic);
  }
  std::erase_if(order.partitions, [&gone](const auto& item) { return gone.contains(item.at.topic); });
  co_await know_configs(order.partitions);
  for (const auto& topic : gone) configured_.erase(topic);
  std::vector<replica::LearnedIsr> isrs;
  std::vector<replica::Stop> strays;
  for (const auto& item : order.partitions) {
    const auto& replicas = item.state.replicas;
    if (std::ranges::find(replicas, node_.id) == replicas.end()) {
      // Moved away while this broker was not there to hear StopReplica: it would lead it for ever, in its old epoch.
      strays.push_back({.partition = {item.at.topic, item.at.partition},
                        .remove = false,
                        .leader_epoch = item.state.leader_epoch,
                        .stray = true});
      continue;
    }
    if (item.state.leader == node_.id) continue;
    isrs.push_back({{item.at.topic, item.at.partition}, item.state.leader_epoch, item.state.version, item.state.isr});
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
      // Word that was under way for long does not undo what is known.
      const auto known_topic = next.now().topic(item.at.topic);
      const auto id = order.topic_ids.find(item.at.topic);
      const bool same =
          known_topic && id != order.topic_ids.end() && !id->second.is_zero() && id->second == known_topic->id;
      const auto* known = same ? next.now().partition(item.at.topic, item.at.partition) : nullptr;
      if (known != nullptr && item.state.leader_epoch < known->leader_epoch) continue;
      next.put_partition(item.at.topic, item.at.partition, std::move(item.state));
    }
    for (const auto& name : gone) {
      next.remove_topic(name);
      next.set_config({cluster::ConfigType::topic, name}, {});
    }
  };
  const auto before = node_.images->latest();
  co_await node_.images->change(std::move(edit));
  know_topic_ids({});
  if (node_.controller_channel != nullptr) node_.controller_channel->controller_changed();
  note_gone(*before, *node_.images->latest());
  if (!same_brokers(*before, *node_.images->latest())) node_.replicas->brokers_changed();
  if (!isrs.empty()) co_await node_.replicas->learn_isrs(std::move(isrs));
  if (!strays.empty()) co_await stop_strays(std::move(strays));
  if (!gone.empty()) co_await node_.groups->topics_deleted({gone.begin(), gone.end()});
  co_return Result<>{};
}

Task<void> Orders::stop_strays(std::vector<replica::Stop> strays) {
  std::vector<std::pair<PartitionId, LeaderEpoch>> groups;
  for (const auto& stray : strays) {
    const auto& [topic, id] = stray.partition;
    if (topic == cluster::group_metadata_topic) groups.emplace_back(id, stray.leader_epoch);
  }
  co_await node_.replicas->stop_replicas(std::move(strays));
  for (const auto& [id, epoch] : groups) co_await node_.groups->resigned(id, epoch);
}

Task<Result<OrderAnswer>> Orders::stop_replica(controller::StopReplicaOrder order) {
  const auto turn = co_await turns_.take();
  if (auto fine = co_await check(order.head); !fine) co_return std::unexpected(fine.error());
  std::vector<replica::Stop> stops;
  for (const auto& item : order.partitions) {
    stops.push_back({{item.at.topic, item.at.partition}, item.remove, item.leader_epoch});
  }
  const auto results = co_await node_.replicas->stop_replicas(std::move(stops));
  OrderAnswer answer;
  for (std::size_t i = 0; i < order.partitions.size(); ++i) {
    const auto& item = order.partitions[i];
    answer.push_back({item.at, results[i] ? ErrorCode::NONE : results[i].error().code});
    if (!results[i]) {
      WEIR_LOG(error, "{}-{}: cannot stop the replica: {}", item.at.topic, item.at.partition.value,
               results[i].error().message);
    } else if (item.at.topic == cluster::group_metadata_topic) {
      co_await node_.groups->resigned(item.at.partition, std::nullopt);
      if (item.remove) group_partitions_known_ = false;
    }
  }
  std::set<std::string, std::less<>> removed;
  for (const auto& item : order.partitions) {
    if (item.remove && !node_.images->latest()->topic(item.at.topic)) removed.insert(item.at.topic);
  }
  for (const auto& topic : removed) node_.replicas->forget_counters(topic);
  answer.insert(answer.end(), order.left_out.begin(), order.left_out.end());
  co_return answer;
}

}  // namespace weir::broker
