#include "broker/metrics.h"

#include "broker/api/table.h"
#include "protocol/api.h"

namespace weir::broker {

BrokerMetrics::BrokerMetrics(metrics::Registry& registry)
    : malformed(
          registry.counter("weir_requests_malformed_total", "Connections closed because a request did not decode")),
      unsupported(
          registry.counter("weir_requests_unsupported_total", "Requests for an API or a version that is not served")),
      in_flight(registry.gauge("weir_requests_in_flight", "Requests begun and not answered yet")),
      registry_(registry) {
  auto& requests = registry.counters("weir_requests_total", "Requests served, by API", {"api"}, keys_max);
  auto& bytes_in = registry.counters("weir_request_bytes_total", "Bytes of requests, by API", {"api"}, keys_max);
  auto& bytes_out = registry.counters("weir_response_bytes_total", "Bytes of answers, by API", {"api"}, keys_max);
  auto& times =
      registry.histograms("weir_request_duration_seconds",
                          "From a request read whole to its answer handed to the socket, by API", {"api"}, keys_max);
  for (const auto& row : api_table()) {
    const auto* api = protocol::find_api(row.key);
    if (api == nullptr) continue;
    apis_[static_cast<std::size_t>(row.key)] = {requests.with({api->name}), bytes_in.with({api->name}),
                                                bytes_out.with({api->name}), times.with({api->name})};
  }
}

}  // namespace weir::broker
