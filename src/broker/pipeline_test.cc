#include "broker/pipeline.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "broker/test_cluster.h"
#include "protocol/messages/api_versions.h"
#include "protocol/messages/join_group.h"
#include "protocol/messages/metadata.h"

namespace weir::broker {
namespace {

using namespace std::chrono_literals;
using protocol::ApiVersionsRequest;
using protocol::ApiVersionsResponse;

struct PipelineTest : testing::Test {
  PipelineTest() {
    EXPECT_TRUE(cluster.start());
    EXPECT_EQ(Client(cluster).create_topic("t"), ErrorCode::NONE);
    cluster.world.settle();
  }
  static ApiVersionsRequest versions_request() {
    ApiVersionsRequest in;
    in.client_software_name = "test";
    in.client_software_version = "1.0";
    return in;
  }
  // What a client would do next on any connection works.
  void expect_served() {
    Client other(cluster);
    EXPECT_TRUE(other.call<ApiVersionsResponse>(3, versions_request()));
  }
  static bytes::Shared framed(std::string body) {
    auto memory = bytes::Shared::allocate(4 + body.size());
    bytes::store_big(memory.mutable_view().data(), static_cast<std::int32_t>(body.size()));
    std::memcpy(memory.mutable_view().data() + 4, body.data(), body.size());
    return memory;
  }
  static bytes::Shared joined(const std::vector<bytes::Shared>& parts) {
    std::string all;
    for (const auto& part : parts) all += part.text();
    return bytes::Shared::copy(all);
  }

