// UpdateMetadata, versions 0 to 8: the controller tells who is alive and what changed of which partitions.
//   1 several endpoints   2 racks   3 listener names   4 offline replicas   5 broker epoch, by topic   6 flexible
//   7 topic ids   8 KRaft controllers (refused: INVALID_REQUEST)

#include <utility>

#include "broker/api/handlers.h"
#include "broker/inter/orders_wire.h"
#include "broker/node.h"
#include "broker/orders.h"
#include "runtime/shard.h"

namespace weir::broker::api {

Task<Response> update_metadata(Request& request) {
  protocol::UpdateMetadataRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  protocol::UpdateMetadataResponse out;
  auto order = to_order(in, request.version());
  if (!order) {
    out.error_code = static_cast<std::int16_t>(order.error().code);
    co_return request.answer(out);
  }
  auto work = [&node, &order] { return node.orders->update_metadata(std::move(*order)); };
  const auto done = co_await runtime::call(*node.control, std::move(work));
  if (!done) out.error_code = static_cast<std::int16_t>(done.error().code);
  co_return request.answer(out);
}

}  // namespace weir::broker::api
