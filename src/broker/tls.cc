#include "broker/tls.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>
#include <optional>
#include <utility>

#include "base/log.h"
#include "config/key.h"
#include "security/store.h"

namespace weir::broker {
namespace {

std::unexpected<Error> bad(std::string text) { return fail(ErrorCode::INVALID_CONFIG, std::move(text)); }

// A listener's own keys stand before the broker's.
class Keys {
 public:
  Keys(const config::BrokerConfig& config, std::string_view listener) : config_(config), prefix_("listener.name.") {
    for (const char c : listener) prefix_ += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    prefix_ += '.';
  }
  std::string operator()(std::string_view key) const {
    const auto own = config_.values.find(prefix_ + std::string(key));
    return own != config_.values.end() ? own->second : config_.value(key);
  }

 private:
  const config::BrokerConfig& config_;
  std::string prefix_;
};

bool speaks_tls(const config::Endpoint& endpoint) { return endpoint.protocol == config::SecurityProtocol::ssl; }

// A file's store, or the one that stands in the configuration itself; both at once is a mistake.
Result<net::TlsStore> store_of(const Keys& keys, const std::string& which, std::string pem) {
  net::TlsStore store;
  store.location = keys(which + ".location");
  store.type = keys(which + ".type");
  store.password = keys(which + ".password");
  store.pem = std::move(pem);
  if (!store.pem.empty() && !store.location.empty()) {
    return bad(fmt::format("{}.location must not be set where the PEM itself is", which));
  }
  if (!store.pem.empty() && security::kind_of_store(store.pem) != security::StoreKind::pem) {
    return bad(fmt::format("{}: what stands in the configuration itself is no PEM", which));
  }
  return store;
}

Result<security::PrincipalMapper> mapper_of(const config::BrokerConfig& config, std::string_view listener) {
  return security::PrincipalMapper::parse(Keys(config, listener)("ssl.principal.mapping.rules"));
}

std::string day(std::int64_t seconds) {
  const auto time = static_cast<time_t>(seconds);
  tm parts{};
  gmtime_r(&time, &parts);
  std::array<char, 32> text{};
  return {text.data(), strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &parts)};
}

std::string described(const net::TlsContext& context) {
  return fmt::format("certificate '{}', valid until {}", net::own_principal(context), day(net::own_expiry_s(context)));
}

}  // namespace

Result<net::TlsOptions> tls_options(const config::BrokerConfig& config, std::string_view listener) {
  const Keys keys(config, listener);
  net::TlsOptions options;
  std::string own_pem = keys("ssl.keystore.certificate.chain");
  if (own_pem.empty() != keys("ssl.keystore.key").empty()) {
    return bad("ssl.keystore.certificate.chain and ssl.keystore.key must be set together");
  }
  if (!own_pem.empty()) own_pem += '\n' + keys("ssl.keystore.key");
  auto keystore = store_of(keys, "ssl.keystore", std::move(own_pem));
  if (!keystore) return std::unexpected(keystore.error());
  auto truststore = store_of(keys, "ssl.truststore", keys("ssl.truststore.certificates"));
  if (!truststore) return std::unexpected(truststore.error());
  options.keystore = std::move(*keystore);
  options.truststore = std::move(*truststore);
  options.key_password = keys("ssl.key.password");
  options.protocols = config::parse_list(keys("ssl.enabled.protocols"));
  options.cipher_suites = config::parse_list(keys("ssl.cipher.suites"));
  options.verify_hostname = !keys("ssl.endpoint.identification.algorithm").empty();
  const auto auth = keys("ssl.client.auth");
  if (auth == "required") options.client_auth = net::ClientAuth::required;
  if (auth == "requested") options.client_auth = net::ClientAuth::requested;
  options.client_names = config::parse_list(keys("weir.ssl.client.names"));
  return options;
}

Result<BrokerTls::Made> BrokerTls::make(const config::BrokerConfig& config, const std::string& listener) const {
  const auto named = [&](const Error& error) { return bad(fmt::format("listener {}: {}", listener, error.message)); };
  auto options = tls_options(config, listener);
  if (!options) return named(options.error());
  if (!options->keystore.set()) {
    return bad(
        fmt::format("listener {} speaks SSL: set ssl.keystore.location, or ssl.keystore.certificate.chain and "
                    "ssl.keystore.key",
                    listener));
  }
  Made made;
  auto server = net::TlsContext::for_server(*options, files_);
  if (!server) return named(server.error());
  made.server = std::move(*server);
  if (listener == config.inter_broker_listener) {
    auto client = net::TlsContext::for_client(*options, files_);
    if (!client) return named(client.error());
    made.client = std::move(*client);
  }
  return made;
}

