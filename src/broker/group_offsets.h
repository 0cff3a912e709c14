// What OffsetCommit and OffsetDelete have in common: partitions that do not exist are refused one by one, the rest
// goes to the group, and the errors come back in the order of the request.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "cluster/image.h"

namespace weir::broker {

// By topic and partition; the names are the group's answer's.
using PartitionErrors = std::map<std::pair<std::string_view, std::int32_t>, ErrorCode>;

inline std::int32_t number_of(std::int32_t partition) { return partition; }
template <class Partition>
std::int32_t number_of(const Partition& partition) {
  return partition.partition;
}

// Leaves the partitions that exist in what is asked of a group.
template <class Topic>
void keep_existing(const cluster::Image& image, std::vector<Topic>& topics) {
  for (auto& topic : topics) {
    std::erase_if(topic.partitions, [&](const auto& partition) {
      return image.partition(topic.name, PartitionId{number_of(partition)}) == nullptr;
    });
  }
  std::erase_if(topics, [](const auto& topic) { return topic.partitions.empty(); });
}

template <class Topic>
PartitionErrors partition_errors(const std::vector<Topic>& answered) {
  PartitionErrors errors;
  for (const auto& topic : answered) {
    for (const auto& partition : topic.partitions) errors[{topic.name, partition.partition}] = partition.error;
  }
  return errors;
}

// What the group was not asked about does not exist.
template <class Asked, class Answer>
void fill_errors(const PartitionErrors& errors, const Asked& asked, Answer& out) {
  for (const auto& topic : asked) {
    auto& to = out.emplace_back();
    to.name = topic.name;
    for (const auto& partition : topic.partitions) {
      auto& result = to.partitions.emplace_back();
      result.partition_index = partition.partition_index;
      const auto it = errors.find({topic.name, partition.partition_index});
      result.error_code =
          static_cast<std::int16_t>(it == errors.end() ? ErrorCode::UNKNOWN_TOPIC_OR_PARTITION : it->second);
    }
  }
}

}  // namespace weir::broker
