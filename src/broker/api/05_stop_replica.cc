// StopReplica, versions 0 to 4: the controller takes replicas away from this broker, with their logs or without.
//   1 broker epoch, by topic   2 flexible   3 leader epochs, removal by partition (KIP-570)
//   4 KRaft controllers (refused: INVALID_REQUEST)

#include <utility>

#include "broker/api/handlers.h"
#include "broker/inter/orders_wire.h"
#include "broker/node.h"
#include "broker/orders.h"
#include "runtime/shard.h"

namespace weir::broker::api {

Task<Response> stop_replica(Request& request) {
  protocol::StopReplicaRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  protocol::StopReplicaResponse out;
  auto order = to_order(in, request.version());
  if (!order) {
    out.error_code = static_cast<std::int16_t>(order.error().code);
    co_return request.answer(out);
  }
  auto work = [&node, &order] { return node.orders->stop_replica(std::move(*order)); };
  const auto answer = co_await runtime::call(*node.control, std::move(work));
  if (!answer) {
    out.error_code = static_cast<std::int16_t>(answer.error().code);
    co_return request.answer(out);
  }
  out = to_message(*answer);
  co_return request.answer(out);
}

}  // namespace weir::broker::api
