#include "broker/broker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "broker/test_running.h"

namespace weir::broker {
namespace {

using namespace std::chrono_literals;

// ---- restarts, crashes, sessions

TEST(BrokerRestart, ACleanStopKeepsAll) {
  Running r({}, 1, 2);
  ASSERT_EQ(r.client->create_topic("t", 4), ErrorCode::NONE);
  for (int i = 0; i < 20; ++i) r.client->produce("t", i % 4, Strings{std::to_string(i)});
  const auto cluster_id = r.cluster.broker->cluster_id();
  r.restart();
  EXPECT_EQ(r.cluster.broker->cluster_id(), cluster_id);
  for (int p = 0; p < 4; ++p) {
    const auto fetched = r.client->fetch("t", p, 0);
    EXPECT_EQ(fetched.high_watermark, 5);
    Strings expected;
    for (int i = p; i < 20; i += 4) expected.push_back(std::to_string(i));
    EXPECT_EQ(fetched.values, expected);
  }
  EXPECT_EQ(r.client->produce("t", 0, Strings{"more"}).base_offset, 5);
}

TEST(BrokerRestart, ACrashKeepsWhatWasAcknowledgedAfterAFlush) {
  for (std::uint64_t seed = 1; seed <= 15; ++seed) {
    SCOPED_TRACE(seed);
    Running r({{"log.flush.interval.messages", "1"}}, seed, 2);
    ASSERT_EQ(r.client->create_topic("t", 2), ErrorCode::NONE);
    std::map<int, Strings> acknowledged;
    for (int i = 0; i < 10; ++i) {
      const auto done = r.client->produce("t", i % 2, Strings{std::to_string(i)});
      ASSERT_EQ(done.error, ErrorCode::NONE);
      acknowledged[i % 2].push_back(std::to_string(i));
    }
    r.client.reset();
    r.cluster.crash();
    const auto started = r.cluster.start();
    ASSERT_TRUE(started) << started.error().message;
    r.connect();
    for (const auto& [partition, values] : acknowledged) {
      EXPECT_EQ(r.client->fetch("t", partition, 0).values, values);
      EXPECT_EQ(r.client->produce("t", partition, Strings{"next"}).base_offset,
                static_cast<std::int64_t>(values.size()));
    }
  }
}

TEST(BrokerRestart, AnExpiredSessionRegistersAgainAndTheBrokerGoesOn) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  r.client->produce("t", 0, Strings{"before"});
  const auto registered = [&] {
    return std::ranges::any_of(r.cluster.tree->dump(), [](const auto& node) { return node.first == "/brokers/ids/1"; });
  };
  ASSERT_TRUE(registered());
  r.cluster.tree->expire(r.cluster.session_id);
  EXPECT_FALSE(registered());
  r.cluster.world.run_for(60s);
  EXPECT_TRUE(registered());
  EXPECT_EQ(r.client->produce("t", 0, Strings{"after"}).base_offset, 1) << "on the connection it had";
  EXPECT_EQ(r.client->fetch("t", 0, 0).values, (Strings{"before", "after"}));
  EXPECT_EQ(r.client->create_topic("u"), ErrorCode::NONE) << "it is the controller again";
  EXPECT_EQ(r.client->produce("u", 0, Strings{"x"}).base_offset, 0);
}

TEST(BrokerRestart, AWhileWithoutTheCoordinationServiceDoesNotStopProducers) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  r.cluster.tree->disconnect(r.cluster.session_id);
  r.cluster.world.run_for(1s);
  EXPECT_EQ(r.client->produce("t", 0, Strings{"x"}).error, ErrorCode::NONE);
  EXPECT_EQ(r.client->fetch("t", 0, 0).values, Strings{"x"});
  r.cluster.tree->reconnect(r.cluster.session_id);
  r.cluster.world.run_for(5s);
  EXPECT_EQ(r.client->create_topic("u"), ErrorCode::NONE);
}

TEST(BrokerRestart, AFailedDiskIsAnsweredAndOtherTopicsGoOn) {
  Running r({{"log.flush.interval.messages", "1"}});
  ASSERT_EQ(r.client->create_topic("bad"), ErrorCode::NONE);
  ASSERT_EQ(r.client->create_topic("good"), ErrorCode::NONE);
  r.cluster.world.files().set_fault([](auto op, const std::string& path) {
    return op == runtime::SimFiles::Op::sync && path.contains("/bad-0/") ? EIO : 0;
  });
  const auto began = r.cluster.world.clock().mono();
  EXPECT_EQ(r.client->produce("bad", 0, Strings{"x"}).error, ErrorCode::KAFKA_STORAGE_ERROR);
  EXPECT_LT(r.cluster.world.clock().mono() - began, 1s) << "at once, not when the request times out";
  EXPECT_EQ(r.client->produce("good", 0, Strings{"x"}).error, ErrorCode::NONE);
  EXPECT_EQ(r.client->fetch("bad", 0, 0).values, Strings{}) << "what was not acknowledged is not shown";
  r.cluster.world.files().set_fault(nullptr);
  EXPECT_EQ(r.client->produce("bad", 0, Strings{"x"}).error, ErrorCode::KAFKA_STORAGE_ERROR);
}

// ---- starts that must not succeed

TEST(BrokerStart, ADirectoryOfAnotherBrokerOrClusterStopsIt) {
  Cluster cluster;
  ASSERT_TRUE(cluster.start());
  cluster.stop();
  cluster.properties["broker.id"] = "2";
  auto started = cluster.start();
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().message.find("meta.properties"), std::string::npos) << started.error().message;
  cluster.stop();
  cluster.properties["broker.id"] = "1";
  cluster.tree = zkclient::MemoryTree::make();
  started = cluster.start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, ErrorCode::INCONSISTENT_CLUSTER_ID);
}

TEST(BrokerStart, AnIdThatIsTakenStopsItAndNamesTheOther) {
  Cluster cluster;
  ASSERT_TRUE(cluster.start());
  Cluster second({{"log.dirs", "/other"}});
  second.tree = cluster.tree;
  const auto started = second.start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, ErrorCode::DUPLICATE_BROKER_REGISTRATION) << started.error().message;
}

TEST(BrokerStart, ListenersItCannotServeStopIt) {
  Cluster tls({{"listeners", "SSL://127.0.0.1:9093"}, {"security.inter.broker.protocol", "SSL"}});
  const auto started = tls.start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, ErrorCode::INVALID_CONFIG);
}

TEST(BrokerStart, AnIdIsMadeWhereNoneIsGivenAndKept) {
  Cluster cluster({{"broker.id", "-1"}});
  ASSERT_TRUE(cluster.start());
  const auto id = cluster.broker->id();
  EXPECT_GT(id.value, 1000);
  cluster.stop();
  ASSERT_TRUE(cluster.start());
  EXPECT_EQ(cluster.broker->id(), id);
}

}  // namespace
}  // namespace weir::broker
