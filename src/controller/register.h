// A broker's place in ZooKeeper: the root paths, the cluster's id, and its own ephemeral node.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "cluster/image.h"
#include "controller/orders.h"
#include "runtime/random.h"
#include "runtime/shard.h"
#include "zkclient/zk.h"
#include "zkwire/layout.h"

namespace weir::controller {

using runtime::Task;

// All persistent paths a broker of Kafka 3.9 makes sure of.
Task<Result<>> ensure_root_paths(zkclient::Zk& zk);

// The id in /cluster/id; made from `random` when there is none.
Task<Result<std::string>> get_or_create_cluster_id(zkclient::Zk& zk, runtime::Random& random);

// Makes /brokers/ids/N and gives its broker epoch (the node's czxid, KIP-380). Where another session has the node
// it waits for that to go, up to `wait` (pass the session timeout: it is our own old session after a crash), then
// fails with DUPLICATE_BROKER_REGISTRATION naming the other's endpoints. `zk` should be a patient one.
Task<Result<BrokerEpoch>> register_broker(runtime::Shard& shard, zkclient::Zk& zk, BrokerId broker,
                                          zkwire::layout::BrokerRegistration registration, nanoseconds wait);

// Content changed (listeners, by dynamic configuration): written over the own node.
Task<Result<>> update_registration(zkclient::Zk& zk, BrokerId broker, zkwire::layout::BrokerRegistration registration);

// A new broker.id for broker.id.generation.enable: above `reserved_max` (reserved.broker.max.id).
Task<Result<BrokerId>> generate_broker_id(zkclient::Zk& zk, std::int32_t reserved_max);

// The next `size` producer ids (InitProducerId), from /latest_producer_id_block; safe against others.
Task<Result<zkwire::layout::ProducerIdBlock>> allocate_producer_ids(zkclient::Zk& zk, BrokerId broker,
                                                                    std::int64_t size = 1000);

// --- what a leader writes itself while inter.broker.protocol.version is below 2.7 (before AlterPartition) ---

// Writes the partition's next state over version `from.version` of its znode and gives the new version. `to` has the
// new ISR, and the leader, epochs and recovery state of LeaderAndIsr. INVALID_UPDATE_VERSION: somebody else wrote
// meanwhile (LeaderAndIsr or UpdateMetadata will tell); UNKNOWN_TOPIC_OR_PARTITION: the topic is gone.
Task<Result<std::int32_t>> propose_isr(zkclient::Zk& zk, PartitionRef at, cluster::Partition from,
                                       cluster::Partition to);
// Tells the controller which ISRs were written (/isr_change_notification). Kafka collects them for up to 2.5 s.
Task<Result<>> announce_isr_changes(zkclient::Zk& zk, std::vector<PartitionRef> changed);
// Tells the controller that a log directory of `broker` failed (/log_dir_event_notification).
Task<Result<>> announce_log_dir_failure(zkclient::Zk& zk, BrokerId broker);

}  // namespace weir::controller
