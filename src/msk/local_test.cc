#include "msk/local.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "msk/kafka.h"
#include "msk/workflow.h"

namespace weir::msk {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Cluster local(std::int32_t brokers) {
  Cluster c;
  c.name = "local";
  c.id = "5d1f0a52-7f0c-4c3e-8a55-000000000000-2";
  for (std::int32_t id = 1; id <= brokers; ++id) {
    c.members.emplace(id, milliseconds(1));
    c.supervised[id] = "127.0.0." + std::to_string(id) + ":9092";
  }
  c.spec.brokers = brokers;
  c.spec.client_broker = ClientBroker::plaintext;
  c.spec.in_cluster = false;
  c.spec.instance_type = local_instance_type;
  c.spec.defaults = "default.replication.factor=1\n";
  fit_zones(c);
  return c;
}

TEST(Local, WhatAUserSaidIsAllThatGoesOverTheOptionsOfWeirUp) {
  auto spec = local(1).spec;
  EXPECT_EQ(local_properties(spec),
            (config::Properties{{"inter.broker.protocol.version", "3.9"}, {"weir.metrics.listener", "@ABSENT@"}}));
  spec.server_properties = "num.io.threads=3\nmessage.timestamp.type=LogAppendTime\n";
  spec.jmx_exporter = true;
  spec.volume_gib = 2;
  const auto said = local_properties(spec);
  EXPECT_EQ(said.at("num.io.threads"), "3");
  EXPECT_EQ(said.at("log.message.timestamp.type"), "LogAppendTime");
  EXPECT_EQ(said.at("weir.metrics.listener"), mark_metrics);
  EXPECT_EQ(said.at("weir.storage.quota.bytes"), std::to_string(2 * GiB));
  EXPECT_FALSE(said.contains("default.replication.factor")) << "`weir up` says it";
  EXPECT_FALSE(said.contains("listeners"));
}

TEST(Local, TlsComesBesideThePlaintextListenerThatBrokersUse) {
  auto spec = local(1).spec;
  spec.client_broker = ClientBroker::tls_plaintext;
  spec.mutual_tls = true;
  spec.unauthenticated = false;
  const auto said = local_properties(spec);
  EXPECT_EQ(said.at("listeners"), "@LISTENERS@,CLIENT_SECURE://@TLS@");
  EXPECT_EQ(said.at("inter.broker.listener.name"), "PLAINTEXT");
  EXPECT_EQ(said.at("listener.name.client_secure.ssl.client.auth"), "required");
  EXPECT_EQ(local_tls_listener("kafka.lan:9102"), "kafka.lan:9104");
  EXPECT_EQ(local_complaint(spec, {}), "");
  spec.client_broker = ClientBroker::tls;
  EXPECT_THAT(local_complaint(spec, {}), HasSubstr("PLAINTEXT or TLS_PLAINTEXT"));
}

TEST(Local, WhatWeirUpOverridesCannotBeConfigured) {
  LocalPlace place;
  place.fixed = [] { return std::vector<std::string>{"num.partitions", "inter.broker.protocol.version"}; };
  auto spec = local(1).spec;
  EXPECT_EQ(local_complaint(spec, place), "");
  spec.server_properties = "num.partitions=4\n";
  EXPECT_THAT(local_complaint(spec, place), HasSubstr("num.partitions is set by `weir up --override`"));
}

// A value that is MSK's default is a change where it is not the cluster's.
TEST(Local, ItsOwnDefaultsAreWhatAConfigurationChanges) {
  const auto from = local(1).spec;
  auto to = from;
  to.server_properties = "auto.create.topics.enable=false\nmessage.max.bytes=2000000\n";
  const auto change = change_between(effective_properties(from, 1), effective_properties(to, 1));
  EXPECT_TRUE(change.roll);
  ASSERT_EQ(change.live.size(), 1u);
  EXPECT_EQ(change.live.at("message.max.bytes"), "2000000");
}

TEST(Local, ZonesAndListenersFollowItsBrokers) {
  LocalPlace place;
  place.listener = [](std::int32_t id) { return "host:" + std::to_string(9082 + 10 * id); };
  auto c = local(1);
  EXPECT_THAT(c.zones, ElementsAre("use1-az1"));
  add_member(c, 2, milliseconds(7), place);
  EXPECT_THAT(c.zones, ElementsAre("use1-az1", "use1-az2"));
  EXPECT_EQ(c.subnets.size(), 2u);
  EXPECT_EQ(c.supervised.at(2), "host:9102");
  EXPECT_EQ(c.chroot(), "");
  remove_member(c, 2);
  EXPECT_EQ(c, local(1));
}

TEST(Local, MoreBrokersRestartTheOthersWhereDefaultsDependOnTheirNumber) {
  const auto c = local(1);
  Operation o;
  o.type = "INCREASE_BROKER_COUNT";
  o.from = o.to = c.spec;
  o.to.brokers = 2;
  o.created_brokers = {2};
  const auto restarts = [](const std::vector<Step>& steps) {
    return std::ranges::count(steps, StepKind::restart, &Step::kind);
  };
  EXPECT_EQ(restarts(plan(o, c)), 0);
  o.to.defaults = "default.replication.factor=2\n";
  EXPECT_EQ(restarts(plan(o, c)), 1);
}

}  // namespace
}  // namespace weir::msk
