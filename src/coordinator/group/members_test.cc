// Joining, leaving, sessions, static members.
#include <gtest/gtest.h>

#include "coordinator/group/harness.h"

namespace weir::coordinator::group {
namespace {

TEST(Members, TheFirstMemberWaitsForOthersAndLeads) {
  Harness h;
  const auto a = h.join(h.join_request("g"));
  h.pass(milliseconds(2999));
  EXPECT_FALSE(h.answered(a));
  EXPECT_EQ(h.state("g"), "PreparingRebalance");
  h.pass(milliseconds(1));
  const auto joined = h.reply<JoinResponse>(a);
  EXPECT_EQ(joined.error, ErrorCode::NONE);
  EXPECT_EQ(joined.generation, 1);
  EXPECT_EQ(joined.protocol_type, "consumer");
  EXPECT_EQ(joined.protocol_name, "range");
  EXPECT_EQ(joined.leader, joined.member_id);
  ASSERT_EQ(joined.members.size(), 1u);
  EXPECT_EQ(joined.members[0].metadata.text(), subscription({"orders"}));
  EXPECT_EQ(joined.member_id, "client-00000000-0000-0000-0000-000000000001");
  EXPECT_EQ(h.state("g"), "CompletingRebalance");
  EXPECT_TRUE(h.log.empty()) << "a generation is written when its assignments are known";
}

TEST(Members, TheInitialWaitIsProlongedWhileMembersComeUpToTheRebalanceTimeout) {
  Config config;
  config.initial_rebalance_delay = milliseconds(3000);
  Harness h(config);
  auto request = h.join_request("g");
  request.rebalance_timeout_ms = 10'000;
  const auto first = h.join(request);
  std::vector<Token> others;
  for (int i = 0; i < 9; ++i) {
    h.pass(milliseconds(1000));
    auto more = h.join_request("g");
    more.rebalance_timeout_ms = 10'000;
    others.push_back(h.join(std::move(more)));
    EXPECT_FALSE(h.answered(first)) << i;
  }
  h.pass(milliseconds(1000));
  EXPECT_TRUE(h.answered(first)) << "not longer than the rebalance timeout of 10 s";
  for (const auto t : others) EXPECT_EQ(h.reply<JoinResponse>(t).error, ErrorCode::NONE);
}

TEST(Members, WithoutInitialDelayTheAnswerComesAtOnce) {
  Config config;
  config.initial_rebalance_delay = milliseconds(0);
  Harness h(config);
  EXPECT_EQ(h.reply<JoinResponse>(h.join(h.join_request("g"))).generation, 1);
}

TEST(Members, AnIdIsGivenFirstWhenTheClientKnowsHowToComeBack) {
  Harness h;
  auto request = h.join_request("g");
  request.member_id_required = true;
  const auto refused = h.reply<JoinResponse>(h.join(request));
  EXPECT_EQ(refused.error, ErrorCode::MEMBER_ID_REQUIRED);
  EXPECT_EQ(h.state("g"), "Empty");
  request.member_id = refused.member_id;
  const auto again = h.join(request);
  h.pass(seconds(3));
  EXPECT_EQ(h.reply<JoinResponse>(again).member_id, refused.member_id);
}

TEST(Members, AnIdThatIsNotUsedIsForgottenAfterTheSessionTimeoutAndDoesNotHoldTheOthersUp) {
  Harness h;
  const auto g = h.stable("g", 1);
  auto request = h.join_request("g");
  request.member_id_required = true;
  const auto id = h.reply<JoinResponse>(h.join(request)).member_id;
  // The leader rejoins: the group waits for the member that was given an id.
  const auto leader = h.join(h.join_request("g", g.members[0]));
  h.pass(milliseconds(9999));
  EXPECT_FALSE(h.answered(leader));
  h.pass(milliseconds(1));
  EXPECT_EQ(h.reply<JoinResponse>(leader).generation, 2);
  request.member_id = id;
  EXPECT_EQ(h.reply<JoinResponse>(h.join(request)).error, ErrorCode::UNKNOWN_MEMBER_ID);
}

TEST(Members, SessionTimeoutsOutsideTheBoundsAreRefused) {
  Harness h;
  auto request = h.join_request("g");
  request.session_timeout_ms = 5'999;
  EXPECT_EQ(h.reply<JoinResponse>(h.join(request)).error, ErrorCode::INVALID_SESSION_TIMEOUT);
  request.session_timeout_ms = 1'800'001;
  EXPECT_EQ(h.reply<JoinResponse>(h.join(request)).error, ErrorCode::INVALID_SESSION_TIMEOUT);
  EXPECT_EQ(h.machine->groups(), 0u);
}

TEST(Members, UnknownMembersAreRefused) {
  Harness h;
  EXPECT_EQ(h.reply<JoinResponse>(h.join(h.join_request("g", "nobody"))).error, ErrorCode::UNKNOWN_MEMBER_ID);
  EXPECT_EQ(h.machine->groups(), 0u);
  const auto g = h.stable("g", 1);
  EXPECT_EQ(h.reply<JoinResponse>(h.join(h.join_request("g", "nobody"))).error, ErrorCode::UNKNOWN_MEMBER_ID);
  EXPECT_EQ(h.heartbeat("g", 1, "nobody"), ErrorCode::UNKNOWN_MEMBER_ID);
  EXPECT_EQ(h.heartbeat("other", 1, g.members[0]), ErrorCode::UNKNOWN_MEMBER_ID);
  EXPECT_EQ(h.heartbeat("g", 2, g.members[0]), ErrorCode::ILLEGAL_GENERATION);
}

TEST(Members, ProtocolsMustFitThoseOfTheGroup) {
  Harness h;
  auto none = h.join_request("g");
  none.protocols.clear();
  EXPECT_EQ(h.reply<JoinResponse>(h.join(none)).error, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
  auto untyped = h.join_request("g");
  untyped.protocol_type.clear();
  EXPECT_EQ(h.reply<JoinResponse>(h.join(untyped)).error, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
  h.stable("g", 1);
  auto other_type = h.join_request("g");
  other_type.protocol_type = "connect";
  EXPECT_EQ(h.reply<JoinResponse>(h.join(other_type)).error, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
  auto other_protocol = h.join_request("g");
  other_protocol.protocols[0].name = "sticky";
  EXPECT_EQ(h.reply<JoinResponse>(h.join(other_protocol)).error, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
}

TEST(Members, TheMostWantedProtocolThatAllSupportIsChosen) {
  Harness h;
  const auto with = [&](std::vector<std::string> names) {
    auto r = h.join_request("g");
    r.protocols.clear();
    for (auto& n : names) r.protocols.push_back({n, bytes::Shared::copy("data of " + n)});
    return h.join(std::move(r));
  };
  const auto a = with({"range", "sticky", "cooperative"});
  with({"sticky", "range", "sticky"});  // a name twice counts once
  with({"cooperative", "sticky", "range"});
  with({"sticky", "range"});
  h.pass(seconds(6));
  const auto joined = h.reply<JoinResponse>(a);
  EXPECT_EQ(joined.protocol_name, "sticky");
  ASSERT_EQ(joined.members.size(), 4u);
  EXPECT_EQ(joined.members[3].metadata.text(), "data of sticky");
}

TEST(Members, AMemberWithoutHeartbeatIsRemovedAndTheOthersRebalance) {
  Harness h;
  const auto g = h.stable("g", 2);
  h.pass(milliseconds(9000));
  EXPECT_EQ(h.heartbeat("g", 1, g.members[0]), ErrorCode::NONE);
  h.pass(milliseconds(1000));
  EXPECT_EQ(h.heartbeat("g", 1, g.members[1]), ErrorCode::UNKNOWN_MEMBER_ID);
  EXPECT_EQ(h.heartbeat("g", 1, g.members[0]), ErrorCode::REBALANCE_IN_PROGRESS);
  EXPECT_EQ(h.reply<JoinResponse>(h.join(h.join_request("g", g.members[0]))).generation, 2);
}

TEST(Members, HeartbeatsKeepASessionForEver) {
  Harness h;
  const auto g = h.stable("g", 1);
  for (int i = 0; i < 100; ++i) {
    h.pass(milliseconds(9999));
    ASSERT_EQ(h.heartbeat("g", 1, g.members[0]), ErrorCode::NONE) << i;
  }
  h.pass(seconds(10));
  EXPECT_EQ(h.heartbeat("g", 1, g.members[0]), ErrorCode::UNKNOWN_MEMBER_ID);
  EXPECT_EQ(h.state("g"), "Empty");
}

TEST(Members, AShorterSessionTimeoutHoldsFromTheNextGenerationOn) {
  Harness h;
  auto request = h.join_request("g");
  request.session_timeout_ms = 1'000'000;
  const auto id = [&] {
    const auto t = h.join(request);
    h.pass(seconds(3));
    return h.reply<JoinResponse>(t).member_id;
  }();
  h.sync("g", 1, id);
  request.member_id = id;
  request.session_timeout_ms = 6'000;
  EXPECT_EQ(h.reply<JoinResponse>(h.join(request)).generation, 2);
  h.sync("g", 2, id);
  h.pass(milliseconds(5'999));
  EXPECT_EQ(h.state("g"), "Stable");
  h.pass(milliseconds(1));
  EXPECT_EQ(h.state("g"), "Empty");
}

TEST(Members, WhoWaitsForARebalanceNeedsNoHeartbeat) {
  Harness h;
  const auto g = h.stable("g", 2);
  const auto again = h.join(h.join_request("g", g.members[0]));
  // The other one heartbeats but does not rejoin: after the rebalance timeout it is out.
  for (int i = 0; i < 7; ++i) {
    EXPECT_FALSE(h.answered(again)) << i;
    h.pass(milliseconds(9'000));
    h.heartbeat("g", 1, g.members[1]);
  }
  const auto joined = h.reply<JoinResponse>(again);
  EXPECT_EQ(joined.error, ErrorCode::NONE);
  EXPECT_EQ(joined.members.size(), 1u);
  EXPECT_EQ(h.heartbeat("g", 1, g.members[1]), ErrorCode::UNKNOWN_MEMBER_ID);
}

TEST(Members, ANewMemberThatWaitsTooLongIsGivenUp) {
  Harness h;
  auto slow = h.join_request("g");
  slow.rebalance_timeout_ms = 3'600'000;
  slow.session_timeout_ms = 1'800'000;
  const auto t = h.join(slow);
  h.pass(seconds(3));
  const auto leader = h.reply<JoinResponse>(t).member_id;
  h.sync("g", 1, leader);
  const auto waiting = h.join(h.join_request("g"));
  h.pass(seconds(299));
  EXPECT_FALSE(h.answered(waiting)) << "the leader may take an hour";
  h.pass(seconds(1));
  const auto told = h.reply<JoinResponse>(waiting);
  EXPECT_EQ(told.error, ErrorCode::UNKNOWN_MEMBER_ID);
  EXPECT_EQ(told.member_id, "");
}

TEST(Members, LeavingLetsTheOthersGoOnAtOnce) {
  Harness h;
  const auto g = h.stable("g", 3);
  const auto left = h.leave("g", {{g.members[2], std::nullopt}, {"nobody", std::nullopt}});
  EXPECT_EQ(left.error, ErrorCode::NONE);
  ASSERT_EQ(left.members.size(), 2u);
  EXPECT_EQ(left.members[0].error, ErrorCode::NONE);
  EXPECT_EQ(left.members[1].error, ErrorCode::UNKNOWN_MEMBER_ID);
  const auto a = h.join(h.join_request("g", g.members[0]));
  EXPECT_FALSE(h.answered(a));
  const auto b = h.leave("g", {{g.members[1], std::nullopt}});
  EXPECT_EQ(h.reply<JoinResponse>(a).members.size(), 1u);
}

TEST(Members, LeavingAnUnknownGroupIsAnErrorOfEachMember) {
  Harness h;
  const auto left = h.leave("g", {{"a", std::nullopt}, {"", "i"}});
  EXPECT_EQ(left.error, ErrorCode::NONE);
  EXPECT_EQ(left.members[0].error, ErrorCode::UNKNOWN_MEMBER_ID);
  EXPECT_EQ(left.members[1].error, ErrorCode::UNKNOWN_MEMBER_ID);
}

TEST(Members, WhoLeavesWhileWaitingIsAnswered) {
  Harness h;
  const auto g = h.stable("g", 2);
  const auto again = h.join(h.join_request("g", g.members[0]));
  h.leave("g", {{g.members[0], std::nullopt}});
  EXPECT_EQ(h.reply<JoinResponse>(again).error, ErrorCode::UNKNOWN_MEMBER_ID);

  const auto b = h.reply<JoinResponse>(h.join(h.join_request("g", g.members[1])));
  const auto c = h.join(h.join_request("g"));
  const auto b2 = h.join(h.join_request("g", b.member_id));
  const auto c_id = h.reply<JoinResponse>(c).member_id;
  const auto syncing = h.sync("g", h.reply<JoinResponse>(b2).generation, c_id);
  EXPECT_FALSE(h.answered(syncing));
  h.leave("g", {{c_id, std::nullopt}});
  EXPECT_EQ(h.reply<SyncResponse>(syncing).error, ErrorCode::UNKNOWN_MEMBER_ID);
  EXPECT_EQ(h.machine->waiting(), 0u);
}

TEST(Members, LeavingWithAnIdThatWasNotUsedYet) {
  Harness h;
  auto request = h.join_request("g");
  request.member_id_required = true;
  const auto id = h.reply<JoinResponse>(h.join(request)).member_id;
  EXPECT_EQ(h.leave("g", {{id, std::nullopt}}).members[0].error, ErrorCode::NONE);
  EXPECT_EQ(h.leave("g", {{id, std::nullopt}}).members[0].error, ErrorCode::UNKNOWN_MEMBER_ID);
}

TEST(Members, WhoRetriesItsJoinIsAnsweredOnceAndTheFirstTryIsNotForgotten) {
  Harness h;
  const auto g = h.stable("g", 2);
  const auto first = h.join(h.join_request("g", g.members[0]));
  const auto second = h.join(h.join_request("g", g.members[0]));
  EXPECT_EQ(h.reply<JoinResponse>(first).error, ErrorCode::REBALANCE_IN_PROGRESS);
  EXPECT_FALSE(h.answered(second));
  h.join(h.join_request("g", g.members[1]));
  EXPECT_EQ(h.reply<JoinResponse>(second).generation, 2);
}

TEST(Members, AFollowerThatRejoinsWithTheSameMetadataDoesNotRebalance) {
  Harness h;
  const auto g = h.stable("g", 2);
  const auto same = h.reply<JoinResponse>(h.join(h.join_request("g", g.members[1])));
  EXPECT_EQ(same.generation, 1);
  EXPECT_TRUE(same.members.empty());
  EXPECT_EQ(h.state("g"), "Stable");
  auto changed = h.join_request("g", g.members[1]);
  changed.protocols[0].metadata = bytes::Shared::copy(subscription({"orders", "more"}));
  EXPECT_FALSE(h.answered(h.join(std::move(changed))));
  EXPECT_EQ(h.state("g"), "PreparingRebalance");
}

TEST(Members, GroupsDoNotGrowBeyondTheirMaximum) {
  Config config;
  config.members_max = 2;
  Harness h(config);
  const auto a = h.join(h.join_request("g"));
  h.join(h.join_request("g"));
  EXPECT_EQ(h.reply<JoinResponse>(h.join(h.join_request("g"))).error, ErrorCode::GROUP_MAX_SIZE_REACHED);
  h.pass(seconds(6));
  EXPECT_EQ(h.reply<JoinResponse>(a).members.size(), 2u);
  const auto refused = h.reply<JoinResponse>(h.join(h.join_request("g")));
  EXPECT_EQ(refused.error, ErrorCode::GROUP_MAX_SIZE_REACHED);
  EXPECT_EQ(refused.member_id, "");
}

TEST(Members, IdsGivenOutAreBounded) {
  Config config;
  config.pending_members_max = 3;
  Harness h(config);
  for (int i = 0; i < 4; ++i) {
    auto request = h.join_request("g");
    request.member_id_required = true;
    EXPECT_EQ(h.reply<JoinResponse>(h.join(request)).error,
              i < 3 ? ErrorCode::MEMBER_ID_REQUIRED : ErrorCode::GROUP_MAX_SIZE_REACHED);
  }
}

TEST(Members, TextThatNoRecordCanHoldIsRefused) {
  Harness h;
  const std::string long_text(32768, 'x');
  EXPECT_EQ(h.reply<JoinResponse>(h.join(h.join_request(long_text))).error, ErrorCode::INVALID_GROUP_ID);
  auto request = h.join_request("g");
  request.client_id = long_text.substr(1);  // with the rest of a member id it would be too long
  EXPECT_EQ(h.reply<JoinResponse>(h.join(request)).error, ErrorCode::INVALID_REQUEST);
  EXPECT_EQ(h.committed(h.commit(h.commit_request(long_text, -1, "", 1))), ErrorCode::INVALID_GROUP_ID);
  EXPECT_EQ(h.machine->groups(), 0u);
}

// ---- static members (KIP-345)

class Static : public testing::Test {
 protected:
  Harness h;
  std::string leader, follower;  // instances "i0" and "i1"

  JoinRequest request(const std::string& instance, const std::string& member = "") {
    auto r = h.join_request("g", member);
    r.instance_id = instance;
    return r;
  }
  void SetUp() override {
    const auto a = h.join(request("i0"));
    const auto b = h.join(request("i1"));
    h.pass(seconds(6));
    leader = h.reply<JoinResponse>(a).member_id;
    follower = h.reply<JoinResponse>(b).member_id;
    EXPECT_EQ(leader.substr(0, 3), "i0-");
    const auto s = h.sync("g", 1, follower, {}, "i1");
    h.sync("g", 1, leader, {{leader, "a0"}, {follower, "a1"}}, "i0");
    EXPECT_EQ(h.reply<SyncResponse>(s).assignment.text(), "a1");
  }
};

TEST_F(Static, ARestartedMemberGetsItsAssignmentBackWithoutARebalance) {
  const auto again = h.reply<JoinResponse>(h.join(request("i1")));
  EXPECT_EQ(again.error, ErrorCode::NONE);
  EXPECT_EQ(again.generation, 1);
  EXPECT_NE(again.member_id, follower);
  EXPECT_EQ(h.state("g"), "Stable");
  EXPECT_EQ(h.heartbeat("g", 1, leader, "i0"), ErrorCode::NONE);
  EXPECT_EQ(h.reply<SyncResponse>(h.sync("g", 1, again.member_id, {}, "i1")).assignment.text(), "a1");
  // The new id is on the log: a coordinator that takes over knows it.
  EXPECT_NE(h.reloaded()->dump().find(again.member_id), std::string::npos);
  // Whoever still runs under the old id is fenced.
  EXPECT_EQ(h.heartbeat("g", 1, follower, "i1"), ErrorCode::FENCED_INSTANCE_ID);
  EXPECT_EQ(h.reply<JoinResponse>(h.join(request("i1", follower))).error, ErrorCode::FENCED_INSTANCE_ID);
  EXPECT_EQ(h.reply<SyncResponse>(h.sync("g", 1, follower, {}, "i1")).error, ErrorCode::FENCED_INSTANCE_ID);
  auto commit = h.commit_request("g", 1, follower, 5);
  commit.instance_id = "i1";
  EXPECT_EQ(h.committed(h.commit(commit)), ErrorCode::FENCED_INSTANCE_ID);
  EXPECT_EQ(h.leave("g", {{follower, "i1"}}).members[0].error, ErrorCode::FENCED_INSTANCE_ID);
}

TEST_F(Static, ARestartedLeaderIsToldTheOldLeaderOrToSkipTheAssignment) {
  const auto old_client = h.reply<JoinResponse>(h.join(request("i0")));
  EXPECT_EQ(old_client.leader, leader) << "so that it does not assign for nothing";
  EXPECT_FALSE(old_client.skip_assignment);
  EXPECT_TRUE(old_client.members.empty());
  auto with_skip = request("i0");
  with_skip.may_skip_assignment = true;
  const auto new_client = h.reply<JoinResponse>(h.join(with_skip));
  EXPECT_EQ(new_client.leader, new_client.member_id);
  EXPECT_TRUE(new_client.skip_assignment);
  EXPECT_EQ(new_client.members.size(), 2u);
  EXPECT_EQ(h.state("g"), "Stable");
}

TEST_F(Static, OtherProtocolsOfARestartedMemberRebalanceOnlyWhenTheChoiceChanges) {
  auto more = request("i1");
  more.protocols.push_back({"sticky", bytes::Shared::copy("x")});
  EXPECT_EQ(h.reply<JoinResponse>(h.join(more)).generation, 1);
  EXPECT_EQ(h.state("g"), "Stable");
  auto preferred = request("i0");
  preferred.protocols.insert(preferred.protocols.begin(), {"sticky", bytes::Shared::copy("y")});
  const auto lead = h.join(preferred);
  EXPECT_FALSE(h.answered(lead)) << "as many want sticky now, the leader among them";
  EXPECT_EQ(h.heartbeat("g", 1, h.machine->describe("g").members[1].member_id, "i1"), ErrorCode::REBALANCE_IN_PROGRESS);
  more.fresh.bytes[0] = 1;
  h.join(more);
  EXPECT_EQ(h.reply<JoinResponse>(lead).protocol_name, "sticky");
}

TEST_F(Static, AFailedWriteBringsTheOldMemberBack) {
  h.hold = true;
  const auto again = h.join(request("i1"));
  EXPECT_FALSE(h.answered(again));
  h.fail_one(ErrorCode::NOT_ENOUGH_REPLICAS);
  const auto told = h.reply<JoinResponse>(again);
  EXPECT_EQ(told.error, ErrorCode::COORDINATOR_NOT_AVAILABLE);
  EXPECT_EQ(told.member_id, "");
  h.hold = false;
  EXPECT_EQ(h.heartbeat("g", 1, follower, "i1"), ErrorCode::NONE);
  EXPECT_EQ(h.machine->waiting(), 0u);
}

TEST_F(Static, ARebalanceDuringTheWriteAnswersTheRestartedMember) {
  h.hold = true;
  const auto again = h.join(request("i1"));
  const auto lead = h.join(request("i0", leader));
  const auto joined = h.reply<JoinResponse>(again);
  EXPECT_EQ(joined.generation, 2);
  EXPECT_EQ(h.reply<JoinResponse>(lead).members.size(), 2u);
  h.commit_one();  // no second answer
  EXPECT_EQ(h.state("g"), "CompletingRebalance");
}

TEST_F(Static, ARestartBetweenJoinAndSyncRebalances) {
  const auto lead = h.join(request("i0", leader));
  h.join(request("i1", follower));
  const auto syncing = h.sync("g", 2, follower, {}, "i1");
  EXPECT_FALSE(h.answered(syncing));
  const auto again = h.join(request("i1"));
  EXPECT_EQ(h.reply<SyncResponse>(syncing).error, ErrorCode::FENCED_INSTANCE_ID);
  EXPECT_FALSE(h.answered(again));
  EXPECT_EQ(h.state("g"), "PreparingRebalance");
  EXPECT_EQ(h.reply<JoinResponse>(lead).generation, 2);
  h.join(request("i0", leader));
  EXPECT_EQ(h.reply<JoinResponse>(again).generation, 3);
}

TEST_F(Static, TwoWithTheSameInstanceTheFirstWaiterIsFenced) {
  auto changed = request("i1", follower);
  changed.protocols[0].metadata = bytes::Shared::copy(subscription({"more"}));
  const auto one = h.join(changed);
  EXPECT_FALSE(h.answered(one));
  const auto two = h.join(request("i1"));
  EXPECT_EQ(h.reply<JoinResponse>(one).error, ErrorCode::FENCED_INSTANCE_ID);
  EXPECT_EQ(h.reply<JoinResponse>(one).member_id, follower);
  h.join(request("i0", leader));
  EXPECT_EQ(h.reply<JoinResponse>(two).generation, 2);
  EXPECT_EQ(h.machine->describe("g").members.size(), 2u);
}

TEST_F(Static, OneThatDoesNotRejoinStaysInTheGroupUntilItsSessionEnds) {
  const auto lead = h.join(request("i0", leader));
  for (int i = 0; i < 6; ++i) {
    h.pass(milliseconds(9'000));
    h.heartbeat("g", 1, follower, "i1");
  }
  h.pass(milliseconds(6'000));
  EXPECT_EQ(h.reply<JoinResponse>(lead).members.size(), 2u) << "it gets its share";
  h.pass(seconds(9));
  EXPECT_EQ(h.heartbeat("g", 2, leader, "i0"), ErrorCode::NONE);
  EXPECT_EQ(h.machine->describe("g").members.size(), 2u);
  h.pass(seconds(1));
  EXPECT_EQ(h.machine->describe("g").members.size(), 1u);
}

TEST_F(Static, AnAdministratorRemovesOneByItsInstanceId) {
  EXPECT_EQ(h.leave("g", {{"", "i1"}, {"", "i7"}}).members[0].error, ErrorCode::NONE);
  EXPECT_EQ(h.machine->describe("g").members.size(), 1u);
  EXPECT_EQ(h.state("g"), "PreparingRebalance");
}

TEST_F(Static, AnUnknownInstanceIsAnUnknownMember) {
  EXPECT_EQ(h.heartbeat("g", 1, leader, "i9"), ErrorCode::UNKNOWN_MEMBER_ID);
}

}  // namespace
}  // namespace weir::coordinator::group
