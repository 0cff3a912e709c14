// TLS of a broker: of its listeners (ssl.*, listener.name.X.ssl.*), and of its own connections to other brokers.
//
// Stores may change while the broker runs, as files (looked at every few seconds) and by dynamic configuration
// (KIP-226): new connections then take the new ones, those that are there go on. A store that cannot be used is logged,
// and the one before stays in force.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/error.h"
#include "config/broker_config.h"
#include "net/connection.h"
#include "net/endpoint.h"
#include "net/tls.h"
#include "runtime/files.h"
#include "security/principal.h"

namespace weir::broker {

inline constexpr seconds tls_look_interval{2};

// What the configuration says of TLS on this listener; `listener` in upper case. INVALID_CONFIG names the key.
Result<net::TlsOptions> tls_options(const config::BrokerConfig& config, std::string_view listener);

class BrokerTls {
 public:
  explicit BrokerTls(runtime::Files& files) : files_(files) {}

  // For the listeners of `config` that speak SSL. INVALID_CONFIG names listener and reason. Before all others; blocks.
  Result<> load(const config::BrokerConfig& config);
  // Again, what changed. From any thread; blocks.
  void refresh(const config::BrokerConfig& config);
  // Whether load() would go well. From any thread; blocks.
  Result<> check(const config::BrokerConfig& config) const;
  // Whether any listener speaks SSL.
  bool any() const { return !cards_.empty(); }

  // From any thread.
  std::unique_ptr<net::Transport> accepted(const net::Endpoint& listener,
                                           std::unique_ptr<runtime::Socket> socket) const;
  std::unique_ptr<net::Transport> dialled(const std::string& listener, std::unique_ptr<runtime::Socket> socket,
                                          const runtime::Address& to) const;
  // "User:CN=alice". INVALID_REQUEST where ssl.principal.mapping.rules has no rule for the peer.
  Result<std::string> principal(const net::Connection& connection) const;

 private:
  // One listener's.
  struct Card {
    net::TlsSlot server;
    net::TlsSlot client;
    security::PrincipalMapper mapper;
    std::string seen;    // the configuration and the stores' bytes, as a digest, that is in force
    std::string failed;  // the same, of what could not be used
  };
  struct Made {
    std::shared_ptr<const net::TlsContext> server;
    std::shared_ptr<const net::TlsContext> client;
  };
  Result<Made> make(const config::BrokerConfig& config, const std::string& listener) const;
  std::string digest(const config::BrokerConfig& config, const std::string& listener) const;
  const Card* card(std::string_view listener) const;

  runtime::Files& files_;
  std::map<std::string, std::unique_ptr<Card>, std::less<>> cards_;  // fixed after load()
  mutable std::mutex refreshing_;  // the look of every few seconds and a dynamic change may meet, on the pool
};

}  // namespace weir::broker