std::string BrokerTls::digest(const config::BrokerConfig& config, const std::string& listener) const {
  const auto options = tls_options(config, listener);
  if (!options) return options.error().message;
  std::string all = fmt::format("{}|{}|{}|{}|{}|{}", options->key_password, fmt::join(options->protocols, ","),
                                fmt::join(options->cipher_suites, ","), options->verify_hostname,
                                static_cast<int>(options->client_auth), fmt::join(options->client_names, ","));
  for (const auto* store : {&options->keystore, &options->truststore}) {
    all += fmt::format("|{}|{}|{}|", store->location, store->password, store->pem);
    if (store->location.empty()) continue;
    const auto content = files_.read_whole(store->location, security::store_bytes_max);
    all += content ? *content : content.error().message;
  }
  return security::fingerprint(all);
}

Result<> BrokerTls::load(const config::BrokerConfig& config) {
  for (const auto& endpoint : config.listeners) {
    if (!speaks_tls(endpoint) || cards_.contains(endpoint.listener)) continue;
    auto card = std::make_unique<Card>();
    card->seen = digest(config, endpoint.listener);
    auto made = make(config, endpoint.listener);
    if (!made) return std::unexpected(made.error());
    auto mapper = mapper_of(config, endpoint.listener);
    if (!mapper) return std::unexpected(mapper.error());
    WEIR_LOG(info, "listener {} speaks TLS: {}", endpoint.listener, described(*made->server));
    card->server.replace(std::move(made->server));
    card->client.replace(std::move(made->client));
    card->mapper = std::move(*mapper);
    cards_.emplace(endpoint.listener, std::move(card));
  }
  return {};
}

Result<> BrokerTls::check(const config::BrokerConfig& config) const {
  const std::lock_guard lock(refreshing_);
  for (const auto& [listener, card] : cards_) {
    if (digest(config, listener) == card->seen) continue;
    if (auto made = make(config, listener); !made) return std::unexpected(made.error());
  }
  return {};
}

void BrokerTls::refresh(const config::BrokerConfig& config) {
  const std::lock_guard lock(refreshing_);
  for (const auto& [listener, card] : cards_) {
    auto now = digest(config, listener);
    if (now == card->seen || now == card->failed) continue;
    auto made = make(config, listener);
    if (!made) {
      WEIR_LOG(error, "TLS stays as it was: {}", made.error().message);
      card->failed = std::move(now);
      continue;
    }
    WEIR_LOG(info, "listener {} takes another store: {}", listener, described(*made->server));
    card->server.replace(std::move(made->server));
    card->client.replace(std::move(made->client));
    card->seen = std::move(now);
    card->failed.clear();
  }
}

const BrokerTls::Card* BrokerTls::card(std::string_view listener) const {
  const auto found = cards_.find(listener);
  return found == cards_.end() ? nullptr : found->second.get();
}

std::unique_ptr<net::Transport> BrokerTls::accepted(const net::Endpoint& listener,
                                                    std::unique_ptr<runtime::Socket> socket) const {
  auto plain = net::plain_transport(std::move(socket));
  const auto* of = card(listener.listener);
  return of == nullptr ? std::move(plain) : net::tls_server(std::move(plain), of->server.current());
}

std::unique_ptr<net::Transport> BrokerTls::dialled(const std::string& listener, std::unique_ptr<runtime::Socket> socket,
                                                   const runtime::Address& to) const {
  auto plain = net::plain_transport(std::move(socket));
  const auto* of = card(listener);
  auto context = of == nullptr ? nullptr : of->client.current();
  return context == nullptr ? std::move(plain) : net::tls_client(std::move(plain), std::move(context), to.host);
}

Result<std::string> BrokerTls::principal(const net::Connection& connection) const {
  const auto* of = card(connection.listener());
  const auto& name = connection.transport().peer_principal();
  if (of == nullptr || name.empty()) return fmt::format("User:{}", security::anonymous);
  auto mapped = of->mapper.map(name);
  if (!mapped) return mapped;
  return "User:" + *mapped;
}

}  // namespace weir::broker
