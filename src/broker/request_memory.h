// How much memory requests may take, from their first byte until they are answered.
// docs/decisions/0012-memory-of-requests.md
#pragma once

#include <cstdint>

#include "config/broker_config.h"

namespace weir::broker {

struct RequestMemory {
  std::int64_t bytes = 0;          // of all listeners but that of the brokers, where they have one of their own
  std::int64_t small_bytes = 0;    // besides, for small requests that find no room
  std::int64_t brokers_bytes = 0;  // of the brokers' own listener
};

// By queued.max.request.bytes; where that is -1, by `limit_bytes`: what this process may use, 0 where nobody knows.
RequestMemory request_memory(const config::BrokerConfig& config, std::uint64_t limit_bytes);

}  // namespace weir::broker
