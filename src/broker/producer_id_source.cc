#include "broker/producer_id_source.h"

#include <utility>

#include "base/log.h"
#include "controller/register.h"

namespace weir::broker {

runtime::Task<Result<ProducerId>> ProducerIdSource::next() {
  for (;;) {
    if (const auto id = ids_.next()) co_return *id;
    if (!ids_.wants_block()) {  // somebody else's claim is under way
      runtime::Waiter waiter(shard_);
      waiting_.push_back(&waiter);
      co_await waiter.wait();
      continue;
    }
    ids_.claiming();
    auto block = co_await controller::allocate_producer_ids(zk_, self_, coordinator::producer_id_block_size);
    const bool granted = block && ids_.granted({block->first, block->last});
    if (!granted) ids_.refused();
    for (auto* waiter : std::exchange(waiting_, {})) waiter->wake();
    if (!granted) {
      WEIR_LOG_LIMITED(warn, seconds(1), "cannot get a block of producer ids: {}",
                       block ? "the block goes back behind ids given out" : block.error().message);
      co_return fail(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    }
  }
}

}  // namespace weir::broker
