// What Kafka does not promise to keep when power fails and records were acknowledged before they were flushed.
//
// The rule: a partition is excused from the moment on at which all members of its in-sync set have lost power, each
// while it was a member and since it joined. (A member that leaves the set joins again only with all that is committed;
// one that lost power and is still in the set may lack its tail; as long as another is in the set, it has everything.)
// Read from the partition's state znode, while anyone is exposed so.
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
  void power_lost(BrokerId broker);

 private:
  struct Watched {
    TopicPartition where;
    std::set<BrokerId> exposed;
  };
  std::set<BrokerId> in_sync(const TopicPartition& where) const;
  void look();

  Cluster& cluster_;
  History& history_;
  std::vector<Watched> all_;
  bool looking_ = false;
};

}  // namespace weir::sim
