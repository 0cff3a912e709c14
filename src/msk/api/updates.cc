// What changes a cluster: each is an operation that the driver carries out (workflow.h says in which steps).
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "msk/api/api.h"
#include "msk/kafka.h"
#include "msk/local.h"

namespace weir::msk::api {
namespace {

namespace json = boost::json;

constexpr std::int64_t volume_max = 16384;
constexpr std::int64_t volume_step_min = 10;

// The cluster of a request that wants to change it, when it may be changed.
Task<Answer<Versioned<Cluster>>> changeable(Context& context, const aws::Request& request, Params& params) {
  const auto version = params.text("currentVersion", {.min = 1, .required = true});
  if (const auto& fault = params.fault()) co_return std::unexpected(*fault);
  auto cluster = co_await labelled_cluster(context, request);
  if (!cluster) co_return cluster;
  if (auto may = may_change(context, cluster->value, *version); !may) co_return std::unexpected(may.error());
  co_return cluster;
}

struct Update {
  std::string_view type;
  ClusterSpec to;
  Object source;
  Object target;
};

Task<Answer<Object>> begin(Context& context, Versioned<Cluster> cluster, Update update) {
  auto operation = new_operation(context, cluster.value, update.type, std::move(update.to));
  operation.source_info = json::serialize(update.source);
  operation.target_info = json::serialize(update.target);
  return begin_operation(context, std::move(cluster), std::move(operation));
}

void check(Params& params, const Context& context, const Cluster& cluster, const ClusterSpec& to) {
  check_spec(params, context, to, cluster.zones.size());
  if (params.fault() || cluster.supervised.empty()) return;
  if (const auto wrong = local_complaint(to, context.options.local); !wrong.empty()) params.wrong("clusterArn", wrong);
}

Object configuration_of(const ClusterSpec& spec) {
  return {{"arn", text(spec.configuration_arn)}, {"revision", spec.configuration_revision}};
}

Object transit_of(const ClusterSpec& spec) {
  Object transit{{"clientBroker", text(name(spec.client_broker))}, {"inCluster", spec.in_cluster}};
  return {{"encryptionInTransit", std::move(transit)}};
}

json::array volumes_of(const ClusterSpec& spec) {
  return {Object{{"kafkaBrokerNodeId", "All"}, {"volumeSizeGB", spec.volume_gib}}};
}

// --- what each kind of update asks for, into `update.to`; what is wrong is told to `params`

constexpr std::string_view no_volume_change =
    "The request does not include any updates to the EBS volumes of the cluster. Verify the request, then try again.";

// A size that is asked for: that of now, or larger by the least step.
void grow(Params& params, std::optional<std::int64_t> size, ClusterSpec& spec) {
  if (!size || *size == spec.volume_gib) return;
  if (*size < spec.volume_gib + volume_step_min) {
    params.wrong("volumeSizeGB", "To update storage, you must increase it by at least 10 GiB.");
  }
  spec.volume_gib = static_cast<std::int32_t>(*size);
}

void grow_volumes(const Context&, Params& params, const ClusterSpec& from, Update& update) {
  std::optional<std::int64_t> size;
  for (auto& info : params.objects("targetBrokerEBSVolumeInfo", {.min = 1, .max = 1, .required = true})) {
    const auto node = info.text("kafkaBrokerNodeId", {.min = 1, .required = true});
    if (node && *node != "All") {
      params.wrong("kafkaBrokerNodeId",
                   fmt::format("Invalid value for parameter kafkaBrokerNodeId: '{}'. All brokers have the same "
                               "storage: it must be All.",
                               node->substr(0, 40)));
    }
    size = info.number("volumeSizeGB", {.min = 1, .max = volume_max});
    grow(params, size, update.to);
    read_throughput(info, update.to);
  }
  if (update.to == from) {
    params.wrong(size ? "volumeSizeGB" : "targetBrokerEBSVolumeInfo", std::string(no_volume_change));
  }
  update.source["brokerEBSVolumeInfo"] = volumes_of(from);
  update.target["brokerEBSVolumeInfo"] = volumes_of(update.to);
}

void change_storage(const Context&, Params& params, const ClusterSpec& from, Update& update) {
  read_storage_mode(params, update.to);
  grow(params, params.number("volumeSizeGB", {.min = 1, .max = volume_max}), update.to);
  read_throughput(params, update.to);
  if (update.to == from) params.wrong("volumeSizeGB", std::string(no_volume_change));
  update.source = {{"brokerEBSVolumeInfo", volumes_of(from)}, {"storageMode", text(from.storage_mode)}};
  update.target = {{"brokerEBSVolumeInfo", volumes_of(update.to)}, {"storageMode", text(update.to.storage_mode)}};
}

void change_type(const Context&, Params& params, const ClusterSpec& from, Update& update) {
  const auto type = params.text("targetInstanceType", {.min = 5, .max = 32, .required = true});
  if (!type) return;
  check_instance_type(params, "targetInstanceType", *type);
  if (*type == from.instance_type) {
    params.wrong("targetInstanceType", fmt::format("The brokers are of the type {} already.", *type));
  }
  update.to.instance_type = *type;
  update.source["instanceType"] = text(from.instance_type);
  update.target["instanceType"] = text(*type);
}

void change_connectivity(const Context&, Params& params, const ClusterSpec& from, Update& update) {
  read_connectivity(params, update.to, false);
  if (auto access = params.object("zookeeperAccess")) {
    if (access->flag("enabled") == false) {
      params.wrong("enabled",
                   "Access of clients to ZooKeeper cannot be turned off here: brokers and tools use the same address.");
    }
    update.to.zookeeper_access = params.json("zookeeperAccess");
  }
  if (!params.has("connectivityInfo") && !params.has("zookeeperAccess")) {
    params.wrong("connectivityInfo", "The request does not include any updates to the connectivity of the cluster.");
  }
  if (!from.connectivity_info.empty()) update.source["connectivityInfo"] = json_of(from.connectivity_info);
  if (!update.to.connectivity_info.empty()) update.target["connectivityInfo"] = json_of(update.to.connectivity_info);
  if (!update.to.zookeeper_access.empty()) update.target["zookeeperAccess"] = json_of(update.to.zookeeper_access);
}

void change_monitoring(const Context&, Params& params, const ClusterSpec& from, Update& update) {
  read_monitoring(params, update.to);
  read_logging(params, update.to);
  if (!params.has("enhancedMonitoring") && !params.has("openMonitoring") && !params.has("loggingInfo")) {
    params.wrong("enhancedMonitoring", "The request does not include any updates to the monitoring of the cluster.");
  }
  const auto show = [](Object& out, const ClusterSpec& spec) {
    out["enhancedMonitoring"] = text(spec.monitoring);
    out["openMonitoring"] = open_monitoring_info(spec);
    if (!spec.logging_info.empty()) out["loggingInfo"] = json_of(spec.logging_info);
  };
  show(update.source, from);
  show(update.target, update.to);
}

void change_rebalancing(const Context&, Params& params, const ClusterSpec& from, Update& update) {
  read_rebalancing(params, update.to, true);
  if (!from.rebalancing.empty()) update.source["rebalancing"] = Object{{"status", text(from.rebalancing)}};
  update.target["rebalancing"] = Object{{"status", text(update.to.rebalancing)}};
}

void change_security(const Context&, Params& params, const ClusterSpec& from, Update& update) {
  read_encryption(params, update.to);
  read_authentication(params, update.to);
  if (update.to.in_cluster != from.in_cluster) {
    params.wrong("inCluster", "Encryption between brokers cannot be changed once a cluster is created.");
  }
  if (!params.has("encryptionInfo") && !params.has("clientAuthentication")) {
    params.wrong("encryptionInfo", "The request does not include any updates to the security of the cluster.");
  }
  check_access(params, update.to);
  const auto show = [](Object& out, const ClusterSpec& spec) {
    out["encryptionInfo"] = transit_of(spec);
    if (!spec.client_authentication.empty()) out["clientAuthentication"] = json_of(spec.client_authentication);
  };
  show(update.source, from);
  show(update.target, update.to);
}

// An update that is read from the request alone.
using Edit = void (*)(const Context&, Params&, const ClusterSpec& from, Update&);
Task<Answer<Object>> change(Context& context, const aws::Request& request, std::string_view type, Edit edit) {
  Params params(*request.body);
  auto cluster = co_await changeable(context, request, params);
  if (!cluster) co_return std::unexpected(cluster.error());
  Update update;
  update.type = type;
  update.to = cluster->value.spec;
  edit(context, params, cluster->value.spec, update);
  check(params, context, cluster->value, update.to);
  if (const auto& fault = params.fault()) co_return std::unexpected(*fault);
  co_return co_await begin(context, std::move(*cluster), std::move(update));
}

}  // namespace

Task<Answer<Object>> update_cluster_configuration(Context& context, const aws::Request& request) {
  Params params(*request.body);
  auto cluster = co_await changeable(context, request, params);
  if (!cluster) co_return std::unexpected(cluster.error());
  Update update;
  update.type = "UPDATE_CLUSTER_CONFIGURATION";
  update.to = cluster->value.spec;
  auto read = co_await read_configuration(context, params, update.to, true);
  check_replicas(params, "configurationInfo", update.to, cluster->value.zones.size());
  check(params, context, cluster->value, update.to);
  if (const auto& fault = params.fault()) co_return std::unexpected(*fault);
  if (!read) co_return std::unexpected(read.error());
  if (!cluster->value.spec.configuration_arn.empty()) {
    update.source["configurationInfo"] = configuration_of(cluster->value.spec);
  }
  update.target["configurationInfo"] = configuration_of(update.to);
  co_return co_await begin(context, std::move(*cluster), std::move(update));
}

Task<Answer<Object>> update_cluster_kafka_version(Context& context, const aws::Request& request) {
  Params params(*request.body);
  const auto target = params.text("targetKafkaVersion", {.min = 1, .max = 128, .required = true});
  auto cluster = co_await changeable(context, request, params);
  if (!cluster) co_return std::unexpected(cluster.error());
  const auto& from = cluster->value.spec;
  auto allowed = later_versions(from.kafka_version);
  if (!from.previous_version.empty()) allowed.push_back(from.previous_version);
  if (std::ranges::find(allowed, *target) == allowed.end()) {
    co_return bad_request("targetKafkaVersion", fmt::format("Unsupported KafkaVersion [{}]. Valid values: [{}]",
                                                            *target, fmt::join(allowed, ", ")));
  }
  Update update;
  update.type = "UPDATE_CLUSTER_KAFKA_VERSION";
  update.to = from;
  update.to.kafka_version = *target;
  // The level that was left may be gone back to, once.
  update.to.previous_version = *target == from.previous_version ? "" : from.kafka_version;
  auto read = co_await read_configuration(context, params, update.to, false);
  if (params.has("configurationInfo")) {
    check_replicas(params, "configurationInfo", update.to, cluster->value.zones.size());
  }
  check(params, context, cluster->value, update.to);
  if (const auto& fault = params.fault()) co_return std::unexpected(*fault);
  if (!read) co_return std::unexpected(read.error());
  update.source["kafkaVersion"] = text(from.kafka_version);
  update.target["kafkaVersion"] = text(*target);
  if (update.to.configuration_arn != from.configuration_arn ||
      update.to.configuration_revision != from.configuration_revision) {
    if (!from.configuration_arn.empty()) update.source["configurationInfo"] = configuration_of(from);
    update.target["configurationInfo"] = configuration_of(update.to);
  }
  co_return co_await begin(context, std::move(*cluster), std::move(update));
}

Task<Answer<Object>> update_broker_count(Context& context, const aws::Request& request) {
  constexpr std::string_view parameter = "targetNumberOfBrokerNodes";
  Params params(*request.body);
  const auto target = params.number(parameter, {.min = 1, .max = brokers_max, .required = true});
  auto cluster = co_await changeable(context, request, params);
  if (!cluster) co_return std::unexpected(cluster.error());
  auto& c = cluster->value;
  const auto now = static_cast<std::int64_t>(c.members.size());
  const bool local = !c.supervised.empty();
  if (local && *target > local_brokers_max) {
    params.wrong(parameter, fmt::format("Invalid value for parameter {}: {}. `weir up` has up to {} brokers.",
                                        parameter, *target, local_brokers_max));
  }
  if (!local) check_broker_count(params, parameter, *target, c.zones.size());
  if (*target == now) {
    params.wrong(parameter, fmt::format("The cluster has {} brokers already.", now));
  } else if (*target < now) {
    auto facts = co_await partition_facts(kafka_of(context, c));
    if (!facts) co_return failed(facts.error(), "cluster");
    for (const auto& p : facts->partitions) {
      if (static_cast<std::int64_t>(p.replicas.size()) <= *target) continue;
      params.wrong(parameter,
                   fmt::format("Topic {} has a replication factor of {}: the cluster cannot have {} brokers.", p.topic,
                               p.replicas.size(), *target));
    }
  }
  auto to = c.spec;
  if (target) to.brokers = static_cast<std::int32_t>(*target);
  if (local && context.options.local.defaults) to.defaults = context.options.local.defaults(to.brokers);
  if (target && *target < now) check_replicas(params, parameter, to, c.zones.size());
  if (const auto& fault = params.fault()) co_return std::unexpected(*fault);

  auto operation =
      new_operation(context, c, *target > now ? "INCREASE_BROKER_COUNT" : "DECREASE_BROKER_COUNT", std::move(to));
  // New ones behind the last id, and those with the highest ids go: each zone keeps as many as the others.
  auto next = c.members.rbegin()->first;
  for (auto count = now; count < *target; ++count) operation.created_brokers.push_back(++next);
  auto last = c.members.rbegin();
  for (auto count = now; count > *target; --count, ++last) operation.deleted_brokers.push_back(last->first);
  operation.leave_empty = c.spec.rebalancing == "PAUSED";
  operation.source_info = json::serialize(Object{{"numberOfBrokerNodes", now}});
  operation.target_info = json::serialize(Object{{"numberOfBrokerNodes", *target}});
  co_return co_await begin_operation(context, std::move(*cluster), std::move(operation));
}

Task<Answer<Object>> update_broker_storage(Context& context, const aws::Request& request) {
  return change(context, request, "INCREASE_BROKER_STORAGE", grow_volumes);
}

Task<Answer<Object>> update_storage(Context& context, const aws::Request& request) {
  return change(context, request, "UPDATE_STORAGE", change_storage);
}

Task<Answer<Object>> update_broker_type(Context& context, const aws::Request& request) {
  return change(context, request, "UPDATE_BROKER_TYPE", change_type);
}

Task<Answer<Object>> update_connectivity(Context& context, const aws::Request& request) {
  return change(context, request, "UPDATE_CONNECTIVITY", change_connectivity);
}

Task<Answer<Object>> update_monitoring(Context& context, const aws::Request& request) {
  return change(context, request, "UPDATE_MONITORING", change_monitoring);
}

Task<Answer<Object>> update_rebalancing(Context& context, const aws::Request& request) {
  return change(context, request, "UPDATE_REBALANCING", change_rebalancing);
}

Task<Answer<Object>> update_security(Context& context, const aws::Request& request) {
  return change(context, request, "UPDATE_SECURITY", change_security);
}

Task<Answer<Object>> reboot_broker(Context& context, const aws::Request& request) {
  Params params(*request.body);
  const auto ids = params.texts("brokerIds", {.min = 1, .max = 1, .required = true}, {.min = 1, .max = 10});
  if (const auto& fault = params.fault()) co_return std::unexpected(*fault);
  auto cluster = co_await labelled_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  const auto& c = cluster->value;
  // One that is down may be rebooted: that is what people do then.
  if (c.state != ClusterState::active) {
    co_return bad_request(
        "clusterArn",
        fmt::format("The cluster is in the {} state. A broker can be rebooted in the ACTIVE state.", name(c.state)));
  }
  auto operation = new_operation(context, c, "REBOOT_NODE", c.spec);
  for (const auto& [id, added] : c.members) {
    // SDKs that read brokerId from ListNodes write it as "1.0".
    if (ids->front() == std::to_string(id) || ids->front() == fmt::format("{}.0", id)) {
      operation.rebooted_brokers.push_back(id);
    }
  }
  if (operation.rebooted_brokers.empty()) {
    co_return bad_request(
        "brokerIds",
        fmt::format("Invalid value for parameter brokerIds: the cluster has no broker '{}'.", ids->front()));
  }
  co_return co_await begin_operation(context, std::move(*cluster), std::move(operation),
                                     ClusterState::rebooting_broker);
}

}  // namespace weir::msk::api
