// DescribeGroups, versions 0 to 5.
//   3 authorized operations   4 static members   5 flexible

#include <deque>
#include <set>
#include <string>
#include <utility>
#include <variant>

#include "broker/api/handlers.h"
#include "broker/groups.h"
#include "broker/node.h"
#include "broker/operations.h"
#include "coordinator/group/api.h"
#include "protocol/messages/describe_groups.h"

namespace weir::broker::api {

Task<Response> describe_groups(Request& request) {
  protocol::DescribeGroupsRequest in;
  if (!request.read(in)) co_return Response::malformed();
  protocol::DescribeGroupsResponse out;
  // What the answer views: neither may move once it is there.
  std::deque<coordinator::group::DescribeResponse> described;
  std::deque<std::string> messages;
  std::set<std::string_view> named;  // a group named twice is answered once
  for (const auto group : in.groups) {
    if (!named.insert(group).second) continue;
    auto describe = [group](coordinator::CoordinatorRuntime& runtime, coordinator::Now) {
      return runtime.describe(std::string(group));
    };
    described.push_back(co_await request.node().groups->ask(group, std::move(describe)));
    auto wire = coordinator::group::to_wire(described.back(), request.version(), messages.emplace_back());
    if (in.include_authorized_operations) wire.authorized_operations = group_operations;
    out.groups.push_back(std::move(wire));
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
