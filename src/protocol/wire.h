// How the protocol's own types lie on the wire, in both encodings: `flex` is false for the old one (int16 and
// int32 lengths, -1 is null) and true for the flexible one (unsigned varint of length + 1, 0 is null; KIP-482).
// Used by the generated code; others use the messages.
//
// Readers fail the bytes::Reader on a length that lies, on null where it is not allowed, and on a string longer
// than 32,767 bytes. Arrays are refused before memory is taken when the rest of the buffer cannot hold them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "bytes/cursor.h"
#include "protocol/types.h"

namespace weir::protocol::wire {

using bytes::Reader;
using bytes::Writer;

inline constexpr std::size_t string_bytes_max = 0x7fff;

// Length of a string, or -1 for null.
std::ptrdiff_t read_string_length(Reader& in, bool flex);
// Length of bytes or records, or -1 for null.
std::ptrdiff_t read_bytes_length(Reader& in, bool flex);
// Number of elements that take at least `element_bytes_min` on the wire and `element_size` in memory, or -1 for null.
std::ptrdiff_t read_count_or_null(Reader& in, bool flex, std::size_t element_bytes_min, std::size_t element_size);
std::size_t read_count(Reader& in, bool flex, std::size_t element_bytes_min, std::size_t element_size);

// What the arrays of one message may take in memory: small elements grow a lot when they become structs. This lets
// any real message through (the largest, of whole clusters' partitions, take four to six times their bytes) and
// stops one that is made to be large. Per thread; decode() starts it anew.
inline constexpr std::size_t message_memory_base = std::size_t{32} << 20;
inline constexpr std::size_t message_memory_factor = 4;
void start_message(const Reader& in);

std::string_view read_string(Reader& in, bool flex);
std::optional<std::string_view> read_string_or_null(Reader& in, bool flex);
Bytes read_bytes(Reader& in, bool flex);
std::optional<Bytes> read_bytes_or_null(Reader& in, bool flex);
Records read_records(Reader& in, bool flex, bool nullable);
Uuid read_uuid(Reader& in);
// The mark before a struct that may be null; true: the struct follows. (In a tagged field it is an unsigned varint.)
bool read_presence(Reader& in);
void read_unknown_tag(Reader& in, std::uint32_t tag, UnknownTags& tags);
// A flexible struct without known tagged fields.
void read_tags(Reader& in, UnknownTags& tags);

// A string longer than string_bytes_max is cut there: no peer could read it.
void write_string(Writer& out, bool flex, std::string_view text);
void write_string(Writer& out, bool flex, const std::optional<std::string_view>& text);
void write_bytes(Writer& out, bool flex, Bytes data);
void write_bytes(Writer& out, bool flex, const std::optional<Bytes>& data);
// Records outside memory need `gaps`. Null is written as empty where the version has no null.
void write_records(Writer& out, bool flex, bool nullable, const Records& records, Gaps* gaps);
void write_uuid(Writer& out, const Uuid& id);
void write_count(Writer& out, bool flex, std::size_t count);
void write_null_array(Writer& out, bool flex);
void write_tag(Writer& out, std::uint32_t tag, std::uint64_t bytes);
// Those from `from` on with a tag below `below`; returns where it stopped.
std::size_t write_unknown_tags(Writer& out, const UnknownTags& tags, std::size_t from, std::uint64_t below);
void write_tags(Writer& out, const UnknownTags& tags);

std::size_t string_size(bool flex, std::string_view text);
std::size_t string_size(bool flex, const std::optional<std::string_view>& text);
std::size_t bytes_size(bool flex, Bytes data);
std::size_t bytes_size(bool flex, const std::optional<Bytes>& data);
void records_size(bool flex, bool nullable, const Records& records, Size& size);
std::size_t count_size(bool flex, std::size_t count);
inline std::size_t null_array_size(bool flex) { return flex ? 1 : 4; }
std::size_t tag_size(std::uint32_t tag, std::uint64_t bytes);
// All unknown tags, without the number of tags before them.
std::size_t unknown_tags_size(const UnknownTags& tags);
std::size_t tags_size(const UnknownTags& tags);

template <class Int>
void read_ints(Reader& in, std::size_t count, std::vector<Int>& to) {
  const Bytes from = in.take(count * sizeof(Int));
  to.resize(from.size() / sizeof(Int));
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = bytes::load_big<Int>(from.data() + i * sizeof(Int));
}
template <class Int>
void write_ints(Writer& out, bool flex, const std::vector<Int>& from) {
  write_count(out, flex, from.size());
  for (const Int v : from) {
    if constexpr (sizeof(Int) == 1) out.i8(static_cast<std::int8_t>(v));
    if constexpr (sizeof(Int) == 2) out.i16(static_cast<std::int16_t>(v));
    if constexpr (sizeof(Int) == 4) out.i32(static_cast<std::int32_t>(v));
    if constexpr (sizeof(Int) == 8) out.i64(static_cast<std::int64_t>(v));
  }
}

}  // namespace weir::protocol::wire
