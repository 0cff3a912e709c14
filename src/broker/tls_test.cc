#include "broker/tls.h"

#include <gtest/gtest.h>

#include "config/properties.h"
#include "runtime/sim.h"
#include "security/ca.h"

namespace weir::broker {
namespace {

constexpr std::int64_t long_ago = 1'700'000'000;

class BrokerTlsTest : public testing::Test {
 protected:
  BrokerTlsTest()
      : world_(1), ca_(*security::CertificateAuthority::create("", {long_ago, 3650})), tls_(world_.files()) {
    file_ = {{"zookeeper.connect", "zk:2181"},
             {"listeners", "SSL://b:9094,CLIENTS://b:9095,PLAINTEXT://b:9092"},
             {"listener.security.protocol.map", "SSL:SSL,CLIENTS:SSL,PLAINTEXT:PLAINTEXT"},
             {"security.inter.broker.protocol", "SSL"},
             {"ssl.keystore.location", "/own.pem"},
             {"ssl.truststore.location", "/ca.pem"},
             {"listener.name.clients.ssl.client.auth", "required"}};
    put("/ca.pem", ca_.certificate_pem());
    put("/own.pem", identity("b"));
  }
  void put(const std::string& path, const std::string& content) {
    ASSERT_TRUE(world_.files().write_whole(path, content));
  }
  std::string identity(const std::string& name) {
    const auto made = ca_.issue_server({{name}, {}}, {long_ago, 3000});
    return made->key_pem + made->chain_pem;
  }
  config::BrokerConfig config() {
    auto loaded = config::load_broker_config({{}, {}, file_});
    EXPECT_TRUE(loaded) << loaded.error().front();
    return std::move(loaded->config);
  }
  std::string refused() {
    BrokerTls other(world_.files());
    const auto loaded = other.load(config());
    return loaded ? "" : loaded.error().message;
  }

  runtime::SimWorld world_;
  security::CertificateAuthority ca_;
  BrokerTls tls_;
  config::Properties file_;
};

TEST_F(BrokerTlsTest, AListenersOwnKeysStandBeforeTheBrokers) {
  file_["listener.name.clients.ssl.enabled.protocols"] = "TLSv1.3";
  file_["ssl.endpoint.identification.algorithm"] = "";
  const auto brokers = tls_options(config(), "SSL");
  const auto clients = tls_options(config(), "CLIENTS");
  ASSERT_TRUE(brokers && clients);
  EXPECT_EQ(brokers->client_auth, net::ClientAuth::none);
  EXPECT_EQ(clients->client_auth, net::ClientAuth::required);
  EXPECT_EQ(brokers->protocols, (std::vector<std::string>{"TLSv1.2", "TLSv1.3"}));
  EXPECT_EQ(clients->protocols, (std::vector<std::string>{"TLSv1.3"}));
  EXPECT_EQ(clients->keystore.location, "/own.pem");
  EXPECT_FALSE(brokers->verify_hostname);
}

TEST_F(BrokerTlsTest, PemMayStandInTheConfigurationItself) {
  const auto made = ca_.issue_server({{"b"}, {}}, {long_ago, 3000});
  file_.erase("ssl.keystore.location");
  file_["ssl.keystore.key"] = made->key_pem;
  EXPECT_NE(refused().find("must be set together"), std::string::npos) << refused();
  file_["ssl.keystore.certificate.chain"] = made->chain_pem;
  EXPECT_EQ(refused(), "");
  file_["ssl.keystore.location"] = "/own.pem";
  EXPECT_NE(refused().find("ssl.keystore.location must not be set"), std::string::npos) << refused();
}

TEST_F(BrokerTlsTest, WhatCannotServeIsNamedAtTheStart) {
  file_["listener.name.clients.ssl.keystore.location"] = "/missing";
  EXPECT_NE(refused().find("listener CLIENTS"), std::string::npos) << refused();
  EXPECT_NE(refused().find("/missing"), std::string::npos) << refused();
  file_.erase("listener.name.clients.ssl.keystore.location");
  file_.erase("ssl.keystore.location");
  EXPECT_NE(refused().find("set ssl.keystore.location"), std::string::npos) << refused();
  file_["ssl.keystore.location"] = "/own.pem";
  file_["ssl.principal.mapping.rules"] = "RULE:x";
  EXPECT_NE(refused().find("ssl.principal.mapping.rules"), std::string::npos) << refused();
}

TEST_F(BrokerTlsTest, AStoreThatChangesIsTakenAndOneThatCannotBeReadIsNot) {
  ASSERT_TRUE(tls_.load(config()));
  EXPECT_TRUE(tls_.any());
  put("/own.pem", "broken");
  EXPECT_FALSE(tls_.check(config()));
  tls_.refresh(config());
  put("/own.pem", identity("another"));
  EXPECT_TRUE(tls_.check(config()));
  tls_.refresh(config());
  EXPECT_TRUE(tls_.check(config()));
}

}  // namespace
}  // namespace weir::broker
