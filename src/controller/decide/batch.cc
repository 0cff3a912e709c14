#include "controller/decide/batch.h"

#include <algorithm>
#include <utility>

namespace weir::controller::decide {
namespace {

using Item = LeaderAndIsrOrder::Item;

void name_topic(std::map<std::string, Uuid>& ids, const State& state, const std::string& topic) {
  const auto found = state.image->topic(topic);
  if (found && !found->id.is_zero()) ids[topic] = found->id;
}

// As brokers hear of it: of a topic that is going, that it has no leader any more.
std::optional<Item> told_item(const State& state, const PartitionRef& at) {
  const auto* partition = state.image->partition(at.topic, at.partition);
  if (partition == nullptr || !partition->has_state()) return std::nullopt;
  Item item{at, *partition, false};
  item.state.offline = state.image->offline_replicas(*partition);
  if (state.doubts.contains(at)) item.state.leader = no_broker;
  if (state.image->deleting(at.topic)) item.state.leader = BrokerId{leader_during_delete};
  return item;
}

// Whether it was told to remove its replica: a role would make it anew, and nobody would remove it again.
bool removing(const State& state, const PartitionRef& at, BrokerId broker) {
  const auto deletion = state.deletions.find(at.topic);
  if (deletion == state.deletions.end()) return false;
  const auto replica = deletion->second.replicas.find({at.partition, broker});
  return replica != deletion->second.replicas.end() &&
         (replica->second == ReplicaDeletion::ordered || replica->second == ReplicaDeletion::done);
}

}  // namespace

void Batch::lead_and_follow(const std::vector<BrokerId>& brokers, const PartitionRef& at, bool is_new) {
  for (const auto broker : brokers) {
    auto& known = led_[broker][at];
    known = known || is_new;
  }
  told_.insert(at);
}

void Batch::stop(BrokerId broker, const PartitionRef& at, bool remove) {
  auto& known = stopped_[broker][at];
  known = known || remove;
}

std::map<BrokerId, Orders> Batch::build(const State& state, const std::string& listener) const {
  std::map<BrokerId, Orders> out;
  const auto head = [&](const cluster::Broker& broker) { return OrderHead{state.self, state.epoch, broker.epoch}; };

  for (const auto& [id, partitions] : led_) {
    const auto* broker = state.image->broker(id);
    if (broker == nullptr) continue;
    LeaderAndIsrOrder order;
    order.head = head(*broker);
    std::set<BrokerId> leaders;
    for (const auto& [at, is_new] : partitions) {
      const auto* partition = state.image->partition(at.topic, at.partition);
      if (partition == nullptr || !partition->has_state() || removing(state, at, id)) continue;
      if (state.doubts.contains(at)) continue;  // its leader of before must not lead again yet
      order.partitions.push_back({at, *partition, is_new});
      name_topic(order.topic_ids, state, at.topic);
      leaders.insert(partition->leader);
    }
    for (const auto leader : leaders) {
      const auto* known = state.image->broker(leader);
      const auto* endpoint = known == nullptr ? nullptr : known->endpoint(listener);
      if (endpoint != nullptr) order.leaders.push_back({leader, endpoint->host, endpoint->port});
    }
    if (!order.partitions.empty()) out[id].leader_and_isr = std::move(order);
  }

  UpdateMetadataOrder metadata;
  for (const auto& [id, broker] : state.image->brokers()) metadata.brokers.push_back(broker);
  auto full = metadata;
  for (const auto& at : told_) {
    if (auto item = told_item(state, at)) {
      metadata.partitions.push_back(std::move(*item));
      name_topic(metadata.topic_ids, state, at.topic);
    }
  }
  if (!everything_.empty()) {
    for (const auto& at : all_partitions(state)) {
      if (auto item = told_item(state, at)) {
        full.partitions.push_back(std::move(*item));
        name_topic(full.topic_ids, state, at.topic);
      }
    }
  }
  if (!told_.empty() || tell_brokers_ || !everything_.empty()) {
    for (const auto& [id, broker] : state.image->brokers()) {
      const bool all = everything_.contains(id);
      if (!all && told_.empty() && !tell_brokers_) continue;
      auto order = all ? full : metadata;
      order.head = head(*broker);
      auto& orders = out[id];
      // A follower looks its leader up among those it knows to be alive: they are named before the roles are given.
      if (orders.leader_and_isr && (all || tell_brokers_)) {
        orders.brokers_first = UpdateMetadataOrder{order.head, {}, {}, order.brokers};
      }
      orders.update_metadata = std::move(order);
    }
  }

  for (const auto& [id, partitions] : stopped_) {
    const auto* broker = state.image->broker(id);
    if (broker == nullptr) continue;
    StopReplicaOrder order;
    order.head = head(*broker);
    for (const auto& [at, remove] : partitions) {
      const auto* partition = state.image->partition(at.topic, at.partition);
      auto epoch = partition == nullptr ? no_leader_epoch : partition->leader_epoch;
      if (state.image->deleting(at.topic)) epoch = LeaderEpoch{leader_during_delete};
      order.partitions.push_back({at, epoch, remove});
    }
    out[id].stop_replica = std::move(order);
  }
  return out;
}

}  // namespace weir::controller::decide
