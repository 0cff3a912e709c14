// CreateTopics, versions 0 to 7.
//   1 validate only   4 default counts (KIP-464)   5 flexible; the topic's configuration in the answer (KIP-525)
//   7 topic ids

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "broker/api/handlers.h"
#include "broker/node.h"
#include "broker/texts.h"
#include "broker/topics.h"
#include "config/describe.h"
#include "protocol/messages/create_topics.h"

namespace weir::broker::api {
namespace {

Result<controller::NewTopic> wanted(const protocol::CreateTopicsRequest::CreatableTopic& from) {
  controller::NewTopic topic;
  topic.name = std::string(from.name);
  topic.partitions = from.num_partitions;
  topic.replication_factor = from.replication_factor;
  for (const auto& assignment : from.assignments) {
    auto& brokers = topic.assignment[PartitionId{assignment.partition_index}];
    for (const auto id : assignment.broker_ids) brokers.push_back(BrokerId{id});
  }
  for (const auto& config : from.configs) {
    if (!config.value) {
      return fail(ErrorCode::INVALID_CONFIG, fmt::format("null is no value for the topic config {}", config.name));
    }
    topic.configs.insert_or_assign(std::string(config.name), std::string(*config.value));
  }
  return topic;
}

void fill_configs(protocol::CreateTopicsResponse::CreatableTopicResult& to, Node& node,
                  const cluster::ConfigMap& overrides, Texts& texts) {
  const auto live = node.config();
  for (auto& described : config::describe_topic(live->layers, config::Properties(overrides.begin(), overrides.end()))) {
    auto& entry = to.configs->emplace_back();
    entry.name = texts.keep(std::move(described.name));
    if (described.value) {
      entry.value = texts.keep(std::move(*described.value));
    } else {
      entry.value.reset();
    }
    entry.read_only = described.read_only;
    entry.config_source = static_cast<std::int8_t>(described.source);
    entry.is_sensitive = described.sensitive;
  }
}

}  // namespace

Task<Response> create_topics(Request& request) {
  protocol::CreateTopicsRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  std::vector<controller::NewTopic> topics;
  std::vector<cluster::ConfigMap> configs;
  std::vector<std::optional<Error>> refused(in.topics.size());
  PartitionRoom room;
  for (std::size_t i = 0; i < in.topics.size(); ++i) {
    auto topic = wanted(in.topics[i]);
    if (topic) {
      const auto given = std::max<std::int64_t>(topic->partitions, static_cast<std::int64_t>(topic->assignment.size()));
      if (auto fits = room.take(given > 0 ? given : node.config()->config.num_partitions); !fits) {
        topic = std::unexpected(fits.error());
      }
    }
    if (!topic) {
      refused[i] = topic.error();
      continue;
    }
    configs.push_back(topic->configs);
    topics.push_back(std::move(*topic));
  }
  auto created = co_await broker::create_topics(node, std::move(topics), in.validate_only,
                                                milliseconds(std::max(in.timeout_ms, 0)));
  protocol::CreateTopicsResponse out;
  Texts texts;
  std::size_t next = 0;
  for (std::size_t i = 0; i < in.topics.size(); ++i) {
    auto& to = out.topics.emplace_back();
    to.name = in.topics[i].name;
    to.error_message.reset();
    if (refused[i]) {
      to.error_code = static_cast<std::int16_t>(refused[i]->code);
      to.error_message = texts.keep(std::move(refused[i]->message));
      continue;
    }
    auto& done = created[next];
    const auto& overrides = configs[next];
    ++next;
    if (!done.result) {
      to.error_code = static_cast<std::int16_t>(done.result.error().code);
      if (!done.result.error().message.empty()) to.error_message = texts.keep(std::move(done.result.error().message));
      continue;
    }
    to.topic_id = done.id;
    to.num_partitions = done.partitions;
    to.replication_factor = done.replication_factor;
    if (request.version() >= 5) fill_configs(to, node, overrides, texts);
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
