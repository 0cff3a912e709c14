// Strong integer types: an offset cannot be passed where an epoch is meant.
//
// A Strong<Tag, Rep> holds one integer, compares with its own kind only, and gives the integer back by
// `.value`. Offsets also add and subtract distances. Where a number leaves for the wire or a file, say `.value`.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace weir {

template <class Tag, class Rep>
struct Strong {
  using rep = Rep;
  Rep value{};

  constexpr Strong() = default;
  constexpr explicit Strong(Rep v) : value(v) {}

  friend constexpr auto operator<=>(Strong, Strong) = default;
};

using BrokerId = Strong<struct BrokerIdTag, std::int32_t>;                // broker.id; -1 is "no broker"
using PartitionId = Strong<struct PartitionIdTag, std::int32_t>;          // index of a partition in its topic
using LeaderEpoch = Strong<struct LeaderEpochTag, std::int32_t>;          // KIP-101; -1 is "unknown"
using ControllerEpoch = Strong<struct ControllerEpochTag, std::int32_t>;  // /controller_epoch
using BrokerEpoch = Strong<struct BrokerEpochTag, std::int64_t>;  // czxid of /brokers/ids/N (KIP-380); -1 unknown
using ProducerId = Strong<struct ProducerIdTag, std::int64_t>;    // KIP-98; -1 is "none"
using ProducerEpoch = Strong<struct ProducerEpochTag, std::int16_t>;

inline constexpr BrokerId no_broker{-1};
inline constexpr LeaderEpoch no_leader_epoch{-1};
inline constexpr ProducerId no_producer{-1};
inline constexpr ProducerEpoch no_producer_epoch{-1};

// The offset of a record in its partition's log.
struct Offset {
  std::int64_t value{};

  constexpr Offset() = default;
  constexpr explicit Offset(std::int64_t v) : value(v) {}

  friend constexpr auto operator<=>(Offset, Offset) = default;
  friend constexpr Offset operator+(Offset a, std::int64_t n) { return Offset{a.value + n}; }
  friend constexpr Offset operator-(Offset a, std::int64_t n) { return Offset{a.value - n}; }
  friend constexpr std::int64_t operator-(Offset a, Offset b) { return a.value - b.value; }
};

inline constexpr Offset no_offset{-1};

}  // namespace weir

template <class Tag, class Rep>
struct std::hash<weir::Strong<Tag, Rep>> {
  std::size_t operator()(weir::Strong<Tag, Rep> id) const noexcept { return std::hash<Rep>{}(id.value); }
};
template <>
struct std::hash<weir::Offset> {
  std::size_t operator()(weir::Offset o) const noexcept { return std::hash<std::int64_t>{}(o.value); }
};
