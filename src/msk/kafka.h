// What MSK knows of Kafka: its versions, the configuration it gives a cluster, what of it a user may set. Pure.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/properties.h"
#include "msk/model.h"

namespace weir::msk {

// --- versions

struct KafkaVersion {
  std::string_view name;   // "2.2.1", "3.9.x"
  std::string_view level;  // inter.broker.protocol.version: "2.2"
  bool deprecated = false;
};
// Oldest first.
std::span<const KafkaVersion> kafka_versions();
const KafkaVersion* find_kafka_version(std::string_view name);
// Those that a cluster of `version` may be changed to: later ones.
std::vector<std::string_view> later_versions(std::string_view version);

// --- configuration

// MSK's default configuration (docs/msk-api.md has the table). unclean.leader.election.enable is true before 2.3, as
// MSK had it then, and false from 2.3 on: an election of a replica that lacks acknowledged records loses them.
config::Properties default_properties(std::string_view version, std::size_t zones);

// May a configuration set this key?
bool settable(std::string_view key);
std::span<const std::string_view> settable_keys();

// The text of a configuration as properties. The error names key, value and what it must be.
std::expected<config::Properties, std::string> parse_server_properties(std::string_view text);

// What a cluster's brokers have of it: defaults with the configuration over them.
config::Properties effective_properties(const ClusterSpec& spec, std::size_t zones);

// What is to be done when brokers that run with `from` shall have `to`.
struct Change {
  // Dynamic keys, each with its value, also where `to` does not have it and it is Kafka's default: without one a broker
  // would have again what its file said when it started.
  std::map<std::string, std::optional<std::string>> live;
  bool roll = false;  // others changed: a restart
};
Change change_between(const config::Properties& from, const config::Properties& to);

// --- a broker

inline constexpr std::uint16_t plaintext_port = 9092;
inline constexpr std::uint16_t replication_port = 9093;
inline constexpr std::uint16_t tls_port = 9094;
inline constexpr std::uint16_t jmx_exporter_port = 11001;

// The ports that brokers of this cluster listen on.
std::vector<std::uint16_t> ports_of(const ClusterSpec& spec);
bool needs_certificate(const ClusterSpec& spec);
inline constexpr std::string_view certificate_file = "broker.pem";
inline constexpr std::string_view authority_file = "ca.pem";

// The domain in which brokers of a cluster have their names, as their certificates say it: "b-1.CLUSTER".
std::string certificate_name(std::string_view cluster, std::int32_t broker);
std::string certificate_domain(std::string_view cluster);

// server.properties, without what is the place's.
struct BrokerSite {
  std::string address;
  std::string zookeeper_connect;
  std::string certificate_domain;
};
config::Properties broker_properties(const ClusterSpec& spec, std::size_t zones, const BrokerSite& site,
                                     const std::map<std::string, std::string>& overrides);

// A number of replicas that the configuration asks for and the cluster has not the brokers for: then topics are not
// made, and groups wait for ever. A sentence; empty: there is none.
std::string too_many_replicas(const ClusterSpec& spec, std::size_t zones);

// Whether a broker would take all this: the broker's own checks of keys and of how they go together. Sentences.
std::vector<std::string> complaints(const ClusterSpec& spec, std::size_t zones);

}  // namespace weir::msk
