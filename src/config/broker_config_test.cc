#include "config/broker_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::config {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Properties with_zookeeper(Properties p) {
  p.emplace("zookeeper.connect", "localhost:2181");
  return p;
}

LoadedBrokerConfig load(Properties file, Properties dynamic_broker = {}, Properties dynamic_default = {}) {
  auto loaded = load_broker_config({std::move(dynamic_broker), std::move(dynamic_default), with_zookeeper(file)});
  if (!loaded) {
    ADD_FAILURE() << testing::PrintToString(loaded.error());
    return {};
  }
  return std::move(*loaded);
}

std::vector<std::string> errors_of(Properties file) {
  auto loaded = load_broker_config({{}, {}, with_zookeeper(std::move(file))});
  return loaded ? std::vector<std::string>{} : loaded.error();
}

TEST(BrokerConfig, WithoutAnythingHasKafkasDefaults) {
  auto [c, warnings, accepted] = load({});
  EXPECT_THAT(warnings, IsEmpty());
  EXPECT_THAT(accepted, IsEmpty());
  BrokerConfig defaults;  // the header's own initializers say the same as the table
  EXPECT_EQ(c.num_partitions, defaults.num_partitions);
  EXPECT_EQ(c.socket_request_max_bytes, defaults.socket_request_max_bytes);
  EXPECT_EQ(c.connections_max_idle_ms, defaults.connections_max_idle_ms);
  EXPECT_EQ(c.group_initial_rebalance_delay_ms, defaults.group_initial_rebalance_delay_ms);
  EXPECT_EQ(c.offsets_topic_replication_factor, defaults.offsets_topic_replication_factor);
  EXPECT_EQ(c.producer_id_expiration_ms, defaults.producer_id_expiration_ms);
  EXPECT_EQ(c.replica_lag_time_max_ms, defaults.replica_lag_time_max_ms);
  EXPECT_EQ(c.log_retention_check_interval_ms, defaults.log_retention_check_interval_ms);
  EXPECT_EQ(c.log_cleaner_io_max_bytes_per_second, defaults.log_cleaner_io_max_bytes_per_second);
  EXPECT_EQ(c.weir_log_open_files_max, defaults.weir_log_open_files_max);
  EXPECT_EQ(c.inter_broker_protocol, (KafkaVersion{3, 9}));
  EXPECT_EQ(c.zookeeper_connection_timeout_ms, 18000);
  EXPECT_THAT(c.log_dirs, ElementsAre("/tmp/kafka-logs"));
  ASSERT_EQ(c.listeners.size(), 1u);
  EXPECT_EQ(c.listeners[0].text(), "PLAINTEXT://:9092");
  EXPECT_EQ(c.advertised, c.listeners);
  EXPECT_EQ(c.inter_broker_listener, "PLAINTEXT");
  EXPECT_FALSE(c.weir_metrics_listener.has_value());
}

TEST(BrokerConfig, WhatIsLeftOutOfSocketsIsNotKafkasFixedNumber) {
  EXPECT_EQ(load({}).config.socket_receive_buffer_bytes, -1);
  EXPECT_EQ(load({}).config.socket_listen_backlog_size, 4096);
  EXPECT_EQ(load({{"socket.listen.backlog.size", "50"}}).config.socket_listen_backlog_size, 50);
}

