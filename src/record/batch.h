// Record batches of magic 2 (KIP-98) as views of bytes: the header, the batches of a buffer, the records of a batch.
//
// A batch is a header of 61 bytes and its records. Offsets, leader epoch and length stand before the checksum, so a
// leader assigns offsets in place without computing it again. docs/formats/record.md has the layout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "base/units.h"
#include "bytes/cursor.h"
#include "bytes/shared.h"
#include "record/compression.h"

namespace weir::record {

using bytes::Bytes;
using bytes::MutableBytes;

// Positions in a batch. The first 17 bytes have one meaning in all magics.
inline constexpr std::size_t base_offset_at = 0;
inline constexpr std::size_t length_at = 8;  // of what follows this field
inline constexpr std::size_t leader_epoch_at = 12;
inline constexpr std::size_t magic_at = 16;
inline constexpr std::size_t crc_at = 17;
inline constexpr std::size_t attributes_at = 21;  // the checksum covers from here to the end
inline constexpr std::size_t last_offset_delta_at = 23;
inline constexpr std::size_t base_timestamp_at = 27;
inline constexpr std::size_t max_timestamp_at = 35;
inline constexpr std::size_t producer_id_at = 43;
inline constexpr std::size_t producer_epoch_at = 51;
inline constexpr std::size_t base_sequence_at = 53;
inline constexpr std::size_t count_at = 57;
inline constexpr std::size_t header_size = 61;
inline constexpr std::size_t log_overhead = 12;     // base offset and length
inline constexpr std::size_t header_to_magic = 17;  // what is needed to know the magic
inline constexpr std::int32_t length_min_any = 14;  // of the smallest message of any magic (v0, no key, no value)
inline constexpr std::int32_t no_sequence = -1;

enum class TimestampType : std::uint8_t { create_time = 0, log_append_time = 1 };

// Attribute bits.
inline constexpr std::int16_t compression_mask = 0x07;
inline constexpr std::int16_t timestamp_type_bit = 0x08;
inline constexpr std::int16_t transactional_bit = 0x10;
inline constexpr std::int16_t control_bit = 0x20;
inline constexpr std::int16_t delete_horizon_bit = 0x40;  // KIP-534: base timestamp is the delete horizon

// A sequence number `steps` after `from`; they wrap to 0 after 2^31 - 1.
std::int32_t sequence_after(std::int32_t from, std::int32_t steps);

// Reads the header of one batch of magic 2. The bytes hold at least header_size bytes; of the records they may hold
// any part (a log scans headers only), so `payload` is for whole batches.
class BatchView {
 public:
  BatchView() = default;
  explicit BatchView(Bytes batch) : at_(batch.data()), held_(batch.size()) {}

  Offset base_offset() const { return Offset{load<std::int64_t>(base_offset_at)}; }
  Offset last_offset() const { return base_offset() + last_offset_delta(); }
  Offset next_offset() const { return last_offset() + 1; }
  std::int32_t length() const { return load<std::int32_t>(length_at); }
  // The batch as a whole, in bytes.
  std::size_t size() const { return log_overhead + static_cast<std::size_t>(length()); }
  LeaderEpoch leader_epoch() const { return LeaderEpoch{load<std::int32_t>(leader_epoch_at)}; }
  std::int8_t magic() const { return load<std::int8_t>(magic_at); }
  std::uint32_t crc() const { return load<std::uint32_t>(crc_at); }
  std::int16_t attributes() const { return load<std::int16_t>(attributes_at); }
  std::int32_t last_offset_delta() const { return load<std::int32_t>(last_offset_delta_at); }
  TimestampMs base_timestamp() const { return load<std::int64_t>(base_timestamp_at); }
  TimestampMs max_timestamp() const { return load<std::int64_t>(max_timestamp_at); }
  ProducerId producer_id() const { return ProducerId{load<std::int64_t>(producer_id_at)}; }
  ProducerEpoch producer_epoch() const { return ProducerEpoch{load<std::int16_t>(producer_epoch_at)}; }
  std::int32_t base_sequence() const { return load<std::int32_t>(base_sequence_at); }
  std::int32_t last_sequence() const {
    return base_sequence() == no_sequence ? no_sequence : sequence_after(base_sequence(), last_offset_delta());
  }
  std::int32_t count() const { return load<std::int32_t>(count_at); }

  // The codec's number; it may be one that does not exist (5 to 7).
  Compression compression() const { return static_cast<Compression>(attributes() & compression_mask); }
  bool compressed() const { return (attributes() & compression_mask) != 0; }
  TimestampType timestamp_type() const {
    return (attributes() & timestamp_type_bit) != 0 ? TimestampType::log_append_time : TimestampType::create_time;
  }
  bool transactional() const { return (attributes() & transactional_bit) != 0; }
  bool control() const { return (attributes() & control_bit) != 0; }
  bool has_producer_id() const { return producer_id().value > -1; }

