// The controller of a broker: takes part in the election for /controller; while it holds it, it keeps the cluster
// as it should be: elects leaders for new and orphaned partitions, carries out deletions, growth and preferred
// elections, reassignments, what leaders propose, and tells brokers what they are to do. Written for many brokers;
// compatible with Apache Kafka 3.9's controller in ZooKeeper mode, from whom it may take over and to whom it may lose.
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
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "base/units.h"
#include "base/uuid.h"
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
  bool unclean_leader_election = false;  // unclean.leader.election.enable at the start; topics may have their own
  bool topic_ids = true;                 // from inter.broker.protocol.version 2.8 on
  std::int32_t feature_version = 2;      // of /feature: 2 from 3.3 on, 1 from 2.7 on, 0: none before
  bool leader_recovery = true;           // KIP-704: from inter.broker.protocol.version 3.2 on
  milliseconds order_retry{100};         // between tries of an order that failed; doubles up to order_retry_max
  milliseconds order_retry_max{2000};
  std::size_t order_partitions_max = 50'000;  // of one request; more are split
  bool auto_rebalance = true;                 // auto.leader.rebalance.enable
  milliseconds rebalance_first{5000};         // from taking office to the first look
  bool alter_partition = true;                // leaders ask us (from 2.7 on); else they write their ISR themselves
  milliseconds rebalance_check{300'000};      // leader.imbalance.check.interval.seconds
  std::int32_t rebalance_percent = 10;        // leader.imbalance.per.broker.percentage
  // How long a partition waits for the rest of its ISR where only members came that started anew (decide::Doubt).
  milliseconds doubt_wait{2000};
  // Called before the election after each new session but the first: the broker registers itself again here.
  std::function<Task<void>()> register_again;
};

// What depends on inter.broker.protocol.version ("2.2", "2.8-IV1", "3.9-IV0"): topic_ids, feature_version,
// leader_recovery, alter_partition. An unknown text leaves them as they are.
void set_protocol_version(ControllerOptions& options, std::string_view version);

// AlterPartition (KIP-497): a leader proposes its partition's next ISR.
struct AlterPartitionItem {
  PartitionRef at;  // the topic's name may be empty where topic_id is not zero (versions 2 on)
  Uuid topic_id;
  LeaderEpoch leader_epoch;
  struct Member {
    BrokerId id;
    BrokerEpoch epoch{-1};  // -1: not known (versions up to 2); else must be the broker's of now (KIP-903)
  };
  std::vector<Member> new_isr;
  std::int32_t partition_epoch = -1;  // of the state that it starts from
  std::int8_t recovery_state = 0;
};
// In the order asked. `at` and `topic_id` are both set where the topic is known. Errors a partition:
// UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, FENCED_LEADER_EPOCH, INVALID_UPDATE_VERSION, INVALID_REQUEST,
// INELIGIBLE_REPLICA (the request's versions 0 and 1 say OPERATION_NOT_ATTEMPTED instead), NOT_CONTROLLER (the
// leader knows more than this controller does).
struct AlteredPartition {
  PartitionRef at;
  Uuid topic_id;
  ErrorCode error = ErrorCode::NONE;
  cluster::Partition state;  // with NONE: as it is now
};

// Where a partition's replicas are to be (KIP-455); nothing: back to where they were.
using Reassignments = std::map<PartitionRef, std::optional<std::vector<BrokerId>>>;
struct ReassignmentAnswer {
  PartitionRef at;
  Result<> result;  // INVALID_REPLICA_ASSIGNMENT, NO_REASSIGNMENT_IN_PROGRESS, UNKNOWN_TOPIC_OR_PARTITION
};
struct OngoingReassignment {
  PartitionRef at;
  std::vector<BrokerId> replicas;  // all, those that come and those that go among them
  std::vector<BrokerId> adding;
  std::vector<BrokerId> removing;
};

// For metrics and tests: as of now. Counts of what is there are those of this controller while it is in office, else 0.
struct ControllerStats {
  struct Times {
    std::uint64_t count = 0;
    nanoseconds last{0};
    nanoseconds sum{0};
    nanoseconds max{0};
  };
  bool active = false;
  BrokerId controller = no_broker;
  ControllerEpoch epoch{-1};
  std::size_t queued_events = 0;        // ControllerEventManager EventQueueSize
  nanoseconds last_queue_time{0};       // EventQueueTimeMs: how long the last event waited
  std::size_t brokers = 0;              // ActiveBrokerCount
  std::size_t topics = 0;               // GlobalTopicCount
  std::size_t partitions = 0;           // GlobalPartitionCount
  std::size_t offline_partitions = 0;   // OfflinePartitionsCount
  std::size_t preferred_imbalance = 0;  // PreferredReplicaImbalanceCount
  std::size_t reassigning_partitions = 0;
  std::size_t topics_to_delete = 0;
  std::size_t topics_ineligible_to_delete = 0;  // that wait for a broker to come, or for a reassignment to end
  std::size_t replicas_to_delete = 0;
  std::size_t replicas_ineligible_to_delete = 0;
  std::size_t orders_waiting = 0;  // for brokers, in all queues (ControllerChannelManager TotalQueueSize)
  std::map<BrokerId, std::size_t> orders_waiting_of;
  std::uint64_t elections = 0;          // leaders elected cleanly, new partitions not among them
  std::uint64_t unclean_elections = 0;  // UncleanLeaderElectionsPerSec
  std::uint64_t events = 0;             // processed, of every kind
  // By Kafka's names: "ControllerChange", "LeaderElection" (a broker came or went), "TopicChange", "TopicDeletion",
  // "IsrChange", "PartitionReassignment", "ListPartitionReassignment", "AutoLeaderBalance", "ManualLeaderBalance",
  // "ControlledShutdown", "LeaderAndIsrResponseReceived", "LogDirChange", "UncleanLeaderElectionEnable",
  // "ControllerShutdown": each + "RateAndTimeMs".
  std::map<std::string_view, Times> times;
};

class Controller {
 public:
  // All outlive it. `zk` should be a patient one. `random`: for the ids of topics that have none.
  Controller(runtime::Shard& shard, zkclient::Zk& zk, BrokerLink& link, runtime::Random& random,
             ControllerOptions options);
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
  // A leader's new ISRs. STALE_BROKER_EPOCH as a whole when `broker` is not the one that is registered now.
  Task<Result<std::vector<AlteredPartition>>> alter_partition(BrokerId broker, BrokerEpoch epoch,
                                                              std::vector<AlterPartitionItem> partitions);
  // One answer a partition, in their order. NONE means that the reassignment was written and has begun.
  Task<Result<std::vector<ReassignmentAnswer>>> alter_reassignments(Reassignments wanted);
  // Those under way; only of `among` when it is given.
  Task<Result<std::vector<OngoingReassignment>>> list_reassignments(std::optional<std::vector<PartitionRef>> among);
  ControllerStats stats() const;
  // unclean.leader.election.enable of this broker as it is from now on, for topics without their own. Where it is
  // turned on, partitions without a leader get one at once.
  void set_unclean_election(bool allowed);
  // A topic's own was turned on.
  void unclean_election_enabled(std::string topic);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace weir::controller
