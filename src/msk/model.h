// What the control plane keeps: clusters, operations on them, configurations, VPC connections.
//
// Plain data. Parts of the API that are only kept and shown (tags, logging, monitoring by name, ...) stay JSON text, as
// the API has them; empty: absent. What has a meaning here has a typed field. codec.h writes them as JSON, store.h
// keeps them in ZooKeeper.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"

namespace weir::msk {

using Json = std::string;  // JSON text; empty: absent
using Tags = std::map<std::string, std::string>;

enum class ClusterState : std::uint8_t {
  creating,
  active,
  updating,
  rebooting_broker,
  deleting,
  failed,
  healing,      // shown only: an active cluster of which a broker is down
  maintenance,  // known to clients; nothing here sets it
};
std::string_view name(ClusterState state);  // "REBOOTING_BROKER"
std::optional<ClusterState> parse_cluster_state(std::string_view name);

enum class ClientBroker : std::uint8_t { tls, tls_plaintext, plaintext };
std::string_view name(ClientBroker value);  // "TLS_PLAINTEXT"
std::optional<ClientBroker> parse_client_broker(std::string_view name);

// What a user may change about a cluster. An operation has the one it comes from and the one it goes to.
struct ClusterSpec {
  std::string kafka_version = "3.9.x";
  std::string previous_version;   // before the last change of version: the one that may be gone back to
  std::string configuration_arn;  // empty: none, MSK's defaults
  std::int64_t configuration_revision = 0;
  std::string server_properties;  // of that revision: a cluster does not depend on what happens to it later
  std::string defaults;           // properties, instead of MSK's: of `weir up`'s own cluster; empty: MSK's
  std::int32_t brokers = 0;       // numberOfBrokerNodes
  std::string instance_type;
  std::int32_t volume_gib = 0;  // 0: no quota was asked for
  ClientBroker client_broker = ClientBroker::tls;
  bool in_cluster = true;              // encryption between brokers
  bool mutual_tls = false;             // clientAuthentication.tls.enabled
  bool unauthenticated = true;         // clientAuthentication.unauthenticated.enabled
  std::string monitoring = "DEFAULT";  // enhancedMonitoring
  bool jmx_exporter = false;
  bool node_exporter = false;
  std::string storage_mode = "LOCAL";
  std::string rebalancing;  // "ACTIVE", "PAUSED"; empty: never said
  Json client_authentication;
  Json logging_info;
  Json connectivity_info;
  Json provisioned_throughput;
  Json zookeeper_access;

  friend bool operator==(const ClusterSpec&, const ClusterSpec&) = default;
};

struct Cluster {
  std::string id;  // UUID-N
  std::string name;
  std::string arn;
  ClusterState state = ClusterState::creating;
  std::string state_code;  // stateInfo
  std::string state_message;
  std::string current_version;
  milliseconds created{0};
  std::string active_operation;  // its id (UUID); empty: none
  Tags tags;
  std::vector<std::string> subnets;  // one zone each
  std::vector<std::string> security_groups;
  std::vector<std::string> zones;                // broker.rack of each subnet
  std::string block;                             // of addresses (provision::Place); empty: none yet
  std::map<std::int32_t, milliseconds> members;  // brokers by id, and when they were added
  ClusterSpec spec;
  std::string policy;
  std::string policy_version;
  // Of `weir up`'s own cluster: where each broker's plaintext listener is. It lives at ZooKeeper's root, and its
  // processes are those of `weir up` (local.h). Empty: any other cluster.
  std::map<std::int32_t, std::string> supervised;

