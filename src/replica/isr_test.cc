#include "replica/isr.h"

#include <gtest/gtest.h>

#include <limits>

#include "replica/selector.h"
#include "replica/session.h"
#include "replica/throttle.h"

namespace weir::replica {
namespace {

using namespace std::chrono_literals;

Follower follower(int id) { return {.id = BrokerId{id}, .epoch = std::nullopt}; }

// As of KIP-16: caught up is who has now what the leader had when it asked last, however fast the leader writes.
TEST(FollowerState, CaughtUpIsByTheTimeOfTheFetchBefore) {
  auto f = follower(2);
  f.reset(Offset{0}, true, true, 100s);
  EXPECT_EQ(f.last_caught_up, 100s) << "a member of the set has one lag's time to come";
  f.fetched(Offset{0}, Offset{0}, Offset{50}, std::nullopt, 101s);
  EXPECT_EQ(f.last_caught_up, 100s);
  f.fetched(Offset{50}, Offset{0}, Offset{90}, std::nullopt, 105s);
  EXPECT_EQ(f.last_caught_up, 101s) << "at 101 s the log ended at 50";
  f.fetched(Offset{60}, Offset{0}, Offset{120}, std::nullopt, 109s);
  EXPECT_EQ(f.last_caught_up, 101s);
  f.fetched(Offset{120}, Offset{0}, Offset{120}, std::nullopt, 111s);
  EXPECT_EQ(f.last_caught_up, 111s);
  EXPECT_TRUE(f.caught_up(Offset{130}, 120s, 10s));
  EXPECT_FALSE(f.caught_up(Offset{130}, 122s, 10s));
  EXPECT_TRUE(f.caught_up(Offset{120}, 500s, 10s)) << "who has all is in sync, however quiet it is";
}

TEST(FollowerState, WhoIsNotInTheSetHoldsNothingBackAfterAnElection) {
  auto f = follower(2);
  f.fetched(Offset{5}, Offset{0}, Offset{5}, std::nullopt, 99s);
  f.reset(Offset{9}, false, false, 100s);
  EXPECT_EQ(f.log_end, Offset{5});
  EXPECT_FALSE(f.caught_up(Offset{9}, 100s, 30s));
  f.reset(Offset{9}, true, true, 100s);
  EXPECT_EQ(f.log_end, no_offset);
}

TEST(HighWatermark, IsTheLeastOfTheMaximalSetAndOfThoseWhoAreJoining) {
  const std::vector<BrokerId> isr{BrokerId{1}, BrokerId{2}};
  auto two = follower(2);
  auto three = follower(3);
  two.log_end = Offset{8};
  three.log_end = Offset{4};
  const auto all = [](BrokerId) { return true; };
  EXPECT_EQ(high_watermark_of(Offset{10}, Offset{10}, {two, three}, isr, 100s, 10s, all), Offset{8});
  three.last_caught_up = 95s;
  EXPECT_EQ(high_watermark_of(Offset{10}, Offset{10}, {two, three}, isr, 100s, 10s, all), Offset{4});
  EXPECT_EQ(high_watermark_of(Offset{10}, Offset{10}, {two, three}, isr, 100s, 10s,
                              [](BrokerId id) { return id != BrokerId{3}; }),
            Offset{8})
      << "a broker that is down joins nothing";
  EXPECT_EQ(high_watermark_of(Offset{6}, Offset{10}, {two}, isr, 100s, 10s, all), Offset{6})
      << "the leader counts itself as far as it is told to";
}

TEST(ThrottleRate, IsOverTheWindow) {
  Throttle throttle(11, 1s);
  EXPECT_FALSE(throttle.exceeded(100s));
  throttle.set_rate(1000);
  throttle.record(5000, 100s);
  EXPECT_TRUE(throttle.exceeded(100s));
  EXPECT_TRUE(throttle.exceeded(104s));
  EXPECT_FALSE(throttle.exceeded(105s)) << "5000 bytes in five seconds";
  EXPECT_EQ(throttle.current(120s), 0.0) << "the window has passed";
  throttle.record(1'000'000, 130s);
  throttle.set_rate(Throttle::unlimited);
  EXPECT_FALSE(throttle.exceeded(130s));
}

TEST(ThrottledReplicasText, IsReadAsKafkaWritesIt) {
  const BrokerId self{2};
  EXPECT_TRUE(parse_throttled_replicas("*", self)->contains(PartitionId{7}));
  EXPECT_FALSE(parse_throttled_replicas("none", self)->contains(PartitionId{7}));
  EXPECT_FALSE(parse_throttled_replicas("", self)->contains(PartitionId{0}));
  const auto some = parse_throttled_replicas("0:1, 1:2,3:2", self);
  ASSERT_TRUE(some);
  EXPECT_EQ(some->partitions, (std::vector{PartitionId{1}, PartitionId{3}}));
  for (const auto* bad : {"1", "1:", ":1", "a:2", "1:2,x", "-1:2", "1:2:3", "99999999999:1"}) {
    const auto refused = parse_throttled_replicas(bad, self);
    ASSERT_FALSE(refused) << bad;
    EXPECT_EQ(refused.error().code, ErrorCode::INVALID_CONFIG);
  }
}

TEST(PreferredReplica, IsInTheClientsRackAndFurthest) {
  const auto rack_of = [](BrokerId id) -> std::string_view { return id.value == 1 ? "a" : id.value == 4 ? "c" : "b"; };
  const std::vector<ReadReplica> in_sync{{BrokerId{2}, Offset{0}, Offset{90}, 5s},
                                         {BrokerId{3}, Offset{50}, Offset{100}, 5s},
                                         {BrokerId{4}, Offset{0}, Offset{100}, 0s}};
  const BrokerId leader{1};
  EXPECT_EQ(preferred_read_replica("b", leader, in_sync, Offset{80}, rack_of), BrokerId{3});
  EXPECT_EQ(preferred_read_replica("b", leader, in_sync, Offset{20}, rack_of), BrokerId{2}) << "the other starts later";
  EXPECT_EQ(preferred_read_replica("b", leader, in_sync, Offset{101}, rack_of), std::nullopt);
  EXPECT_EQ(preferred_read_replica("a", leader, in_sync, Offset{80}, rack_of), std::nullopt) << "the leader is there";
  EXPECT_EQ(preferred_read_replica("d", leader, in_sync, Offset{80}, rack_of), std::nullopt);
  EXPECT_EQ(preferred_read_replica("", leader, in_sync, Offset{80}, rack_of), std::nullopt);
}

TEST(Session, CountsItsRequests) {
  FollowerSession session;
  EXPECT_TRUE(session.full());
  session.answered(0);
  EXPECT_TRUE(session.full()) << "the leader keeps none";
  session.answered(42);
  EXPECT_FALSE(session.full());
  EXPECT_EQ(session.epoch(), 1);
  session.answered(42);
  EXPECT_EQ(session.epoch(), 2);
  session.refused(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
  EXPECT_TRUE(session.full());
  EXPECT_EQ(session.id(), 42) << "so that the leader can end it";
  session.refused(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
  EXPECT_EQ(session.id(), 0);
}

}  // namespace
}  // namespace weir::replica
