// Committing, fetching, deleting and expiring offsets; looking at groups and deleting them.
#include <gtest/gtest.h>

#include "coordinator/group/harness.h"

namespace weir::coordinator::group {
namespace {

TEST(Offsets, AreServedWhenTheyAreOnTheLog) {
  Harness h;
  h.hold = true;
  const auto t = h.commit(h.commit_request("g", -1, "", 42));
  EXPECT_FALSE(h.answered(t));
  EXPECT_EQ(h.fetch("g").offset, -1);
  EXPECT_EQ(h.fetch("g", true).error, ErrorCode::UNSTABLE_OFFSET_COMMIT);
  h.commit_one();
  EXPECT_EQ(h.committed(t), ErrorCode::NONE);
  const auto p = h.fetch("g", true);
  EXPECT_EQ(p.error, ErrorCode::NONE);
  EXPECT_EQ(p.offset, 42);
  EXPECT_EQ(p.leader_epoch, 3);
  EXPECT_EQ(p.metadata, "meta");
  const auto value = parse_offset_value(h.log[0].records[0].value->view());
  EXPECT_EQ(value->commit_timestamp, h.now.wall);
  EXPECT_EQ(value->expire_timestamp, no_timestamp);
}

TEST(Offsets, AFailedCommitIsToldAndLeavesWhatWasThere) {
  const std::pair<ErrorCode, ErrorCode> mapped[] = {
      {ErrorCode::NOT_ENOUGH_REPLICAS, ErrorCode::COORDINATOR_NOT_AVAILABLE},
      {ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND, ErrorCode::COORDINATOR_NOT_AVAILABLE},
      {ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::COORDINATOR_NOT_AVAILABLE},
      {ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::NOT_COORDINATOR},
      {ErrorCode::KAFKA_STORAGE_ERROR, ErrorCode::NOT_COORDINATOR},
      {ErrorCode::MESSAGE_TOO_LARGE, ErrorCode::INVALID_COMMIT_OFFSET_SIZE},
      {ErrorCode::NETWORK_EXCEPTION, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS},
      {ErrorCode::REQUEST_TIMED_OUT, ErrorCode::REQUEST_TIMED_OUT},
  };
  for (const auto& [log, told] : mapped) {
    Harness h;
    h.commit(h.commit_request("g", -1, "", 1));
    h.hold = true;
    const auto t = h.commit(h.commit_request("g", -1, "", 2));
    h.fail_one(log);
    EXPECT_EQ(h.committed(t), told);
    EXPECT_EQ(h.fetch("g", true).offset, 1);
    EXPECT_EQ(h.machine->waiting(), 0u);
  }
}

TEST(Offsets, AFailedFirstCommitLeavesNothing) {
  Harness h;
  h.hold = true;
  h.commit(h.commit_request("g", -1, "", 2));
  h.fail_one(ErrorCode::NOT_ENOUGH_REPLICAS);
  EXPECT_EQ(h.fetch("g", true).offset, -1);
  EXPECT_EQ(h.machine->offsets(), 0u);
}

TEST(Offsets, TheLaterCommitWinsAlsoWhenTheFirstFails) {
  Harness h;
  h.hold = true;
  h.commit(h.commit_request("g", -1, "", 1));
  h.commit(h.commit_request("g", -1, "", 2));
  h.fail_one(ErrorCode::NOT_ENOUGH_REPLICAS);
  EXPECT_EQ(h.fetch("g", true).error, ErrorCode::UNSTABLE_OFFSET_COMMIT);
  h.commit_one();
  EXPECT_EQ(h.fetch("g", true).offset, 2);
}

TEST(Offsets, MembersCommitInTheirGenerationOnly) {
  Harness h;
  const auto g = h.stable("g", 2);
  EXPECT_EQ(h.committed(h.commit(h.commit_request("g", 1, g.members[1], 7))), ErrorCode::NONE);
  EXPECT_EQ(h.committed(h.commit(h.commit_request("g", 0, g.members[1], 8))), ErrorCode::ILLEGAL_GENERATION);
  EXPECT_EQ(h.committed(h.commit(h.commit_request("g", 1, "nobody", 8))), ErrorCode::UNKNOWN_MEMBER_ID);
  EXPECT_EQ(h.committed(h.commit(h.commit_request("g", -1, "", 8))), ErrorCode::UNKNOWN_MEMBER_ID)
      << "a group with members is not for others to commit to";
  EXPECT_EQ(h.committed(h.commit(h.commit_request("other", 1, "m", 8))), ErrorCode::ILLEGAL_GENERATION);
  EXPECT_EQ(h.fetch("g").offset, 7);

  // While members rejoin they may still commit what they have; between join and sync they may not.
  const auto a = h.join(h.join_request("g", g.members[0]));
  EXPECT_EQ(h.committed(h.commit(h.commit_request("g", 1, g.members[1], 9))), ErrorCode::NONE);
  h.join(h.join_request("g", g.members[1]));
  EXPECT_EQ(h.reply<JoinResponse>(a).generation, 2);
  EXPECT_EQ(h.committed(h.commit(h.commit_request("g", 2, g.members[1], 10))), ErrorCode::REBALANCE_IN_PROGRESS);
  EXPECT_EQ(h.fetch("g").offset, 9);
}

TEST(Offsets, ACommitKeepsTheSession) {
  Harness h;
  const auto g = h.stable("g", 1);
  for (int i = 0; i < 10; ++i) {
    h.pass(milliseconds(9'000));
    ASSERT_EQ(h.committed(h.commit(h.commit_request("g", 1, g.members[0], i))), ErrorCode::NONE);
  }
}

TEST(Offsets, LongMetadataIsRefusedForItsPartitionOnly) {
  Config config;
  config.offset_metadata_bytes_max = 4;
  Harness h(config);
  auto request = h.commit_request("g", -1, "", 1);
  request.topics[0].partitions[0].metadata = "12345";
  request.topics[0].partitions.push_back({1, 2, -1, "\u00fc\u00fc\u00fc\u00fc", no_timestamp});  // 4 characters
  request.topics[0].partitions.push_back({2, 3, -1, std::nullopt, no_timestamp});
  const auto r = h.reply<CommitResponse>(h.commit(request));
  ASSERT_EQ(r.topics[0].partitions.size(), 3u);
  EXPECT_EQ(r.topics[0].partitions[0].error, ErrorCode::OFFSET_METADATA_TOO_LARGE);
  EXPECT_EQ(r.topics[0].partitions[1].error, ErrorCode::NONE);
  EXPECT_EQ(r.topics[0].partitions[2].error, ErrorCode::NONE);
  EXPECT_EQ(h.log[0].records.size(), 2u);
}

TEST(Offsets, AllOfAGroupAreListed) {
  Harness h;
  auto request = h.commit_request("g", -1, "", 1);
  request.topics.push_back({"more", {{5, 50, -1, "", no_timestamp}, {6, 60, -1, "", no_timestamp}}});
  h.commit(request);
  FetchOffsetsRequest all;
  all.group = "g";
  const auto r = h.machine->fetch_offsets(all);
  ASSERT_EQ(r.topics.size(), 2u);
  EXPECT_EQ(r.topics[0].name, "more");
  EXPECT_EQ(r.topics[0].partitions[1].offset, 60);
  EXPECT_EQ(r.topics[1].partitions[0].offset, 1);
  all.group = "unknown";
  EXPECT_EQ(h.machine->fetch_offsets(all).error, ErrorCode::NONE);
  EXPECT_TRUE(h.machine->fetch_offsets(all).topics.empty());
  EXPECT_EQ(h.fetch("unknown").offset, -1);
}

// ---- expiry (KIP-211); the retention is 7 days, looked at every 10 minutes

constexpr milliseconds day{24LL * 3600 * 1000};

TEST(Offsets, OfNoGroupExpireAfterTheirCommit) {
  Harness h;
  h.commit(h.commit_request("g", -1, "", 1));
  h.pass(7 * day - milliseconds(1));
  EXPECT_EQ(h.fetch("g").offset, 1);
  h.pass(milliseconds(601'000));
  EXPECT_EQ(h.fetch("g").offset, -1);
  EXPECT_EQ(h.machine->groups(), 0u);
  const auto& tombstone = h.log.back().records;
  ASSERT_EQ(tombstone.size(), 1u) << "the group has no record of its own";
  EXPECT_FALSE(tombstone[0].value);
  EXPECT_EQ(h.reloaded()->groups(), 0u);
}

TEST(Offsets, OfAnEmptyGroupExpireAfterItBecameEmpty) {
  Harness h;
  const auto g = h.stable("g", 1);
  h.commit(h.commit_request("g", 1, g.members[0], 1));
  for (int i = 0; i < 60 * 24 * 8; i += 100) {  // stays for eight days
    for (int k = 0; k < 600; ++k) {
      h.pass(seconds(10) - milliseconds(1));
      h.heartbeat("g", 1, g.members[0]);
    }
  }
  ASSERT_EQ(h.state("g"), "Stable");
  EXPECT_EQ(h.fetch("g").offset, 1) << "its members subscribe to the topic";
  h.leave("g", {{g.members[0], std::nullopt}});
  h.pass(7 * day - seconds(1));
  EXPECT_EQ(h.fetch("g").offset, 1);
  h.pass(milliseconds(602'000));
  EXPECT_EQ(h.fetch("g").offset, -1);
  EXPECT_EQ(h.state("g"), "Dead");
  ASSERT_EQ(h.log.back().records.size(), 2u) << "tombstones of the offset and of the group";
  EXPECT_EQ(h.reloaded()->dump(), "");
}

TEST(Offsets, OfTopicsNobodySubscribesToExpireInALivingGroup) {
  Config config;
  config.offsets_retention = milliseconds(3'600'000);
  Harness h(config);
  const auto g = h.stable("g", 1);
  auto request = h.commit_request("g", 1, g.members[0], 1);
  request.topics.push_back({"old", {{0, 50, -1, "", no_timestamp}}});
  h.commit(request);
  for (int k = 0; k < 500; ++k) {
    h.pass(seconds(9));
    h.heartbeat("g", 1, g.members[0]);
  }
  EXPECT_EQ(h.fetch("g").offset, 1);
  EXPECT_EQ(h.fetch("g", false, "old").offset, -1);
}

TEST(Offsets, WithARetentionOfTheirOwn) {
  Harness h;
  auto request = h.commit_request("g", -1, "", 1);
  request.retention_ms = 1'800'000;
  h.commit(request);
  const auto value = parse_offset_value(h.log[0].records[0].value->view());
  EXPECT_EQ(value->expire_timestamp, h.now.wall + 1'800'000);
  h.pass(milliseconds(1'799'000));
  EXPECT_EQ(h.fetch("g").offset, 1);
  h.pass(milliseconds(601'000));
  EXPECT_EQ(h.fetch("g").offset, -1);
}

TEST(Offsets, AGroupNobodyCameBackToIsForgotten) {
  Harness h;
  auto request = h.join_request("g");
  request.member_id_required = true;
  h.join(request);
  EXPECT_EQ(h.machine->groups(), 1u);
  h.pass(milliseconds(600'000));
  EXPECT_EQ(h.machine->groups(), 0u);
  EXPECT_TRUE(h.log.empty());
}

// ---- deletion

DeleteOffsetsResponse delete_offsets(Harness& h, const std::string& group, std::vector<TopicPartitions> topics) {
  const auto token = ++h.last_token;
  h.take(h.machine->delete_offsets(token, {group, std::move(topics)}, h.now));
  return h.reply<DeleteOffsetsResponse>(token);
}

TEST(Offsets, AreDeletedUnlessTheirTopicIsSubscribed) {
  Harness h;
  EXPECT_EQ(delete_offsets(h, "g", {{"orders", {0}}}).error, ErrorCode::GROUP_ID_NOT_FOUND);
  const auto g = h.stable("g", 1);
  auto request = h.commit_request("g", 1, g.members[0], 1);
  request.topics.push_back({"old", {{0, 50, -1, "", no_timestamp}}});
  h.commit(request);
  const auto r = delete_offsets(h, "g", {{"orders", {0}}, {"old", {0, 1}}});
  EXPECT_EQ(r.error, ErrorCode::NONE);
  EXPECT_EQ(r.topics[0].partitions[0].error, ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC);
  EXPECT_EQ(r.topics[1].partitions[0].error, ErrorCode::NONE);
  EXPECT_EQ(r.topics[1].partitions[1].error, ErrorCode::NONE);
  EXPECT_EQ(h.fetch("g").offset, 1);
  EXPECT_EQ(h.fetch("g", false, "old").offset, -1);
  h.leave("g", {{g.members[0], std::nullopt}});
  EXPECT_EQ(delete_offsets(h, "g", {{"orders", {0}}}).error, ErrorCode::NONE);
  EXPECT_EQ(h.fetch("g").offset, -1);
  EXPECT_EQ(h.reloaded()->offsets(), 0u);
}

TEST(Offsets, OfAGroupThatIsNoConsumerGroupAreNotDeletedWhileItHasMembers) {
  Harness h;
  auto request = h.join_request("g");
  request.protocol_type = "connect";
  h.join(request);
  EXPECT_EQ(delete_offsets(h, "g", {{"orders", {0}}}).error, ErrorCode::NON_EMPTY_GROUP);
}

TEST(Offsets, ADeletionOutlivesACommitThatWasUnderWay) {
  Harness h;
  h.commit(h.commit_request("g", -1, "", 1));
  h.hold = true;
  const auto before = h.commit(h.commit_request("g", -1, "", 2));
  const auto token = ++h.last_token;
  h.take(h.machine->delete_offsets(token, {"g", {{"orders", {0}}}}, h.now));
  const auto after = h.commit(h.commit_request("g", -1, "", 3));
  EXPECT_FALSE(h.answered(token));
  h.commit_one();
  EXPECT_EQ(h.committed(before), ErrorCode::NONE);
  EXPECT_EQ(h.fetch("g").offset, -1) << "the tombstone comes after it";
  h.commit_one();
  EXPECT_TRUE(h.answered(token));
  h.commit_one();
  EXPECT_EQ(h.committed(after), ErrorCode::NONE);
  EXPECT_EQ(h.fetch("g").offset, 3);
  EXPECT_EQ(h.reloaded()->dump(), h.machine->dump());
}

TEST(Offsets, OfDeletedTopicsGo) {
  Harness h;
  h.commit(h.commit_request("g", -1, "", 1));
  h.commit(h.commit_request("h", -1, "", 1));
  h.take(h.machine->topics_deleted({"orders", "unknown"}, h.now));
  EXPECT_EQ(h.fetch("g").offset, -1);
  EXPECT_EQ(h.machine->groups(), 0u);
  EXPECT_EQ(h.reloaded()->groups(), 0u);
}

TEST(Groups, AreDeletedWhenTheyAreEmpty) {
  Harness h;
  EXPECT_EQ(h.delete_group("g"), ErrorCode::GROUP_ID_NOT_FOUND);
  const auto g = h.stable("g", 1);
  h.commit(h.commit_request("g", 1, g.members[0], 1));
  EXPECT_EQ(h.delete_group("g"), ErrorCode::NON_EMPTY_GROUP);
  h.leave("g", {{g.members[0], std::nullopt}});
  EXPECT_EQ(h.delete_group("g"), ErrorCode::NONE);
  EXPECT_EQ(h.delete_group("g"), ErrorCode::GROUP_ID_NOT_FOUND);
  EXPECT_EQ(h.reloaded()->dump(), "");
}

TEST(Groups, ADeletionThatCouldNotBeWrittenIsToldSo) {
  Harness h;
  h.commit(h.commit_request("g", -1, "", 1));
  h.hold = true;
  const auto token = ++h.last_token;
  h.take(h.machine->delete_group(token, "g", h.now));
  EXPECT_FALSE(h.answered(token));
  h.fail_one(ErrorCode::NOT_LEADER_OR_FOLLOWER);
  EXPECT_EQ(h.reply<DeleteResponse>(token).error, ErrorCode::NOT_COORDINATOR);
}

TEST(Groups, AreDescribed) {
  Harness h;
  EXPECT_EQ(h.machine->describe("g").state, "Dead");
  EXPECT_EQ(h.machine->describe("g").error, ErrorCode::NONE);
  const auto g = h.stable("g", 2);
  const auto d = h.machine->describe("g");
  EXPECT_EQ(d.state, "Stable");
  EXPECT_EQ(d.protocol_type, "consumer");
  EXPECT_EQ(d.protocol, "range");
  ASSERT_EQ(d.members.size(), 2u);
  EXPECT_EQ(d.members[1].client_id, "client");
  EXPECT_EQ(d.members[1].client_host, "/127.0.0.1");
  EXPECT_EQ(d.members[1].assignment.text(), "a1");
  EXPECT_EQ(d.members[1].metadata.text(), subscription({"orders"}));
  h.join(h.join_request("g", g.members[0]));
  const auto moving = h.machine->describe("g");
  EXPECT_EQ(moving.state, "PreparingRebalance");
  EXPECT_EQ(moving.protocol, "");
  EXPECT_TRUE(moving.members[0].assignment.empty());
}

TEST(Groups, AreListedByStateAndType) {
  Harness h;
  h.stable("a", 1);
  h.commit(h.commit_request("b", -1, "", 1));
  const auto list = [&](std::vector<std::string> states, std::vector<std::string> types) {
    ListResponse r;
    h.machine->list({std::move(states), std::move(types)}, r);
    std::string text;
    for (const auto& g : r.groups) text += g.group + ":" + g.protocol_type + ":" + g.state + ":" + g.type + " ";
    return text;
  };
  EXPECT_EQ(list({"stable"}, {}), "a:consumer:Stable:classic ");
  EXPECT_EQ(list({"EMPTY", "dead"}, {"Classic"}), "b::Empty:classic ");
  EXPECT_EQ(list({}, {"consumer"}), "");
  EXPECT_EQ(list({"nonsense"}, {}), "");
}

}  // namespace
}  // namespace weir::coordinator::group
