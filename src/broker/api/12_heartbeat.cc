// Heartbeat, versions 0 to 4.
//   3 static members   4 flexible

#include <utility>
#include <variant>

#include "broker/api/handlers.h"
#include "broker/groups.h"
#include "broker/node.h"
#include "coordinator/group/api.h"
#include "protocol/messages/heartbeat.h"

namespace weir::broker::api {

Task<Response> heartbeat(Request& request) {
  protocol::HeartbeatRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto beat = [beat = coordinator::group::from_wire(in)](coordinator::CoordinatorRuntime& runtime,
                                                         coordinator::Now now) { return runtime.heartbeat(beat, now); };
  const auto error = co_await request.node().groups->ask(in.group_id, std::move(beat));
  co_return request.answer(coordinator::group::to_wire(coordinator::group::HeartbeatResponse{error}));
}

}  // namespace weir::broker::api
