// Tables by partition that are asked with a name that is only viewed.
#pragma once

#include <cstddef>
#include <string_view>
#include <utility>

#include "base/id.h"
#include "base/topic.h"

namespace weir::replica {

struct KeyHash {
  using is_transparent = void;
  std::size_t operator()(const TopicPartition& tp) const noexcept { return hash_of(tp.topic, tp.partition); }
  std::size_t operator()(std::pair<std::string_view, PartitionId> key) const noexcept {
    return hash_of(key.first, key.second);
  }
};
struct KeyEqual {
  using is_transparent = void;
  bool operator()(const TopicPartition& a, const TopicPartition& b) const noexcept { return a == b; }
  bool operator()(std::pair<std::string_view, PartitionId> a, const TopicPartition& b) const noexcept {
    return a.second == b.partition && a.first == b.topic;
  }
  bool operator()(const TopicPartition& b, std::pair<std::string_view, PartitionId> a) const noexcept {
    return a.second == b.partition && a.first == b.topic;
  }
};

}  // namespace weir::replica
