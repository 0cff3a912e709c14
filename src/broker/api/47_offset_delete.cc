// OffsetDelete (KIP-496), version 0.

#include <utility>
#include <variant>

#include "broker/api/handlers.h"
#include "broker/group_offsets.h"
#include "broker/groups.h"
#include "broker/node.h"
#include "coordinator/group/api.h"
#include "protocol/messages/offset_delete.h"

namespace weir::broker::api {

Task<Response> offset_delete(Request& request) {
  protocol::OffsetDeleteRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  auto remove = coordinator::group::from_wire(in);
  keep_existing(*node.image(), remove.topics);
  auto start = [&remove](coordinator::CoordinatorRuntime& runtime, coordinator::Token token, coordinator::Now now) {
    return runtime.delete_offsets(token, std::move(remove), now);
  };
  const auto answered = co_await node.groups->wait(in.group_id, request.interrupts(), std::move(start));
  if (!answered) co_return Response::close("the connection ended");
  const auto& done = std::get<coordinator::group::DeleteOffsetsResponse>(*answered);
  protocol::OffsetDeleteResponse out;
  out.error_code = static_cast<std::int16_t>(done.error);
  if (done.error == ErrorCode::NONE) fill_errors(partition_errors(done.topics), in.topics, out.topics);
  co_return request.answer(out);
}

}  // namespace weir::broker::api
