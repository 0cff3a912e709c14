#include "protocol/wire.h"

#include <algorithm>

namespace weir::protocol::wire {

namespace {

std::size_t length_size(bool flex, std::size_t fixed, std::uint64_t length) {
  return flex ? bytes::uvarint_size(length + 1) : fixed;
}

std::ptrdiff_t refuse(Reader& in) {
  in.fail();
  return -1;
}

thread_local std::size_t memory_left = 0;
constexpr std::size_t allocation_overhead = 32;

// Whether `count` more elements may be kept in memory.
bool take_memory(std::size_t count, std::size_t element_size) {
  const std::size_t wanted = count * element_size + allocation_overhead;
  if (wanted > memory_left) return false;
  memory_left -= wanted;
  return true;
}

}  // namespace

std::ptrdiff_t read_string_length(Reader& in, bool flex) {
  const std::ptrdiff_t n = flex ? static_cast<std::ptrdiff_t>(in.uvarint()) - 1 : in.i16();
  if (n < -1 || n > static_cast<std::ptrdiff_t>(string_bytes_max)) return refuse(in);
  return n;
}

std::ptrdiff_t read_bytes_length(Reader& in, bool flex) {
  const std::ptrdiff_t n = flex ? static_cast<std::ptrdiff_t>(in.uvarint()) - 1 : in.i32();
  if (n < -1) return refuse(in);
  return n;
}

void start_message(const Reader& in) { memory_left = message_memory_base + message_memory_factor * in.left(); }

std::ptrdiff_t read_count_or_null(Reader& in, bool flex, std::size_t element_bytes_min, std::size_t element_size) {
  const std::ptrdiff_t n = read_bytes_length(in, flex);
  if (n <= 0) return n;
  const auto count = static_cast<std::size_t>(n);
  if (count > in.left() / element_bytes_min || !take_memory(count, element_size)) return refuse(in);
  return n;
}

std::size_t read_count(Reader& in, bool flex, std::size_t element_bytes_min, std::size_t element_size) {
  const std::ptrdiff_t n = read_count_or_null(in, flex, element_bytes_min, element_size);
  if (n < 0) {
    in.fail();
    return 0;
  }
  return static_cast<std::size_t>(n);
}

std::string_view read_string(Reader& in, bool flex) {
  const std::ptrdiff_t n = read_string_length(in, flex);
  if (n < 0) in.fail();
  return n <= 0 ? std::string_view{} : in.text(static_cast<std::size_t>(n));
}

std::optional<std::string_view> read_string_or_null(Reader& in, bool flex) {
  const std::ptrdiff_t n = read_string_length(in, flex);
  if (n < 0) return std::nullopt;
  return in.text(static_cast<std::size_t>(n));
}

Bytes read_bytes(Reader& in, bool flex) {
  const std::ptrdiff_t n = read_bytes_length(in, flex);
  if (n < 0) in.fail();
  return n <= 0 ? Bytes{} : in.take(static_cast<std::size_t>(n));
}

std::optional<Bytes> read_bytes_or_null(Reader& in, bool flex) {
  const std::ptrdiff_t n = read_bytes_length(in, flex);
  if (n < 0) return std::nullopt;
  return in.take(static_cast<std::size_t>(n));
}

Records read_records(Reader& in, bool flex, bool nullable) {
  const std::ptrdiff_t n = read_bytes_length(in, flex);
  if (n >= 0) return Records::in_memory(in.take(static_cast<std::size_t>(n)));
  if (!nullable) in.fail();
  return {};
}

Uuid read_uuid(Reader& in) {
  Uuid id;
  const Bytes from = in.take(id.bytes.size());
  if (!from.empty()) std::memcpy(id.bytes.data(), from.data(), from.size());
  return id;
}

bool read_presence(Reader& in) { return in.i8() >= 0 && in.ok(); }

void read_unknown_tag(Reader& in, std::uint32_t tag, UnknownTags& tags) {
  if (!take_memory(2, sizeof(UnknownTag))) return in.fail();
  tags.push_back({tag, in.rest()});
}

void read_tags(Reader& in, UnknownTags& tags) {
  for (auto left = in.uvarint(); left > 0 && in.ok(); --left) {
    const auto tag = in.uvarint();
    const Bytes data = in.take(in.uvarint());
    if (!take_memory(2, sizeof(UnknownTag))) in.fail();
    if (in.ok()) tags.push_back({tag, data});
  }
}

void write_string(Writer& out, bool flex, std::string_view text) {
  text = text.substr(0, string_bytes_max);
  if (flex) {
    out.uvarint(static_cast<std::uint32_t>(text.size() + 1));
  } else {
    out.i16(static_cast<std::int16_t>(text.size()));
  }
  out.put(text);
}

void write_string(Writer& out, bool flex, const std::optional<std::string_view>& text) {
  if (text) return write_string(out, flex, *text);
  if (flex) {
    out.uvarint(0);
  } else {
    out.i16(-1);
  }
}

void write_count(Writer& out, bool flex, std::size_t count) {
  WEIR_CHECK(count <= 0x7fffffff, "a length fits the protocol's int32");
  if (flex) {
    out.uvarint(static_cast<std::uint32_t>(count + 1));
  } else {
    out.i32(static_cast<std::int32_t>(count));
  }
}

void write_null_array(Writer& out, bool flex) {
  if (flex) {
    out.uvarint(0);
  } else {
    out.i32(-1);
  }
}

void write_bytes(Writer& out, bool flex, Bytes data) {
  write_count(out, flex, data.size());
  out.put(data);
}

void write_bytes(Writer& out, bool flex, const std::optional<Bytes>& data) {
  if (data) return write_bytes(out, flex, *data);
  write_null_array(out, flex);
}

void write_records(Writer& out, bool flex, bool nullable, const Records& records, Gaps* gaps) {
  if (records.null && nullable) return write_null_array(out, flex);
  write_count(out, flex, records.size());
  out.put(records.view);
  if (records.outside_bytes > 0) {
    WEIR_CHECK(gaps != nullptr, "records outside memory are sent by someone who knows the gaps");
    gaps->push_back({.at = out.written(), .id = records.outside_id, .size = records.outside_bytes});
  }
}

void write_uuid(Writer& out, const Uuid& id) { out.put(std::as_bytes(std::span(id.bytes))); }

void write_tag(Writer& out, std::uint32_t tag, std::uint64_t bytes) {
  WEIR_CHECK(bytes <= 0x7fffffff, "a length fits the protocol's int32");
  out.uvarint(tag);
  out.uvarint(static_cast<std::uint32_t>(bytes));
}

std::size_t write_unknown_tags(Writer& out, const UnknownTags& tags, std::size_t from, std::uint64_t below) {
  for (; from < tags.size() && tags[from].tag < below; ++from) {
    write_tag(out, tags[from].tag, tags[from].data.size());
    out.put(tags[from].data);
  }
  return from;
}

void write_tags(Writer& out, const UnknownTags& tags) {
  out.uvarint(static_cast<std::uint32_t>(tags.size()));
  write_unknown_tags(out, tags, 0, ~std::uint64_t{0});
}

std::size_t string_size(bool flex, std::string_view text) {
  const auto n = std::min(text.size(), string_bytes_max);
  return length_size(flex, 2, n) + n;
}

std::size_t string_size(bool flex, const std::optional<std::string_view>& text) {
  return text ? string_size(flex, *text) : (flex ? 1 : 2);
}

std::size_t bytes_size(bool flex, Bytes data) { return length_size(flex, 4, data.size()) + data.size(); }

std::size_t bytes_size(bool flex, const std::optional<Bytes>& data) {
  return data ? bytes_size(flex, *data) : null_array_size(flex);
}

void records_size(bool flex, bool nullable, const Records& records, Size& size) {
  if (records.null && nullable) {
    size.buffer += null_array_size(flex);
    return;
  }
  size.buffer += length_size(flex, 4, records.size()) + records.view.size();
  size.outside += records.outside_bytes;
}

std::size_t count_size(bool flex, std::size_t count) { return length_size(flex, 4, count); }

std::size_t tag_size(std::uint32_t tag, std::uint64_t bytes) {
  return bytes::uvarint_size(tag) + bytes::uvarint_size(bytes);
}

std::size_t unknown_tags_size(const UnknownTags& tags) {
  std::size_t n = 0;
  for (const auto& t : tags) n += tag_size(t.tag, t.data.size()) + t.data.size();
  return n;
}

std::size_t tags_size(const UnknownTags& tags) { return bytes::uvarint_size(tags.size()) + unknown_tags_size(tags); }

}  // namespace weir::protocol::wire
