// What a topic's configuration comes to: its own overrides over the broker's values over Kafka's defaults.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "config/broker_config.h"
#include "config/properties.h"

namespace weir::config {

// Times in milliseconds, sizes in bytes. Defaults are Kafka 3.9's, so that a test can start from TopicConfig{}.
struct TopicConfig {
  // Segments.
  std::int32_t segment_bytes = 1073741824;
  std::int64_t segment_ms = 604800000;
  std::int64_t segment_jitter_ms = 0;
  std::int32_t segment_index_bytes = 10485760;
  std::int32_t index_interval_bytes = 4096;
  bool preallocate = false;

  // Flushing to disk before a time or count; the maximum of the type means never.
  std::int64_t flush_messages = 9223372036854775807;
  std::int64_t flush_ms = 9223372036854775807;

  // Retention; -1: no limit.
  bool cleanup_delete = true;
  bool cleanup_compact = false;
  std::int64_t retention_bytes = -1;
  std::int64_t retention_ms = 604800000;
  std::int64_t file_delete_delay_ms = 60000;

  // Compaction.
  std::int64_t delete_retention_ms = 86400000;
  std::int64_t min_compaction_lag_ms = 0;
  std::int64_t max_compaction_lag_ms = 9223372036854775807;
  double min_cleanable_dirty_ratio = 0.5;

  // Records.
  std::int32_t max_message_bytes = 1048588;
  CompressionType compression_type = CompressionType::producer;
  std::int32_t compression_gzip_level = -1;
  std::int32_t compression_lz4_level = 9;
  std::int32_t compression_zstd_level = 3;
  TimestampType timestamp_type = TimestampType::create_time;
  std::int64_t timestamp_before_max_ms = 9223372036854775807;
  std::int64_t timestamp_after_max_ms = 9223372036854775807;
  KafkaVersion message_format{3, 0};
  bool message_downconversion_enable = true;

  // Replication.
  std::int32_t min_insync_replicas = 1;
  bool unclean_leader_election_enable = false;
  std::string leader_replication_throttled_replicas;  // "", "*" or "PARTITION:BROKER,..."
  std::string follower_replication_throttled_replicas;

  // Tiered storage (KIP-405): known, without effect.
  bool remote_storage_enable = false;
  std::int64_t local_retention_ms = -2;
  std::int64_t local_retention_bytes = -2;

  friend bool operator==(const TopicConfig&, const TopicConfig&) = default;
};

// Overrides that cannot be read (an operator may write anything to the znode) leave the broker's value in place.
TopicConfig resolve_topic_config(const BrokerConfig& broker, const Properties& overrides);

// What the broker gives a topic without overrides.
inline TopicConfig default_topic_config(const BrokerConfig& broker) { return resolve_topic_config(broker, {}); }

// Whether a topic may have these overrides (CreateTopics, AlterConfigs): every key known, every value in range, and
// together sensible. INVALID_CONFIG with a text that names key, value and range.
Result<> validate_topic_config(const Properties& overrides);

}  // namespace weir::config
