// The controller's way to the brokers (controller::BrokerLink): to this one by a call, to the others by Kafka's
// inter-broker requests over one connection each. On the control shard.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "broker/inter/peers.h"
#include "broker/orders.h"
#include "controller/orders.h"

namespace weir::broker {

class Link : public controller::BrokerLink {
 public:
  // `listener`: the inter-broker one. `level`: inter.broker.protocol.version. `timeout`: controller.socket.timeout.ms.
  Link(Node& node, Orders& own, runtime::Sockets& sockets, client::ConnectionOptions options);

  void know_brokers(std::vector<std::shared_ptr<const cluster::Broker>> alive) override;
  runtime::Task<Result<controller::OrderAnswer>> leader_and_isr(BrokerId to,
                                                                controller::LeaderAndIsrOrder order) override;
  runtime::Task<Result<>> update_metadata(BrokerId to, controller::UpdateMetadataOrder order) override;
  runtime::Task<Result<controller::OrderAnswer>> stop_replica(BrokerId to, controller::StopReplicaOrder order) override;

  // Ends what is under way.
  runtime::Task<void> stop() { return peers_.stop(); }

 private:
  runtime::Task<Result<std::shared_ptr<client::Connection>>> reach(BrokerId to, BrokerEpoch epoch);

  Node& node_;
  Orders& own_;
  Peers peers_;
  std::map<BrokerId, std::shared_ptr<const cluster::Broker>> alive_;
};

}  // namespace weir::broker
