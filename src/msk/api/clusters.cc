// CreateCluster, CreateClusterV2, DescribeCluster, DescribeClusterV2, ListClusters, ListClustersV2, DeleteCluster,
// GetBootstrapBrokers, ListNodes.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <set>
#include <utility>

#include "msk/api/api.h"
#include "msk/kafka.h"
#include "msk/local.h"

namespace weir::msk::api {
namespace {

namespace json = boost::json;

// "us-east-1" is "use1" in the ids of zones, "ap-southeast-2" is "apse2".
std::string zone_id(std::string_view region, std::size_t number) {
  const auto first = region.find('-');
  const auto last = region.rfind('-');
  if (first == std::string_view::npos || first == last) return fmt::format("{}-az{}", region, number);
  const auto wind = region.substr(first + 1, last - first - 1);
  std::string letters(1, wind.front());
  for (const std::string_view second : {"east", "west"}) {
    if (wind.size() > second.size() && wind.ends_with(second)) letters += second.front();
  }
  return fmt::format("{}{}{}-az{}", region.substr(0, first), letters, region.substr(last + 1), number);
}

void read_nodes(Params& params, const Context& context, Cluster& cluster) {
  auto& spec = cluster.spec;
  auto group = params.object("brokerNodeGroupInfo", true);
  const auto count = params.number("numberOfBrokerNodes", {.min = 1, .max = brokers_max, .required = true});
  if (!group) return;
  group->one_of("brokerAZDistribution", {"DEFAULT"});
  const auto subnets = group->texts("clientSubnets", {.required = true}, {.min = 1, .max = 256});
  const auto type = group->text("instanceType", {.min = 5, .max = 32, .required = true});
  if (const auto groups = group->texts("securityGroups", {.max = 16}, {.min = 1, .max = 256}))
    cluster.security_groups = *groups;
  const auto zones = group->texts("zoneIds", {.max = 3}, {.min = 1, .max = 64});
  if (auto storage = group->object("storageInfo")) {
    if (auto ebs = storage->object("ebsStorageInfo")) {
      spec.volume_gib = static_cast<std::int32_t>(ebs->number("volumeSize", {.min = 1, .max = 16384}).value_or(0));
      read_throughput(*ebs, spec);
    }
  }
  read_connectivity(*group, spec, true);
  if (params.fault()) return;

  const std::set<std::string> distinct(subnets->begin(), subnets->end());
  if (distinct.size() != subnets->size() || distinct.size() < 2 || distinct.size() > 3) {
    return params.wrong("clientSubnets",
                        fmt::format("Invalid value for parameter clientSubnets: {} distinct subnets. Specify "
                                    "two or three, each in another Availability Zone.",
                                    distinct.size()));
  }
  cluster.subnets = *subnets;
  if (zones && !zones->empty() && zones->size() != subnets->size()) {
    return params.wrong(
        "zoneIds",
        "The number of Availability Zones in the BrokerAZDistribution parameter must be equal to the number "
        "of client subnets.");
  }
  for (std::size_t i = 0; i < subnets->size(); ++i) {
    cluster.zones.push_back(zones && !zones->empty() ? (*zones)[i] : zone_id(context.options.realm.region, i + 1));
  }
  check_broker_count(params, "numberOfBrokerNodes", *count, subnets->size());
  check_instance_type(params, "instanceType", *type);
  spec.brokers = static_cast<std::int32_t>(*count);
  spec.instance_type = *type;
}

void read_version(Params& params, ClusterSpec& spec) {
  const auto version = params.text("kafkaVersion", {.min = 1, .max = 128, .required = true});
  if (!version) return;
  check_kafka_version(params, "kafkaVersion", *version);
  spec.kafka_version = *version;
}

// `params` is the request of v1, or what is "provisioned" of v2.
Task<Answer<Cluster>> create(Context& context, Params params, std::string cluster_name, Tags tags) {
  Cluster cluster;
  auto& spec = cluster.spec;
  read_version(params, spec);
  read_nodes(params, context, cluster);
  read_encryption(params, spec);
  read_authentication(params, spec);
  read_monitoring(params, spec);
  read_logging(params, spec);
  read_storage_mode(params, spec);
  read_rebalancing(params, spec, false);
  auto configured = co_await read_configuration(context, params, spec, false);
  check_access(params, spec);
  check_replicas(params, "configurationInfo", spec, cluster.zones.size());
  check_spec(params, context, spec, cluster.zones.size());
  if (const auto& fault = params.fault()) co_return std::unexpected(*fault);
  if (!configured) co_return std::unexpected(configured.error());

  cluster.id = new_id(context.random);
  cluster.name = std::move(cluster_name);
  cluster.tags = std::move(tags);
  cluster.arn = arn_text(context.options.realm, cluster_kind, cluster.name, cluster.id);
  cluster.created = context.now();
  cluster.current_version = new_version(context.random);
  for (std::int32_t id = 1; id <= spec.brokers; ++id) cluster.members.emplace(id, cluster.created);
  auto operation = new_operation(context, cluster, "CREATE_CLUSTER", spec);
  operation.steps = plan(operation, cluster);
  cluster.active_operation = operation.id;
  auto made = co_await context.store.create_cluster(cluster, std::move(operation));
  if (!made) {
    auto fault = fault_of(made.error(), "cluster");
    if (fault.type == FaultType::conflict) fault.invalid_parameter = "clusterName";
    co_return std::unexpected(fault);
  }
  context.driver.kick();
  co_return cluster;
}

constexpr TextRule cluster_name_rule{.min = 1, .max = 64, .required = true, .name_pattern = true};

Object created(const Cluster& cluster) {
  Object out;
  out["clusterArn"] = text(cluster.arn);
  out["clusterName"] = text(cluster.name);
  out["state"] = text(name(cluster.state));
  return out;
}

Task<Answer<std::vector<Cluster>>> filtered(Context& context, const aws::Request& request) {
  auto all = co_await context.store.clusters();
  if (!all) co_return failed(all.error(), "cluster");
  const auto prefix = request.parameter("clusterNameFilter");
  std::erase_if(*all, [&](const Cluster& c) { return !c.name.starts_with(prefix); });
  co_return std::move(*all);
}

Answer<Object> shown(const Context& context, const aws::Request& request, const std::vector<Cluster>& clusters,
                     Object (*view)(const Context&, const Cluster&)) {
  const auto keys = keys_of(clusters, [](const Cluster& c) { return time_key(c.created, c.id); });
  return listed(request, "clusterInfoList", keys, [&](std::size_t i) { return view(context, clusters[i]); });
}

// One broker, as ListNodes shows it.
Object node(const Context& context, const Cluster& c, std::int32_t id, milliseconds added) {
  Object broker;
  broker["brokerId"] = static_cast<double>(id);
  if (const auto zone = c.zone_index(id); zone < c.subnets.size()) broker["clientSubnet"] = text(c.subnets[zone]);
  const auto given = c.supervised.find(id);
  if (!c.block.empty() || given != c.supervised.end()) {
    const auto address = given == c.supervised.end() ? context.place.address_of(c.block, id)
                                                     : given->second.substr(0, given->second.rfind(':'));
    broker["clientVpcIpAddress"] = text(address);
    broker["endpoints"] = json::array{text(address)};
  }
  broker["currentBrokerSoftwareInfo"] = software_info(c.spec);
  Object out;
  out["addedToClusterTime"] = text(iso8601(added));
  out["brokerNodeInfo"] = std::move(broker);
  out["instanceType"] = text(c.spec.instance_type);
  out["nodeARN"] = text(arn_text(context.options.realm, broker_kind, c.name, c.id, fmt::format("b-{}", id)));
  out["nodeType"] = "BROKER";
  return out;
}

}  // namespace

Task<Answer<Object>> create_cluster(Context& context, const aws::Request& request) {
  Params params(*request.body);
  const auto cluster_name = params.text("clusterName", cluster_name_rule);
  const auto tags = params.tags("tags");
  if (const auto& fault = params.fault()) co_return std::unexpected(*fault);
  auto cluster = co_await create(context, params, *cluster_name, tags.value_or(Tags{}));
  if (!cluster) co_return std::unexpected(cluster.error());
  co_return created(*cluster);
}

Task<Answer<Object>> create_cluster_v2(Context& context, const aws::Request& request) {
  Params params(*request.body);
  const auto cluster_name = params.text("clusterName", cluster_name_rule);
  const auto tags = params.tags("tags");
  if (params.has("serverless")) params.wrong("serverless", "Serverless clusters are not supported yet.");
  auto provisioned = params.object("provisioned", true);
  if (const auto& fault = params.fault()) co_return std::unexpected(*fault);
  auto cluster = co_await create(context, *provisioned, *cluster_name, tags.value_or(Tags{}));
  if (!cluster) co_return std::unexpected(cluster.error());
  auto out = created(*cluster);
  out["clusterType"] = "PROVISIONED";
  co_return out;
}

Task<Answer<Object>> describe_cluster(Context& context, const aws::Request& request) {
  auto cluster = co_await labelled_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  Object out;
  out["clusterInfo"] = cluster_info(context, cluster->value);
  co_return out;
}

Task<Answer<Object>> describe_cluster_v2(Context& context, const aws::Request& request) {
  auto cluster = co_await labelled_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  Object out;
  out["clusterInfo"] = cluster_info_v2(context, cluster->value);
  co_return out;
}

Task<Answer<Object>> list_clusters(Context& context, const aws::Request& request) {
  auto clusters = co_await filtered(context, request);
  if (!clusters) co_return std::unexpected(clusters.error());
  co_return shown(context, request, *clusters, cluster_info);
}

Task<Answer<Object>> list_clusters_v2(Context& context, const aws::Request& request) {
  const auto type = request.parameter("clusterTypeFilter");
  if (!type.empty() && type != "PROVISIONED" && type != "SERVERLESS") {
    co_return bad_request("clusterTypeFilter",
                          fmt::format("Invalid value for parameter clusterTypeFilter: '{}'. Valid values: "
                                      "[PROVISIONED, SERVERLESS]",
                                      type.substr(0, 80)));
  }
  auto clusters = co_await filtered(context, request);
  if (!clusters) co_return std::unexpected(clusters.error());
  if (type == "SERVERLESS") clusters->clear();
  co_return shown(context, request, *clusters, cluster_info_v2);
}

Task<Answer<Object>> delete_cluster(Context& context, const aws::Request& request) {
  auto cluster = co_await labelled_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  auto& c = cluster->value;
  Object out;
  out["clusterArn"] = text(c.arn);
  out["state"] = text(name(ClusterState::deleting));
  if (c.state == ClusterState::deleting) co_return out;
  const auto version = request.parameter("currentVersion");
  if (!version.empty() && version != c.current_version) {
    co_return bad_request("currentVersion", std::string(stale_version));
  }
  if (!c.active_operation.empty()) {
    co_return bad_request(
        "clusterArn",
        fmt::format("The cluster is in the {} state. It can be deleted when this is over.", name(c.state)));
  }
  if (!c.supervised.empty()) {
    co_return bad_request("clusterArn", "This cluster is that of `weir up`: weir down ends it.");
  }
  auto operation = new_operation(context, c, "DELETE_CLUSTER", c.spec);
  auto begun = co_await begin_operation(context, std::move(*cluster), std::move(operation), ClusterState::deleting);
  if (!begun) co_return std::unexpected(begun.error());
  co_return out;
}

Task<Answer<Object>> get_bootstrap_brokers(Context& context, const aws::Request& request) {
  auto cluster = co_await labelled_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  const auto& c = cluster->value;
  if (c.state == ClusterState::creating || c.state == ClusterState::deleting || c.state == ClusterState::failed) {
    co_return refuse(FaultType::conflict,
                     fmt::format("The cluster is in the {} state: it has no brokers to connect to.", name(c.state)),
                     "clusterArn");
  }
  // One of each zone.
  std::string plain;
  std::string tls;
  std::size_t taken = 0;
  for (const auto& [id, added] : c.members) {
    if (taken++ == c.zones.size()) break;
    const auto address = context.place.address_of(c.block, id);
    const auto given = c.supervised.find(id);
    plain += plain.empty() ? "" : ",";
    plain += given != c.supervised.end() ? given->second : fmt::format("{}:{}", address, plaintext_port);
    tls += tls.empty() ? "" : ",";
    tls += given != c.supervised.end() ? local_tls_listener(given->second) : fmt::format("{}:{}", address, tls_port);
  }
  Object out;
  if (c.spec.client_broker != ClientBroker::tls) out["bootstrapBrokerString"] = text(plain);
  if (c.spec.client_broker != ClientBroker::plaintext) out["bootstrapBrokerStringTls"] = text(tls);
  co_return out;
}

Task<Answer<Object>> list_nodes(Context& context, const aws::Request& request) {
  auto cluster = co_await labelled_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  const auto& c = cluster->value;
  const std::vector<std::pair<std::int32_t, milliseconds>> members(c.members.begin(), c.members.end());
  const auto keys = keys_of(members, [](const auto& member) { return number_key(member.first); });
  co_return listed(request, "nodeInfoList", keys,
                   [&](std::size_t i) { return node(context, c, members[i].first, members[i].second); });
}

}  // namespace weir::msk::api
