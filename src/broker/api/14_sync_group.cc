// SyncGroup, versions 0 to 5.
//   3 static members   4 flexible   5 protocol type and name

#include <utility>
#include <variant>

#include "broker/api/handlers.h"
#include "broker/groups.h"
#include "broker/node.h"
#include "coordinator/group/api.h"
#include "protocol/messages/sync_group.h"

namespace weir::broker::api {

Task<Response> sync_group(Request& request) {
  protocol::SyncGroupRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto sync = coordinator::group::from_wire(in);
  request.go_on();
  auto start = [&sync](coordinator::CoordinatorRuntime& runtime, coordinator::Token token, coordinator::Now now) {
    return runtime.sync(token, std::move(sync), now);
  };
  const auto answered = co_await request.node().groups->wait(in.group_id, request.interrupts(), std::move(start));
  if (!answered) co_return Response::close("the connection ended");
  co_return request.answer(coordinator::group::to_wire(std::get<coordinator::group::SyncResponse>(*answered)));
}

}  // namespace weir::broker::api
