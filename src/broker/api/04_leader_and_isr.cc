// LeaderAndIsr, versions 0 to 7: the controller says which partitions this broker leads and follows.
//   1 is_new   2 broker epoch (KIP-380), by topic   3 adding and removing replicas   4 flexible   5 topic ids
//   6 leader recovery state (KIP-704)   7 KRaft controllers (refused: INVALID_REQUEST)

#include <utility>

#include "broker/api/handlers.h"
#include "broker/inter/orders_wire.h"
#include "broker/node.h"
#include "broker/orders.h"
#include "runtime/shard.h"

namespace weir::broker::api {

Task<Response> leader_and_isr(Request& request) {
  protocol::LeaderAndIsrRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  protocol::LeaderAndIsrResponse out;
  auto order = to_order(in, request.version());
  if (!order) {
    out.error_code = static_cast<std::int16_t>(order.error().code);
    co_return request.answer(out);
  }
  auto work = [&node, &order] { return node.orders->leader_and_isr(*order); };
  const auto answer = co_await runtime::call(*node.control, std::move(work));
  if (!answer) {
    out.error_code = static_cast<std::int16_t>(answer.error().code);
    co_return request.answer(out);
  }
  out = to_message(*answer, *order, request.version());
  co_return request.answer(out);
}

}  // namespace weir::broker::api
