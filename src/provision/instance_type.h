// What MSK's instance types mean on a machine of one's own: docs/instance-types.md has this table for people.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "provision/place.h"

namespace weir::provision {

struct InstanceType {
  std::string_view name;                // "kafka.m5.large"
  std::int32_t vcpus = 0;               // one shard each
  std::int64_t memory_bytes = 0;        // as Amazon's machine has
  std::int32_t partitions_max = 0;      // replicas on a broker beyond which MSK refuses updates
  std::int32_t partitions_advised = 0;  // MSK's recommendation
};

// In MSK's order: t3, m5, m7g, each from small to large.
std::span<const InstanceType> instance_types();
std::optional<InstanceType> find_instance_type(std::string_view name);

// `storage_gib` is the EBS volume; 0: none.
Limits limits_of(const InstanceType& type, std::int64_t storage_gib);

}  // namespace weir::provision
