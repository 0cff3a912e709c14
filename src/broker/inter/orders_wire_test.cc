#include "broker/inter/orders_wire.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "bytes/cursor.h"
#include "bytes/shared.h"

namespace weir::broker {
namespace {

using controller::LeaderAndIsrOrder;
using controller::StopReplicaOrder;
using controller::UpdateMetadataOrder;

// The message as the peer reads it, through bytes.
template <class Message>
struct Travelled {
  bytes::Shared memory;
  Message message;
};
template <class Message>
Travelled<Message> travel(const Message& message, std::int16_t version) {
  const auto size = encoded_size(message, version);
  Travelled<Message> out;
  out.memory = bytes::Shared::allocate(size.buffer);
  bytes::Writer writer(out.memory.mutable_view());
  encode(writer, version, message);
  EXPECT_EQ(writer.written(), size.buffer);
  bytes::Reader reader(out.memory.view());
  EXPECT_TRUE(decode(reader, version, out.message)) << "version " << version;
  EXPECT_EQ(reader.left(), 0U);
  return out;
}

Uuid id_of(std::uint8_t n) {
  Uuid id;
  id.bytes[15] = n;
  return id;
}

controller::LeaderAndIsrOrder::Item item(std::string topic, int partition, bool is_new) {
  LeaderAndIsrOrder::Item item;
  item.at = {std::move(topic), PartitionId{partition}};
  item.is_new = is_new;
  item.state.replicas = {BrokerId{1}, BrokerId{2}, BrokerId{3}};
  item.state.adding = {BrokerId{3}};
  item.state.removing = {BrokerId{1}};
  item.state.leader = BrokerId{2};
  item.state.leader_epoch = LeaderEpoch{7};
  item.state.isr = {BrokerId{2}, BrokerId{1}};
  item.state.version = 12;
  item.state.controller_epoch = ControllerEpoch{4};
  item.state.leader_recovery_state = 1;
  return item;
}

controller::OrderHead head() { return {BrokerId{5}, ControllerEpoch{9}, BrokerEpoch{77}}; }

TEST(OrdersWire, LeaderAndIsrSaysInEachVersionWhatItCan) {
  LeaderAndIsrOrder order;
  order.head = head();
  order.partitions = {item("a", 0, true), item("b", 3, false), item("a", 1, false)};
  order.topic_ids = {{"a", id_of(10)}, {"b", id_of(20)}};
  order.leaders = {{BrokerId{2}, "two.example", 9093}};
  for (std::int16_t version = 0; version <= protocol::LeaderAndIsrRequest::version_max; ++version) {
    SCOPED_TRACE(version);
    const auto sent = travel(to_message(order, version), version);
    const auto got = to_order(sent.message, version);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->head.controller, order.head.controller);
    EXPECT_EQ(got->head.controller_epoch, order.head.controller_epoch);
    EXPECT_EQ(got->head.broker_epoch.value, version >= 2 ? 77 : -1);
    EXPECT_EQ(got->topic_ids, version >= 5 ? order.topic_ids : (std::map<std::string, Uuid>{}));
    ASSERT_EQ(got->leaders.size(), 1U);
    EXPECT_EQ(got->leaders[0].host, "two.example");
    EXPECT_EQ(got->leaders[0].port, 9093);
    ASSERT_EQ(got->partitions.size(), 3U);
    for (const auto& was : order.partitions) {
      const auto now = std::ranges::find(got->partitions, was.at, &LeaderAndIsrOrder::Item::at);
      ASSERT_NE(now, got->partitions.end());
      auto expected = was.state;
      if (version < 3) expected.adding.clear(), expected.removing.clear();
      if (version < 6) expected.leader_recovery_state = 0;
      EXPECT_EQ(now->state, expected);
      EXPECT_EQ(now->is_new, version >= 1 && was.is_new);
    }
    // And the answer comes home, by name or by id.
    const controller::OrderAnswer answer = {{order.partitions[0].at, ErrorCode::NONE},
                                            {order.partitions[1].at, ErrorCode::KAFKA_STORAGE_ERROR},
                                            {order.partitions[2].at, ErrorCode::STALE_CONTROLLER_EPOCH}};
    const auto back = travel(to_message(answer, *got, version >= 5 ? version : std::int16_t{4}), version);
    const auto home = to_answer(back.message, order, version);
    ASSERT_TRUE(home);
    ASSERT_EQ(home->size(), 3U);
    for (const auto& each : answer) {
      const auto found = std::ranges::find(*home, each.at, &controller::PartitionAnswer::at);
      ASSERT_NE(found, home->end());
      EXPECT_EQ(found->error, each.error);
    }
  }
}

TEST(OrdersWire, AnAnswerToTheWholeOrderIsAnError) {
  protocol::LeaderAndIsrResponse message;
  message.error_code = static_cast<std::int16_t>(ErrorCode::STALE_CONTROLLER_EPOCH);
  const auto answer = to_answer(message, LeaderAndIsrOrder{}, 7);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::STALE_CONTROLLER_EPOCH);
}