TEST(BrokerConfig, ReadsTheFileOfARealCluster) {
  auto text = R"(
broker.id=3
broker.rack=use1-az1
listeners=CLIENT_SECURE://:9094,CLIENT://10.0.0.1:9092,REPLICATION://[fd00::1]:9093
advertised.listeners=CLIENT://b-3.example.com:9092,REPLICATION://b-3-internal:9093,CLIENT_SECURE://b-3.example.com:9094
listener.security.protocol.map=CLIENT:PLAINTEXT,CLIENT_SECURE:SSL,REPLICATION:SSL
inter.broker.listener.name=replication
listener.name.client_secure.ssl.keystore.location=/keys/a.jks
listener.name.client.max.connections=50
log.dirs=/data/a, /data/b
zookeeper.session.timeout.ms=6000
num.network.threads=5
group.coordinator.new.enable=false
)";
  auto file = parse_properties(text);
  ASSERT_TRUE(file);
  auto [c, warnings, accepted] = load(*file);
  EXPECT_THAT(warnings, IsEmpty());
  EXPECT_EQ(c.broker_id, BrokerId{3});
  EXPECT_EQ(c.rack, "use1-az1");
  ASSERT_EQ(c.listeners.size(), 3u);
  EXPECT_EQ(c.listeners[0].protocol, SecurityProtocol::ssl);
  EXPECT_EQ(c.listeners[1].host, "10.0.0.1");
  EXPECT_EQ(c.listeners[2].host, "fd00::1");
  EXPECT_EQ(c.listeners[2].text(), "REPLICATION://[fd00::1]:9093");
  EXPECT_EQ(c.advertised[0].text(), "CLIENT://b-3.example.com:9092");
  EXPECT_EQ(c.inter_broker_listener, "REPLICATION");
  EXPECT_THAT(c.log_dirs, ElementsAre("/data/a", "/data/b"));
  EXPECT_EQ(c.zookeeper_connection_timeout_ms, 6000);
  EXPECT_EQ(c.listener_max_connections.at("client"), 50);
  EXPECT_THAT(accepted, Contains("num.network.threads"));
  EXPECT_THAT(accepted, testing::Not(Contains("listener.name.client_secure.ssl.keystore.location")));
}

TEST(BrokerConfig, ListenersOfKafkaBeforeThree) {
  auto [c, warnings, accepted] =
      load({{"host.name", "10.1.1.1"}, {"port", "9099"}, {"advertised.host.name", "pub.example.com"}});
  EXPECT_EQ(c.listeners[0].text(), "PLAINTEXT://10.1.1.1:9099");
  EXPECT_EQ(c.advertised[0].text(), "PLAINTEXT://pub.example.com:9099");
  EXPECT_EQ(warnings.size(), 3u);
}

TEST(BrokerConfig, ListenersThatCannotBe) {
  auto one = [](Properties p) {
    auto e = errors_of(std::move(p));
    return e.empty() ? std::string("no error") : e.front();
  };
  EXPECT_EQ(one({{"listeners", "PLAINTEXT://:99999"}}),
            "listeners=PLAINTEXT://:99999: must be NAME://HOST:PORT separated by commas, with a port from 0 to 65535");
  EXPECT_THAT(one({{"listeners", "localhost:9092"}}), HasSubstr("must be NAME://HOST:PORT"));
  EXPECT_THAT(one({{"listeners", "FRONT://:9092"}}), HasSubstr("listener FRONT must have a security protocol"));
  EXPECT_THAT(one({{"listeners", "PLAINTEXT://:1,PLAINTEXT://:2"}}), HasSubstr("a name of its own"));
  EXPECT_THAT(one({{"listeners", "PLAINTEXT://:1,SSL://:1"}}), HasSubstr("a port of its own"));
  EXPECT_THAT(one({{"listeners", ""}}), HasSubstr("must not be empty"));
  EXPECT_THAT(one({{"listeners", "PLAINTEXT://0.0.0.0:9092"}}), HasSubstr("set advertised.listeners"));
  EXPECT_THAT(one({{"advertised.listeners", "SSL://h:1"}}), HasSubstr("must be a listener of listeners"));
  EXPECT_THAT(one({{"listeners", "SSL://:1"}}), HasSubstr("security.inter.broker.protocol=PLAINTEXT"));
  EXPECT_THAT(one({{"listener.security.protocol.map", "A:B"}}), HasSubstr("NAME:PROTOCOL"));
  EXPECT_THAT(one({{"listeners", "PLAINTEXT://[::1:9092"}}), HasSubstr("must be NAME://HOST:PORT"));
}

TEST(BrokerConfig, OneListenerOnBothFamilies) {
  auto c = load({{"listeners", "PLAINTEXT://127.0.0.1:9092,PLAINTEXT://[::1]:9092"}}).config;
  EXPECT_EQ(c.listeners.size(), 2u);
  EXPECT_EQ(c.advertised.size(), 1u);
}

