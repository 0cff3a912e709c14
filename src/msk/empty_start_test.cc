#include "msk/empty_start.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

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

}  // namespace
}  // namespace weir::msk
