#include "controller/drive/controller.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "controller/test_world.h"

namespace weir::controller {
namespace {

using zkclient::FaultAt;
using zkclient::MemoryTree;

const LeaderAndIsrOrder::Item* led_item(const FakeBrokers& brokers, BrokerId to, const std::string& topic) {
  for (auto at = brokers.led.rbegin(); at != brokers.led.rend(); ++at) {
    if (at->first != to) continue;
    for (const auto& item : at->second.partitions) {
      if (item.at.topic == topic) return &item;
    }
  }
  return nullptr;
}

TEST(Controller, TakesOfficeAsKafkaWritesIt) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    Node node(shard, tree, brokers, b1);
    co_await node.start();
    EXPECT_TRUE(node.controller->active());
    EXPECT_EQ(node.controller->controller_id(), b1);
    EXPECT_EQ(node.controller->epoch(), ControllerEpoch{1});
    auto registration = co_await node.raw->get("/controller");
    EXPECT_EQ(layout::decode_controller("/controller", registration->data)->broker, b1);
    EXPECT_EQ(registration->stat.ephemeral_owner, node.raw->session_id());
    EXPECT_EQ((co_await node.raw->get("/controller_epoch"))->data, "1");
    EXPECT_EQ((co_await node.raw->get("/feature"))->data, R"({"features":{},"version":2,"status":1})");
    EXPECT_EQ(brokers.told.size(), 1U);
    EXPECT_EQ(brokers.told.front().second.brokers.front()->id, b1);
    EXPECT_EQ(brokers.told.front().second.head.controller_epoch, ControllerEpoch{1});
    EXPECT_EQ(brokers.told.front().second.head.broker_epoch, node.controller->image()->broker(b1)->epoch);
    co_await node.controller->stop();
    EXPECT_FALSE(co_await node.there("/controller"));
    co_await node.raw->close();
  });
}

// A topic that was made without an id gets one, from the chance that the broker has: a simulation goes the same way
// twice.
TEST(Controller, AnIdIsDrawnFromTheBrokersOwnChance) {
  std::vector<Uuid> drawn;
  for (const std::uint64_t seed : {7U, 7U, 8U}) {
    story([&](runtime::Shard& shard) -> Task<void> {
      auto tree = MemoryTree::make();
      FakeBrokers brokers;
      const auto random = runtime::seeded_random(seed);
      Node node(shard, tree, brokers, b1, nullptr, *random);
      co_await node.start();
      (void)co_await node.raw->create("/brokers/topics/t", R"({"version":1,"partitions":{"0":[1]}})");
      co_await node.controller->idle();
      const auto topic = node.controller->image()->topic("t");
      EXPECT_TRUE(topic != nullptr);
      if (topic != nullptr) drawn.push_back(topic->id);
      co_await node.stop();
    });
  }
  ASSERT_EQ(drawn.size(), 3U);
  EXPECT_FALSE(drawn[0].is_zero());
  EXPECT_EQ(drawn[0], drawn[1]);
  EXPECT_NE(drawn[0], drawn[2]);
}

TEST(Controller, AnotherWaitsAndFollowsInOffice) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    Node first(shard, tree, brokers, b0);
    Node second(shard, tree, brokers, b1);
    co_await first.start();
    co_await second.start();
    EXPECT_FALSE(second.controller->active());
    EXPECT_EQ(second.controller->controller_id(), b0);
    EXPECT_TRUE((co_await first.create("t", 0, {{p0, {b0, b1}}})).has_value());
    co_await first.controller->idle();
    EXPECT_EQ((co_await first.state("t")).leader, b0);
    co_await first.stop();
    co_await second.controller->idle();
    EXPECT_TRUE(second.controller->active());
    EXPECT_EQ(second.controller->epoch(), ControllerEpoch{2});
    const auto state = co_await second.state("t");
    EXPECT_EQ(state.leader, b1);
    EXPECT_EQ(state.isr, Ids{b1});
    EXPECT_EQ(state.leader_epoch, LeaderEpoch{1});
    EXPECT_EQ(state.controller_epoch, ControllerEpoch{2});
    co_await second.stop();
  });
}

