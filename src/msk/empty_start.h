// Whether a broker may begin without data, its directory lost or of no use: not while it counts as in sync.
//
// A broker that is in the in-sync set of a partition and comes back with nothing may be elected, and the others then
// cut their logs to what it has. Its session's end takes it out of all in-sync sets but those where it is alone. There
// a replica that is up is elected instead, as an operator would do it (unclean.leader.election.enable of the topic,
// until it is done): what lay on the lost disk only is lost, the rest is not. Where there is data that the broker
// cannot use nobody is elected in its place: that is for a person to decide.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "msk/facts.h"

namespace weir::msk {

// What stands in the way of broker `id`; `lone`: the partitions that only it was in sync for, when nothing else does.
struct EmptyStartCheck {
  std::string why;  // a sentence's end; empty: nothing but `lone`
  std::set<Partition> lone;
};
// Pure. `registered` are the brokers that are up. `unusable`: it has data, which it cannot start with.
EmptyStartCheck check_empty_start(std::int32_t id, bool unusable, const std::set<std::int32_t>& registered,
                                  const std::vector<PartitionFact>& partitions);

// Asks ZooKeeper, again and again, and has others elected. On the shard of the view. What it changes for an election it
// writes down before, in ROOT/elections/CLUSTER/TOPIC: what the topic's own setting was.
class EmptyStarts {
 public:
  // `root` is the control plane's own state (store.h).
  explicit EmptyStarts(std::string root = "/weir/msk") : root_(std::move(root)) {}

  // A sentence's end: not now, and why. Empty: the broker may begin.
  Task<std::string> ask(KafkaView view, std::int32_t id, bool unusable);

 private:
  Task<Stored<>> begin_election(KafkaView view, std::int32_t id, std::string name, bool written_down);

  const std::string root_;
};

// Elections that are over, whoever asked for them: a control plane that died, for a broker that then came back with its
// data, say. The topics are what they were. `view` has no chroot: `clusters` have.
Task<Stored<>> end_elections(KafkaView view, std::string root, std::vector<Cluster> clusters);

}  // namespace weir::msk
