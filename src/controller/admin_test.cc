#include "controller/admin.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/log.h"
#include "controller/config_follower.h"
#include "controller/test_world.h"
#include "runtime/sim.h"

namespace weir::controller {
namespace {

using zkclient::MemoryTree;

cluster::ImagePtr with_brokers(std::initializer_list<std::pair<std::int32_t, const char*>> brokers) {
  cluster::ImageBuilder building(cluster::empty_image());
  for (const auto& [id, rack] : brokers) {
    cluster::Broker broker;
    broker.id = BrokerId{id};
    if (rack != nullptr) broker.rack = rack;
    building.put_broker(std::move(broker));
  }
  return building.build();
}

// An Admin on an empty tree; what it asks of chance is the same each time.
struct Desk {
  explicit Desk(runtime::Shard& shard)
      : tree(MemoryTree::make()),
        zk(tree->connect()),
        random(runtime::seeded_random(1)),
        admin(shard, *zk, *random),
        image(with_brokers({{0, nullptr}, {1, nullptr}, {2, nullptr}})) {}

  Task<CreatedTopic> create(NewTopic topic, CreateOptions options = {}) {
    std::vector<NewTopic> topics{std::move(topic)};
    auto made = co_await admin.create_topics(std::move(topics), std::move(options), image);
    co_return std::move(made.front());
  }
  Task<ErrorCode> code(NewTopic topic) {
    auto made = co_await create(std::move(topic));
    co_return made.result ? ErrorCode::NONE : made.result.error().code;
  }
  std::shared_ptr<MemoryTree> tree;
  std::unique_ptr<zkclient::Zk> zk;
  std::unique_ptr<runtime::Random> random;
  Admin admin;
  cluster::ImagePtr image;
};

NewTopic topic(std::string name, std::int32_t partitions = 1, std::int16_t factor = 1) {
  NewTopic t;
  t.name = std::move(name);
  t.partitions = partitions;
  t.replication_factor = factor;
  return t;
}

TEST(Admin, ATopicIsItsConfigAndItsAssignment) {
  story([](runtime::Shard& shard) -> Task<void> {
    Desk desk(shard);
    auto wanted = topic("t", 4, 2);
    wanted.configs = {{"retention.ms", "5"}};
    auto made = co_await desk.create(wanted);
    EXPECT_TRUE(made.result.has_value());
    EXPECT_EQ(made.partitions, 4);
    EXPECT_EQ(made.replication_factor, 2);
    EXPECT_EQ((co_await desk.zk->get("/config/topics/t"))->data, R"({"version":1,"config":{"retention.ms":"5"}})");
    const auto content = layout::decode_topic("/t", (co_await desk.zk->get("/brokers/topics/t"))->data);
    EXPECT_EQ(*content->id, made.id);
    EXPECT_EQ(content->partitions.size(), 4U);
    for (const auto& [id, replicas] : content->partitions) {
      EXPECT_EQ(replicas.replicas.size(), 2U);
      EXPECT_NE(replicas.replicas[0], replicas.replicas[1]);
    }
    CreateOptions old;
    old.topic_ids = false;
    old.default_partitions = 3;
    EXPECT_EQ((co_await desk.create(topic("old", -1, -1), old)).partitions, 3);
    EXPECT_FALSE(layout::decode_topic("/t", (co_await desk.zk->get("/brokers/topics/old"))->data)->id);
    co_await desk.zk->close();
  });
}

TEST(Admin, WhatIsWrongWithATopicIsSaidAsKafkaDoes) {
  story([](runtime::Shard& shard) -> Task<void> {
    Desk desk(shard);
    EXPECT_EQ(co_await desk.code(topic("a.b")), ErrorCode::NONE);
    EXPECT_EQ(co_await desk.code(topic("a.b")), ErrorCode::TOPIC_ALREADY_EXISTS);
    EXPECT_EQ(co_await desk.code(topic("a_b")), ErrorCode::INVALID_TOPIC_EXCEPTION);
    EXPECT_EQ(co_await desk.code(topic("a/b")), ErrorCode::INVALID_TOPIC_EXCEPTION);
    EXPECT_EQ(co_await desk.code(topic("p", 0)), ErrorCode::INVALID_PARTITIONS);
    EXPECT_EQ(co_await desk.code(topic("p", -2)), ErrorCode::INVALID_PARTITIONS);
    EXPECT_EQ(co_await desk.code(topic("f", 1, 4)), ErrorCode::INVALID_REPLICATION_FACTOR);
    EXPECT_EQ(co_await desk.code(topic("f", 1, 0)), ErrorCode::INVALID_REPLICATION_FACTOR);
    const auto by_hand = [](Assignment assignment) {
      NewTopic t;
      t.name = "hand";
      t.assignment = std::move(assignment);
      return t;
    };
    EXPECT_EQ(co_await desk.code(by_hand({{p0, {b0, b0}}})), ErrorCode::INVALID_REPLICA_ASSIGNMENT);
    EXPECT_EQ(co_await desk.code(by_hand({{p0, {}}})), ErrorCode::INVALID_REPLICA_ASSIGNMENT);
    EXPECT_EQ(co_await desk.code(by_hand({{p1, {b0}}})), ErrorCode::INVALID_REPLICA_ASSIGNMENT);
    EXPECT_EQ(co_await desk.code(by_hand({{p0, {b0}}, {p1, {b0, b1}}})), ErrorCode::INVALID_REPLICA_ASSIGNMENT);
    auto both = by_hand({{p0, {b0}}});
    both.partitions = 1;
    EXPECT_EQ(co_await desk.code(both), ErrorCode::INVALID_REQUEST);
    (void)co_await zkclient::create_with_parents(*desk.zk, "/admin/delete_topics/going", "");
    EXPECT_EQ(co_await desk.code(topic("going")), ErrorCode::TOPIC_ALREADY_EXISTS);
    std::vector<NewTopic> twice{topic("x"), topic("y"), topic("x")};
    auto made = co_await desk.admin.create_topics(twice, CreateOptions{}, desk.image);
    EXPECT_EQ(made[0].result.error().code, ErrorCode::INVALID_REQUEST);
    EXPECT_TRUE(made[1].result.has_value());
    EXPECT_EQ(made[2].result.error().code, ErrorCode::INVALID_REQUEST);
    co_await desk.zk->close();
  });
}

TEST(Admin, OfTwoThatMakeATopicOneMakesAllOfIt) {
  story([](runtime::Shard& shard) -> Task<void> {
    Desk desk(shard);
    std::map<std::string, ErrorCode> of;
    runtime::Scope scope(shard);
    auto make = [&](std::string retention) -> Task<void> {
      auto wanted = topic("race");
      wanted.configs = {{"retention.ms", retention}};
      of[retention] = co_await desk.code(wanted);
    };
    for (const auto* retention : {"1", "2", "3"}) scope.spawn(make(retention));
    co_await scope.stop();
    const auto config = (co_await desk.zk->get("/config/topics/race"))->data;
    int made = 0;
    for (const auto& [retention, code] : of) {
      EXPECT_TRUE(code == ErrorCode::NONE || code == ErrorCode::TOPIC_ALREADY_EXISTS) << name(code);
      if (code != ErrorCode::NONE) continue;
      ++made;
      EXPECT_EQ(config, R"({"version":1,"config":{"retention.ms":")" + retention + R"("}})");
    }
    EXPECT_EQ(made, 1);
    // What an earlier topic left is not the next one's.
    (void)co_await desk.zk->create("/config/topics/left", R"({"version":1,"config":{"retention.ms":"9"}})");
    EXPECT_TRUE((co_await desk.create(topic("left"))).result.has_value());
    EXPECT_EQ((co_await desk.zk->get("/config/topics/left"))->data, R"({"version":1,"config":{}})");
    co_await desk.zk->close();
  });
}

TEST(Admin, ValidateOnlyAndRefusedConfigsWriteNothing) {
  story([](runtime::Shard& shard) -> Task<void> {
    Desk desk(shard);
    CreateOptions dry;
    dry.validate_only = true;
    auto made = co_await desk.create(topic("t", 3), dry);
    EXPECT_TRUE(made.result.has_value());
    EXPECT_EQ(made.partitions, 3);
    CreateOptions strict;
    strict.check = [](const cluster::ConfigMap&) -> Result<> { return fail(ErrorCode::INVALID_CONFIG, "no"); };
    EXPECT_EQ((co_await desk.create(topic("u"), strict)).result.error().code, ErrorCode::INVALID_CONFIG);
    EXPECT_TRUE(desk.tree->dump().empty());
    co_await desk.zk->close();
  });
}

TEST(Admin, PartitionsGrowByTheRulesOfKafka) {
  story([](runtime::Shard& shard) -> Task<void> {
    Desk desk(shard);
    NewTopic t;
    t.name = "t";
    t.assignment = {{p0, {b1, b2}}};
    EXPECT_TRUE((co_await desk.create(t)).result.has_value());
    const auto grow = [&](std::int32_t count, std::optional<std::vector<Ids>> by_hand = {}, bool dry = false,
                          std::string name = "t") -> Task<ErrorCode> {
      std::vector<NewPartitions> asked{{name, count, by_hand}};
      auto done = co_await desk.admin.create_partitions(std::move(asked), dry, desk.image);
      co_return done.front() ? ErrorCode::NONE : done.front().error().code;
    };
    EXPECT_EQ(co_await grow(1), ErrorCode::INVALID_PARTITIONS);
    EXPECT_EQ(co_await grow(0), ErrorCode::INVALID_PARTITIONS);
    EXPECT_EQ(co_await grow(2, {}, false, "none"), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    EXPECT_EQ(co_await grow(2, std::vector<Ids>{{b0}}), ErrorCode::INVALID_REPLICA_ASSIGNMENT);
    EXPECT_EQ(co_await grow(2, std::vector<Ids>{{b0, BrokerId{9}}}), ErrorCode::INVALID_REPLICA_ASSIGNMENT);
    EXPECT_EQ(co_await grow(2, std::vector<Ids>{{b0, b1}, {b1, b2}}), ErrorCode::INVALID_REPLICA_ASSIGNMENT);
    EXPECT_EQ(co_await grow(3, {}, true), ErrorCode::NONE);
    EXPECT_EQ((co_await desk.zk->get("/brokers/topics/t"))->stat.version, 0);
    EXPECT_EQ(co_await grow(2, std::vector<Ids>{{b0, b1}}), ErrorCode::NONE);
    // The next ones go on from where the first replica of partition 0 stands, as AdminUtils counts.
    EXPECT_EQ(co_await grow(4), ErrorCode::NONE);
    const auto now = layout::decode_topic("/t", (co_await desk.zk->get("/brokers/topics/t"))->data);
    EXPECT_EQ(now->partitions.at(p0).replicas, (Ids{b1, b2}));
    EXPECT_EQ(now->partitions.at(p1).replicas, (Ids{b0, b1}));
    EXPECT_EQ(now->partitions.at(PartitionId{2}).replicas, (Ids{b0, b2}));
    EXPECT_EQ(now->partitions.at(PartitionId{3}).replicas, (Ids{b1, b2}));
    co_await desk.zk->close();
  });
}

// Two brokers read, and both write: the second must not undo what the first wrote.
TEST(Admin, AConfigIsReplacedOnlyOverWhatWasRead) {
  story([](runtime::Shard& shard) -> Task<void> {
    using cluster::ConfigType;
    Desk desk(shard);
    (void)co_await desk.create(topic("t"));
    const cluster::ConfigMap ours{{"a", "1"}};
    const cluster::ConfigMap theirs{{"b", "2"}};
    const auto absent = Admin::Config::absent;
    for (const cluster::ConfigKey& key :
         {cluster::ConfigKey{ConfigType::topic, "t"}, cluster::ConfigKey{ConfigType::broker, ""},
          cluster::ConfigKey{ConfigType::user, "alice"}}) {
      const auto read = co_await desk.admin.get_config(key);
      EXPECT_EQ(read->version == absent, key.type != ConfigType::topic);
      EXPECT_TRUE((co_await desk.admin.replace_config(key, theirs, read->version)).has_value());
      const auto refused = co_await desk.admin.replace_config(key, ours, read->version);
      EXPECT_EQ(refused.error().code, ErrorCode::INVALID_UPDATE_VERSION);
      const auto removed = co_await desk.admin.replace_config(key, {}, 7);
      EXPECT_EQ(removed.error().code, ErrorCode::INVALID_UPDATE_VERSION);
      const auto again = co_await desk.admin.get_config(key);
      EXPECT_EQ(again->values, theirs);
      EXPECT_TRUE((co_await desk.admin.replace_config(key, ours, again->version)).has_value());
    }
    co_await desk.zk->close();
  });
}

TEST(Admin, ConfigsAreWrittenAndToldToAll) {
  story([](runtime::Shard& shard) -> Task<void> {
    using cluster::ConfigType;
    Desk desk(shard);
    cluster::ConfigKey key{ConfigType::topic, "t"};
    cluster::ConfigMap config{{"a", "1"}};
    EXPECT_EQ((co_await desk.admin.set_config(key, config)).error().code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    (void)co_await desk.create(topic("t"));

    std::vector<std::pair<cluster::ConfigKey, cluster::ConfigMap>> heard;
    ConfigFollower follower(
        shard, *desk.zk, [&](const cluster::ConfigKey& k, const cluster::ConfigMap& c) { heard.emplace_back(k, c); });
    EXPECT_TRUE((co_await follower.start()).has_value());
    EXPECT_EQ(heard.size(), 1U);
    heard.clear();
    const auto wait = [&](std::size_t n) -> Task<void> {
      for (int i = 0; i < 20'000 && heard.size() < n; ++i) co_await runtime::sleep(shard, 1ms);
    };

    EXPECT_TRUE((co_await desk.admin.set_config(key, config)).has_value());
    EXPECT_EQ((co_await desk.admin.get_config(key))->values, config);
    cluster::ConfigKey all{ConfigType::broker, ""};
    cluster::ConfigMap threads{{"num.io.threads", "3"}};
    EXPECT_TRUE((co_await desk.admin.set_config(all, threads)).has_value());
    EXPECT_EQ((co_await desk.zk->get("/config/brokers/<default>"))->data,
              R"({"version":1,"config":{"num.io.threads":"3"}})");
    // An old tool's notification.
    (void)co_await desk.zk->set("/config/topics/t", R"({"version":1,"config":{"a":"2"}})");
    (void)co_await desk.zk->create("/config/changes/config_change_",
                                   R"({"version":1,"entity_type":"topics","entity_name":"t"})",
                                   zkclient::CreateMode::persistent_sequential);
    cluster::ConfigKey client{ConfigType::user, "alice/clients/app"};
    cluster::ConfigMap quota{{"producer_byte_rate", "9"}};
    EXPECT_TRUE((co_await desk.admin.set_config(client, quota)).has_value());
    cluster::ConfigMap none;
    EXPECT_TRUE((co_await desk.admin.set_config(client, none)).has_value());
    co_await wait(5);
    EXPECT_EQ(heard.size(), 5U);
    if (heard.size() == 5) {
      EXPECT_EQ(heard[0].first, key);
      EXPECT_EQ(heard[1], std::pair(all, threads));
      EXPECT_EQ(heard[2].second.at("a"), "2");
      EXPECT_EQ(heard[4], std::pair(client, none));
    }
    EXPECT_FALSE((co_await desk.zk->exists("/config/users/alice/clients/app"))->has_value());

    // What changed while the session was lost is heard with the new one.
    heard.clear();
    desk.tree->hold_new_sessions(true);
    desk.tree->expire(desk.zk->session_id());
    auto other = desk.tree->connect();
    (void)co_await other->set("/config/topics/t", R"({"version":1,"config":{"a":"3"}})");
    desk.tree->hold_new_sessions(false);
    const auto has_three = [&] {
      for (const auto& [k, c] : heard) {
        if (k == key && c == cluster::ConfigMap{{"a", "3"}}) return true;
      }
      return false;
    };
    for (int i = 0; i < 20'000 && !has_three(); ++i) co_await runtime::sleep(shard, 1ms);
    EXPECT_TRUE(has_three());
    co_await follower.stop();
    co_await other->close();
    co_await desk.zk->close();
  });
}

// --- register.h -------------------------------------------------------------------------------------------------

TEST(Register, RootPathsAndClusterId) {
  story([](runtime::Shard& shard) -> Task<void> {
    Desk desk(shard);
    EXPECT_TRUE((co_await ensure_root_paths(*desk.zk)).has_value());
    for (const auto& path : layout::persistent_paths())
      EXPECT_TRUE((co_await desk.zk->exists(path))->has_value()) << path;
    auto id = co_await get_or_create_cluster_id(*desk.zk, *desk.random);
    EXPECT_TRUE(id.has_value());
    EXPECT_TRUE(Uuid::parse(*id).has_value());
    EXPECT_EQ(*co_await get_or_create_cluster_id(*desk.zk, *desk.random), *id);
    (void)co_await desk.zk->set("/cluster/id", "{");
    EXPECT_FALSE((co_await get_or_create_cluster_id(*desk.zk, *desk.random)).has_value());
    co_await desk.zk->close();
  });
}

TEST(Register, TheEpochIsTheCzxidAndAnothersNodeIsRespected) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    auto mine = tree->connect();
    auto other = tree->connect();
    layout::BrokerRegistration r;
    r.endpoints = {{"PLAINTEXT", "PLAINTEXT", "10.9.8.7", 9092}, {"EXT", "PLAINTEXT", "::1", 19379}};
    auto epoch = co_await register_broker(shard, *other, b0, r, 0s);
    EXPECT_TRUE(epoch.has_value());
    auto there = co_await mine->get("/brokers/ids/0");
    EXPECT_EQ(epoch->value, there->stat.czxid);
    EXPECT_EQ(there->stat.ephemeral_owner, other->session_id());
    EXPECT_EQ(layout::decode_broker("/b", there->data)->endpoints, r.endpoints);
    // Again by the same session: fine.
    EXPECT_EQ(*co_await register_broker(shard, *other, b0, r, 0s), *epoch);
    auto refused = co_await register_broker(shard, *mine, b0, r, 1ms);
    EXPECT_EQ(refused.error().code, ErrorCode::DUPLICATE_BROKER_REGISTRATION);
    EXPECT_NE(refused.error().message.find("10.9.8.7:9092, EXT://[::1]:19379"), std::string::npos)
        << refused.error().message;
    // The other's session ends while we wait: it was our own old one.
    runtime::Scope scope(shard);
    Result<BrokerEpoch> later = fail(ErrorCode::NONE);
    auto wait = [&]() -> Task<void> { later = co_await register_broker(shard, *mine, b0, r, 20s); };
    scope.spawn(wait());
    co_await other->close();
    co_await scope.stop();
    EXPECT_TRUE(later.has_value());
    EXPECT_GT(later->value, epoch->value);
    co_await mine->close();
  });
}

TEST(Register, WhatABrokerWaitsForIsSaidOnceAndForHowLong) {
  const auto path = testing::TempDir() + "register-" + std::to_string(::getpid()) + ".log";
  logging::init({logging::Level::info, logging::Format::text, path});
  runtime::SimWorld world(1, 1);
  runtime::block_on(world.shard(0), [&world]() -> Task<void> {
    auto& shard = world.shard(0);
    auto tree = MemoryTree::make();
    auto mine = tree->connect();
    auto other = tree->connect();
    layout::BrokerRegistration r;
    r.endpoints = {{"PLAINTEXT", "PLAINTEXT", "::1", 9092}};
    (void)co_await register_broker(shard, *other, b0, r, 0s);
    (void)co_await register_broker(shard, *mine, b0, r, 40s);
    co_await mine->close();
    co_await other->close();
  });
  logging::init({});
  std::ifstream log(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(log, line);) {
    if (line.find("is held by session") != std::string::npos) lines.push_back(line);
  }
  std::filesystem::remove(path);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_NE(lines[0].find("a broker at PLAINTEXT://[::1]:9092: waiting up to 40000 ms"), std::string::npos) << lines[0];
}

TEST(Register, ProducerIdBlocksNeverOverlap) {
  story([](runtime::Shard& shard) -> Task<void> {
    auto tree = MemoryTree::make();
    auto one = tree->connect();
    auto two = tree->connect();
    runtime::Scope scope(shard);
    std::vector<layout::ProducerIdBlock> blocks;
    auto take = [&](zkclient::Zk& zk, BrokerId id) -> Task<void> {
      for (int i = 0; i < 20; ++i) {
        auto block = co_await allocate_producer_ids(zk, id);
        EXPECT_TRUE(block.has_value());
        if (block) blocks.push_back(*block);
      }
    };
    scope.spawn(take(*one, b0));
    scope.spawn(take(*two, b1));
    co_await scope.stop();
    EXPECT_EQ(blocks.size(), 40U);
    std::sort(blocks.begin(), blocks.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      EXPECT_EQ(blocks[i].first, static_cast<std::int64_t>(i) * 1000);
      EXPECT_EQ(blocks[i].last, blocks[i].first + 999);
    }
    EXPECT_EQ(co_await generate_broker_id(*one, 1000), BrokerId{1001});
    EXPECT_EQ(co_await generate_broker_id(*two, 1000), BrokerId{1002});
    co_await one->close();
    co_await two->close();
  });
}

}  // namespace
}  // namespace weir::controller
