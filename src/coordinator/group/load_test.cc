// Loading a log, and giving the partition up.
#include <gtest/gtest.h>

#include "coordinator/group/harness.h"

namespace weir::coordinator::group {
namespace {

TEST(Load, WhatWasWrittenGivesTheSameStateAgain) {
  Harness h;
  const auto a = h.stable("a", 3);
  h.stable("b", 1);
  for (int i = 0; i < 5; ++i) h.commit(h.commit_request("a", 1, a.members[1], i));
  h.commit(h.commit_request("simple", -1, "", 77));
  h.leave("a", {{a.members[2], std::nullopt}});
  h.join(h.join_request("a", a.members[0]));
  h.join(h.join_request("a", a.members[1]));
  h.sync("a", 2, a.members[0], {{a.members[0], "x"}, {a.members[1], "y"}});
  h.sync("a", 2, a.members[1]);
  EXPECT_EQ(h.reloaded()->dump(), h.machine->dump());
}

TEST(Load, MembersGoOnWithTheNewCoordinatorAndTheirSessionsBeginAnew) {
  Harness h;
  const auto g = h.stable("g", 2);
  h.machine = h.reloaded();
  EXPECT_EQ(h.heartbeat("g", 1, g.members[1]), ErrorCode::NONE);
  EXPECT_EQ(h.reply<SyncResponse>(h.sync("g", 1, g.members[1])).assignment.text(), "a1");
  // A follower that rejoins as it is need not rebalance; the leader does.
  EXPECT_EQ(h.reply<JoinResponse>(h.join(h.join_request("g", g.members[1]))).generation, 1);
  EXPECT_EQ(h.reply<JoinResponse>(h.join(h.join_request("g", g.members[1]))).leader, g.members[0]);
  h.pass(seconds(10));
  EXPECT_EQ(h.state("g"), "Empty");
}

TEST(Load, ARebalanceThatWasNotFinishedIsForgotten) {
  Harness h;
  const auto g = h.stable("g", 2);
  h.hold = true;
  h.join(h.join_request("g", g.members[0]));
  h.join(h.join_request("g", g.members[1]));
  h.sync("g", 2, g.members[0], {});
  const auto loaded = h.reloaded();
  EXPECT_EQ(loaded->heartbeat({"g", 2, g.members[0], std::nullopt}, h.now), ErrorCode::ILLEGAL_GENERATION);
  EXPECT_EQ(loaded->heartbeat({"g", 1, g.members[0], std::nullopt}, h.now), ErrorCode::NONE);
}

TEST(Load, AGroupOverItsMaximumRebalances) {
  Harness h;
  const auto g = h.stable("g", 3);
  h.config.members_max = 2;
  auto loaded = std::make_unique<Machine>(h.config);
  for (const auto& append : h.log) {
    for (const auto& r : append.records) {
      LoadedRecord l;
      l.key = r.key.view();
      if (r.value) l.value = r.value->view();
      loaded->replay(l);
    }
  }
  h.machine = std::move(loaded);
  h.take(h.machine->activate(h.now));
  EXPECT_EQ(h.heartbeat("g", 1, g.members[0]), ErrorCode::REBALANCE_IN_PROGRESS);
  h.join(h.join_request("g", g.members[0]));
  h.join(h.join_request("g", g.members[1]));
  EXPECT_EQ(h.reply<JoinResponse>(h.join(h.join_request("g", g.members[2]))).error, ErrorCode::GROUP_MAX_SIZE_REACHED);
}

class Replay : public testing::Test {
 protected:
  Machine machine{Config{}};
  std::vector<bytes::Shared> alive;

