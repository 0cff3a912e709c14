#include "broker/broker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "broker/test_running.h"
#include "protocol/messages/describe_cluster.h"
#include "zkwire/layout.h"

namespace weir::broker {
namespace {

using namespace std::chrono_literals;

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
  EXPECT_EQ(r.client->produce("t", 0, cut.sub(0, cut.size() - 3)).error, ErrorCode::INVALID_RECORD)
      << "nor a whole one";
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

// As Kafka's controller: who asks again would never be told what is wrong.
TEST(Broker, AFirstUseThatCannotBeIsToldWhy) {
  Running r({{"default.replication.factor", "2"}});
  EXPECT_EQ(code(r.metadata("t").error_code), ErrorCode::INVALID_REPLICATION_FACTOR);
  EXPECT_EQ(code(r.metadata("t", false).error_code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
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

TEST(Broker, TheNameOfADeletedTopicIsFreeAtOnce) {
  Running r;
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(r.client->create_topic("t", 2), ErrorCode::NONE);
    ASSERT_EQ(r.client->produce("t", 1, Strings{"x"}).base_offset, 0);
    ASSERT_EQ(r.delete_topic("t"), ErrorCode::NONE);
  }
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

TEST(Broker, AFullVolumeRefusesProducersUntilThereIsRoom) {
  Running r({{"weir.storage.quota.bytes", "100000"}});
  using Alter = Running::Alter;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  const Strings one{std::string(5000, 'x')};
  std::int64_t taken = 0;
  auto answer = ErrorCode::NONE;
  for (int i = 0; i < 40 && answer == ErrorCode::NONE; ++i) {
    answer = r.client->produce("t", 0, one).error;
    if (answer == ErrorCode::NONE) ++taken;
    r.cluster.world.run_for(1s);
  }
  EXPECT_EQ(answer, ErrorCode::KAFKA_STORAGE_ERROR) << "which clients try again";
  EXPECT_EQ(taken, 19) << "95 % of it";
  EXPECT_EQ(r.client->fetch("t", 0, 0).values.size(), 19U) << "what is there can be read";

  EXPECT_EQ(r.alter("", "weir.storage.quota.bytes", Alter::set, "200000", 4), ErrorCode::NONE);
  r.cluster.world.run_for(1s);
  EXPECT_EQ(r.client->produce("t", 0, one).base_offset, 19) << "without a restart";
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

// The default of unclean.leader.election.enable, changed for all while the broker is controller.
TEST(Broker, WhatNobodyMayLeadIsLedWhenUncleanElectionsAreAllowed) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t", 1), ErrorCode::NONE);
  namespace layout = zkwire::layout;
  const std::string path = layout::path_of_partition_state("t", PartitionId{0});
  r.cluster.run([&]() -> Task<void> {
    auto user = r.cluster.tree->connect();
    layout::PartitionState state;
    state.leader = no_broker;
    state.leader_epoch = LeaderEpoch{1};
    state.isr = {BrokerId{9}};
    state.controller_epoch = ControllerEpoch{1};
    (void)co_await user->set(path, layout::encode(state));
    (void)co_await user->create(layout::path_of_new_isr_change(), layout::encode_partition_set({{"t", PartitionId{0}}}),
                                zkclient::CreateMode::persistent_sequential);
    co_await user->close();
  });
  r.cluster.world.run_for(1s);
  EXPECT_EQ(r.metadata("t").partitions.at(0).leader_id, -1);
  EXPECT_EQ(r.alter("", "unclean.leader.election.enable", Running::Alter::set, "true", 4), ErrorCode::NONE);
  r.cluster.world.run_for(1s);
  EXPECT_EQ(r.metadata("t").partitions.at(0).leader_id, 1);
  EXPECT_EQ(r.client->produce("t", 0, Strings{"a"}).error, ErrorCode::NONE);
}

// Nobody else would make it again: the broker would run on, and lead nothing.
TEST(Broker, RegistersAgainWhenItsNodeIsRemoved) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t", 1), ErrorCode::NONE);
  for (int i = 0; i < 2; ++i) {
    r.cluster.run([&]() -> Task<void> {
      auto user = r.cluster.tree->connect();
      EXPECT_TRUE((co_await user->remove("/brokers/ids/1", zkclient::any_version)).has_value());
      co_await user->close();
    });
    r.cluster.world.run_for(2s);
    const auto nodes = r.cluster.tree->dump();
    EXPECT_TRUE(std::ranges::any_of(nodes, [](const auto& node) { return node.first == "/brokers/ids/1"; }));
    EXPECT_EQ(r.client->produce("t", 0, Strings{"a"}).error, ErrorCode::NONE);
  }
}

// It would lie in wait for the next start.
TEST(Broker, ListenersAreNotChangedWhileItRuns) {
  Running r;
  for (const auto* key : {"listeners", "advertised.listeners"}) {
    EXPECT_EQ(r.alter("1", key, Running::Alter::set, "PLAINTEXT://127.0.0.1:9192", 4), ErrorCode::INVALID_REQUEST);
  }
}

}  // namespace
}  // namespace weir::broker
