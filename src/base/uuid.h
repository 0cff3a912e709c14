// 128-bit identifiers as Kafka writes them (KIP-516): topic ids, cluster ids, log directory ids.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace weir {

struct Uuid {
  std::array<std::uint8_t, 16> bytes{};  // big-endian, as on the wire

  friend constexpr auto operator<=>(const Uuid&, const Uuid&) = default;
  constexpr bool is_zero() const { return *this == Uuid{}; }

  // URL-safe base64 without padding, 22 characters: "0uqrEPSJTEeLB8ZZzQ7fVg".
  std::string text() const;
  // The reverse of text(); nothing for any other form.
  static std::optional<Uuid> parse(std::string_view text);
};

}  // namespace weir

template <>
struct std::hash<weir::Uuid> {
  std::size_t operator()(const weir::Uuid& id) const noexcept {
    std::size_t h = 1469598103934665603ULL;
    for (auto b : id.bytes) h = (h ^ b) * 1099511628211ULL;
    return h;
  }
};
