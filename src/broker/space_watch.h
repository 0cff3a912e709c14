// Adds up what a broker's logs take, while there is a limit to it (weir.storage.quota.bytes), and says in the log when
// producers are refused and when there is room again (replica/space.h decides).
#pragma once

#include "replica/manager.h"
#include "runtime/shard.h"

namespace weir::broker {

inline constexpr milliseconds space_look_interval{200};

class SpaceWatch {
 public:
  // On the control shard; `replicas` has started and outlives it.
  SpaceWatch(runtime::Shard& control, replica::ReplicaManager& replicas) : control_(control), replicas_(replicas) {}
  // Until stop(); the first look is before it waits.
  runtime::Task<void> run();
  void stop();

 private:
  runtime::Shard& control_;
  replica::ReplicaManager& replicas_;
  runtime::Waiter* waiting_ = nullptr;
  bool stopping_ = false;
};

}  // namespace weir::broker