TEST(Controller, ANewTopicGetsLeadersAndBrokersHearOfIt) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    Node n0(shard, tree, brokers, b0);
    Node n1(shard, tree, brokers, b1);
    co_await n0.start();
    co_await n1.start();
    co_await n0.controller->idle();
    brokers.forget();
    // Replica 2 is not alive: it is in no ISR.
    EXPECT_TRUE((co_await n0.create("t", 0, {{p0, {b2, b1, b0}}, {p1, {b0, b2, b1}}})).has_value());
    co_await n0.controller->idle();
    const auto state = co_await n0.state("t", 0);
    EXPECT_EQ(state, (layout::PartitionState{b1, LeaderEpoch{0}, {b1, b0}, ControllerEpoch{1}, 0}));
    const auto image = n0.controller->image();
    const auto topic = image->topic("t");
    EXPECT_FALSE(topic->id.is_zero());
    EXPECT_EQ(image->partition("t", p1)->leader, b0);
    for (const auto id : {b0, b1}) {
      const auto* item = led_item(brokers, id, "t");
      EXPECT_TRUE(item != nullptr && item->is_new && item->state.version == 0);
    }
    EXPECT_EQ(led_item(brokers, b2, "t"), nullptr);
    EXPECT_EQ(brokers.led.front().second.topic_ids.at("t"), topic->id);
    EXPECT_EQ(brokers.led.size(), 2U);  // one order a broker for all partitions
    EXPECT_EQ(brokers.told.size(), 2U);
    EXPECT_EQ(brokers.told.back().second.partitions.front().state.offline, Ids{b2});
    co_await n1.stop();
    co_await n0.stop();
  });
}

// As `kafka-topics --zookeeper` of 2.2.1 leaves it.
TEST(Controller, ATopicMadeByAnOldToolGetsAnId) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    Node node(shard, tree, brokers, b0);
    co_await node.start();
    (void)co_await node.raw->create("/config/topics/old", R"({"version":1,"config":{}})");
    (void)co_await node.raw->create("/brokers/topics/old", R"({"version":1,"partitions":{"1":[0],"0":[0]}})");
    co_await node.controller->idle();
    const auto content = layout::decode_topic("/t", (co_await node.raw->get("/brokers/topics/old"))->data);
    EXPECT_TRUE(content->id.has_value());
    EXPECT_EQ(content->partitions.size(), 2U);
    EXPECT_EQ(node.controller->image()->topic("old")->id, *content->id);
    EXPECT_EQ((co_await node.state("old", 1)).leader, b0);
    co_await node.stop();
  });
}

// As `kafka-topics --zookeeper --alter` of 2.2.1 leaves it: all that it knows of the topic, which an id is not.
TEST(Controller, ATopicThatAnOldToolChangedKeepsItsId) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    Node node(shard, tree, brokers, b0);
    co_await node.start();
    EXPECT_TRUE((co_await node.create("t", 1)).has_value());
    co_await node.controller->idle();
    const auto id = node.controller->image()->topic("t")->id;
    EXPECT_FALSE(id.is_zero());
    brokers.forget();
    (void)co_await node.raw->set("/brokers/topics/t", R"({"version":1,"partitions":{"0":[0],"1":[0]}})", -1);
    co_await node.controller->idle();
    const auto content = layout::decode_topic("/t", (co_await node.raw->get("/brokers/topics/t"))->data);
    EXPECT_EQ(content->id, id) << "it is the same topic, and its logs are refused under another id";
    EXPECT_EQ(content->partitions.size(), 2U);
    EXPECT_EQ(node.controller->image()->topic("t")->id, id);
    EXPECT_EQ((co_await node.state("t", 1)).leader, b0);
    EXPECT_FALSE(brokers.led.empty());
    for (const auto& [to, order] : brokers.led) EXPECT_EQ(order.topic_ids.at("t"), id);
    co_await node.stop();
  });
}