TEST(OrdersWire, StopReplicaRemovesWhatItSaysAndNothingElse) {
  StopReplicaOrder order;
  order.head = head();
  order.partitions = {{{"a", PartitionId{0}}, LeaderEpoch{3}, true},
                      {{"a", PartitionId{1}}, LeaderEpoch{4}, false},
                      {{"b", PartitionId{0}}, LeaderEpoch{-2}, true}};
  for (std::int16_t version = 0; version <= protocol::StopReplicaRequest::version_max; ++version) {
    SCOPED_TRACE(version);
    const auto messages = to_messages(order, version);
    EXPECT_EQ(messages.size(), version < 3 ? 2U : 1U);
    std::vector<StopReplicaOrder::Item> got;
    for (const auto& message : messages) {
      const auto sent = travel(message, version);
      auto part = to_order(sent.message, version);
      ASSERT_TRUE(part);
      EXPECT_EQ(part->head.controller_epoch, order.head.controller_epoch);
      EXPECT_EQ(part->head.broker_epoch.value, version >= 1 ? 77 : -1);
      for (auto& each : part->partitions) got.push_back(std::move(each));
    }
    ASSERT_EQ(got.size(), order.partitions.size());
    for (const auto& was : order.partitions) {
      const auto now = std::ranges::find(got, was.at, &StopReplicaOrder::Item::at);
      ASSERT_NE(now, got.end());
      EXPECT_EQ(now->remove, was.remove);
      EXPECT_EQ(now->leader_epoch, version >= 3 ? was.leader_epoch : no_leader_epoch);
    }
  }
}

TEST(OrdersWire, UpdateMetadataTellsOfBrokersAndPartitions) {
  UpdateMetadataOrder order;
  order.head = head();
  auto one = std::make_shared<cluster::Broker>();
  one->id = BrokerId{1};
  one->rack = "use1-az1";
  one->endpoints = {{"PLAINTEXT", "PLAINTEXT", "one.example", 9092}, {"INSIDE", "SASL_SSL", "in.example", 9096}};
  auto two = std::make_shared<cluster::Broker>();
  two->id = BrokerId{2};
  two->endpoints = {{"PLAINTEXT", "PLAINTEXT", "::1", 9092}};
  order.brokers = {one, two};
  auto going = item("gone", 0, false);
  going.state.leader = BrokerId{controller::leader_during_delete};
  order.partitions = {item("a", 0, false), going};
  order.partitions[0].state.offline = {BrokerId{3}};
  order.topic_ids = {{"a", id_of(10)}, {"gone", id_of(20)}};
  for (std::int16_t version = 0; version <= protocol::UpdateMetadataRequest::version_max; ++version) {
    SCOPED_TRACE(version);
    const auto sent = travel(to_message(order, version), version);
    const auto got = to_order(sent.message, version);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->topic_ids, version >= 7 ? order.topic_ids : (std::map<std::string, Uuid>{}));
    EXPECT_EQ(got->head.broker_epoch.value, version >= 5 ? 77 : -1);
    ASSERT_EQ(got->brokers.size(), 2U);
    EXPECT_EQ(got->brokers[0]->rack, version >= 2 ? one->rack : std::nullopt);
    auto endpoints = one->endpoints;
    if (version == 0) endpoints.resize(1);
    if (version == 1 || version == 2) endpoints[1].listener = "SASL_SSL";  // before there were names
    EXPECT_EQ(got->brokers[0]->endpoints, endpoints);
    EXPECT_EQ(got->brokers[1]->endpoints, two->endpoints);
    ASSERT_EQ(got->partitions.size(), 2U);
    auto expected = order.partitions[0].state;
    expected.adding.clear();
    expected.removing.clear();
    expected.leader_recovery_state = 0;
    if (version < 4) expected.offline.clear();
    EXPECT_EQ(got->partitions[0].state, expected);
    EXPECT_EQ(got->partitions[1].state.leader.value, controller::leader_during_delete);
  }
}

