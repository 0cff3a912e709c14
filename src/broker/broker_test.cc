#include "broker/broker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "broker/test_cluster.h"
#include "protocol/messages/create_partitions.h"
#include "protocol/messages/delete_records.h"
#include "protocol/messages/delete_topics.h"
#include "protocol/messages/describe_cluster.h"
#include "protocol/messages/describe_configs.h"
#include "protocol/messages/find_coordinator.h"
#include "protocol/messages/heartbeat.h"
#include "protocol/messages/incremental_alter_configs.h"
#include "protocol/messages/init_producer_id.h"
#include "protocol/messages/join_group.h"
#include "protocol/messages/leave_group.h"
#include "protocol/messages/list_groups.h"
#include "protocol/messages/list_offsets.h"
#include "protocol/messages/metadata.h"
#include "protocol/messages/offset_commit.h"
#include "protocol/messages/offset_fetch.h"
#include "protocol/messages/sync_group.h"

namespace weir::broker {
namespace {

using namespace std::chrono_literals;
using Strings = std::vector<std::string>;

ErrorCode code(std::int16_t number) { return static_cast<ErrorCode>(number); }

// A broker that runs, and a connection to it.
struct Running {
  explicit Running(config::Properties extra = {}, std::uint64_t seed = 1, std::size_t shards = 1)
      : cluster(std::move(extra), seed, shards) {
    const auto started = cluster.start();
    EXPECT_TRUE(started) << started.error().message;
    connect();
  }
  void connect() { client = std::make_unique<Client>(cluster); }
  void restart() {
    client.reset();
    cluster.stop();
    const auto started = cluster.start();
    EXPECT_TRUE(started) << started.error().message;
    connect();
  }

  protocol::MetadataResponse::MetadataResponseTopic metadata(std::string_view topic, bool create = true) {
    protocol::MetadataRequest in;
    in.topics.emplace().emplace_back().name = topic;
    in.allow_auto_topic_creation = create;
    last = client->call<protocol::MetadataResponse>(12, in);
    EXPECT_TRUE(last);
    return last ? last->topics.at(0) : protocol::MetadataResponse::MetadataResponseTopic{};
  }
  std::pair<ErrorCode, std::int64_t> offset(std::string_view topic, int partition, std::int64_t timestamp) {
    protocol::ListOffsetsRequest in;
    in.replica_id = -1;
    auto& to = in.topics.emplace_back();
    to.name = topic;
    auto& asked = to.partitions.emplace_back();
    asked.partition_index = partition;
    asked.timestamp = timestamp;
    const auto out = client->call<protocol::ListOffsetsResponse>(7, in);
    EXPECT_TRUE(out);
    const auto& found = out->topics.at(0).partitions.at(0);
    return {code(found.error_code), found.offset};
  }
  ErrorCode delete_topic(std::string_view topic) {
    protocol::DeleteTopicsRequest in;
    in.topic_names = {topic};
    in.timeout_ms = 10'000;
    const auto out = client->call<protocol::DeleteTopicsResponse>(5, in);
    EXPECT_TRUE(out);
    return code(out->responses.at(0).error_code);
  }
  ErrorCode create_partitions(std::string_view topic, int count) {
    protocol::CreatePartitionsRequest in;
    auto& to = in.topics.emplace_back();
    to.name = topic;
    to.count = count;
    to.assignments.reset();
    in.timeout_ms = 10'000;
    const auto out = client->call<protocol::CreatePartitionsResponse>(3, in);
    EXPECT_TRUE(out);
    return code(out->results.at(0).error_code);
  }
  std::pair<ErrorCode, std::int64_t> delete_records(std::string_view topic, std::int64_t offset) {
    protocol::DeleteRecordsRequest in;
    auto& to = in.topics.emplace_back();
    to.name = topic;
    to.partitions.emplace_back().offset = offset;
    in.timeout_ms = 10'000;
    const auto out = client->call<protocol::DeleteRecordsResponse>(2, in);
    EXPECT_TRUE(out);
    const auto& done = out->topics.at(0).partitions.at(0);
    return {code(done.error_code), done.low_watermark};
  }
  enum class Alter : std::int8_t { set = 0, remove = 1, append = 2, subtract = 3 };
  ErrorCode alter(std::string_view resource, std::string_view key, Alter op, std::string_view value, int type = 2,
                  bool validate_only = false) {
    protocol::IncrementalAlterConfigsRequest in;
    in.validate_only = validate_only;
    auto& to = in.resources.emplace_back();
    to.resource_type = static_cast<std::int8_t>(type);
    to.resource_name = resource;
    auto& change = to.configs.emplace_back();
    change.name = key;
    change.config_operation = static_cast<std::int8_t>(op);
    if (op == Alter::remove) {
      change.value.reset();
    } else {
      change.value = value;
    }
    const auto out = client->call<protocol::IncrementalAlterConfigsResponse>(1, in);
    EXPECT_TRUE(out);
    return code(out->responses.at(0).error_code);
  }
  // The value, and where it comes from (1: the topic, 5: the default).
  std::pair<std::string, int> describe(std::string_view resource, std::string_view key, int type = 2) {
    protocol::DescribeConfigsRequest in;
    auto& to = in.resources.emplace_back();
    to.resource_type = static_cast<std::int8_t>(type);
    to.resource_name = resource;
    to.configuration_keys = std::vector{key};
    const auto out = client->call<protocol::DescribeConfigsResponse>(4, in);
    EXPECT_TRUE(out);
    const auto& result = out->results.at(0);
    if (result.error_code != 0) return {std::string(name(code(result.error_code))), -1};
    if (result.configs.size() != 1) return {"not one entry", -1};
    return {std::string(result.configs[0].value.value_or("(null)")), result.configs[0].config_source};
  }
  std::pair<std::int64_t, std::int16_t> producer_id() {
    protocol::InitProducerIdRequest in;
    in.transactional_id.reset();
    const auto out = client->call<protocol::InitProducerIdResponse>(4, in);
    EXPECT_TRUE(out);
    EXPECT_EQ(out->error_code, 0);
    return {out->producer_id, out->producer_epoch};
  }

