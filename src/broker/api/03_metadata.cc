// Metadata, versions 0 to 12.
//   1 null means all topics; racks, controller   2 cluster id   4 auto-creation can be refused   5 offline replicas
//   7 leader epochs   8 authorized operations (KIP-430)   9 flexible   10 topic ids   12 lookup by id
// Where this differs from Kafka: a topic that the request itself creates is waited for (up to two seconds), so that a
// client need not ask again; and so are new leaders, for a moment, when a broker has just died (Node::news_of_lost).

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "broker/api/handlers.h"
#include "broker/node.h"
#include "broker/operations.h"
#include "broker/texts.h"
#include "broker/topics.h"
#include "cluster/topic_name.h"
#include "protocol/messages/metadata.h"

namespace weir::broker::api {
namespace {

std::vector<std::int32_t> numbers(const std::vector<BrokerId>& ids) {
  std::vector<std::int32_t> out;
  out.reserve(ids.size());
  for (const auto id : ids) out.push_back(id.value);
  return out;
}

void fill(protocol::MetadataResponse::MetadataResponseTopic& out, const cluster::Image& image,
          const cluster::Topic& topic, std::string_view listener, std::int16_t version) {
  out.name = topic.name;
  out.topic_id = topic.id;
  out.is_internal = cluster::internal_topic(topic.name);
  topic.partitions.each([&](PartitionId id, const cluster::Partition& partition) {
    auto& to = out.partitions.emplace_back();
    to.partition_index = id.value;
    to.leader_id = partition.leader.value;
    to.leader_epoch = partition.leader_epoch.value;
    to.replica_nodes = numbers(partition.replicas);
    to.isr_nodes = numbers(partition.isr);
    to.offline_replicas = numbers(image.offline_replicas(partition));
    if (image.leader_endpoint(partition, listener) == nullptr) {
      const bool no_listener = version >= 6 && image.alive(partition.leader);
      to.error_code =
          static_cast<std::int16_t>(no_listener ? ErrorCode::LISTENER_NOT_FOUND : ErrorCode::LEADER_NOT_AVAILABLE);
      to.leader_id = -1;
    }
  });
}

// Whether somebody who is there leads each partition asked about, or nobody is to.
bool led_by_living(const cluster::Image& image, const protocol::MetadataRequest& in, bool all) {
  bool fine = true;
  const auto look = [&](const cluster::TopicPtr& topic) {
    if (!topic || !fine) return;
    topic->partitions.each([&](PartitionId, const cluster::Partition& partition) {
      if (partition.leader.value >= 0 && !image.alive(partition.leader)) fine = false;
    });
  };
  if (all) {
    image.each_topic(look);
    return fine;
  }
  for (const auto& asked : *in.topics) look(asked.name ? image.topic(*asked.name) : image.topic(asked.topic_id));
  return fine;
}

// A connection this old is not one of a client that just came, whose first question is this one.
constexpr milliseconds new_client_max{50};

}  // namespace

Task<Response> metadata(Request& request) {
  protocol::MetadataRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  const auto version = request.version();
  const bool all = !in.topics || (version == 0 && in.topics->empty());
  const auto& listener = request.connection().listener();

  // Make what is missing first: afterwards one image answers everything.
  std::map<std::string, ErrorCode, std::less<>> not_made;
  if (!all && in.allow_auto_topic_creation) {
    for (const auto& topic : *in.topics) {
      if (!topic.name || node.image()->topic(*topic.name)) continue;
      const bool internal = *topic.name == cluster::group_metadata_topic;
      if (!internal && !node.config()->config.auto_create_topics) continue;
      if (!cluster::validate_topic_name(*topic.name)) continue;
      std::string name(*topic.name);
      auto made = co_await auto_create_topic(node, name);
      if (!made) not_made.insert_or_assign(std::move(name), made.error().code);
    }
  }

  if (all || !in.topics->empty()) {
    auto led = [&in, all](const cluster::Image& now) { return led_by_living(now, in, all); };
    const auto age = node.clock->mono() - request.connection().opened_at();
    co_await node.news_of_lost(std::move(led), !all && age > new_client_max);
  }
  const auto image = node.image();
  protocol::MetadataResponse out;
  const auto name_broker = [&](const cluster::Broker& broker) {
    const auto* endpoint = broker.endpoint(listener);
    if (endpoint == nullptr) return;
    auto& to = out.brokers.emplace_back();
    to.node_id = broker.id.value;
    to.host = endpoint->host;
    to.port = endpoint->port;
    if (broker.rack) to.rack = *broker.rack;
  };
  for (const auto& [id, broker] : image->brokers()) name_broker(*broker);
  const auto gone = node.gone();
  if (in.topics && !in.topics->empty()) {
    for (const auto& each : *gone) {
      if (!image->alive(each.broker->id) && node.clock->mono() - each.at < Node::gone_named) name_broker(*each.broker);
    }
  }
  out.cluster_id = node.cluster_id;
  out.controller_id = image->controller().value;
  if (in.include_cluster_authorized_operations) out.cluster_authorized_operations = cluster_operations;

  std::vector<cluster::TopicPtr> topics;
  Texts texts;
  if (all) {
    image->each_topic([&](const cluster::TopicPtr& topic) { topics.push_back(topic); });
    std::ranges::sort(topics, {}, &cluster::Topic::name);
  } else {
    std::set<std::pair<std::string_view, Uuid>> named;  // a topic named twice is answered once
    for (const auto& asked : *in.topics) {
      if (!named.emplace(asked.name.value_or(""), asked.topic_id).second) continue;
      const bool by_id = !asked.name && !asked.topic_id.is_zero();
      auto topic = by_id ? image->topic(asked.topic_id) : asked.name ? image->topic(*asked.name) : nullptr;
      if (topic && topic->partitions.size() > 0) {
        topics.push_back(std::move(topic));
        continue;
      }
      auto& to = out.topics.emplace_back();
      to.name = asked.name;
      if (version < 12 && !to.name) to.name = "";
      to.topic_id = asked.topic_id;
      ErrorCode error = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
      if (by_id) {
        error = version >= 12 ? ErrorCode::UNKNOWN_TOPIC_ID : ErrorCode::INVALID_REQUEST;
      } else if (!cluster::validate_topic_name(asked.name.value_or(""))) {
        error = ErrorCode::INVALID_TOPIC_EXCEPTION;
      } else if (const auto failed = not_made.find(*asked.name); failed != not_made.end()) {
        error = failed->second;  // as Kafka's controller says it; LEADER_NOT_AVAILABLE where it is being made
      } else if (in.allow_auto_topic_creation && node.config()->config.auto_create_topics) {
        error = ErrorCode::LEADER_NOT_AVAILABLE;  // being made: ask again
      }
      to.error_code = static_cast<std::int16_t>(error);
      if (asked.name) to.is_internal = cluster::internal_topic(*asked.name);
    }
  }
  for (const auto& topic : topics) {
    auto& to = out.topics.emplace_back();
    fill(to, *image, *topic, listener, version);
    if (in.include_topic_authorized_operations) to.topic_authorized_operations = topic_operations;
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
