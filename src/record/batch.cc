#include "record/batch.h"

#include <algorithm>
#include <limits>

#include "bytes/crc32c.h"

namespace weir::record {

std::int32_t sequence_after(std::int32_t from, std::int32_t steps) {
  const auto sum = static_cast<std::int64_t>(from) + steps;
  constexpr std::int64_t wrap = std::int64_t{std::numeric_limits<std::int32_t>::max()} + 1;
  return static_cast<std::int32_t>(sum >= wrap ? sum - wrap : sum);
}

bool BatchView::crc_matches() const { return bytes::crc32c({at_ + attributes_at, size() - attributes_at}) == crc(); }

void set_base_offset(MutableBytes batch, Offset base) { bytes::store_big(batch.data() + base_offset_at, base.value); }

void set_leader_epoch(MutableBytes batch, LeaderEpoch epoch) {
  bytes::store_big(batch.data() + leader_epoch_at, epoch.value);
}

void set_max_timestamp(MutableBytes batch, TimestampType type, TimestampMs max) {
  const BatchView view(batch);
  if (view.timestamp_type() == type && view.max_timestamp() == max) return;
  auto attributes = static_cast<std::int16_t>(view.attributes() & ~timestamp_type_bit);
  if (type == TimestampType::log_append_time) attributes = static_cast<std::int16_t>(attributes | timestamp_type_bit);
  bytes::store_big(batch.data() + attributes_at, attributes);
  bytes::store_big(batch.data() + max_timestamp_at, max);
  seal(batch.first(view.size()));
}

void set_producer(MutableBytes batch, ProducerId id, ProducerEpoch epoch, std::int32_t base_sequence) {
  bytes::store_big(batch.data() + producer_id_at, id.value);
  bytes::store_big(batch.data() + producer_epoch_at, epoch.value);
  bytes::store_big(batch.data() + base_sequence_at, base_sequence);
  seal(batch.first(BatchView(batch).size()));
}

void seal(MutableBytes batch) {
  WEIR_CHECK(batch.size() >= header_size, "a batch has its header");
  bytes::store_big(batch.data() + length_at, static_cast<std::int32_t>(batch.size() - log_overhead));
  bytes::store_big(batch.data() + crc_at, bytes::crc32c(batch.subspan(attributes_at)));
}

Result<std::optional<Frame>> next_frame(Bytes from) {
  if (from.size() < log_overhead) return std::nullopt;
  const auto length = bytes::load_big<std::int32_t>(from.data() + length_at);
  if (length < length_min_any) {
    return fail(ErrorCode::CORRUPT_MESSAGE, "a batch's length is " + std::to_string(length) + ", less than any has");
  }
  if (from.size() < header_to_magic) return std::nullopt;
  const auto magic = static_cast<std::int8_t>(from[magic_at]);
  if (magic < 0 || magic > 2) {
    return fail(ErrorCode::CORRUPT_MESSAGE, "magic " + std::to_string(magic) + " does not exist");
  }
  const auto size = log_overhead + static_cast<std::size_t>(length);
  if (magic == 2 && size < header_size) {
    return fail(ErrorCode::CORRUPT_MESSAGE, "a batch is shorter than its header");
  }
  if (from.size() < size) return std::nullopt;
  return Frame{magic, from.first(size)};
}

std::optional<BatchView> Batches::next() {
  if (error_) return std::nullopt;
  auto frame = next_frame(rest_);
  if (!frame) {
    error_ = frame.error();
    return std::nullopt;
  }
  if (!*frame) return std::nullopt;
  if ((*frame)->magic != 2) {
    error_ = Error{ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT, "a message set of magic 0 or 1"};
    return std::nullopt;
  }
  rest_ = rest_.subspan((*frame)->batch.size());
  return BatchView((*frame)->batch);
}

std::vector<Header> Headers::list() const {
  std::vector<Header> out;
  bytes::Reader in(encoded_);
  for (std::int32_t i = 0; i < count_; ++i) {
    Header header;
    const auto key = in.varint();
    header.key = in.text(key < 0 ? 0 : static_cast<std::size_t>(key));
    const auto value = in.varint();
    if (value >= 0) header.value = in.take(static_cast<std::size_t>(value));
    if (!in.ok()) break;
    out.push_back(header);
  }
  return out;
}

// ---- RecordIterator

// A compressed payload, a window of it unpacked: it holds one record and what was pulled beyond.
struct RecordIterator::Stream {
  std::unique_ptr<Decompressor> from;
  std::vector<std::byte> window;
  std::size_t begin = 0;
  std::size_t end = 0;
  bool over = false;

  Bytes held() const { return Bytes(window).subspan(begin, end - begin); }

