// The judge finds what it is for.
#include "history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::sim {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

const TopicPartition where{"t", PartitionId{0}};
nanoseconds at(int time) { return seconds(1000 + time); }

struct Judge : ::testing::Test {
  History history;

  std::size_t acked(const std::string& value, std::int64_t offset, int time, int producer = 0, bool idempotent = true) {
    const auto write = history.asked(producer, idempotent, where, value, at(time));
    history.acknowledged(write, offset, at(time + 1));
    return write;
  }
};

TEST_F(Judge, AllIsWell) {
  acked("a", 0, 1);
  acked("b", 1, 3);
  history.asked(1, false, where, "c", at(4));  // never answered, never there
  history.read(0, where, 0, "a", at(5));
  history.read(0, where, 1, "b", at(6));
  history.at_end(where, 0, 2, {{0, "a"}, {1, "b"}});
  history.replica(where, 2, 0, {{0, "a"}, {1, "b"}, {2, "not committed"}});
  EXPECT_THAT(history.judge(), IsEmpty());
}
TEST_F(Judge, AnAcknowledgedRecordIsLost) {
  acked("a", 0, 1);
  history.at_end(where, 0, 0, {});
  EXPECT_THAT(history.judge(), ElementsAre(StartsWith("LOST")));
}
TEST_F(Judge, ARecordThatWasReadIsGone) {
  history.asked(0, false, where, "a", at(1));
  history.read(0, where, 0, "a", at(2));
  history.at_end(where, 0, 0, {});
  EXPECT_THAT(history.judge(), ElementsAre(StartsWith("VANISHED")));
}
TEST_F(Judge, AnOffsetChangesItsRecord) {
  history.asked(0, false, where, "a", at(1));
  history.asked(0, false, where, "b", at(1));
  history.read(0, where, 0, "a", at(2));
  history.read(1, where, 0, "b", at(2));
  history.at_end(where, 0, 1, {{0, "a"}});
  EXPECT_THAT(history.judge(), ElementsAre(StartsWith("CHANGED")));
}
TEST_F(Judge, AnAcknowledgedRecordIsElsewhere) {
  acked("a", 0, 1);
  acked("b", 1, 1, 1);
  history.at_end(where, 0, 2, {{0, "b"}, {1, "a"}});
  EXPECT_THAT(history.judge(), ElementsAre(StartsWith("MOVED"), StartsWith("MOVED")));
}
TEST_F(Judge, AnIdempotentProducersRecordIsThereTwice) {
  acked("a", 0, 1);
  history.at_end(where, 0, 2, {{0, "a"}, {1, "a"}});
  EXPECT_THAT(history.judge(), ElementsAre(StartsWith("DUPLICATED")));
}
TEST_F(Judge, AnIdempotentProducersRecordsAreOutOfOrder) {
  history.asked(0, true, where, "a", at(1));
  history.asked(0, true, where, "b", at(2));
  history.at_end(where, 0, 2, {{0, "b"}, {1, "a"}});
  EXPECT_THAT(history.judge(), ElementsAre(StartsWith("REORDERED")));
}
TEST_F(Judge, WhatWasAcknowledgedBeforeStandsBehind) {
  acked("a", 1, 1, 0, false);
  acked("b", 0, 5, 1, false);
  history.at_end(where, 0, 2, {{0, "b"}, {1, "a"}});
  EXPECT_THAT(history.judge(), ElementsAre(StartsWith("REORDERED")));
}
TEST_F(Judge, AConsumerIsGivenAGap) {
  acked("a", 0, 1);
  acked("b", 1, 3);
  acked("c", 2, 5);
  history.read(0, where, 0, "a", at(7));
  history.read(0, where, 2, "c", at(7));
  history.at_end(where, 0, 3, {{0, "a"}, {1, "b"}, {2, "c"}});
  EXPECT_THAT(history.judge(), ElementsAre(StartsWith("SKIPPED")));
}
TEST_F(Judge, ReplicasDiffer) {
  acked("a", 0, 1);
  history.at_end(where, 0, 1, {{0, "a"}});
  history.replica(where, 1, 0, {{0, "a"}});
  history.replica(where, 2, 0, {});
  EXPECT_THAT(history.judge(), ElementsAre(StartsWith("DIVERGED")));
}
TEST_F(Judge, AnExcusedPartitionMayLoseButItsReplicasAgree) {
  acked("a", 0, 1);
  acked("b", 1, 1, 1);
  history.read(0, where, 0, "a", at(2));
  history.read(0, where, 1, "b", at(2));
  history.at_end(where, 0, 1, {{0, "a"}});
  EXPECT_THAT(history.judge(), ElementsAre(StartsWith("LOST"), StartsWith("VANISHED")));
  history.excuse(where);
  EXPECT_THAT(history.judge(), ElementsAre());
  history.replica(where, 1, 0, {});
  EXPECT_THAT(history.judge(), ElementsAre(StartsWith("DIVERGED")));
  history.problem({"u", PartitionId{0}}, "OFFSET");
  history.problem(where, "SEQUENCE");
  EXPECT_THAT(history.judge(), ElementsAre(StartsWith("OFFSET"), StartsWith("DIVERGED")));
}
TEST_F(Judge, WhatRetentionTookIsNotMissed) {
  acked("a", 0, 1);
  acked("b", 1, 3);
  acked("c", 2, 5);
  history.read(0, where, 0, "a", at(6));
  history.start_moved(0, where);
  history.read(0, where, 2, "c", at(7));
  history.at_end(where, 2, 3, {{2, "c"}});
  EXPECT_THAT(history.judge(), ElementsAre());
  acked("d", 3, 8);
  EXPECT_THAT(history.judge(), ElementsAre(StartsWith("LOST")));
}
TEST_F(Judge, ARecordThatNobodyWrote) {
  history.at_end(where, 0, 1, {{0, "x"}});
  EXPECT_THAT(history.judge(), ElementsAre(StartsWith("UNASKED")));
}

}  // namespace
}  // namespace weir::sim
