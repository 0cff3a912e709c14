// ListPartitionReassignments (KIP-455), version 0.

#include <string>
#include <utility>
#include <vector>

#include "broker/api/handlers.h"
#include "broker/node.h"
#include "protocol/messages/list_partition_reassignments.h"
#include "runtime/shard.h"

namespace weir::broker::api {
namespace {

std::vector<std::int32_t> numbers(const std::vector<BrokerId>& ids) {
  std::vector<std::int32_t> out;
  for (const auto id : ids) out.push_back(id.value);
  return out;
}

}  // namespace

Task<Response> list_partition_reassignments(Request& request) {
  protocol::ListPartitionReassignmentsRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  std::optional<std::vector<controller::PartitionRef>> among;
  if (in.topics) {
    among.emplace();
    for (const auto& topic : *in.topics) {
      for (const auto partition : topic.partition_indexes) {
        among->push_back({std::string(topic.name), PartitionId{partition}});
      }
    }
  }
  auto work = [&node, &among] { return node.controller->list_reassignments(std::move(among)); };
  const auto ongoing = co_await runtime::call(*node.control, std::move(work));
  protocol::ListPartitionReassignmentsResponse out;
  out.error_message.reset();
  if (!ongoing) {
    out.error_code = static_cast<std::int16_t>(ongoing.error().code);
    if (!ongoing.error().message.empty()) out.error_message = ongoing.error().message;
    co_return request.answer(out);
  }
  for (const auto& each : *ongoing) {
    if (out.topics.empty() || out.topics.back().name != each.at.topic) out.topics.emplace_back().name = each.at.topic;
    auto& to = out.topics.back().partitions.emplace_back();
    to.partition_index = each.at.partition.value;
    to.replicas = numbers(each.replicas);
    to.adding_replicas = numbers(each.adding);
    to.removing_replicas = numbers(each.removing);
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
