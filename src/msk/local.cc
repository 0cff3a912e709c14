#include "msk/local.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "msk/kafka.h"

namespace weir::msk {

config::Properties local_properties(const ClusterSpec& spec) {
  auto own = spec;
  own.defaults = "#";  // none: they are in the file already
  auto out = effective_properties(own, 0);
  const auto* version = find_kafka_version(spec.kafka_version);
  if (version != nullptr) out["inter.broker.protocol.version"] = version->level;
  out["weir.metrics.listener"] = spec.jmx_exporter ? mark_metrics : mark_absent;
  if (spec.client_broker == ClientBroker::plaintext) return out;
  out["listeners"] = fmt::format("{},CLIENT_SECURE://{}", mark_listeners, mark_tls);
  out["advertised.listeners"] = fmt::format("{},CLIENT_SECURE://{}", mark_advertised, mark_tls_advertised);
  out["listener.security.protocol.map"] = "PLAINTEXT:PLAINTEXT,CLIENT_SECURE:SSL";
  out["inter.broker.listener.name"] = "PLAINTEXT";
  out["ssl.keystore.type"] = "PEM";
  out["ssl.keystore.location"] = "@DIR@/" + std::string(certificate_file);
  out["ssl.truststore.type"] = "PEM";
  out["ssl.truststore.location"] = "@DIR@/" + std::string(authority_file);
  if (spec.mutual_tls) {
    out["listener.name.client_secure.ssl.client.auth"] = spec.unauthenticated ? "requested" : "required";
  }
  return out;
}

std::string local_tls_listener(const std::string& plaintext) {
  const auto colon = plaintext.rfind(':');
  if (colon == std::string::npos) return {};
  int port = 0;
  std::from_chars(plaintext.data() + colon + 1, plaintext.data() + plaintext.size(), port);
  return fmt::format("{}:{}", plaintext.substr(0, colon), port + local_tls_step);
}

std::string local_complaint(const ClusterSpec& spec, const LocalPlace& place) {
  if (spec.client_broker == ClientBroker::tls) {
    return "The brokers of `local` speak to each other by their plaintext listener: clientBroker can be PLAINTEXT or "
           "TLS_PLAINTEXT.";
  }
  if (!place.fixed) return {};
  const auto asked = local_properties(spec);
  for (const auto& key : place.fixed()) {
    // What `weir up` writes in any case a user did not ask for.
    if (!settable(key) || !asked.contains(key)) continue;
    return fmt::format("{} is set by `weir up --override`, which goes before a configuration.", key);
  }
  return {};
}

void fit_zones(Cluster& cluster) {
  constexpr std::size_t zones_max = 3;
  cluster.zones.clear();
  cluster.subnets.clear();
  for (std::size_t i = 1; i <= std::min(cluster.members.size(), zones_max); ++i) {
    cluster.zones.push_back(fmt::format("use1-az{}", i));
    cluster.subnets.push_back(fmt::format("subnet-{:08x}", i));
  }
}

void add_member(Cluster& cluster, std::int32_t broker, milliseconds now, const LocalPlace& place) {
  cluster.members.emplace(broker, now);
  if (cluster.supervised.empty()) return;
  if (place.listener) cluster.supervised[broker] = place.listener(broker);
  fit_zones(cluster);
}

void remove_member(Cluster& cluster, std::int32_t broker) {
  cluster.members.erase(broker);
  if (cluster.supervised.empty()) return;
  cluster.supervised.erase(broker);
  fit_zones(cluster);
}

}  // namespace weir::msk
