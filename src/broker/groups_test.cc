#include "broker/groups.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "broker/test_running.h"
#include "protocol/messages/alter_partition_reassignments.h"
#include "protocol/messages/elect_leaders.h"
#include "protocol/messages/find_coordinator.h"
#include "protocol/messages/heartbeat.h"
#include "protocol/messages/join_group.h"
#include "protocol/messages/leave_group.h"
#include "protocol/messages/list_groups.h"
#include "protocol/messages/offset_commit.h"
#include "protocol/messages/offset_fetch.h"
#include "protocol/messages/sync_group.h"

namespace weir::broker {
namespace {

using namespace std::chrono_literals;

struct Member {
  explicit Member(Running& running, std::string group_id = "g") : r(running), group(std::move(group_id)) {}

  ErrorCode join() {
    protocol::JoinGroupRequest in;
    in.group_id = group;
    in.session_timeout_ms = 30'000;
    in.rebalance_timeout_ms = 30'000;
    in.member_id = id;
    in.protocol_type = "consumer";
    auto& how = in.protocols.emplace_back();
    how.name = "range";
    how.metadata = bytes::as_bytes("what I want");
    const auto out = r.client->call<protocol::JoinGroupResponse>(7, in);
    if (!out) return ErrorCode::NETWORK_EXCEPTION;
    id = std::string(out->member_id);
    generation = out->generation_id;
    leader = std::string(out->leader);
    members = out->members.size();
    return code(out->error_code);
  }
  ErrorCode join_fully() {
    const auto first = join();
    return first == ErrorCode::MEMBER_ID_REQUIRED ? join() : first;
  }
  std::pair<ErrorCode, std::string> sync(std::string_view assignment) {
    protocol::SyncGroupRequest in;
    in.group_id = group;
    in.generation_id = generation;
    in.member_id = id;
    auto& mine = in.assignments.emplace_back();
    mine.member_id = id;
    mine.assignment = bytes::as_bytes(assignment);
    const auto out = r.client->call<protocol::SyncGroupResponse>(4, in);
    if (!out) return {ErrorCode::NETWORK_EXCEPTION, ""};
    return {code(out->error_code), std::string(bytes::as_text(out->assignment))};
  }
  ErrorCode heartbeat() {
    protocol::HeartbeatRequest in;
    in.group_id = group;
    in.generation_id = generation;
    in.member_id = id;
    const auto out = r.client->call<protocol::HeartbeatResponse>(4, in);
    return out ? code(out->error_code) : ErrorCode::NETWORK_EXCEPTION;
  }
  ErrorCode commit(std::string_view topic, std::int64_t offset, int partition = 0) {
    protocol::OffsetCommitRequest in;
    in.group_id = group;
    in.generation_id_or_member_epoch = generation;
    in.member_id = id;
    auto& to = in.topics.emplace_back();
    to.name = topic;
    auto& at = to.partitions.emplace_back();
    at.partition_index = partition;
    at.committed_offset = offset;
    at.committed_metadata = "noted";
    const auto out = r.client->call<protocol::OffsetCommitResponse>(8, in);
    return out ? code(out->topics.at(0).partitions.at(0).error_code) : ErrorCode::NETWORK_EXCEPTION;
  }
  std::pair<ErrorCode, std::int64_t> committed(std::string_view topic) {
    protocol::OffsetFetchRequest in;
    auto& of = in.groups.emplace_back();
    of.group_id = group;
    auto& to = of.topics->emplace_back();
    to.name = topic;
    to.partition_indexes = {0};
    const auto out = r.client->call<protocol::OffsetFetchResponse>(8, in);
    if (!out) return {ErrorCode::NETWORK_EXCEPTION, -1};
    const auto& result = out->groups.at(0);
    if (result.error_code != 0) return {code(result.error_code), -1};
    return {code(result.topics.at(0).partitions.at(0).error_code),
            result.topics.at(0).partitions.at(0).committed_offset};
  }
  ErrorCode leave() {
    protocol::LeaveGroupRequest in;
    in.group_id = group;
    in.members.emplace_back().member_id = id;
    const auto out = r.client->call<protocol::LeaveGroupResponse>(4, in);
    if (!out) return ErrorCode::NETWORK_EXCEPTION;
    return out->error_code != 0 ? code(out->error_code) : code(out->members.at(0).error_code);
  }
  ErrorCode find() {
    protocol::FindCoordinatorRequest in;
    in.coordinator_keys = {group};
    const auto out = r.client->call<protocol::FindCoordinatorResponse>(4, in);
    if (!out) return ErrorCode::NETWORK_EXCEPTION;
    const auto& found = out->coordinators.at(0);
    if (found.error_code == 0) {
      EXPECT_EQ(found.node_id, 1);
      EXPECT_EQ(found.port, 9092);
    }
    return code(found.error_code);
  }

