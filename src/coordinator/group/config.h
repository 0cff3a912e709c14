// The settings of the group coordinator, with the broker keys they come from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "base/units.h"

namespace weir::coordinator::group {

struct Config {
  milliseconds session_timeout_min{6'000};                             // group.min.session.timeout.ms
  milliseconds session_timeout_max{1'800'000};                         // group.max.session.timeout.ms
  milliseconds initial_rebalance_delay{3'000};                         // group.initial.rebalance.delay.ms
  std::size_t members_max = std::numeric_limits<std::int32_t>::max();  // group.max.size
  std::size_t offset_metadata_bytes_max = 4096;  // offset.metadata.max.bytes; counted in UTF-16 units, as Kafka does
  milliseconds offsets_retention{7LL * 24 * 3600 * 1000};  // offsets.retention.minutes
  milliseconds offsets_retention_check_interval{600'000};  // offsets.retention.check.interval.ms
  // Not Kafka's: ids given out to members that have not come back with them (KIP-394), in one group.
  std::size_t pending_members_max = 100'000;
};

}  // namespace weir::coordinator::group
