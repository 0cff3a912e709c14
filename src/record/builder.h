// Building record batches of magic 2: what the coordinators write, what a recompressing leader writes, what clients
// and tests send.
//
//   Builder builder({.compression = Compression::lz4});
//   builder.append({.timestamp = now, .key = key, .value = value});
//   bytes::Shared batch = *builder.build();
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/id.h"
#include "record/batch.h"

namespace weir::record {

// What goes into a batch; the views are copied by append.
struct NewRecord {
  TimestampMs timestamp = no_timestamp;
  std::optional<Bytes> key;
  std::optional<Bytes> value;
  std::span<const Header> headers;
};

struct BatchOptions {
  Compression compression = Compression::none;
  int level = default_level;
  Offset base_offset{0};
  LeaderEpoch leader_epoch = no_leader_epoch;
  TimestampType timestamp_type = TimestampType::create_time;
  TimestampMs log_append_time = no_timestamp;  // the batch's max timestamp with log_append_time
  ProducerId producer_id = no_producer;
  ProducerEpoch producer_epoch = no_producer_epoch;
  std::int32_t base_sequence = no_sequence;
  bool transactional = false;
  bool control = false;
};

class Builder {
 public:
  explicit Builder(BatchOptions options = {}) : options_(options) {}

  // The record gets the next offset.
  void append(const NewRecord& record);
  // With an offset of its own, larger than those before it (compacted logs have gaps).
  void append_at(Offset offset, const NewRecord& record);
  // A record whose headers are encoded already, as an iterator gives it; its offset is kept when `keep_offset`.
  void append(const Record& record, bool keep_offset);

  std::int32_t count() const { return count_; }
  bool empty() const { return count_ == 0; }
  // Of the batch were it built uncompressed.
  std::size_t size() const { return header_size + body_.size(); }
  // What the record would add, at most.
  static std::size_t size_bound(const NewRecord& record);

  // The batch with its checksum. The builder is then empty and its base offset (and sequence) stand after what was
  // built. An error only from a codec.
  Result<bytes::Shared> build();

 private:
  void start(TimestampMs timestamp);
  void put_record(std::int32_t offset_delta, TimestampMs timestamp, const std::optional<Bytes>& key,
                  const std::optional<Bytes>& value, std::int32_t header_count, Bytes headers);

  BatchOptions options_;
  std::string body_;
  std::string headers_;  // scratch
  std::int32_t count_ = 0;
  std::int32_t last_delta_ = -1;
  TimestampMs base_timestamp_ = no_timestamp;
  TimestampMs max_timestamp_ = no_timestamp;
};

// One batch of these records. For tests and short internal appends.
bytes::Shared batch_of(std::span<const NewRecord> records, BatchOptions options = {});

}  // namespace weir::record