  std::string chroot() const { return supervised.empty() ? "/msk/" + name + "-" + id : ""; }
  std::string place_name() const { return supervised.empty() ? made_name() : name; }
  std::string made_name() const { return name.substr(0, 40) + "-" + id.substr(0, 36); }
  std::string zone_of(std::int32_t broker) const { return zones.empty() ? std::string() : zones[zone_index(broker)]; }
  std::size_t zone_index(std::int32_t broker) const {
    return static_cast<std::size_t>(broker - 1) % (zones.empty() ? 1 : zones.size());
  }
  friend bool operator==(const Cluster&, const Cluster&) = default;
};

// One thing to do of an operation; all are idempotent, and done in order.
enum class StepKind : std::uint8_t {
  address,      // a block of addresses is taken and recorded
  put,          // files of `broker` are written as the target spec says (0: of all members)
  start,        // all members are started
  registered,   // all members are in /brokers/ids
  live_config,  // dynamic keys are written to /config/brokers/<default>
  safe,         // nothing would fall below min.insync.replicas without `broker`
  restart,      // `broker` is stopped and started
  back,         // `broker` is registered and in every ISR it belongs to
  leaders,      // `broker` leads again what it is the preferred leader of
  add,          // new members are recorded
  spread,       // partitions are reassigned to new members
  drain,        // partitions are reassigned away from those who leave
  settled,      // no reassignment is under way
  cancel,       // those under way are taken back to where they began
  leave,        // brokers over the target count are removed
  stop,         // all members are removed with their data
  forget,       // the chroot and the address block go
  record,       // nothing to do but to write the new spec
};
std::string_view name(StepKind kind);
std::optional<StepKind> parse_step_kind(std::string_view name);

struct Step {
  StepKind kind = StepKind::record;
  std::int32_t broker = 0;  // 0: none
  bool done = false;
  bool begun = false;
  std::string note;  // what the step must remember between two tries

  friend bool operator==(const Step&, const Step&) = default;
};

// Keys of entities below /config, "topics/t" or "brokers/4", as they were before they were changed: those that were
// set.
using Settings = std::map<std::string, std::map<std::string, std::string>>;

inline constexpr std::size_t operations_max = 100;  // of a cluster; older ones are forgotten

enum class OperationState : std::uint8_t { pending, in_progress, complete, failed };

struct Operation {
  std::string id;  // UUID
  std::string arn;
  std::string cluster_id;
  std::string cluster_arn;
  std::string type;        // "UPDATE_CLUSTER_CONFIGURATION"
  std::string request_id;  // clientRequestId
  OperationState state = OperationState::pending;
  milliseconds created{0};
  milliseconds ended{0};
  std::string error_code;
  std::string error_text;
  std::vector<Step> steps;
  ClusterSpec from;
  ClusterSpec to;
  bool going_back = false;   // it failed: `steps` are now those that make the cluster what it was
  bool leave_empty = false;  // new brokers get no partitions: as MSK has it
  Json source_info;          // MutableClusterInfo, only what changes
  Json target_info;
  std::vector<std::int32_t> created_brokers;
  std::vector<std::int32_t> deleted_brokers;
  std::vector<std::int32_t> rebooted_brokers;
  // What it has changed on its way, as it was before: written before it is changed, gone with the operation's end.
  std::map<std::string, std::map<std::int32_t, std::vector<std::int32_t>>> replicas_before;  // by topic and partition
  Settings settings_before;

  bool over() const { return state == OperationState::complete || state == OperationState::failed; }
  // As the API says it: "UPDATE_IN_PROGRESS", "REBOOT_COMPLETE".
  std::string state_name() const;
  friend bool operator==(const Operation&, const Operation&) = default;
};

struct Revision {
  std::int64_t number = 0;
  milliseconds created{0};
  std::string description;
  std::string server_properties;  // the text as sent

  friend bool operator==(const Revision&, const Revision&) = default;
};

struct Configuration {
  std::string id;  // UUID-N
  std::string name;
  std::string arn;
  std::string description;
  milliseconds created{0};
  std::vector<std::string> kafka_versions;
  std::vector<Revision> revisions;  // 1, 2, ...; at most revisions_max

  const Revision* find(std::int64_t number) const;
  friend bool operator==(const Configuration&, const Configuration&) = default;
};
inline constexpr std::size_t configurations_max = 100;
inline constexpr std::size_t revisions_max = 50;
inline constexpr std::size_t server_properties_bytes_max = 16 * 1024;

struct VpcConnection {
  std::string id;
  std::string name;  // the cluster's
  std::string arn;
  std::string cluster_arn;
  std::string cluster_id;
  std::string authentication;
  std::string vpc_id;
  std::vector<std::string> subnets;
  std::vector<std::string> security_groups;
  std::string state = "AVAILABLE";
  milliseconds created{0};
  Tags tags;

  friend bool operator==(const VpcConnection&, const VpcConnection&) = default;
};

}  // namespace weir::msk
