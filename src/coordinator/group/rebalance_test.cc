// From joining to assignments, and what goes wrong on the way.
#include <gtest/gtest.h>

#include <chrono>

#include "coordinator/group/harness.h"

namespace weir::coordinator::group {
namespace {

TEST(Rebalance, AssignmentsAreGivenWhenTheyAreOnTheLog) {
  Harness h;
  const auto a = h.join(h.join_request("g"));
  const auto b = h.join(h.join_request("g"));
  h.pass(seconds(6));
  const auto leader = h.reply<JoinResponse>(a).member_id;
  const auto other = h.reply<JoinResponse>(b).member_id;
  EXPECT_EQ(h.reply<JoinResponse>(b).leader, leader);
  EXPECT_TRUE(h.reply<JoinResponse>(b).members.empty());
  h.hold = true;
  const auto sb = h.sync("g", 1, other);
  EXPECT_TRUE(h.held.empty()) << "a follower's sync writes nothing";
  const auto sa = h.sync("g", 1, leader, {{leader, "A"}, {other, "B"}, {"stranger", "C"}});
  ASSERT_EQ(h.held.size(), 1u);
  EXPECT_FALSE(h.answered(sa));
  EXPECT_EQ(h.state("g"), "CompletingRebalance");
  h.commit_one();
  EXPECT_EQ(h.state("g"), "Stable");
  EXPECT_EQ(h.reply<SyncResponse>(sa).assignment.text(), "A");
  EXPECT_EQ(h.reply<SyncResponse>(sb).assignment.text(), "B");
  EXPECT_EQ(h.reply<SyncResponse>(sb).protocol_name, "range");
  EXPECT_EQ(h.reply<SyncResponse>(sb).protocol_type, "consumer");
  // Asked again, the same is answered.
  EXPECT_EQ(h.reply<SyncResponse>(h.sync("g", 1, other)).assignment.text(), "B");
}

TEST(Rebalance, WhoIsNotAssignedAnythingGetsAnEmptyAssignment) {
  Harness h;
  const auto a = h.join(h.join_request("g"));
  const auto b = h.join(h.join_request("g"));
  h.pass(seconds(6));
  h.sync("g", 1, h.reply<JoinResponse>(a).member_id, {});
  const auto s = h.reply<SyncResponse>(h.sync("g", 1, h.reply<JoinResponse>(b).member_id));
  EXPECT_EQ(s.error, ErrorCode::NONE);
  EXPECT_TRUE(s.assignment.empty());
}

TEST(Rebalance, SyncIsCheckedAgainstGenerationAndProtocol) {
  Harness h;
  const auto g = h.stable("g", 1);
  EXPECT_EQ(h.reply<SyncResponse>(h.sync("g", 2, g.members[0])).error, ErrorCode::ILLEGAL_GENERATION);
  EXPECT_EQ(h.reply<SyncResponse>(h.sync("g", 1, "nobody")).error, ErrorCode::UNKNOWN_MEMBER_ID);
  EXPECT_EQ(h.reply<SyncResponse>(h.sync("other", 1, g.members[0])).error, ErrorCode::UNKNOWN_MEMBER_ID);
  SyncRequest r;
  r.group = "g";
  r.generation = 1;
  r.member_id = g.members[0];
  r.protocol_type = "connect";
  EXPECT_EQ(h.reply<SyncResponse>(h.sync(r)).error, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
  r.protocol_type = "consumer";
  r.protocol_name = "sticky";
  EXPECT_EQ(h.reply<SyncResponse>(h.sync(r)).error, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
  r.protocol_name = "range";
  EXPECT_EQ(h.reply<SyncResponse>(h.sync(r)).error, ErrorCode::NONE);
}

TEST(Rebalance, ANewMemberMakesTheOthersRejoin) {
  Harness h;
  const auto g = h.stable("g", 2);
  const auto c = h.join(h.join_request("g"));
  EXPECT_EQ(h.heartbeat("g", 1, g.members[0]), ErrorCode::REBALANCE_IN_PROGRESS);
  EXPECT_EQ(h.reply<SyncResponse>(h.sync("g", 1, g.members[1])).error, ErrorCode::REBALANCE_IN_PROGRESS);
  const auto a = h.join(h.join_request("g", g.members[0]));
  EXPECT_FALSE(h.answered(a));
  const auto b = h.join(h.join_request("g", g.members[1]));
  for (const auto t : {a, b, c}) EXPECT_EQ(h.reply<JoinResponse>(t).generation, 2);
  EXPECT_EQ(h.reply<JoinResponse>(c).leader, g.members[0]) << "who led goes on leading";
  EXPECT_EQ(h.heartbeat("g", 2, g.members[1]), ErrorCode::NONE) << "while assignments are awaited";
}

TEST(Rebalance, AJoinDuringSyncSendsThoseWhoWaitBack) {
  Harness h;
  const auto g = h.stable("g", 2);
  h.join(h.join_request("g", g.members[0]));
  h.join(h.join_request("g", g.members[1]));
  const auto waiting = h.sync("g", 2, g.members[1]);
  h.join(h.join_request("g"));
  EXPECT_EQ(h.reply<SyncResponse>(waiting).error, ErrorCode::REBALANCE_IN_PROGRESS);
}

TEST(Rebalance, AJoinWhileAssignmentsAreWrittenWinsOverThem) {
  Harness h;
  const auto g = h.stable("g", 2);
  h.join(h.join_request("g", g.members[0]));
  h.join(h.join_request("g", g.members[1]));
  h.hold = true;
  const auto sync = h.sync("g", 2, g.members[0], {{g.members[0], "late"}});
  h.join(h.join_request("g"));
  EXPECT_EQ(h.reply<SyncResponse>(sync).error, ErrorCode::REBALANCE_IN_PROGRESS);
  h.commit_one();
  EXPECT_EQ(h.state("g"), "PreparingRebalance");
}

TEST(Rebalance, AFailedWriteOfAssignmentsIsToldAndRebalances) {
  const std::pair<ErrorCode, ErrorCode> mapped[] = {
      {ErrorCode::NOT_ENOUGH_REPLICAS, ErrorCode::COORDINATOR_NOT_AVAILABLE},
      {ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND, ErrorCode::COORDINATOR_NOT_AVAILABLE},
      {ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::COORDINATOR_NOT_AVAILABLE},
      {ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::NOT_COORDINATOR},
      {ErrorCode::KAFKA_STORAGE_ERROR, ErrorCode::NOT_COORDINATOR},
      {ErrorCode::REQUEST_TIMED_OUT, ErrorCode::REBALANCE_IN_PROGRESS},
      {ErrorCode::MESSAGE_TOO_LARGE, ErrorCode::UNKNOWN_SERVER_ERROR},
  };
  for (const auto& [log, told] : mapped) {
    Harness h;
    const auto g = h.stable("g", 2);
    h.join(h.join_request("g", g.members[0]));
    h.join(h.join_request("g", g.members[1]));
    h.hold = true;
    const auto other = h.sync("g", 2, g.members[1]);
    const auto leader = h.sync("g", 2, g.members[0], {{g.members[0], "x"}});
    h.fail_one(log);
    for (const auto t : {other, leader}) {
      EXPECT_EQ(h.reply<SyncResponse>(t).error, told);
      EXPECT_TRUE(h.reply<SyncResponse>(t).assignment.empty());
      EXPECT_FALSE(h.reply<SyncResponse>(t).protocol_name);
    }
    EXPECT_EQ(h.state("g"), "PreparingRebalance");
    // They rejoin, and this time it is written.
    h.hold = false;
    h.join(h.join_request("g", g.members[0]));
    h.join(h.join_request("g", g.members[1]));
    h.sync("g", 3, g.members[0], {{g.members[1], "y"}});
    EXPECT_EQ(h.reply<SyncResponse>(h.sync("g", 3, g.members[1])).assignment.text(), "y");
  }
}

TEST(Rebalance, WhoDoesNotSyncInTheRebalanceTimeoutIsRemoved) {
  Harness h;
  const auto g = h.stable("g", 3);
  for (const auto& m : g.members) h.join(h.join_request("g", m));
  const auto waiting = h.sync("g", 2, g.members[1]);
  for (int i = 0; i < 6; ++i) {
    h.pass(milliseconds(9'500));
    EXPECT_EQ(h.heartbeat("g", 2, g.members[0]), ErrorCode::NONE);
    EXPECT_EQ(h.heartbeat("g", 2, g.members[2]), ErrorCode::NONE);
  }
  h.pass(milliseconds(3'000));
  EXPECT_EQ(h.reply<SyncResponse>(waiting).error, ErrorCode::REBALANCE_IN_PROGRESS);
  const auto left = h.machine->describe("g").members;
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0].member_id, g.members[1]);
}

TEST(Rebalance, OnceAllHaveSyncedNothingIsRemovedLater) {
  Harness h;
  const auto g = h.stable("g", 2);
  for (int i = 0; i < 20; ++i) {
    h.pass(milliseconds(9'000));
    EXPECT_EQ(h.heartbeat("g", 1, g.members[0]), ErrorCode::NONE);
    EXPECT_EQ(h.heartbeat("g", 1, g.members[1]), ErrorCode::NONE);
  }
}

TEST(Rebalance, ALeaderThatDoesNotRejoinIsReplaced) {
  Harness h;
  const auto g = h.stable("g", 3);
  const auto b = h.join([&] {
    auto r = h.join_request("g", g.members[1]);
    r.protocols[0].metadata = bytes::Shared::copy(subscription({"more"}));
    return r;
  }());
  h.join(h.join_request("g", g.members[2]));
  h.pass(seconds(60));
  const auto joined = h.reply<JoinResponse>(b);
  EXPECT_EQ(joined.leader, g.members[1]);
  EXPECT_EQ(joined.members.size(), 2u);
}

TEST(Rebalance, AMemberThatDiesWhileTheOthersRejoinEndsTheWait) {
  Harness h;
  const auto g = h.stable("g", 2);
  const auto a = h.join(h.join_request("g", g.members[0]));
  h.pass(milliseconds(10'000));
  EXPECT_EQ(h.reply<JoinResponse>(a).members.size(), 1u) << "its session ends before the rebalance timeout";
}

TEST(Rebalance, AMemberThatDiesBeforeItSyncsMakesTheOthersRejoin) {
  Harness h;
  const auto g = h.stable("g", 2);
  h.join(h.join_request("g", g.members[0]));
  h.join(h.join_request("g", g.members[1]));
  const auto waiting = h.sync("g", 2, g.members[1]);  // the leader is silent
  h.pass(milliseconds(10'000));
  EXPECT_EQ(h.reply<SyncResponse>(waiting).error, ErrorCode::REBALANCE_IN_PROGRESS);
  EXPECT_EQ(h.reply<JoinResponse>(h.join(h.join_request("g", g.members[1]))).leader, g.members[1]);
}

TEST(Rebalance, TheLastMemberLeavesAnEmptyGenerationOnTheLog) {
  Harness h;
  const auto g = h.stable("g", 1);
  h.leave("g", {{g.members[0], std::nullopt}});
  EXPECT_EQ(h.state("g"), "Empty");
  const auto& record = h.log.back().records.back();
  const auto value = parse_group_value(record.value->view());
  ASSERT_TRUE(value);
  EXPECT_EQ(value->generation, 2);
  EXPECT_TRUE(value->members.empty());
  EXPECT_FALSE(value->leader);
  EXPECT_FALSE(value->protocol);
  EXPECT_EQ(value->protocol_type, "consumer");
  EXPECT_EQ(value->state_timestamp, h.now.wall);
  // The next member begins a generation of its own, with another kind of group if it likes.
  auto request = h.join_request("g");
  request.protocol_type = "connect";
  const auto t = h.join(request);
  h.pass(seconds(3));
  EXPECT_EQ(h.reply<JoinResponse>(t).generation, 3);
  EXPECT_EQ(h.reply<JoinResponse>(t).protocol_type, "connect");
}

TEST(Rebalance, AllGoWhileTheGroupStillWaitsForItsFirstMembers) {
  Harness h;
  auto request = h.join_request("g");
  const auto t = h.join(request);
  const auto id = h.machine->describe("g").members[0].member_id;
  h.leave("g", {{id, std::nullopt}});
  EXPECT_EQ(h.reply<JoinResponse>(t).error, ErrorCode::UNKNOWN_MEMBER_ID);
  h.pass(seconds(3));
  EXPECT_EQ(h.state("g"), "Empty");
}

TEST(Rebalance, ZeroRebalanceTimeoutsDoNotSpin) {
  Harness h;
  auto request = h.join_request("g");
  request.instance_id = "i0";
  request.rebalance_timeout_ms = 0;
  request.session_timeout_ms = 60'000;
  const auto a = h.join(request);
  h.pass(seconds(3));
  const auto id = h.reply<JoinResponse>(a).member_id;
  // Its sync is awaited for no time at all: it is removed, and the group is empty. Nothing goes round and round.
  h.pass(seconds(60));
  EXPECT_EQ(h.state("g"), "Empty");
  auto negative = h.join_request("g");
  negative.rebalance_timeout_ms = -5;
  h.join(negative);
  h.pass(seconds(60));
  EXPECT_EQ(h.state("g"), "Empty");
}

TEST(Rebalance, WaitingIsRepeatedWhileNobodyRejoins) {
  Harness h;
  std::vector<std::string> ids;
  {
    std::vector<Token> tokens;
    for (int i = 0; i < 2; ++i) {
      auto r = h.join_request("g");
      r.instance_id = "i" + std::to_string(i);
      r.session_timeout_ms = 1'000'000;
      tokens.push_back(h.join(r));
    }
    h.pass(seconds(6));
    for (const auto t : tokens) ids.push_back(h.reply<JoinResponse>(t).member_id);
    h.sync("g", 1, ids[0], {}, "i0");
    h.sync("g", 1, ids[1], {}, "i1");
  }
  h.leave("g", {{"", "i1"}});
  EXPECT_EQ(h.state("g"), "PreparingRebalance");
  h.pass(seconds(600));  // the rebalance timeout is 60 s
  EXPECT_EQ(h.state("g"), "PreparingRebalance");
  auto r = h.join_request("g", ids[0]);
  r.instance_id = "i0";
  EXPECT_EQ(h.reply<JoinResponse>(h.join(r)).generation, 2);
}

TEST(Rebalance, AThousandMembersAtOnce) {
  Harness h;
  const auto started = std::chrono::steady_clock::now();
  constexpr std::size_t n = 1000;
  const auto g = h.stable("g", n);
  ASSERT_EQ(g.members.size(), n);
  // All rejoin, sync, heartbeat and commit; ten times.
  std::int32_t generation = 1;
  for (int round = 0; round < 10; ++round) {
    std::vector<Token> joins;
    for (const auto& m : g.members) joins.push_back(h.join(h.join_request("g", m)));
    ++generation;
    for (const auto t : joins) ASSERT_EQ(h.reply<JoinResponse>(t).generation, generation);
    for (std::size_t i = 1; i < n; ++i) h.sync("g", generation, g.members[i]);
    h.sync("g", generation, g.members[0], {{g.members[n - 1], "last"}});
    for (const auto& m : g.members) ASSERT_EQ(h.heartbeat("g", generation, m), ErrorCode::NONE);
    for (const auto& m : g.members) {
      ASSERT_EQ(h.committed(h.commit(h.commit_request("g", generation, m, round))), ErrorCode::NONE);
    }
  }
  EXPECT_EQ(h.reply<SyncResponse>(h.sync("g", generation, g.members[n - 1])).assignment.text(), "last");
  std::vector<LeavingMember> all;
  for (const auto& m : g.members) all.push_back({m, std::nullopt});
  h.leave("g", all);
  EXPECT_EQ(h.state("g"), "Empty");
  // 50,000 requests; a quadratic step would take minutes. Sanitizers and a busy machine stay far below this.
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(60));
}

}  // namespace
}  // namespace weir::coordinator::group
