// The broker's own metrics: requests by API, and what the endpoint shows besides. Names are in docs/metrics.md.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "metrics/registry.h"

namespace weir::broker {

// Of one API. Written on every shard.
struct ApiMetrics {
  std::shared_ptr<metrics::Counter> requests;
  std::shared_ptr<metrics::Counter> bytes_in;
  std::shared_ptr<metrics::Counter> bytes_out;
  std::shared_ptr<metrics::Histogram> total_time;  // from the whole request read to its answer handed to the socket
};

class BrokerMetrics {
 public:
  explicit BrokerMetrics(metrics::Registry& registry);

  // Null for a key that is not served.
  const ApiMetrics* of(std::int16_t api_key) const {
    return api_key >= 0 && api_key < keys_max ? &apis_[static_cast<std::size_t>(api_key)] : nullptr;
  }
  metrics::Registry& registry() { return registry_; }

  metrics::Counter& malformed;    // connections closed for a request that does not decode
  metrics::Counter& unsupported;  // for an API or version that is not served
  metrics::Gauge& in_flight;      // requests begun and not answered

 private:
  static constexpr std::int16_t keys_max = 128;
  metrics::Registry& registry_;
  std::array<ApiMetrics, keys_max> apis_;
};

}  // namespace weir::broker
