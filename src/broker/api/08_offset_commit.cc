// OffsetCommit, versions 0 to 9.
//   0 was kept in ZooKeeper by Kafka; here it is kept in the group as the others   1 generation, member, timestamp
//   2 retention time (until 4)   6 leader epochs   7 static members   8 flexible   9 errors of KIP-848

#include <map>
#include <string>
#include <utility>
#include <variant>

#include "broker/api/handlers.h"
#include "broker/groups.h"
#include "broker/node.h"
#include "coordinator/group/api.h"
#include "protocol/messages/offset_commit.h"

namespace weir::broker::api {

Task<Response> offset_commit(Request& request) {
  protocol::OffsetCommitRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  const auto image = node.image();

  // Partitions that do not exist are refused one by one; the rest goes to the group.
  auto commit = coordinator::group::from_wire(in);
  for (auto& topic : commit.topics) {
    std::erase_if(topic.partitions, [&](const auto& partition) {
      return image->partition(topic.name, PartitionId{partition.partition}) == nullptr;
    });
  }
  std::erase_if(commit.topics, [](const auto& topic) { return topic.partitions.empty(); });

  std::map<std::pair<std::string_view, std::int32_t>, ErrorCode> errors;
  std::optional<coordinator::group::Response> answered;
  if (!commit.topics.empty()) {
    request.go_on();
    auto start = [&commit](coordinator::CoordinatorRuntime& runtime, coordinator::Token token, coordinator::Now now) {
      return runtime.commit(token, std::move(commit), now);
    };
    answered = co_await node.groups->wait(in.group_id, request.interrupts(), std::move(start));
    if (!answered) co_return Response::close("the connection ended");
    for (const auto& topic : std::get<coordinator::group::CommitResponse>(*answered).topics) {
      for (const auto& partition : topic.partitions) errors[{topic.name, partition.partition}] = partition.error;
    }
  }
  protocol::OffsetCommitResponse out;
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
