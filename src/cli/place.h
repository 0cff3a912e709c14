// Where each broker of `weir up` is to be found: all its brokers share one machine.
//
// On loopback each broker has an address of its own, counted up from the first's (127.0.0.1, 127.0.0.2, ...), and all
// have the same ports, which are MSK's. On another address they differ by port, ten apart, so that a broker's other
// listeners have room.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "cli/options.h"

namespace weir::cli {

inline constexpr int brokers_max = 15;  // as a new MSK cluster
inline constexpr int port_step = 10;

struct Place {
  int id = 1;  // broker.id, from 1 on as MSK's
  std::string listen_host;
  std::string advertise_host;
  std::uint16_t port = 0;
  std::uint16_t metrics_port = 0;  // 0: no metrics
  std::string rack;                // a zone's id, three zones in turn
};

// The place of broker `id`, from 1 to brokers_max. The error is a sentence: there is no such address or port.
std::expected<Place, std::string> place_of(const UpOptions& options, int id);

// Where the coordination service listens: with the first broker, when that is on a loopback address.
std::string zookeeper_host(const UpOptions& options);

// "host:port", "[v6]:port".
std::string host_port(const std::string& host, std::uint16_t port);

}  // namespace weir::cli
