#include "msk/kafka.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "config/alter.h"
#include "config/broker_config.h"
#include "config/key.h"

namespace weir::msk {
namespace {

constexpr std::array<KafkaVersion, 33> versions{{
    {"1.1.1", "1.1", true},    {"2.2.1", "2.2", true},  {"2.3.1", "2.3", true},  {"2.4.1", "2.4", true},
    {"2.4.1.1", "2.4", true},  {"2.5.1", "2.5", true},  {"2.6.0", "2.6", true},  {"2.6.1", "2.6", true},
    {"2.6.2", "2.6", true},    {"2.6.3", "2.6", true},  {"2.7.0", "2.7", true},  {"2.7.1", "2.7", true},
    {"2.7.2", "2.7", true},    {"2.8.0", "2.8", true},  {"2.8.1", "2.8", true},  {"2.8.2.tiered", "2.8", true},
    {"3.1.1", "3.1", true},    {"3.2.0", "3.2", true},  {"3.3.1", "3.3", true},  {"3.3.2", "3.3", true},
    {"3.4.0", "3.4", true},    {"3.5.1", "3.5", true},  {"3.5.x", "3.5", true},  {"3.6.0", "3.6", false},
    {"3.6.0.1", "3.6", false}, {"3.6.1", "3.6", false}, {"3.6.x", "3.6", false}, {"3.7.0", "3.7", false},
    {"3.7.x", "3.7", false},   {"3.8.0", "3.8", false}, {"3.8.x", "3.8", false}, {"3.9.0", "3.9", false},
    {"3.9.x", "3.9", false},
}};

// The keys of MSK's guide, and those that its first version had.
constexpr std::array<std::string_view, 54> settable_table{
    "allow.everyone.if.no.acl.found",
    "auto.create.topics.enable",
    "compression.type",
    "connections.max.idle.ms",
    "default.replication.factor",
    "delete.topic.enable",
    "group.initial.rebalance.delay.ms",
    "group.max.session.timeout.ms",
    "group.min.session.timeout.ms",
    "leader.imbalance.per.broker.percentage",
    "log.cleaner.delete.retention.ms",
    "log.cleaner.min.cleanable.ratio",
    "log.cleanup.policy",
    "log.flush.interval.messages",
    "log.flush.interval.ms",
    "log.message.timestamp.after.max.ms",
    "log.message.timestamp.before.max.ms",
    "log.message.timestamp.difference.max.ms",
    "log.message.timestamp.type",
    "log.retention.bytes",
    "log.retention.hours",
    "log.retention.minutes",
    "log.retention.ms",
    "log.roll.ms",
    "log.segment.bytes",
    "max.incremental.fetch.session.cache.slots",
    "message.max.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.difference.max.ms",
    "message.timestamp.type",
    "min.insync.replicas",
    "num.io.threads",
    "num.network.threads",
    "num.partitions",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
    "offsets.retention.minutes",
    "offsets.topic.replication.factor",
    "replica.fetch.max.bytes",
    "replica.fetch.response.max.bytes",
    "replica.lag.time.max.ms",
    "replica.selector.class",
    "replica.socket.receive.buffer.bytes",
    "socket.receive.buffer.bytes",
    "socket.request.max.bytes",
    "socket.send.buffer.bytes",
    "transaction.max.timeout.ms",
    "transaction.state.log.min.isr",
    "transaction.state.log.replication.factor",
    "transactional.id.expiration.ms",
    "unclean.leader.election.enable",
    "zookeeper.connection.timeout.ms",
    "zookeeper.session.timeout.ms",
};

struct Bound {
  std::string_view key;
  std::int64_t min;
  std::int64_t max;
};
// MSK's own, narrower than Kafka's.
constexpr std::int64_t no_end = std::numeric_limits<std::int64_t>::max();
constexpr std::array<Bound, 13> bounds{{
    {"log.retention.bytes", -1, no_end},
    {"log.retention.hours", -1, no_end},
    {"log.retention.minutes", -1, no_end},
    {"log.retention.ms", -1, no_end},
    {"log.roll.ms", 1, no_end},
    {"num.replica.fetchers", 1, no_end},
    {"replica.lag.time.max.ms", 10'000, 30'000},
    {"replica.socket.receive.buffer.bytes", -1, no_end},
    {"socket.receive.buffer.bytes", -1, no_end},
    // Less, and no broker would have a request of another.
    {"socket.request.max.bytes", 65'536, no_end},
    {"socket.send.buffer.bytes", -1, no_end},
    {"transactional.id.expiration.ms", 1, no_end},
    {"zookeeper.session.timeout.ms", 6'000, 18'000},
}};

// Values that are Kafka's and have no effect here, or none that there is.
std::string not_honoured(std::string_view key, std::string_view value) {
  if (key == "allow.everyone.if.no.acl.found" && value != "true") {
    return fmt::format("{}={}: access control lists are not supported yet: it can be true only.", key, value);
  }
  if (key.starts_with("log.retention.") && key != "log.retention.bytes" && config::parse_int(value) == 0) {
    return fmt::format("{}={}: must be at least 1, or -1", key, value);
  }
  constexpr std::string_view selectors = "org.apache.kafka.common.replica.";
  if (key != "replica.selector.class" || value.empty()) return {};
  if (value.starts_with(selectors)) {
    const auto name = value.substr(selectors.size());
    if (name == "RackAwareReplicaSelector" || name == "LeaderSelector") return {};
  }
  return fmt::format("{}={}: must be {}RackAwareReplicaSelector or {}LeaderSelector: classes of Java are not run.", key,
                     value.substr(0, 200), selectors, selectors);
}

std::string todays_name(std::string_view key) {
  return (key.starts_with("message.timestamp.") ? "log." : "") + std::string(key);
}

// A level as numbers, so that 3.10 would be later than 3.9.
config::KafkaVersion level(std::string_view version) {
  const auto* known = find_kafka_version(version);
  return config::parse_kafka_version(known != nullptr ? known->level : "3.9").value_or(config::KafkaVersion{});
}

std::string broken_value(std::string_view key, std::string_view value) {
  const auto today = todays_name(key);
  const auto* known = config::find_broker_key(today);
  if (known == nullptr) return fmt::format("{}: this key is not known.", key);
  if (const auto complaint = config::complaint(*known, value)) return *complaint;
  for (const auto& bound : bounds) {
    if (bound.key != key) continue;
    const auto number = config::parse_int(value);
    if (number && *number >= bound.min && *number <= bound.max) continue;
    if (bound.max == no_end) return fmt::format("{}={}: must be at least {}", key, value, bound.min);
    return fmt::format("{}={}: must be from {} to {}", key, value, bound.min, bound.max);
  }
  return not_honoured(key, value);
}

}  // namespace

std::span<const KafkaVersion> kafka_versions() { return versions; }

const KafkaVersion* find_kafka_version(std::string_view name) {
  const auto* found = std::ranges::find(versions, name, &KafkaVersion::name);
  return found == versions.end() ? nullptr : found;
}

std::vector<std::string_view> later_versions(std::string_view version) {
  std::vector<std::string_view> out;
  const auto* from = find_kafka_version(version);
  if (from == nullptr) return out;
  for (const auto* v = from + 1; v != versions.end(); ++v) out.push_back(v->name);
  return out;
}

config::Properties default_properties(std::string_view version, std::size_t zones) {
  const auto replicas = std::to_string(std::clamp<std::size_t>(zones, 1, 3));
  const std::string in_sync = zones >= 3 ? "2" : "1";
  const bool unclean = level(version) < config::KafkaVersion{2, 3};
  return {
      {"allow.everyone.if.no.acl.found", "true"},
      {"auto.create.topics.enable", "false"},
      {"auto.leader.rebalance.enable", "true"},
      {"default.replication.factor", replicas},
      {"min.insync.replicas", in_sync},
      {"num.io.threads", "8"},
      {"num.network.threads", "5"},
      {"num.partitions", "1"},
      {"num.replica.fetchers", "2"},
      {"offsets.topic.replication.factor", replicas},
      {"replica.lag.time.max.ms", "30000"},
      {"socket.receive.buffer.bytes", "102400"},
      {"socket.request.max.bytes", "104857600"},
      {"socket.send.buffer.bytes", "102400"},
      {"transaction.state.log.min.isr", in_sync},
      {"transaction.state.log.replication.factor", replicas},
      {"unclean.leader.election.enable", unclean ? "true" : "false"},
      {"zookeeper.session.timeout.ms", "18000"},
      {"zookeeper.set.acl", "false"},
  };
}

bool settable(std::string_view key) { return std::ranges::find(settable_table, key) != settable_table.end(); }

std::span<const std::string_view> settable_keys() { return settable_table; }

std::expected<config::Properties, std::string> parse_server_properties(std::string_view text) {
  auto parsed = config::parse_properties(text);
  if (!parsed) return std::unexpected(parsed.error());
  for (const auto& [key, value] : *parsed) {
    if (!settable(key)) return std::unexpected(fmt::format("{}: this key cannot be set in a configuration.", key));
    if (auto error = broken_value(key, value); !error.empty()) return std::unexpected(error);
  }
  return parsed;
}

config::Properties effective_properties(const ClusterSpec& spec, std::size_t zones) {
  auto out = spec.defaults.empty() ? default_properties(spec.kafka_version, zones)
                                   : config::parse_properties(spec.defaults).value_or(config::Properties{});
  if (const auto own = config::parse_properties(spec.server_properties)) {
    for (const auto& [key, value] : *own) out.insert_or_assign(todays_name(key), value);
  }
  if (spec.volume_gib > 0) out["weir.storage.quota.bytes"] = std::to_string(spec.volume_gib * GiB);
  return out;
}

namespace {

// Those that say the same in other units, and what they are worth; the strongest first.
struct Unit {
  std::string_view key;
  std::int64_t ms;
};
constexpr std::array<Unit, 3> retention{
    {{"log.retention.ms", 1}, {"log.retention.minutes", 60'000}, {"log.retention.hours", 3'600'000}}};

std::string retention_ms(const config::Properties& properties) {
  constexpr std::int64_t week_ms = 604'800'000;
  for (const auto& unit : retention) {
    const auto found = properties.find(std::string(unit.key));
    if (found == properties.end()) continue;
    const auto number = config::parse_int(found->second);
    if (number) return std::to_string(*number < 0 ? -1 : *number * unit.ms);
  }
  return std::to_string(week_ms);
}

// What a broker with these has for a dynamic key.
std::optional<std::string> in_force(const config::Properties& properties, const config::Key& key) {
  if (key.name == retention.front().key) return retention_ms(properties);
  if (const auto found = properties.find(std::string(key.name)); found != properties.end()) return found->second;
  if (key.name == "log.roll.ms") return "604800000";
  if (key.name == "log.flush.interval.ms") return "9223372036854775807";
  return key.initial ? std::optional<std::string>(*key.initial) : std::nullopt;
}

std::optional<std::string> value_of(const config::Properties& properties, const std::string& key) {
  const auto found = properties.find(key);
  return found == properties.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace

Change change_between(const config::Properties& from, const config::Properties& to) {
  Change out;
  auto keys = from;
  keys.insert(to.begin(), to.end());
  for (const auto& [name, any] : keys) {
    if (value_of(from, name) == value_of(to, name)) continue;
    // What is set in hours is at once in force, too, and before it what was set in milliseconds.
    if (std::ranges::find(retention, name, &Unit::key) != retention.end()) {
      out.live.insert_or_assign(std::string(retention.front().key), retention_ms(to));
    }
    const auto* known = config::find_broker_key(name);
    // What may be set for one broker only has no place in the default of all.
    if (known != nullptr && known->update == config::Update::cluster_wide) {
      out.live.insert_or_assign(name, in_force(to, *known));
    } else {
      out.roll = true;
    }
  }
  return out;
}

// --- a broker

namespace {
bool has_plaintext(const ClusterSpec& spec) { return spec.client_broker != ClientBroker::tls; }
bool has_tls(const ClusterSpec& spec) { return spec.client_broker != ClientBroker::plaintext; }
}  // namespace

std::vector<std::uint16_t> ports_of(const ClusterSpec& spec) {
  std::vector<std::uint16_t> out{replication_port};
  if (has_plaintext(spec)) out.push_back(plaintext_port);
  if (has_tls(spec)) out.push_back(tls_port);
  if (spec.jmx_exporter) out.push_back(jmx_exporter_port);
  return out;
}

bool needs_certificate(const ClusterSpec& spec) { return has_tls(spec) || spec.in_cluster; }

std::string certificate_name(std::string_view cluster, std::int32_t broker) {
  return fmt::format("b-{}{}", broker, certificate_domain(cluster));
}
std::string certificate_domain(std::string_view cluster) { return fmt::format(".{}", cluster); }

config::Properties broker_properties(const ClusterSpec& spec, std::size_t zones, const BrokerSite& site,
                                     const std::map<std::string, std::string>& overrides) {
  auto p = effective_properties(spec, zones);
  std::string listeners;
  std::string protocols;
  const auto listener = [&](std::string_view name, std::string_view protocol, std::uint16_t port) {
    listeners += fmt::format("{}{}://{}:{}", listeners.empty() ? "" : ",", name, site.address, port);
    protocols += fmt::format("{}{}:{}", protocols.empty() ? "" : ",", name, protocol);
  };
  if (has_plaintext(spec)) listener("CLIENT", "PLAINTEXT", plaintext_port);
  if (has_tls(spec)) listener("CLIENT_SECURE", "SSL", tls_port);
  listener("REPLICATION", spec.in_cluster ? "SSL" : "PLAINTEXT", replication_port);
  p["listeners"] = listeners;
  p["advertised.listeners"] = listeners;
  p["listener.security.protocol.map"] = protocols;
  p["inter.broker.listener.name"] = "REPLICATION";
  const auto* version = find_kafka_version(spec.kafka_version);
  p["inter.broker.protocol.version"] = version != nullptr ? version->level : "3.9";
  p["zookeeper.connect"] = site.zookeeper_connect;
  if (needs_certificate(spec)) {
    p["ssl.keystore.type"] = "PEM";
    p["ssl.keystore.location"] = "@DIR@/" + std::string(certificate_file);
    p["ssl.truststore.type"] = "PEM";
    p["ssl.truststore.location"] = "@DIR@/" + std::string(authority_file);
    // Clients' certificates are of the same authority: what they may not have is a name of the cluster's brokers.
    if (spec.in_cluster) {
      p["listener.name.replication.ssl.client.auth"] = "required";
      p["listener.name.replication.weir.ssl.client.names"] = site.certificate_domain;
    }
    if (has_tls(spec) && spec.mutual_tls) {
      p["listener.name.client_secure.ssl.client.auth"] = spec.unauthenticated ? "requested" : "required";
    }
  }
  if (spec.jmx_exporter) p["weir.metrics.listener"] = fmt::format("{}:{}", site.address, jmx_exporter_port);
  const auto own = config::parse_properties(spec.server_properties).value_or(config::Properties{});
  for (const auto& [key, value] : overrides) {
    if (!own.contains(key)) p.insert_or_assign(key, value);
  }
  return p;
}

std::string too_many_replicas(const ClusterSpec& spec, std::size_t zones) {
  const auto properties = effective_properties(spec, zones);
  for (const std::string key :
       {"default.replication.factor", "offsets.topic.replication.factor", "transaction.state.log.replication.factor",
        "min.insync.replicas", "transaction.state.log.min.isr"}) {
    const auto value = value_of(properties, key);
    const auto number = value ? config::parse_int(*value) : std::nullopt;
    if (!number || *number <= spec.brokers) continue;
    return fmt::format("{}={}: a cluster of {} brokers cannot have that many replicas.", key, *number, spec.brokers);
  }
  return {};
}

std::vector<std::string> complaints(const ClusterSpec& spec, std::size_t zones) {
  config::BrokerLayers layers;
  layers.file = broker_properties(spec, zones, {"127.0.0.1", "127.0.0.1:2181/x", ".x"}, {});
  layers.file.insert_or_assign("broker.id", "1");
  layers.file.insert_or_assign("log.dirs", "/data");
  auto loaded = config::load_broker_config(layers);
  return loaded ? std::vector<std::string>{} : loaded.error();
}

}  // namespace weir::msk