  bool offset(std::int64_t value, bool tombstone = false, std::int64_t producer = -1) {
    alive.push_back(offset_key("g", "t", 0));
    LoadedRecord r;
    r.key = alive.back().view();
    if (!tombstone) {
      alive.push_back(offset_value({value, -1, "", 1, no_timestamp}));
      r.value = alive.back().view();
    }
    r.transactional = producer >= 0;
    r.producer_id = producer;
    return machine.replay(r);
  }
  void marker(std::int64_t producer, bool commit) {
    LoadedRecord r;
    r.kind = commit ? LoadedRecord::Kind::commit_marker : LoadedRecord::Kind::abort_marker;
    r.transactional = true;
    r.producer_id = producer;
    EXPECT_TRUE(machine.replay(r));
  }
  FetchOffsetsResponse::Partition fetch(bool stable = false) {
    FetchOffsetsRequest r;
    r.group = "g";
    r.require_stable = stable;
    r.topics.emplace();
    r.topics->push_back({"t", {0}});
    return machine.fetch_offsets(r).topics[0].partitions[0];
  }
};

TEST_F(Replay, OffsetsOfTransactionsHoldWhenTheirMarkerSaysSo) {
  offset(1);
  offset(2, false, 900);
  offset(3, false, 901);
  offset(4, false, 902);
  marker(901, false);
  marker(900, true);
  machine.activate({});
  EXPECT_EQ(fetch().offset, 2);
  EXPECT_EQ(fetch(true).error, ErrorCode::UNSTABLE_OFFSET_COMMIT);
  machine.transaction_ended(902, true, {});
  EXPECT_EQ(fetch(true).offset, 4);
}

TEST_F(Replay, DamagedRecordsAreSkippedAndUnknownKindsIgnored) {
  offset(1);
  LoadedRecord r;
  EXPECT_FALSE(machine.replay(r)) << "no key";
  const auto odd = bytes::Shared::copy(std::string_view("\0\1\0\5ab", 6));
  r.key = odd.view();
  EXPECT_FALSE(machine.replay(r)) << "ends early";
  const auto newer = bytes::Shared::copy(std::string_view("\0\3\0\1g", 5));
  r.key = newer.view();
  EXPECT_TRUE(machine.replay(r)) << "a consumer group of the new protocol";
  alive.push_back(offset_key("g", "t", 0));
  r.key = alive.back().view();
  const auto value = bytes::Shared::copy(std::string_view("\0\7xxxx", 6));
  r.value = value.view();
  EXPECT_FALSE(machine.replay(r)) << "a value of the future";
  machine.activate({});
  EXPECT_EQ(fetch().offset, 1);
}

TEST_F(Replay, AGroupValueThatContradictsItselfDoesNoHarm) {
  GroupValue value;
  value.protocol_type = "consumer";
  value.generation = 2147483647;
  value.leader = "not there";
  value.members = {
      {"a", "i", "c", "h", -1, 500, {}, {}}, {"a", "j", "c", "h", 1, 1, {}, {}}, {"b", "i", "c", "h", 1, 1, {}, {}}};
  const auto k = group_key("g");
  const auto v = group_value(value);
  LoadedRecord r;
  r.key = k.view();
  r.value = v.view();
  EXPECT_TRUE(machine.replay(r));
  machine.activate({seconds(1), 1});
  EXPECT_EQ(machine.describe("g").members.size(), 1u);
  machine.tick({seconds(2), 2});
  EXPECT_EQ(machine.describe("g").state, "Empty");
}

TEST(Resign, EverybodyWhoWaitsIsToldToLookForTheNewCoordinator) {
  Harness h;
  const auto a = h.stable("a", 2);
  const auto b = h.stable("b", 2);
  h.hold = true;
  const auto join = h.join(h.join_request("a", a.members[0]));
  h.join(h.join_request("b", b.members[0]));
  h.join(h.join_request("b", b.members[1]));
  const auto sync = h.sync("b", 2, b.members[1]);
  const auto lead = h.sync("b", 2, b.members[0], {});
  const auto commit = h.commit(h.commit_request("c", -1, "", 1));
  const auto deletion = ++h.last_token;
  h.take(h.machine->delete_group(deletion, "c", h.now));
  h.take(h.machine->resign());
  EXPECT_EQ(h.reply<JoinResponse>(join).error, ErrorCode::NOT_COORDINATOR);
  EXPECT_EQ(h.reply<JoinResponse>(join).member_id, a.members[0]);
  EXPECT_EQ(h.reply<SyncResponse>(sync).error, ErrorCode::NOT_COORDINATOR);
  EXPECT_EQ(h.reply<SyncResponse>(lead).error, ErrorCode::NOT_COORDINATOR);
  EXPECT_EQ(h.committed(commit), ErrorCode::NOT_COORDINATOR);
  EXPECT_EQ(h.reply<DeleteResponse>(deletion).error, ErrorCode::NOT_COORDINATOR);
  EXPECT_EQ(h.machine->waiting(), 0u);
}

}  // namespace
}  // namespace weir::coordinator::group
