// A window over what a compressed payload unpacks to: as a span for whoever can take records from memory, byte for byte
// for a record that is larger than a window should be.
//
// The memory belongs to the thread and is used again by its next window: of two windows at a time in one thread the
// second spoils the first. A walk over a batch is one call, so there is one.
#pragma once

#include <cstdint>
#include <optional>

#include "base/error.h"
#include "base/units.h"
#include "bytes/cursor.h"
#include "record/compression.h"

namespace weir::record {

class Unpacked {
 public:
  // What of the span may be left over for more().
  static constexpr std::size_t carried_bytes_max = 16 * KiB;
  // Zeros stand behind the span and may be read.
  static constexpr std::size_t zeros = 32;
  // A codec that wants more room than this for a step has to do with less: what a thread keeps is bounded.
  static constexpr std::size_t room_bytes_max = 2 * MiB;

  // MESSAGE_TOO_LARGE is its error once it unpacks to more than `bytes_max`. `from` outlives it.
  Unpacked(Decompressor& from, std::uint64_t bytes_max);

  // What is unpacked and not yet taken; holds until the next call that is not one of these.
  const std::uint8_t* begin() const { return at_; }
  const std::uint8_t* end() const { return end_; }
  std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }
  // Takes the bytes before `at`.
  void take_to(const std::uint8_t* at) { at_ = at; }

  // Unpacks more behind what is left, which is at most carried_bytes_max. False when the stream is over and at an
  // error.
  bool more();
  // INVALID_RECORD for a broken stream; MESSAGE_TOO_LARGE.
  const std::optional<Error>& error() const { return error_; }

  // Byte for byte; reading beyond the end of the stream gives 0 and leaves ok() false.
  bool ok() const { return ok_; }
  std::uint64_t position() const { return unpacked_ - left(); }
  std::uint8_t byte();
  std::int32_t varint32() { return bytes::unzigzag(static_cast<std::uint32_t>(uvarint(5))); }
  std::int64_t varint64() { return bytes::unzigzag(uvarint(10)); }
  void skip(std::uint64_t n);

 private:
  std::uint64_t uvarint(int bytes_max);

  Decompressor& from_;
  std::uint64_t bytes_max_;
  std::uint8_t* memory_;
  std::size_t capacity_;
  const std::uint8_t* at_;
  const std::uint8_t* end_;
  std::uint64_t unpacked_ = 0;
  bool ok_ = true;
  std::optional<Error> error_;
};

}  // namespace weir::record