  // Holds at least `n` bytes from `begin` on, as far as the stream goes.
  Result<bool> fill(std::size_t n) {
    while (end - begin < n && !over) {
      if (begin > 0 && begin + n > window.size()) {
        std::memmove(window.data(), window.data() + begin, end - begin);
        end -= begin;
        begin = 0;
      }
      // Grows as data comes, not as a length claims.
      if (end == window.size())
        window.resize(std::min(std::max<std::size_t>(2 * window.size(), 16 * KiB), begin + n + 16 * KiB));
      auto got = from->pull(MutableBytes(window).subspan(end));
      if (!got) return std::unexpected(got.error());
      end += *got;
      if (*got == 0) over = true;
    }
    return end - begin >= n;
  }
};

RecordIterator::RecordIterator(BatchView batch, std::size_t record_bytes_max)
    : batch_(batch), record_bytes_max_(record_bytes_max) {
  if (!batch_.compressed()) {
    plain_ = batch_.payload();
    return;
  }
  auto made = decompressor(batch_.compression(), batch_.payload());
  if (!made) {
    error_ = made.error();
    return;
  }
  stream_ = std::make_unique<Stream>();
  stream_->from = std::move(*made);
}

RecordIterator::~RecordIterator() = default;
RecordIterator::RecordIterator(RecordIterator&&) noexcept = default;
RecordIterator& RecordIterator::operator=(RecordIterator&&) noexcept = default;

void RecordIterator::fail(ErrorCode code, std::string message) { error_ = Error{code, std::move(message)}; }

const Record* RecordIterator::next() {
  if (error_) return nullptr;
  if (read_ >= batch_.count()) {
    bool more = !plain_.empty();
    if (stream_) {
      auto held = stream_->fill(1);
      if (!held) {
        error_ = held.error();
        return nullptr;
      }
      more = *held;
    }
    if (more && batch_.count() >= 0 && read_ == batch_.count()) {
      fail(ErrorCode::INVALID_RECORD, "more data stands in the batch than its count of records says");
    } else if (batch_.count() < 0) {
      fail(ErrorCode::INVALID_RECORD, "the count of records is negative");
    }
    return nullptr;
  }

  if (stream_) {
    // A varint of up to 5 bytes, then that many.
    if (auto filled = stream_->fill(5); !filled) {
      error_ = filled.error();
      return nullptr;
    }
    bytes::Reader length(stream_->held());
    const auto size = length.varint();
    if (!length.ok() || size < 0) {
      fail(ErrorCode::INVALID_RECORD, "the batch ends before its last record");
      return nullptr;
    }
    if (static_cast<std::size_t>(size) > record_bytes_max_) {
      fail(ErrorCode::INVALID_RECORD, "a record is larger than may be unpacked");
      return nullptr;
    }
    const auto prefix = stream_->held().size() - length.left();
    auto filled = stream_->fill(prefix + static_cast<std::size_t>(size));
    if (!filled) {
      error_ = filled.error();
      return nullptr;
    }
    if (!*filled) {
      fail(ErrorCode::INVALID_RECORD, "a record goes beyond its batch");
      return nullptr;
    }
    const auto body = stream_->held().subspan(prefix, static_cast<std::size_t>(size));
    stream_->begin += prefix + static_cast<std::size_t>(size);
    if (!parse(body)) return nullptr;
  } else {
    bytes::Reader in(plain_);
    const auto size = in.varint();
    if (!in.ok() || size < 0) {
      fail(ErrorCode::INVALID_RECORD, "the batch ends before its last record");
      return nullptr;
    }
    const auto body = in.take(static_cast<std::size_t>(size));
    if (!in.ok()) {
      fail(ErrorCode::INVALID_RECORD, "a record goes beyond its batch");
      return nullptr;
    }
    plain_ = in.rest();
    if (!parse(body)) return nullptr;
  }
  ++read_;
  return &record_;
}

bool RecordIterator::parse(Bytes body) {
  bytes::Reader in(body);
  in.i8();  // attributes: none are defined
  const auto timestamp_delta = in.varlong();
  const auto offset_delta = in.varint();
  record_.offset = batch_.base_offset() + offset_delta;
  record_.timestamp = batch_.timestamp_type() == TimestampType::log_append_time
                          ? batch_.max_timestamp()
                          : static_cast<TimestampMs>(static_cast<std::uint64_t>(batch_.base_timestamp()) +
                                                     static_cast<std::uint64_t>(timestamp_delta));
  record_.sequence =
      batch_.base_sequence() == no_sequence ? no_sequence : sequence_after(batch_.base_sequence(), offset_delta);
  record_.key.reset();
  record_.value.reset();
  if (const auto n = in.varint(); n >= 0) record_.key = in.take(static_cast<std::size_t>(n));
  if (const auto n = in.varint(); n >= 0) record_.value = in.take(static_cast<std::size_t>(n));
  const auto headers = in.varint();
  const auto encoded = in.rest();
  if (headers < 0 || static_cast<std::size_t>(headers) > in.left()) in.fail();
  for (std::int32_t i = 0; i < headers && in.ok(); ++i) {
    const auto key = in.varint();
    if (key < 0) in.fail();
    in.skip(in.ok() ? static_cast<std::size_t>(key) : 0);
    if (const auto value = in.varint(); value >= 0) in.skip(static_cast<std::size_t>(value));
  }
  if (!in.ok() || !in.done()) {
    fail(ErrorCode::INVALID_RECORD, "record " + std::to_string(read_) + " of the batch does not add up");
    return false;
  }
  record_.headers = Headers(headers, encoded);
  return true;
}

}  // namespace weir::record
