#include "msk/empty_start.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>

#include "msk/plane_fixture.h"

namespace weir::msk {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

PartitionFact fact(std::vector<std::int32_t> replicas, std::vector<std::int32_t> isr, std::int32_t number = 0) {
  PartitionFact out;
  out.topic = "t";
  out.partition = number;
  out.replicas = std::move(replicas);
  out.isr = std::move(isr);
  out.leader = out.isr.empty() ? -1 : out.isr.front();
  return out;
}

TEST(EmptyStart, NotBeforeItsPeersHaveTakenItOut) {
  EXPECT_THAT(check_empty_start(2, false, {1, 2, 3}, {}).why, HasSubstr("session"));
  const auto counted = check_empty_start(2, false, {1, 3}, {fact({1, 2, 3}, {1, 2, 3}), fact({2, 3}, {3, 2}, 1)});
  EXPECT_EQ(counted.why, "it counts as in sync still, for 2 partitions, such as t-0");
  EXPECT_EQ(check_empty_start(2, false, {1, 3}, {fact({1, 2, 3}, {1, 3})}).why, "");
}

TEST(EmptyStart, WhatOnlyItHadNeedsAnotherLeader) {
  const auto lone = check_empty_start(2, false, {1}, {fact({1, 2}, {2}), fact({2}, {2}, 1)});
  EXPECT_EQ(lone.why, "");
  EXPECT_THAT(lone.lone, ElementsAre(Partition{"t", 0})) << "a partition of one replica is lost in any case";
  EXPECT_THAT(check_empty_start(2, false, {3}, {fact({1, 2}, {2})}).why, HasSubstr("no other replica is up"));
}

TEST(EmptyStart, DataThatLiesThereIsNotGivenUpLightly) {
  EXPECT_THAT(check_empty_start(2, true, {}, {}).why, HasSubstr("no other broker is up"))
      << "ZooKeeper may have lost its data, and not the broker";
  EXPECT_THAT(check_empty_start(2, true, {1}, {fact({1, 2}, {2})}).why, HasSubstr("mend its data"));
  EXPECT_EQ(check_empty_start(2, true, {1}, {fact({1, 2}, {1})}).why, "");
  EXPECT_EQ(check_empty_start(2, false, {}, {}).why, "") << "a new cluster";
}

// A topic of two, of which only the broker was in sync that has lost its data.
class ElectionTest : public MskTest {
 protected:
  ElectionTest() {
    write(topic, R"({"version":2,"partitions":{"0":[1,2]},"adding_replicas":{},"removing_replicas":{}})");
    led_by(-1, "[2]");
    write(config, zkwire::layout::encode_config({{"retention.ms", "1"}}));
    erase(root + "/brokers/ids/2");
  }
  void led_by(int leader, const std::string& isr) {
    write(topic + "/partitions/0/state", R"({"controller_epoch":1,"leader":)" + std::to_string(leader) +
                                             R"(,"version":1,"leader_epoch":0,"isr":)" + isr + "}");
  }
  // As a control plane that has just begun.
  std::string ask() {
    EmptyStarts starts;
    std::string said;
    runtime::block_on(shard, [&]() -> Task<void> {
      return [](EmptyStarts& all, KafkaView view, std::string& out) -> Task<void> {
        out = co_await all.ask(std::move(view), 2, false);
      }(starts, KafkaView{&shard, zk.get(), root}, said);
    });
    return said;
  }
  std::string own() { return data(config); }
  bool written_down() {
    return std::ranges::any_of(tree->dump(),
                               [](const auto& node) { return node.first.starts_with("/weir/msk/elections/c1-"); });
  }

  std::string arn = make_cluster();
  std::string root = chroot(arn);
  std::string topic = root + "/brokers/topics/t";
  std::string config = root + "/config/topics/t";
};

TEST_F(ElectionTest, TheNextControlPlaneTakesTheSettingAway) {
  const auto before = own();
  EXPECT_THAT(ask(), HasSubstr("another is elected"));
  EXPECT_THAT(own(), HasSubstr("\"unclean.leader.election.enable\":\"true\""));
  EXPECT_TRUE(written_down());
  EXPECT_THAT(ask(), HasSubstr("another is elected"));
  led_by(1, "[1]");
  EXPECT_EQ(ask(), "");
  EXPECT_EQ(own(), before);
}

TEST_F(ElectionTest, AValueOfTheTopicsOwnIsThereAgain) {
  write(config, zkwire::layout::encode_config({{"unclean.leader.election.enable", "false"}}));
  const auto before = own();
  EXPECT_THAT(ask(), HasSubstr("another is elected"));
  EXPECT_NE(own(), before);
  led_by(1, "[1]");
  EXPECT_EQ(ask(), "");
  EXPECT_EQ(own(), before);
}

TEST_F(ElectionTest, IsOverAlsoWhenNobodyAsksAgain) {
  const auto before = own();
  EXPECT_THAT(ask(), HasSubstr("another is elected"));
  again();
  world.run_for(milliseconds(5'000));
  EXPECT_NE(own(), before) << "nobody leads it yet";
  led_by(1, "[1]");
  again();
  world.run_for(milliseconds(5'000));
  EXPECT_EQ(own(), before);
  EXPECT_FALSE(written_down());
}

}  // namespace
}  // namespace weir::msk
