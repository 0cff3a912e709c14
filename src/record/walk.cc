#include "record/walk.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "record/unpacked.h"

namespace weir::record {
namespace {

std::unexpected<Rejection> refuse(ErrorCode code, std::string message) {
  return std::unexpected<Rejection>(Rejection{Error{code, std::move(message)}, {}});
}

// Who broke the rules of a batch: the rare case, kept out of the loop.
class Faults {
 public:
  explicit Faults(const RecordRules& rules) : rules_(rules) {}

  [[gnu::cold, gnu::noinline]] void without_key(std::int32_t index) {
    add(index, false, "a compacted topic takes no record without a key");
  }
  [[gnu::cold, gnu::noinline]] void out_of_range(std::int32_t index, TimestampMs timestamp) {
    add(index, true,
        "timestamp " + std::to_string(timestamp) + " is not within [" + std::to_string(rules_.timestamp_first) + ", " +
            std::to_string(rules_.timestamp_last) + "]");
  }
  [[gnu::cold, gnu::noinline]] void append_time(std::int32_t index) {
    add(index, true, "a producer must not set the timestamp type to LogAppendTime");
  }

  std::optional<Rejection> verdict() {
    if (count_ == 0) return std::nullopt;
    Rejection rejection;
    if (timestamps_) {
      rejection.error = {ErrorCode::INVALID_TIMESTAMP, "one or more records have a timestamp that is not allowed"};
    } else {
      rejection.error = {ErrorCode::INVALID_RECORD,
                         std::to_string(count_) + " records are refused: " + errors_.front().message};
    }
    rejection.records = std::move(errors_);
    return rejection;
  }

 private:
  void add(std::int32_t index, bool timestamp, std::string why) {
    ++count_;
    timestamps_ |= timestamp;
    if (errors_.size() < record_errors_max) errors_.push_back({index, std::move(why)});
  }

  const RecordRules& rules_;
  std::int64_t count_ = 0;
  bool timestamps_ = false;
  std::vector<RecordError> errors_;
};

// What is asked of each record and what is learnt of them. It is copied into registers for a loop.
class Tally {
 public:
  Tally(BatchView batch, const RecordRules& rules)
      : rules_(rules), base_(static_cast<std::uint64_t>(batch.base_timestamp())), count_(batch.count()) {
    if (batch.timestamp_type() == TimestampType::log_append_time) {
      base_ = static_cast<std::uint64_t>(batch.max_timestamp());
      delta_mask_ = 0;
    }
  }

  std::int32_t index() const { return index_; }
  bool all() const { return index_ >= count_; }

  // The next record.
  [[gnu::always_inline]] inline void see(std::uint64_t timestamp_delta, std::int32_t offset_delta, bool has_key,
                                         Faults& faults) {
    const auto timestamp = static_cast<TimestampMs>(base_ + (timestamp_delta & delta_mask_));
    max_timestamp_ = std::max(max_timestamp_, timestamp);
    disorder_ |= offset_delta ^ index_;
    if (rules_.keys_needed && !has_key) [[unlikely]] {
      faults.without_key(index_);
    } else if (rules_.timestamps_checked && timestamp != no_timestamp) {
      if (timestamp < rules_.timestamp_first || timestamp > rules_.timestamp_last) [[unlikely]] {
        faults.out_of_range(index_, timestamp);
      }
    } else if (rules_.refuse_append_time) [[unlikely]] {
      faults.append_time(index_);
    }
    ++index_;
  }

  std::expected<Walked, Rejection> verdict(Faults& faults) const {
    if (auto rejection = faults.verdict()) return std::unexpected(std::move(*rejection));
    return Walked{.max_timestamp = max_timestamp_, .consecutive = disorder_ == 0};
  }

