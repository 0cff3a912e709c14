#include "record/walk.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace weir::record {
namespace {

std::unexpected<Rejection> refuse(ErrorCode code, std::string message) {
  return std::unexpected<Rejection>(Rejection{Error{code, std::move(message)}, {}});
}

// What a walk learns of one record.
struct Facts {
  std::int64_t timestamp_delta = 0;
  std::int32_t offset_delta = 0;
  bool has_key = false;
};

// The rules of one batch, and who broke them.
class Judge {
 public:
  Judge(BatchView batch, const RecordRules& rules)
      : rules_(rules), base_(static_cast<std::uint64_t>(batch.base_timestamp())) {
    append_time_ = batch.timestamp_type() == TimestampType::log_append_time;
    append_timestamp_ = batch.max_timestamp();
  }

  void see(std::int32_t index, const Facts& facts) {
    const auto timestamp = append_time_
                               ? append_timestamp_
                               : static_cast<TimestampMs>(base_ + static_cast<std::uint64_t>(facts.timestamp_delta));
    walked_.max_timestamp = std::max(walked_.max_timestamp, timestamp);
    walked_.consecutive &= facts.offset_delta == index;
    if (rules_.keys_needed && !facts.has_key) [[unlikely]] {
      broke(index, false, "a compacted topic takes no record without a key");
      return;
    }
    if (rules_.timestamps_checked && timestamp != no_timestamp) {
      if (timestamp < rules_.timestamp_first || timestamp > rules_.timestamp_last) [[unlikely]] {
        broke(index, true,
              "timestamp " + std::to_string(timestamp) + " is not within [" + std::to_string(rules_.timestamp_first) +
                  ", " + std::to_string(rules_.timestamp_last) + "]");
      }
    } else if (rules_.refuse_append_time) [[unlikely]] {
      broke(index, true, "a producer must not set the timestamp type to LogAppendTime");
    }
  }

  std::expected<Walked, Rejection> verdict() {
    if (broken_ == 0) return walked_;
    Rejection rejection;
    if (timestamps_) {
      rejection.error = {ErrorCode::INVALID_TIMESTAMP, "one or more records have a timestamp that is not allowed"};
    } else {
      rejection.error = {ErrorCode::INVALID_RECORD,
                         std::to_string(broken_) + " records are refused: " + errors_.front().message};
    }
    rejection.records = std::move(errors_);
    return std::unexpected(std::move(rejection));
  }

 private:
  void broke(std::int32_t index, bool timestamp, std::string why) {
    ++broken_;
    timestamps_ |= timestamp;
    if (errors_.size() < record_errors_max) errors_.push_back({index, std::move(why)});
  }

  const RecordRules& rules_;
  std::uint64_t base_;
  bool append_time_ = false;
  TimestampMs append_timestamp_ = no_timestamp;
  Walked walked_;
  std::int64_t broken_ = 0;
  bool timestamps_ = false;
  std::vector<RecordError> errors_;
};

// ---- uncompressed

// An unsigned varint of at most `bytes_max` bytes; moves `at`, or sets it to null when there is none before `end`.
template <int bytes_max>
inline std::uint64_t varint(const std::uint8_t*& at, const std::uint8_t* end) {
  if (at < end && *at < 0x80) [[likely]]
    return *at++;
  std::uint64_t v = 0;
  for (int i = 0; i < bytes_max; ++i) {
    if (at >= end) break;
    const std::uint64_t b = *at++;
    v |= (b & 0x7f) << (7 * i);
    if (b < 0x80) return v;
  }
  at = nullptr;
  return 0;
}
inline std::int32_t varint32(const std::uint8_t*& at, const std::uint8_t* end) {
  return bytes::unzigzag(static_cast<std::uint32_t>(varint<5>(at, end)));
}

// A field with a length before it, -1 for null. False when it goes beyond the record.
inline bool skip_field(const std::uint8_t*& at, const std::uint8_t* end, bool nullable, bool& present) {
  const auto n = varint32(at, end);
  present = n >= 0;
  if (at == nullptr || n > end - at) [[unlikely]]
    return false;
  if (n < 0) return nullable;
  at += n;
  return true;
}

// One record between `at` and `end`, which its length gave.
inline bool read_record(const std::uint8_t* at, const std::uint8_t* end, Facts& facts) {
  if (at == end) [[unlikely]]
    return false;
  ++at;  // attributes
  facts.timestamp_delta = bytes::unzigzag(varint<10>(at, end));
  if (at == nullptr) [[unlikely]]
    return false;
  facts.offset_delta = varint32(at, end);
  if (at == nullptr) [[unlikely]]
    return false;
  bool present = false;
  if (!skip_field(at, end, true, facts.has_key) || !skip_field(at, end, true, present)) [[unlikely]]
    return false;
  const auto headers = varint32(at, end);
  if (at == nullptr || headers < 0) [[unlikely]]
    return false;
  for (std::int32_t i = 0; i < headers; ++i) {
    if (!skip_field(at, end, false, present) || !skip_field(at, end, true, present)) return false;
  }
  return at == end;
}

std::expected<Walked, Rejection> walk_plain(BatchView batch, const RecordRules& rules) {
  Judge judge(batch, rules);
  const auto payload = batch.payload();
  const auto* at = reinterpret_cast<const std::uint8_t*>(payload.data());
  const auto* const end = at + payload.size();
  const auto count = batch.count();
  for (std::int32_t i = 0; i < count; ++i) {
    const auto size = varint32(at, end);
    if (at == nullptr || size < 0 || size > end - at) [[unlikely]] {
      return refuse(ErrorCode::INVALID_RECORD, "the batch ends before its last record");
    }
    Facts facts;
    if (!read_record(at, at + size, facts)) [[unlikely]] {
      return refuse(ErrorCode::INVALID_RECORD, "record " + std::to_string(i) + " of the batch does not add up");
    }
    at += size;
    judge.see(i, facts);
  }
  if (at != end) {
    return refuse(ErrorCode::INVALID_RECORD, "more data stands in the batch than its count of records says");
  }
  return judge.verdict();
}

// ---- compressed: a stream through a small window; keys and values are passed over, never held

class Unpacked {
 public:
  Unpacked(Decompressor& from, std::uint64_t bytes_max) : from_(from), bytes_max_(bytes_max) {}

