// AlterPartition (KIP-497), versions 0 to 3: a leader proposes its partitions' next in-sync sets to the controller.
//   1 leader recovery state (KIP-704)   2 topic ids   3 broker epochs of the in-sync replicas (KIP-903)

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "broker/api/handlers.h"
#include "broker/node.h"
#include "protocol/messages/alter_partition.h"
#include "runtime/shard.h"

namespace weir::broker::api {
namespace {

std::vector<controller::AlterPartitionItem> items_of(const protocol::AlterPartitionRequest& in, std::int16_t version) {
  std::vector<controller::AlterPartitionItem> items;
  for (const auto& topic : in.topics) {
    for (const auto& from : topic.partitions) {
      auto& item = items.emplace_back();
      item.at = {std::string(topic.topic_name), PartitionId{from.partition_index}};
      item.topic_id = topic.topic_id;
      item.leader_epoch = LeaderEpoch{from.leader_epoch};
      if (version >= 3) {
        for (const auto& member : from.new_isr_with_epochs) {
          item.new_isr.push_back({BrokerId{member.broker_id}, BrokerEpoch{member.broker_epoch}});
        }
      } else {
        for (const auto member : from.new_isr) item.new_isr.push_back({BrokerId{member}, BrokerEpoch{-1}});
      }
      item.partition_epoch = from.partition_epoch;
      item.recovery_state = from.leader_recovery_state;
    }
  }
  return items;
}

}  // namespace

Task<Response> alter_partition(Request& request) {
  protocol::AlterPartitionRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  const auto version = request.version();
  auto work = [&node, &in, items = items_of(in, version)]() mutable {
    return node.controller->alter_partition(BrokerId{in.broker_id}, BrokerEpoch{in.broker_epoch}, std::move(items));
  };
  const auto altered = co_await runtime::call(*node.control, std::move(work));
  protocol::AlterPartitionResponse out;
  if (!altered) {
    out.error_code = static_cast<std::int16_t>(altered.error().code);
    co_return request.answer(out);
  }
  std::size_t next = 0;
  for (const auto& topic : in.topics) {
    auto& to = out.topics.emplace_back();
    to.topic_name = topic.topic_name;
    to.topic_id = topic.topic_id;
    for (const auto& from : topic.partitions) {
      const auto& result = altered->at(next++);
      auto& partition = to.partitions.emplace_back();
      partition.partition_index = from.partition_index;
      auto error = result.error;
      // Versions before 2 have no word for it.
      if (error == ErrorCode::INELIGIBLE_REPLICA && version < 2) error = ErrorCode::OPERATION_NOT_ATTEMPTED;
      partition.error_code = static_cast<std::int16_t>(error);
      if (error != ErrorCode::NONE) continue;
      partition.leader_id = result.state.leader.value;
      partition.leader_epoch = result.state.leader_epoch.value;
      for (const auto member : result.state.isr) partition.isr.push_back(member.value);
      partition.leader_recovery_state = result.state.leader_recovery_state;
      partition.partition_epoch = result.state.version;
    }
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
