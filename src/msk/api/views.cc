// Records as the API shows them. What is absent is absent, not empty.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <utility>

#include "msk/api/api.h"
#include "msk/kafka.h"

namespace weir::msk::api {
namespace {

namespace json = boost::json;

Object encryption(const ClusterSpec& spec) {
  Object transit;
  transit["clientBroker"] = text(name(spec.client_broker));
  transit["inCluster"] = spec.in_cluster;
  Object out;
  out["encryptionInTransit"] = std::move(transit);
  return out;
}

Object node_group(const Cluster& cluster) {
  const auto& spec = cluster.spec;
  Object out;
  out["brokerAZDistribution"] = "DEFAULT";
  out["clientSubnets"] = texts_of(cluster.subnets);
  out["instanceType"] = text(spec.instance_type);
  out["securityGroups"] = texts_of(cluster.security_groups);
  if (spec.volume_gib > 0) {
    Object ebs;
    ebs["volumeSize"] = spec.volume_gib;
    if (!spec.provisioned_throughput.empty()) ebs["provisionedThroughput"] = json_of(spec.provisioned_throughput);
    out["storageInfo"] = Object{{"ebsStorageInfo", std::move(ebs)}};
  }
  Object connectivity = json_of(spec.connectivity_info);
  if (!connectivity.contains("publicAccess")) connectivity["publicAccess"] = Object{{"type", "DISABLED"}};
  out["connectivityInfo"] = std::move(connectivity);
  out["zoneIds"] = texts_of(cluster.zones);
  return out;
}

// What v1's ClusterInfo and v2's Provisioned have in common.
void put_provisioned(Object& out, const Context& context, const Cluster& cluster) {
  const auto& spec = cluster.spec;
  out["brokerNodeGroupInfo"] = node_group(cluster);
  out["currentBrokerSoftwareInfo"] = software_info(spec);
  if (!spec.client_authentication.empty()) out["clientAuthentication"] = json_of(spec.client_authentication);
  out["encryptionInfo"] = encryption(spec);
  out["enhancedMonitoring"] = text(spec.monitoring);
  out["openMonitoring"] = open_monitoring_info(spec);
  if (!spec.logging_info.empty()) out["loggingInfo"] = json_of(spec.logging_info);
  out["numberOfBrokerNodes"] = spec.brokers;
  out["storageMode"] = text(spec.storage_mode);
  out["customerActionStatus"] = "NONE";
  if (!spec.rebalancing.empty()) out["rebalancing"] = Object{{"status", text(spec.rebalancing)}};
  const bool usable = cluster.state != ClusterState::creating && cluster.state != ClusterState::deleting &&
                      cluster.state != ClusterState::failed;
  if (usable) {
    out["zookeeperConnectString"] = text(context.options.zookeeper + cluster.chroot());
    if (!context.options.zookeeper_tls.empty()) {
      out["zookeeperConnectStringTls"] = text(context.options.zookeeper_tls + cluster.chroot());
    }
  }
}

void put_common(Object& out, const Context& context, const Cluster& cluster) {
  if (!cluster.active_operation.empty()) {
    out["activeOperationArn"] =
        text(arn_text(context.options.realm, operation_kind, cluster.name, cluster.id, cluster.active_operation));
  }
  out["clusterArn"] = text(cluster.arn);
  out["clusterName"] = text(cluster.name);
  out["creationTime"] = text(iso8601(cluster.created));
  out["currentVersion"] = text(cluster.current_version);
  const auto state = shown_state(context, cluster);
  out["state"] = text(name(state));
  if (state == ClusterState::healing) {
    out["stateInfo"] = Object{{"code", "BROKER_DOWN"}, {"message", text(*context.driver.ailment(cluster.id))}};
  } else if (const auto waiting = context.driver.waiting_for(cluster.id);
             !waiting.empty() && cluster.state_message.empty() && !cluster.active_operation.empty()) {
    out["stateInfo"] = Object{{"code", "IN_PROGRESS"}, {"message", text(waiting)}};
  } else if (const auto full = context.driver.full(cluster.id);
             !full.empty() && state == ClusterState::active && cluster.state_message.empty()) {
    out["stateInfo"] = Object{{"code", "STORAGE_FULL"}, {"message", text(full)}};
  } else if (!cluster.state_message.empty()) {
    out["stateInfo"] = Object{{"code", text(cluster.state_code)}, {"message", text(cluster.state_message)}};
  }
  out["tags"] = tags_of(cluster.tags);
}

json::array steps_of(const Operation& operation) {
  json::array out;
  for (const auto& step : operation.steps) {
    const std::string_view status = step.done ? "COMPLETED" : step.begun ? "IN_PROGRESS" : "PENDING";
    Object entry;
    entry["stepName"] =
        text(step.broker == 0 ? std::string(name(step.kind)) : fmt::format("{}_{}", name(step.kind), step.broker));
    entry["stepInfo"] = Object{{"stepStatus", text(status)}};
    out.push_back(std::move(entry));
  }
  return out;
}

void put_source_and_target(Object& out, const Operation& operation) {
  out["operationSteps"] = steps_of(operation);
  if (!operation.source_info.empty()) out["sourceClusterInfo"] = json_of(operation.source_info);
  if (operation.target_info.empty()) return;
  auto target = json_of(operation.target_info);
  if (!operation.created_brokers.empty() || !operation.deleted_brokers.empty()) {
    Object counts;
    const auto ids = [](const std::vector<std::int32_t>& list) {
      json::array all;
      for (const auto id : list) all.push_back(static_cast<double>(id));
      return all;
    };
    if (!operation.created_brokers.empty()) counts["createdBrokerIds"] = ids(operation.created_brokers);
    if (!operation.deleted_brokers.empty()) counts["deletedBrokerIds"] = ids(operation.deleted_brokers);
    target["brokerCountUpdateInfo"] = std::move(counts);
  }
  out["targetClusterInfo"] = std::move(target);
}

void put_outcome(Object& out, const Operation& operation) {
  out["clusterArn"] = text(operation.cluster_arn);
  out["operationArn"] = text(operation.arn);
  out["operationState"] = text(operation.state_name());
  out["operationType"] = text(operation.type);
  if (operation.ended.count() != 0) out["endTime"] = text(iso8601(operation.ended));
  if (!operation.error_text.empty()) {
    out["errorInfo"] = Object{{"errorCode", text(operation.error_code)}, {"errorString", text(operation.error_text)}};
  }
}

}  // namespace

Object software_info(const ClusterSpec& spec) {
  Object out;
  out["kafkaVersion"] = text(spec.kafka_version);
  if (!spec.configuration_arn.empty()) {
    out["configurationArn"] = text(spec.configuration_arn);
    out["configurationRevision"] = spec.configuration_revision;
  }
  return out;
}

Object open_monitoring_info(const ClusterSpec& spec) {
  Object prometheus;
  prometheus["jmxExporter"] = Object{{"enabledInBroker", spec.jmx_exporter}};
  prometheus["nodeExporter"] = Object{{"enabledInBroker", spec.node_exporter}};
  Object out;
  out["prometheus"] = std::move(prometheus);
  return out;
}

Object cluster_info(const Context& context, const Cluster& cluster) {
  Object out;
  put_common(out, context, cluster);
  put_provisioned(out, context, cluster);
  return out;
}

Object cluster_info_v2(const Context& context, const Cluster& cluster) {
  Object out;
  put_common(out, context, cluster);
  out["clusterType"] = "PROVISIONED";
  Object provisioned;
  put_provisioned(provisioned, context, cluster);
  out["provisioned"] = std::move(provisioned);
  return out;
}

Object operation_info(const Operation& operation) {
  Object out;
  put_outcome(out, operation);
  out["clientRequestId"] = text(operation.request_id);
  out["creationTime"] = text(iso8601(operation.created));
  put_source_and_target(out, operation);
  return out;
}

Object operation_summary_v2(const Operation& operation) {
  Object out;
  put_outcome(out, operation);
  out.erase("errorInfo");
  out["clusterType"] = "PROVISIONED";
  out["startTime"] = text(iso8601(operation.created));
  return out;
}

Object operation_info_v2(const Operation& operation) {
  Object out;
  put_outcome(out, operation);
  out["clusterType"] = "PROVISIONED";
  out["startTime"] = text(iso8601(operation.created));
  Object provisioned;
  put_source_and_target(provisioned, operation);
  out["provisioned"] = std::move(provisioned);
  return out;
}

}  // namespace weir::msk::api