TEST(BrokerConfig, AllErrorsAtOnceEachWithKeyValueAndRange) {
  EXPECT_THAT(errors_of({{"num.partitions", "0"}, {"message.max.bytes", "many"}}),
              ElementsAre("message.max.bytes=many: must be a whole number from -2147483648 to 2147483647, at least 0",
                          "num.partitions=0: must be at least 1"));
  EXPECT_THAT(errors_of({{"log.retention.hours", "0"}}),
              ElementsAre("log.retention.hours=0: must be at least 1, or -1"));
  EXPECT_THAT(
      errors_of({{"queued.max.request.bytes", "1000"}}),
      ElementsAre("queued.max.request.bytes=1000: must be at least socket.request.max.bytes (104857600), or -1"));
  EXPECT_THAT(errors_of({{"broker.id", "1001"}}),
              ElementsAre("broker.id=1001: must be at most reserved.broker.max.id (1000)"));
  EXPECT_THAT(errors_of({{"process.roles", "broker"}}), ElementsAre(HasSubstr("ZooKeeper mode")));
  EXPECT_THAT(errors_of({{"inter.broker.protocol.version", "4.0"}}), ElementsAre(HasSubstr("at most 3.9")));
  EXPECT_THAT(errors_of({{"weir.metrics.listener", "11001"}}),
              ElementsAre("weir.metrics.listener=11001: must be HOST:PORT"));
  EXPECT_THAT(load_broker_config({}).error(),
              ElementsAre("zookeeper.connect=: must be set: Weir keeps the cluster's state in ZooKeeper"));
}

TEST(BrokerConfig, UnknownKeysAreWarnings) {
  auto [c, warnings, accepted] = load({{"num.partition", "3"},
                                       {"authorizer.zookeeper.url", "x"},
                                       {"confluent.metrics.topic", "x"},
                                       {"rlmm.config.a", "x"},
                                       {"rsm.config.a", "x"}});
  EXPECT_THAT(warnings,
              ElementsAre("unknown key authorizer.zookeeper.url: it has no effect",
                          "unknown key confluent.metrics.topic: it has no effect",
                          "unknown key num.partition: it has no effect", "unknown key rlmm.config.a: it has no effect",
                          "unknown key rsm.config.a: it has no effect"));
  EXPECT_THAT(accepted, IsEmpty());
  EXPECT_EQ(c.num_partitions, 1);
}

TEST(BrokerConfig, AKeyOfAListenerThatIsNotThereIsAWarning) {
  EXPECT_THAT(load({{"listener.name.nosuch.max.connections", "3"}}).warnings,
              ElementsAre("listener.name.nosuch.max.connections has no effect: there is no listener nosuch"));
  EXPECT_THAT(load({{"listener.name.PLAINTEXT.max.connections", "3"}}).warnings, ElementsAre(HasSubstr("lower case")));
  EXPECT_THAT(load({{"listener.name.plaintext.max.connections", "3"}}).warnings, IsEmpty());
  EXPECT_THAT(errors_of({{"listener.name.plaintext.max.connections", "abc"}}),
              ElementsAre(HasSubstr("listener.name.plaintext.max.connections=abc: must be")))
      << "as it stands in the file";
}

// Nobody is to take a broker for closed that is open to everybody.
TEST(BrokerConfig, AnAuthorizerStopsTheStartUnlessItIsSaidThatItNeedNot) {
  const std::string authorizer = "kafka.security.authorizer.AclAuthorizer";
  const auto errors = errors_of({{"authorizer.class.name", authorizer}, {"super.users", "User:a"}});
  ASSERT_THAT(errors, ElementsAre(HasSubstr("authorizer.class.name=" + authorizer + ": must not be set")));
  EXPECT_THAT(errors[0], HasSubstr("weir.ignore.unsupported=authorizer.class.name"));
  EXPECT_THAT(errors_of({{"authorizer.class.name", ""}}), IsEmpty());
  EXPECT_THAT(
      load({{"authorizer.class.name", authorizer}, {"weir.ignore.unsupported", "authorizer.class.name"}}).warnings,
      ElementsAre(HasSubstr("everybody may do everything")));
  EXPECT_THAT(errors_of({{"weir.ignore.unsupported", "num.partitions"}}),
              ElementsAre(HasSubstr("weir.ignore.unsupported=num.partitions: must be some of: authorizer.class.name")));
}