  bool ok() const { return ok_; }
  // Why not, when the stream itself is to blame.
  const std::optional<Error>& error() const { return error_; }
  std::uint64_t position() const { return taken_; }

  std::uint8_t byte() {
    if (at_ == end_ && !refill()) {
      ok_ = false;
      return 0;
    }
    ++taken_;
    return static_cast<std::uint8_t>(window_[at_++]);
  }
  template <int bytes_max>
  std::uint64_t varint() {
    std::uint64_t v = 0;
    for (int i = 0; i < bytes_max && ok_; ++i) {
      const std::uint64_t b = byte();
      v |= (b & 0x7f) << (7 * i);
      if (b < 0x80) return v;
    }
    ok_ = false;
    return 0;
  }
  std::int32_t varint32() { return bytes::unzigzag(static_cast<std::uint32_t>(varint<5>())); }
  void skip(std::uint64_t n) {
    while (n > 0 && ok_) {
      if (at_ == end_ && !refill()) {
        ok_ = false;
        return;
      }
      const auto step = std::min<std::uint64_t>(n, end_ - at_);
      at_ += step;
      taken_ += step;
      n -= step;
    }
  }
  bool at_end() { return at_ == end_ && !refill(); }
  void fail() { ok_ = false; }

 private:
  bool refill() {
    if (error_) return false;
    auto got = from_.pull(window_);
    if (!got) {
      error_ = Error{ErrorCode::INVALID_RECORD, got.error().message};
      return false;
    }
    at_ = 0;
    end_ = *got;
    if (taken_ + end_ > bytes_max_) {
      error_ = Error{ErrorCode::MESSAGE_TOO_LARGE, "the batch unpacks to more than may be"};
      return false;
    }
    return end_ > 0;
  }

  Decompressor& from_;
  std::uint64_t bytes_max_;
  std::array<std::byte, 16 * KiB> window_;
  std::size_t at_ = 0;
  std::size_t end_ = 0;
  std::uint64_t taken_ = 0;
  bool ok_ = true;
  std::optional<Error> error_;
};

bool skip_field(Unpacked& in, std::uint64_t end, bool nullable, bool& present) {
  const auto n = in.varint32();
  present = n >= 0;
  if (!in.ok()) return false;
  if (n < 0) return nullable;
  if (in.position() + static_cast<std::uint64_t>(n) > end) return false;
  in.skip(static_cast<std::uint64_t>(n));
  return in.ok();
}

bool read_record(Unpacked& in, Facts& facts) {
  const auto size = in.varint32();
  if (!in.ok() || size < 0) return false;
  const auto end = in.position() + static_cast<std::uint64_t>(size);
  in.byte();  // attributes
  facts.timestamp_delta = bytes::unzigzag(in.varint<10>());
  facts.offset_delta = in.varint32();
  bool present = false;
  if (!skip_field(in, end, true, facts.has_key) || !skip_field(in, end, true, present)) return false;
  const auto headers = in.varint32();
  if (!in.ok() || headers < 0 || static_cast<std::uint64_t>(headers) > end) return false;
  for (std::int32_t i = 0; i < headers; ++i) {
    if (!skip_field(in, end, false, present) || !skip_field(in, end, true, present)) return false;
  }
  return in.ok() && in.position() == end;
}

std::expected<Walked, Rejection> walk_compressed(BatchView batch, const RecordRules& rules,
                                                 std::uint64_t unpacked_bytes_max) {
  auto stream = decompressor(batch.compression(), batch.payload());
  if (!stream) return std::unexpected(Rejection{stream.error(), {}});
  Judge judge(batch, rules);
  Unpacked in(**stream, unpacked_bytes_max);
  const auto count = batch.count();
  for (std::int32_t i = 0; i < count; ++i) {
    Facts facts;
    if (!read_record(in, facts)) {
      if (in.error()) return std::unexpected(Rejection{*in.error(), {}});
      return refuse(ErrorCode::INVALID_RECORD, "record " + std::to_string(i) + " of the batch does not add up");
    }
    judge.see(i, facts);
  }
  if (!in.at_end()) {
    return refuse(ErrorCode::INVALID_RECORD, "more data stands in the batch than its count of records says");
  }
  if (in.error()) return std::unexpected(Rejection{*in.error(), {}});
  return judge.verdict();
}

}  // namespace

std::expected<Walked, Rejection> walk(BatchView batch, const RecordRules& rules, std::uint64_t unpacked_bytes_max) {
  return batch.compressed() ? walk_compressed(batch, rules, unpacked_bytes_max) : walk_plain(batch, rules);
}

}  // namespace weir::record