 private:
  RecordRules rules_;
  std::uint64_t base_;
  std::uint64_t delta_mask_ = ~std::uint64_t{0};  // none with LogAppendTime: all records have the batch's
  std::int32_t count_;
  std::int32_t index_ = 0;
  std::int32_t disorder_ = 0;
  TimestampMs max_timestamp_ = no_timestamp;
};

std::unexpected<Rejection> does_not_add_up(const Tally& tally) {
  return refuse(ErrorCode::INVALID_RECORD, "record " + std::to_string(tally.index()) + " of the batch does not add up");
}
std::unexpected<Rejection> ends_early() {
  return refuse(ErrorCode::INVALID_RECORD, "the batch ends before its last record");
}
std::unexpected<Rejection> has_more() {
  return refuse(ErrorCode::INVALID_RECORD, "more data stands in the batch than its count of records says");
}

// ---- records in memory

// How far behind a record's end a parser reads at most that finds out only then that the record does not add up: its
// attributes and five numbers stand between two places where it looks (1 + 10 + 4 * 5 bytes).
constexpr std::size_t overrun_bytes_max = 31;
static_assert(overrun_bytes_max <= Unpacked::zeros);

// The parser of one record and of the length before it. Not `checked`, it reads numbers without looking where the
// memory ends, and compares once it has them.
template <bool checked>
class Parser {
 public:
  Parser(const std::uint8_t* at, const std::uint8_t* end) : at_(at), end_(end) {}

  const std::uint8_t* at() const { return at_; }
  // No number was longer than it may be; when checked, none went beyond the end.
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && at_ == end_; }

  void byte() {
    if (checked && at_ >= end_) {
      ok_ = false;
    } else {
      ++at_;
    }
  }
  template <int bytes_max>
  [[gnu::always_inline]] inline std::uint64_t uvarint() {
    std::uint64_t v = 0;
#pragma clang loop unroll(full)
    for (int i = 0; i < bytes_max; ++i) {
      if (checked && at_ >= end_) [[unlikely]]
        break;
      const std::uint64_t b = *at_++;
      // More bits than the number has: no reader of ours would take it back.
      if (i == bytes_max - 1 && b > (bytes_max == 5 ? 0x0f : 0x01)) [[unlikely]]
        break;
      v |= (b & 0x7f) << (7 * i);
      if (b < 0x80) [[likely]]
        return v;
    }
    ok_ = false;
    return 0;
  }
  [[gnu::always_inline]] inline std::int32_t varint32() {
    return bytes::unzigzag(static_cast<std::uint32_t>(uvarint<5>()));
  }
  // A field after its length; -1 or less is null. False when it goes beyond the record.
  [[gnu::always_inline]] inline bool skip_field(std::int32_t& length) {
    length = varint32();
    if (length < 0) return true;
    if (length > end_ - at_) [[unlikely]]
      return false;
    at_ += length;
    return true;
  }
  [[gnu::noinline]] bool skip_headers(std::int32_t count) {
    if (at_ > end_) return false;
    for (std::int32_t i = 0; i < count; ++i) {
      std::int32_t length = 0;
      if (!skip_field(length) || length < 0 || !skip_field(length) || !ok_) return false;
    }
    return true;
  }

