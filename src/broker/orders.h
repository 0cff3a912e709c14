// What the controller tells this broker, carried out: roles of partitions, the image of the cluster, replicas to stop.
// The controller may be in this process or another broker, Apache Kafka's too. Orders of an older controller than the
// last one heard are refused (STALE_CONTROLLER_EPOCH), and those meant for an earlier life of this broker
// (STALE_BROKER_EPOCH, KIP-380). On the control shard; one order is carried out at a time.
// Before this broker is registered orders wait: until then the controller may take it for the life before, and tell it
// to lead what that life had and this one may have lost.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/groups.h"
#include "broker/node.h"
#include "broker/turns.h"
#include "controller/orders.h"

namespace weir::broker {

class Orders {
 public:
  explicit Orders(Node& node) : node_(node), turns_(*node.control), waiting_for_registration_(turns_.take_first()) {}

  // This broker is registered, or will never be: what waits is looked at. May be called again.
  void open() { waiting_for_registration_.reset(); }

  runtime::Task<Result<controller::OrderAnswer>> leader_and_isr(controller::LeaderAndIsrOrder order);
  runtime::Task<Result<>> update_metadata(controller::UpdateMetadataOrder order);
  runtime::Task<Result<controller::OrderAnswer>> stop_replica(controller::StopReplicaOrder order);

 private:
  runtime::Task<Result<>> check(controller::OrderHead head);
  runtime::Task<void> know_group_partitions();
  // Partitions that others have now: a role that this broker still has of an older epoch is taken away, the log stays.
  runtime::Task<void> stop_strays(std::vector<replica::Stop> strays);
  void note_gone(const cluster::Image& before, const cluster::Image& now);
  void know_topic_ids(const std::map<std::string, Uuid>& ids);
  runtime::Task<void> know_configs(const std::vector<controller::LeaderAndIsrOrder::Item>& items);

  Node& node_;
  Turns turns_;
  std::optional<Turns::Turn> waiting_for_registration_;
  ControllerEpoch heard_{-1};
  bool group_partitions_known_ = false;
  std::set<std::string, std::less<>> configured_;  // topics whose configuration is in the image
};

}  // namespace weir::broker
