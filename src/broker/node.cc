#include "broker/node.h"

#include <algorithm>
#include <utility>

namespace weir::broker {

config::TopicConfig Node::topic_config(const cluster::Image& image, std::string_view topic) const {
  const auto& overrides = image.config({cluster::ConfigType::topic, std::string(topic)});
  return config::resolve_topic_config(config()->config, config::Properties(overrides.begin(), overrides.end()));
}

nanoseconds Node::since_lost() const { return clock->mono() - nanoseconds(lost_at_.load(std::memory_order_acquire)); }

nanoseconds Node::since_gone() const {
  auto since = nanoseconds::max();
  for (const auto& each : *gone()) since = std::min(since, clock->mono() - each.at);
  return since;
}

runtime::Task<void> Node::news_of_lost(Led led, bool connected_for_long) {
  const auto quiet = [this] { return since_lost() >= lost_wait_max && since_gone() >= gone_wait_max; };
  if (quiet()) {
    if (!connected_for_long) co_return;
    co_await runtime::sleep(*runtime::Shard::current(), suspicion_wait_max);
    if (quiet()) co_return;
  }
  const BrokerId lost{lost_.load(std::memory_order_relaxed)};
  if (const auto since = since_lost(); since < lost_wait_max && image()->alive(lost)) {
    auto gone = [lost](const cluster::Image& now) { return !now.alive(lost); };
    if (!co_await images->wait_until(std::move(gone), lost_wait_max - since)) co_return;
  }
  // The image is there before set_gone() says since when: it may have changed this very moment.
  const auto since = since_gone();
  const auto left = since < gone_wait_max          ? gone_wait_max - since
                    : since_lost() < lost_wait_max ? gone_wait_max
                                                   : nanoseconds(0);
  if (left > nanoseconds(0)) co_await images->wait_until(std::move(led), left);
}

replica::Settings settings_of(const config::TopicConfig& topic, const config::BrokerConfig& broker, BrokerId self) {
  replica::Settings settings;
  auto& log = settings.log;
  log.segment_bytes = topic.segment_bytes;
  log.segment_ms = topic.segment_ms;
  log.segment_jitter_ms = topic.segment_jitter_ms;
  log.segment_index_bytes = topic.segment_index_bytes;
  log.index_interval_bytes = topic.index_interval_bytes;
  log.retention_bytes = topic.retention_bytes;
  log.retention_ms = topic.retention_ms;
  log.cleanup_delete = topic.cleanup_delete;
  log.cleanup_compact = topic.cleanup_compact;
  log.flush_messages = topic.flush_messages;
  log.flush_ms = topic.flush_ms;
  log.max_message_bytes = topic.max_message_bytes;
  log.timestamp_type = topic.timestamp_type == config::TimestampType::log_append_time
                           ? record::TimestampType::log_append_time
                           : record::TimestampType::create_time;
  log.timestamp_before_max_ms = topic.timestamp_before_max_ms;
  log.timestamp_after_max_ms = topic.timestamp_after_max_ms;
  switch (topic.compression_type) {
    case config::CompressionType::producer: log.compression.reset(); break;
    case config::CompressionType::uncompressed: log.compression = record::Compression::none; break;
    case config::CompressionType::gzip:
      log.compression = record::Compression::gzip;
      log.compression_level = topic.compression_gzip_level;
      break;
    case config::CompressionType::snappy: log.compression = record::Compression::snappy; break;
    case config::CompressionType::lz4:
      log.compression = record::Compression::lz4;
      log.compression_level = topic.compression_lz4_level;
      break;
    case config::CompressionType::zstd:
      log.compression = record::Compression::zstd;
      log.compression_level = topic.compression_zstd_level;
      break;
  }
  log.file_delete_delay_ms = topic.file_delete_delay_ms;
  log.producer_expiration_ms = broker.producer_id_expiration_ms;
  settings.min_insync_replicas = topic.min_insync_replicas;
  const auto throttled = [self](std::string_view list) {
    return replica::parse_throttled_replicas(list, self).value_or(replica::ThrottledReplicas{});
  };
  settings.leader_throttled = throttled(topic.leader_replication_throttled_replicas);
  settings.follower_throttled = throttled(topic.follower_replication_throttled_replicas);
  return settings;
}

}  // namespace weir::broker
