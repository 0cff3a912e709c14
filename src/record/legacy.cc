#include "record/legacy.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "bytes/cursor.h"

namespace weir::record {
namespace {

// offset 8, size 4, then: crc 4, magic 1, attributes 1, [timestamp 8], key 4+n, value 4+n
constexpr std::size_t crc_covers_from = 16;

std::uint32_t crc32_of(Bytes data) {
  uLong crc = crc32(0, nullptr, 0);
  while (!data.empty()) {
    const auto n = std::min<std::size_t>(data.size(), 1U << 30);
    crc = crc32(crc, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(n));
    data = data.subspan(n);
  }
  return static_cast<std::uint32_t>(crc);
}

struct Message {
  std::int8_t magic = 0;
  std::int8_t attributes = 0;
  std::int64_t offset = 0;
  TimestampMs timestamp = no_timestamp;
  std::optional<Bytes> key;
  std::optional<Bytes> value;

  Compression compression() const { return static_cast<Compression>(attributes & compression_mask); }
  bool append_time() const { return magic == 1 && (attributes & timestamp_type_bit) != 0; }
};

Result<Message> parse_message(Bytes whole) {
  Message m;
  bytes::Reader in(whole);
  m.offset = in.i64();
  in.i32();
  const auto crc = in.u32();
  m.magic = in.i8();
  if (!in.ok() || (m.magic != 0 && m.magic != 1)) {
    return fail(ErrorCode::INVALID_RECORD, "a message of another magic stands in a set of magic 0 or 1");
  }
  if (crc32_of(whole.subspan(crc_covers_from)) != crc) {
    return fail(ErrorCode::CORRUPT_MESSAGE, "a message's checksum is not that of its content");
  }
  m.attributes = in.i8();
  if (m.magic == 1) m.timestamp = in.i64();
  if (const auto n = in.i32(); n >= 0) m.key = in.take(static_cast<std::size_t>(n));
  if (const auto n = in.i32(); n >= 0) m.value = in.take(static_cast<std::size_t>(n));
  if (!in.ok() || !in.done()) return fail(ErrorCode::CORRUPT_MESSAGE, "a message does not add up");
  if ((m.attributes & compression_mask) > static_cast<int>(Compression::lz4)) {
    return fail(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, "a codec that messages of magic 0 and 1 do not have");
  }
  return m;
}

// Goes through a set; a cut-off tail is not seen.
template <class Fn>
Result<> each_message(Bytes set, Fn fn) {
  while (true) {
    auto frame = next_frame(set);
    if (!frame) return std::unexpected(frame.error());
    if (!*frame) return {};
    auto message = parse_message((*frame)->batch);
    if (!message) return std::unexpected(message.error());
    if (auto done = fn(*message, (*frame)->batch.size()); !done) return done;
    set = set.subspan((*frame)->batch.size());
  }
}

class UpConverter {
 public:
  UpConverter(Builder& builder, std::uint64_t unpacked_max, std::int32_t message_max)
      : builder_(builder), unpacked_max_(unpacked_max), message_max_(message_max) {}

  Result<> take(const Message& message, std::size_t size) {
    if (size > static_cast<std::size_t>(message_max_)) {
      return fail(ErrorCode::MESSAGE_TOO_LARGE, "a message of " + std::to_string(size) + " bytes is too large");
    }
    if (message.compression() == Compression::none) return put(message);
    if (!message.value) return fail(ErrorCode::INVALID_RECORD, "a compressed message has no value");
    auto inner = decompress(message.compression(), *message.value, unpacked_max_);
    if (!inner) {
      const auto code =
          inner.error().code == ErrorCode::MESSAGE_TOO_LARGE ? ErrorCode::MESSAGE_TOO_LARGE : ErrorCode::INVALID_RECORD;
      return fail(code, inner.error().message);
    }
    return each_message(inner->view(), [&](Message& m, std::size_t) -> Result<> {
      if (m.compression() != Compression::none) {
        return fail(ErrorCode::INVALID_RECORD, "a compressed message stands inside a compressed message");
      }
      if (m.magic != message.magic) return fail(ErrorCode::INVALID_RECORD, "the magic inside is not that outside");
      return put(m);
    });
  }

 private:
  Result<> put(const Message& m) {
    builder_.append({.timestamp = m.timestamp, .key = m.key, .value = m.value, .headers = {}});
    if (builder_.size() > unpacked_max_) return fail(ErrorCode::MESSAGE_TOO_LARGE, "unpacked the set is too large");
    return {};
  }

