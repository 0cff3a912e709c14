// ElectLeaders (KIP-460), versions 0 to 2.
//   1 unclean elections, error of the whole   2 flexible
// Waits until this broker's image shows the new leaders.

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "broker/api/handlers.h"
#include "broker/node.h"
#include "broker/texts.h"
#include "protocol/messages/elect_leaders.h"
#include "runtime/shard.h"

namespace weir::broker::api {
namespace {

constexpr std::int8_t preferred = 0;
constexpr std::int8_t unclean = 1;

std::vector<controller::PartitionRef> partitions_of(const protocol::ElectLeadersRequest& in,
                                                    const cluster::Image& image) {
  std::vector<controller::PartitionRef> all;
  if (in.topic_partitions) {
    for (const auto& topic : *in.topic_partitions) {
      for (const auto partition : topic.partitions) {
        all.push_back({std::string(topic.topic), PartitionId{partition}});
      }
    }
    std::ranges::sort(all);
    all.erase(std::ranges::unique(all).begin(), all.end());
  } else {
    image.each_topic([&all](const cluster::TopicPtr& topic) {
      topic->partitions.each([&](PartitionId id, const cluster::Partition&) { all.push_back({topic->name, id}); });
    });
  }
  return all;
}

}  // namespace

Task<Response> elect_leaders(Request& request) {
  protocol::ElectLeadersRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  const auto type = request.version() == 0 ? preferred : in.election_type;
  auto partitions = partitions_of(in, *node.image());
  const auto deadline = node.clock->mono() + milliseconds(std::max(in.timeout_ms, 0));
  Result<controller::OrderAnswer> answers = fail(ErrorCode::INVALID_REQUEST, "the type of election is 0 or 1");
  if (type == preferred || type == unclean) {
    auto work = [&node, &partitions, type] { return node.controller->elect_leaders(partitions, type == unclean); };
    answers = co_await runtime::call(*node.control, std::move(work));
  }
  protocol::ElectLeadersResponse out;
  std::map<controller::PartitionRef, ErrorCode> results;
  if (answers) {
    for (const auto& each : *answers) results[each.at] = each.error;
    for (auto& [at, error] : results) {
      if (error != ErrorCode::NONE) continue;
      auto there = [&at, type](const cluster::Image& image) {
        const auto* partition = image.partition(at.topic, at.partition);
        if (partition == nullptr || partition->leader.value < 0) return partition == nullptr;
        return type == unclean || (!partition->replicas.empty() && partition->leader == partition->replicas.front());
      };
      const auto left = std::max(deadline - node.clock->mono(), nanoseconds(0));
      if (!co_await node.images->wait_until(std::move(there), left)) error = ErrorCode::REQUEST_TIMED_OUT;
    }
  } else {
    out.error_code = static_cast<std::int16_t>(answers.error().code);
    for (const auto& at : partitions) results[at] = answers.error().code;
  }
  for (const auto& [at, error] : results) {
    // Of all partitions only those are told that have a new leader, or should have one.
    if (!in.topic_partitions && error == ErrorCode::ELECTION_NOT_NEEDED) continue;
    if (out.replica_election_results.empty() || out.replica_election_results.back().topic != at.topic) {
      out.replica_election_results.emplace_back().topic = at.topic;
    }
    auto& to = out.replica_election_results.back().partition_result.emplace_back();
    to.partition_id = at.partition.value;
    to.error_code = static_cast<std::int16_t>(error);
    to.error_message.reset();
    if (error != ErrorCode::NONE) to.error_message = name(error);
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
