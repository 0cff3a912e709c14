#include "coordinator/group/api.h"

#include <gtest/gtest.h>

#include "bytes/cursor.h"

namespace weir::coordinator::group {
namespace {

// Encodes and decodes again, so that what a version cannot carry shows.
template <class Message>
Message through(const Message& message, std::int16_t version, bytes::Shared& memory) {
  memory = bytes::Shared::allocate(encoded_size(message, version).buffer);
  bytes::Writer out(memory.mutable_view());
  encode(out, version, message);
  bytes::Reader in(memory.view());
  Message back;
  EXPECT_TRUE(decode(in, version, back));
  return back;
}

TEST(Api, JoinRequestsDifferByVersion) {
  protocol::JoinGroupRequest wire;
  wire.group_id = "g";
  wire.session_timeout_ms = 10'000;
  wire.rebalance_timeout_ms = 60'000;
  wire.protocol_type = "consumer";
  wire.protocols.push_back({"range", bytes::as_bytes("data"), {}});
  const auto at = [&](std::int16_t version) {
    bytes::Shared memory;
    return from_wire(through(wire, version, memory), version, "client", "/10.0.0.1", Uuid{});
  };
  EXPECT_EQ(at(0).rebalance_timeout_ms, 10'000) << "v0 has only the session timeout";
  EXPECT_EQ(at(1).rebalance_timeout_ms, 60'000);
  EXPECT_FALSE(at(3).member_id_required);
  EXPECT_TRUE(at(4).member_id_required);
  EXPECT_FALSE(at(8).may_skip_assignment);
  EXPECT_TRUE(at(9).may_skip_assignment);
  EXPECT_EQ(at(9).protocols.at(0).metadata.text(), "data");
  EXPECT_EQ(at(9).client_host, "/10.0.0.1");
  wire.group_instance_id = "i";
  EXPECT_FALSE(at(5).member_id_required);
  EXPECT_EQ(at(5).instance_id, "i");
}

TEST(Api, JoinResponsesWithoutAProtocolCanBeWrittenInEveryVersion) {
  JoinResponse response;
  response.error = ErrorCode::MEMBER_ID_REQUIRED;
  response.member_id = "m";
  for (std::int16_t v = 0; v <= 9; ++v) {
    bytes::Shared memory;
    const auto back = through(to_wire(response, v), v, memory);
    EXPECT_EQ(back.error_code, 79);
    EXPECT_EQ(back.member_id, "m");
    EXPECT_EQ(back.protocol_name.has_value(), v < 7);
  }
}

TEST(Api, LeavingBeforeVersion3IsOfOneMember) {
  protocol::LeaveGroupRequest wire;
  wire.group_id = "g";
  wire.member_id = "m";
  EXPECT_EQ(from_wire(wire, 2).members.at(0).member_id, "m");
  LeaveResponse response;
  response.members.push_back({"m", std::nullopt, ErrorCode::UNKNOWN_MEMBER_ID});
  EXPECT_EQ(to_wire(response, 2).error_code, 25);
  EXPECT_TRUE(to_wire(response, 2).members.empty());
  EXPECT_EQ(to_wire(response, 3).error_code, 0);
  EXPECT_EQ(to_wire(response, 3).members.at(0).error_code, 25);
}

TEST(Api, CommitsCarryWhatTheirVersionHas) {
  protocol::OffsetCommitRequest wire;
  wire.group_id = "g";
  wire.generation_id_or_member_epoch = 4;
  wire.member_id = "m";
  wire.retention_time_ms = 1000;
  wire.topics.resize(1);
  wire.topics[0].name = "t";
  wire.topics[0].partitions.resize(1);
  wire.topics[0].partitions[0].committed_offset = 9;
  wire.topics[0].partitions[0].committed_leader_epoch = 3;
  wire.topics[0].partitions[0].commit_timestamp = 77;
  const auto at = [&](std::int16_t version, bool retention, bool epoch, bool timestamp) {
    auto sent = wire;
    if (!retention) sent.retention_time_ms = -1;
    if (!epoch) sent.topics[0].partitions[0].committed_leader_epoch = -1;
    if (!timestamp) sent.topics[0].partitions[0].commit_timestamp = -1;
    bytes::Shared memory;
    return from_wire(through(sent, version, memory));
  };
  EXPECT_EQ(at(1, false, false, true).topics[0].partitions[0].commit_timestamp, 77);
  EXPECT_EQ(at(2, true, false, false).retention_ms, 1000);
  EXPECT_EQ(at(5, false, false, false).retention_ms, -1);
  EXPECT_EQ(at(6, false, true, false).topics[0].partitions[0].leader_epoch, 3);
  EXPECT_EQ(at(9, false, true, false).generation, 4);
}

TEST(Api, FetchesOfOneGroupAndOfMany) {
  protocol::OffsetFetchRequest one;
  one.group_id = "g";
  one.topics->push_back({"t", {0, 1}, {}});
  auto requests = from_wire(one, 7);
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0].topics->at(0).partitions.size(), 2u);
  one.topics.reset();
  EXPECT_FALSE(from_wire(one, 7)[0].topics) << "all";

  protocol::OffsetFetchRequest many;
  many.groups.resize(2);
  many.groups[0].group_id = "a";
  many.groups[0].topics.reset();
  many.groups[1].group_id = "b";
  many.require_stable = true;
  const auto both = from_wire(many, 9);
  ASSERT_EQ(both.size(), 2u);
  EXPECT_FALSE(both[0].topics);
  EXPECT_TRUE(both[1].topics);
  EXPECT_TRUE(both[1].require_stable);

  std::vector<FetchOffsetsResponse> responses(2);
  responses[0].topics.push_back({"t", {{3, 30, 1, "meta", ErrorCode::NONE}}});
  responses[1].error = ErrorCode::NOT_COORDINATOR;
  bytes::Shared memory;
  const auto wire = through(to_wire(both, responses, 9), 9, memory);
  ASSERT_EQ(wire.groups.size(), 2u);
  EXPECT_EQ(wire.groups[0].topics[0].partitions[0].committed_offset, 30);
  EXPECT_EQ(wire.groups[0].topics[0].partitions[0].metadata, "meta");
  EXPECT_EQ(wire.groups[1].error_code, 16);
}

TEST(Api, AGroupErrorOfAnOldFetchStandsInItsPartitions) {
  protocol::OffsetFetchRequest one;
  one.group_id = "g";
  one.topics->push_back({"t", {0, 1}, {}});
  const auto requests = from_wire(one, 1);
  std::vector<FetchOffsetsResponse> responses(1);
  responses[0].error = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
  bytes::Shared memory;
  const auto old = through(to_wire(requests, responses, 1), 1, memory);
  ASSERT_EQ(old.topics.at(0).partitions.size(), 2u);
  EXPECT_EQ(old.topics[0].partitions[1].error_code, 14);
  EXPECT_EQ(old.topics[0].partitions[1].committed_offset, -1);
  const auto newer = to_wire(requests, responses, 2);
  EXPECT_EQ(newer.error_code, 14);
  EXPECT_TRUE(newer.topics.empty());
}

TEST(Api, GroupsThatDoNotExistAreAnErrorFromVersion6On) {
  DescribeResponse response;
  response.group = "g";
  response.state = "Dead";
  std::string message;
  EXPECT_EQ(to_wire(response, 5, message).error_code, 0);
  const auto six = to_wire(response, 6, message);
  EXPECT_EQ(six.error_code, 69);
  EXPECT_EQ(six.error_message, "Group g not found.");
  EXPECT_EQ(six.group_state, "Dead");
}

}  // namespace
}  // namespace weir::coordinator::group
