// DeleteRecords (KIP-107), versions 0 to 2.
//   2 flexible

#include <algorithm>
#include <utility>

#include "broker/api/handlers.h"
#include "broker/node.h"
#include "protocol/messages/delete_records.h"
#include "runtime/shard.h"

namespace weir::broker::api {
namespace {

constexpr std::int64_t to_high_watermark = -1;

// On the partition's shard. Answers when all replicas that are up have taken the new start over.
Task<protocol::DeleteRecordsResponse::DeleteRecordsPartitionResult> delete_here(
    Node& node, std::string_view topic, protocol::DeleteRecordsRequest::DeleteRecordsPartition asked,
    nanoseconds timeout) {
  protocol::DeleteRecordsResponse::DeleteRecordsPartitionResult out;
  out.partition_index = asked.partition_index;
  out.low_watermark = -1;
  auto refuse = [&out](ErrorCode code) {
    out.error_code = static_cast<std::int16_t>(code);
    return out;
  };
  const auto partition = node.replicas->find(topic, PartitionId{asked.partition_index});
  if (!partition) co_return refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
  if (auto leads = partition->check_leader(); !leads) co_return refuse(leads.error().code);
  auto& log = partition->log();
  if (!log.config().cleanup_delete) co_return refuse(ErrorCode::POLICY_VIOLATION);
  const auto to = asked.offset == to_high_watermark ? log.high_watermark() : Offset{asked.offset};
  if (to.value < 0 || to > log.high_watermark()) co_return refuse(ErrorCode::OFFSET_OUT_OF_RANGE);
  if (to > log.log_start()) {
    if (auto moved = log.advance_log_start(to); !moved) co_return refuse(moved.error().code);
  }
  if (auto done = co_await partition->deleted(to, timeout); !done) co_return refuse(done.error().code);
  out.low_watermark = partition->low_watermark().value;
  co_return out;
}

}  // namespace

Task<Response> delete_records(Request& request) {
  protocol::DeleteRecordsRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  protocol::DeleteRecordsResponse out;
  const auto deadline = node.clock->mono() + milliseconds(std::max(in.timeout_ms, 0));
  for (const auto& topic : in.topics) {
    auto& to = out.topics.emplace_back();
    to.name = topic.name;
    for (const auto& asked : topic.partitions) {
      auto work = [&] { return delete_here(node, topic.name, asked, deadline - node.clock->mono()); };
      auto& owner = node.replicas->shard_of(topic.name, PartitionId{asked.partition_index});
      to.partitions.push_back(co_await runtime::call(owner, std::move(work)));
    }
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
