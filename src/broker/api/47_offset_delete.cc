// OffsetDelete (KIP-496), version 0.

#include <map>
#include <string>
#include <utility>
#include <variant>

#include "broker/api/handlers.h"
#include "broker/groups.h"
#include "broker/node.h"
#include "coordinator/group/api.h"
#include "protocol/messages/offset_delete.h"

namespace weir::broker::api {

Task<Response> offset_delete(Request& request) {
  protocol::OffsetDeleteRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  const auto image = node.image();
  auto remove = coordinator::group::from_wire(in);
  for (auto& topic : remove.topics) {
    std::erase_if(topic.partitions, [&](std::int32_t partition) {
      return image->partition(topic.name, PartitionId{partition}) == nullptr;
    });
  }
  std::erase_if(remove.topics, [](const auto& topic) { return topic.partitions.empty(); });
  auto start = [&remove](coordinator::CoordinatorRuntime& runtime, coordinator::Token token, coordinator::Now now) {
    return runtime.delete_offsets(token, std::move(remove), now);
  };
  const auto answered = co_await node.groups->wait(in.group_id, request.interrupts(), std::move(start));
  if (!answered) co_return Response::close("the connection ended");
  const auto& done = std::get<coordinator::group::DeleteOffsetsResponse>(*answered);
  std::map<std::pair<std::string_view, std::int32_t>, ErrorCode> errors;
  for (const auto& topic : done.topics) {
    for (const auto& partition : topic.partitions) errors[{topic.name, partition.partition}] = partition.error;
  }
  protocol::OffsetDeleteResponse out;
  out.error_code = static_cast<std::int16_t>(done.error);
  if (done.error != ErrorCode::NONE) co_return request.answer(out);
  for (const auto& topic : in.topics) {
    auto& to = out.topics.emplace_back();
    to.name = topic.name;
    for (const auto& partition : topic.partitions) {
      auto& result = to.partitions.emplace_back();
      result.partition_index = partition.partition_index;
      const auto it = errors.find({topic.name, partition.partition_index});
      result.error_code =
          static_cast<std::int16_t>(it == errors.end() ? ErrorCode::UNKNOWN_TOPIC_OR_PARTITION : it->second);
    }
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
