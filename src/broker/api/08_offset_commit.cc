// OffsetCommit, versions 0 to 9.
//   0 was kept in ZooKeeper by Kafka; here it is kept in the group as the others   1 generation, member, timestamp
//   2 retention time (until 4)   6 leader epochs   7 static members   8 flexible   9 errors of KIP-848

#include <optional>
#include <utility>
#include <variant>

#include "broker/api/handlers.h"
#include "broker/group_offsets.h"
#include "broker/groups.h"
#include "broker/node.h"
#include "coordinator/group/api.h"
#include "protocol/messages/offset_commit.h"

namespace weir::broker::api {

Task<Response> offset_commit(Request& request) {
  protocol::OffsetCommitRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  auto commit = coordinator::group::from_wire(in);
  keep_existing(*node.image(), commit.topics);
  PartitionErrors errors;
  std::optional<coordinator::group::Response> answered;
  if (!commit.topics.empty()) {
    request.go_on();
    auto start = [&commit](coordinator::CoordinatorRuntime& runtime, coordinator::Token token, coordinator::Now now) {
      return runtime.commit(token, std::move(commit), now);
    };
    answered = co_await node.groups->wait(in.group_id, request.interrupts(), std::move(start));
    if (!answered) co_return Response::close("the connection ended");
    errors = partition_errors(std::get<coordinator::group::CommitResponse>(*answered).topics);
  }
  protocol::OffsetCommitResponse out;
  fill_errors(errors, in.topics, out.topics);
  co_return request.answer(out);
}

}  // namespace weir::broker::api
