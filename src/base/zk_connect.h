// zookeeper.connect, taken apart: "HOST[:PORT],...[/CHROOT]", as ZooKeeper's own client reads it.
//
// A port that is left out is 2181, servers without text (",,") count for nothing, and an IPv6 address may stand in
// brackets. What ZooKeeper's client would only find out when it connects, or take for another port, is an error here.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

struct ZkServer {
  std::string host;  // an IPv6 address stands without brackets
  std::uint16_t port = 2181;
  friend bool operator==(const ZkServer&, const ZkServer&) = default;
};

struct ZkConnect {
  std::vector<ZkServer> servers;  // at least one
  std::string chroot;             // "" or "/a/b"
};

// The error says what the text must be, without repeating all of it: "must be HOST[:PORT] ...; 'a:0' is not".
std::expected<ZkConnect, std::string> parse_zk_connect(std::string_view text);

}  // namespace weir
