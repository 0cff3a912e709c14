// AlterPartitionReassignments (KIP-455), version 0.

#include <string>
#include <utility>
#include <vector>

#include "broker/api/handlers.h"
#include "broker/node.h"
#include "protocol/messages/alter_partition_reassignments.h"
#include "runtime/shard.h"

namespace weir::broker::api {

Task<Response> alter_partition_reassignments(Request& request) {
  protocol::AlterPartitionReassignmentsRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  controller::Reassignments wanted;
  for (const auto& topic : in.topics) {
    for (const auto& from : topic.partitions) {
      auto& to = wanted[{std::string(topic.name), PartitionId{from.partition_index}}];
      to.reset();
      if (!from.replicas) continue;
      to.emplace();
      for (const auto replica : *from.replicas) to->emplace_back(replica);
    }
  }
  auto work = [&node, &wanted] { return node.controller->alter_reassignments(std::move(wanted)); };
  const auto answers = co_await runtime::call(*node.control, std::move(work));
  protocol::AlterPartitionReassignmentsResponse out;
  out.error_message.reset();
  if (!answers) {
    out.error_code = static_cast<std::int16_t>(answers.error().code);
    if (!answers.error().message.empty()) out.error_message = answers.error().message;
    co_return request.answer(out);
  }
  for (const auto& each : *answers) {
    if (out.responses.empty() || out.responses.back().name != each.at.topic) {
      out.responses.emplace_back().name = each.at.topic;
    }
    auto& to = out.responses.back().partitions.emplace_back();
    to.partition_index = each.at.partition.value;
    to.error_message.reset();
    if (each.result) continue;
    to.error_code = static_cast<std::int16_t>(each.result.error().code);
    if (!each.result.error().message.empty()) to.error_message = each.result.error().message;
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
