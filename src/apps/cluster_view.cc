#include "apps/cluster_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "runtime/clock.h"
#include "runtime/shard.h"
#include "zkclient/patient.h"
#include "zkclient/pipeline.h"

namespace weir::apps {

namespace layout = zkwire::layout;
using runtime::Task;
using zkclient::ZkCode;
using zkclient::ZkResult;

namespace {

constexpr std::size_t in_flight_max = 512;
constexpr seconds connect_wait{10};

}  // namespace

Task<ZkResult<>> read_nodes(zkclient::Zk& zk, std::vector<std::string> paths,
                            std::function<void(std::size_t, const std::string&)> take) {
  ZkResult<> result;
  auto read = [&](std::size_t i) -> Task<void> {
    auto data = co_await zk.get(paths[i]);
    if (data) {
      take(i, data->data);
    } else if (data.error().code != ZkCode::no_node && result) {
      result = std::unexpected(data.error());
    }
  };
  co_await zkclient::pipeline(*runtime::Shard::current(), paths.size(), in_flight_max, std::move(read));
  co_return result;
}

namespace {

std::vector<std::string> or_none(ZkResult<std::vector<std::string>> children) {
  return children ? std::move(*children) : std::vector<std::string>();
}

Task<ZkResult<>> read_brokers(zkclient::Zk& zk, ClusterView& view) {
  auto children = co_await zk.children(std::string(layout::broker_ids_path));
  if (!children && children.error().code != ZkCode::no_node) co_return std::unexpected(children.error());
  std::vector<BrokerId> ids;
  std::vector<std::string> paths;
  for (const auto& child : or_none(std::move(children))) {
    const auto id = layout::broker_of_child(child);
    if (!id) continue;
    ids.push_back(*id);
    paths.push_back(layout::path_of_broker(*id));
  }
  auto take = [&view, &ids](std::size_t i, const std::string& data) {
    auto broker = layout::decode_broker(layout::path_of_broker(ids[i]), data);
    if (broker) {
      view.brokers[ids[i]] = std::move(*broker);
    } else {
      view.problems.push_back(broker.error().message);
    }
  };
  co_return co_await read_nodes(zk, std::move(paths), std::move(take));
}

Task<ZkResult<>> read_topics(zkclient::Zk& zk, ClusterView& view) {
  auto children = co_await zk.children(std::string(layout::topics_path));
  if (!children && children.error().code != ZkCode::no_node) co_return std::unexpected(children.error());
  const auto names = or_none(std::move(children));
  std::vector<std::string> paths;
  for (const auto& name : names) paths.push_back(layout::path_of_topic(name));
  auto take = [&view, &names](std::size_t i, const std::string& data) {
    auto topic = layout::decode_topic(layout::path_of_topic(names[i]), data);
    if (topic) {
      view.topics[names[i]] = std::move(*topic);
    } else {
      view.problems.push_back(topic.error().message);
    }
  };
  co_return co_await read_nodes(zk, std::move(paths), std::move(take));
}

Task<ZkResult<>> read_states(zkclient::Zk& zk, ClusterView& view, std::optional<BrokerId> replica) {
  std::vector<layout::TopicPartition> partitions;
  std::vector<std::string> paths;
  for (const auto& [name, topic] : view.topics) {
    for (const auto& [partition, assignment] : topic.partitions) {
      if (replica && std::ranges::find(assignment.replicas, *replica) == assignment.replicas.end()) continue;
      partitions.push_back({name, partition});
      paths.push_back(layout::path_of_partition_state(name, partition));
    }
  }
  auto take = [&view, &partitions](std::size_t i, const std::string& data) {
    const auto& at = partitions[i];
    auto state = layout::decode_partition_state(layout::path_of_partition_state(at.topic, at.partition), data);
    if (state) {
      view.states[at] = std::move(*state);
    } else {
      view.problems.push_back(state.error().message);
    }
  };
  co_return co_await read_nodes(zk, std::move(paths), std::move(take));
}

}  // namespace

Task<ZkResult<ClusterView>> read_cluster(zkclient::Zk& zk, std::optional<BrokerId> replica) {
  ClusterView view;
  if (auto done = co_await read_brokers(zk, view); !done) co_return std::unexpected(done.error());
  auto controller = co_await zk.get(std::string(layout::controller_path));
  if (controller) {
    if (auto read = layout::decode_controller(layout::controller_path, controller->data)) {
      view.controller = *read;
    } else {
      view.problems.push_back(read.error().message);
    }
  }
  if (auto done = co_await read_topics(zk, view); !done) co_return std::unexpected(done.error());
  if (auto done = co_await read_states(zk, view, replica); !done) co_return std::unexpected(done.error());
  co_return view;
}

std::expected<void, std::string> with_zookeeper(zkclient::RealOptions options,
                                                std::function<Task<void>(zkclient::Zk&)> work) {
  runtime::Shards shards(1);
  std::expected<void, std::string> result;
  auto run = [&]() -> Task<void> {
    auto session = zkclient::connect(options);
    if (!session) {
      result = std::unexpected(session.error().message);
      co_return;
    }
    if (co_await (*session)->wait_connected(connect_wait)) {
      auto patient = zkclient::make_patient(**session, connect_wait);
      co_await work(*patient);
    } else if ((*session)->state() == zkclient::State::auth_failed) {
      result = std::unexpected(fmt::format("ZooKeeper at {} refuses the credentials", options.connect));
    } else {
      result = std::unexpected(fmt::format("no ZooKeeper answers at {}{} within {} s", options.connect,
                                           options.security && options.security->tls ? " by TLS" : "",
                                           seconds(connect_wait).count()));
    }
    co_await (*session)->close();
  };
  runtime::block_on(shards[0], std::move(run));
  shards.stop();
  return result;
}

namespace {

// Partitions with a replica on this broker that is not in the ISR.
ZkResult<std::vector<layout::TopicPartition>> out_of_sync(const ZkResult<ClusterView>& view, BrokerId broker) {
  if (!view) return std::unexpected(view.error());
  std::vector<layout::TopicPartition> out;
  for (const auto& [partition, state] : view->states) {
    if (std::ranges::find(state.isr, broker) == state.isr.end()) out.push_back(partition);
  }
  return out;
}

Task<std::expected<void, std::string>> until_in_sync(zkclient::Zk& zk, BrokerId broker, milliseconds timeout) {
  constexpr milliseconds look_again{100};
  auto& shard = *runtime::Shard::current();
  const auto end = shard.clock().mono() + timeout;
  for (;;) {
    const auto view = co_await read_cluster(zk, broker);
    const auto missing = out_of_sync(view, broker);
    if (!missing) co_return std::unexpected("cannot read the partitions' states: " + missing.error().text());
    if (missing->empty()) co_return std::expected<void, std::string>{};
    if (shard.clock().mono() >= end) {
      co_return std::unexpected(fmt::format("broker {} is not in sync after {} s: {} partitions lack it, {}-{} first",
                                            broker.value, timeout.count() / 1000, missing->size(),
                                            missing->front().topic, missing->front().partition.value));
    }
    // The more partitions, the rarer: this reads all of them.
    co_await runtime::sleep(shard, look_again + milliseconds(view->states.size() / 10));
  }
}

}  // namespace

std::expected<void, std::string> wait_in_sync(const std::string& connect, BrokerId broker, milliseconds timeout) {
  std::expected<void, std::string> result;
  auto work = [&](zkclient::Zk& zk) -> Task<void> { result = co_await until_in_sync(zk, broker, timeout); };
  zkclient::RealOptions options;
  options.connect = connect;
  auto reached = with_zookeeper(std::move(options), std::move(work));
  return reached ? result : reached;
}

}  // namespace weir::apps
