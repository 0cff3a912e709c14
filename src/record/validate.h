// What a leader checks before it takes records, and the assignment of offsets, as Kafka 3.9 does it for topics of
// message format 2.
//
// Records of a client arrive as one batch of magic 2 in a buffer that the caller owns alone. When nothing has to be
// rewritten they are patched in place (base offset, leader epoch; with LogAppendTime also max timestamp, attribute
// and checksum); else they are rebuilt (other codec asked by the topic, old message formats).
#pragma once

#include <cstdint>
#include <expected>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "record/batch.h"

namespace weir::record {

// Who appends. Clients are trusted with nothing; the coordinators write control records; replication copies what a
// leader has checked.
enum class Origin : std::uint8_t { client, coordinator, replication };

struct ValidateOptions {
  Offset first_offset{0};  // the log's end: the first record gets it
  LeaderEpoch leader_epoch = no_leader_epoch;
  TimestampMs now = 0;
  Origin origin = Origin::client;
  TimestampType timestamp_type = TimestampType::create_time;                        // message.timestamp.type
  std::int64_t timestamp_before_max_ms = std::numeric_limits<std::int64_t>::max();  // message.timestamp.before.max.ms
  std::int64_t timestamp_after_max_ms = std::numeric_limits<std::int64_t>::max();   // message.timestamp.after.max.ms
  bool compacted = false;                                 // cleanup.policy has compact: keys are needed
  std::optional<Compression> compression = std::nullopt;  // compression.type; nothing is "producer"
  int compression_level = default_level;
  std::int32_t batch_bytes_max = 1'048'588;  // max.message.bytes
  // What a compressed batch may unpack to. Kafka has no such bound; without it a small batch buys minutes of CPU.
  std::uint64_t unpacked_bytes_max = 2 * GiB;
};

// A record that was refused, by its index in the batch (Produce v8 carries them, KIP-467).
struct RecordError {
  std::int32_t index = 0;
  std::string message;
};
struct Rejection {
  Error error;
  std::vector<RecordError> records;  // the first `record_errors_max` at most
};
inline constexpr std::size_t record_errors_max = 100;

struct Validated {
  bytes::Shared records;  // whole batches, offsets assigned
  Offset first_offset;
  Offset last_offset;
  TimestampMs max_timestamp = no_timestamp;
  std::int32_t count = 0;  // of records
  bool rewritten = false;  // not the bytes that came in
};

// CORRUPT_MESSAGE, INVALID_RECORD, INVALID_TIMESTAMP, MESSAGE_TOO_LARGE, UNSUPPORTED_COMPRESSION_TYPE,
// UNSUPPORTED_FOR_MESSAGE_FORMAT.
std::expected<Validated, Rejection> validate(bytes::Shared records, const ValidateOptions& options);

// What a produce request may hold by its own version, before the log sees it: from v3 exactly one batch of magic 2,
// before v7 no zstd. INVALID_RECORD, UNSUPPORTED_COMPRESSION_TYPE.
Result<> check_produce(Bytes records, std::int16_t request_version);

// Whole batches with offsets from a leader: frames, magic, checksum, offsets that go up. What is cut off at the end
// is left out of the result (a fetch may end anywhere).
struct Checked {
  bytes::Shared records;
  Offset first_offset;
  Offset last_offset;
  TimestampMs max_timestamp = no_timestamp;
};
// Nothing when there is no whole batch. CORRUPT_MESSAGE; UNSUPPORTED_FOR_MESSAGE_FORMAT for magic 0 and 1.
Result<std::optional<Checked>> check_replicated(bytes::Shared records);

}  // namespace weir::record
