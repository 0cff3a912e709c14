#include "broker/zk_security.h"

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "config/jaas.h"
#include "net/tls.h"
#include "zkwire/layout.h"

namespace weir::broker {
namespace {

constexpr std::size_t jaas_bytes_max = 1024 * 1024;

Result<std::shared_ptr<const net::TlsContext>> tls_of(const config::BrokerConfig& config, runtime::Files& files) {
  net::TlsOptions options;
  options.keystore = {config.zookeeper_ssl_keystore_location, config.zookeeper_ssl_keystore_type,
                      config.zookeeper_ssl_keystore_password};
  options.truststore = {config.zookeeper_ssl_truststore_location, config.zookeeper_ssl_truststore_type,
                        config.zookeeper_ssl_truststore_password};
  options.protocols = config.zookeeper_ssl_protocols;
  options.cipher_suites = config.zookeeper_ssl_cipher_suites;
  options.verify_hostname = config.zookeeper_ssl_verify_hostname;
  auto made = net::TlsContext::for_client(options, files);
  if (!made) return fail(made.error().code, fmt::format("zookeeper.ssl: {}", made.error().message));
  return made;
}

Result<> log_in(zkclient::Security& security, const config::BrokerConfig& config, runtime::Files& files) {
  security.sasl_username = config.weir_zookeeper_sasl_username;
  security.sasl_password = config.weir_zookeeper_sasl_password;
  const auto& path = config.weir_zookeeper_jaas_config;
  if (path.empty()) return {};
  const auto bad = [&path](std::string_view what) {
    return fail(ErrorCode::INVALID_CONFIG, fmt::format("weir.zookeeper.jaas.config={}: {}", path, what));
  };
  auto text = files.read_whole(path, jaas_bytes_max);
  if (!text) return bad(text.error().message);
  auto login = config::parse_jaas(*text, "Client");
  if (!login) return bad(login.error().message);
  if (!*login) return bad("there is no section Client in it");
  const auto& found = **login;
  if (!found.module.ends_with("DigestLoginModule")) {
    return bad(fmt::format("its section Client is for {}; only DigestLoginModule is supported", found.module));
  }
  const auto username = found.options.find("username");
  const auto password = found.options.find("password");
  if (username == found.options.end() || username->second.empty() || password == found.options.end()) {
    return bad("its section Client names no username and password");
  }
  security.sasl_username = username->second;
  security.sasl_password = password->second;
  return {};
}

}  // namespace

zkclient::Acl secure_acl(std::string_view path) {
  if (path == zkwire::layout::consumers_path) return zkclient::Acl::open;
  return zkwire::layout::sensitive_path(path) ? zkclient::Acl::creator : zkclient::Acl::creator_all_read;
}

Result<> secure(zkclient::RealOptions& options, const config::BrokerConfig& config, runtime::Files& files) {
  auto security = std::make_shared<zkclient::Security>();
  if (config.zookeeper_ssl_client_enable) {
    auto tls = tls_of(config, files);
    if (!tls) return std::unexpected(tls.error());
    security->tls = std::move(*tls);
  }
  if (auto done = log_in(*security, config, files); !done) return done;
  if (security->tls || !security->sasl_username.empty()) options.security = std::move(security);
  if (config.zookeeper_set_acl) options.acl_of = secure_acl;
  return {};
}

}  // namespace weir::broker
