// A broker that is asked to stop while requests wait: it ends, and whoever waits is answered or told by the end of
// the connection (found by review: SIGTERM hung behind long waits, and behind a ZooKeeper that was gone).
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "broker/test_running.h"
#include "protocol/messages/join_group.h"

namespace weir::broker {
namespace {

using namespace std::chrono_literals;

// A stop of a broker under test, in the background: the world goes on and clients read meanwhile.
class Stopping {
 public:
  explicit Stopping(Cluster& cluster) : cluster_(cluster), began_(cluster.world.clock().mono()) {
    cluster_.run([this]() -> Task<void> {
      cluster_.scope.spawn(stop());
      co_return;
    });
  }
  ~Stopping() {
    EXPECT_TRUE(ended()) << "it never ends";
    cluster_.broker.reset();
    cluster_.registry.reset();
  }
  // Whether it ended within that time of the world.
  bool ended(nanoseconds limit = 1h) {
    return cluster_.world.run_until([this] { return done_; }, limit);
  }
  nanoseconds since() const { return cluster_.world.clock().mono() - began_; }

 private:
  Task<void> stop() {
    co_await cluster_.broker->stop();
    done_ = true;
  }
  Cluster& cluster_;
  nanoseconds began_;
  bool done_ = false;
};

// How long a stop may take where ZooKeeper does not answer: a few goodbyes that are waited for.
constexpr auto patience = 15s;

TEST(BrokerStop, AnswersProducesThatWaitForTheirCommit) {
  for (const int acks : {-1, 1}) {
    SCOPED_TRACE(acks);
    Running r({}, 1, 2);
    ASSERT_EQ(r.client->create_topic("t", 4, {{"flush.messages", "1"}}), ErrorCode::NONE);
    r.cluster.world.set_pool_latency(20s);
    const auto records = r.cluster.batch({"x"});
    for (int p = 0; p < 4; ++p) r.client->send(9, Client::produce_request("t", p, records, acks));
    r.cluster.world.settle();
    r.cluster.world.set_pool_latency(0s);
    Stopping stop(r.cluster);
    for (int p = 0; p < 4; ++p) {
      const auto out = r.client->receive_as<protocol::ProduceResponse>(9);
      ASSERT_TRUE(out) << "partition " << p;
      EXPECT_EQ(code(out->responses.at(0).partition_responses.at(0).error_code), ErrorCode::NOT_LEADER_OR_FOLLOWER);
    }
    EXPECT_LT(stop.since(), 10s) << "not when the disk is done with it";
    EXPECT_TRUE(r.client->ended());
    EXPECT_TRUE(stop.ended(60s));
  }
}

TEST(BrokerStop, AnswersFetchesThatWaitLong) {
  Running r({}, 2, 3);
  ASSERT_EQ(r.client->create_topic("t", 6), ErrorCode::NONE);
  std::vector<std::unique_ptr<Client>> consumers;
  for (int p = 0; p < 6; ++p) {
    consumers.push_back(std::make_unique<Client>(r.cluster));
    consumers.back()->send(12, Client::fetch_request("t", p, 0, 3'600'000));
  }
  r.cluster.world.settle();
  ASSERT_EQ(r.cluster.in_flight(), 6);
  Stopping stop(r.cluster);
  for (auto& consumer : consumers) {
    const auto out = consumer->receive_as<protocol::FetchResponse>(12);
    ASSERT_TRUE(out);
    EXPECT_EQ(Client::fetched(*out.message).error, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    EXPECT_TRUE(consumer->ended());
  }
  EXPECT_TRUE(stop.ended(5s));
}

TEST(BrokerStop, EndsAJoinThatWaits) {
  Running r({{"group.initial.rebalance.delay.ms", "3600000"}, {"group.max.session.timeout.ms", "3600000"}});
  (void)r.metadata("__consumer_offsets");
  protocol::JoinGroupRequest join;
  join.group_id = "g";
  join.session_timeout_ms = 3'600'000;
  join.rebalance_timeout_ms = 3'600'000;
  join.protocol_type = "consumer";
  join.protocols.emplace_back().name = "range";
  r.client->send(3, join);
  r.cluster.world.settle();
  ASSERT_EQ(r.cluster.in_flight(), 1);
  Stopping stop(r.cluster);
  const auto out = r.client->receive_as<protocol::JoinGroupResponse>(3);
  ASSERT_TRUE(out);
  EXPECT_EQ(code(out->error_code), ErrorCode::NOT_COORDINATOR);
  EXPECT_TRUE(stop.ended(5s));
}

// Requests that ask the coordination service, each on a connection of its own.
struct Asking {
  explicit Asking(Running& r) {
    const auto client = [&]() -> Client& { return *clients.emplace_back(std::make_unique<Client>(r.cluster)); };
    protocol::MetadataRequest make;
    make.topics.emplace().emplace_back().name = "made-by-metadata";
    client().send(12, make);
    protocol::CreateTopicsRequest create;
    auto& topic = create.topics.emplace_back();
    topic.name = "made";
    topic.num_partitions = 3;
    topic.replication_factor = 1;
    create.timeout_ms = 3'600'000;
    client().send(7, create);
    protocol::DeleteTopicsRequest remove;
    remove.topic_names = {"old"};
    remove.timeout_ms = 3'600'000;
    client().send(5, remove);
    protocol::CreatePartitionsRequest more;
    more.topics.emplace_back().name = "grows";
    more.topics[0].count = 3;
    more.topics[0].assignments.reset();
    more.timeout_ms = 3'600'000;
    client().send(3, more);
    protocol::IncrementalAlterConfigsRequest alter;
    auto& resource = alter.resources.emplace_back();
    resource.resource_type = 2;
    resource.resource_name = "grows";
    auto& change = resource.configs.emplace_back();
    change.name = "retention.ms";
    change.value = "1";
    client().send(1, alter);
    protocol::InitProducerIdRequest id;
    id.transactional_id.reset();
    client().send(4, id);
  }
  // Each gets its answer or the end of its connection: neither leaves a client hanging.
  void expect_told() {
    for (auto& one : clients) {
      for (int answers = 0; !one->receive().empty(); ++answers) ASSERT_LT(answers, 1);
    }
  }
  std::vector<std::unique_ptr<Client>> clients;
};

TEST(BrokerStop, EndsWhileRequestsWaitForASlowZooKeeper) {
  // From before the first step of each to after the last one.
  for (int step = 0; step < 16; ++step) {
    SCOPED_TRACE(step);
    Running r({}, static_cast<std::uint64_t>(step) + 1, 2);
    ASSERT_EQ(r.client->create_topic("old"), ErrorCode::NONE);
    ASSERT_EQ(r.client->create_topic("grows"), ErrorCode::NONE);
    r.cluster.zk_latency = 150ms;
    Asking asking(r);
    r.cluster.world.run_for(step * 200ms);
    Stopping stop(r.cluster);
    asking.expect_told();
    EXPECT_LT(stop.since(), patience);
    EXPECT_TRUE(stop.ended(patience));
  }
}

TEST(BrokerStop, EndsWithAZooKeeperThatTakesAMinuteForEverything) {
  Running r({}, 4, 2);
  ASSERT_EQ(r.client->create_topic("old"), ErrorCode::NONE);
  ASSERT_EQ(r.client->create_topic("grows"), ErrorCode::NONE);
  r.cluster.zk_latency = 1min;
  Asking asking(r);
  r.cluster.world.run_for(10s);
  Stopping stop(r.cluster);
  asking.expect_told();
  EXPECT_TRUE(stop.ended(5min)) << "each has one call under way, and no more";
}

TEST(BrokerStop, EndsWhileRequestsWaitForAZooKeeperThatIsGone) {
  for (const auto waited : {0s, 1s, 5s, 60s}) {
    SCOPED_TRACE(waited.count());
    Running r({}, 5, 2);
    ASSERT_EQ(r.client->create_topic("old"), ErrorCode::NONE);
    ASSERT_EQ(r.client->create_topic("grows"), ErrorCode::NONE);
    r.cluster.tree->disconnect(r.cluster.session_id);
    Asking asking(r);
    r.cluster.world.run_for(waited);
    Stopping stop(r.cluster);
    asking.expect_told();
    EXPECT_LT(stop.since(), patience);
    EXPECT_TRUE(stop.ended(patience));
  }
}

TEST(BrokerStop, EndsWhenZooKeeperGoesInTheMiddleOfIt) {
  for (int step = 0; step < 10; ++step) {
    SCOPED_TRACE(step);
    Running r({}, static_cast<std::uint64_t>(step) + 1, 2);
    ASSERT_EQ(r.client->create_topic("t", 2), ErrorCode::NONE);
    r.cluster.zk_latency = 20ms;
    Stopping stop(r.cluster);
    r.cluster.world.run_for(step * 10ms);
    r.cluster.tree->disconnect(r.cluster.session_id);
    EXPECT_TRUE(stop.ended(patience));
  }
}

}  // namespace
}  // namespace weir::broker