TEST(Controller, GarbageInOneNodeStopsNothingElse) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    Node node(shard, tree, brokers, b0);
    EXPECT_TRUE((co_await ensure_root_paths(*node.zk)).has_value());
    (void)co_await node.raw->create("/brokers/topics/half", R"({"version":1,"parti)");
    (void)co_await node.raw->create("/brokers/topics/wide", R"({"version":1,"partitions":{"2147483647":[0]}})");
    (void)co_await node.raw->create("/brokers/ids/9", "{");
    (void)co_await node.raw->create("/brokers/topics/good", R"({"version":1,"partitions":{"0":[0]}})");
    co_await node.start();
    EXPECT_TRUE(node.controller->active());
    EXPECT_EQ((co_await node.state("good")).leader, b0);
    EXPECT_EQ(node.controller->image()->topic("wide"), nullptr);
    co_await node.stop();
  });
}

TEST(Controller, TopicsGrow) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    Node node(shard, tree, brokers, b0);
    co_await node.start();
    EXPECT_TRUE((co_await node.create("t", 2)).has_value());
    co_await node.controller->idle();
    const auto id = node.controller->image()->topic("t")->id;
    std::vector<NewPartitions> more{{"t", 5, std::nullopt}};
    EXPECT_TRUE((co_await node.admin->create_partitions(more, false, node.controller->image())).front().has_value());
    co_await node.controller->idle();
    EXPECT_EQ(node.controller->image()->topic("t")->partitions.size(), 5U);
    EXPECT_EQ(node.controller->image()->topic("t")->id, id);
    EXPECT_EQ((co_await node.state("t", 4)).leader, b0);
    EXPECT_EQ((co_await node.state("t", 0)).leader_epoch, LeaderEpoch{0});
    co_await node.stop();
  });
}

TEST(Controller, DeletesTopics) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    Node node(shard, tree, brokers, b0);
    co_await node.start();
    EXPECT_TRUE((co_await node.create("t", 3)).has_value());
    EXPECT_TRUE((co_await node.create("other", 1)).has_value());
    co_await node.controller->idle();
    brokers.forget();
    std::vector<std::string> names{"t", "none"};
    auto marked = co_await node.admin->delete_topics(names);
    EXPECT_TRUE(marked[0].has_value());
    EXPECT_EQ(marked[1].error().code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    EXPECT_TRUE((co_await node.admin->wait_deleted("t", 20s)).has_value());
    co_await node.controller->idle();
    EXPECT_EQ(node.controller->image()->topic("t"), nullptr);
    EXPECT_FALSE(node.controller->image()->deleting("t"));
    for (const auto& [path, data] : tree->dump()) {
      EXPECT_FALSE(path.ends_with("/t") || path.find("/t/") != std::string::npos) << path;
    }
    // Told that it has no leader before its replicas went.
    EXPECT_EQ(brokers.told.front().second.partitions.front().state.leader, BrokerId{leader_during_delete});
    EXPECT_EQ(brokers.stopped.size(), 1U);
    EXPECT_EQ(brokers.stopped.front().second.partitions.size(), 3U);
    EXPECT_TRUE(brokers.stopped.front().second.partitions.front().remove);
    EXPECT_EQ(brokers.stopped.front().second.partitions.front().leader_epoch, LeaderEpoch{-2});
    // And it may be made again.
    EXPECT_TRUE((co_await node.create("t", 1)).has_value());
    co_await node.controller->idle();
    EXPECT_EQ((co_await node.state("t")).leader, b0);
    co_await node.stop();
  });
}

TEST(Controller, ADeletionWaitsForReplicasOnDeadBrokers) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    Node n0(shard, tree, brokers, b0);
    auto n1 = std::make_unique<Node>(shard, tree, brokers, b1);
    co_await n0.start();
    co_await n1->start();
    EXPECT_TRUE((co_await n0.create("t", 0, {{p0, {b0, b1}}})).has_value());
    co_await n0.controller->idle();
    co_await n1->stop();
    co_await n0.controller->idle();
    std::vector<std::string> names{"t"};
    (void)co_await n0.admin->delete_topics(names);
    co_await n0.controller->idle();
    EXPECT_TRUE(co_await n0.there("/brokers/topics/t"));
    EXPECT_TRUE(n0.controller->image()->deleting("t"));
    EXPECT_EQ((co_await n0.create("t", 1)).error().code, ErrorCode::TOPIC_ALREADY_EXISTS);
    // It does not grow on its way out.
    std::vector<NewPartitions> more{{"t", 2, std::nullopt}};
    EXPECT_FALSE((co_await n0.admin->create_partitions(more, false, n0.controller->image())).front().has_value());
    n1 = std::make_unique<Node>(shard, tree, brokers, b1);
    co_await n1->start();
    EXPECT_TRUE((co_await n0.admin->wait_deleted("t", 20s)).has_value());
    co_await n0.controller->idle();
    EXPECT_EQ(n0.controller->image()->topic("t"), nullptr);
    co_await n1->stop();
    co_await n0.stop();
  });
}

