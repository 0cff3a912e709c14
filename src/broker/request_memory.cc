#include "broker/request_memory.h"

#include <algorithm>
#include <limits>

#include "base/units.h"

namespace weir::broker {

RequestMemory request_memory(const config::BrokerConfig& config, std::uint64_t limit_bytes) {
  RequestMemory memory;
  memory.bytes = config.queued_max_request_bytes;
  if (memory.bytes <= 0) {
    const auto largest = static_cast<std::uint64_t>(config.socket_request_max_bytes);
    const auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    memory.bytes = static_cast<std::int64_t>(std::min(std::max(limit_bytes / 4, 4 * largest), most));
  }
  const auto share = memory.bytes / 8;
  memory.small_bytes = std::clamp<std::int64_t>(share, 1 * MiB, 64 * MiB);
  memory.brokers_bytes = std::max<std::int64_t>(share, 16 * MiB);
  return memory;
}

}  // namespace weir::broker
