#include "controller/drive/store.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/log.h"
#include "cluster/topic_name.h"
#include "zkclient/pipeline.h"

namespace weir::controller {

namespace layout = zkwire::layout;
using zkclient::Op;
using zkclient::ZkCode;
using zkclient::ZkError;

namespace {

constexpr std::size_t path_shown_max = 300;  // of a name that may be of any length

}  // namespace

bool office_lost(const ZkError& error) {
  return error.path == layout::controller_epoch_path &&
         (error.code == ZkCode::bad_version || error.code == ZkCode::no_node);
}

bool fatal(const ZkError& error) {
  return office_lost(error) || zkclient::ambiguous(error.code) || error.code == ZkCode::session_expired ||
         error.code == ZkCode::closed;
}

layout::PartitionState state_of(const cluster::Partition& p) {
  return {p.leader, p.leader_epoch, p.isr, p.controller_epoch, p.leader_recovery_state};
}

void merge(cluster::Partition& into, const layout::PartitionState& state, std::int32_t version) {
  into.leader = state.leader;
  into.leader_epoch = state.leader_epoch;
  into.isr = state.isr;
  into.controller_epoch = state.controller_epoch;
  into.leader_recovery_state = state.leader_recovery_state;
  into.version = version;
}

Task<ZkResult<zkclient::OpResult>> Store::write(Op op) {
  std::vector<Op> ops;
  ops.push_back(Op::check(std::string(layout::controller_epoch_path), state_.epoch_version));
  ops.push_back(std::move(op));
  auto done = co_await zk_.multi(std::move(ops));
  if (!done) co_return std::unexpected(done.error());
  co_return std::move((*done)[1]);
}

Task<ZkResult<std::vector<zkclient::OpResult>>> Store::write_all(std::vector<Op> ops) {
  ops.insert(ops.begin(), Op::check(std::string(layout::controller_epoch_path), state_.epoch_version));
  auto done = co_await zk_.multi(std::move(ops));
  if (!done) co_return std::unexpected(done.error());
  done->erase(done->begin());
  co_return std::move(*done);
}

Task<ZkResult<>> Store::remove(std::string path) {
  auto done = co_await write(Op::remove(path));
  if (!done && (office_lost(done.error()) || done.error().code != ZkCode::no_node)) {
    co_return std::unexpected(done.error());
  }
  co_return ZkResult<>();
}

Task<ZkResult<>> Store::remove_children(std::string path, std::vector<std::string> names) {
  ZkResult<> result;
  auto one = [&](std::size_t i) -> Task<void> {
    auto done = co_await remove(path + "/" + names[i]);
    if (!done) result = std::move(done);
  };
  co_await zkclient::pipeline(shard_, names.size(), writes_in_flight_max, one);
  co_return result;
}

Task<ZkResult<>> Store::remove_topic(std::string topic) {
  const auto partitions_path = layout::path_of_partitions(topic);
  auto partitions = co_await children(partitions_path, Watch{});
  if (!partitions) co_return std::unexpected(partitions.error());
  ZkResult<> result;
  auto one = [&](std::size_t i) -> Task<void> {
    const auto path = partitions_path + "/" + (*partitions)[i];
    auto done = co_await remove(path + "/state");
    if (done) done = co_await remove(path);
    if (!done) result = std::move(done);
  };
  co_await zkclient::pipeline(shard_, partitions->size(), writes_in_flight_max, one);
  if (!result) co_return result;
  // While the topic's own node and the mark are there, another controller would go on with this.
  for (auto path : {partitions_path, layout::path_of_config(layout::topics_type, topic), layout::path_of_topic(topic),
                    layout::path_of_deletion(topic)}) {
    auto done = co_await remove(std::move(path));
    if (!done) co_return done;
  }
  co_return ZkResult<>();
}

Task<ZkResult<std::vector<std::string>>> Store::children(std::string path, Watch watch) {
  auto names = co_await zk_.children(path, watch);
  if (!names && names.error().code == ZkCode::no_node) co_return std::vector<std::string>();
  co_return names;
}

Task<ZkResult<std::vector<cluster::Broker>>> Store::brokers(Watch on_list, Watch on_broker,
                                                            std::map<BrokerId, BrokerEpoch>& lives) {
  auto names = co_await children(std::string(layout::broker_ids_path), on_list);
  if (!names) co_return std::unexpected(names.error());
  std::vector<cluster::Broker> out;
  ZkResult<> result;
  auto one = [&](std::size_t i) -> Task<void> {
    const auto id = layout::broker_of_child((*names)[i]);
    if (!id) co_return;
    const auto path = layout::path_of_broker(*id);
    auto there = co_await zk_.get(path, on_broker);
    if (!there) {
      if (there.error().code != ZkCode::no_node) result = std::unexpected(there.error());
      co_return;
    }
    const auto read = layout::decode_broker(path, there->data);
    if (!read) {
      WEIR_LOG(error, "a broker is left out: {}", read.error().message);
      co_return;
    }
    cluster::Broker broker;
    broker.id = *id;
    broker.epoch = BrokerEpoch{there->stat.czxid};
    lives[broker.id] = std::min(broker.epoch, read->life.value_or(broker.epoch));
    broker.rack = read->rack;
    for (const auto& e : read->endpoints) broker.endpoints.push_back({e.listener, e.protocol, e.host, e.port});
    for (const auto& [name, range] : read->features) broker.features[name] = {range.min, range.max};
    out.push_back(std::move(broker));
  };
  co_await zkclient::pipeline(shard_, names->size(), reads_in_flight_max, one);
  if (!result) co_return std::unexpected(result.error());
  co_return out;
}

Task<ZkResult<std::map<BrokerId, std::optional<Store::Life>>>> Store::lives(std::vector<BrokerId> ids) {
  std::map<BrokerId, std::optional<Life>> out;
  ZkResult<> result;
  auto one = [&](std::size_t i) -> Task<void> {
    const auto path = layout::path_of_broker(ids[i]);
    auto there = co_await zk_.get(path, Watch{});
    if (there) {
      const BrokerEpoch epoch{there->stat.czxid};
      const auto read = layout::decode_broker(path, there->data);
      out[ids[i]] = Life{epoch, read ? std::min(epoch, read->life.value_or(epoch)) : epoch};
    } else if (fatal(there.error())) {
      result = std::unexpected(there.error());
    } else if (there.error().code == ZkCode::no_node) {
      out[ids[i]] = std::nullopt;
    } else {
      WEIR_LOG_LIMITED(error, std::chrono::seconds(5), "a broker cannot be looked at: {}", there.error().text());
    }
  };
  co_await zkclient::pipeline(shard_, ids.size(), reads_in_flight_max, one);
  if (!result) co_return std::unexpected(result.error());
  co_return out;
}

Task<ZkResult<std::vector<TopicRead>>> Store::topics(std::vector<std::string> names, Watch watch) {
  std::vector<TopicRead> out;
  ZkResult<> result;
  auto one = [&](std::size_t i) -> Task<void> {
    const auto path = layout::path_of_topic(names[i]);
    // Somebody made the node by hand. No broker could make a folder of that name, and none would take our orders.
    if (const auto fine = cluster::validate_name_of_existing(names[i]); !fine) {
      WEIR_LOG_LIMITED(error, std::chrono::seconds(5), "a topic is left out: {}: {}",
                       std::string_view(path).substr(0, path_shown_max), fine.error().message);
      co_return;
    }
    auto there = co_await zk_.get(path, watch);
    if (!there) {
      if (there.error().code != ZkCode::no_node) result = std::unexpected(there.error());
      co_return;
    }
    auto read = layout::decode_topic(path, there->data);
    if (!read) {
      WEIR_LOG(error, "a topic is left out: {}", read.error().message);
      co_return;
    }
    // Numbered from 0 without a gap: else one node could make us hold two thousand million partitions.
    if (!read->partitions.empty() &&
        static_cast<std::size_t>(read->partitions.rbegin()->first.value) + 1 != read->partitions.size()) {
      WEIR_LOG(error, "a topic is left out: {}: its partitions are not numbered from 0 on", path);
      co_return;
    }
    out.push_back({names[i], std::move(*read), there->stat.version});
  };
  co_await zkclient::pipeline(shard_, names.size(), reads_in_flight_max, one);
  if (!result) co_return std::unexpected(result.error());
  co_return out;
}

Task<ZkResult<std::map<PartitionRef, cluster::Partition>>> Store::states(
    std::vector<PartitionRef> at, Watch watch, std::map<PartitionRef, std::int64_t>* written) {
  std::map<PartitionRef, cluster::Partition> out;
  ZkResult<> result;
  auto one = [&](std::size_t i) -> Task<void> {
    const auto path = layout::path_of_partition_state(at[i].topic, at[i].partition);
    auto there = co_await zk_.get(path, watch);
    if (!there) {
      if (there.error().code != ZkCode::no_node) result = std::unexpected(there.error());
      co_return;
    }
    const auto read = layout::decode_partition_state(path, there->data);
    const auto* known = state_.image->partition(at[i].topic, at[i].partition);
    if (!read) {
      WEIR_LOG(error, "a partition's state is left out: {}", read.error().message);
    } else if (known != nullptr) {
      auto partition = *known;
      merge(partition, *read, there->stat.version);
      out[at[i]] = std::move(partition);
      if (written != nullptr) (*written)[at[i]] = there->stat.mzxid;
    }
  };
  co_await zkclient::pipeline(shard_, at.size(), reads_in_flight_max, one);
  if (!result) co_return std::unexpected(result.error());
  co_return out;
}

Task<ZkResult<std::set<std::string>>> Store::assign(Assignments wanted) {
  std::set<std::string> gone;
  ZkResult<> result;
  std::vector<const Assignments::value_type*> topics;
  for (const auto& entry : wanted) topics.push_back(&entry);
  auto one = [&](std::size_t i) -> Task<void> {
    const auto& [topic, partitions] = *topics[i];
    const auto path = layout::path_of_topic(topic);
    for (;;) {
      auto there = co_await zk_.get(path, Watch{});
      if (!there) {
        gone.insert(topic);
        if (there.error().code != ZkCode::no_node) result = std::unexpected(there.error());
        co_return;
      }
      auto content = layout::decode_topic(path, there->data);
      if (!content) {
        WEIR_LOG(error, "no replicas are moved: {}", content.error().message);
        gone.insert(topic);
        co_return;
      }
      const auto before = content->partitions;
      for (const auto& [id, replicas] : partitions) content->partitions[id] = replicas;
      if (content->partitions == before) co_return;
      auto op = Op::set(path, layout::encode(*content), there->stat.version);
      auto done = co_await write(std::move(op));
      if (done) co_return;
      if (!office_lost(done.error()) && done.error().code == ZkCode::bad_version) continue;  // it grew meanwhile
      gone.insert(topic);
      if (office_lost(done.error()) || done.error().code != ZkCode::no_node) result = std::unexpected(done.error());
      co_return;
    }
  };
  co_await zkclient::pipeline(shard_, topics.size(), writes_in_flight_max, one);
  if (!result) co_return std::unexpected(result.error());
  co_return gone;
}

Task<ZkResult<std::vector<PartitionRef>>> Store::isr_changes(std::vector<std::string> names) {
  std::vector<PartitionRef> out;
  ZkResult<> result;
  auto one = [&](std::size_t i) -> Task<void> {
    const auto path = std::string(layout::isr_change_notification_path) + "/" + names[i];
    auto there = co_await zk_.get(path, Watch{});
    if (!there) {
      if (there.error().code != ZkCode::no_node) result = std::unexpected(there.error());
      co_return;
    }
    const auto read = layout::decode_partition_set(path, there->data);
    if (!read) {
      WEIR_LOG(error, "a notification is left out: {}", read.error().message);
      co_return;
    }
    for (const auto& p : *read) out.push_back({p.topic, p.partition});
  };
  co_await zkclient::pipeline(shard_, names.size(), reads_in_flight_max, one);
  if (!result) co_return std::unexpected(result.error());
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  co_return out;
}

}  // namespace weir::controller
