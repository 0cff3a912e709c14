#include "config/topic_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "config/key.h"
#include "config/synonyms.h"

namespace weir::config {

namespace {

constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();

// The value in force of each topic key.
struct ReadTopic {
  const BrokerConfig& broker;
  const Properties& overrides;

  std::string text(std::string_view name) const {
    const Key* key = topic_keys().find(name);
    if (auto it = overrides.find(name); it != overrides.end() && !complaint(*key, it->second)) return it->second;
    return topic_default(*key, broker.values).value_or(std::string());
  }
  template <class T>
  void get(std::string_view name, T& out) const {
    std::string v = text(name);
    if constexpr (std::is_same_v<T, bool>) {
      out = parse_bool(v).value_or(out);
    } else if constexpr (std::is_same_v<T, double>) {
      out = parse_double(v).value_or(out);
    } else if constexpr (std::is_same_v<T, std::string>) {
      out = std::move(v);
    } else {
      if (auto i = parse_int(v)) out = static_cast<T>(*i);
    }
  }
};

CompressionType compression_of(std::string_view text) {
  for (auto type : {CompressionType::uncompressed, CompressionType::gzip, CompressionType::snappy, CompressionType::lz4,
                    CompressionType::zstd}) {
    if (text == name(type)) return type;
  }
  return CompressionType::producer;
}

}  // namespace

TopicConfig resolve_topic_config(const BrokerConfig& broker, const Properties& overrides) {
  TopicConfig c;
  ReadTopic r{broker, overrides};
  r.get("segment.bytes", c.segment_bytes);
  r.get("segment.ms", c.segment_ms);
  r.get("segment.jitter.ms", c.segment_jitter_ms);
  r.get("segment.index.bytes", c.segment_index_bytes);
  r.get("index.interval.bytes", c.index_interval_bytes);
  r.get("preallocate", c.preallocate);
  r.get("flush.messages", c.flush_messages);
  r.get("flush.ms", c.flush_ms);
  auto policy = parse_list(r.text("cleanup.policy"));
  c.cleanup_delete = std::ranges::find(policy, "delete") != policy.end();
  c.cleanup_compact = std::ranges::find(policy, "compact") != policy.end();
  r.get("retention.bytes", c.retention_bytes);
  r.get("retention.ms", c.retention_ms);
  r.get("file.delete.delay.ms", c.file_delete_delay_ms);
  r.get("delete.retention.ms", c.delete_retention_ms);
  r.get("min.compaction.lag.ms", c.min_compaction_lag_ms);
  r.get("max.compaction.lag.ms", c.max_compaction_lag_ms);
  r.get("min.cleanable.dirty.ratio", c.min_cleanable_dirty_ratio);
  r.get("max.message.bytes", c.max_message_bytes);
  c.compression_type = compression_of(r.text("compression.type"));
  r.get("compression.gzip.level", c.compression_gzip_level);
  r.get("compression.lz4.level", c.compression_lz4_level);
  r.get("compression.zstd.level", c.compression_zstd_level);
  c.timestamp_type =
      r.text("message.timestamp.type") == "LogAppendTime" ? TimestampType::log_append_time : TimestampType::create_time;
  // The older key counts where the newer ones say nothing (KIP-937).
  std::int64_t difference = never;
  r.get("message.timestamp.difference.max.ms", difference);
  r.get("message.timestamp.before.max.ms", c.timestamp_before_max_ms);
  r.get("message.timestamp.after.max.ms", c.timestamp_after_max_ms);
  if (c.timestamp_before_max_ms == never) c.timestamp_before_max_ms = difference;
  if (c.timestamp_after_max_ms == never) c.timestamp_after_max_ms = difference;
  if (auto v = parse_kafka_version(r.text("message.format.version"))) c.message_format = *v;
  r.get("message.downconversion.enable", c.message_downconversion_enable);
  r.get("min.insync.replicas", c.min_insync_replicas);
  r.get("unclean.leader.election.enable", c.unclean_leader_election_enable);
  r.get("leader.replication.throttled.replicas", c.leader_replication_throttled_replicas);
  r.get("follower.replication.throttled.replicas", c.follower_replication_throttled_replicas);
  r.get("remote.storage.enable", c.remote_storage_enable);
  r.get("local.retention.ms", c.local_retention_ms);
  r.get("local.retention.bytes", c.local_retention_bytes);
  return c;
}

Result<> validate_topic_config(const Properties& overrides) {
  for (const auto& [name, value] : overrides) {
    const Key* key = topic_keys().find(name);
    if (key == nullptr) {
      return fail(ErrorCode::INVALID_CONFIG,
                  fmt::format("{}: topics have no configuration of this name", name.substr(0, 200)));
    }
    if (auto wrong = complaint(*key, value)) return fail(ErrorCode::INVALID_CONFIG, std::move(*wrong));
  }
  TopicConfig c = resolve_topic_config(BrokerConfig{}, overrides);
  if (c.min_compaction_lag_ms > c.max_compaction_lag_ms) {
    return fail(ErrorCode::INVALID_CONFIG,
                fmt::format("min.compaction.lag.ms={}: must be at most max.compaction.lag.ms ({})",
                            c.min_compaction_lag_ms, c.max_compaction_lag_ms));
  }
  if (c.remote_storage_enable) {
    return fail(ErrorCode::INVALID_CONFIG,
                "remote.storage.enable=true: must be false: this cluster has no tiered storage");
  }
  return {};
}

}  // namespace weir::config
