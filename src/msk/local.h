// The cluster `local`, that of `weir up`: a cluster like each other but for who keeps its processes.
//
// Its brokers are children of `weir up`, which writes their server.properties at each start out of its own options;
// what the API says is put over that, so a spec of `local` holds only what a user asked for. It lives at ZooKeeper's
// root, each broker has a plaintext listener, which is the brokers' own, too, and its defaults are those of `weir up`.
#pragma once

#include <cstdint>
#include <string>

#include "config/properties.h"
#include "msk/model.h"
#include "msk/service.h"

namespace weir::msk {

inline constexpr std::string_view local_instance_type = "kafka.m5.large";  // what `weir up` gives: no limits
inline constexpr std::int64_t local_brokers_max = 15;
inline constexpr std::uint16_t local_tls_step = 2;  // the TLS listener's port, over the plaintext one's: 9092, 9094

// In values of local_properties(), for what only the supervisor knows; "@DIR@" as in provision::BrokerSpec.
inline constexpr std::string_view mark_listeners = "@LISTENERS@";    // `listeners` as `weir up` has them
inline constexpr std::string_view mark_advertised = "@ADVERTISED@";  // `advertised.listeners`
inline constexpr std::string_view mark_tls = "@TLS@";                // host:port to listen on by TLS
inline constexpr std::string_view mark_tls_advertised = "@TLS_ADVERTISED@";
inline constexpr std::string_view mark_metrics = "@METRICS@";  // the whole value: as `weir up` has it
inline constexpr std::string_view mark_absent = "@ABSENT@";    // the whole value: the key is left out

// What the API says of a broker of `local`, over what `weir up` says.
config::Properties local_properties(const ClusterSpec& spec);
// host:port of the TLS listener beside a plaintext one.
std::string local_tls_listener(const std::string& plaintext);
// What `local` cannot be; empty: it can.
std::string local_complaint(const ClusterSpec& spec, const LocalPlace& place);

// A broker comes or goes. Of `local` its listener does as well, and the zones are as many as `weir up` would make.
void add_member(Cluster& cluster, std::int32_t broker, milliseconds now, const LocalPlace& place);
void remove_member(Cluster& cluster, std::int32_t broker);
// Zones and subnets of `local` by its members.
void fit_zones(Cluster& cluster);

}  // namespace weir::msk
