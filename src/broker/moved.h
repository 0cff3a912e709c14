// Where a partition is led now, told with NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH (KIP-951): the client goes
// there without asking for metadata first.
#pragma once

#include <set>
#include <string_view>

#include "base/error.h"
#include "broker/node.h"

namespace weir::broker {

class Moved {
 public:
  Moved(const cluster::ImagePtr& image, std::string_view listener) : image_(image), listener_(listener) {}

  // Fills `leader` (a LeaderIdAndEpoch) where `error` says that the partition is led elsewhere and it is known where.
  template <class LeaderIdAndEpoch>
  void tell(ErrorCode error, std::string_view topic, PartitionId id, LeaderIdAndEpoch& leader) {
    if (error != ErrorCode::NOT_LEADER_OR_FOLLOWER && error != ErrorCode::FENCED_LEADER_EPOCH) return;
    const auto* partition = image_->partition(topic, id);
    if (partition == nullptr || image_->leader_endpoint(*partition, listener_) == nullptr) return;
    leader.leader_id = partition->leader.value;
    leader.leader_epoch = partition->leader_epoch.value;
    leaders_.insert(partition->leader);
  }
  // The endpoints of all leaders told. What they view lives as long as the image.
  template <class NodeEndpoints>
  void endpoints(NodeEndpoints& out) const {
    for (const auto id : leaders_) {
      const auto* broker = image_->broker(id);
      const auto* endpoint = broker->endpoint(listener_);
      auto& to = out.emplace_back();
      to.node_id = id.value;
      to.host = endpoint->host;
      to.port = endpoint->port;
      to.rack.reset();
      if (broker->rack) to.rack = *broker->rack;
    }
  }

 private:
  cluster::ImagePtr image_;
  std::string_view listener_;
  std::set<BrokerId> leaders_;
};

}  // namespace weir::broker