TEST(Controller, LeadersMoveWhenABrokerDiesAndTheIsrShrinks) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    Node n0(shard, tree, brokers, b0);
    auto n1 = std::make_unique<Node>(shard, tree, brokers, b1);
    co_await n0.start();
    co_await n1->start();
    EXPECT_TRUE((co_await n0.create("led", 0, {{p0, {b1, b0}}})).has_value());
    EXPECT_TRUE((co_await n0.create("followed", 0, {{p0, {b0, b1}}})).has_value());
    EXPECT_TRUE((co_await n0.create("alone", 0, {{p0, {b1}}})).has_value());
    co_await n0.controller->idle();
    EXPECT_EQ((co_await n0.state("led")).leader, b1);
    co_await n1->stop();
    co_await n0.controller->idle();
    EXPECT_EQ(co_await n0.state("led"), (layout::PartitionState{b0, LeaderEpoch{1}, {b0}, ControllerEpoch{1}, 0}));
    EXPECT_EQ(co_await n0.state("followed"), (layout::PartitionState{b0, LeaderEpoch{1}, {b0}, ControllerEpoch{1}, 0}));
    EXPECT_EQ(co_await n0.state("alone"),
              (layout::PartitionState{no_broker, LeaderEpoch{1}, {b1}, ControllerEpoch{1}, 0}));
    brokers.forget();
    n1 = std::make_unique<Node>(shard, tree, brokers, b1);
    co_await n1->start();
    co_await n0.controller->idle();
    EXPECT_EQ(co_await n0.state("alone"), (layout::PartitionState{b1, LeaderEpoch{2}, {b1}, ControllerEpoch{1}, 0}));
    // The one that came hears of all its replicas and of every partition.
    EXPECT_NE(led_item(brokers, b1, "led"), nullptr);
    EXPECT_FALSE(led_item(brokers, b1, "led")->is_new);
    const auto full = std::any_of(brokers.told.begin(), brokers.told.end(), [](const auto& told) {
      return told.first == b1 && told.second.partitions.size() == 3;
    });
    EXPECT_TRUE(full);
    co_await n1->stop();
    co_await n0.stop();
  });
}

TEST(Controller, UncleanElectionOnlyWhereItIsConfigured) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    Node n0(shard, tree, brokers, b0);
    auto n1 = std::make_unique<Node>(shard, tree, brokers, b1);
    co_await n0.start();
    co_await n1->start();
    for (const std::string name : {"clean", "unclean"}) {
      EXPECT_TRUE((co_await n0.create(name, 0, {{p0, {b1, b0}}})).has_value());
      co_await n0.controller->idle();
      // Broker 0 fell behind.
      auto state = co_await n0.state(name);
      state.isr = {b1};
      (void)co_await n0.raw->set(layout::path_of_partition_state(name, p0), layout::encode(state));
    }
    cluster::ConfigKey key{cluster::ConfigType::topic, "unclean"};
    cluster::ConfigMap config{{"unclean.leader.election.enable", " True "}};  // as Kafka reads it
    EXPECT_TRUE((co_await n0.admin->set_config(key, config)).has_value());
    co_await n1->stop();
    co_await n0.controller->idle();
    EXPECT_EQ((co_await n0.state("clean")).leader, no_broker);
    EXPECT_EQ((co_await n0.state("clean")).isr, Ids{b1});
    const auto unclean = co_await n0.state("unclean");
    EXPECT_EQ(unclean.leader, b0);
    EXPECT_EQ(unclean.isr, Ids{b0});
    EXPECT_EQ(unclean.leader_recovery_state, 1);
    std::vector<PartitionRef> asked{{"clean", p0}, {"unclean", p0}, {"none", p0}};
    auto answers = co_await n0.controller->elect_leaders(asked, true);
    EXPECT_TRUE(answers.has_value());
    std::map<std::string, ErrorCode> by_topic;
    for (const auto& a : *answers) by_topic[a.at.topic] = a.error;
    EXPECT_EQ(by_topic["clean"], ErrorCode::NONE);
    EXPECT_EQ(by_topic["unclean"], ErrorCode::ELECTION_NOT_NEEDED);
    EXPECT_EQ(by_topic["none"], ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    EXPECT_EQ((co_await n0.state("clean")).leader, b0);
    co_await n0.stop();
  });
}

