// Producer ids for InitProducerId: handed out of blocks that are claimed in ZooKeeper, one claim at a time.
// On the control shard only.
#pragma once

#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "coordinator/producer_ids.h"
#include "runtime/shard.h"
#include "zkclient/zk.h"

namespace weir::broker {

class ProducerIdSource {
 public:
  ProducerIdSource(runtime::Shard& shard, zkclient::Zk& zk, BrokerId self) : shard_(shard), zk_(zk), self_(self) {}

  // COORDINATOR_LOAD_IN_PROGRESS (clients try again) when a block cannot be had now.
  runtime::Task<Result<ProducerId>> next();

 private:
  runtime::Shard& shard_;
  zkclient::Zk& zk_;
  BrokerId self_;
  coordinator::ProducerIds ids_;
  std::vector<runtime::Waiter*> waiting_;  // for the claim under way
};

}  // namespace weir::broker
