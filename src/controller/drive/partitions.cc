// Leaders: writes the states that decide/elect.h chooses, and collects whom to tell.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "controller/drive/impl.h"
#include "zkclient/pipeline.h"

namespace weir::controller {

namespace layout = zkwire::layout;
using zkclient::Op;
using zkclient::ZkCode;
using zkclient::ZkError;

namespace {

constexpr int version_conflicts_max = 50;  // a leader that changes its ISR at the same time

}  // namespace

void Controller::Impl::put(const std::map<PartitionRef, cluster::Partition>& changed) {
  if (changed.empty()) return;
  cluster::ImageBuilder building(state.image);
  for (const auto& [at, partition] : changed) building.put_partition(at.topic, at.partition, partition);
  state.image = building.build();
}

void Controller::Impl::send(const decide::Batch& batch) {
  if (!batch.empty() && !expired) senders.send(batch.build(state, options.inter_broker_listener));
}

Task<ZkResult<>> Controller::Impl::give_leaders(std::vector<PartitionRef> at, decide::Batch& batch) {
  std::vector<PartitionRef> fresh;
  std::vector<PartitionRef> orphaned;
  for (auto& p : at) {
    const auto* partition = state.image->partition(p.topic, p.partition);
    if (partition != nullptr) (partition->has_state() ? orphaned : fresh).push_back(std::move(p));
  }
  auto created = co_await create_states(std::move(fresh), batch);
  if (!created) co_return created;
  co_return co_await elect(std::move(orphaned), decide::Election::offline, false, batch);
}

Task<ZkResult<>> Controller::Impl::create_states(std::vector<PartitionRef> at, decide::Batch& batch) {
  std::map<PartitionRef, cluster::Partition> first;
  std::vector<std::string> topics;
  for (const auto& p : at) {
    auto wanted = decide::first_state(state, *state.image->partition(p.topic, p.partition));
    if (!wanted) {
      WEIR_LOG_LIMITED(warn, std::chrono::seconds(5), "no replica of the new partition {}-{} is alive", p.topic,
                       p.partition.value);
      continue;
    }
    first.emplace(p, std::move(*wanted));
    if (topics.empty() || topics.back() != p.topic) topics.push_back(p.topic);
  }

  ZkResult<> result;
  auto parent = [&](std::size_t i) -> Task<void> {
    auto made = co_await store.write(Op::create(layout::path_of_partitions(topics[i]), ""));
    if (made) co_return;
    const auto code = made.error().code;
    // no_node: the topic went at this moment; its partitions' own writes will find that too.
    if (office_lost(made.error()) || (code != ZkCode::node_exists && code != ZkCode::no_node)) {
      result = std::unexpected(made.error());
    }
  };
  co_await zkclient::pipeline(shard, topics.size(), writes_in_flight_max, parent);
  if (!result) co_return result;

  std::vector<PartitionRef> order;
  for (const auto& [p, partition] : first) order.push_back(p);
  std::map<PartitionRef, cluster::Partition> written;
  std::vector<PartitionRef> there_already;
  auto one = [&](std::size_t i) -> Task<void> {
    const auto& p = order[i];
    const auto& wanted = first.at(p);
    const auto content = layout::encode(state_of(wanted));
    const auto state_path = layout::path_of_partition_state(p.topic, p.partition);
    const auto node_path = layout::path_of_partition(p.topic, p.partition);
    auto both = co_await store.write_both(Op::create(node_path, ""), Op::create(state_path, content));
    ZkError error = both ? ZkError{} : both.error();
    if (!both && error.code == ZkCode::node_exists && error.path == node_path) {
      // An earlier controller came as far as the partition's node, or further.
      auto alone = co_await store.write(Op::create(state_path, content));
      if (alone) both = ZkResult<>();
      if (!alone) error = alone.error();
    }
    if (both) {
      written.emplace(p, wanted);
    } else if (error.code == ZkCode::node_exists) {
      there_already.push_back(p);
    } else if (office_lost(error) || error.code != ZkCode::no_node) {
      result = std::unexpected(error);
    }
  };
  co_await zkclient::pipeline(shard, order.size(), writes_in_flight_max, one);
  put(written);
  for (const auto& [p, partition] : written) batch.lead_and_follow(partition.isr, p, true);
  if (!result) co_return result;

  if (!there_already.empty()) {
    auto states = co_await store.states(there_already);
    if (!states) co_return std::unexpected(states.error());
    put(*states);
    std::vector<PartitionRef> orphaned;
    for (const auto& [p, partition] : *states) {
      if (decide::online(state, partition, partition.leader)) {
        batch.lead_and_follow(decide::online_replicas(state, partition), p, false);
      } else {
        orphaned.push_back(p);
      }
    }
    co_return co_await elect(std::move(orphaned), decide::Election::offline, false, batch);
  }
  co_return ZkResult<>();
}

Task<ZkResult<bool>> Controller::Impl::unclean_allowed(std::string topic) {
  const auto path = layout::path_of_config(layout::topics_type, topic);
  auto there = co_await zk.get(path, Watch{});
  if (!there && there.error().code != ZkCode::no_node) co_return std::unexpected(there.error());
  const auto config = layout::decode_config(path, there ? there->data : std::string());
  if (!config) {
    WEIR_LOG(error, "no unclean election for {}: {}", topic, config.error().message);
    co_return false;
  }
  const auto own = config->find("unclean.leader.election.enable");
  co_return own == config->end() ? options.unclean_leader_election : own->second == "true";
}

Task<ZkResult<>> Controller::Impl::elect(std::vector<PartitionRef> at, decide::Election how, bool unclean,
                                         decide::Batch& batch, Outcome* outcome) {
  const auto no_leader = how == decide::Election::preferred ? ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE
                                                            : ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE;
  std::map<PartitionRef, cluster::Partition> left;
  for (const auto& p : at) left.emplace(p, cluster::Partition{});
  std::map<PartitionRef, cluster::Partition> written;
  const auto say = [&](const PartitionRef& p, ErrorCode code) {
    if (outcome != nullptr) (*outcome)[p] = code;
    if (code != ErrorCode::NONE) {
      WEIR_LOG_LIMITED(info, std::chrono::seconds(5), "no leader was elected for {}-{}: {}", p.topic, p.partition.value,
                       name(code));
    }
  };

  ZkResult<> result;
  for (int round = 0; !left.empty() && round < version_conflicts_max && result; ++round) {
    // As it stands in ZooKeeper now: the leader may have changed the ISR.
    std::vector<PartitionRef> asked;
    for (const auto& [p, partition] : left) asked.push_back(p);
    auto now = co_await store.states(std::move(asked));
    if (!now) co_return std::unexpected(now.error());
    std::vector<std::pair<PartitionRef, cluster::Partition>> work(now->begin(), now->end());
    for (const auto& [p, partition] : left) {
      if (!now->contains(p)) say(p, no_leader);
    }
    left.clear();

    auto one = [&](std::size_t i) -> Task<void> {
      auto& [p, current] = work[i];
      if (current.controller_epoch > state.epoch) {
        result = std::unexpected(ZkError{ZkCode::bad_version, std::string(layout::controller_epoch_path)});
        co_return;
      }
      bool may_be_unclean = unclean;
      if (how == decide::Election::offline && !unclean && !decide::clean_election_possible(state, current)) {
        auto allowed = co_await unclean_allowed(p.topic);
        if (!allowed) {
          result = std::unexpected(allowed.error());
          co_return;
        }
        may_be_unclean = *allowed;
      }
      auto wanted = decide::elect(state, current, how, may_be_unclean);
      if (!wanted) {
        say(p, no_leader);
        co_return;
      }
      auto op = Op::set(layout::path_of_partition_state(p.topic, p.partition), layout::encode(state_of(*wanted)),
                        current.version);
      auto done = co_await store.write(std::move(op));
      if (done) {
        wanted->version = done->stat.version;
        written.insert_or_assign(p, std::move(*wanted));
        say(p, ErrorCode::NONE);
      } else if (!office_lost(done.error()) && done.error().code == ZkCode::bad_version) {
        left.emplace(p, cluster::Partition{});
      } else if (!office_lost(done.error()) && done.error().code == ZkCode::no_node) {
        say(p, no_leader);
      } else {
        result = std::unexpected(done.error());
      }
    };
    co_await zkclient::pipeline(shard, work.size(), writes_in_flight_max, one);
  }
  put(written);
  for (const auto& [p, partition] : written)
    batch.lead_and_follow(decide::online_replicas(state, partition, true), p, false);
  co_return result;
}

Task<ZkResult<>> Controller::Impl::shrink(std::vector<PartitionRef> at, BrokerId gone, decide::Batch& batch) {
  std::map<PartitionRef, cluster::Partition> written;
  ZkResult<> result;
  auto one = [&](std::size_t i) -> Task<void> {
    const auto& p = at[i];
    for (int tries = 0; tries < version_conflicts_max; ++tries) {
      std::vector<PartitionRef> single{p};
      auto now = co_await store.states(std::move(single));
      if (!now) {
        result = std::unexpected(now.error());
        co_return;
      }
      if (now->empty()) co_return;
      auto wanted = decide::without_replica(state, now->begin()->second, gone);
      if (!wanted) co_return;
      auto op = Op::set(layout::path_of_partition_state(p.topic, p.partition), layout::encode(state_of(*wanted)),
                        now->begin()->second.version);
      auto done = co_await store.write(std::move(op));
      if (done) {
        wanted->version = done->stat.version;
        written.insert_or_assign(p, std::move(*wanted));
        co_return;
      }
      if (office_lost(done.error()) || done.error().code != ZkCode::bad_version) {
        if (office_lost(done.error()) || done.error().code != ZkCode::no_node) result = std::unexpected(done.error());
        co_return;
      }
    }
  };
  co_await zkclient::pipeline(shard, at.size(), writes_in_flight_max, one);
  put(written);
  for (const auto& [p, partition] : written) {
    auto others = decide::online_replicas(state, partition, true);
    std::erase(others, gone);
    batch.lead_and_follow(others, p, false);
  }
  co_return result;
}

}  // namespace weir::controller
