#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "msk/codec.h"
#include "msk/fake_kafka.h"
#include "msk/plane_fixture.h"

namespace weir::msk {
namespace {

using testing::HasSubstr;

// A cluster whose partitions go to three more brokers, with a control plane that lets them go at a rate.
class MoveTest : public MskTest {
 protected:
  MoveTest() {
    end();
    tune = [](ServiceOptions& options) { options.move_rate = 1000; };
    make();
    arn = make_cluster();
    kafka.emplace(*tree, *brokers_zk, chroot(arn));
    for (int i = 0; i < 6; ++i) kafka->add("t", i, {1 + i % 3, 1 + (i + 1) % 3, 1 + (i + 2) % 3});
    pass();
  }
  void pass() {
    world.run_for(milliseconds(20));
    runtime::block_on(shard, [this]() -> Task<void> { return kafka->look(); });
  }
  template <class Is>
  bool comes(Is is) {
    for (int i = 0; i < 1000 && !is(); ++i) pass();
    return is();
  }
  std::string config(const std::string& of) { return tree->data(chroot(arn) + "/config/" + of).value_or(""); }
  bool throttled_anywhere() {
    return std::ranges::any_of(tree->dump(), [](const auto& node) {
      return node.first.find("/config/") != std::string::npos && node.second.find("throttled") != std::string::npos;
    });
  }
  Said grow() {
    return on("UpdateBrokerCount", arn, {{"currentVersion", version(arn)}, {"targetNumberOfBrokerNodes", 6}});
  }

  void configure(const std::string& of, const zkwire::layout::Config& keys) {
    write(chroot(arn) + "/config/" + of, zkwire::layout::encode_config(keys));
  }