TEST(Controller, PreferredElectionByZnodeAndByCall) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    Node n0(shard, tree, brokers, b0);
    Node n1(shard, tree, brokers, b1);
    co_await n0.start();
    co_await n1.start();
    EXPECT_TRUE((co_await n0.create("t", 0, {{p0, {b1, b0}}, {p1, {b1, b0}}})).has_value());
    co_await n0.controller->idle();
    for (const auto p : {p0, p1}) {
      auto state = co_await n0.state("t", p.value);
      state.leader = b0;
      (void)co_await n0.raw->set(layout::path_of_partition_state("t", p), layout::encode(state));
    }
    (void)co_await n0.raw->create(layout::path_of_new_isr_change(),
                                  layout::encode_partition_set({{"t", p0}, {"t", p1}}),
                                  zkclient::CreateMode::persistent_sequential);
    co_await n0.controller->idle();
    EXPECT_EQ(n0.controller->image()->partition("t", p0)->leader, b0);
    EXPECT_TRUE((co_await n0.raw->children("/isr_change_notification"))->empty());
    (void)co_await n0.raw->create("/admin/preferred_replica_election", layout::encode_partition_set({{"t", p0}}));
    co_await n0.controller->idle();
    EXPECT_EQ((co_await n0.state("t", 0)).leader, b1);
    EXPECT_FALSE(co_await n0.there("/admin/preferred_replica_election"));
    std::vector<PartitionRef> asked{{"t", p1}};
    auto answers = co_await n0.controller->elect_leaders(asked, false);
    EXPECT_EQ(answers->front().error, ErrorCode::NONE);
    EXPECT_EQ((co_await n0.state("t", 1)).leader, b1);
    EXPECT_EQ((co_await n0.state("t", 1)).isr, (Ids{b1, b0}));
    co_await n1.stop();
    co_await n0.stop();
  });
}

TEST(Controller, ControlledShutdownMovesLeadersFirst) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    Node n0(shard, tree, brokers, b0);
    Node n1(shard, tree, brokers, b1);
    co_await n0.start();
    co_await n1.start();
    EXPECT_TRUE((co_await n0.create("led", 0, {{p0, {b1, b0}}})).has_value());
    EXPECT_TRUE((co_await n0.create("followed", 0, {{p0, {b0, b1}}})).has_value());
    EXPECT_TRUE((co_await n0.create("alone", 0, {{p0, {b1}}})).has_value());
    co_await n0.controller->idle();
    const auto epoch = n0.controller->image()->broker(b1)->epoch;
    for (const auto other : {epoch.value - 1, epoch.value + 1, std::int64_t{-2}}) {
      auto stale = co_await n0.controller->controlled_shutdown(b1, BrokerEpoch{other});
      EXPECT_FALSE(stale.has_value());
      if (!stale) EXPECT_EQ(stale.error().code, ErrorCode::STALE_BROKER_EPOCH);
    }
    EXPECT_EQ((co_await n0.state("led")).leader, b1);
    auto left = co_await n0.controller->controlled_shutdown(b1, epoch);
    EXPECT_TRUE(left && left->empty());
    EXPECT_EQ((co_await n0.state("led")).leader, b0);
    EXPECT_EQ((co_await n0.state("led")).isr, Ids{b0});
    EXPECT_EQ((co_await n0.state("followed")).isr, Ids{b0});
    EXPECT_EQ((co_await n0.state("alone")).leader, b1);
    // Versions 0 and 1 have no epoch.
    auto old = co_await n0.controller->controlled_shutdown(b1, BrokerEpoch{-1});
    EXPECT_TRUE(old && old->empty());
    auto nowhere = co_await n1.controller->controlled_shutdown(b1, epoch);
    EXPECT_EQ(nowhere.error().code, ErrorCode::NOT_CONTROLLER);
    co_await n1.stop();
    co_await n0.stop();
  });
}

