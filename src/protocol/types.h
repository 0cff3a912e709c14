// What the generated messages are made of.
//
// A decoded message holds views into the buffer it was decoded from (strings, bytes, records): the buffer must
// outlive it. A message to encode holds views of whatever its maker keeps alive until encode() has returned.
//
// For each message M there are
//   bool decode(bytes::Reader& in, std::int16_t version, M& message);
//     into a fresh M; fields that the version lacks keep their defaults. False: `in` has failed (see wire.h for what
//     is refused), or the version is not one of M's. What follows the message in `in` is left there.
//   Size encoded_size(const M& message, std::int16_t version);
//   void encode(bytes::Writer& out, std::int16_t version, const M& message, Gaps* gaps = nullptr);
//     writes exactly Size::buffer bytes. A field that the version lacks is not written, whatever it holds: whether the
//     message can be said in that version is for its maker to know. Null is written as empty where the version has no
//     null. A version that M lacks is a bug and aborts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/uuid.h"
#include "bytes/shared.h"

namespace weir::bytes {
class Reader;
class Writer;
}  // namespace weir::bytes

namespace weir::protocol {

using bytes::Bytes;

// A tagged field (KIP-482) that this version of the schema does not know. Kept, so that a message that is encoded
// again in the same version loses nothing.
struct UnknownTag {
  std::uint32_t tag = 0;
  Bytes data;
};
using UnknownTags = std::vector<UnknownTag>;

// Record batches inside a message: null, bytes in memory, or a number of bytes that lie outside memory (a range
// of a segment file) and are sent by whoever sends the message.
struct Records {
  bool null = true;
  Bytes view;
  std::uint64_t outside_bytes = 0;  // when above 0, `view` is empty
  std::uint64_t outside_id = 0;     // the maker's own number for these bytes; comes back in Gap::id

  static Records in_memory(Bytes bytes) { return {.null = false, .view = bytes, .outside_bytes = 0, .outside_id = 0}; }
  static Records outside(std::uint64_t id, std::uint64_t bytes) {
    return {.null = false, .view = {}, .outside_bytes = bytes, .outside_id = id};
  }
  std::uint64_t size() const { return view.size() + outside_bytes; }
};

// A place in an encoded message where records from outside belong: `size` bytes of `id` come after the first
// `at` bytes of the buffer. `at` counts from the start of the Writer. Gaps are collected in ascending order.
struct Gap {
  std::size_t at = 0;
  std::uint64_t id = 0;
  std::uint64_t size = 0;
};
using Gaps = std::vector<Gap>;

// What a message takes when encoded: so many bytes of buffer, and so many that are never in it.
struct Size {
  std::size_t buffer = 0;
  std::uint64_t outside = 0;

  std::uint64_t total() const { return buffer + outside; }
};

// flexible_from of a message that has no flexible version.
inline constexpr std::int16_t never = 0x7fff;

}  // namespace weir::protocol
