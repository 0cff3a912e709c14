// One client's connection: frames from the socket to the engine, and its deliveries back. On the connection's shard.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "net/connection.h"
#include "runtime/shard.h"
#include "zkserver/engine.h"
#include "zkserver/link.h"

namespace weir::zkserver {

class SessionLink : public Link, public std::enable_shared_from_this<SessionLink> {
 public:
  // Requests of one connection that may wait for their answers; then it is not read.
  static constexpr std::uint32_t requests_in_flight_max = 64;
  // Bytes that wait to be sent: with the first it is not read, with the second it is closed.
  static constexpr std::size_t out_bytes_pause = 1 * MiB;
  static constexpr std::size_t out_bytes_max = 96 * MiB;

  SessionLink(std::shared_ptr<net::Connection> connection, Engine& engine, const Options& options);

  // Speaks with the client until one of the two ends it.
  runtime::Task<void> serve();
  void deliver(Delivery delivery) override;

 private:
  runtime::Task<bool> handshake();
  runtime::Task<void> read_requests();
  runtime::Task<void> write_answers();
  bool may_read() const;

  std::shared_ptr<net::Connection> connection_;
  Engine& engine_;
  const Options& options_;
  std::vector<bytes::Shared> out_;
  std::size_t out_bytes_ = 0;
  std::uint32_t in_flight_ = 0;
  bool closing_ = false;
  runtime::Waiter answers_;
  runtime::Waiter room_;
};

}  // namespace weir::zkserver
