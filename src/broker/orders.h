// What the controller tells this broker, carried out: roles of partitions, the image of the cluster, replicas to stop.
// Orders of an older controller than the last one heard are refused. On the control shard, one order at a time.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "broker/groups.h"
#include "broker/node.h"
#include "controller/orders.h"

namespace weir::broker {

class Orders : public controller::BrokerLink {
 public:
  explicit Orders(Node& node) : node_(node) {}

  runtime::Task<Result<controller::OrderAnswer>> leader_and_isr(BrokerId to,
                                                                controller::LeaderAndIsrOrder order) override;
  runtime::Task<Result<>> update_metadata(BrokerId to, controller::UpdateMetadataOrder order) override;
  runtime::Task<Result<controller::OrderAnswer>> stop_replica(BrokerId to, controller::StopReplicaOrder order) override;

 private:
  Result<> check(BrokerId to, const controller::OrderHead& head);
  runtime::Task<void> know_group_partitions();
  runtime::Task<void> know_configs(const std::vector<controller::LeaderAndIsrOrder::Item>& items);

  Node& node_;
  ControllerEpoch heard_{-1};
  bool group_partitions_known_ = false;
  std::set<std::string, std::less<>> configured_;  // topics whose configuration is in the image
};

}  // namespace weir::broker
