#include "record/validate.h"

#include <algorithm>

#include "record/builder.h"
#include "record/legacy.h"
#include "record/walk.h"

namespace weir::record {
namespace {

std::unexpected<Rejection> refuse(ErrorCode code, std::string message) {
  return std::unexpected<Rejection>(Rejection{Error{code, std::move(message)}, {}});
}
std::unexpected<Rejection> refuse(Error error) { return std::unexpected<Rejection>(Rejection{std::move(error), {}}); }

// What recompression may hold unpacked in memory.
std::size_t rebuilt_bytes_max(const ValidateOptions& options) {
  return std::max<std::size_t>(64 * MiB, 16 * static_cast<std::size_t>(std::max(options.batch_bytes_max, 0)));
}

std::int64_t saturating_subtract(std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  return __builtin_sub_overflow(a, b, &out) ? (b > 0 ? INT64_MIN : INT64_MAX) : out;
}
std::int64_t saturating_add(std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  return __builtin_add_overflow(a, b, &out) ? (b > 0 ? INT64_MAX : INT64_MIN) : out;
}

RecordRules rules_for(BatchView batch, const ValidateOptions& options) {
  RecordRules rules;
  rules.keys_needed = options.compacted;
  rules.timestamps_checked = options.timestamp_type == TimestampType::create_time;
  rules.timestamp_first = saturating_subtract(options.now, options.timestamp_before_max_ms);
  rules.timestamp_last = saturating_add(options.now, options.timestamp_after_max_ms);
  rules.refuse_append_time = batch.timestamp_type() == TimestampType::log_append_time;
  return rules;
}

// The header of a batch, before its records are looked at.
std::expected<void, Rejection> check_header(BatchView batch, const ValidateOptions& options) {
  if (options.origin == Origin::client && batch.base_offset() != Offset{0}) {
    return refuse(ErrorCode::INVALID_RECORD,
                  "the base offset of a producer's batch is 0, not " + std::to_string(batch.base_offset().value));
  }
  if (batch.size() > static_cast<std::size_t>(std::max(options.batch_bytes_max, 0))) {
    return refuse(ErrorCode::MESSAGE_TOO_LARGE, "the batch has " + std::to_string(batch.size()) +
                                                    " bytes, more than max.message.bytes, " +
                                                    std::to_string(options.batch_bytes_max));
  }
  if (!batch.crc_matches()) {
    return refuse(ErrorCode::CORRUPT_MESSAGE, "the batch's checksum is not that of its content");
  }
  if ((batch.attributes() & compression_mask) > static_cast<int>(Compression::zstd)) {
    return refuse(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
                  "there is no codec " + std::to_string(batch.attributes() & compression_mask));
  }
  // These two hold for everybody: offsets are assigned by them.
  if (batch.count() <= 0) {
    return refuse(ErrorCode::INVALID_RECORD, "the batch says it has " + std::to_string(batch.count()) + " records");
  }
  if (batch.last_offset_delta() != batch.count() - 1) {
    return refuse(ErrorCode::INVALID_RECORD, "the batch has " + std::to_string(batch.count()) +
                                                 " records but its last offset delta is " +
                                                 std::to_string(batch.last_offset_delta()));
  }
  if (options.origin == Origin::client) {
    if (batch.control()) return refuse(ErrorCode::INVALID_RECORD, "clients do not write control records");
    if (batch.has_producer_id() && batch.base_sequence() < 0) {
      return refuse(ErrorCode::INVALID_RECORD, "a producer with an id numbers its batches; this one says " +
                                                   std::to_string(batch.base_sequence()));
    }
  }
  return {};
}

std::expected<Validated, Rejection> rebuild(BatchView batch, Compression target, const ValidateOptions& options) {
  const auto limit =
      target == Compression::none ? static_cast<std::size_t>(options.batch_bytes_max) : rebuilt_bytes_max(options);
  Builder builder({.compression = target,
                   .level = options.compression_level,
                   .base_offset = options.first_offset,
                   .leader_epoch = options.leader_epoch,
                   .timestamp_type = options.timestamp_type,
                   .log_append_time = options.now,
                   .producer_id = batch.producer_id(),
                   .producer_epoch = batch.producer_epoch(),
                   .base_sequence = batch.base_sequence(),
                   .transactional = batch.transactional(),
                   .control = batch.control()});
  RecordIterator records(batch, limit);
  TimestampMs max_timestamp = no_timestamp;
  while (const auto* record = records.next()) {
    builder.append(*record, false);
    max_timestamp = std::max(max_timestamp, record->timestamp);
    if (builder.size() > limit) return refuse(ErrorCode::MESSAGE_TOO_LARGE, "unpacked the batch is too large");
  }
  if (records.failed()) return refuse(ErrorCode::INVALID_RECORD, records.failed()->message);
  const auto count = builder.count();
  auto built = builder.build();
  if (!built) return refuse(built.error());
  if (built->size() > static_cast<std::size_t>(options.batch_bytes_max)) {
    return refuse(ErrorCode::MESSAGE_TOO_LARGE,
                  "with the topic's compression the batch has " + std::to_string(built->size()) + " bytes, too many");
  }
  return Validated{
      .records = std::move(*built),
      .first_offset = options.first_offset,
      .last_offset = options.first_offset + (count - 1),
      .max_timestamp = options.timestamp_type == TimestampType::log_append_time ? options.now : max_timestamp,
      .count = count,
      .rewritten = true};
}

std::expected<Validated, Rejection> validate_batch(bytes::Shared records, const ValidateOptions& options) {
  const BatchView batch(records.view());
  if (auto fine = check_header(batch, options); !fine) return std::unexpected(fine.error());
  auto walked = walk(batch, rules_for(batch, options), options.unpacked_bytes_max);
  if (!walked) return std::unexpected(walked.error());

  const auto target = options.compression.value_or(batch.compression());
  // Control records stay as they were written.
  const bool same_codec = target == batch.compression() || (batch.control() && !batch.compressed());
  if (!same_codec || !walked->consecutive) {
    return rebuild(batch, batch.control() ? batch.compression() : target, options);
  }

  Validated out;
  out.first_offset = options.first_offset;
  out.last_offset = options.first_offset + batch.last_offset_delta();
  out.count = batch.count();
  out.max_timestamp = options.timestamp_type == TimestampType::log_append_time ? options.now : walked->max_timestamp;
  auto in_place = records.mutable_view();
  set_max_timestamp(in_place, options.timestamp_type, out.max_timestamp);
  set_base_offset(in_place, options.first_offset);
  set_leader_epoch(in_place, options.leader_epoch);
  out.records = std::move(records);
  return out;
}

// A message set of magic 0 or 1, converted up, then judged like any batch.
std::expected<Validated, Rejection> validate_legacy(const bytes::Shared& records, const ValidateOptions& options) {
  auto batch =
      convert_up(records.view(), {}, std::min<std::uint64_t>(options.unpacked_bytes_max, rebuilt_bytes_max(options)),
                 options.batch_bytes_max, options.compression);
  if (!batch) return refuse(batch.error());
  auto made = validate_batch(std::move(*batch), options);
  if (made) made->rewritten = true;
  return made;
}

}  // namespace

std::expected<Validated, Rejection> validate(bytes::Shared records, const ValidateOptions& options) {
  if (auto magic = first_magic(records.view()); magic && (*magic == 0 || *magic == 1)) {
    return validate_legacy(records, options);
  }
  auto frame = next_frame(records.view());
  if (!frame) return refuse(frame.error());
  if (!*frame) return refuse(ErrorCode::CORRUPT_MESSAGE, "there is no whole batch: the length says more than is there");
  const auto size = (*frame)->batch.size();
  // What is less than a batch at the end is cut off, as Kafka does it; another batch is refused.
  auto rest = next_frame(records.view().subspan(size));
  if (!rest) return refuse(rest.error());
  if (*rest) return refuse(ErrorCode::INVALID_RECORD, "a producer sends one batch for a partition, here are more");
  return validate_batch(records.sub(0, size), options);
}

Result<> check_produce(Bytes records, std::int16_t request_version) {
  if (request_version < 3) return {};
  auto frame = next_frame(records);
  if (!frame) return std::unexpected(frame.error());
  if (!*frame) return fail(ErrorCode::INVALID_RECORD, "a produce request has at least one record batch");
  if ((*frame)->magic != 2) {
    return fail(ErrorCode::INVALID_RECORD, "from version 3 on a produce request holds batches of magic 2 only");
  }
  if (request_version < 7 && BatchView((*frame)->batch).compression() == Compression::zstd) {
    return fail(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, "before version 7 a produce request may not use zstd");
  }
  auto rest = next_frame(records.subspan((*frame)->batch.size()));
  if (!rest) return std::unexpected(rest.error());
  if (*rest) return fail(ErrorCode::INVALID_RECORD, "a produce request has exactly one record batch");
  return {};
}

Result<std::optional<Checked>> check_replicated(bytes::Shared records) {
  Checked out;
  Batches batches(records.view());
  bool first = true;
  while (auto batch = batches.next()) {
    if (!batch->crc_matches()) {
      return fail(ErrorCode::CORRUPT_MESSAGE, "the checksum of the batch at offset " +
                                                  std::to_string(batch->base_offset().value) +
                                                  " is not that of its content");
    }
    if (batch->last_offset_delta() < 0 || batch->base_offset() < Offset{0} ||
        batch->base_offset().value > INT64_MAX - INT32_MAX || (!first && batch->base_offset() <= out.last_offset)) {
      return fail(ErrorCode::CORRUPT_MESSAGE,
                  "the offsets of replicated batches go up; here comes " + std::to_string(batch->base_offset().value));
    }
    if (first) out.first_offset = batch->base_offset();
    first = false;
    out.last_offset = batch->last_offset();
    out.max_timestamp = std::max(out.max_timestamp, batch->max_timestamp());
  }
  if (batches.failed()) return std::unexpected(*batches.failed());
  if (first) return std::nullopt;
  const auto whole = records.size() - batches.rest().size();
  out.records = records.sub(0, whole);
  return out;
}

}  // namespace weir::record
