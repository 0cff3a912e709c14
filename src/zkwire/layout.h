// Where Kafka keeps what in ZooKeeper, and the text it writes there: the contract between brokers of any version
// from 1.1 to 3.9, the old tools (`kafka-topics --zookeeper`) and Weir.
//
// Encoders give the very bytes that Apache Kafka 3.9 writes, key order included (measured; partitions of a topic
// are in ascending order here, in the order of a hash table there). Decoders read every version that Kafka from
// 1.1 on writes, ignore keys they do not know, and answer half-written or foreign content with an error that
// names the path. Pure: no I/O, no clock.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "base/units.h"
#include "base/uuid.h"

namespace weir::zkwire::layout {

// --- paths that do not vary -----------------------------------------------------------------------------------
inline constexpr std::string_view consumers_path = "/consumers";
inline constexpr std::string_view broker_ids_path = "/brokers/ids";
inline constexpr std::string_view broker_seqid_path = "/brokers/seqid";
inline constexpr std::string_view topics_path = "/brokers/topics";
inline constexpr std::string_view config_changes_path = "/config/changes";
inline constexpr std::string_view controller_path = "/controller";
inline constexpr std::string_view controller_epoch_path = "/controller_epoch";
inline constexpr std::string_view cluster_id_path = "/cluster/id";
inline constexpr std::string_view delete_topics_path = "/admin/delete_topics";
inline constexpr std::string_view reassign_partitions_path = "/admin/reassign_partitions";
inline constexpr std::string_view preferred_replica_election_path = "/admin/preferred_replica_election";
inline constexpr std::string_view isr_change_notification_path = "/isr_change_notification";
inline constexpr std::string_view log_dir_event_notification_path = "/log_dir_event_notification";
inline constexpr std::string_view producer_id_block_path = "/latest_producer_id_block";
inline constexpr std::string_view feature_path = "/feature";
inline constexpr std::string_view migration_path = "/migration";
inline constexpr std::string_view delegation_token_path = "/delegation_token";
inline constexpr std::string_view delegation_tokens_path = "/delegation_token/tokens";
inline constexpr std::string_view delegation_token_changes_path = "/delegation_token/token_changes";
inline constexpr std::string_view acl_path = "/kafka-acl";
inline constexpr std::string_view acl_changes_path = "/kafka-acl-changes";
inline constexpr std::string_view acl_prefixed_path = "/kafka-acl-extended/prefixed";
inline constexpr std::string_view acl_extended_changes_path = "/kafka-acl-extended-changes";

// Paths every broker makes sure of at its start, in Kafka's order.
const std::vector<std::string>& persistent_paths();
// Whether a secured cluster (zookeeper.set.acl) lets nobody but brokers read it: users, brokers' configs, tokens.
bool sensitive_path(std::string_view path);

// --- paths that vary ------------------------------------------------------------------------------------------
std::string path_of_broker(BrokerId broker);                                         // /brokers/ids/N
std::string path_of_topic(std::string_view topic);                                   // /brokers/topics/T
std::string path_of_partitions(std::string_view topic);                              // .../T/partitions
std::string path_of_partition(std::string_view topic, PartitionId partition);        // .../T/partitions/P
std::string path_of_partition_state(std::string_view topic, PartitionId partition);  // .../P/state
std::string path_of_deletion(std::string_view topic);                                // /admin/delete_topics/T
// `type` is one of the entity types below, `name` the sanitized name ("<default>", "alice/clients/app").
std::string path_of_config(std::string_view type, std::string_view name);  // /config/topics/T
std::string path_of_config_type(std::string_view type);                    // /config/topics
// To be created sequential.
std::string path_of_new_config_change();            // /config/changes/config_change_
std::string path_of_new_isr_change();               // .../isr_change_
std::string path_of_new_log_dir_event();            // .../log_dir_event_
std::string path_of_new_acl_change(bool extended);  // .../acl_changes_
std::string path_of_new_token_change();             // .../token_change_
std::string path_of_acl(bool prefixed, std::string_view resource_type, std::string_view name);  // /kafka-acl/Topic/t
std::string path_of_acl_type(bool prefixed, std::string_view resource_type);
std::string path_of_delegation_token(std::string_view token_id);
std::string path_of_consumer_offset(std::string_view group, std::string_view topic, PartitionId partition);

// The broker id in the name of a child of /brokers/ids; nothing for a foreign name.
std::optional<BrokerId> broker_of_child(std::string_view child);

// --- entity types under /config -------------------------------------------------------------------------------
inline constexpr std::string_view topics_type = "topics";
inline constexpr std::string_view clients_type = "clients";
inline constexpr std::string_view users_type = "users";
inline constexpr std::string_view brokers_type = "brokers";
inline constexpr std::string_view ips_type = "ips";
inline constexpr std::string_view default_entity = "<default>";

// Names of users, clients and ips as path elements: percent-encoded as Kafka's Sanitizer does it.
std::string sanitize(std::string_view name);
std::optional<std::string> desanitize(std::string_view sanitized);

// --- content ----------------------------------------------------------------------------------------------------
struct Endpoint {
  std::string listener;  // "PLAINTEXT", "REPLICATION"
  std::string protocol;  // "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"
  std::string host;      // may be empty: all interfaces (never advertised by a sane broker)
  std::int32_t port = 0;

  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};
struct FeatureRange {
  std::int16_t min = 0;
  std::int16_t max = 0;
  friend bool operator==(const FeatureRange&, const FeatureRange&) = default;
};

// /brokers/ids/N. `version` decides what is written: 2 endpoints, 3 rack, 4 listener_security_protocol_map (KIP-103),
// 5 features (KIP-584). 1 to 5 are read (1 has host and port only).
struct BrokerRegistration {
  std::int32_t version = 5;
  std::vector<Endpoint> endpoints;
  std::optional<std::string> rack;
  std::int32_t jmx_port = -1;
  TimestampMs timestamp = no_timestamp;
  std::map<std::string, FeatureRange> features;
  // Weir's own key "weir_life", which Kafka does not read: of a broker that registers again because its session ended,
  // the broker epoch it had first. Absent: it has just started. An older one lived on: it lost nothing.
  std::optional<BrokerEpoch> life;

