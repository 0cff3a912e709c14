#include "base/zk_connect.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace weir {

namespace {

bool is_v6(const std::string& host) {
  in6_addr address{};
  return inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

bool is_name(std::string_view host) {
  constexpr std::string_view good = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._";
  return !host.empty() && host.find_first_not_of(good) == std::string_view::npos;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto* end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, port);
  if (read.ec != std::errc() || read.ptr != end || port == 0) return std::nullopt;
  return port;
}

std::optional<ZkServer> parse_server(std::string_view text) {
  ZkServer out;
  auto host = text;
  const auto colon = text.rfind(':');
  const bool bracket = text.starts_with('[');
  if (colon != std::string_view::npos && (!bracket || text[colon - 1] == ']')) {
    const auto port = parse_port(text.substr(colon + 1));
    if (!port) return std::nullopt;
    out.port = *port;
    host = text.substr(0, colon);
  }
  if (bracket) {
    if (!host.ends_with(']')) return std::nullopt;
    out.host = host.substr(1, host.size() - 2);
    return is_v6(out.host) ? std::optional(out) : std::nullopt;
  }
  out.host = host;
  return is_name(host) || is_v6(out.host) ? std::optional(out) : std::nullopt;
}

bool is_path(std::string_view chroot) {
  while (!chroot.empty()) {
    chroot.remove_prefix(1);
    const auto part = chroot.substr(0, chroot.find('/'));
    if (part.empty() || part == "." || part == "..") return false;
    if (std::ranges::any_of(part, [](char c) { return static_cast<unsigned char>(c) < ' '; })) return false;
    chroot.remove_prefix(part.size());
  }
  return true;
}

std::unexpected<std::string> wrong(std::string_view what) {
  constexpr std::size_t shown_max = 200;
  return std::unexpected(
      fmt::format("must be HOST[:PORT] separated by commas, and /CHROOT behind the last if any, with ports from 1 to "
                  "65535 (2181 where left out) and IPv6 addresses in brackets; '{}' is not",
                  what.substr(0, shown_max)));
}

}  // namespace

std::expected<ZkConnect, std::string> parse_zk_connect(std::string_view text) {
  ZkConnect out;
  const auto slash = std::min(text.find('/'), text.size());
  auto chroot = text.substr(slash);
  while (chroot.ends_with(' ') || chroot.ends_with('/')) chroot.remove_suffix(1);
  if (!is_path(chroot)) return wrong(chroot);
  out.chroot = chroot;
  auto hosts = text.substr(0, slash);
  while (!hosts.empty()) {
    const auto comma = std::min(hosts.find(','), hosts.size());
    auto one = hosts.substr(0, comma);
    hosts.remove_prefix(std::min(comma + 1, hosts.size()));
    while (one.starts_with(' ') || one.starts_with('\t')) one.remove_prefix(1);
    while (one.ends_with(' ') || one.ends_with('\t')) one.remove_suffix(1);
    if (one.empty()) continue;
    auto server = parse_server(one);
    if (!server) return wrong(one);
    out.servers.push_back(std::move(*server));
  }
  if (out.servers.empty()) return wrong(text);
  return out;
}

}  // namespace weir