  std::string arn;
  std::optional<FakeKafka> kafka;
};

TEST_F(MoveTest, WhatAUserHadThrottledStaysSoAndIsThereAgain) {
  configure("topics/t",
            {{"leader.replication.throttled.replicas", "0:9"}, {"follower.replication.throttled.replicas", "*"}});
  configure("brokers/1", {{"leader.replication.throttled.rate", "77"}});
  const auto topic = config("topics/t");
  const auto broker = config("brokers/1");
  kafka->never_in_sync = {4, 5, 6};
  ASSERT_EQ(grow().status, 200);
  ASSERT_TRUE(comes([&] { return kafka->reassignments > 0; }));
  again();
  for (int i = 0; i < 20; ++i) pass();
  EXPECT_THAT(config("topics/t"), HasSubstr("\"leader.replication.throttled.replicas\":\"0:9,"));
  EXPECT_THAT(config("topics/t"), HasSubstr("\"follower.replication.throttled.replicas\":\"*\""));
  EXPECT_THAT(config("brokers/1"), HasSubstr("\"leader.replication.throttled.rate\":\"77\""));
  EXPECT_THAT(config("brokers/1"), HasSubstr("\"follower.replication.throttled.rate\":\"1000\""));
  again();
  kafka->never_in_sync.clear();
  ASSERT_TRUE(comes([&] { return state(arn) == "ACTIVE"; }));
  EXPECT_EQ(config("topics/t"), topic);
  EXPECT_EQ(config("brokers/1"), broker);
  EXPECT_EQ(config("brokers/2"), zkwire::layout::encode_config({}));
}

TEST_F(MoveTest, IsThrottledUntilItIsOverAlsoAfterACrash) {
  kafka->never_in_sync = {4, 5, 6};
  ASSERT_EQ(grow().status, 200);
  ASSERT_TRUE(comes([&] { return kafka->reassignments > 0; }));
  EXPECT_THAT(config("topics/t"), HasSubstr("leader.replication.throttled.replicas"));
  EXPECT_THAT(config("topics/t"), HasSubstr(":4"));
  EXPECT_THAT(config("brokers/4"), HasSubstr("\"follower.replication.throttled.rate\":\"1000\""));
  EXPECT_THAT(config("brokers/1"), HasSubstr("\"leader.replication.throttled.rate\":\"1000\""));
  again();
  for (int i = 0; i < 20; ++i) pass();
  EXPECT_EQ(state(arn), "UPDATING");
  EXPECT_TRUE(throttled_anywhere());
  kafka->never_in_sync.clear();
  ASSERT_TRUE(comes([&] { return state(arn) == "ACTIVE"; }));
  EXPECT_FALSE(throttled_anywhere());
  std::map<std::int32_t, int> led;
  for (const auto& [at, p] : kafka->partitions) {
    EXPECT_EQ(p.leader, p.replicas.front()) << at.second;
    ++led[p.leader];
  }
  EXPECT_EQ(led.size(), 6U) << "each broker leads one of the six";
}

// A control plane of before there was anything to remember by has begun it.
TEST_F(MoveTest, ThrottlesOfAnOlderControlPlaneGoAsWell) {
  kafka->never_in_sync = {4, 5, 6};
  ASSERT_EQ(grow().status, 200);
  ASSERT_TRUE(comes([&] { return kafka->reassignments > 0; }));
  for (int i = 0; i < 20; ++i) pass();
  end();
  for (const auto& [path, data] : tree->dump()) {
    Operation o;
    if (!path.starts_with("/weir/msk/operations/") || data.find("INCREASE_BROKER_COUNT") == std::string::npos) continue;
    ASSERT_TRUE(decode(data, o).has_value());
    o.settings_before.clear();
    o.replicas_before.clear();
    write(path, encode(o));
  }
  make();
  for (int i = 0; i < 20; ++i) pass();
  ASSERT_TRUE(throttled_anywhere());
  kafka->never_in_sync.clear();
  ASSERT_TRUE(comes([&] { return state(arn) == "ACTIVE"; }));
  EXPECT_FALSE(throttled_anywhere());
}

// Who makes topics does not know that brokers are about to go.
TEST_F(MoveTest, TopicsThatAreMadeWhileBrokersLeaveLeaveThemToo) {
  ASSERT_EQ(grow().status, 200);
  ASSERT_TRUE(comes([&] { return state(arn) == "ACTIVE"; }));
  kafka->reassignments = 0;
  int stops = 0;
  place.at_stop = [&](std::int32_t broker) -> Task<void> {
    // Before it is gone: what was looked at before does not count any more. One that others have, too; and one that is
    // nowhere else.
    ++stops;
    if (broker == 6) kafka->add("late", 0, {6, 1, 2});
    if (broker == 5 && stops == 2) kafka->add("alone", 0, {5});
    co_await kafka->look();
  };
  place.log.clear();
  const auto said = on("UpdateBrokerCount", arn, {{"currentVersion", version(arn)}, {"targetNumberOfBrokerNodes", 3}});
  ASSERT_EQ(said.status, 200) << said.message;
  int drains = 0;
  ASSERT_TRUE(comes([&] {
    if (drains < 2 && kafka->reassignments > drains) kafka->add("early" + std::to_string(drains++), 0, {5, 4, 6});
    return state(arn) == "ACTIVE";
  }));
  const auto record = over(said);
  EXPECT_EQ(text(record, "operationState"), "UPDATE_COMPLETE") << json::serialize(record);
  EXPECT_EQ(place.log, (std::vector<std::string>{"stop 6", "remove 6", "stop 5", "start 5", "stop 5", "remove 5",
                                                 "stop 4", "remove 4"}));
  for (const auto& [at, p] : kafka->partitions) {
    for (const auto id : p.replicas) EXPECT_LE(id, 3) << at.first;
  }
  for (const std::string topic : {"late", "alone", "early0"}) EXPECT_TRUE(kafka->partitions.contains({topic, 0}));
  EXPECT_FALSE(throttled_anywhere());
}

// Somebody who makes them faster than they can be moved: not for ever.
TEST_F(MoveTest, BrokersThatAreNeverEmptyStay) {
  ASSERT_EQ(grow().status, 200);
  ASSERT_TRUE(comes([&] { return state(arn) == "ACTIVE"; }));
  int made = 0;
  place.at_stop = [&](std::int32_t broker) -> Task<void> {
    if (broker != 6) co_return;
    kafka->add("t" + std::to_string(made++), 0, {6});
    co_await kafka->look();
  };
  const auto said = on("UpdateBrokerCount", arn, {{"currentVersion", version(arn)}, {"targetNumberOfBrokerNodes", 3}});
  ASSERT_TRUE(comes([&] { return state(arn) == "ACTIVE"; }));
  const auto record = over(said);
  EXPECT_EQ(text(record, "operationState"), "UPDATE_FAILED");
  EXPECT_THAT(json::serialize(record.at("errorInfo")), HasSubstr("still has a replica on broker 6"));
  EXPECT_EQ(made, 10);
  EXPECT_EQ(place.all.size(), 6U);
  for (const auto& [key, broker] : place.all) EXPECT_EQ(broker.state, provision::BrokerState::running) << key.text();
}

}  // namespace
}  // namespace weir::msk
