#include "cluster/image.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cluster/topic_name.h"

namespace weir::cluster {
namespace {

const BrokerId b0{0}, b1{1}, b2{2};
const auto id1 = *Uuid::parse("0uqrEPSJTEeLB8ZZzQ7fVg");
const auto id2 = *Uuid::parse("1uqrEPSJTEeLB8ZZzQ7fVg");

Partition led_by(BrokerId leader) {
  Partition p;
  p.replicas = {b0, b1};
  p.leader = leader;
  p.leader_epoch = LeaderEpoch{0};
  p.isr = {b0, b1};
  return p;
}
Broker broker(BrokerId id) {
  Broker b;
  b.id = id;
  b.epoch = BrokerEpoch{id.value + 100};
  b.endpoints = {{"PLAINTEXT", "PLAINTEXT", fmt::format("h{}", id.value), 9092}};
  return b;
}

TEST(Image, AChangeLeavesTheOldImageAsItWas) {
  ImageBuilder first(empty_image());
  first.put_broker(broker(b0)).put_topic("t", id1).put_partition("t", PartitionId{0}, led_by(b0));
  first.put_partition("t", PartitionId{1}, led_by(b1));
  const auto before = first.build();
  ImageBuilder second(before);
  second.put_partition("t", PartitionId{0}, led_by(b1)).put_broker(broker(b1)).mark_deleting("t");
  second.set_config({ConfigType::topic, "t"}, {{"retention.ms", "1"}});
  const auto after = second.build();
  EXPECT_EQ(before->partition("t", PartitionId{0})->leader, b0);
  EXPECT_EQ(after->partition("t", PartitionId{0})->leader, b1);
  EXPECT_FALSE(before->alive(b1));
  EXPECT_TRUE(after->alive(b1));
  EXPECT_FALSE(before->deleting("t"));
  EXPECT_TRUE(after->deleting("t"));
  EXPECT_TRUE(before->config({ConfigType::topic, "t"}).empty());
  EXPECT_EQ(after->config({ConfigType::topic, "t"}).at("retention.ms"), "1");
  EXPECT_EQ(before->partition_count(), 2U);
  EXPECT_EQ(after->partition_count(), 2U);
}

TEST(Image, OneChangeInManyPartitionsSharesTheRest) {
  ImageBuilder building(empty_image());
  for (int t = 0; t < 1000; ++t) {
    for (int p = 0; p < 10; ++p) building.put_partition(fmt::format("t{}", t), PartitionId{p}, led_by(b0));
  }
  for (int p = 0; p < 1000; ++p) building.put_partition("wide", PartitionId{p}, led_by(b0));
  const auto before = building.build();
  EXPECT_EQ(before->partition_count(), 11000U);
  EXPECT_EQ(before->topic_count(), 1001U);
  ImageBuilder one(before);
  one.put_partition("wide", PartitionId{500}, led_by(b1));
  const auto after = one.build();
  EXPECT_EQ(before->topic("t7"), after->topic("t7"));
  EXPECT_EQ(before->partition("wide", PartitionId{0}), after->partition("wide", PartitionId{0}));
  EXPECT_NE(before->partition("wide", PartitionId{500}), after->partition("wide", PartitionId{500}));
  EXPECT_EQ(before->partition("wide", PartitionId{500})->leader, b0);
  EXPECT_EQ(after->partition("wide", PartitionId{500})->leader, b1);
}

TEST(Image, TopicsAreFoundByNameAndId) {
  ImageBuilder first(empty_image());
  first.put_topic("a", id1).put_partition("a", PartitionId{0}, led_by(b0)).put_topic("old", Uuid{});
  auto image = first.build();
  EXPECT_EQ(image->topic(id1)->name, "a");
  EXPECT_EQ(image->topic("old")->id, Uuid{});
  EXPECT_EQ(image->topic(id2), nullptr);
  // A partition's change does not hide behind the id.
  ImageBuilder second(image);
  second.put_partition("a", PartitionId{0}, led_by(b1));
  image = second.build();
  EXPECT_EQ(image->topic(id1)->partitions.find(PartitionId{0})->leader, b1);
  // A topic made anew under the same name is another one.
  ImageBuilder third(image);
  third.put_topic("a", id2);
  image = third.build();
  EXPECT_EQ(image->topic(id1), nullptr);
  EXPECT_EQ(image->topic(id2)->partitions.size(), 0U);
  EXPECT_EQ(image->partition_count(), 0U);
  ImageBuilder fourth(image);
  fourth.remove_topic("a").remove_topic("never");
  image = fourth.build();
  EXPECT_EQ(image->topic("a"), nullptr);
  EXPECT_EQ(image->topic(id2), nullptr);
  EXPECT_EQ(image->topic_count(), 1U);
}

TEST(Image, AnOldTopicGetsAnIdLater) {
  ImageBuilder first(empty_image());
  first.put_partition("t", PartitionId{0}, led_by(b0));
  ImageBuilder second(first.build());
  second.put_topic("t", id1);
  const auto image = second.build();
  EXPECT_EQ(image->topic(id1)->partitions.size(), 1U);
}

TEST(Image, AnswersWhoLeadsWhere) {
  ImageBuilder building(empty_image());
  building.put_broker(broker(b0)).put_partition("t", PartitionId{0}, led_by(b0));
  building.put_partition("t", PartitionId{1}, led_by(b1));
  const auto image = building.build();
  const auto& mine = *image->partition("t", PartitionId{0});
  EXPECT_EQ(image->leader_endpoint(mine, "PLAINTEXT")->host, "h0");
  EXPECT_EQ(image->leader_endpoint(mine, "SSL"), nullptr);
  EXPECT_EQ(image->leader_endpoint(*image->partition("t", PartitionId{1}), "PLAINTEXT"), nullptr);
  EXPECT_EQ(image->offline_replicas(mine), std::vector<BrokerId>{b1});
  EXPECT_EQ(image->partition("t", PartitionId{2}), nullptr);
  EXPECT_EQ(image->partition("t", PartitionId{-1}), nullptr);
  EXPECT_EQ(image->partition("u", PartitionId{0}), nullptr);
}

TEST(Image, BrokersThatDidNotChangeStayTheSameObject) {
  ImageBuilder first(empty_image());
  first.set_brokers({broker(b0), broker(b1)});
  const auto before = first.build();
  ImageBuilder second(before);
  auto moved = broker(b1);
  moved.rack = "r";
  second.set_brokers({broker(b0), moved, broker(b2)});
  const auto after = second.build();
  EXPECT_EQ(before->broker(b0), after->broker(b0));
  EXPECT_NE(before->broker(b1), after->broker(b1));
  EXPECT_EQ(after->brokers().size(), 3U);
}

TEST(PersistentMap, AgreesWithAPlainMapUnderManyChanges) {
  PersistentMap<int, int> map;
  std::map<int, int> plain;
  std::vector<std::pair<PersistentMap<int, int>, std::map<int, int>>> kept;
  std::uint32_t seed = 1;
  for (int i = 0; i < 20000; ++i) {
    seed = seed * 1664525 + 1013904223;
    const int key = static_cast<int>((seed >> 8) % 3000);
    if (seed % 3 == 0) {
      EXPECT_EQ(map.erase(key), plain.erase(key) == 1);
    } else {
      map.set(key, i);
      plain[key] = i;
    }
    if (i % 4000 == 0) kept.emplace_back(map, plain);
  }
  kept.emplace_back(map, plain);
  for (const auto& [a, b] : kept) {
    EXPECT_EQ(a.size(), b.size());
    for (const auto& [key, value] : b) {
      ASSERT_NE(a.find(key), nullptr);
      EXPECT_EQ(*a.find(key), value);
    }
    std::size_t n = 0;
    a.each([&](int key, int value) {
      ++n;
      EXPECT_EQ(b.at(key), value);
    });
    EXPECT_EQ(n, b.size());
  }
}

TEST(TopicName, AsKafkaAllows) {
  EXPECT_TRUE(validate_topic_name("a.b_c-D9"));
  EXPECT_TRUE(validate_topic_name(std::string(249, 'x')));
  for (const std::string bad : {"", ".", "..", "a/b", "a b", "ä", "a\n"}) {
    EXPECT_EQ(validate_topic_name(bad).error().code, ErrorCode::INVALID_TOPIC_EXCEPTION) << bad;
  }
  EXPECT_FALSE(validate_topic_name(std::string(250, 'x')));
  EXPECT_EQ(
      validate_topic_name("a/b").error().message,
      "Topic name is invalid: 'a/b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'");
  EXPECT_TRUE(collides("a.b", "a_b"));
  EXPECT_TRUE(collides("a.b", "a.b"));
  EXPECT_FALSE(collides("a.b", "ab"));
  EXPECT_TRUE(has_collision_chars("a_b"));
  EXPECT_FALSE(has_collision_chars("ab-c"));
  EXPECT_TRUE(internal_topic("__consumer_offsets"));
  EXPECT_FALSE(internal_topic("_schemas"));
}

}  // namespace
}  // namespace weir::cluster
