// What a broker makes of its configuration: typed values, fallbacks and listeners resolved.
//
// A BrokerConfig is an immutable snapshot. When a dynamic configuration changes (znodes /config/brokers/N and
// /config/brokers/<default>, KIP-226), load_broker_config is called again with the new layers and the new snapshot
// replaces the old; fields whose key is read-only keep what the file said.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "config/properties.h"

namespace weir::config {

enum class SecurityProtocol : std::uint8_t { plaintext, ssl, sasl_plaintext, sasl_ssl };
std::string_view name(SecurityProtocol protocol);  // "SASL_SSL"

// One listener or advertised listener. An IPv6 host stands without brackets.
struct Endpoint {
  std::string listener;  // its name: "PLAINTEXT", "CLIENT_SECURE"
  SecurityProtocol protocol = SecurityProtocol::plaintext;
  std::string host;  // as bind address: empty means all interfaces
  std::uint16_t port = 0;

  std::string text() const;  // "PLAINTEXT://host:9092", "PLAINTEXT://[::1]:9092"
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// "host:port" or "[v6]:port"; nothing for another form.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
  friend bool operator==(const HostPort&, const HostPort&) = default;
};
std::optional<HostPort> parse_host_port(std::string_view text);

// A version of Apache Kafka: "3.9", "2.2-IV1", "3.8.1" (the bug-fix number is dropped).
struct KafkaVersion {
  int major = 3;
  int minor = 9;
  friend constexpr auto operator<=>(KafkaVersion, KafkaVersion) = default;
  std::string text() const;  // "3.9"
};
std::optional<KafkaVersion> parse_kafka_version(std::string_view text);

enum class CompressionType : std::uint8_t { producer, uncompressed, gzip, snappy, lz4, zstd };
std::string_view name(CompressionType type);
enum class TimestampType : std::uint8_t { create_time, log_append_time };

// The layers a broker's configuration is made of, strongest first in this list.
struct BrokerLayers {
  Properties dynamic_broker;   // /config/brokers/ID
  Properties dynamic_default;  // /config/brokers/<default>
  Properties file;             // server.properties with --override on top
};

// The rules by which a consumer is sent to a replica that Kafka brings (replica.selector.class, KIP-392).
inline constexpr std::string_view rack_aware_selector = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
inline constexpr std::string_view leader_selector = "org.apache.kafka.common.replica.LeaderSelector";

// Times in milliseconds, sizes in bytes, as the keys' names say. Defaults are Kafka 3.9's.
struct BrokerConfig {
  // Who and where.
  BrokerId broker_id{-1};  // -1: to be generated (broker_id_generation) or read from meta.properties
  bool broker_id_generation = true;
  std::int32_t reserved_broker_max_id = 1000;
  std::string rack;  // empty: none
  std::vector<Endpoint> listeners;
  std::vector<Endpoint> advertised;   // host empty or port 0: to be filled in with this machine's name, the bound port
  std::string inter_broker_listener;  // a name among the listeners
  KafkaVersion inter_broker_protocol{};  // inter.broker.protocol.version: the compatibility level
  std::vector<std::string> log_dirs;

  // ZooKeeper.
  std::string zookeeper_connect;
  std::int32_t zookeeper_session_timeout_ms = 18000;
  std::int32_t zookeeper_connection_timeout_ms = 18000;
  std::int32_t zookeeper_max_in_flight_requests = 10;
  bool zookeeper_set_acl = false;
  bool zookeeper_ssl_client_enable = false;
  std::string zookeeper_ssl_keystore_location;
  std::string zookeeper_ssl_keystore_password;
  std::string zookeeper_ssl_keystore_type;
  std::string zookeeper_ssl_truststore_location;
  std::string zookeeper_ssl_truststore_password;
  std::string zookeeper_ssl_truststore_type;
  std::vector<std::string> zookeeper_ssl_protocols;  // enabled.protocols, or protocol
  std::vector<std::string> zookeeper_ssl_cipher_suites;
  bool zookeeper_ssl_verify_hostname = true;  // endpoint.identification.algorithm
  std::string weir_zookeeper_jaas_config;
  std::string weir_zookeeper_sasl_username;
  std::string weir_zookeeper_sasl_password;

