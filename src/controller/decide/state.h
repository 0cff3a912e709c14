// What the controller knows, and the pure questions asked of it. Owned by the Controller object; changed by it alone.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/id.h"
#include "base/units.h"
#include "cluster/image.h"
#include "controller/orders.h"

namespace weir::controller::decide {

enum class ReplicaDeletion : std::uint8_t { waiting, ordered, done, failed };  // failed: until its broker comes back
struct Deletion {
  bool announced = false;  // brokers were told that the topic is going
  std::map<std::pair<PartitionId, BrokerId>, ReplicaDeletion> replicas;
};

// Members of an ISR that started anew since it was written may lack what they had not flushed. Where they are all that
// is there of it and another member is away, that one is waited for a while: it may have lived on, with everything, and
// only have lost its session.
struct Doubt {
  std::int64_t written = 0;  // zxid of the state
  std::set<BrokerId> reborn;
  nanoseconds until = nanoseconds::max();  // of the monotonic clock; max: nobody came yet who could lead
  bool over = false;                       // waited long enough
};

struct State {
  BrokerId self = no_broker;
  ControllerEpoch epoch{-1};
  std::int32_t epoch_version = -1;  // of /controller_epoch: the fence
  cluster::ImagePtr image = cluster::empty_image();
  std::map<BrokerId, BrokerEpoch> lives;      // the first epoch each had since it last started; also of those who went
  std::set<BrokerId> vanished;                // in the image, but not in that life any more: the event is on its way
  std::map<PartitionRef, Doubt> doubts;       // these have no leader as long as that lasts, whatever is written
  bool leader_recovery = true;                // KIP-704
  std::set<BrokerId> shutting_down;           // alive, but leaders leave it
  std::set<PartitionRef> reassigning;         // under way: with adding or removing replicas, or about to be settled
  std::map<std::string, Deletion> deletions;  // of the topics in image->topics_deleting()
};

// Alive, not on its way out, and its directory works.
bool online(const State& state, const cluster::Partition& partition, BrokerId replica, bool or_shutting_down = false);
std::vector<BrokerId> online_replicas(const State& state, const cluster::Partition& partition,
                                      bool or_shutting_down = false);

std::vector<PartitionRef> all_partitions(const State& state);
// Without a state, with a leader that is not online, or in doubt; not of topics being deleted.
std::vector<PartitionRef> without_leader(const State& state);
// Those with a replica on `broker`.
std::vector<PartitionRef> on_broker(const State& state, BrokerId broker);

}  // namespace weir::controller::decide
