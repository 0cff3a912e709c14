// Whether a broker may begin without data, its directory lost or of no use: not while it counts as in sync.
//
// A broker that is in the in-sync set of a partition and comes back with nothing may be elected, and the others then
// cut their logs to what it has. Its session's end takes it out of all in-sync sets but those where it is alone. There
// a replica that is up is elected instead, as an operator would do it (unclean.leader.election.enable of the topic,
// until it is done): what lay on the lost disk only is lost, the rest is not. Where there is data that the broker
// cannot use nobody is elected in its place: that is for a person to decide.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

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

// Asks ZooKeeper, again and again, and has others elected. On the shard of the view; remembers between two calls what
// it changed.
class EmptyStarts {
 public:
  // A sentence's end: not now, and why. Empty: the broker may begin.
  Task<std::string> ask(KafkaView view, std::int32_t id, bool unusable);

 private:
  using Key = std::pair<std::string, std::string>;       // chroot, topic
  std::map<Key, std::optional<std::string>> elections_;  // what the topic's own setting was before
};

}  // namespace weir::msk
