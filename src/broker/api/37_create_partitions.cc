// CreatePartitions (KIP-195), versions 0 to 3.
//   2 flexible

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "broker/api/handlers.h"
#include "broker/node.h"
#include "broker/texts.h"
#include "broker/topics.h"
#include "protocol/messages/create_partitions.h"
#include "runtime/shard.h"

namespace weir::broker::api {
namespace {

// On the control shard.
Task<std::vector<Result<>>> create_here(Node& node, std::vector<controller::NewPartitions> topics, bool validate_only) {
  if (!co_await is_controller(node)) {
    co_return std::vector<Result<>>(topics.size(),
                                    fail(ErrorCode::NOT_CONTROLLER, "this broker is not the controller"));
  }
  co_return co_await node.admin->create_partitions(std::move(topics), validate_only, node.controller->image());
}

}  // namespace

Task<Response> create_partitions(Request& request) {
  protocol::CreatePartitionsRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  std::vector<controller::NewPartitions> topics;
  const auto image = node.image();
  std::vector<std::size_t> places;  // of the topics that are not refused here
  std::vector<Result<>> results(in.topics.size());
  PartitionRoom room;
  for (std::size_t i = 0; i < in.topics.size(); ++i) {
    const auto& from = in.topics[i];
    const auto now = image->topic(from.name);
    const auto has = now ? static_cast<std::int64_t>(now->partitions.size()) : 0;
    if (auto fits = room.take(from.count - has); !fits) {
      results[i] = fits;
      continue;
    }
    places.push_back(i);
    auto& topic = topics.emplace_back();
    topic.topic = std::string(from.name);
    topic.count = from.count;
    if (!from.assignments) continue;
    topic.assignments.emplace();
    for (const auto& assignment : *from.assignments) {
      auto& brokers = topic.assignments->emplace_back();
      for (const auto id : assignment.broker_ids) brokers.push_back(BrokerId{id});
    }
  }
  auto work = [&] { return create_here(node, std::move(topics), in.validate_only); };
  auto made = co_await runtime::call(*node.control, std::move(work));
  for (std::size_t i = 0; i < places.size(); ++i) results[places[i]] = std::move(made[i]);
  protocol::CreatePartitionsResponse out;
  Texts texts;
  const auto deadline = node.clock->mono() + milliseconds(std::max(in.timeout_ms, 0));
  for (std::size_t i = 0; i < in.topics.size(); ++i) {
    auto& to = out.results.emplace_back();
    to.name = in.topics[i].name;
    auto& result = results[i];
    if (result && !in.validate_only) {
      auto there = [name = in.topics[i].name, count = in.topics[i].count](const cluster::Image& image) {
        const auto topic = image.topic(name);
        return topic && std::cmp_greater_equal(topic->partitions.size(), count) && has_leaders(image, name);
      };
      const auto left = std::max(deadline - node.clock->mono(), nanoseconds(0));
      if (!co_await node.images->wait_until(std::move(there), left)) {
        result = fail(ErrorCode::REQUEST_TIMED_OUT, "the partitions are made, but not all have a leader yet");
      }
    }
    if (result) continue;
    to.error_code = static_cast<std::int16_t>(result.error().code);
    to.error_message = texts.keep(std::move(result.error().message));
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