  friend bool operator==(const BrokerRegistration&, const BrokerRegistration&) = default;
};

// KIP-455: `replicas` is the full set while a reassignment runs, with those that come and those that go.
struct ReplicaAssignment {
  std::vector<BrokerId> replicas;
  std::vector<BrokerId> adding;
  std::vector<BrokerId> removing;

  bool being_reassigned() const { return !adding.empty() || !removing.empty(); }
  friend bool operator==(const ReplicaAssignment&, const ReplicaAssignment&) = default;
};

// /brokers/topics/T. Written as version 3; 1 and 2 are read. No id: made by a tool older than 2.8.
struct TopicAssignment {
  std::optional<Uuid> id;
  std::map<PartitionId, ReplicaAssignment> partitions;

  friend bool operator==(const TopicAssignment&, const TopicAssignment&) = default;
};

// /brokers/topics/T/partitions/P/state.
struct PartitionState {
  BrokerId leader = no_broker;  // -1: none; -2 is only ever sent, while a topic is deleted
  LeaderEpoch leader_epoch{0};
  std::vector<BrokerId> isr;
  ControllerEpoch controller_epoch{0};
  std::int8_t leader_recovery_state = 0;  // 1: after an unclean election (KIP-704); written only when not 0

  friend bool operator==(const PartitionState&, const PartitionState&) = default;
};

// /controller. kraft_epoch is -1 (or absent, before 3.4) unless a KRaft controller holds it during a migration.
struct ControllerRegistration {
  BrokerId broker = no_broker;
  TimestampMs timestamp = no_timestamp;
  std::int32_t kraft_epoch = -1;

  friend bool operator==(const ControllerRegistration&, const ControllerRegistration&) = default;
};

using Config = std::map<std::string, std::string>;  // /config/TYPE/NAME

// /config/changes/config_change_NNNNNNNNNN: which entity changed. Written as version 2; 1 is read.
struct ConfigChange {
  std::string type;  // "topics"
  std::string name;  // sanitized; for users may be "alice/clients/app"

