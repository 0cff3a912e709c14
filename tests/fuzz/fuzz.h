// What a fuzz target defines; main.cc is the rest of the program.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "bytes/shared.h"

namespace weir::fuzz {

// Feeds one input to the decoders. Whatever the bytes are it returns; a WEIR_CHECK that does not hold, a sanitizer's
// finding, memory or time without bound is a bug.
void run(bytes::Bytes input);

// Inputs to begin with: a well-formed one of each kind, so that the fuzzer does not have to find the formats.
std::vector<std::string> seeds();

// Takes `n` bytes off the front; fewer when there are not so many.
inline bytes::Bytes take(bytes::Bytes& from, std::size_t n) {
  const auto head = from.first(std::min(n, from.size()));
  from = from.subspan(head.size());
  return head;
}
// The first byte, which chooses; 0 at the end.
inline std::uint8_t choice(bytes::Bytes& from) {
  const auto head = take(from, 1);
  return head.empty() ? std::uint8_t{0} : std::to_integer<std::uint8_t>(head[0]);
}
// Bytes of their own, so that a read behind their end is seen.
inline std::string own(bytes::Bytes from) { return std::string(bytes::as_text(from)); }
inline std::string seed(std::uint8_t choice, std::string_view rest) {
  return std::string(1, static_cast<char>(choice)) + std::string(rest);
}

}  // namespace weir::fuzz