  Bytes bytes() const { return {at_, held_}; }
  // The records, as they stand (compressed or not).
  Bytes payload() const { return {at_ + header_size, size() - header_size}; }
  // Whether the checksum is that of the content. The whole batch is held.
  bool crc_matches() const;

 private:
  template <class Int>
  Int load(std::size_t position) const {
    return bytes::load_big<Int>(at_ + position);
  }
  const std::byte* at_ = nullptr;
  std::size_t held_ = 0;
};

// Changes in place. The batch is whole and of magic 2. These two leave the checksum valid:
void set_base_offset(MutableBytes batch, Offset base);
void set_leader_epoch(MutableBytes batch, LeaderEpoch epoch);
// This one computes it again, unless nothing changes.
void set_max_timestamp(MutableBytes batch, TimestampType type, TimestampMs max);
void set_producer(MutableBytes batch, ProducerId id, ProducerEpoch epoch, std::int32_t base_sequence);
void seal(MutableBytes batch);  // length of the field and checksum from the content

// One batch at the head of a buffer, any magic.
struct Frame {
  std::int8_t magic = 0;
  Bytes batch;  // whole
};
// The frame at the head of `from`; nothing when `from` ends before it does (a tail that a fetch cut off);
// CORRUPT_MESSAGE for a length under the minimum or a magic that does not exist.
Result<std::optional<Frame>> next_frame(Bytes from);

// The whole batches of a buffer, one after the other; what is cut off at the end is not seen.
//   for (Batches it(buffer); auto batch = it.next();) ...
//   if (it.failed()) ...
class Batches {
 public:
  explicit Batches(Bytes buffer) : rest_(buffer) {}
  // The next one of magic 2; nothing at the end, at a cut-off tail, and at an error.
  std::optional<BatchView> next();
  // What stopped next(): CORRUPT_MESSAGE, or UNSUPPORTED_FOR_MESSAGE_FORMAT at a batch of magic 0 or 1.
  const std::optional<Error>& failed() const { return error_; }
  // What was not read, a cut-off tail included.
  Bytes rest() const { return rest_; }

 private:
  Bytes rest_;
  std::optional<Error> error_;
};

// A header of a record (KIP-82).
struct Header {
  std::string_view key;
  std::optional<Bytes> value;
};

// The headers of a record, still encoded.
class Headers {
 public:
  Headers() = default;
  Headers(std::int32_t count, Bytes encoded) : count_(count), encoded_(encoded) {}
  std::int32_t count() const { return count_; }
  bool empty() const { return count_ == 0; }
  Bytes encoded() const { return encoded_; }
  // All of them; they were checked when the record was read.
  std::vector<Header> list() const;

 private:
  std::int32_t count_ = 0;
  Bytes encoded_;
};

// A record as a reader sees it. Views hold until the iterator's next step.
struct Record {
  Offset offset;
  TimestampMs timestamp = no_timestamp;
  std::int32_t sequence = no_sequence;
  std::optional<Bytes> key;
  std::optional<Bytes> value;
  Headers headers;
};

// The records of one whole batch of magic 2, compressed or not.
//   RecordIterator records(batch);
//   while (auto record = records.next()) ...
//   if (records.failed()) ...
class RecordIterator {
 public:
  // A record larger than this ends the iteration with an error; it bounds the memory of compressed batches.
  static constexpr std::size_t record_bytes_max_default = 128 * MiB;

  explicit RecordIterator(BatchView batch, std::size_t record_bytes_max = record_bytes_max_default);
  ~RecordIterator();
  RecordIterator(RecordIterator&&) noexcept;
  RecordIterator& operator=(RecordIterator&&) noexcept;

  // Nothing after the last record and at an error.
  const Record* next();
  // INVALID_RECORD for a record that does not add up or a count that lies, CORRUPT_MESSAGE for a broken
  // compressed stream, UNSUPPORTED_COMPRESSION_TYPE.
  const std::optional<Error>& failed() const { return error_; }

 private:
  struct Stream;
  void fail(ErrorCode code, std::string message);
  bool parse(Bytes body);

  BatchView batch_;
  Bytes plain_;                     // uncompressed payload not yet read
  std::unique_ptr<Stream> stream_;  // compressed payload
  std::size_t record_bytes_max_;
  std::int32_t read_ = 0;
  Record record_;
  std::optional<Error> error_;
};

}  // namespace weir::record
