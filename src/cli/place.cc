#include "cli/place.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <optional>
#include <string_view>

namespace weir::cli {

namespace {

// The four numbers of an address in 127.0.0.0/8; nothing for others.
std::optional<std::array<unsigned, 4>> loopback(std::string_view host) {
  std::array<unsigned, 4> out{};
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto end = i + 1 < out.size() ? host.find('.') : host.size();
    if (end == std::string_view::npos) return std::nullopt;
    const auto part = host.substr(0, end);
    const auto read = std::from_chars(part.data(), part.data() + part.size(), out[i]);
    if (read.ec != std::errc() || read.ptr != part.data() + part.size() || out[i] > 255) return std::nullopt;
    host.remove_prefix(i + 1 < out.size() ? end + 1 : end);
  }
  if (out[0] != 127) return std::nullopt;
  return out;
}

}  // namespace

std::string host_port(const std::string& host, std::uint16_t port) {
  return fmt::format(host.find(':') == std::string::npos ? fmt::runtime("{}:{}") : fmt::runtime("[{}]:{}"), host, port);
}

std::string zookeeper_host(const UpOptions& options) {
  return loopback(options.listen_host) ? options.listen_host : "127.0.0.1";
}

std::expected<Place, std::string> place_of(const UpOptions& options, int id) {
  constexpr std::array<const char*, 3> zones{"use1-az1", "use1-az2", "use1-az3"};
  const auto further = static_cast<unsigned>(id - 1);
  Place out{id, options.listen_host, options.advertise_host, options.port, options.metrics_port, zones[further % 3]};
  auto address = loopback(options.listen_host);
  if (address && options.advertise_host == options.listen_host) {
    auto& [a, b, c, d] = *address;
    d += further;
    if (d > 254) {
      return std::unexpected(
          fmt::format("--listen {}: there is no address for broker {} counted up from it; take one that ends in .1",
                      options.listen_host, id));
    }
    out.listen_host = out.advertise_host = fmt::format("{}.{}.{}.{}", a, b, c, d);
    return out;
  }
  const auto count_up = [&](std::uint16_t& port, const char* option) -> std::expected<void, std::string> {
    const auto counted = port + port_step * further;
    if (counted > 65535) {
      return std::unexpected(
          fmt::format("{} {}: there is no port for broker {} counted up from it by {}; take a lower one", option, port,
                      id, port_step));
    }
    if (port != 0) port = static_cast<std::uint16_t>(counted);
    return {};
  };
  if (auto there = count_up(out.port, "--port"); !there) return std::unexpected(there.error());
  if (auto there = count_up(out.metrics_port, "--metrics-port"); !there) return std::unexpected(there.error());
  return out;
}

}  // namespace weir::cli