// A broker whose start fails before its controller begins answers who asked it meanwhile, or its stop waits for them
// for ever (simulation, seeds 2045 and 2346).
TEST(Controller, WhoAsksOneThatHasNotStartedIsToldThatItIsNone) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    Node node(shard, tree, brokers, b0);
    auto asked = co_await node.controller->elect_leaders({}, false);
    EXPECT_FALSE(asked.has_value());
    if (!asked) EXPECT_EQ(asked.error().code, ErrorCode::NOT_CONTROLLER);
    co_await node.stop();
  });
}

TEST(Controller, AReplicaWithABrokenDirectoryLeadsNoMore) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    Node n0(shard, tree, brokers, b0);
    Node n1(shard, tree, brokers, b1);
    co_await n0.start();
    co_await n1.start();
    EXPECT_TRUE((co_await n0.create("t", 0, {{p0, {b1, b0}}})).has_value());
    co_await n0.controller->idle();
    brokers.broken_directory = b1;
    (void)co_await n0.raw->create(layout::path_of_new_log_dir_event(), layout::encode_log_dir_event(b1),
                                  zkclient::CreateMode::persistent_sequential);
    co_await n0.controller->idle();
    EXPECT_EQ((co_await n0.state("t")).leader, b0);
    EXPECT_EQ((co_await n0.state("t")).isr, Ids{b0});
    EXPECT_TRUE((co_await n0.raw->children("/log_dir_event_notification"))->empty());
    co_await n1.stop();
    co_await n0.stop();
  });
}

TEST(Controller, AnOrderIsTriedAgainUntilItIsTaken) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    brokers.refuse_metadata = 3;
    Node node(shard, tree, brokers, b0);
    co_await node.start();
    EXPECT_EQ(brokers.refuse_metadata, 0);
    EXPECT_EQ(brokers.told.size(), 1U);
    co_await node.stop();
  });
}

// --- losing the office ------------------------------------------------------------------------------------------

TEST(Controller, AfterExpiryItRegistersAgainAndTakesOfficeAgain) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    Node node(shard, tree, brokers, b0);
    co_await node.start();
    EXPECT_TRUE((co_await node.create("t", 2)).has_value());
    co_await node.controller->idle();
    const auto before = node.controller->image()->broker(b0)->epoch;
    tree->hold_new_sessions(true);
    tree->expire(node.raw->session_id());
    co_await node.controller->idle();
    EXPECT_FALSE(node.controller->active());
    EXPECT_EQ(node.controller->image()->topic_count(), 0U);
    tree->hold_new_sessions(false);
    while (!node.controller->active()) co_await runtime::sleep(shard, 1ms);
    co_await node.controller->idle();
    EXPECT_EQ(node.controller->epoch(), ControllerEpoch{2});
    EXPECT_GT(node.controller->image()->broker(b0)->epoch, before);
    EXPECT_EQ(node.controller->image()->partition_count(), 2U);
    EXPECT_EQ((co_await node.state("t", 1)).leader, b0);
    co_await node.stop();
  });
}

