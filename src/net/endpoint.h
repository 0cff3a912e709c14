// Endpoints as Kafka writes them: "PLAINTEXT://host:port", in listeners and advertised.listeners, with the map from
// listener name to security protocol (KIP-103).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "runtime/sockets.h"

namespace weir::net {

// The numbers are Kafka's ids of security protocols (UpdateMetadata sends them).
enum class SecurityProtocol : std::int16_t { plaintext = 0, ssl = 1, sasl_plaintext = 2, sasl_ssl = 3 };

std::string_view name(SecurityProtocol protocol);                         // "SASL_SSL"
Result<SecurityProtocol> parse_security_protocol(std::string_view text);  // in any case

// Listener name to protocol. Names are upper case.
using ProtocolMap = std::map<std::string, SecurityProtocol, std::less<>>;

// "INTERNAL:PLAINTEXT,EXTERNAL:SSL". Empty text gives Kafka's default: each protocol under its own name.
Result<ProtocolMap> parse_protocol_map(std::string_view text);

struct Endpoint {
  std::string listener;  // upper case
  SecurityProtocol protocol = SecurityProtocol::plaintext;
  runtime::Address address;  // host without brackets; "" means all interfaces

  std::string text() const;  // "SSL://[::1]:9094"
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// One endpoint. INVALID_CONFIG, with a sentence that names the text, for anything else.
Result<Endpoint> parse_endpoint(std::string_view text, const ProtocolMap& protocols);

// A list with commas. Two endpoints with one listener name are an error; two on one port too (unless one is IPv4
// and the other IPv6, or the port is 0), except for advertised ones.
enum class EndpointUse { listen, advertise };
Result<std::vector<Endpoint>> parse_endpoints(std::string_view text, const ProtocolMap& protocols, EndpointUse use);

}  // namespace weir::net
