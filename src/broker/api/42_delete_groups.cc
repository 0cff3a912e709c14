// DeleteGroups (KIP-229), versions 0 to 2.
//   2 flexible

#include <string>
#include <utility>
#include <variant>

#include "broker/api/handlers.h"
#include "broker/groups.h"
#include "broker/node.h"
#include "coordinator/group/api.h"
#include "protocol/messages/delete_groups.h"

namespace weir::broker::api {

Task<Response> delete_groups(Request& request) {
  protocol::DeleteGroupsRequest in;
  if (!request.read(in)) co_return Response::malformed();
  protocol::DeleteGroupsResponse out;
  for (const auto group : in.groups_names) {
    auto start = [group](coordinator::CoordinatorRuntime& runtime, coordinator::Token token, coordinator::Now now) {
      return runtime.delete_group(token, std::string(group), now);
    };
    const auto answered = co_await request.node().groups->wait(group, request.interrupts(), std::move(start));
    if (!answered) co_return Response::close("the connection ended");
    out.results.push_back(coordinator::group::to_wire(group, std::get<coordinator::group::DeleteResponse>(*answered)));
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
