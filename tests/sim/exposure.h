// What Kafka does not promise to keep when power fails and records were acknowledged before they were flushed.
//
// The rule: a partition is excused from the moment on at which every member of its in-sync set has ended (it was
// killed, stopped, or lost power) while it was a member and since it joined, one of them at least by losing power.
// Whoever then leads may be that one, and lack what was acknowledged: a controller sees that somebody was away, not
// what it lost. As long as one member has been there all the time, it has everything, and is to lead; who left the set
// joins again only with all that is committed. Read from the partition's state znode, while anyone is exposed so.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "cluster.h"
#include "history.h"

namespace weir::sim {

class Exposure {
 public:
  // Of these partitions.
  Exposure(Cluster& cluster, History& history, std::vector<TopicPartition> partitions);
  // A broker's process ended, or its machine lost power.
  void ended(BrokerId broker, bool power);

 private:
  struct Watched {
    TopicPartition where;
    std::map<BrokerId, bool> away;  // who ended while in sync, and whether by losing power
  };
  std::set<BrokerId> in_sync(const TopicPartition& where) const;
  void look();   // and again, while anyone is away
  bool check();  // whether anyone is

  Cluster& cluster_;
  History& history_;
  std::vector<Watched> all_;
  bool looking_ = false;
};

}  // namespace weir::sim
