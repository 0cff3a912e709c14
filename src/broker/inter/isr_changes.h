// How this broker's leaders have their in-sync sets changed: by AlterPartition to the controller (KIP-497), all that
// wait in one request, one request at a time; while inter.broker.protocol.version is below 2.7, by writing the state
// znode and a notification, as brokers of that age do.
#pragma once

#include <list>
#include <memory>
#include <vector>

#include "broker/node.h"
#include "controller/drive/controller.h"
#include "replica/isr.h"

namespace weir::broker {

class IsrChanges : public replica::IsrChanger {
 public:
  explicit IsrChanges(Node& node) : node_(node), scope_(*node.control) {}

  // On the partition's shard.
  runtime::Task<Result<replica::Leadership>> alter(TopicPartition partition, Uuid topic_id,
                                                   replica::Leadership proposed) override;
  // On the control shard. Everyone who waits is answered, later calls fail.
  runtime::Task<void> stop();

 private:
  struct Change {
    explicit Change(runtime::Shard& shard) : done(shard) {}
    controller::AlterPartitionItem item;
    replica::Leadership proposed;
    Result<replica::Leadership> result = fail(ErrorCode::NETWORK_EXCEPTION, "this broker stops");
    runtime::Waiter done;
  };
  using Changes = std::vector<std::shared_ptr<Change>>;

  // All below on the control shard.
  runtime::Task<Result<replica::Leadership>> wait(std::shared_ptr<Change> change);
  runtime::Task<void> send_all();
  runtime::Task<void> ask_controller(const Changes& changes);
  runtime::Task<Result<std::vector<controller::AlteredPartition>>> ask_remote(const Changes& changes);
  runtime::Task<void> write(const Changes& changes);

  Node& node_;
  runtime::Scope scope_;
  Changes waiting_;
  bool sending_ = false;
  bool stopping_ = false;
};

}  // namespace weir::broker