  // Connections and requests.
  std::int32_t num_network_threads = 3;
  std::int32_t num_io_threads = 8;
  // -1: the system's, which grow with the connection. So also where the keys are not set, although Kafka's default is a
  // fixed 100 KiB (64 KiB for followers): a buffer of fixed size costs a fifth more CPU a byte, and is small for far
  // peers.
  std::int32_t socket_send_buffer_bytes = -1;
  std::int32_t socket_receive_buffer_bytes = -1;
  std::int32_t socket_request_max_bytes = 104857600;
  // Not Kafka's 50: when a broker has gone its thousand clients come at once, and whoever finds the queue full is sent
  // away for a second (the first retransmission of its SYN).
  std::int32_t socket_listen_backlog_size = 4096;
  std::int32_t max_connections = 2147483647;
  std::int32_t max_connections_per_ip = 2147483647;
  std::map<std::string, std::int32_t> max_connections_per_ip_overrides;
  std::int32_t max_connection_creation_rate = 2147483647;
  std::map<std::string, std::int32_t> listener_max_connections;  // listener.name.X.max.connections, by X in lower case
  std::map<std::string, std::int32_t> listener_max_connection_creation_rate;
  std::int64_t connections_max_idle_ms = 600000;
  std::int64_t queued_max_request_bytes = -1;  // -1: no limit
  std::int32_t queued_max_requests = 500;
  std::int32_t request_timeout_ms = 30000;

  // Topics.
  std::int32_t num_partitions = 1;
  std::int32_t default_replication_factor = 1;
  std::int32_t min_insync_replicas = 1;
  bool auto_create_topics = true;
  bool delete_topic_enable = true;
  std::int32_t max_request_partition_size_limit = 2000;
  std::int32_t message_max_bytes = 1048588;

  // Replication.
  std::int64_t replica_lag_time_max_ms = 30000;
  std::int32_t replica_fetch_max_bytes = 1048576;
  std::int32_t replica_fetch_response_max_bytes = 10485760;
  std::int32_t replica_fetch_min_bytes = 1;
  std::int32_t replica_fetch_wait_max_ms = 500;
  std::int32_t replica_fetch_backoff_ms = 1000;
  std::int32_t replica_socket_timeout_ms = 30000;
  std::int32_t replica_socket_receive_buffer_bytes = -1;  // as above
  std::int64_t replica_high_watermark_checkpoint_interval_ms = 5000;
  bool rack_aware_reads = false;  // replica.selector.class names Kafka's RackAwareReplicaSelector
  std::int32_t num_replica_fetchers = 1;
  std::int64_t leader_replication_throttled_rate = 9223372036854775807;
  std::int64_t follower_replication_throttled_rate = 9223372036854775807;
  std::int32_t replication_quota_window_num = 11;
  std::int32_t replication_quota_window_size_seconds = 1;
  bool auto_leader_rebalance_enable = true;
  std::int64_t leader_imbalance_check_interval_seconds = 300;
  std::int32_t leader_imbalance_per_broker_percentage = 10;
  bool unclean_leader_election_enable = false;
  std::int32_t controller_socket_timeout_ms = 30000;
  bool controlled_shutdown_enable = true;
  std::int32_t controlled_shutdown_max_retries = 3;
  std::int64_t controlled_shutdown_retry_backoff_ms = 5000;

  // Fetch.
  std::int32_t fetch_max_bytes = 57671680;
  std::int32_t max_incremental_fetch_session_cache_slots = 1000;
  std::int32_t fetch_purgatory_purge_interval_requests = 1000;
  std::int32_t producer_purgatory_purge_interval_requests = 1000;

