#include "net/endpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace weir::net {
namespace {

std::string upper(std::string_view text) {
  std::string out(text);
  for (auto& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

// The parts between commas, trimmed, without empty ones.
std::vector<std::string_view> parts(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const auto part = trimmed(text.substr(0, comma));
    if (!part.empty()) out.push_back(part);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return out;
}

bool host_character(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' ||
         c == '_' || c == '%' || c == ':';
}

std::unexpected<Error> bad(std::string_view what, std::string_view text) {
  return fail(ErrorCode::INVALID_CONFIG, fmt::format("{} in '{}'", what, text));
}

}  // namespace

std::string_view name(SecurityProtocol protocol) {
  switch (protocol) {
    case SecurityProtocol::plaintext: return "PLAINTEXT";
    case SecurityProtocol::ssl: return "SSL";
    case SecurityProtocol::sasl_plaintext: return "SASL_PLAINTEXT";
    case SecurityProtocol::sasl_ssl: return "SASL_SSL";
  }
  return "PLAINTEXT";
}

Result<SecurityProtocol> parse_security_protocol(std::string_view text) {
  const auto wanted = upper(trimmed(text));
  for (const auto one : {SecurityProtocol::plaintext, SecurityProtocol::ssl, SecurityProtocol::sasl_plaintext,
                         SecurityProtocol::sasl_ssl}) {
    if (wanted == name(one)) return one;
  }
  return fail(ErrorCode::INVALID_CONFIG,
              fmt::format("'{}' is no security protocol (PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL)", text));
}

Result<ProtocolMap> parse_protocol_map(std::string_view text) {
  ProtocolMap map;
  for (const auto part : parts(text)) {
    const auto colon = part.rfind(':');
    if (colon == std::string_view::npos) return bad("no ':' between listener name and security protocol", part);
    const auto listener = upper(trimmed(part.substr(0, colon)));
    if (listener.empty()) return bad("no listener name", part);
    const auto protocol = parse_security_protocol(part.substr(colon + 1));
    if (!protocol) return std::unexpected(protocol.error());
    if (!map.emplace(listener, *protocol).second) return bad(fmt::format("listener {} stands twice", listener), text);
  }
  if (map.empty()) {
    for (const auto one : {SecurityProtocol::plaintext, SecurityProtocol::ssl, SecurityProtocol::sasl_plaintext,
                           SecurityProtocol::sasl_ssl}) {
      map.emplace(name(one), one);
    }
  }
  return map;
}

std::string Endpoint::text() const { return fmt::format("{}://{}", listener, address.text()); }

Result<Endpoint> parse_endpoint(std::string_view given, const ProtocolMap& protocols) {
  const auto text = trimmed(given);
  const auto scheme = text.find("://");
  if (scheme == std::string_view::npos || scheme == 0) return bad("no LISTENER://HOST:PORT", text);
  Endpoint endpoint;
  endpoint.listener = upper(text.substr(0, scheme));
  const auto protocol = protocols.find(endpoint.listener);
  if (protocol == protocols.end()) {
    return bad(fmt::format("listener {} has no security protocol in listener.security.protocol.map", endpoint.listener),
               text);
  }
  endpoint.protocol = protocol->second;

  auto rest = text.substr(scheme + 3);
  const auto colon = rest.rfind(':');
  if (colon == std::string_view::npos) return bad("no port", text);
  auto host = rest.substr(0, colon);
  const auto port = rest.substr(colon + 1);
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (port.empty() || error != std::errc{} || end != port.data() + port.size())
    return bad("no port of 0 to 65535", text);
  if (host.starts_with('[')) {
    if (!host.ends_with(']') || host.size() < 4) return bad("an IPv6 address that does not end", text);
    host = host.substr(1, host.size() - 2);
    if (host.find(':') == std::string_view::npos) return bad("no IPv6 address between the brackets", text);
  }
  if (!std::all_of(host.begin(), host.end(), host_character)) return bad("a character that no host name has", text);
  endpoint.address = {std::string(host), number};
  return endpoint;
}

Result<std::vector<Endpoint>> parse_endpoints(std::string_view text, const ProtocolMap& protocols, EndpointUse use) {
  std::vector<Endpoint> endpoints;
  for (const auto part : parts(text)) {
    auto endpoint = parse_endpoint(part, protocols);
    if (!endpoint) return std::unexpected(endpoint.error());
    for (const auto& other : endpoints) {
      const auto v6 = [](const Endpoint& e) { return e.address.host.find(':') != std::string::npos; };
      const bool pair = v6(*endpoint) != v6(other) && !endpoint->address.host.empty() && !other.address.host.empty();
      const bool same_port = other.address.port == endpoint->address.port;
      if (other.listener == endpoint->listener && !(pair && same_port && use == EndpointUse::listen)) {
        return bad(fmt::format("listener {} stands twice", other.listener), text);
      }
      if (use == EndpointUse::listen && same_port && other.address.port != 0 && !pair) {
        return bad(fmt::format("port {} stands twice", other.address.port), text);
      }
    }
    if (use == EndpointUse::advertise && (endpoint->address.host == "0.0.0.0" || endpoint->address.host == "::")) {
      return bad(fmt::format("{} is no address that a client can reach", endpoint->address.host), text);
    }
    endpoints.push_back(std::move(*endpoint));
  }
  return endpoints;
}

}  // namespace weir::net
