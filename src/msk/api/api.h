// What the files of this folder share: the context a call runs in, the table of operations, small helpers.
//
// A handler answers one operation: the response's members, or a fault. It runs on the service's shard; context and
// request live until it has ended.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "aws/endpoint.h"
#include "msk/driver.h"
#include "msk/facts.h"
#include "msk/fault.h"
#include "msk/model.h"
#include "msk/params.h"
#include "msk/service.h"
#include "msk/store.h"

namespace boost::json {
class array;
class object;
class value;
}  // namespace boost::json

namespace weir::msk::api {

struct Context {
  runtime::Shard& shard;
  runtime::Random& random;
  zkclient::Zk& zk;
  provision::Place& place;
  Store& store;
  Driver& driver;
  const ServiceOptions& options;

  milliseconds now() const { return shard.clock().wall(); }
};

using Object = boost::json::object;
using Handler = Task<Answer<Object>> (*)(Context& context, const aws::Request& request);

struct Entry {
  std::string_view operation;
  std::string_view method;
  std::string_view uri;
  Handler handler;           // null: not yet
  std::string_view not_yet;  // why, for people
  int status = 200;
};
// All 59, in order of name.
std::span<const Entry> entries();

// --- shared by handlers

// What the store could not do, as a fault. `what`: "cluster", for what is missing.
Fault fault_of(const StoreError& error, std::string_view what);
std::unexpected<Fault> failed(const StoreError& error, std::string_view what);

// The cluster of an ARN: not_found when there is none, bad_request when it is no ARN of a cluster.
Task<Answer<Versioned<Cluster>>> find_cluster(Context& context, std::string arn, std::string parameter = "clusterArn");
// The same by the label clusterArn.
Task<Answer<Versioned<Cluster>>> labelled_cluster(Context& context, const aws::Request& request);
KafkaView kafka_of(Context& context, const Cluster& cluster);
// As it is to be shown: HEALING while a broker of an active cluster is down.
ClusterState shown_state(const Context& context, const Cluster& cluster);
// A change may begin: the cluster is ACTIVE and the version is its current one.
Answer<> may_change(const Context& context, const Cluster& cluster, std::string_view current_version);

// An operation of this type from what the cluster is to `to`, as it is begun: the plan is made by begin_operation.
Operation new_operation(const Context& context, const Cluster& cluster, std::string_view type, ClusterSpec to);
// Writes it, and answers {clusterArn, clusterOperationArn}.
Task<Answer<Object>> begin_operation(Context& context, Versioned<Cluster> cluster, Operation operation,
                                     ClusterState state = ClusterState::updating);

// --- lists

// The page of a list that the request asks for (params.h). A list is an operation and what its path names.
Answer<Page> page_of(const aws::Request& request, const std::vector<std::string>& keys);
// {member: what is on the page as `view` shows it, nextToken}.
Answer<Object> listed(const aws::Request& request, std::string_view member, const std::vector<std::string>& keys,
                      const std::function<boost::json::value(std::size_t)>& view);
template <class T, class Key>
std::vector<std::string> keys_of(const std::vector<T>& items, Key key) {
  std::vector<std::string> out;
  for (const auto& item : items) out.push_back(key(item));
  return out;
}

// --- refusals that several operations share

// A name that is none of those there are: "Unsupported InstanceType [x]. Valid values: [...]".
void check_instance_type(Params& params, std::string_view parameter, std::string_view name);
void check_kafka_version(Params& params, std::string_view parameter, std::string_view name);
// As many brokers as MSK allows a cluster with ZooKeeper, the same number in each zone.
inline constexpr std::int64_t brokers_max = 30;
void check_broker_count(Params& params, std::string_view parameter, std::int64_t count, std::size_t zones);
inline constexpr std::string_view stale_version =
    "The version of the cluster isn't current. Check the current version and try again.";

// --- views: model to API

Object cluster_info(const Context& context, const Cluster& cluster);     // ClusterInfo (v1)
Object cluster_info_v2(const Context& context, const Cluster& cluster);  // Cluster (v2)
Object operation_info(const Operation& operation);                       // ClusterOperationInfo
Object operation_info_v2(const Operation& operation);                    // ClusterOperationV2
Object operation_summary_v2(const Operation& operation);
Object software_info(const ClusterSpec& spec);         // BrokerSoftwareInfo
Object open_monitoring_info(const ClusterSpec& spec);  // OpenMonitoring
Object json_of(const Json& text);
Object tags_of(const Tags& tags);
boost::json::array texts_of(const std::vector<std::string>& list);
boost::json::value text(std::string_view value);

// The parts of a request that clusters are described by, into a spec. What is wrong is told to `params`.
void read_encryption(Params& params, ClusterSpec& spec);
void read_authentication(Params& params, ClusterSpec& spec);
void read_monitoring(Params& params, ClusterSpec& spec);
void read_logging(Params& params, ClusterSpec& spec);
void read_storage_mode(Params& params, ClusterSpec& spec);
void read_rebalancing(Params& params, ClusterSpec& spec, bool required);
void read_connectivity(Params& params, ClusterSpec& spec, bool creating);
void read_throughput(Params& params, ClusterSpec& spec);
// That nobody gets around an authentication that is asked for. Of a cluster that is made, or whose access is changed.
void check_access(Params& params, const ClusterSpec& spec);
// That there are brokers for the replicas that the configuration asks for. Of a cluster that is made, gets another
// configuration, or loses brokers.
void check_replicas(Params& params, std::string_view parameter, const ClusterSpec& spec, std::size_t zones);
// What must hold of all this together. Says so to `params`.
void check_spec(Params& params, const Context& context, const ClusterSpec& spec, std::size_t zones);
// configurationInfo: the revision's text into the spec.
Task<Answer<>> read_configuration(Context& context, Params& params, ClusterSpec& spec, bool required);

// --- handlers, by file

// clusters.cc
Task<Answer<Object>> create_cluster(Context& context, const aws::Request& request);
Task<Answer<Object>> create_cluster_v2(Context& context, const aws::Request& request);
Task<Answer<Object>> describe_cluster(Context& context, const aws::Request& request);
Task<Answer<Object>> describe_cluster_v2(Context& context, const aws::Request& request);
Task<Answer<Object>> list_clusters(Context& context, const aws::Request& request);
Task<Answer<Object>> list_clusters_v2(Context& context, const aws::Request& request);
Task<Answer<Object>> delete_cluster(Context& context, const aws::Request& request);
Task<Answer<Object>> get_bootstrap_brokers(Context& context, const aws::Request& request);
Task<Answer<Object>> list_nodes(Context& context, const aws::Request& request);
// operations.cc
Task<Answer<Object>> describe_cluster_operation(Context& context, const aws::Request& request);
Task<Answer<Object>> describe_cluster_operation_v2(Context& context, const aws::Request& request);
Task<Answer<Object>> list_cluster_operations(Context& context, const aws::Request& request);
Task<Answer<Object>> list_cluster_operations_v2(Context& context, const aws::Request& request);
// configurations.cc
Task<Answer<Object>> create_configuration(Context& context, const aws::Request& request);
Task<Answer<Object>> describe_configuration(Context& context, const aws::Request& request);
Task<Answer<Object>> describe_configuration_revision(Context& context, const aws::Request& request);
Task<Answer<Object>> list_configurations(Context& context, const aws::Request& request);
Task<Answer<Object>> list_configuration_revisions(Context& context, const aws::Request& request);
Task<Answer<Object>> update_configuration(Context& context, const aws::Request& request);
Task<Answer<Object>> delete_configuration(Context& context, const aws::Request& request);
// updates.cc
Task<Answer<Object>> update_cluster_configuration(Context& context, const aws::Request& request);
Task<Answer<Object>> update_cluster_kafka_version(Context& context, const aws::Request& request);
Task<Answer<Object>> update_broker_count(Context& context, const aws::Request& request);
Task<Answer<Object>> update_broker_storage(Context& context, const aws::Request& request);
Task<Answer<Object>> update_broker_type(Context& context, const aws::Request& request);
Task<Answer<Object>> update_connectivity(Context& context, const aws::Request& request);
Task<Answer<Object>> update_monitoring(Context& context, const aws::Request& request);
Task<Answer<Object>> update_rebalancing(Context& context, const aws::Request& request);
Task<Answer<Object>> update_security(Context& context, const aws::Request& request);
Task<Answer<Object>> update_storage(Context& context, const aws::Request& request);
Task<Answer<Object>> reboot_broker(Context& context, const aws::Request& request);
// versions.cc
Task<Answer<Object>> list_kafka_versions(Context& context, const aws::Request& request);
Task<Answer<Object>> get_compatible_kafka_versions(Context& context, const aws::Request& request);
// tags.cc
Task<Answer<Object>> list_tags_for_resource(Context& context, const aws::Request& request);
Task<Answer<Object>> tag_resource(Context& context, const aws::Request& request);
Task<Answer<Object>> untag_resource(Context& context, const aws::Request& request);
// topics.cc
Task<Answer<Object>> create_topic(Context& context, const aws::Request& request);
Task<Answer<Object>> delete_topic(Context& context, const aws::Request& request);
Task<Answer<Object>> describe_topic(Context& context, const aws::Request& request);
Task<Answer<Object>> describe_topic_partitions(Context& context, const aws::Request& request);
Task<Answer<Object>> list_topics(Context& context, const aws::Request& request);
Task<Answer<Object>> update_topic(Context& context, const aws::Request& request);
// vpc.cc
Task<Answer<Object>> create_vpc_connection(Context& context, const aws::Request& request);
Task<Answer<Object>> delete_vpc_connection(Context& context, const aws::Request& request);
Task<Answer<Object>> describe_vpc_connection(Context& context, const aws::Request& request);
Task<Answer<Object>> list_vpc_connections(Context& context, const aws::Request& request);
Task<Answer<Object>> list_client_vpc_connections(Context& context, const aws::Request& request);
Task<Answer<Object>> reject_client_vpc_connection(Context& context, const aws::Request& request);
// policy.cc
Task<Answer<Object>> get_cluster_policy(Context& context, const aws::Request& request);
Task<Answer<Object>> put_cluster_policy(Context& context, const aws::Request& request);
Task<Answer<Object>> delete_cluster_policy(Context& context, const aws::Request& request);
// scram.cc, replicators: lists that are empty
Task<Answer<Object>> list_scram_secrets(Context& context, const aws::Request& request);
Task<Answer<Object>> list_replicators(Context& context, const aws::Request& request);
Task<Answer<Object>> no_such_replicator(Context& context, const aws::Request& request);

}  // namespace weir::msk::api
