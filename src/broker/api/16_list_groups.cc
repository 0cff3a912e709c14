// ListGroups, versions 0 to 5.
//   3 flexible   4 filtered by state (KIP-518)   5 filtered by type (KIP-848)

#include <utility>
#include <variant>

#include "broker/api/handlers.h"
#include "broker/groups.h"
#include "broker/node.h"
#include "coordinator/group/api.h"
#include "protocol/messages/list_groups.h"

namespace weir::broker::api {

Task<Response> list_groups(Request& request) {
  protocol::ListGroupsRequest in;
  if (!request.read(in)) co_return Response::malformed();
  const auto listed = co_await request.node().groups->list(coordinator::group::from_wire(in));
  co_return request.answer(coordinator::group::to_wire(listed));
}

}  // namespace weir::broker::api
