// JoinGroup, versions 0 to 9.
//   1 rebalance timeout   4 a member id is given out first (KIP-394)   5 static members (KIP-345)   6 flexible
//   7 protocol type   8 reason   9 the leader may skip the assignment (KIP-814)

#include <utility>
#include <variant>

#include "broker/api/handlers.h"
#include "broker/groups.h"
#include "broker/node.h"
#include "coordinator/group/api.h"
#include "protocol/messages/join_group.h"

namespace weir::broker::api {

Task<Response> join_group(Request& request) {
  protocol::JoinGroupRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  auto join = coordinator::group::from_wire(in, request.version(), request.client_id(),
                                            "/" + request.connection().peer().host, node.random->uuid());
  request.go_on();
  auto start = [&join](coordinator::CoordinatorRuntime& runtime, coordinator::Token token, coordinator::Now now) {
    return runtime.join(token, std::move(join), now);
  };
  const auto answered = co_await node.groups->wait(in.group_id, request.interrupts(), std::move(start));
  if (!answered) co_return Response::close("the connection ended");
  co_return request.answer(
      coordinator::group::to_wire(std::get<coordinator::group::JoinResponse>(*answered), request.version()));
}

}  // namespace weir::broker::api
