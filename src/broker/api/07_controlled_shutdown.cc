// ControlledShutdown, versions 0 to 3: a broker is about to stop and asks the controller to move its leaders first.
//   2 broker epoch   3 flexible

#include <utility>

#include "broker/api/handlers.h"
#include "broker/node.h"
#include "protocol/messages/controlled_shutdown.h"
#include "runtime/shard.h"

namespace weir::broker::api {

Task<Response> controlled_shutdown(Request& request) {
  protocol::ControlledShutdownRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  protocol::ControlledShutdownResponse out;
  auto work = [&node, &in] {
    return node.controller->controlled_shutdown(BrokerId{in.broker_id}, BrokerEpoch{in.broker_epoch});
  };
  const auto left = co_await runtime::call(*node.control, std::move(work));
  if (!left) {
    out.error_code = static_cast<std::int16_t>(left.error().code);
    co_return request.answer(out);
  }
  for (const auto& at : *left) {
    auto& to = out.remaining_partitions.emplace_back();
    to.topic_name = at.topic;
    to.partition_index = at.partition.value;
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
