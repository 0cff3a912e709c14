// OffsetFetch, versions 0 to 9.
//   2 all topics; the group's error   5 leader epochs   6 flexible   7 stable offsets only (KIP-447)
//   8 several groups (KIP-709)   9 members of KIP-848

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/api/handlers.h"
#include "broker/groups.h"
#include "broker/node.h"
#include "coordinator/group/api.h"
#include "protocol/messages/offset_fetch.h"

namespace weir::broker::api {

Task<Response> offset_fetch(Request& request) {
  protocol::OffsetFetchRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto requests = coordinator::group::from_wire(in, request.version());
  // A group named twice is answered once: all its offsets may be asked for in a few bytes.
  std::set<std::string> named;
  std::erase_if(requests, [&named](const auto& each) { return !named.insert(each.group).second; });
  std::vector<coordinator::group::FetchOffsetsResponse> responses;
  for (const auto& each : requests) {
    auto fetch = [&each](coordinator::CoordinatorRuntime& runtime, coordinator::Now) {
      return runtime.fetch_offsets(each);
    };
    responses.push_back(co_await request.node().groups->ask(each.group, std::move(fetch)));
  }
  co_return request.answer(coordinator::group::to_wire(requests, responses, request.version()));
}

}  // namespace weir::broker::api
