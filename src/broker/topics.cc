#include "broker/topics.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/log.h"
#include "cluster/topic_name.h"
#include "runtime/shard.h"

namespace weir::broker {
namespace {

// How long a Metadata or FindCoordinator request waits for a topic it caused; then the client is told to try again.
constexpr milliseconds auto_create_wait{2000};
// How long a request waits for this broker to take office.
constexpr milliseconds office_wait{5000};

Result<> check_configs(const cluster::ConfigMap& configs) {
  return config::validate_topic_config(config::Properties(configs.begin(), configs.end()));
}

// Requests for new topics are the controller's (clients look for it); a topic that a broker needs itself it makes
// wherever it is.
enum class By : std::uint8_t { controller, any_broker };

Task<std::vector<controller::CreatedTopic>> create_here(Node& node, std::vector<controller::NewTopic> topics,
                                                        bool validate_only, By by) {
  const bool active = by == By::controller ? co_await is_controller(node) : node.controller->active();
  if (by == By::controller && !active) {
    std::vector<controller::CreatedTopic> out;
    for (auto& topic : topics) {
      auto& to = out.emplace_back();
      to.name = std::move(topic.name);
      to.result = fail(ErrorCode::NOT_CONTROLLER, "this broker is not the controller");
    }
    co_return out;
  }
  const auto config = node.config();
  controller::CreateOptions options;
  options.validate_only = validate_only;
  options.default_partitions = config->config.num_partitions;
  options.default_replication_factor = static_cast<std::int16_t>(config->config.default_replication_factor);
  options.check = check_configs;
  options.topic_ids = config->config.inter_broker_protocol >= config::KafkaVersion{2, 8};
  co_return co_await node.admin->create_topics(std::move(topics), std::move(options),
                                               active ? node.controller->image() : node.images->latest());
}

}  // namespace

Task<bool> is_controller(Node& node) {
  constexpr milliseconds look{5};
  for (auto waited = milliseconds(0); waited < office_wait; waited += look) {
    if (node.controller->active()) co_return true;
    if (node.controller->controller_id() != node.id || node.images->stopped()) co_return false;
    co_await runtime::sleep(*node.control, look);
  }
  co_return node.controller->active();
}

Result<> PartitionRoom::take(std::int64_t more) {
  if (more > left_) {
    return fail(ErrorCode::INVALID_PARTITIONS,
                fmt::format("{} partitions more are more than one request may make: {} of {} are left", more, left_,
                            partitions_in_a_call_max));
  }
  left_ -= std::max<std::int64_t>(more, 0);
  return {};
}

bool has_leaders(const cluster::Image& image, std::string_view topic) {
  const auto found = image.topic(topic);
  if (!found || found->partitions.size() == 0) return false;
  bool all = true;
  found->partitions.each([&](PartitionId, const cluster::Partition& partition) {
    if (partition.leader.value < 0) all = false;
  });
  return all;
}

namespace {

Task<std::vector<controller::CreatedTopic>> create_and_wait(Node& node, std::vector<controller::NewTopic> topics,
                                                            bool validate_only, nanoseconds timeout, By by) {
  auto work = [&node, &topics, validate_only, by] { return create_here(node, std::move(topics), validate_only, by); };
  auto created = co_await runtime::call(*node.control, std::move(work));
  if (validate_only) co_return created;
  const auto deadline = node.clock->mono() + timeout;
  for (auto& topic : created) {
    if (!topic.result) continue;
    auto there = [&topic](const cluster::Image& image) {
      const auto found = image.topic(topic.name);
      return found && std::cmp_equal(found->partitions.size(), topic.partitions) && has_leaders(image, topic.name);
    };
    const auto left = std::max(deadline - node.clock->mono(), nanoseconds(0));
    if (!co_await node.images->wait_until(std::move(there), left)) {
      topic.result =
          fail(ErrorCode::REQUEST_TIMED_OUT, "the topic is made, but not all its partitions have a leader yet");
    }
  }
  co_return created;
}

}  // namespace

Task<std::vector<controller::CreatedTopic>> create_topics(Node& node, std::vector<controller::NewTopic> topics,
                                                          bool validate_only, nanoseconds timeout) {
  co_return co_await create_and_wait(node, std::move(topics), validate_only, timeout, By::controller);
}

Task<Result<>> auto_create_topic(Node& node, std::string topic) {
  controller::NewTopic wanted;
  wanted.name = topic;
  const auto config = node.config();
  if (topic == cluster::group_metadata_topic) {
    wanted.partitions = config->config.offsets_topic_num_partitions;
    wanted.replication_factor = config->config.offsets_topic_replication_factor;
    wanted.configs = {{"cleanup.policy", "compact"},
                      {"compression.type", "producer"},
                      {"segment.bytes", std::to_string(config->config.offsets_topic_segment_bytes)}};
  }
  std::vector<controller::NewTopic> topics;
  topics.push_back(std::move(wanted));
  auto created = co_await create_and_wait(node, std::move(topics), false, auto_create_wait, By::any_broker);
  const auto& result = created.front().result;
  if (result) co_return Result<>();
  const auto code = result.error().code;
  if (code == ErrorCode::TOPIC_ALREADY_EXISTS) {
    auto there = [&topic](const cluster::Image& image) { return has_leaders(image, topic); };
    if (co_await node.images->wait_until(std::move(there), auto_create_wait)) co_return Result<>();
    co_return fail(ErrorCode::LEADER_NOT_AVAILABLE, "it is being made");
  }
  WEIR_LOG_LIMITED(warn, seconds(1), "cannot create topic {}: {}: {}", topic, name(result.error().code),
                   result.error().message);
  const bool may_be = retriable(code) || code == ErrorCode::UNKNOWN_SERVER_ERROR;
  co_return fail(may_be ? ErrorCode::LEADER_NOT_AVAILABLE : code, result.error().message);
}

}  // namespace weir::broker
