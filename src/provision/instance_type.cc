#include "provision/instance_type.h"

#include <algorithm>
#include <array>

namespace weir::provision {

namespace {

// The memory is the machine's that Amazon has behind the name; the partitions are those of MSK's guide.
constexpr std::array types{
    InstanceType{"kafka.t3.small", 2, 2 * GiB, 300, 300},
    InstanceType{"kafka.m5.large", 2, 8 * GiB, 1500, 1000},
    InstanceType{"kafka.m5.xlarge", 4, 16 * GiB, 1500, 1000},
    InstanceType{"kafka.m5.2xlarge", 8, 32 * GiB, 3000, 2000},
    InstanceType{"kafka.m5.4xlarge", 16, 64 * GiB, 6000, 4000},
    InstanceType{"kafka.m5.8xlarge", 32, 128 * GiB, 6000, 4000},
    InstanceType{"kafka.m5.12xlarge", 48, 192 * GiB, 6000, 4000},
    InstanceType{"kafka.m5.16xlarge", 64, 256 * GiB, 6000, 4000},
    InstanceType{"kafka.m5.24xlarge", 96, 384 * GiB, 6000, 4000},
    InstanceType{"kafka.m7g.large", 2, 8 * GiB, 1500, 1000},
    InstanceType{"kafka.m7g.xlarge", 4, 16 * GiB, 1500, 1000},
    InstanceType{"kafka.m7g.2xlarge", 8, 32 * GiB, 3000, 2000},
    InstanceType{"kafka.m7g.4xlarge", 16, 64 * GiB, 6000, 4000},
    InstanceType{"kafka.m7g.8xlarge", 32, 128 * GiB, 6000, 4000},
    InstanceType{"kafka.m7g.12xlarge", 48, 192 * GiB, 6000, 4000},
    InstanceType{"kafka.m7g.16xlarge", 64, 256 * GiB, 6000, 4000},
};

}  // namespace

std::span<const InstanceType> instance_types() { return types; }

std::optional<InstanceType> find_instance_type(std::string_view name) {
  const auto it = std::ranges::find(types, name, &InstanceType::name);
  if (it == types.end()) return std::nullopt;
  return *it;
}

Limits limits_of(const InstanceType& type, std::int64_t storage_gib) {
  return {type.vcpus, type.memory_bytes, storage_gib * static_cast<std::int64_t>(GiB)};
}

}  // namespace weir::provision
