// What a small request could ask for without these bounds: much memory, much time, or an answer of any size.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "broker/fetch_session.h"
#include "broker/pipeline.h"
#include "broker/test_running.h"
#include "broker/topics.h"
#include "protocol/messages/describe_groups.h"
#include "protocol/messages/describe_log_dirs.h"
#include "protocol/messages/offset_commit.h"
#include "protocol/messages/offset_fetch.h"

namespace weir::broker {
namespace {

using namespace std::chrono_literals;

// ---- partitions that fetch sessions remember

struct SessionItems : testing::Test {
  FetchContext begin(std::int32_t id, std::int32_t epoch, int first, int count) {
    protocol::FetchRequest in;
    in.session_id = id;
    in.session_epoch = epoch;
    if (count > 0) {
      auto& topic = in.topics.emplace_back();
      topic.topic = "t";
      topic.partitions.resize(static_cast<std::size_t>(count));
      for (auto& partition : topic.partitions) partition.partition = first++;
    }
    return sessions.begin(in, 12, 1000s);
  }
  std::unique_ptr<runtime::Random> random = runtime::seeded_random(3);
  FetchSessions sessions{10, *random};
};

TEST_F(SessionItems, AreBoundedOverAllSessions) {
  EXPECT_EQ(begin(0, 0, 0, 200'001).session_id, 0) << "served, but not remembered";
  EXPECT_EQ(sessions.size(), 0U);
  const auto large = begin(0, 0, 0, 150'000);
  ASSERT_NE(large.session_id, 0);
  const auto second = begin(0, 0, 0, 60'000);
  EXPECT_EQ(second.session_id, 0);
  EXPECT_EQ(second.items.size(), 60'000U) << "its client is answered all the same";
  const auto small = begin(0, 0, 0, 50'000);
  EXPECT_NE(small.session_id, 0);
  EXPECT_EQ(begin(0, 0, 0, 1).session_id, 0);
}

TEST_F(SessionItems, ThatASessionGrowsByCountToo) {
  const auto other = begin(0, 0, 0, 100'000);
  auto grows = begin(0, 0, 0, 10'000);
  ASSERT_NE(grows.session_id, 0);
  std::int32_t epoch = 1;
  while (epoch < 10) {
    ASSERT_EQ(begin(grows.session_id, epoch, 10'000 * epoch, 10'000).error, ErrorCode::NONE) << epoch;
    ++epoch;
  }
  EXPECT_EQ(begin(grows.session_id, epoch, 10'000 * epoch, 1).error, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
  EXPECT_EQ(sessions.size(), 1U) << "what it took is free again";
  EXPECT_NE(begin(0, 0, 0, 100'000).session_id, 0);
  EXPECT_EQ(begin(other.session_id, 1, 0, 0).error, ErrorCode::NONE);
}

TEST_F(SessionItems, OfASessionThatEndedAreFree) {
  for (int i = 0; i < 2; ++i) {
    const auto all = begin(0, 0, 0, 200'000);
    ASSERT_NE(all.session_id, 0) << i;
    begin(all.session_id, -1, 0, 0);
  }
}

// ---- names that a request repeats

template <class Message>
std::size_t size_of(const Answer<Message>& answer) {
  return answer.frame.size();
}

TEST(BrokerRepeats, OfATopicInMetadataAreAnsweredOnce) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t", 50), ErrorCode::NONE);
  protocol::MetadataRequest in;
  in.topics.emplace().resize(1000);
  for (auto& topic : *in.topics) topic.name = "t";
  in.topics->emplace_back().name = "nowhere";
  in.topics->emplace_back().name = "nowhere";
  in.allow_auto_topic_creation = false;
  const auto out = r.client->call<protocol::MetadataResponse>(12, in);
  ASSERT_TRUE(out);
  ASSERT_EQ(out->topics.size(), 2U);
  EXPECT_NE(out->topics[0].name, out->topics[1].name);
}

TEST(BrokerRepeats, OfAGroupsOffsetsAreAnsweredOnce) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t", 200), ErrorCode::NONE);
  (void)r.metadata("__consumer_offsets");
  protocol::OffsetCommitRequest commit;
  commit.group_id = "g";
  auto& to = commit.topics.emplace_back();
  to.name = "t";
  for (int p = 0; p < 200; ++p) to.partitions.emplace_back().partition_index = p;
  const auto done = r.client->call<protocol::OffsetCommitResponse>(8, commit);
  ASSERT_TRUE(done);
  for (const auto& partition : done->topics.at(0).partitions) ASSERT_EQ(partition.error_code, 0);
  protocol::OffsetFetchRequest in;
  in.groups.resize(1000);
  for (auto& group : in.groups) {
    group.group_id = "g";
    group.topics.reset();  // all of them
  }
  const auto out = r.client->call<protocol::OffsetFetchResponse>(8, in);
  ASSERT_TRUE(out);
  ASSERT_EQ(out->groups.size(), 1U);
  EXPECT_EQ(out->groups[0].topics.at(0).partitions.size(), 200U);
}

TEST(BrokerRepeats, OfAGroupInDescribeGroupsAreAnsweredOnce) {
  Running r;
  (void)r.metadata("__consumer_offsets");
  protocol::DescribeGroupsRequest in;
  in.groups.assign(1000, "g");
  in.groups.emplace_back("h");
  const auto out = r.client->call<protocol::DescribeGroupsResponse>(5, in);
  ASSERT_TRUE(out);
  EXPECT_EQ(out->groups.size(), 2U);
}

TEST(BrokerRepeats, OfAResourceInDescribeConfigsAreAnsweredOnce) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  protocol::DescribeConfigsRequest in;
  in.resources.resize(1000);
  for (auto& resource : in.resources) {
    resource.resource_type = 2;
    resource.resource_name = "t";
    resource.configuration_keys.reset();
  }
  auto& broker = in.resources.emplace_back();
  broker.resource_type = 4;
  broker.resource_name = "1";
  broker.configuration_keys.reset();
  const auto out = r.client->call<protocol::DescribeConfigsResponse>(4, in);
  ASSERT_TRUE(out);
  ASSERT_EQ(out->results.size(), 2U);
  EXPECT_EQ(out->results[0].resource_type, 2);
  EXPECT_EQ(out->results[1].resource_type, 4);
}

TEST(BrokerRepeats, OfAPartitionInDescribeLogDirsAreAnsweredOnce) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  protocol::DescribeLogDirsRequest in;
  in.topics.emplace();
  for (int i = 0; i < 500; ++i) {
    auto& topic = in.topics->emplace_back();
    topic.topic = "t";
    topic.partitions = {0, 0};
  }
  const auto out = r.client->call<protocol::DescribeLogDirsResponse>(4, in);
  ASSERT_TRUE(out);
  ASSERT_EQ(out->results.size(), 1U);
  ASSERT_EQ(out->results[0].topics.size(), 1U);
  EXPECT_EQ(out->results[0].topics[0].partitions.size(), 1U);
}

TEST(BrokerRepeats, OfAPartitionInAFetchAreReadOnce) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  r.client->produce("t", 0, Strings{std::string(10'000, 'x')});
  auto in = Client::fetch_request("t", 0, 0);
  in.session_epoch = -1;
  in.topics[0].partitions.resize(50, in.topics[0].partitions[0]);
  in.topics.push_back(in.topics[0]);
  const auto out = r.client->call<protocol::FetchResponse>(12, in);
  ASSERT_TRUE(out);
  ASSERT_EQ(out->responses.size(), 1U);
  ASSERT_EQ(out->responses[0].partitions.size(), 1U);
  EXPECT_LT(size_of(out), 11'000U);
}

// ---- batches that unpack to more than they should

TEST(BrokerBounds, ABatchMayNotUnpackToAnyAmount) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  const std::string zeros(1 << 20, '\0');
  const auto bomb = [&](int mib) {
    return r.cluster.batch(Strings(static_cast<std::size_t>(mib), zeros), {.compression = record::Compression::zstd});
  };
  const auto fits = bomb(100);
  ASSERT_LT(fits.size(), 200'000U);
  EXPECT_EQ(r.client->produce("t", 0, fits).error, ErrorCode::NONE) << "128 MiB are allowed";
  EXPECT_EQ(r.client->produce("t", 0, bomb(129)).error, ErrorCode::MESSAGE_TOO_LARGE);
  EXPECT_EQ(r.client->produce("t", 0, Strings{"x"}).base_offset, 100) << "the connection and the partition go on";
}

TEST(BrokerBounds, WhatABatchMayUnpackToGrowsWithWhatItMayBe) {
  Running r;
  // 128 times 1.5 MB are more than 128 MiB.
  ASSERT_EQ(r.client->create_topic("t", 1, {{"max.message.bytes", "1500000"}}), ErrorCode::NONE);
  const auto batch =
      r.cluster.batch(Strings(150, std::string(1 << 20, '\0')), {.compression = record::Compression::zstd});
  EXPECT_EQ(r.client->produce("t", 0, batch).error, ErrorCode::NONE);
}

// ---- partitions that one request makes

TEST(BrokerBounds, ARequestMakesOnlySoManyPartitions) {
  Running r;
  EXPECT_EQ(r.client->create_topic("t", partitions_in_a_call_max + 1), ErrorCode::INVALID_PARTITIONS);
  EXPECT_EQ(r.client->create_topic("t", 0x7fffffff), ErrorCode::INVALID_PARTITIONS);
  ASSERT_EQ(r.client->create_topic("t", 2), ErrorCode::NONE);
  EXPECT_EQ(r.create_partitions("t", partitions_in_a_call_max + 3), ErrorCode::INVALID_PARTITIONS);
  EXPECT_EQ(r.create_partitions("t", 0x7fffffff), ErrorCode::INVALID_PARTITIONS);
  EXPECT_EQ(r.metadata("t", false).partitions.size(), 2U);
}

// At the bound itself it is done. Only validated: 10,000 logs are not this test's.
TEST(BrokerBounds, TheBoundItselfIsAllowed) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t", 2), ErrorCode::NONE);
  protocol::CreateTopicsRequest create;
  create.validate_only = true;
  auto& topic = create.topics.emplace_back();
  topic.name = "u";
  topic.num_partitions = partitions_in_a_call_max;
  topic.replication_factor = 1;
  const auto created = r.client->call<protocol::CreateTopicsResponse>(7, create);
  ASSERT_TRUE(created);
  EXPECT_EQ(code(created->topics.at(0).error_code), ErrorCode::NONE);
  protocol::CreatePartitionsRequest more;
  more.validate_only = true;
  auto& grows = more.topics.emplace_back();
  grows.name = "t";
  grows.count = partitions_in_a_call_max + 2;
  grows.assignments.reset();
  const auto made = r.client->call<protocol::CreatePartitionsResponse>(3, more);
  ASSERT_TRUE(made);
  EXPECT_EQ(code(made->results.at(0).error_code), ErrorCode::NONE);
}

// The bound is the request's, not each topic's.
TEST(BrokerBounds, ManyTopicsOfOneRequestShareTheBound) {
  Running r;
  protocol::CreateTopicsRequest create;
  create.validate_only = true;
  for (const std::string_view name : {"a", "b", "c"}) {
    auto& topic = create.topics.emplace_back();
    topic.name = name;
    topic.num_partitions = name == "b" ? partitions_in_a_call_max - 1 : 1;
    topic.replication_factor = 1;
  }
  const auto created = r.client->call<protocol::CreateTopicsResponse>(7, create);
  ASSERT_TRUE(created);
  EXPECT_EQ(code(created->topics.at(0).error_code), ErrorCode::NONE);
  EXPECT_EQ(code(created->topics.at(1).error_code), ErrorCode::NONE);
  EXPECT_EQ(code(created->topics.at(2).error_code), ErrorCode::INVALID_PARTITIONS);
}

// ---- answers that nobody takes

TEST(BrokerBounds, AnswersThatAClientDoesNotReadAreBounded) {
  Running r;
  constexpr int partitions = 16;
  ASSERT_EQ(r.client->create_topic("t", partitions), ErrorCode::NONE);
  for (int p = 0; p < partitions; ++p) r.client->produce("t", p, Strings{std::string(60'000, 'x')});
  // Each answer holds nearly one MiB of memory.
  auto in = Client::fetch_request("t", 0, 0);
  in.session_epoch = -1;
  for (int p = 1; p < partitions; ++p) {
    auto next = in.topics[0].partitions[0];
    next.partition = p;
    in.topics[0].partitions.push_back(next);
  }
  Client deaf(r.cluster);
  constexpr int asked = static_cast<int>(requests_in_flight_max);
  std::string all;
  for (int i = 0; i < asked; ++i) all += deaf.encode(12, in).text();
  deaf.send_behind(bytes::Shared::copy(all));
  r.cluster.world.run_for(10s);
  EXPECT_GE(r.cluster.in_flight(), 8);
  EXPECT_LE(r.cluster.in_flight(), 12) << "about 8 MiB wait, not the 60 MiB that were asked for";
  EXPECT_EQ(r.client->fetch("t", 0, 0).values.size(), 1U) << "others are served";
  for (int i = 0; i < asked; ++i) {
    const auto frame = deaf.receive();
    ASSERT_EQ(Client::correlation_of(frame), i + 1);
    ASSERT_GT(frame.size(), 900'000U) << "when it reads it gets all of it";
  }
  EXPECT_EQ(r.cluster.in_flight(), 0);
}

// ---- connections

TEST(BrokerBounds, ConnectionLimitsChangeWhileItRuns) {
  Running r;
  using Alter = Running::Alter;
  const auto served = [&](Client& client) {
    client.send(12, protocol::MetadataRequest{});
    r.cluster.world.settle();
    return r.cluster.registry->counters("weir_requests_total", "", {"api"}, 128).with({"Metadata"})->value();
  };
  Client second(r.cluster);
  const auto before = served(second);
  EXPECT_EQ(r.alter("", "max.connections", Alter::set, "2", 4), ErrorCode::NONE);
  r.cluster.world.run_for(1s);
  Client third(r.cluster);
  EXPECT_EQ(served(third), before) << "it waits at the door";
  EXPECT_EQ(r.alter("", "max.connections", Alter::set, "3", 4), ErrorCode::NONE);
  r.cluster.world.run_for(1s);
  EXPECT_TRUE(third.receive_as<protocol::MetadataResponse>(12));
  EXPECT_EQ(r.alter("", "listener.name.plaintext.max.connections", Alter::set, "3", 4), ErrorCode::NONE);
  EXPECT_EQ(r.alter("", "max.connections", Alter::remove, "", 4), ErrorCode::NONE);
  r.cluster.world.run_for(1s);
  Client fourth(r.cluster);
  const auto now = served(third);
  EXPECT_EQ(served(fourth), now) << "the listener is full";
  EXPECT_EQ(r.alter("", "listener.name.plaintext.max.connections", Alter::remove, "", 4), ErrorCode::NONE);
  EXPECT_EQ(r.alter("", "max.connections.per.ip", Alter::set, "4", 4), ErrorCode::NONE);
  r.cluster.world.run_for(1s);
  EXPECT_TRUE(fourth.receive_as<protocol::MetadataResponse>(12));
  Client fifth(r.cluster);
  EXPECT_TRUE(fifth.ended()) << "too many of one address";
  EXPECT_EQ(r.alter("", "max.connections.per.ip.overrides", Alter::set, "127.0.0.1:5", 4), ErrorCode::NONE);
  r.cluster.world.run_for(1s);
  Client sixth(r.cluster);
  EXPECT_TRUE(sixth.call<protocol::MetadataResponse>(12, protocol::MetadataRequest{}));
  EXPECT_EQ(r.alter("", "max.connections.per.ip", Alter::remove, "", 4), ErrorCode::NONE);
  EXPECT_EQ(r.alter("", "max.connection.creation.rate", Alter::set, "1", 4), ErrorCode::NONE);
  r.cluster.world.run_for(60s);
  EXPECT_EQ(r.alter("", "max.connections.per.ip.overrides", Alter::remove, "", 4), ErrorCode::NONE);
  r.cluster.world.run_for(1s);
  const auto accepted = served(second);
  std::vector<std::unique_ptr<Client>> storm;
  for (int i = 0; i < 20; ++i) {
    storm.push_back(std::make_unique<Client>(r.cluster));
    served(*storm.back());
  }
  EXPECT_LE(served(second) - accepted, 12U) << "ten seconds' worth";
  r.cluster.world.run_for(20s);
  for (auto& client : storm) EXPECT_TRUE(client->receive_as<protocol::MetadataResponse>(12));
}

}  // namespace
}  // namespace weir::broker