  // Log: the defaults of topics (TopicConfig) are in `values`; these are the broker's own.
  std::int32_t num_recovery_threads_per_data_dir = 1;
  std::int64_t log_flush_scheduler_interval_ms = 9223372036854775807;
  std::int32_t log_flush_offset_checkpoint_interval_ms = 60000;
  std::int32_t log_flush_start_offset_checkpoint_interval_ms = 60000;
  std::int64_t log_retention_check_interval_ms = 300000;
  std::int64_t log_initial_task_delay_ms = 30000;
  std::int64_t log_dir_failure_timeout_ms = 30000;
  bool log_cleaner_enable = true;
  std::int32_t log_cleaner_threads = 1;
  std::int64_t log_cleaner_dedupe_buffer_size = 134217728;
  double log_cleaner_dedupe_buffer_load_factor = 0.9;
  std::int32_t log_cleaner_io_buffer_size = 524288;
  double log_cleaner_io_max_bytes_per_second = 1.7976931348623157e308;
  std::int64_t log_cleaner_backoff_ms = 15000;

  // Producers and transactions.
  std::int32_t producer_id_expiration_ms = 86400000;
  std::int32_t producer_id_expiration_check_interval_ms = 600000;
  std::int32_t transactional_id_expiration_ms = 604800000;
  std::int32_t transaction_max_timeout_ms = 900000;
  std::int16_t transaction_state_log_replication_factor = 3;
  std::int32_t transaction_state_log_num_partitions = 50;
  std::int32_t transaction_state_log_segment_bytes = 104857600;
  std::int32_t transaction_state_log_min_isr = 2;
  std::int32_t transaction_state_log_load_buffer_size = 5242880;
  std::int32_t transaction_abort_timed_out_transaction_cleanup_interval_ms = 10000;
  std::int32_t transaction_remove_expired_transaction_cleanup_interval_ms = 3600000;
  bool transaction_partition_verification_enable = true;

  // Groups and their offsets.
  std::int32_t group_min_session_timeout_ms = 6000;
  std::int32_t group_max_session_timeout_ms = 1800000;
  std::int32_t group_initial_rebalance_delay_ms = 3000;
  std::int32_t group_max_size = 2147483647;
  std::int32_t offset_metadata_max_bytes = 4096;
  std::int32_t offsets_load_buffer_size = 5242880;
  std::int16_t offsets_topic_replication_factor = 3;
  std::int32_t offsets_topic_num_partitions = 50;
  std::int32_t offsets_topic_segment_bytes = 104857600;
  std::int32_t offsets_topic_compression_codec = 0;
  std::int32_t offsets_retention_minutes = 10080;
  std::int64_t offsets_retention_check_interval_ms = 600000;
  std::int32_t offsets_commit_timeout_ms = 5000;
  std::int16_t offsets_commit_required_acks = -1;

  // Weir's own.
  std::int32_t weir_shards = 0;        // 0: one for each core
  std::int32_t weir_pool_threads = 0;  // 0: chosen from the cores
  std::optional<HostPort> weir_metrics_listener;
  std::int32_t weir_log_open_files_max = 1000;
  bool weir_flush_at_min_isr = true;
  std::int64_t weir_storage_quota_bytes = 0;  // 0: none

  // All values in force by key: the layers merged, without defaults. Names with listener prefixes stay.
  Properties values;

  // The raw value in force for a broker key, or its default; empty when both are absent.
  std::string value(std::string_view key) const;
};

struct LoadedBrokerConfig {
  BrokerConfig config;
  std::vector<std::string> warnings;  // sentences: unknown keys, deprecated ones, dynamic values that were ignored
  std::vector<std::string> accepted;  // keys that were set and have no effect in Weir
};

// The errors are sentences, all that were found: "num.partitions=0: must be at least 1". A bad value in a dynamic
// layer is a warning and the layer below counts (one broker must not stop over what an operator wrote at run time).
std::expected<LoadedBrokerConfig, std::vector<std::string>> load_broker_config(const BrokerLayers& layers);

}  // namespace weir::config