TEST(BrokerConfig, WhatIsAskedForAndNotThereIsAWarningEach) {
  const std::pair<const char*, const char*> asked[] = {
      {"alter.config.policy.class.name", "a.B"},
      {"client.quota.callback.class", "a.B"},
      {"control.plane.listener.name", "PLAINTEXT"},
      {"create.topic.policy.class.name", "a.B"},
      {"delegation.token.secret.key", "x"},
      {"kafka.metrics.reporters", "a.B"},
      {"log.cleanup.policy", "compact"},
      {"log.cleanup.policy", "compact,delete"},
      {"metric.reporters", "a.B"},
      {"principal.builder.class", "a.B"},
      {"quota.producer.default", "1000"},
      {"remote.log.storage.system.enable", "true"},
      {"sasl.enabled.mechanisms", "SCRAM-SHA-512"},
      {"ssl.engine.factory.class", "a.B"},
  };
  for (const auto& [key, value] : asked) {
    const auto warnings = load({{key, value}}).warnings;
    EXPECT_THAT(warnings, ElementsAre(HasSubstr(key))) << key;
  }
  EXPECT_THAT(load({{"delegation.token.secret.key", "geheim"}}).warnings,
              ElementsAre(testing::Not(HasSubstr("geheim"))));
  EXPECT_THAT(load({{"log.cleanup.policy", "delete"},
                    {"metric.reporters", ""},
                    {"remote.log.storage.system.enable", "false"},
                    {"client.quota.callback.class", ""}})
                  .warnings,
              IsEmpty());
}

TEST(BrokerConfig, WhereZooKeeperIsMustBeWellSaid) {
  for (const char* bad : {"127.0.77.1:99999", "h:abc", "h:2177x", ":2181", "h:0", "/chroot", ","}) {
    EXPECT_THAT(errors_of({{"zookeeper.connect", bad}}),
                ElementsAre(HasSubstr(std::string("zookeeper.connect=") + bad + ": must be HOST[:PORT]")))
        << bad;
  }
  EXPECT_THAT(errors_of({{"zookeeper.connect", "zk1,zk2:2182,[::1]:2181/a/b"}}), IsEmpty());
}

TEST(BrokerConfig, ALogDirectoryIsNamedOnce) {
  EXPECT_THAT(errors_of({{"log.dirs", "/d/a,/d/b,/d//a/"}}),
              ElementsAre("log.dirs=/d/a,/d/b,/d//a/: must be directories, each named once"));
  EXPECT_THAT(errors_of({{"log.dirs", "/d/a,/d/ab"}}), IsEmpty());
}

TEST(BrokerConfig, reads_from_the_nearest_replica_are_asked_for_by_the_whole_name_of_kafkas_class) {
  auto [aware, none, accepted] =
      load({{"replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector"}});
  EXPECT_TRUE(aware.rack_aware_reads);
  EXPECT_THAT(none, IsEmpty());
  auto [leader, still_none, accepted2] =
      load({{"replica.selector.class", "org.apache.kafka.common.replica.LeaderSelector"}});
  EXPECT_FALSE(leader.rack_aware_reads);
  EXPECT_THAT(still_none, IsEmpty());
  auto [own, warnings, accepted3] = load({{"replica.selector.class", "com.example.Selector"}});
  EXPECT_FALSE(own.rack_aware_reads);
  EXPECT_THAT(warnings, ElementsAre(testing::HasSubstr("replica.selector.class=com.example.Selector")));
}

TEST(BrokerConfig, DynamicLayersStandOverTheFile) {
  Properties file{{"message.max.bytes", "1000"}, {"max.connections", "10"}, {"num.partitions", "5"}};
  auto [c, warnings, accepted] =
      load(file, {{"message.max.bytes", "3000"}}, {{"message.max.bytes", "2000"}, {"max.connections", "20"}});
  EXPECT_EQ(c.message_max_bytes, 3000);
  EXPECT_EQ(c.max_connections, 20);
  EXPECT_THAT(warnings, IsEmpty());
}

TEST(BrokerConfig, WhatCannotBeInADynamicLayerIsLeftOutWithAWarning) {
  auto [c, warnings, accepted] =
      load({{"num.partitions", "5"}}, {{"num.partitions", "7"}, {"message.max.bytes", "-4"}, {"bogus", "1"}},
           {{"advertised.listeners", "PLAINTEXT://x:1"}});
  EXPECT_EQ(c.num_partitions, 5);
  EXPECT_EQ(c.message_max_bytes, 1048588);
  EXPECT_TRUE(c.advertised[0].host.empty());
  EXPECT_EQ(warnings.size(), 4u);
}