  friend bool operator==(const ConfigChange&, const ConfigChange&) = default;
};

struct TopicPartition {
  std::string topic;
  PartitionId partition;
  friend auto operator<=>(const TopicPartition&, const TopicPartition&) = default;
};

// /latest_producer_id_block: both ends included.
struct ProducerIdBlock {
  BrokerId broker = no_broker;
  std::int64_t first = 0;
  std::int64_t last = -1;
  friend bool operator==(const ProducerIdBlock&, const ProducerIdBlock&) = default;
};

// /feature (KIP-584). Version 1 holds a range a feature, 2 (from 3.3 on) one level.
struct Features {
  std::int32_t version = 2;
  bool enabled = true;
  std::map<std::string, std::int16_t> levels;
  friend bool operator==(const Features&, const Features&) = default;
};

struct AclEntry {
  std::string principal;   // "User:alice"
  std::string permission;  // "Allow", "Deny"
  std::string operation;   // "Read", "All", ...
  std::string host;        // "*"
  friend bool operator==(const AclEntry&, const AclEntry&) = default;
};

// An entry below /kafka-acl-changes ("Topic:name") or /kafka-acl-extended-changes (JSON).
struct AclChange {
  bool prefixed = false;
  std::string resource_type;  // "Topic" in the one, "TOPIC" in the other; as written
  std::string name;
  friend bool operator==(const AclChange&, const AclChange&) = default;
};

// Of ".../topics/T/partitions/P/state"; nothing for another path.
std::optional<TopicPartition> partition_of_state_path(std::string_view path);

// Each decoder takes the path it read, for its error. What comes back is checked for type and range, not for sense.
std::string encode(const BrokerRegistration& registration);
std::string encode(const TopicAssignment& assignment);
std::string encode(const PartitionState& state);
std::string encode(const ControllerRegistration& controller);
std::string encode_controller_epoch(ControllerEpoch epoch);
std::string encode_cluster_id(std::string_view id);
std::string encode_config(const Config& config);
std::string encode(const ConfigChange& change);
std::string encode_partition_set(const std::vector<TopicPartition>& partitions);  // isr change, preferred election
std::string encode_reassignment(const std::map<TopicPartition, std::vector<BrokerId>>& target);
std::string encode_log_dir_event(BrokerId broker);
std::string encode(const ProducerIdBlock& block);
std::string encode(const Features& features);
std::string encode_acl(const std::vector<AclEntry>& entries);
std::string encode(const AclChange& change);

Result<BrokerRegistration> decode_broker(std::string_view path, std::string_view data);
Result<TopicAssignment> decode_topic(std::string_view path, std::string_view data);
Result<PartitionState> decode_partition_state(std::string_view path, std::string_view data);
Result<ControllerRegistration> decode_controller(std::string_view path, std::string_view data);
Result<ControllerEpoch> decode_controller_epoch(std::string_view path, std::string_view data);
Result<std::string> decode_cluster_id(std::string_view path, std::string_view data);
Result<Config> decode_config(std::string_view path, std::string_view data);  // no content: an empty config
Result<ConfigChange> decode_config_change(std::string_view path, std::string_view data);
Result<std::vector<TopicPartition>> decode_partition_set(std::string_view path, std::string_view data);
Result<std::map<TopicPartition, std::vector<BrokerId>>> decode_reassignment(std::string_view path,
                                                                            std::string_view data);
Result<BrokerId> decode_log_dir_event(std::string_view path, std::string_view data);
Result<ProducerIdBlock> decode_producer_id_block(std::string_view path, std::string_view data);
Result<Features> decode_features(std::string_view path, std::string_view data);
Result<std::vector<AclEntry>> decode_acl(std::string_view path, std::string_view data);
Result<AclChange> decode_acl_change(std::string_view path, std::string_view data);

}  // namespace weir::zkwire::layout
