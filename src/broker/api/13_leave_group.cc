// LeaveGroup, versions 0 to 5.
//   3 several members, static ones (KIP-345)   4 flexible   5 reason

#include <utility>
#include <variant>

#include "broker/api/handlers.h"
#include "broker/groups.h"
#include "broker/node.h"
#include "coordinator/group/api.h"
#include "protocol/messages/leave_group.h"

namespace weir::broker::api {

Task<Response> leave_group(Request& request) {
  protocol::LeaveGroupRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto leave = coordinator::group::from_wire(in, request.version());
  auto start = [&leave](coordinator::CoordinatorRuntime& runtime, coordinator::Token token, coordinator::Now now) {
    return runtime.leave(token, std::move(leave), now);
  };
  const auto answered = co_await request.node().groups->wait(in.group_id, request.interrupts(), std::move(start));
  if (!answered) co_return Response::close("the connection ended");
  co_return request.answer(
      coordinator::group::to_wire(std::get<coordinator::group::LeaveResponse>(*answered), request.version()));
}

}  // namespace weir::broker::api
