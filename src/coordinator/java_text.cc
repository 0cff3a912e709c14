#include "coordinator/java_text.h"

#include <cstdlib>
#include <limits>

#include "base/check.h"

namespace weir::coordinator {
namespace {

constexpr std::uint32_t replacement = 0xfffd;

// The character at the head of `text`, which is not empty, and how many bytes it takes. For broken UTF-8: the
// replacement and the longest part that could have begun a character.
struct Character {
  std::uint32_t code = replacement;
  std::size_t bytes = 1;
};

Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  std::size_t length = 0;
  std::uint32_t code = 0;
  unsigned low = 0x80;  // bounds of the second byte: no overlong forms, nothing over U+10FFFF
  unsigned high = 0xbf;
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2;
    code = lead & 0x1f;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3;
    code = lead & 0x0f;
    if (lead == 0xe0) low = 0xa0;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    code = lead & 0x07;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
  } else {
    return {};
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {replacement, i};
    const unsigned b = byte(i);
    if (b < low || b > high) return {replacement, i};
    code = (code << 6) | (b & 0x3f);
    low = 0x80;
    high = 0xbf;
  }
  if (code >= 0xd800 && code <= 0xdfff) return {replacement, length};  // half a pair, on its own
  return {code, length};
}

template <class Fn>
void each_unit(std::string_view text, Fn fn) {
  while (!text.empty()) {
    const auto [code, bytes] = first_character(text);
    text.remove_prefix(bytes);
    if (code < 0x10000) {
      fn(static_cast<std::uint16_t>(code));
    } else {
      fn(static_cast<std::uint16_t>(0xd800 + ((code - 0x10000) >> 10)));
      fn(static_cast<std::uint16_t>(0xdc00 + ((code - 0x10000) & 0x3ff)));
    }
  }
}

}  // namespace

std::int32_t java_hash(std::string_view utf8) {
  std::uint32_t hash = 0;
  each_unit(utf8, [&](std::uint16_t unit) { hash = hash * 31 + unit; });
  return static_cast<std::int32_t>(hash);
}

std::size_t utf16_length(std::string_view utf8) {
  std::size_t n = 0;
  each_unit(utf8, [&](std::uint16_t) { ++n; });
  return n;
}

std::int32_t partition_for(std::string_view id, std::int32_t partitions) {
  WEIR_CHECK(partitions > 0, "a topic has partitions");
  const auto hash = java_hash(id);
  // Java's abs of the smallest int is itself; Kafka takes 0 for it.
  return hash == std::numeric_limits<std::int32_t>::min() ? 0 : std::abs(hash) % partitions;
}

}  // namespace weir::coordinator
