// The engine's view of a client's connection: where its answers go.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bytes/shared.h"
#include "runtime/shard.h"
#include "zkserver/tree/watches.h"

namespace weir::zkserver {

// Frames in the order to send. `replies` of them answer requests; the others are events.
struct Delivery {
  std::vector<bytes::Shared> frames;
  std::uint32_t replies = 0;
  bool close = false;  // after the frames
};

class Link {
 public:
  Link(ConnId conn, runtime::Shard& owner, std::string ip, std::uint16_t port)
      : id(conn), shard(owner), address(std::move(ip)), peer_port(port) {}
  virtual ~Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // On `shard`.
  virtual void deliver(Delivery delivery) = 0;

  const ConnId id;
  runtime::Shard& shard;
  const std::string address;  // without brackets
  const std::uint16_t peer_port;
};

}  // namespace weir::zkserver