  Cluster cluster;
  std::unique_ptr<Client> client;
  Answer<protocol::MetadataResponse> last;
};

TEST(Broker, ServesAsSoonAsItHasStartedAndRegisters) {
  Running r;
  EXPECT_EQ(r.cluster.broker->id(), BrokerId{1});
  ASSERT_EQ(r.cluster.broker->endpoints().size(), 1U);
  EXPECT_EQ(r.cluster.broker->endpoints()[0].address.port, 9092);
  const auto out = r.client->call<protocol::DescribeClusterResponse>(0, protocol::DescribeClusterRequest{});
  ASSERT_TRUE(out);
  EXPECT_EQ(out->cluster_id, r.cluster.broker->cluster_id());
  EXPECT_EQ(out->controller_id, 1);
  ASSERT_EQ(out->brokers.size(), 1U);
  EXPECT_EQ(out->brokers[0].host, "127.0.0.1");
  EXPECT_EQ(out->brokers[0].port, 9092);
  const auto nodes = r.cluster.tree->dump();
  EXPECT_TRUE(std::ranges::any_of(nodes, [](const auto& node) { return node.first == "/brokers/ids/1"; }));
  r.client.reset();
  r.cluster.stop();
  const auto after = r.cluster.tree->dump();
  EXPECT_FALSE(std::ranges::any_of(after, [](const auto& node) { return node.first == "/brokers/ids/1"; }));
}

TEST(Broker, ProducesAndFetchesWithEachKindOfAcks) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t", 3), ErrorCode::NONE);
  EXPECT_EQ(r.client->produce("t", 1, Strings{"a", "b"}, 1).base_offset, 0);
  EXPECT_EQ(r.client->produce("t", 1, Strings{"c"}, -1).base_offset, 2);
  // Nothing answers acks=0: the next answer is the next request's.
  const auto records = r.cluster.batch({"d"});
  r.client->send(9, Client::produce_request("t", 1, records, 0));
  const auto fetched = r.client->fetch("t", 1, 1);
  EXPECT_EQ(fetched.error, ErrorCode::NONE);
  EXPECT_EQ(fetched.high_watermark, 4);
  EXPECT_EQ(fetched.values, (Strings{"a", "b", "c", "d"})) << "from the batch that holds offset 1";
  EXPECT_EQ(r.client->fetch("t", 1, 3).values, Strings{"d"});
  EXPECT_EQ(r.client->fetch("t", 0, 0).values, Strings{}) << "the other partitions have none of it";
  EXPECT_EQ(r.client->fetch("t", 1, 4).error, ErrorCode::NONE) << "the end of the log is no error";
  EXPECT_EQ(r.client->fetch("t", 1, 5).error, ErrorCode::OFFSET_OUT_OF_RANGE);
}

TEST(Broker, AFetchWaitsForWhatComes) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  Client consumer(r.cluster);
  const auto began = r.cluster.world.clock().mono();
  EXPECT_EQ(consumer.fetch("t", 0, 0, 700).error, ErrorCode::NONE);
  EXPECT_EQ(r.cluster.world.clock().mono() - began, 700ms);
  consumer.send(12, Client::fetch_request("t", 0, 0, 60'000));
  r.cluster.world.run_for(1s);
  r.client->produce("t", 0, Strings{"now"});
  const auto out = consumer.receive_as<protocol::FetchResponse>(12);
  ASSERT_TRUE(out);
  EXPECT_EQ(Client::fetched(*out.message).values, Strings{"now"});
  EXPECT_LT(r.cluster.world.clock().mono() - began, 3s);
}

TEST(Broker, FetchSessionsTellOnlyWhatChanged) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t", 2), ErrorCode::NONE);
  auto in = Client::fetch_request("t", 0, 0);
  auto second = in.topics[0].partitions[0];
  second.partition = 1;
  in.topics[0].partitions.push_back(second);
  in.session_epoch = 0;
  auto out = r.client->call<protocol::FetchResponse>(12, in);
  ASSERT_TRUE(out);
  ASSERT_NE(out->session_id, 0);
  EXPECT_EQ(out->responses.at(0).partitions.size(), 2U);
  protocol::FetchRequest next;
  next.max_bytes = 1 << 20;
  next.session_id = out->session_id;
  next.session_epoch = 1;
  out = r.client->call<protocol::FetchResponse>(12, next);
  ASSERT_TRUE(out);
  EXPECT_EQ(out->responses.size(), 0U);
  r.client->produce("t", 1, Strings{"x"});
  next.session_epoch = 2;
  out = r.client->call<protocol::FetchResponse>(12, next);
  ASSERT_TRUE(out);
  ASSERT_EQ(out->responses.size(), 1U);
  ASSERT_EQ(out->responses[0].partitions.size(), 1U);
  EXPECT_EQ(out->responses[0].partitions[0].partition_index, 1);
  next.session_epoch = 2;
  out = r.client->call<protocol::FetchResponse>(12, next);
  ASSERT_TRUE(out);
  EXPECT_EQ(code(out->error_code), ErrorCode::INVALID_FETCH_SESSION_EPOCH);
}

TEST(Broker, WhatIsNotThereIsUnknown) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t", 2), ErrorCode::NONE);
  EXPECT_EQ(r.client->produce("nowhere", 0, Strings{"x"}).error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
  EXPECT_EQ(r.client->produce("t", 2, Strings{"x"}).error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
  EXPECT_EQ(r.client->produce("t", -1, Strings{"x"}).error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
  EXPECT_EQ(r.client->fetch("nowhere", 0, 0).error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
  EXPECT_EQ(r.offset("t", 5, -1).first, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
  EXPECT_EQ(r.metadata("nowhere", false).error_code, static_cast<std::int16_t>(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))
      << "a produce makes no topic";
}

TEST(Broker, BadProducesAreAnsweredAndTheConnectionStays) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t", 1, {{"max.message.bytes", "1000"}}), ErrorCode::NONE);
  auto records = r.cluster.batch({"honest"});
  records.mutable_view().back() ^= std::byte{1};
  EXPECT_EQ(r.client->produce("t", 0, records).error, ErrorCode::CORRUPT_MESSAGE);
  EXPECT_EQ(r.client->produce("t", 0, Strings{std::string(2000, 'x')}).error, ErrorCode::MESSAGE_TOO_LARGE);
  EXPECT_EQ(r.client->produce("t", 0, Strings{"x"}, 2).error, ErrorCode::INVALID_REQUIRED_ACKS);
  EXPECT_EQ(r.client->produce("__consumer_offsets", 0, Strings{"x"}).error, ErrorCode::INVALID_TOPIC_EXCEPTION);
  EXPECT_EQ(r.client->produce("t", 0, bytes::Shared()).error, ErrorCode::INVALID_RECORD) << "no batch at all";
  auto cut = r.cluster.batch({"whole"});
  EXPECT_EQ(r.client->produce("t", 0, cut.sub(0, cut.size() - 3)).error, ErrorCode::INVALID_RECORD) << "nor a whole one";
  EXPECT_EQ(r.client->produce("t", 0, Strings{"good"}).base_offset, 0) << "nothing of all that was written";
  EXPECT_EQ(r.client->fetch("t", 0, 0).values, Strings{"good"});
}

TEST(Broker, WithoutAcksAnErrorClosesTheConnection) {
  Running r;
  const auto records = r.cluster.batch({"x"});
  r.client->send(9, Client::produce_request("nowhere", 0, records, 0));
  EXPECT_TRUE(r.client->ended());
}

TEST(Broker, IdempotentProducersWriteOnce) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  const auto producer = r.producer_id();
  auto batch = [&](std::int32_t sequence, const Strings& values) {
    return r.cluster.batch(values, {.producer_id = ProducerId{producer.first},
                                    .producer_epoch = ProducerEpoch{producer.second},
                                    .base_sequence = sequence});
  };
  EXPECT_EQ(r.client->produce("t", 0, batch(0, {"a", "b"})).base_offset, 0);
  const auto again = r.client->produce("t", 0, batch(0, {"a", "b"}));
  EXPECT_EQ(again.error, ErrorCode::NONE);
  EXPECT_EQ(again.base_offset, 0) << "the offsets of the first time";
  EXPECT_EQ(r.client->produce("t", 0, batch(5, {"gap"})).error, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
  EXPECT_EQ(r.client->produce("t", 0, batch(2, {"c"})).base_offset, 2);
  EXPECT_EQ(r.client->fetch("t", 0, 0).values, (Strings{"a", "b", "c"}));
  // A restart forgets no producer.
  r.restart();
  EXPECT_EQ(r.client->produce("t", 0, batch(2, {"c"})).base_offset, 2);
  EXPECT_EQ(r.client->produce("t", 0, batch(3, {"d"})).base_offset, 3);
}

TEST(Broker, ProducerIdsAreNeverGivenTwice) {
  Running r({}, 1, 2);
  std::set<std::int64_t> ids;
  int count = 0;
  const auto take = [&](int n) {
    for (int i = 0; i < n; ++i) ids.insert(r.producer_id().first);
    count += n;
  };
  take(1500);  // more than a block
  r.restart();
  take(10);
  r.client.reset();
  r.cluster.crash();
  ASSERT_TRUE(r.cluster.start());
  r.connect();
  take(10);
  EXPECT_EQ(ids.size(), static_cast<std::size_t>(count));
  protocol::InitProducerIdRequest in;
  in.transactional_id = "tx";
  const auto out = r.client->call<protocol::InitProducerIdResponse>(4, in);
  ASSERT_TRUE(out);
  EXPECT_NE(out->error_code, 0) << "transactions are not served";
}

TEST(Broker, MetadataMakesTopicsWhereItMay) {
  Running r({{"num.partitions", "3"}});
  EXPECT_EQ(code(r.metadata("t", false).error_code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
  const auto made = r.metadata("t");
  EXPECT_EQ(code(made.error_code), ErrorCode::NONE);
  ASSERT_EQ(made.partitions.size(), 3U);
  EXPECT_FALSE(made.topic_id.is_zero());
  for (const auto& partition : made.partitions) {
    EXPECT_EQ(partition.leader_id, 1);
    EXPECT_EQ(partition.isr_nodes, std::vector<std::int32_t>{1});
  }
  EXPECT_EQ(r.client->produce("t", 2, Strings{"x"}).error, ErrorCode::NONE) << "it can be used at once";
  EXPECT_EQ(code(r.metadata("no spaces, please").error_code), ErrorCode::INVALID_TOPIC_EXCEPTION);

  Running without({{"auto.create.topics.enable", "false"}});
  EXPECT_EQ(code(without.metadata("t").error_code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

TEST(Broker, TopicsAreCreatedAndDeleted) {
  Running r({}, 3, 2);
  EXPECT_EQ(r.client->create_topic("t", 2, {{"retention.ms", "1234"}}), ErrorCode::NONE);
  EXPECT_EQ(r.client->create_topic("t"), ErrorCode::TOPIC_ALREADY_EXISTS);
  EXPECT_EQ(r.client->create_topic("u", 1, {{"retention.ms", "soon"}}), ErrorCode::INVALID_CONFIG);
  EXPECT_EQ(r.client->create_topic("u", 1, {{"no.such.key", "1"}}), ErrorCode::INVALID_CONFIG);
  EXPECT_EQ(r.client->create_topic("u", 1, {}, 2), ErrorCode::INVALID_REPLICATION_FACTOR);
  EXPECT_EQ(r.client->create_topic("u", 0), ErrorCode::INVALID_PARTITIONS);
  EXPECT_EQ(r.client->create_topic("..", 1), ErrorCode::INVALID_TOPIC_EXCEPTION);
  EXPECT_EQ(r.describe("t", "retention.ms"), (std::pair<std::string, int>{"1234", 1}));

  r.client->produce("t", 0, Strings{"old"});
  const auto before = r.metadata("t", false).topic_id;
  EXPECT_EQ(r.delete_topic("t"), ErrorCode::NONE);
  EXPECT_EQ(r.delete_topic("t"), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
  EXPECT_EQ(code(r.metadata("t", false).error_code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
  EXPECT_EQ(r.client->produce("t", 0, Strings{"x"}).error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);

  EXPECT_EQ(r.client->create_topic("t", 1), ErrorCode::NONE);
  EXPECT_NE(r.metadata("t", false).topic_id, before);
  EXPECT_EQ(r.client->produce("t", 0, Strings{"new"}).base_offset, 0);
  EXPECT_EQ(r.client->fetch("t", 0, 0).values, Strings{"new"});
  EXPECT_NE(r.describe("t", "retention.ms").first, "1234") << "its configuration went with it";
  EXPECT_EQ(r.client->produce("t", 1, Strings{"x"}).error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

TEST(Broker, DeletionCanBeForbidden) {
  Running r({{"delete.topic.enable", "false"}});
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  EXPECT_EQ(r.delete_topic("t"), ErrorCode::TOPIC_DELETION_DISABLED);
  EXPECT_EQ(r.client->produce("t", 0, Strings{"x"}).error, ErrorCode::NONE);
}

TEST(Broker, ALongPollOnADeletedTopicIsToldSo) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  Client consumer(r.cluster);
  consumer.send(12, Client::fetch_request("t", 0, 0, 3'600'000));
  r.cluster.world.settle();
  const auto began = r.cluster.world.clock().mono();
  EXPECT_EQ(r.delete_topic("t"), ErrorCode::NONE);
  const auto out = consumer.receive_as<protocol::FetchResponse>(12);
  ASSERT_TRUE(out);
  EXPECT_NE(Client::fetched(*out.message).error, ErrorCode::NONE);
  EXPECT_LT(r.cluster.world.clock().mono() - began, 60s);
}

TEST(Broker, PartitionsAreAdded) {
  Running r({}, 1, 3);
  ASSERT_EQ(r.client->create_topic("t", 1), ErrorCode::NONE);
  r.client->produce("t", 0, Strings{"stays"});
  EXPECT_EQ(r.create_partitions("t", 4), ErrorCode::NONE);
  EXPECT_EQ(r.metadata("t", false).partitions.size(), 4U);
  EXPECT_EQ(r.client->produce("t", 3, Strings{"x"}).error, ErrorCode::NONE);
  EXPECT_EQ(r.client->fetch("t", 0, 0).values, Strings{"stays"});
  EXPECT_EQ(r.create_partitions("t", 2), ErrorCode::INVALID_PARTITIONS);
  EXPECT_EQ(r.create_partitions("nowhere", 2), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

TEST(Broker, OffsetsAreFoundByTime) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  const auto first = r.cluster.world.clock().wall().count();
  r.client->produce("t", 0, Strings{"a", "b"});
  r.cluster.world.run_for(10s);
  r.client->produce("t", 0, Strings{"c"});
  using Found = std::pair<ErrorCode, std::int64_t>;
  EXPECT_EQ(r.offset("t", 0, -2), (Found{ErrorCode::NONE, 0}));
  EXPECT_EQ(r.offset("t", 0, -1), (Found{ErrorCode::NONE, 3}));
  EXPECT_EQ(r.offset("t", 0, -3), (Found{ErrorCode::NONE, 2})) << "the largest timestamp";
  EXPECT_EQ(r.offset("t", 0, first), (Found{ErrorCode::NONE, 0}));
  EXPECT_EQ(r.offset("t", 0, first + 5000), (Found{ErrorCode::NONE, 2}));
  EXPECT_EQ(r.offset("t", 0, first + 60'000), (Found{ErrorCode::NONE, -1})) << "nothing that late";
}

TEST(Broker, RecordsAreDeletedUpToAnOffset) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  for (const auto* value : {"a", "b", "c", "d"}) r.client->produce("t", 0, Strings{value});
  using Deleted = std::pair<ErrorCode, std::int64_t>;
  EXPECT_EQ(r.delete_records("t", 2), (Deleted{ErrorCode::NONE, 2}));
  EXPECT_EQ(r.client->fetch("t", 0, 1).error, ErrorCode::OFFSET_OUT_OF_RANGE);
  EXPECT_EQ(r.client->fetch("t", 0, 2).values, (Strings{"c", "d"}));
  EXPECT_EQ(r.client->fetch("t", 0, 2).log_start, 2);
  EXPECT_EQ(r.offset("t", 0, -2).second, 2);
  EXPECT_EQ(r.delete_records("t", 1), (Deleted{ErrorCode::NONE, 2})) << "it does not go back";
  EXPECT_EQ(r.delete_records("t", 5).first, ErrorCode::OFFSET_OUT_OF_RANGE);
  EXPECT_EQ(r.delete_records("t", -7).first, ErrorCode::OFFSET_OUT_OF_RANGE);
  EXPECT_EQ(r.delete_records("nowhere", 0).first, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
  r.restart();
  EXPECT_EQ(r.offset("t", 0, -2).second, 2);
  EXPECT_EQ(r.delete_records("t", -1), (Deleted{ErrorCode::NONE, 4})) << "-1: all";
}

TEST(Broker, TopicConfigsAreAlteredDescribedAndInForce) {
  Running r;
  using Alter = Running::Alter;
  using Described = std::pair<std::string, int>;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  EXPECT_EQ(r.describe("t", "max.message.bytes").second, 5);
  ASSERT_EQ(r.client->produce("t", 0, Strings{std::string(500, 'x')}).error, ErrorCode::NONE);
  EXPECT_EQ(r.alter("t", "max.message.bytes", Alter::set, "300"), ErrorCode::NONE);
  EXPECT_EQ(r.describe("t", "max.message.bytes"), (Described{"300", 1}));
  r.cluster.world.settle();
  EXPECT_EQ(r.client->produce("t", 0, Strings{std::string(500, 'x')}).error, ErrorCode::MESSAGE_TOO_LARGE);
  EXPECT_EQ(r.alter("t", "max.message.bytes", Alter::remove, ""), ErrorCode::NONE);
  r.cluster.world.settle();
  EXPECT_EQ(r.client->produce("t", 0, Strings{std::string(500, 'x')}).error, ErrorCode::NONE);

  EXPECT_EQ(r.alter("t", "cleanup.policy", Alter::append, "compact"), ErrorCode::NONE);
  EXPECT_EQ(r.describe("t", "cleanup.policy"), (Described{"delete,compact", 1}));
  EXPECT_EQ(r.alter("t", "cleanup.policy", Alter::subtract, "delete"), ErrorCode::NONE);
  EXPECT_EQ(r.describe("t", "cleanup.policy"), (Described{"compact", 1}));
  EXPECT_NE(r.alter("t", "max.message.bytes", Alter::append, "1"), ErrorCode::NONE) << "that is no list";

  EXPECT_EQ(r.alter("t", "retention.ms", Alter::set, "soon"), ErrorCode::INVALID_CONFIG);
  EXPECT_EQ(r.alter("t", "no.such.key", Alter::set, "1"), ErrorCode::INVALID_CONFIG);
  EXPECT_EQ(r.alter("t", "retention.ms", static_cast<Alter>(9), "1"), ErrorCode::INVALID_REQUEST);
  EXPECT_EQ(r.alter("t", "retention.ms", Alter::set, "99", 2, true), ErrorCode::NONE);
  EXPECT_EQ(r.describe("t", "retention.ms").second, 5) << "it was only validated";
  EXPECT_EQ(r.alter("nowhere", "retention.ms", Alter::set, "1"), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
  EXPECT_EQ(r.describe("nowhere", "retention.ms").second, -1);

  r.restart();
  EXPECT_EQ(r.describe("t", "cleanup.policy"), (Described{"compact", 1}));
}

TEST(Broker, BrokerConfigsChangeWhileItRuns) {
  Running r;
  using Alter = Running::Alter;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  ASSERT_EQ(r.client->produce("t", 0, Strings{std::string(500, 'x')}).error, ErrorCode::NONE);
  EXPECT_EQ(r.alter("1", "message.max.bytes", Alter::set, "300", 4), ErrorCode::NONE);
  r.cluster.world.run_for(1s);
  EXPECT_EQ(r.describe("1", "message.max.bytes", 4).first, "300");
  EXPECT_EQ(r.client->produce("t", 0, Strings{std::string(500, 'x')}).error, ErrorCode::MESSAGE_TOO_LARGE)
      << "topics without a value of their own follow";
  EXPECT_NE(r.alter("2", "message.max.bytes", Alter::set, "300", 4), ErrorCode::NONE) << "another broker's";
  EXPECT_NE(r.alter("1", "broker.id", Alter::set, "5", 4), ErrorCode::NONE) << "read-only";
  r.restart();
  EXPECT_EQ(r.client->produce("t", 0, Strings{std::string(500, 'x')}).error, ErrorCode::MESSAGE_TOO_LARGE);
}

// ---- groups

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

// ---- restarts, crashes, sessions

TEST(BrokerRestart, ACleanStopKeepsAll) {
  Running r({}, 1, 2);
  ASSERT_EQ(r.client->create_topic("t", 4), ErrorCode::NONE);
  for (int i = 0; i < 20; ++i) r.client->produce("t", i % 4, Strings{std::to_string(i)});
  const auto cluster_id = r.cluster.broker->cluster_id();
  r.restart();
  EXPECT_EQ(r.cluster.broker->cluster_id(), cluster_id);
  for (int p = 0; p < 4; ++p) {
    const auto fetched = r.client->fetch("t", p, 0);
    EXPECT_EQ(fetched.high_watermark, 5);
    Strings expected;
    for (int i = p; i < 20; i += 4) expected.push_back(std::to_string(i));
    EXPECT_EQ(fetched.values, expected);
  }
  EXPECT_EQ(r.client->produce("t", 0, Strings{"more"}).base_offset, 5);
}

TEST(BrokerRestart, ACrashKeepsWhatWasAcknowledgedAfterAFlush) {
  for (std::uint64_t seed = 1; seed <= 15; ++seed) {
    SCOPED_TRACE(seed);
    Running r({{"log.flush.interval.messages", "1"}}, seed, 2);
    ASSERT_EQ(r.client->create_topic("t", 2), ErrorCode::NONE);
    std::map<int, Strings> acknowledged;
    for (int i = 0; i < 10; ++i) {
      const auto done = r.client->produce("t", i % 2, Strings{std::to_string(i)});
      ASSERT_EQ(done.error, ErrorCode::NONE);
      acknowledged[i % 2].push_back(std::to_string(i));
    }
    r.client.reset();
    r.cluster.crash();
    const auto started = r.cluster.start();
    ASSERT_TRUE(started) << started.error().message;
    r.connect();
    for (const auto& [partition, values] : acknowledged) {
      EXPECT_EQ(r.client->fetch("t", partition, 0).values, values);
      EXPECT_EQ(r.client->produce("t", partition, Strings{"next"}).base_offset,
                static_cast<std::int64_t>(values.size()));
    }
  }
}

TEST(BrokerRestart, AnExpiredSessionRegistersAgainAndTheBrokerGoesOn) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  r.client->produce("t", 0, Strings{"before"});
  const auto registered = [&] {
    return std::ranges::any_of(r.cluster.tree->dump(), [](const auto& node) { return node.first == "/brokers/ids/1"; });
  };
  ASSERT_TRUE(registered());
  r.cluster.tree->expire(r.cluster.session_id);
  EXPECT_FALSE(registered());
  r.cluster.world.run_for(60s);
  EXPECT_TRUE(registered());
  EXPECT_EQ(r.client->produce("t", 0, Strings{"after"}).base_offset, 1) << "on the connection it had";
  EXPECT_EQ(r.client->fetch("t", 0, 0).values, (Strings{"before", "after"}));
  EXPECT_EQ(r.client->create_topic("u"), ErrorCode::NONE) << "it is the controller again";
  EXPECT_EQ(r.client->produce("u", 0, Strings{"x"}).base_offset, 0);
}

TEST(BrokerRestart, AWhileWithoutTheCoordinationServiceDoesNotStopProducers) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  r.cluster.tree->disconnect(r.cluster.session_id);
  r.cluster.world.run_for(1s);
  EXPECT_EQ(r.client->produce("t", 0, Strings{"x"}).error, ErrorCode::NONE);
  EXPECT_EQ(r.client->fetch("t", 0, 0).values, Strings{"x"});
  r.cluster.tree->reconnect(r.cluster.session_id);
  r.cluster.world.run_for(5s);
  EXPECT_EQ(r.client->create_topic("u"), ErrorCode::NONE);
}

TEST(BrokerRestart, AFailedDiskIsAnsweredAndOtherTopicsGoOn) {
  Running r({{"log.flush.interval.messages", "1"}});
  ASSERT_EQ(r.client->create_topic("bad"), ErrorCode::NONE);
  ASSERT_EQ(r.client->create_topic("good"), ErrorCode::NONE);
  r.cluster.world.files().set_fault([](auto op, const std::string& path) {
    return op == runtime::SimFiles::Op::sync && path.contains("/bad-0/") ? EIO : 0;
  });
  const auto began = r.cluster.world.clock().mono();
  EXPECT_EQ(r.client->produce("bad", 0, Strings{"x"}).error, ErrorCode::KAFKA_STORAGE_ERROR);
  EXPECT_LT(r.cluster.world.clock().mono() - began, 1s) << "at once, not when the request times out";
  EXPECT_EQ(r.client->produce("good", 0, Strings{"x"}).error, ErrorCode::NONE);
  EXPECT_EQ(r.client->fetch("bad", 0, 0).values, Strings{}) << "what was not acknowledged is not shown";
  r.cluster.world.files().set_fault(nullptr);
  EXPECT_EQ(r.client->produce("bad", 0, Strings{"x"}).error, ErrorCode::KAFKA_STORAGE_ERROR);
}

// ---- starts that must not succeed

TEST(BrokerStart, ADirectoryOfAnotherBrokerOrClusterStopsIt) {
  Cluster cluster;
  ASSERT_TRUE(cluster.start());
  cluster.stop();
  cluster.properties["broker.id"] = "2";
  auto started = cluster.start();
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().message.find("meta.properties"), std::string::npos) << started.error().message;
  cluster.stop();
  cluster.properties["broker.id"] = "1";
  cluster.tree = zkclient::MemoryTree::make();
  started = cluster.start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, ErrorCode::INCONSISTENT_CLUSTER_ID);
}

TEST(BrokerStart, AnIdThatIsTakenStopsItAndNamesTheOther) {
  Cluster cluster;
  ASSERT_TRUE(cluster.start());
  Cluster second({{"log.dirs", "/other"}});
  second.tree = cluster.tree;
  const auto started = second.start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, ErrorCode::DUPLICATE_BROKER_REGISTRATION) << started.error().message;
}

TEST(BrokerStart, ListenersItCannotServeStopIt) {
  Cluster tls({{"listeners", "SSL://127.0.0.1:9093"}, {"security.inter.broker.protocol", "SSL"}});
  const auto started = tls.start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, ErrorCode::INVALID_CONFIG);
}

TEST(BrokerStart, AnIdIsMadeWhereNoneIsGivenAndKept) {
  Cluster cluster({{"broker.id", "-1"}});
  ASSERT_TRUE(cluster.start());
  const auto id = cluster.broker->id();
  EXPECT_GT(id.value, 1000);
  cluster.stop();
  ASSERT_TRUE(cluster.start());
  EXPECT_EQ(cluster.broker->id(), id);
}

}  // namespace
}  // namespace weir::broker
