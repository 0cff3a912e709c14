// What a cluster's nodes in ZooKeeper say, read from outside the cluster: by `weir restart`, to know when a broker is
// in sync again, and by `weir migrate check`.
#pragma once

#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/units.h"
#include "runtime/task.h"
#include "zkclient/real.h"
#include "zkclient/zk.h"
#include "zkwire/layout.h"

namespace weir::apps {

// Nodes that could not be read or understood are left out and named in `problems`.
struct ClusterView {
  std::map<BrokerId, zkwire::layout::BrokerRegistration> brokers;
  std::optional<zkwire::layout::ControllerRegistration> controller;
  std::map<std::string, zkwire::layout::TopicAssignment> topics;
  std::map<zkwire::layout::TopicPartition, zkwire::layout::PartitionState> states;
  std::vector<std::string> problems;  // sentences
};

// Reads many nodes at once; `take(i, data)` is called for each that is there. The error is the first that is not that a
// node is missing.
runtime::Task<zkclient::ZkResult<>> read_nodes(zkclient::Zk& zk, std::vector<std::string> paths,
                                               std::function<void(std::size_t, const std::string&)> take);

// Of all topics, or only of partitions that have `replica` among their replicas.
runtime::Task<zkclient::ZkResult<ClusterView>> read_cluster(zkclient::Zk& zk, std::optional<BrokerId> replica = {});

// Opens a session, runs `work` on a thread of its own and waits for it. The error is a sentence: nothing answers there,
// or does not let us in.
std::expected<void, std::string> with_zookeeper(zkclient::RealOptions options,
                                                std::function<runtime::Task<void>(zkclient::Zk&)> work);

// Waits until the broker is in the ISR of every partition that it holds a replica of. The error is a sentence.
std::expected<void, std::string> wait_in_sync(const std::string& connect, BrokerId broker, milliseconds timeout);

}  // namespace weir::apps
