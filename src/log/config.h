// What a topic's configuration says about its log. The keys of Kafka that each field answers to stand beside it.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

#include "base/units.h"
#include "record/batch.h"
#include "record/compression.h"

namespace weir::log {

struct LogConfig {
  std::int32_t segment_bytes = 1 << 30;                                             // segment.bytes
  std::int64_t segment_ms = 7LL * 24 * 3600 * 1000;                                 // segment.ms
  std::int64_t segment_jitter_ms = 0;                                               // segment.jitter.ms
  std::int32_t segment_index_bytes = 10 << 20;                                      // segment.index.bytes
  std::int32_t index_interval_bytes = 4096;                                         // index.interval.bytes
  std::int64_t retention_bytes = -1;                                                // retention.bytes; -1: no limit
  std::int64_t retention_ms = 7LL * 24 * 3600 * 1000;                               // retention.ms; -1: no limit
  bool cleanup_delete = true;                                                       // cleanup.policy has delete
  bool cleanup_compact = false;                                                     // cleanup.policy has compact
  std::int64_t flush_messages = std::numeric_limits<std::int64_t>::max();           // flush.messages
  std::int64_t flush_ms = std::numeric_limits<std::int64_t>::max();                 // flush.ms
  std::int32_t max_message_bytes = 1'048'588;                                       // max.message.bytes
  record::TimestampType timestamp_type = record::TimestampType::create_time;        // message.timestamp.type
  std::int64_t timestamp_before_max_ms = std::numeric_limits<std::int64_t>::max();  // message.timestamp.before.max.ms
  std::int64_t timestamp_after_max_ms = std::numeric_limits<std::int64_t>::max();   // message.timestamp.after.max.ms
  std::optional<record::Compression> compression;    // compression.type; nothing is "producer"
  int compression_level = record::default_level;     // compression.<codec>.level
  std::int64_t file_delete_delay_ms = 60'000;        // file.delete.delay.ms
  std::int64_t producer_expiration_ms = 86'400'000;  // producer.id.expiration.ms
};

}  // namespace weir::log
