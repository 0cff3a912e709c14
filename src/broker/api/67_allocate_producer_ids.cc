// AllocateProducerIds (KIP-730), version 0: a broker asks the controller for a block of producer ids.

#include <utility>

#include "broker/api/handlers.h"
#include "broker/node.h"
#include "broker/topics.h"
#include "controller/register.h"
#include "protocol/messages/allocate_producer_ids.h"
#include "runtime/shard.h"

namespace weir::broker::api {
namespace {

// On the control shard.
Task<Result<zkwire::layout::ProducerIdBlock>> allocate(Node& node, BrokerId broker, BrokerEpoch epoch) {
  if (!co_await is_controller(node)) co_return fail(ErrorCode::NOT_CONTROLLER);
  const auto image = node.controller->image();
  const auto* known = image->broker(broker);
  if (known == nullptr) co_return fail(ErrorCode::BROKER_ID_NOT_REGISTERED);
  if (epoch < known->epoch) co_return fail(ErrorCode::STALE_BROKER_EPOCH);
  co_return co_await controller::allocate_producer_ids(*node.zk, broker);
}

}  // namespace

Task<Response> allocate_producer_ids(Request& request) {
  protocol::AllocateProducerIdsRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  auto work = [&node, &in] { return allocate(node, BrokerId{in.broker_id}, BrokerEpoch{in.broker_epoch}); };
  const auto block = co_await runtime::call(*node.control, std::move(work));
  protocol::AllocateProducerIdsResponse out;
  if (block) {
    out.producer_id_start = block->first;
    out.producer_id_len = static_cast<std::int32_t>(block->last - block->first + 1);
  } else {
    out.error_code = static_cast<std::int16_t>(block.error().code);
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
