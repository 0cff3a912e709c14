// Listeners, the limits at their doors, and the connections behind them, spread over the shards.
//
//   Server server(shards, system_sockets(), service, options);
//   auto bound = co_await server.start({{endpoint}});          // on a shard
//   ...
//   co_await server.stop();                                    // stop accepting, close, await all serve tasks
//
// The server lives on the shard that started it (start and stop are called there); each connection lives on the
// shard that had the fewest when it came, and the Service serves it there.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "net/connection.h"
#include "net/endpoint.h"
#include "runtime/shard.h"
#include "runtime/sockets.h"

namespace weir::net {

class Service {
 public:
  virtual ~Service() = default;
  // Serves one connection on connection->shard() until it ends; the server closes it when this returns. What it
  // spawns for the connection has ended when it returns. From several shards at once.
  virtual runtime::Task<void> serve(std::shared_ptr<Connection> connection) = 0;
};

// Makes the transport of an accepted socket; on the socket's shard.
using TransportFactory =
    std::function<std::unique_ptr<Transport>(const Endpoint& listener, std::unique_ptr<runtime::Socket> socket)>;

inline constexpr std::uint32_t no_limit = 0x7fffffff;

// What one listener may have on top of the server's own limits (listener.name.NAME.*).
struct ListenerLimits {
  std::uint32_t connections_max = no_limit;             // max.connections
  std::uint32_t connections_per_second_max = no_limit;  // max.connection.creation.rate
};

// The limits at the doors; they may change while the server serves (KIP-402, KIP-612).
struct Limits {
  std::uint32_t connections_max = no_limit;         // max.connections: at the limit nothing is accepted until one ends
  std::uint32_t connections_per_ip_max = no_limit;  // max.connections.per.ip: more are closed at once
  std::map<std::string, std::uint32_t> connections_per_ip_overrides;  // max.connections.per.ip.overrides
  // max.connection.creation.rate: on average over `rate_window`; who comes above it waits to be served.
  std::uint32_t connections_per_second_max = no_limit;
  std::map<std::string, ListenerLimits> listeners;  // by name; one that is not here has none of its own
  // At the server's connections_max the one that was silent longest is closed for one that comes, instead of letting it
  // wait: who keeps connections open and says nothing keeps nobody out.
  bool make_room = false;
  // The listener that the server's connections_max and connections_per_second_max do not hold up, only its own do:
  // the brokers' own. Empty: none.
  std::string spared_listener;
};
inline constexpr seconds rate_window{10};

struct ServerOptions : Limits {
  std::uint32_t frame_bytes_max = 100 * 1024 * 1024;  // socket.request.max.bytes
  // Memory of requests from their first byte until they are answered; see net/memory.h.
  std::int64_t queued_bytes_max = -1;         // queued.max.request.bytes; -1: no limit
  std::uint64_t queued_small_bytes_max = 0;   // besides, for frames of at most small_frame_bytes_max; 0: none
  std::int64_t queued_spared_bytes_max = -1;  // of spared_listener, which does not share the others'; -1: no limit
  std::uint64_t queued_push_bytes_max = 1024 * 1024;
  milliseconds idle_max{600'000};   // connections.max.idle.ms; 0 or less: never
  runtime::SocketOptions socket{};  // socket.send.buffer.bytes, socket.receive.buffer.bytes, backlog
  const char* protocol = "Kafka";
  TransportFactory transports;         // empty: plain_transport for every listener
  milliseconds handshake_max{30'000};  // Transport::open() must be done within this time; a busy client may take long
};

struct ListenerOptions {
  Endpoint endpoint;  // port 0: the system's choice
};

class Server {
 public:
  Server(std::vector<runtime::Shard*> shards, runtime::Sockets& sockets, Service& service, ServerOptions options);
  ~Server();  // stop() has ended, or start() was never called
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Binds all or none, then accepts. The error says address and reason. Gives the endpoints with their real ports.
  // Once.
  runtime::Task<Result<std::vector<Endpoint>>> start(std::vector<ListenerOptions> listeners);
  // Stops accepting, closes every connection, and waits for all serve tasks. On the shard of start(). Once.
  runtime::Task<void> stop();
  // Other limits from now on; on the shard of start(). Those who wait at a door are looked at again. Where more are
  // connected than the server may have, those that were silent longest are closed, but none of the spared listener;
  // connections above the limit of one listener or one address stay.
  void set_limits(Limits limits);
  // Stops accepting only: those who are connected stay.
  void stop_accepting();

  const Counters& counters() const;
  runtime::Budget& budget();
  const Memory& memory() const;  // of all listeners but the spared one
  // Open connections of each listener, a glance from any thread.
  std::uint64_t connections(std::string_view listener) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weir::net