  Cluster cluster;
};

TEST_F(PipelineTest, AnswersKeepTheOrderOfRequestsThoughTheFirstWaits) {
  Client client(cluster);
  const auto began = cluster.world.clock().mono();
  const auto poll = client.send(12, Client::fetch_request("t", 0, 0, 500));
  const auto versions = client.send(3, versions_request());
  cluster.world.settle();
  EXPECT_EQ(cluster.in_flight(), 2) << "the second has begun; its answer waits for its turn";
  EXPECT_EQ(Client::correlation_of(client.receive()), poll);
  EXPECT_EQ(cluster.world.clock().mono() - began, 500ms);
  EXPECT_EQ(Client::correlation_of(client.receive()), versions);
  EXPECT_EQ(cluster.world.clock().mono() - began, 500ms) << "it was ready long before";
  EXPECT_EQ(cluster.in_flight(), 0);
}

TEST_F(PipelineTest, ARequestThatWaitsHoldsUpNoOtherOfItsConnection) {
  Client client(cluster);
  const auto began = cluster.world.clock().mono();
  const auto poll = client.send(12, Client::fetch_request("t", 0, 0, 3'600'000));
  const auto records = cluster.batch({"the one"});
  const auto produce = client.send(9, Client::produce_request("t", 0, records, -1));
  const auto fetched = client.receive_as<protocol::FetchResponse>(12);
  ASSERT_TRUE(fetched);
  EXPECT_EQ(fetched.correlation_id, poll);
  EXPECT_EQ(Client::fetched(*fetched.message).values, std::vector<std::string>{"the one"});
  EXPECT_EQ(Client::correlation_of(client.receive()), produce);
  EXPECT_LT(cluster.world.clock().mono() - began, 1s);
}

TEST_F(PipelineTest, ProducesOfOneConnectionAreAppendedInTheirOrder) {
  Client client(cluster);
  std::vector<bytes::Shared> requests;
  for (int i = 0; i < 200; ++i) {
    const auto records = cluster.batch({std::to_string(i)});
    requests.push_back(client.encode(9, Client::produce_request("t", 0, records, i % 2 == 0 ? -1 : 1)));
  }
  client.send_behind(joined(requests));
  for (int i = 0; i < 200; ++i) {
    const auto out = client.receive_as<protocol::ProduceResponse>(9);
    ASSERT_TRUE(out);
    EXPECT_EQ(out.correlation_id, i + 1);
    EXPECT_EQ(out->responses.at(0).partition_responses.at(0).base_offset, i);
  }
}

TEST_F(PipelineTest, AnApiThatIsNotServedClosesTheConnection) {
  for (const std::int16_t key : {999, -5, 36, 24}) {
    SCOPED_TRACE(key);
    const auto before = cluster.unsupported();
    Client client(cluster);
    std::string body(14, '\0');
    bytes::store_big(reinterpret_cast<std::byte*>(body.data()), key);
    client.send_bytes(framed(body));
    EXPECT_TRUE(client.ended());
    EXPECT_EQ(cluster.unsupported(), before + 1);
  }
  EXPECT_EQ(cluster.malformed(), 0U);
  expect_served();
}

TEST_F(PipelineTest, AVersionThatIsNotServedClosesTheConnection) {
  {
    Client client(cluster);
    client.send(3, Client::fetch_request("t", 0, 0));
    EXPECT_TRUE(client.ended());
  }
  {
    Client client(cluster);
    client.send(13, protocol::MetadataRequest{});
    EXPECT_TRUE(client.ended());
  }
  EXPECT_EQ(cluster.unsupported(), 2U);
  EXPECT_EQ(cluster.malformed(), 0U);
  expect_served();
}

// The header of such a version may have another form than we know: what is wrong is the version all the same.
TEST_F(PipelineTest, AVersionOfTheFutureIsNamedWhateverItsHeader) {
  Client client(cluster);
  std::string body(14, '\xff');
  bytes::store_big(reinterpret_cast<std::byte*>(body.data()), std::int16_t{0});
  bytes::store_big(reinterpret_cast<std::byte*>(body.data()) + 2, std::int16_t{99});
  client.send_bytes(framed(body));
  EXPECT_TRUE(client.ended());
  EXPECT_EQ(cluster.unsupported(), 1U);
  EXPECT_EQ(cluster.malformed(), 0U);
  expect_served();
}

TEST_F(PipelineTest, ApiVersionsOfTheFutureIsAnsweredInVersionZero) {
  Client client(cluster);
  auto request = client.encode(3, versions_request());
  bytes::store_big(request.mutable_view().data() + 6, std::int16_t{99});
  client.send_bytes(request);
  const auto out = client.receive_as<ApiVersionsResponse>(0);
  ASSERT_TRUE(out);
  EXPECT_EQ(out.correlation_id, 1);
  EXPECT_EQ(static_cast<ErrorCode>(out->error_code), ErrorCode::UNSUPPORTED_VERSION);
  bool names_itself = false;
  for (const auto& api : out->api_keys) names_itself |= api.api_key == 18 && api.max_version == 4;
  EXPECT_TRUE(names_itself) << "the client learns which version to take";
  // The connection goes on with that.
  EXPECT_TRUE(client.call<ApiVersionsResponse>(3, versions_request()));
}

TEST_F(PipelineTest, EveryAdvertisedApiIsKnownAndImproperSoftwareNamesAreRefused) {
  Client client(cluster);
  auto out = client.call<ApiVersionsResponse>(4, versions_request());
  ASSERT_TRUE(out);
  EXPECT_EQ(out->error_code, 0);
  EXPECT_GT(out->api_keys.size(), 20U);
  for (const auto& api : out->api_keys) {
    const auto* known = protocol::find_api(api.api_key);
    ASSERT_NE(known, nullptr);
    EXPECT_TRUE(known->has(api.min_version) && known->has(api.max_version)) << known->name;
  }
  auto bad = versions_request();
  bad.client_software_name = "-x";
  out = client.call<ApiVersionsResponse>(3, bad);
  ASSERT_TRUE(out);
  EXPECT_EQ(static_cast<ErrorCode>(out->error_code), ErrorCode::INVALID_REQUEST);
}

TEST_F(PipelineTest, ABodyThatDoesNotDecodeClosesItsConnectionOnly) {
  Client well(cluster);
  const auto poll = well.send(12, Client::fetch_request("t", 0, 0, 60'000));
  cluster.world.settle();
  const auto records = cluster.batch({"x"});
  for (const auto cut : {1U, 10U, 40U}) {
    Client client(cluster);
    const auto whole = client.encode(9, Client::produce_request("t", 0, records, 1));
    auto part = bytes::Shared::copy(whole.sub(0, whole.size() - cut).view());
    bytes::store_big(part.mutable_view().data(), static_cast<std::int32_t>(part.size() - 4));
    client.send_bytes(part);
    EXPECT_TRUE(client.ended());
  }
  EXPECT_EQ(cluster.malformed(), 3U);
  // An empty frame, a header cut off.
  for (const auto* body : {"", "a", "\0\3\0\7\0\0"}) {
    Client client(cluster);
    client.send_bytes(framed(std::string(body)));
    EXPECT_TRUE(client.ended());
  }
  EXPECT_EQ(cluster.in_flight(), 1);
  Client(cluster).produce("t", 0, records);
  EXPECT_EQ(Client::correlation_of(well.receive()), poll) << "the others noticed nothing";
}

TEST_F(PipelineTest, WhatCameBeforeAMalformedRequestIsAnswered) {
  Client client(cluster);
  const auto good = client.encode(3, versions_request());
  client.send_bytes(joined({good, good, framed(std::string("\0\3\0\7\0\0\0\1", 8)), good}));
  EXPECT_EQ(Client::correlation_of(client.receive()), 1);
  EXPECT_EQ(Client::correlation_of(client.receive()), 1);
  EXPECT_TRUE(client.ended());
}

TEST_F(PipelineTest, AFrameLongerThanAllowedClosesTheConnection) {
  Client client(cluster);
  auto head = bytes::Shared::allocate(4);
  bytes::store_big(head.mutable_view().data(), std::int32_t{2'000'000'000});
  client.send_bytes(head);
  EXPECT_TRUE(client.ended());
  expect_served();
}

TEST_F(PipelineTest, AClientThatNeverReadsIsNotReadEither) {
  constexpr int count = 20'000;
  Client client(cluster);
  std::vector<bytes::Shared> requests;
  requests.reserve(count);
  for (int i = 0; i < count; ++i) requests.push_back(client.encode(3, versions_request()));
  client.send_behind(joined(requests));
  cluster.world.run_for(10s);
  const auto handled =
      cluster.registry->counters("weir_requests_total", "", {"api"}, 128).with({"ApiVersions"})->value();
  EXPECT_GE(cluster.in_flight(), 1);
  // Begun and unanswered, with those of the one write that is under way.
  EXPECT_LE(cluster.in_flight(), static_cast<std::int64_t>(requests_in_flight_max + 16));
  EXPECT_LT(handled, 2'000U) << "a window of answers, and no more";
  expect_served();
  // When it reads, it gets them all, in order.
  for (int i = 0; i < count; ++i) ASSERT_EQ(Client::correlation_of(client.receive()), i + 1);
  EXPECT_EQ(cluster.in_flight(), 0);
}

TEST_F(PipelineTest, LongPollsOfOneConnectionAreBounded) {
  Client client(cluster);
  std::vector<bytes::Shared> requests;
  for (int i = 0; i < 200; ++i) requests.push_back(client.encode(12, Client::fetch_request("t", 0, 0, 1000)));
  client.send_behind(joined(requests));
  cluster.world.run_for(500ms);
  EXPECT_EQ(cluster.in_flight(), static_cast<std::int64_t>(requests_in_flight_max));
  for (int i = 0; i < 200; ++i) ASSERT_EQ(Client::correlation_of(client.receive()), i + 1);
  EXPECT_EQ(cluster.in_flight(), 0);
}

TEST_F(PipelineTest, ALongPollEndsAtOnceWithItsConnection) {
  Client client(cluster);
  client.send(12, Client::fetch_request("t", 0, 0, 3'600'000));
  cluster.world.settle();
  ASSERT_EQ(cluster.in_flight(), 1);
  const auto began = cluster.world.clock().mono();
  client.close();
  cluster.world.settle();
  EXPECT_EQ(cluster.in_flight(), 0);
  EXPECT_EQ(cluster.world.clock().mono(), began);
}

TEST_F(PipelineTest, AJoinThatWaitsEndsAtOnceWithItsConnection) {
  cluster.stop();
  cluster.properties["group.initial.rebalance.delay.ms"] = "60000";
  ASSERT_TRUE(cluster.start());
  Client client(cluster);
  protocol::MetadataRequest make;
  make.topics.emplace().emplace_back().name = "__consumer_offsets";
  ASSERT_TRUE(client.call<protocol::MetadataResponse>(9, make));
  cluster.world.settle();
  protocol::JoinGroupRequest join;
  join.group_id = "g";
  join.session_timeout_ms = 30'000;
  join.rebalance_timeout_ms = 30'000;
  join.protocol_type = "consumer";
  join.protocols.emplace_back().name = "range";
  client.send(3, join);
  cluster.world.settle();
  ASSERT_EQ(cluster.in_flight(), 1);
  client.close();
  cluster.world.settle();
  EXPECT_EQ(cluster.in_flight(), 0);
}

TEST_F(PipelineTest, AStopAnswersOrEndsWhoeverWaits) {
  Client client(cluster);
  client.send(12, Client::fetch_request("t", 0, 0, 3'600'000));
  cluster.world.settle();
  const auto began = cluster.world.clock().mono();
  cluster.stop();
  EXPECT_LT(cluster.world.clock().mono() - began, 10s);
  (void)client.receive();  // its answer, when it was in time
  EXPECT_TRUE(client.ended());
}

// 64 long polls fill the connection, so that nobody reads it: its end is noticed all the same.
TEST_F(PipelineTest, AStopDoesNotWaitForAFullConnection) {
  Client client(cluster);
  std::vector<bytes::Shared> requests;
  for (int i = 0; i < 100; ++i) requests.push_back(client.encode(12, Client::fetch_request("t", 0, 0, 3'600'000)));
  client.send_behind(joined(requests));
  cluster.world.settle();
  ASSERT_EQ(cluster.in_flight(), static_cast<std::int64_t>(requests_in_flight_max));
  const auto began = cluster.world.clock().mono();
  cluster.stop();
  EXPECT_LT(cluster.world.clock().mono() - began, 10s);
}

// Every boundary between reads is met, on several shards, whatever the order of things.
TEST(Pipeline, FramesMayComeInPieces) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    Cluster cluster({}, seed, 3);
    ASSERT_TRUE(cluster.start());
    cluster.world.sockets().set_read_max(1);
    Client client(cluster);
    ASSERT_EQ(client.create_topic("t", 6), ErrorCode::NONE);
    for (int i = 0; i < 12; ++i) {
      EXPECT_EQ(client.produce("t", i % 6, {std::to_string(i)}).base_offset, i / 6);
    }
    for (int i = 0; i < 6; ++i) {
      EXPECT_EQ(client.fetch("t", i, 0).values, (std::vector{std::to_string(i), std::to_string(i + 6)}));
    }
  }
}

}  // namespace
}  // namespace weir::broker
