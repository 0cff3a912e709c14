#include "record/builder.h"

#include <algorithm>
#include <array>

#include "bytes/cursor.h"

namespace weir::record {
namespace {

void put_uvarlong(std::string& to, std::uint64_t v) {
  while (v >= 0x80) {
    to.push_back(static_cast<char>(v | 0x80));
    v >>= 7;
  }
  to.push_back(static_cast<char>(v));
}
void put_varint(std::string& to, std::int32_t v) { put_uvarlong(to, bytes::zigzag(v)); }
void put_varlong(std::string& to, std::int64_t v) { put_uvarlong(to, bytes::zigzag(v)); }

std::size_t bytes_size(const std::optional<Bytes>& field) {
  return field ? bytes::varint_size(static_cast<std::int32_t>(field->size())) + field->size() : 1;
}
void put_bytes(std::string& to, const std::optional<Bytes>& field) {
  put_varint(to, field ? static_cast<std::int32_t>(field->size()) : -1);
  if (field) to.append(bytes::as_text(*field));
}

}  // namespace

void Builder::start(TimestampMs timestamp) {
  if (count_ == 0) {
    base_timestamp_ = timestamp;
    max_timestamp_ = no_timestamp;
  }
}

void Builder::put_record(std::int32_t offset_delta, TimestampMs timestamp, const std::optional<Bytes>& key,
                         const std::optional<Bytes>& value, std::int32_t header_count, Bytes headers) {
  start(timestamp);
  const auto timestamp_delta =
      static_cast<std::int64_t>(static_cast<std::uint64_t>(timestamp) - static_cast<std::uint64_t>(base_timestamp_));
  const auto size = 1 + bytes::varlong_size(timestamp_delta) + bytes::varint_size(offset_delta) + bytes_size(key) +
                    bytes_size(value) + bytes::varint_size(header_count) + headers.size();
  put_varint(body_, static_cast<std::int32_t>(size));
  body_.push_back(0);
  put_varlong(body_, timestamp_delta);
  put_varint(body_, offset_delta);
  put_bytes(body_, key);
  put_bytes(body_, value);
  put_varint(body_, header_count);
  body_.append(bytes::as_text(headers));
  max_timestamp_ = std::max(max_timestamp_, timestamp);
  last_delta_ = offset_delta;
  ++count_;
}

void Builder::append(const NewRecord& record) { append_at(options_.base_offset + (last_delta_ + 1), record); }

void Builder::append_at(Offset offset, const NewRecord& record) {
  const auto delta = offset - options_.base_offset;
  WEIR_CHECK(delta > last_delta_ && delta <= INT32_MAX, "offsets of a batch go up");
  headers_.clear();
  for (const auto& header : record.headers) {
    put_varint(headers_, static_cast<std::int32_t>(header.key.size()));
    headers_.append(header.key);
    put_bytes(headers_, header.value);
  }
  put_record(static_cast<std::int32_t>(delta), record.timestamp, record.key, record.value,
             static_cast<std::int32_t>(record.headers.size()), bytes::as_bytes(headers_));
}

void Builder::append(const Record& record, bool keep_offset) {
  const auto delta = keep_offset ? record.offset - options_.base_offset : std::int64_t{last_delta_} + 1;
  WEIR_CHECK(delta > last_delta_ && delta <= INT32_MAX, "offsets of a batch go up");
  put_record(static_cast<std::int32_t>(delta), record.timestamp, record.key, record.value, record.headers.count(),
             record.headers.encoded());
}

std::size_t Builder::size_bound(const NewRecord& record) {
  std::size_t size = 5 + 1 + 10 + 5 + 5 + 5 + 5;
  if (record.key) size += record.key->size();
  if (record.value) size += record.value->size();
  for (const auto& header : record.headers) size += 10 + header.key.size() + (header.value ? header.value->size() : 0);
  return size;
}

Result<bytes::Shared> Builder::build() {
  bytes::Shared packed;
  Bytes payload = bytes::as_bytes(body_);
  if (options_.compression != Compression::none) {
    auto made = compress(options_.compression, payload, options_.level);
    if (!made) return std::unexpected(made.error());
    packed = std::move(*made);
    payload = packed.view();
  }
  auto batch = bytes::Shared::allocate(header_size + payload.size());
  bytes::Writer w(batch.mutable_view());
  const bool append_time = options_.timestamp_type == TimestampType::log_append_time;
  int attributes = static_cast<int>(options_.compression);
  if (append_time) attributes |= timestamp_type_bit;
  if (options_.transactional) attributes |= transactional_bit;
  if (options_.control) attributes |= control_bit;
  w.i64(options_.base_offset.value);
  w.i32(0);
  w.i32(options_.leader_epoch.value);
  w.i8(2);
  w.u32(0);
  w.i16(static_cast<std::int16_t>(attributes));
  w.i32(last_delta_);
  w.i64(base_timestamp_);
  w.i64(append_time ? options_.log_append_time : max_timestamp_);
  w.i64(options_.producer_id.value);
  w.i16(options_.producer_epoch.value);
  w.i32(options_.base_sequence);
  w.i32(count_);
  w.put(payload);
  seal(batch.mutable_view());

  options_.base_offset = options_.base_offset + (last_delta_ + 1);
  if (options_.base_sequence != no_sequence) {
    options_.base_sequence = sequence_after(options_.base_sequence, last_delta_ + 1);
  }
  body_.clear();
  count_ = 0;
  last_delta_ = -1;
  base_timestamp_ = max_timestamp_ = no_timestamp;
  return batch;
}

bytes::Shared batch_of(std::span<const NewRecord> records, BatchOptions options) {
  Builder builder(options);
  for (const auto& record : records) builder.append(record);
  auto batch = builder.build();
  WEIR_CHECK(batch.has_value(), "the codecs of the builder exist");
  return std::move(*batch);
}

}  // namespace weir::record
