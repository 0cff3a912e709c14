// A partition by its names.
#pragma once

#include <compare>
#include <functional>
#include <string>
#include <string_view>

#include "base/id.h"

namespace weir {

struct TopicPartition {
  std::string topic;
  PartitionId partition;

  friend auto operator<=>(const TopicPartition&, const TopicPartition&) = default;
  // "orders-3", the name of its directory.
  std::string text() const { return topic + "-" + std::to_string(partition.value); }
};

inline std::size_t hash_of(std::string_view topic, PartitionId partition) noexcept {
  const auto h = std::hash<std::string_view>{}(topic);
  return h ^ (static_cast<std::size_t>(partition.value) * 0x9e3779b97f4a7c15ULL + (h << 6) + (h >> 2));
}

}  // namespace weir

template <>
struct std::hash<weir::TopicPartition> {
  std::size_t operator()(const weir::TopicPartition& tp) const noexcept {
    return weir::hash_of(tp.topic, tp.partition);
  }
};