TEST(OrdersWire, WhatCannotBeMeantIsLeftOutAndTheRestIsTaken) {
  protocol::LeaderAndIsrRequest lead;
  lead.is_kraft_controller = true;
  EXPECT_FALSE(to_order(lead, 7));
  lead.is_kraft_controller = false;
  auto& topic = lead.topic_states.emplace_back();
  topic.topic_name = "a";
  topic.partition_states.emplace_back().partition_index = -3;
  topic.partition_states.emplace_back().partition_index = 2;
  auto& unnamed = lead.topic_states.emplace_back();
  unnamed.topic_name = "a b";
  unnamed.partition_states.emplace_back().partition_index = 1;
  const auto order = to_order(lead, 7);
  ASSERT_TRUE(order);
  ASSERT_EQ(order->partitions.size(), 1U);
  EXPECT_EQ(order->partitions[0].at, (controller::PartitionRef{"a", PartitionId{2}}));
  ASSERT_EQ(order->left_out.size(), 2U);
  EXPECT_EQ(order->left_out[0].at, (controller::PartitionRef{"a", PartitionId{-3}}));
  EXPECT_EQ(order->left_out[0].error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
  EXPECT_EQ(order->left_out[1].at, (controller::PartitionRef{"a b", PartitionId{1}}));
  EXPECT_EQ(order->left_out[1].error, ErrorCode::INVALID_TOPIC_EXCEPTION);
  // What cannot be is not here: its topic's deletion goes on.
  protocol::StopReplicaRequest stop;
  stop.topic_states.emplace_back().partition_states.emplace_back();  // a topic without a name
  const auto stops = to_order(stop, 4);
  ASSERT_TRUE(stops);
  EXPECT_TRUE(stops->partitions.empty());
  ASSERT_EQ(stops->left_out.size(), 1U);
  EXPECT_EQ(stops->left_out[0].error, ErrorCode::NONE);
}

// Names of before Kafka's limit, as far as there can be a folder.
TEST(OrdersWire, LongNamesThatExistAreCarriedOut) {
  protocol::StopReplicaRequest stop;
  protocol::LeaderAndIsrRequest lead;
  const std::string name(253, 'x');
  const std::string beyond(254, 'x');
  for (const auto& each : {std::string_view(name), std::string_view(beyond)}) {
    auto& stopped = stop.topic_states.emplace_back();
    auto& led = lead.topic_states.emplace_back();
    stopped.topic_name = led.topic_name = each;
    for (const int partition : {9, 10}) {
      stopped.partition_states.emplace_back().partition_index = partition;
      led.partition_states.emplace_back().partition_index = partition;
    }
  }
  const auto stops = to_order(stop, 4);
  const auto leads = to_order(lead, 7);
  ASSERT_TRUE(stops && leads);
  ASSERT_EQ(stops->partitions.size(), 1U);
  EXPECT_EQ(stops->partitions[0].at, (controller::PartitionRef{name, PartitionId{9}}));
  ASSERT_EQ(leads->partitions.size(), 1U);
  ASSERT_EQ(leads->left_out.size(), 3U);
  EXPECT_EQ(leads->left_out[0].error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
  EXPECT_EQ(leads->left_out[1].error, ErrorCode::INVALID_TOPIC_EXCEPTION);
}

TEST(OrdersWire, VersionsFollowTheLevelOfTheCluster) {
  EXPECT_EQ(leader_and_isr_version({2, 2}), 2);
  EXPECT_EQ(leader_and_isr_version({3, 9}), 7);
  EXPECT_EQ(update_metadata_version({2, 2}), 5);
  EXPECT_EQ(stop_replica_version({2, 2}), 1);
  EXPECT_EQ(stop_replica_version({2, 6}), 3);
  EXPECT_EQ(fetch_version({2, 2}), 10);
  EXPECT_EQ(fetch_version({3, 9}), 17);
  EXPECT_EQ(offset_for_leader_epoch_version({2, 2}), 2);
}

}  // namespace
}  // namespace weir::broker