  Builder& builder_;
  std::uint64_t unpacked_max_;
  std::int32_t message_max_;
};

void put_big(std::string& to, std::uint64_t v, int size) {
  for (int i = size - 1; i >= 0; --i) to.push_back(static_cast<char>(v >> (8 * i)));
}
void put_field(std::string& to, const std::optional<Bytes>& field) {
  put_big(to, field ? field->size() : 0xffffffffU, 4);
  if (field) to.append(bytes::as_text(*field));
}

void put_message(std::string& to, std::int64_t offset, std::int8_t magic, std::int8_t attributes, TimestampMs timestamp,
                 const std::optional<Bytes>& key, const std::optional<Bytes>& value) {
  const auto begin = to.size();
  put_big(to, static_cast<std::uint64_t>(offset), 8);
  put_big(to, 0, 8);  // size and checksum follow
  put_big(to, static_cast<std::uint8_t>(magic), 1);
  put_big(to, static_cast<std::uint8_t>(attributes), 1);
  if (magic == 1) put_big(to, static_cast<std::uint64_t>(timestamp), 8);
  put_field(to, key);
  put_field(to, value);
  auto* at = reinterpret_cast<std::byte*>(to.data() + begin);
  bytes::store_big(at + 8, static_cast<std::int32_t>(to.size() - begin - log_overhead));
  bytes::store_big(at + 12, crc32_of(bytes::as_bytes(to).subspan(begin + crc_covers_from)));
}

Result<> down_batch(std::string& to, BatchView batch, std::int8_t magic, Offset from) {
  auto codec = batch.compression();
  if (codec == Compression::zstd) {
    return fail(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, "clients of message format 0 and 1 do not know zstd");
  }
  // The lz4 of magic 0 has a header checksum of its own, wrong by the standard: such readers get it unpacked.
  if (magic == 0 && codec == Compression::lz4) codec = Compression::none;
  const auto type = magic == 1 && batch.timestamp_type() == TimestampType::log_append_time ? timestamp_type_bit : 0;
  std::string inner;
  std::string& out = codec == Compression::none ? to : inner;
  Offset last;
  bool any = false;
  RecordIterator records(batch);
  while (const auto* record = records.next()) {
    if (record->offset < from) continue;
    any = true;
    last = record->offset;
    const auto offset = codec != Compression::none && magic == 1 ? record->offset - batch.base_offset() : last.value;
    put_message(out, offset, magic, static_cast<std::int8_t>(type), record->timestamp, record->key, record->value);
  }
  if (records.failed()) return std::unexpected(*records.failed());
  if (!any || codec == Compression::none) return {};
  auto packed = compress(codec, bytes::as_bytes(inner));
  if (!packed) return std::unexpected(packed.error());
  put_message(to, last.value, magic, static_cast<std::int8_t>(static_cast<int>(codec) | type), batch.max_timestamp(),
              std::nullopt, packed->view());
  return {};
}

}  // namespace

std::optional<std::int8_t> first_magic(Bytes records) {
  if (records.size() < header_to_magic) return std::nullopt;
  return static_cast<std::int8_t>(records[magic_at]);
}

Result<bytes::Shared> convert_up(Bytes message_set, BatchOptions options, std::uint64_t unpacked_bytes_max,
                                 std::int32_t message_bytes_max, std::optional<Compression> compression) {
  // The batch takes its codec and timestamp type from the first message that says one.
  std::optional<Message> first;
  auto looked = each_message(message_set, [&](const Message& m, std::size_t) -> Result<> {
    if (!first) first = m;
    if (m.magic != first->magic) return fail(ErrorCode::INVALID_RECORD, "one set holds messages of two magics");
    return {};
  });
  if (!looked) return std::unexpected(looked.error());
  if (!first) return fail(ErrorCode::CORRUPT_MESSAGE, "there is no whole message");
  options.compression = compression.value_or(first->compression());
  if (first->append_time()) {
    options.timestamp_type = TimestampType::log_append_time;
    options.log_append_time = first->timestamp;
  }
  Builder builder(options);
  UpConverter up(builder, unpacked_bytes_max, message_bytes_max);
  auto done =
      each_message(message_set, [&](const Message& m, std::size_t size) -> Result<> { return up.take(m, size); });
  if (!done) return std::unexpected(done.error());
  if (builder.empty()) return fail(ErrorCode::INVALID_RECORD, "a compressed message holds no messages");
  return builder.build();
}

Result<bytes::Shared> convert_down(Bytes batches, std::int8_t to_magic, Offset from) {
  WEIR_CHECK(to_magic == 0 || to_magic == 1, "down is to magic 0 or 1");
  std::string out;
  Batches it(batches);
  while (auto batch = it.next()) {
    if (batch->control() || batch->last_offset() < from) continue;
    if (auto done = down_batch(out, *batch, to_magic, from); !done) return std::unexpected(done.error());
  }
  if (it.failed()) return std::unexpected(*it.failed());
  return bytes::Shared::copy(out);
}

}  // namespace weir::record
