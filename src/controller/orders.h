// What a controller tells brokers, as plain data: the content of LeaderAndIsr, UpdateMetadata and StopReplica
// (Kafka's inter-broker requests), and their answers. The broker room carries them: in the process to the broker
// itself, over the wire to others.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "base/uuid.h"
#include "cluster/image.h"
#include "runtime/task.h"

namespace weir::controller {

using runtime::Task;

inline constexpr std::int32_t leader_during_delete = -2;  // leader id, and leader epoch of StopReplica (KIP-570)

// Who orders, and whom: a broker refuses an older controller (STALE_CONTROLLER_EPOCH) and an order meant for an
// earlier life of itself (STALE_BROKER_EPOCH, KIP-380).
struct OrderHead {
  BrokerId controller = no_broker;
  ControllerEpoch controller_epoch{-1};
  BrokerEpoch broker_epoch{-1};
};

struct PartitionRef {
  std::string topic;
  PartitionId partition;
  friend auto operator<=>(const PartitionRef&, const PartitionRef&) = default;
};

struct PartitionAnswer {
  PartitionRef at;
  ErrorCode error = ErrorCode::NONE;
};
// A call's outer Result is its own: unreachable, or refused as a whole (INVALID_REQUEST: and would be, for ever).
using OrderAnswer = std::vector<PartitionAnswer>;

struct LeaderAndIsrOrder {
  struct Item {
    PartitionRef at;
    cluster::Partition state;  // leader, leader_epoch, isr, replicas, adding, removing, version, controller_epoch
    bool is_new = false;
  };
  struct Leader {
    BrokerId id;
    std::string host;  // on the inter-broker listener
    std::int32_t port = 0;
  };
  OrderHead head;
  bool full = false;  // KIP-866 "type": every partition of the broker, not only changes
  std::vector<Item> partitions;
  std::map<std::string, Uuid> topic_ids;
  std::vector<Leader> leaders;
  OrderAnswer left_out;  // came over the wire, and are no partitions: answered, and else not there
};

struct UpdateMetadataOrder {
  OrderHead head;
  std::vector<LeaderAndIsrOrder::Item> partitions;  // of what changed; leader -2: the topic is being deleted
  std::map<std::string, Uuid> topic_ids;
  std::vector<std::shared_ptr<const cluster::Broker>> brokers;  // all that are alive
};

struct StopReplicaOrder {
  struct Item {
    PartitionRef at;
    LeaderEpoch leader_epoch = no_leader_epoch;  // -2 while the topic is deleted
    bool remove = false;                         // its log goes too
  };
  OrderHead head;
  std::vector<Item> partitions;
  OrderAnswer left_out;  // as above
};

// The way to a broker. Orders to one broker are made one at a time, in order; an error is tried again until the
// broker is gone or the controller resigns (STALE_BROKER_EPOCH is not; after STALE_CONTROLLER_EPOCH the controller also
// looks whether it is still in office). An order to a
// broker's next life may be made while one to its last has not been answered. Called on the controller's shard.
class BrokerLink {
 public:
  virtual ~BrokerLink() = default;
  // Who is there now, each time that changes (a broker came, went, was registered anew or has other endpoints), before
  // the orders that follow from it; empty when the office is lost. Calls to brokers that are not among them, or have
  // another epoch than before, may be ended at once: nobody hears their answers.
  virtual void know_brokers(std::vector<std::shared_ptr<const cluster::Broker>> alive) { (void)alive; }
  virtual Task<Result<OrderAnswer>> leader_and_isr(BrokerId to, LeaderAndIsrOrder order) = 0;
  virtual Task<Result<>> update_metadata(BrokerId to, UpdateMetadataOrder order) = 0;
  virtual Task<Result<OrderAnswer>> stop_replica(BrokerId to, StopReplicaOrder order) = 0;
};

}  // namespace weir::controller
