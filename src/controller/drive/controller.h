// The controller of a broker: takes part in the election for /controller; while it holds it, it keeps the cluster
// as it should be: elects leaders for new and orphaned partitions, carries out deletions, growth and preferred
// elections, and tells brokers what they are to do. Written for many brokers; compatible with Apache Kafka 3.9's
// controller in ZooKeeper mode, from whom it may take over and to whom it may lose.
//
// One queue of events, processed one at a time, on one shard. Each event says "look again", so stale and repeated
// ones do no harm. Every write is a multi that checks the version of /controller_epoch: who lost the office writes
// nothing more. What to do is decided in decide/ (pure).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
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

struct ControllerOptions {
  BrokerId broker;
  std::string inter_broker_listener = "PLAINTEXT";
  bool delete_topics = true;             // delete.topic.enable
  bool unclean_leader_election = false;  // unclean.leader.election.enable; topics may have their own
  bool topic_ids = true;                 // from inter.broker.protocol.version 2.8 on
  std::int32_t feature_version = 2;      // of /feature: 2 from 3.3 on, 1 from 2.7 on, 0: not written
  milliseconds order_retry{100};         // between tries of an order that failed
  // Called before the election after each new session but the first: the broker registers itself again here.
  std::function<Task<void>()> register_again;
};

class Controller {
 public:
  // All outlive it. `zk` should be a patient one.
  Controller(runtime::Shard& shard, zkclient::Zk& zk, BrokerLink& link, ControllerOptions options);
  ~Controller();  // stop() first

  // The broker is registered by now. Returns at once; the election runs in the background.
  void start();
  // Resigns (removes /controller when it is ours) and ends. Waits for what is under way: for the link's calls, and
  // for ZooKeeper when that does not answer; closing `zk` ends such a wait.
  Task<void> stop();

  bool active() const;
  // Who holds /controller as far as seen; no_broker: nobody.
  BrokerId controller_id() const;
  ControllerEpoch epoch() const;  // of our office; -1 when not active
  // What this controller knows; empty image when it is not active.
  cluster::ImagePtr image() const;

  // Until the controller has worked off all events that were there when this is called. For tests and start-up.
  Task<void> idle();

  // All below: NOT_CONTROLLER when not active, or when the office is lost meanwhile.
  // Leaders move away from `broker`; gives the partitions that it still leads (retry until none). STALE_BROKER_EPOCH.
  Task<Result<std::vector<PartitionRef>>> controlled_shutdown(BrokerId broker, BrokerEpoch epoch);
  // KIP-460. Unclean only for those without a leader. One answer a partition: NONE, ELECTION_NOT_NEEDED,
  // PREFERRED_LEADER_NOT_AVAILABLE, ELIGIBLE_LEADERS_NOT_AVAILABLE, UNKNOWN_TOPIC_OR_PARTITION.
  Task<Result<OrderAnswer>> elect_leaders(std::vector<PartitionRef> partitions, bool unclean);
  // The default of unclean.leader.election.enable, or a topic's own, was turned on.
  void unclean_election_enabled(std::optional<std::string> topic);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace weir::controller