// A controller that was out of touch while another took over writes nothing more.
TEST(Controller, WhoLostTheOfficeWritesNothing) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    Node node(shard, tree, brokers, b0);
    co_await node.start();
    auto other = tree->connect();
    // Another is elected in one step, as it would be after our session's end, while we still believe in ours.
    std::vector<zkclient::Op> takeover{
        zkclient::Op::remove("/controller"), zkclient::Op::set("/controller_epoch", "2", 1),
        zkclient::Op::create("/controller", layout::encode(layout::ControllerRegistration{b1, 5, -1}),
                             zkclient::CreateMode::ephemeral),
        zkclient::Op::create("/brokers/topics/t", R"({"version":1,"partitions":{"0":[0]}})")};
    EXPECT_TRUE((co_await other->multi(takeover)).has_value());
    co_await node.controller->idle();
    EXPECT_FALSE(node.controller->active());
    EXPECT_EQ(node.controller->controller_id(), b1);
    EXPECT_FALSE(co_await node.there("/brokers/topics/t/partitions"));
    EXPECT_EQ((co_await node.raw->get("/brokers/topics/t"))->data, R"({"version":1,"partitions":{"0":[0]}})");
    co_await other->close();
    co_await node.controller->idle();
    EXPECT_TRUE(node.controller->active());
    EXPECT_EQ(node.controller->epoch(), ControllerEpoch{3});
    EXPECT_EQ((co_await node.state("t")).controller_epoch, ControllerEpoch{3});
    co_await node.stop();
  });
}

// What the tree holds in the end, without what differs from run to run (ids, times).
std::map<std::string, std::string> shape(MemoryTree& tree) {
  std::map<std::string, std::string> out;
  for (auto& [path, data] : tree.dump()) {
    const bool varies = path == "/controller" || path == "/cluster/id" || path.starts_with("/brokers/topics/");
    const bool state = path.ends_with("/state");
    out[path] = varies && !state ? "" : data;
    if (path == "/controller_epoch") out[path] = "";
    if (state) {
      auto read = *layout::decode_partition_state(path, data);
      read.controller_epoch = ControllerEpoch{0};
      out[path] = layout::encode(read);
    }
  }
  return out;
}

struct LifeResult {
  std::map<std::string, std::string> tree;
  bool fault = false;
};

// A broker's first life: it takes office, a topic is made, grows, another is made and deleted.
LifeResult life(zkclient::FaultRule rule) {
  LifeResult out;
  story([&](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    zkclient::FaultRule counted = [&](const zkclient::FaultyCall& call) {
      const auto at = rule(call);
      out.fault = out.fault || at != FaultAt::none;
      return at;
    };
    Node node(shard, tree, brokers, b0, std::move(counted));
    co_await node.start();
    EXPECT_TRUE(node.controller->active());
    auto made = co_await node.create("t", 2);
    EXPECT_TRUE(made.has_value()) << (made ? "" : made.error().message);
    co_await node.controller->idle();
    std::vector<NewPartitions> more{{"t", 3, std::nullopt}};
    auto grown = co_await node.admin->create_partitions(more, false, node.controller->image());
    EXPECT_TRUE(grown.front().has_value()) << (grown.front() ? "" : grown.front().error().message);
    EXPECT_TRUE((co_await node.create("gone", 1)).has_value());
    co_await node.controller->idle();
    std::vector<std::string> names{"gone"};
    EXPECT_TRUE((co_await node.admin->delete_topics(names)).front().has_value());
    EXPECT_TRUE((co_await node.admin->wait_deleted("gone", 20s)).has_value());
    co_await node.controller->idle();
    EXPECT_TRUE(node.controller->active());
    EXPECT_EQ(node.controller->image()->partition_count(), 3U);
    EXPECT_EQ(node.controller->epoch(), ControllerEpoch{1});
    out.tree = shape(*tree);
    co_await node.stop();
  });
  return out;
}

TEST(Controller, AConnectionLostAtAnyOperationChangesNothing) {
  const auto plain = life([](const zkclient::FaultyCall&) { return FaultAt::none; });
  EXPECT_TRUE(plain.tree.contains("/brokers/topics/t/partitions/2/state"));
  for (const auto at : {FaultAt::before, FaultAt::after}) {
    std::uint64_t n = 0;
    for (;; ++n) {
      SCOPED_TRACE(fmt::format("operation {} {}", n, at == FaultAt::before ? "before" : "after"));
      const auto one = life(zkclient::fail_nth(n, at));
      if (!one.fault) break;
      EXPECT_EQ(one.tree, plain.tree);
      if (testing::Test::HasFailure()) return;
    }
    EXPECT_GT(n, 50U);
  }
}