 private:
  const std::uint8_t* at_;
  const std::uint8_t* end_;
  bool ok_ = true;
};

enum class Stop : std::uint8_t {
  counted,  // all records are seen
  cut,      // the next one is not there as a whole
  broken,   // the next one does not add up
};

// Sees the records between `at` and `end`, one after the other; `at` is then where the next one begins. Not `checked`,
// it may read overrun_bytes_max behind `end`.
template <bool checked>
Stop see_records(const std::uint8_t*& at, const std::uint8_t* end, Tally& all, Faults& faults) {
  auto tally = all;
  auto stop = Stop::counted;
  while (!tally.all()) {
    Parser<checked> length(at, end);
    const auto size = length.varint32();
    const auto* const body = length.at();
    if (body > end || (checked && !length.ok())) [[unlikely]] {
      stop = Stop::cut;
      break;
    }
    if (!length.ok() || size < 0) [[unlikely]] {
      stop = Stop::broken;
      break;
    }
    if (size > end - body) [[unlikely]] {
      stop = Stop::cut;
      break;
    }
    Parser<checked> record(body, body + size);
    record.byte();  // attributes: none are defined
    const auto timestamp_delta = static_cast<std::uint64_t>(bytes::unzigzag(record.template uvarint<10>()));
    const auto offset_delta = record.varint32();
    std::int32_t key = 0;
    std::int32_t value = 0;
    if (!record.skip_field(key) || !record.skip_field(value)) [[unlikely]] {
      stop = Stop::broken;
      break;
    }
    const auto headers = record.varint32();
    if (headers != 0 && (headers < 0 || !record.skip_headers(headers))) [[unlikely]] {
      stop = Stop::broken;
      break;
    }
    if (!record.at_end()) [[unlikely]] {
      stop = Stop::broken;
      break;
    }
    tally.see(timestamp_delta, offset_delta, key >= 0, faults);
    at = body + size;
  }
  all = tally;
  return stop;
}

std::expected<Walked, Rejection> walk_plain(BatchView batch, const RecordRules& rules) {
  Tally tally(batch, rules);
  Faults faults(rules);
  const auto payload = batch.payload();
  const auto* at = reinterpret_cast<const std::uint8_t*>(payload.data());
  const auto* const end = at + payload.size();
  auto stop = Stop::cut;
  if (payload.size() > overrun_bytes_max) stop = see_records<false>(at, end - overrun_bytes_max, tally, faults);
  // The last ones, near the end of the memory.
  if (stop == Stop::cut) stop = see_records<true>(at, end, tally, faults);
  if (stop == Stop::broken) return does_not_add_up(tally);
  if (stop == Stop::cut) return ends_early();
  if (at != end) return has_more();
  return tally.verdict(faults);
}

// ---- compressed records: through a window; keys and values are passed over

bool skip_field(Unpacked& in, std::uint64_t end, std::int32_t& length) {
  length = in.varint32();
  if (!in.ok()) return false;
  if (length < 0) return true;
  if (in.position() + static_cast<std::uint64_t>(length) > end) return false;
  in.skip(static_cast<std::uint64_t>(length));
  return in.ok();
}

// A record that is larger than what a window carries over, piece for piece.
bool see_large(Unpacked& in, Tally& tally, Faults& faults) {
  const auto size = in.varint32();
  if (!in.ok() || size < 0) return false;
  const auto end = in.position() + static_cast<std::uint64_t>(size);
  in.byte();  // attributes
  const auto timestamp_delta = static_cast<std::uint64_t>(in.varint64());
  const auto offset_delta = in.varint32();
  std::int32_t key = 0;
  std::int32_t other = 0;
  if (!skip_field(in, end, key) || !skip_field(in, end, other)) return false;
  const auto headers = in.varint32();
  if (!in.ok() || headers < 0) return false;
  for (std::int32_t i = 0; i < headers; ++i) {
    if (!skip_field(in, end, other) || other < 0 || !skip_field(in, end, other)) return false;
  }
  if (!in.ok() || in.position() != end) return false;
  tally.see(timestamp_delta, offset_delta, key >= 0, faults);
  return true;
}

std::expected<Walked, Rejection> walk_compressed(BatchView batch, const RecordRules& rules,
                                                 std::uint64_t unpacked_bytes_max) {
  auto stream = decompressor(batch.compression(), batch.payload());
  if (!stream) return std::unexpected(Rejection{stream.error(), {}});
  Unpacked in(**stream, unpacked_bytes_max);
  Tally tally(batch, rules);
  Faults faults(rules);
  while (true) {
    const auto* at = in.begin();
    const auto stop = see_records<false>(at, in.end(), tally, faults);
    in.take_to(at);
    if (stop == Stop::counted) break;
    const bool large = in.left() > Unpacked::carried_bytes_max;
    if (stop == Stop::cut && (large ? see_large(in, tally, faults) : in.more())) continue;
    if (in.error()) return std::unexpected(Rejection{*in.error(), {}});
    return stop == Stop::broken || large ? does_not_add_up(tally) : ends_early();
  }
  if (in.left() > 0 || in.more()) return has_more();
  if (in.error()) return std::unexpected(Rejection{*in.error(), {}});
  return tally.verdict(faults);
}

}  // namespace

std::expected<Walked, Rejection> walk(BatchView batch, const RecordRules& rules, std::uint64_t unpacked_bytes_max) {
  return batch.compressed() ? walk_compressed(batch, rules, unpacked_bytes_max) : walk_plain(batch, rules);
}

}  // namespace weir::record
