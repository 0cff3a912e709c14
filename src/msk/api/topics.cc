// CreateTopic, DeleteTopic, DescribeTopic, DescribeTopicPartitions, ListTopics, UpdateTopic.
//
// Done through the cluster's znodes, as Kafka's own tools did: no broker need be reachable. `configs` is base64 of
// lines key=value, or of a JSON object. Unlike MSK's, they serve every version and are never stale.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "cluster/assign.h"
#include "cluster/topic_name.h"
#include "config/topic_config.h"
#include "msk/api/api.h"
#include "msk/kafka.h"
#include "zkwire/layout.h"

namespace weir::msk::api {
namespace {

namespace json = boost::json;

constexpr std::int64_t partitions_max = 10'000;  // of one topic
constexpr std::size_t configs_bytes_max = 16 * 1024;

Task<Answer<Cluster>> usable_cluster(Context& context, const aws::Request& request) {
  auto cluster = co_await labelled_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  const auto state = cluster->value.state;
  if (state == ClusterState::creating || state == ClusterState::deleting || state == ClusterState::failed) {
    co_return bad_request("clusterArn", fmt::format("The cluster is in the {} state.", name(state)));
  }
  co_return std::move(cluster->value);
}

std::string topic_arn(const Context& context, const Cluster& cluster, std::string_view topic) {
  return arn_text(context.options.realm, topic_kind, cluster.name, cluster.id, topic);
}

Object answer_of(const Context& context, const Cluster& cluster, std::string_view topic, std::string_view status) {
  Object out;
  out["topicArn"] = text(topic_arn(context, cluster, topic));
  out["topicName"] = text(topic);
  out["status"] = text(status);
  return out;
}

std::unexpected<Fault> topic_fault(const StoreError& error, std::string_view topic) {
  if (error.kind == StoreError::Kind::missing) {
    return refuse(FaultType::unknown_topic_or_partition, fmt::format("The topic '{}' does not exist.", topic),
                  "topicName");
  }
  if (error.kind == StoreError::Kind::exists) {
    return refuse(FaultType::topic_exists, fmt::format("Topic '{}' already exists.", topic), "topicName");
  }
  return failed(error, "topic");
}

std::optional<config::Properties> read_configs(Params& params) {
  const auto decoded = params.blob("configs", configs_bytes_max);
  if (!decoded) return std::nullopt;
  config::Properties out;
  boost::system::error_code error;
  const auto value = json::parse(*decoded, error);
  if (!error && value.is_object()) {
    for (const auto& member : value.as_object()) {
      const auto& v = member.value();
      out.insert_or_assign(std::string(member.key()),
                           v.is_string() ? std::string(std::string_view(v.as_string())) : json::serialize(v));
    }
  } else if (auto parsed = config::parse_properties(*decoded)) {
    out = std::move(*parsed);
  } else {
    params.wrong("configs", "Invalid value for parameter configs: " + parsed.error());
  }
  if (const auto good = config::validate_topic_config(out); !good) {
    params.wrong("configs", "Invalid value for parameter configs: " + good.error().message);
  }
  return out;
}

// Replicas for `count` partitions from `first` on.
Task<Answer<std::vector<std::vector<std::int32_t>>>> assign(Context& context, const Cluster& cluster,
                                                            std::int32_t count, std::int32_t factor,
                                                            std::int32_t first) {
  auto racks = co_await msk::racks(kafka_of(context, cluster));
  if (!racks) co_return failed(racks.error(), "cluster");
  std::vector<cluster::BrokerRack> brokers;
  for (const auto& [id, rack] : *racks) brokers.push_back({BrokerId{id}, rack});
  if (brokers.empty()) co_return refuse(FaultType::cluster_connectivity, "No broker of the cluster is up.");
  cluster::AssignStart start;
  start.start_index = static_cast<std::uint32_t>(context.random.below(brokers.size()));
  start.shift = static_cast<std::uint32_t>(context.random.below(brokers.size()));
  start.first_partition = first;
  auto assigned = cluster::assign_replicas(brokers, count, factor, start);
  if (!assigned) co_return bad_request("replicationFactor", assigned.error().message);
  std::vector<std::vector<std::int32_t>> out;
  for (const auto& list : *assigned) {
    auto& ids = out.emplace_back();
    for (const auto id : list) ids.push_back(id.value);
  }
  co_return out;
}

Object view(const PartitionFact& p) {
  const auto ids = [](const std::vector<std::int32_t>& list) {
    json::array out;
    for (const auto id : list) out.push_back(id);
    return out;
  };
  return {{"partition", p.partition}, {"leader", p.leader}, {"replicas", ids(p.replicas)}, {"isr", ids(p.isr)}};
}

std::size_t replication_factor(const TopicDescription& topic) {
  return topic.partitions.empty() ? 0 : topic.partitions.front().replicas.size();
}

}  // namespace

Task<Answer<Object>> create_topic(Context& context, const aws::Request& request) {
  Params params(*request.body);
  const auto topic_name = params.text("topicName", {.min = 1, .max = cluster::topic_name_size_max, .required = true});
  const auto partitions = params.number("partitionCount", {.min = 1, .max = partitions_max, .required = true});
  const auto factor = params.number("replicationFactor", {.min = 1, .max = brokers_max, .required = true});
  const auto configs = read_configs(params);
  if (topic_name) {
    if (const auto good = cluster::validate_topic_name(*topic_name); !good)
      params.wrong("topicName", good.error().message);
  }
  if (const auto& fault = params.fault()) co_return std::unexpected(*fault);
  auto cluster = co_await usable_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  const auto view = kafka_of(context, *cluster);
  auto names = co_await topic_names(view);
  if (!names) co_return failed(names.error(), "cluster");
  for (const auto& other : *names) {
    if (other != *topic_name && cluster::collides(other, *topic_name)) {
      co_return bad_request("topicName",
                            fmt::format("The topic '{}' collides with the topic '{}': '.' and '_' are the same in "
                                        "names of metrics.",
                                        *topic_name, other));
    }
  }
  if (std::ranges::find(*names, *topic_name) != names->end()) {
    co_return topic_fault({StoreError::Kind::exists, {}}, *topic_name);
  }
  auto replicas =
      co_await assign(context, *cluster, static_cast<std::int32_t>(*partitions), static_cast<std::int32_t>(*factor), 0);
  if (!replicas) co_return std::unexpected(replicas.error());
  std::map<std::string, std::string> settings;
  if (configs) settings.insert(configs->begin(), configs->end());
  auto made = co_await msk::create_topic(view, *topic_name, std::move(*replicas), std::move(settings));
  if (!made) co_return topic_fault(made.error(), *topic_name);
  co_return answer_of(context, *cluster, *topic_name, "CREATING");
}

Task<Answer<Object>> delete_topic(Context& context, const aws::Request& request) {
  const std::string topic_name(request.label("topicName"));
  auto cluster = co_await usable_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  const auto effective = effective_properties(cluster->spec, cluster->zones.size());
  if (const auto found = effective.find("delete.topic.enable"); found != effective.end() && found->second == "false") {
    co_return refuse(FaultType::kafka_request, "The deletion of topics is turned off by delete.topic.enable.",
                     "topicName");
  }
  const auto view = kafka_of(context, *cluster);
  if (!cluster::validate_topic_name(topic_name)) co_return topic_fault({StoreError::Kind::missing, {}}, topic_name);
  auto found = co_await topic(view, topic_name);
  if (!found) co_return topic_fault(found.error(), topic_name);
  auto deleted = co_await msk::delete_topic(view, topic_name);
  if (!deleted) co_return topic_fault(deleted.error(), topic_name);
  co_return answer_of(context, *cluster, topic_name, "DELETING");
}

Task<Answer<Object>> update_topic(Context& context, const aws::Request& request) {
  const std::string topic_name(request.label("topicName"));
  Params params(*request.body);
  const auto partitions = params.number("partitionCount", {.min = 1, .max = partitions_max});
  const auto configs = read_configs(params);
  if (!partitions && !configs) params.wrong("partitionCount", "The request does not include any updates to the topic.");
  if (const auto& fault = params.fault()) co_return std::unexpected(*fault);
  auto cluster = co_await usable_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  const auto view = kafka_of(context, *cluster);
  if (!cluster::validate_topic_name(topic_name)) co_return topic_fault({StoreError::Kind::missing, {}}, topic_name);
  auto found = co_await topic(view, topic_name);
  if (!found || found->deleting) co_return topic_fault({StoreError::Kind::missing, {}}, topic_name);
  if (partitions && *partitions != static_cast<std::int64_t>(found->partitions.size())) {
    const auto now = static_cast<std::int32_t>(found->partitions.size());
    if (*partitions < now) {
      co_return bad_request("partitionCount",
                            fmt::format("Invalid value for parameter partitionCount: {}. The topic has {} "
                                        "partitions, and their number can only grow.",
                                        *partitions, now));
    }
    if (std::ranges::any_of(found->partitions, &PartitionFact::moving)) {
      co_return refuse(FaultType::reassignment_in_progress, "Partitions of the topic are being reassigned.",
                       "topicName");
    }
    auto replicas = co_await assign(context, *cluster, static_cast<std::int32_t>(*partitions) - now,
                                    static_cast<std::int32_t>(replication_factor(*found)), now);
    if (!replicas) co_return std::unexpected(replicas.error());
    auto added = co_await msk::add_partitions(view, topic_name, std::move(*replicas));
    if (!added) co_return topic_fault(added.error(), topic_name);
  }
  if (configs) {
    std::map<std::string, std::optional<std::string>> changes;
    for (const auto& [key, value] : *configs) changes.emplace(key, value);
    auto set = co_await set_config(view, std::string(zkwire::layout::topics_type), topic_name, std::move(changes));
    if (!set) co_return topic_fault(set.error(), topic_name);
  }
  co_return answer_of(context, *cluster, topic_name, "UPDATING");
}

Task<Answer<Object>> describe_topic(Context& context, const aws::Request& request) {
  const std::string topic_name(request.label("topicName"));
  auto cluster = co_await usable_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  if (!cluster::validate_topic_name(topic_name)) {
    co_return refuse(FaultType::not_found, "The requested topic does not exist.", "topicName");
  }
  auto found = co_await topic(kafka_of(context, *cluster), topic_name);
  if (!found) co_return failed(found.error(), "topic");
  const bool ready = std::ranges::all_of(found->partitions, &PartitionFact::known);
  auto out = answer_of(context, *cluster, topic_name, found->deleting ? "DELETING" : ready ? "ACTIVE" : "CREATING");
  out["partitionCount"] = found->partitions.size();
  out["replicationFactor"] = replication_factor(*found);
  config::Properties configs(found->configs.begin(), found->configs.end());
  out["configs"] = text(to_base64(config::to_text(configs)));
  co_return out;
}

Task<Answer<Object>> describe_topic_partitions(Context& context, const aws::Request& request) {
  const std::string topic_name(request.label("topicName"));
  auto cluster = co_await usable_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  if (!cluster::validate_topic_name(topic_name)) {
    co_return refuse(FaultType::not_found, "The requested topic does not exist.", "topicName");
  }
  auto found = co_await topic(kafka_of(context, *cluster), topic_name);
  if (!found) co_return failed(found.error(), "topic");
  const auto keys = keys_of(found->partitions, [](const PartitionFact& p) { return number_key(p.partition); });
  co_return listed(request, "partitions", keys, [&](std::size_t i) { return view(found->partitions[i]); });
}

Task<Answer<Object>> list_topics(Context& context, const aws::Request& request) {
  auto cluster = co_await usable_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  const auto view = kafka_of(context, *cluster);
  auto names = co_await topic_names(view);
  if (!names) co_return failed(names.error(), "cluster");
  const auto filter = request.parameter("topicNameFilter");
  std::erase_if(*names, [&](const std::string& n) { return !n.starts_with(filter); });
  const auto page = page_of(request, *names);
  if (!page) co_return std::unexpected(page.error());
  json::array list;
  for (const auto i : page->items) {
    auto found = co_await topic(view, (*names)[i]);
    if (!found) {
      if (found.error().kind == StoreError::Kind::missing) continue;
      co_return failed(found.error(), "cluster");
    }
    std::size_t out_of_sync = 0;
    for (const auto& p : found->partitions)
      out_of_sync += p.replicas.size() - std::min(p.replicas.size(), p.isr.size());
    Object entry;
    entry["topicArn"] = text(topic_arn(context, *cluster, found->name));
    entry["topicName"] = text(found->name);
    entry["partitionCount"] = found->partitions.size();
    entry["replicationFactor"] = replication_factor(*found);
    entry["outOfSyncReplicaCount"] = out_of_sync;
    list.push_back(std::move(entry));
  }
  Object out;
  out["topics"] = std::move(list);
  if (!page->next.empty()) out["nextToken"] = text(page->next);
  co_return out;
}

}  // namespace weir::msk::api