// The session ends at the n-th operation of the controller's work, whatever that is: it comes back, and in the end
// everything is as it should be.
TEST(Controller, ASessionThatEndsInTheMiddleOfTheWorkLosesNothing) {
  for (std::uint64_t n = 0; n < 60; ++n) {
    SCOPED_TRACE(n);
    story([&](runtime::Shard& shard) -> Task<void> {
      auto tree = MemoryTree::make();
      FakeBrokers brokers;
      bool armed = false;
      std::uint64_t seen = 0;
      zkclient::Zk* raw = nullptr;
      zkclient::FaultRule expire = [&](const zkclient::FaultyCall&) {
        if (armed && seen++ == n) tree->expire(raw->session_id());
        return FaultAt::none;
      };
      Node node(shard, tree, brokers, b0, std::move(expire));
      raw = node.raw.get();
      co_await node.start();
      auto user = tree->connect();
      Admin admin(shard, *user, runtime::system_random());
      std::vector<NewTopic> first(1);
      first[0].name = "gone";
      first[0].assignment = {{p0, {b0}}};
      (void)co_await admin.create_topics(first, CreateOptions{}, node.controller->image());
      co_await node.controller->idle();
      armed = true;
      std::vector<std::string> names{"gone"};
      (void)co_await admin.delete_topics(names);
      std::vector<NewTopic> topics(1);
      topics[0].name = "t";
      topics[0].assignment = {{p0, {b0}}, {p1, {b0}}};
      auto made = co_await admin.create_topics(topics, CreateOptions{}, node.controller->image());
      EXPECT_TRUE(made.front().result.has_value());
      EXPECT_TRUE((co_await admin.wait_deleted("gone", 20s)).has_value());
      for (;;) {
        co_await node.controller->idle();
        if (node.controller->active() && co_await node.there("/brokers/topics/t/partitions/1/state")) break;
        co_await runtime::sleep(shard, 1ms);
      }
      EXPECT_EQ(node.controller->image()->partition("t", p1)->leader, b0);
      EXPECT_FALSE(co_await node.there("/admin/delete_topics/gone"));
      co_await user->close();
      co_await node.stop();
    });
    if (testing::Test::HasFailure()) return;
  }
}

// --- size -------------------------------------------------------------------------------------------------------

TEST(Controller, TenThousandPartitionsAreLoadedWithOneReadEach) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    FakeBrokers brokers;
    constexpr int topics = 100;
    constexpr int partitions = 100;
    auto writer = tree->connect();
    EXPECT_TRUE((co_await ensure_root_paths(*writer)).has_value());
    layout::TopicAssignment assignment;
    for (int p = 0; p < partitions; ++p) assignment.partitions[PartitionId{p}].replicas = {b0};
    const layout::PartitionState state{b0, LeaderEpoch{3}, {b0}, ControllerEpoch{0}, 0};
    for (int t = 0; t < topics; ++t) {
      const auto name = fmt::format("t{}", t);
      assignment.id = runtime::system_random().uuid();
      (void)co_await writer->create(layout::path_of_topic(name), layout::encode(assignment));
      (void)co_await writer->create(layout::path_of_partitions(name), "");
      for (int p = 0; p < partitions; ++p) {
        (void)co_await writer->create(layout::path_of_partition(name, PartitionId{p}), "");
        (void)co_await writer->create(layout::path_of_partition_state(name, PartitionId{p}), layout::encode(state));
      }
    }
    const auto before = tree->operations().at("all");
    Node node(shard, tree, brokers, b0);
    co_await node.start();
    EXPECT_EQ(node.controller->image()->partition_count(), 10'000U);
    EXPECT_EQ(node.controller->image()->partition("t7", PartitionId{42})->leader_epoch, LeaderEpoch{3});
    EXPECT_LE(tree->operations().at("all") - before, 10'000U + topics + 60U);
    EXPECT_EQ(brokers.led.size(), 1U);
    EXPECT_EQ(brokers.led.front().second.partitions.size(), 10'000U);
    // Who is alive comes before the roles, everything else after them.
    EXPECT_EQ(brokers.told.size(), 2U);
    EXPECT_EQ(brokers.told.front().second.partitions.size(), 0U);
    EXPECT_EQ(brokers.told.back().second.partitions.size(), 10'000U);
    co_await writer->close();
    co_await node.stop();
  });
}

}  // namespace
}  // namespace weir::controller
