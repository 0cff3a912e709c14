// Who leads: the rules of Apache Kafka's PartitionLeaderElectionAlgorithms and its state machines, as pure
// functions from a partition as it is to the partition as it is to be. A new state has the next leader_epoch and the
// deciding controller's epoch; writing it is the caller's.
#pragma once

#include <optional>
#include <set>

#include "controller/decide/state.h"

namespace weir::controller::decide {

enum class Election : std::uint8_t {
  offline,              // its leader is gone: the first replica that is online and in the ISR
  preferred,            // the first replica, if it is online and in the ISR
  controlled_shutdown,  // away from brokers that are shutting down; they leave the ISR
};

// The first state of a partition: the first online replica leads, all online ones are in the ISR, leader_epoch 0.
// Nothing when no replica is online.
std::optional<cluster::Partition> first_state(const State& state, cluster::Partition partition);

// Nothing when nobody may lead. `unclean`: an offline partition may go to a replica outside the ISR; it then starts
// with that one alone and in recovery (KIP-704). `doubt` (may be null): of this partition; who did not start anew goes
// before who did, and until it is over nobody leads as long as a member of the ISR is away.
std::optional<cluster::Partition> elect(const State& state, cluster::Partition partition, Election how, bool unclean,
                                        const Doubt* doubt = nullptr);

// Those of `gone` leave the ISR (unless none would be left: each of them has all that was committed, and the first to
// come back may lead), and lead no more. Nothing when that changes nothing.
std::optional<cluster::Partition> without_replicas(const State& state, cluster::Partition partition,
                                                   const std::set<BrokerId>& gone);
// Replicas in the ISR that are not alive, or whose directory does not work.
std::set<BrokerId> lost_replicas(const State& state, const cluster::Partition& partition);

// Whether somebody in the ISR is online, so that an election needs no look at unclean.leader.election.enable.
bool clean_election_possible(const State& state, const cluster::Partition& partition);

}  // namespace weir::controller::decide
