// ListOffsets, versions 1 to 9.
//   1 one offset with its timestamp   2 isolation level   4 leader epochs   6 flexible   7 max timestamp (KIP-734)
//   8 earliest local, 9 latest tiered offset (KIP-405): there is no tier here, so the first is the earliest and the
//   second none

#include <algorithm>
#include <memory>
#include <utility>

#include "base/log.h"
#include "broker/api/handlers.h"
#include "broker/node.h"
#include "broker/partition_io.h"
#include "protocol/messages/list_offsets.h"
#include "runtime/shard.h"

namespace weir::broker::api {
namespace {

constexpr std::int64_t latest = -1;
constexpr std::int64_t latest_tiered = -5;

// On the partition's shard.
Task<protocol::ListOffsetsResponse::ListOffsetsPartitionResponse> lookup(
    Node& node, std::string_view topic, protocol::ListOffsetsRequest::ListOffsetsPartition asked,
    log::Isolation isolation, std::int32_t replica, std::int16_t version) {
  protocol::ListOffsetsResponse::ListOffsetsPartitionResponse out;
  out.partition_index = asked.partition_index;
  const auto partition = node.replicas->find(topic, PartitionId{asked.partition_index});
  if (!partition) {
    out.error_code = static_cast<std::int16_t>(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    co_return out;
  }
  if (auto leads = partition->check_leader(LeaderEpoch{asked.current_leader_epoch}); !leads) {
    out.error_code = static_cast<std::int16_t>(leads.error().code);
    co_return out;
  }
  if (asked.timestamp == latest_tiered) co_return out;
  // Only a replica of the partition may look beyond the high watermark.
  const auto& replicas = partition->leadership().replicas;
  if (isolation == log::Isolation::log_end && std::ranges::find(replicas, BrokerId{replica}) == replicas.end()) {
    isolation = log::Isolation::high_watermark;
  }
  // After an election a client may know of offsets that this leader does not call committed yet.
  const bool client = isolation != log::Isolation::log_end;
  const auto available = partition->check_offsets_available();
  const auto not_yet = [&out, version] {
    out.error_code =
        static_cast<std::int16_t>(version >= 5 ? ErrorCode::OFFSET_NOT_AVAILABLE : ErrorCode::LEADER_NOT_AVAILABLE);
    return out;
  };
  if (client && !available && asked.timestamp == latest) co_return not_yet();
  auto read = [&](log::ReadMode mode) {
    return partition->log().offset_for_timestamp(asked.timestamp, isolation, mode);
  };
  auto found = co_await read_warm(*node.pool, std::move(read));
  if (!found) {
    out.error_code = static_cast<std::int16_t>(found.error().error.code);
    WEIR_LOG_LIMITED(error, seconds(1), "cannot look up the offset of a time in {}: {}", partition->id().text(),
                     found.error().error.message);
    co_return out;
  }
  if (client && !available && asked.timestamp >= 0 && found->offset.value < 0) co_return not_yet();
  out.offset = found->offset.value;
  out.timestamp = found->timestamp;
  out.leader_epoch = found->epoch.value;
  co_return out;
}

}  // namespace

Task<Response> list_offsets(Request& request) {
  protocol::ListOffsetsRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  const auto isolation = in.replica_id >= 0        ? log::Isolation::log_end
                         : in.isolation_level == 1 ? log::Isolation::read_committed
                                                   : log::Isolation::high_watermark;
  protocol::ListOffsetsResponse out;
  for (const auto& topic : in.topics) {
    auto& to = out.topics.emplace_back();
    to.name = topic.name;
    for (const auto& asked : topic.partitions) {
      auto work = [&] { return lookup(node, topic.name, asked, isolation, in.replica_id, request.version()); };
      auto& owner = node.replicas->shard_of(topic.name, PartitionId{asked.partition_index});
      to.partitions.push_back(co_await runtime::call(owner, std::move(work)));
    }
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
