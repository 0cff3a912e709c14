// OffsetForLeaderEpoch (KIP-101, KIP-320), versions 0 to 4.
//   1 the epoch found   2 the current epoch is checked   3 replica id   4 flexible

#include <utility>

#include "broker/api/handlers.h"
#include "broker/node.h"
#include "protocol/messages/offset_for_leader_epoch.h"
#include "runtime/shard.h"

namespace weir::broker::api {
namespace {

// On the partition's shard.
protocol::OffsetForLeaderEpochResponse::EpochEndOffset end_here(
    Node& node, std::string_view topic, protocol::OffsetForLeaderEpochRequest::OffsetForLeaderPartition asked) {
  protocol::OffsetForLeaderEpochResponse::EpochEndOffset out;
  out.partition = asked.partition;
  const auto partition = node.replicas->find(topic, PartitionId{asked.partition});
  if (!partition) {
    out.error_code = static_cast<std::int16_t>(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    return out;
  }
  const auto end =
      partition->end_of_epoch(LeaderEpoch{asked.leader_epoch}, LeaderEpoch{asked.current_leader_epoch}, true);
  if (!end) {
    out.error_code = static_cast<std::int16_t>(end.error().code);
    return out;
  }
  out.leader_epoch = end->epoch.value;
  out.end_offset = end->end.value;
  return out;
}

}  // namespace

Task<Response> offset_for_leader_epoch(Request& request) {
  protocol::OffsetForLeaderEpochRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  protocol::OffsetForLeaderEpochResponse out;
  for (const auto& topic : in.topics) {
    auto& to = out.topics.emplace_back();
    to.topic = topic.topic;
    for (const auto& asked : topic.partitions) {
      auto work = [&] { return end_here(node, topic.topic, asked); };
      auto& owner = node.replicas->shard_of(topic.topic, PartitionId{asked.partition});
      to.partitions.push_back(co_await runtime::call(owner, std::move(work)));
    }
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