TEST(BrokerConfig, DynamicValuesThatDoNotFitTogetherAreLeftOut) {
  auto [c, warnings, accepted] =
      load({{"advertised.listeners", "PLAINTEXT://a:1"}}, {{"advertised.listeners", "SSL://b:2"}});
  EXPECT_EQ(c.advertised[0].text(), "PLAINTEXT://a:1");
  EXPECT_THAT(warnings, Contains(HasSubstr("must be a listener of listeners")));
}

TEST(BrokerConfig, ValueKnowsDefaults) {
  auto c = load({{"rack", "x"}, {"num.io.threads", "2"}}).config;
  EXPECT_EQ(c.value("num.io.threads"), "2");
  EXPECT_EQ(c.value("num.partitions"), "1");
  EXPECT_EQ(c.value("advertised.listeners"), "");
}

TEST(KafkaVersion, Forms) {
  EXPECT_EQ(parse_kafka_version("3.9-IV0"), (KafkaVersion{3, 9}));
  EXPECT_EQ(parse_kafka_version("2.2.1"), (KafkaVersion{2, 2}));
  EXPECT_EQ(parse_kafka_version("0.10.2-IV0"), (KafkaVersion{0, 10}));
  for (const char* bad : {"", "3", "3.", "3.9-IV", "3.9-IVx", "9.9", "3.10", "a.b", "0.10", "1.2.3.4.5", "-1.2"}) {
    EXPECT_EQ(parse_kafka_version(bad), std::nullopt) << bad;
  }
}

TEST(HostPort, Forms) {
  EXPECT_EQ(parse_host_port("127.0.0.1:11001"), (HostPort{"127.0.0.1", 11001}));
  EXPECT_EQ(parse_host_port(" [::1]:1 "), (HostPort{"::1", 1}));
  for (const char* bad : {"", ":1", "h", "h:", "h:65536", "h:-1", "[::1]", "::1:5", "h h:1", "[]:1"}) {
    EXPECT_EQ(parse_host_port(bad), std::nullopt) << bad;
  }
}

TEST(BrokerConfig, AclsInZooKeeperNeedSomebodyWhoMakesThem) {
  EXPECT_THAT(errors_of({{"zookeeper.set.acl", "true"}}), Contains(HasSubstr("zookeeper.set.acl=true")));
  EXPECT_THAT(errors_of({{"zookeeper.set.acl", "true"}, {"zookeeper.ssl.client.enable", "true"}}),
              Contains(HasSubstr("zookeeper.set.acl=true")));
  EXPECT_THAT(errors_of({{"zookeeper.set.acl", "true"}, {"weir.zookeeper.jaas.config", "/etc/jaas"}}), IsEmpty());
  EXPECT_THAT(errors_of({{"zookeeper.set.acl", "true"},
                         {"weir.zookeeper.sasl.username", "kafka"},
                         {"weir.zookeeper.sasl.password", "secret"}}),
              IsEmpty());
  EXPECT_THAT(errors_of({{"zookeeper.set.acl", "true"},
                         {"zookeeper.ssl.client.enable", "true"},
                         {"zookeeper.ssl.keystore.location", "/etc/k.p12"}}),
              IsEmpty());
  EXPECT_THAT(errors_of({{"weir.zookeeper.sasl.username", "kafka"}}),
              Contains(HasSubstr("weir.zookeeper.sasl.password")));
}

TEST(BrokerConfig, TlsToZooKeeperIsKafkas) {
  auto c = load({}).config;
  EXPECT_FALSE(c.zookeeper_ssl_client_enable);
  EXPECT_TRUE(c.zookeeper_ssl_verify_hostname);
  EXPECT_THAT(c.zookeeper_ssl_protocols, ElementsAre("TLSv1.2"));
  c = load({{"zookeeper.ssl.enabled.protocols", "TLSv1.2,TLSv1.3"},
            {"zookeeper.ssl.endpoint.identification.algorithm", ""}})
          .config;
  EXPECT_FALSE(c.zookeeper_ssl_verify_hostname);
  EXPECT_THAT(c.zookeeper_ssl_protocols, ElementsAre("TLSv1.2", "TLSv1.3"));
}

}  // namespace
}  // namespace weir::config