  Running& r;
  std::string group;
  std::string id;
  std::int32_t generation = -1;
  std::string leader;
  std::size_t members = 0;
};

TEST(BrokerGroups, AMemberJoinsWorksAndLeaves) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(seed);
    Running r({}, seed, seed);
    ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
    Member m(r);
    ASSERT_EQ(m.find(), ErrorCode::NONE) << "the first one makes __consumer_offsets";
    EXPECT_EQ(r.metadata("__consumer_offsets", false).partitions.size(), 3U);
    EXPECT_EQ(r.describe("__consumer_offsets", "cleanup.policy").first, "compact");
    r.cluster.world.settle();
    ASSERT_EQ(m.join_fully(), ErrorCode::NONE);
    EXPECT_EQ(m.generation, 1);
    EXPECT_EQ(m.leader, m.id);
    EXPECT_EQ(m.members, 1U);
    EXPECT_EQ(m.sync("all of it"), (std::pair<ErrorCode, std::string>{ErrorCode::NONE, "all of it"}));
    EXPECT_EQ(m.heartbeat(), ErrorCode::NONE);
    EXPECT_EQ(m.committed("t"), (std::pair<ErrorCode, std::int64_t>{ErrorCode::NONE, -1}));
    EXPECT_EQ(m.commit("t", 42), ErrorCode::NONE);
    EXPECT_EQ(m.commit("nowhere", 42), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    EXPECT_EQ(m.committed("t").second, 42);
    auto stranger = m;
    stranger.id = "somebody";
    EXPECT_EQ(stranger.heartbeat(), ErrorCode::UNKNOWN_MEMBER_ID);
    EXPECT_EQ(stranger.commit("t", 1), ErrorCode::UNKNOWN_MEMBER_ID);
    ++m.generation;
    EXPECT_EQ(m.heartbeat(), ErrorCode::ILLEGAL_GENERATION);
    --m.generation;
    EXPECT_EQ(m.leave(), ErrorCode::NONE);
    EXPECT_EQ(m.heartbeat(), ErrorCode::UNKNOWN_MEMBER_ID);
    EXPECT_EQ(m.committed("t").second, 42) << "its offsets stay";
  }
}

TEST(BrokerGroups, AMemberThatFallsSilentIsPutOut) {
  Running r;
  Member m(r);
  ASSERT_EQ(m.find(), ErrorCode::NONE);
  r.cluster.world.settle();
  ASSERT_EQ(m.join_fully(), ErrorCode::NONE);
  ASSERT_EQ(m.sync("x").first, ErrorCode::NONE);
  r.cluster.world.run_for(25s);
  EXPECT_EQ(m.heartbeat(), ErrorCode::NONE);
  r.cluster.world.run_for(31s);
  EXPECT_EQ(m.heartbeat(), ErrorCode::UNKNOWN_MEMBER_ID);
}

TEST(BrokerGroups, ASecondMemberBringsARebalance) {
  Running r;
  Member a(r);
  ASSERT_EQ(a.find(), ErrorCode::NONE);
  r.cluster.world.settle();
  ASSERT_EQ(a.join_fully(), ErrorCode::NONE);
  ASSERT_EQ(a.sync("all").first, ErrorCode::NONE);
  // The second waits in JoinGroup on a connection of its own until the first joins again.
  Client other(r.cluster);
  protocol::JoinGroupRequest in;
  in.group_id = "g";
  in.session_timeout_ms = 30'000;
  in.rebalance_timeout_ms = 30'000;
  in.protocol_type = "consumer";
  in.protocols.emplace_back().name = "range";
  const auto id = other.send(3, in);
  r.cluster.world.settle();
  EXPECT_EQ(a.heartbeat(), ErrorCode::REBALANCE_IN_PROGRESS);
  ASSERT_EQ(a.join(), ErrorCode::NONE);
  EXPECT_EQ(a.generation, 2);
  EXPECT_EQ(a.members, 2U) << "the leader is told of both";
  const auto out = other.receive_as<protocol::JoinGroupResponse>(3);
  ASSERT_TRUE(out);
  EXPECT_EQ(out.correlation_id, id);
  EXPECT_EQ(out->generation_id, 2);
  EXPECT_EQ(out->leader, a.id);
}

TEST(BrokerGroups, GroupsSurviveARestart) {
  Running r({}, 2, 2);
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  std::vector<Member> members;
  for (int i = 0; i < 6; ++i) {
    auto& m = members.emplace_back(r, "group-" + std::to_string(i));
    ASSERT_EQ(m.find(), ErrorCode::NONE);
    r.cluster.world.settle();
    ASSERT_EQ(m.join_fully(), ErrorCode::NONE);
    ASSERT_EQ(m.sync("mine").first, ErrorCode::NONE);
    ASSERT_EQ(m.commit("t", 100 + i), ErrorCode::NONE);
  }
  r.restart();
  r.cluster.world.run_for(1s);
  for (int i = 0; i < 6; ++i) {
    auto& m = members[static_cast<std::size_t>(i)];
    EXPECT_EQ(m.committed("t"), (std::pair<ErrorCode, std::int64_t>{ErrorCode::NONE, 100 + i}));
    EXPECT_EQ(m.heartbeat(), ErrorCode::NONE) << "the member and its generation too";
    EXPECT_EQ(m.commit("t", 200), ErrorCode::NONE);
  }
  const auto out = r.client->call<protocol::ListGroupsResponse>(4, protocol::ListGroupsRequest{});
  ASSERT_TRUE(out);
  EXPECT_EQ(out->groups.size(), 6U);
}

// The other in-sync replica may lead next, without the generation that this broker's log alone has: nobody is told of
// it before that one has it too, or is out of the set (simulation, seed 399).
TEST(BrokerGroups, WhatIsNotCommittedIsNotServedAfterALoad) {
  Running r({{"replica.lag.time.max.ms", "600000"}, {"default.replication.factor", "2"}});
  auto zk = r.cluster.tree->connect();
  const auto other = [&](bool there) {
    r.cluster.run([&]() -> runtime::Task<void> {
      auto mine = co_await zk->get("/brokers/ids/1");
      EXPECT_TRUE(mine);
      if (there) {
        // Nobody listens there.
        auto data = mine->data;
        for (auto at = data.find("9092"); at != std::string::npos; at = data.find("9092", at))
          data.replace(at, 4, "9093");
        EXPECT_TRUE(co_await zk->create("/brokers/ids/2", data, zkclient::CreateMode::persistent));
      } else {
        EXPECT_TRUE(co_await zk->remove("/brokers/ids/2"));
      }
    });
    r.cluster.world.settle();
  };
  other(true);
  protocol::CreateTopicsRequest in;
  auto& topic = in.topics.emplace_back();
  topic.name = "__consumer_offsets";
  topic.num_partitions = topic.replication_factor = -1;
  auto& only = topic.assignments.emplace_back();
  only.broker_ids = {1, 2};
  in.timeout_ms = 100;  // nobody hears from broker 2
  (void)r.client->call<protocol::CreateTopicsResponse>(5, in);
  r.cluster.world.run_for(1s);
  Member m(r);
  ASSERT_EQ(m.join_fully(), ErrorCode::NONE);
  EXPECT_NE(m.sync("mine").first, ErrorCode::NONE) << "broker 2 does not fetch";

  // The other leads, and this one again.
  for (const auto& replicas : {std::vector{2, 1}, std::vector{1, 2}}) {
    protocol::AlterPartitionReassignmentsRequest swap;
    auto& of = swap.topics.emplace_back();
    of.name = "__consumer_offsets";
    of.partitions.emplace_back().replicas = replicas;
    EXPECT_TRUE(r.client->call<protocol::AlterPartitionReassignmentsResponse>(0, swap));
    r.cluster.world.run_for(1s);
    protocol::ElectLeadersRequest elect;
    elect.topic_partitions.reset();
    elect.timeout_ms = 100;
    EXPECT_TRUE(r.client->call<protocol::ElectLeadersResponse>(2, elect));
    r.cluster.world.run_for(1s);
  }
  EXPECT_EQ(m.committed("t").first, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
  EXPECT_EQ(m.sync("mine").first, ErrorCode::REBALANCE_IN_PROGRESS);
  other(false);
  r.cluster.world.run_for(10s);
  EXPECT_EQ(m.committed("t").first, ErrorCode::NONE);
}

TEST(BrokerGroups, OffsetsOfADeletedTopicGoWithIt) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  Member m(r);
  ASSERT_EQ(m.find(), ErrorCode::NONE);
  r.cluster.world.settle();
  ASSERT_EQ(m.join_fully(), ErrorCode::NONE);
  ASSERT_EQ(m.sync("x").first, ErrorCode::NONE);
  ASSERT_EQ(m.commit("t", 5), ErrorCode::NONE);
  ASSERT_EQ(r.delete_topic("t"), ErrorCode::NONE);
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  EXPECT_EQ(m.committed("t").second, -1);
}

}  // namespace
}  // namespace weir::broker
