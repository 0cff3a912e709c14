// What others than the controller say with the controller's requests.
#include "broker/orders.h"

#include <gtest/gtest.h>

#include "broker/test_running.h"
#include "protocol/messages/controlled_shutdown.h"
#include "protocol/messages/leader_and_isr.h"
#include "protocol/messages/stop_replica.h"
#include "protocol/messages/update_metadata.h"

namespace weir::broker {
namespace {

TEST(BrokerOrders, OfAControllerEpochThatThereIsNotAreRefused) {
  Running r;
  protocol::UpdateMetadataRequest far;
  far.controller_id = 1;
  far.controller_epoch = 0x7fffffff;
  const auto refused = r.client->call<protocol::UpdateMetadataResponse>(7, far);
  ASSERT_TRUE(refused);
  EXPECT_EQ(code(refused->error_code), ErrorCode::STALE_CONTROLLER_EPOCH);
  // The broker still hears its controller.
  EXPECT_EQ(r.client->create_topic("t", 2), ErrorCode::NONE);
  EXPECT_EQ(r.client->produce("t", 1, Strings{"a"}).error, ErrorCode::NONE);
}

TEST(BrokerOrders, OfAnEarlierControllerAreRefused) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t", 1), ErrorCode::NONE);
  protocol::StopReplicaRequest old;
  old.controller_id = 7;
  old.controller_epoch = 0;
  auto& topic = old.topic_states.emplace_back();
  topic.topic_name = "t";
  topic.partition_states.emplace_back().delete_partition = true;
  const auto refused = r.client->call<protocol::StopReplicaResponse>(3, old);
  ASSERT_TRUE(refused);
  EXPECT_EQ(code(refused->error_code), ErrorCode::STALE_CONTROLLER_EPOCH);
  EXPECT_EQ(r.client->produce("t", 0, Strings{"a"}).error, ErrorCode::NONE);
}

// This broker was away while a partition was moved to others: StopReplica never reached it.
TEST(BrokerOrders, APartitionThatIsElsewhereNowIsLedNoLonger) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t", 2), ErrorCode::NONE);
  ASSERT_EQ(r.client->produce("t", 0, Strings{"a"}).error, ErrorCode::NONE);
  protocol::UpdateMetadataRequest word;
  word.controller_id = 1;
  word.controller_epoch = 1;
  auto& broker = word.live_brokers.emplace_back();
  broker.id = 1;
  auto& endpoint = broker.endpoints.emplace_back();
  endpoint.host = "127.0.0.1";
  endpoint.port = 9092;
  endpoint.listener = "PLAINTEXT";
  auto& topic = word.topic_states.emplace_back();
  topic.topic_name = "t";
  topic.topic_id = r.metadata("t").topic_id;
  auto& moved = topic.partition_states.emplace_back();
  moved.controller_epoch = 1;
  moved.leader = 2;
  moved.replicas = moved.isr = {2};
  moved.leader_epoch = 0;
  const auto tell = [&] {
    const auto answer = r.client->call<protocol::UpdateMetadataResponse>(7, word);
    ASSERT_TRUE(answer);
    EXPECT_EQ(code(answer->error_code), ErrorCode::NONE);
  };
  tell();
  EXPECT_EQ(r.client->produce("t", 0, Strings{"b"}).error, ErrorCode::NONE) << "word of the same epoch is old word";
  moved.leader_epoch = 3;
  tell();
  EXPECT_EQ(r.client->produce("t", 0, Strings{"c"}).error, ErrorCode::NOT_LEADER_OR_FOLLOWER);
  EXPECT_EQ(r.client->produce("t", 1, Strings{"c"}).error, ErrorCode::NONE) << "the others stay";
  EXPECT_TRUE(*r.cluster.world.files().exists("/data/t-0")) << "the controller says when it goes";
}

// One topic's node with a name that nobody can use is not to hide all others.
TEST(BrokerOrders, NamesAndNumbersThatCannotBeAreLeftOutOfAnOrder) {
  Running r;
  ASSERT_EQ(r.client->create_topic("here", 1), ErrorCode::NONE);
  protocol::UpdateMetadataRequest far;
  far.controller_id = 1;
  far.controller_epoch = 1;
  auto& live = far.live_brokers.emplace_back();
  live.id = 1;
  auto& endpoint = live.endpoints.emplace_back();
  endpoint.host = "127.0.0.1";
  endpoint.port = 9092;
  endpoint.listener = "PLAINTEXT";
  const auto name = [&](std::string_view topic, std::int32_t partition) {
    auto& to = far.topic_states.emplace_back();
    to.topic_name = topic;
    to.topic_id.bytes[3] = static_cast<std::uint8_t>(far.topic_states.size());
    auto& state = to.partition_states.emplace_back();
    state.partition_index = partition;
    state.controller_epoch = 1;
    state.leader = 1;
    state.isr = state.replicas = {1};
  };
  name("t", 0x7fffffff);
  name("../../x", 0);
  name("a b", 0);
  name("good", 0);
  const auto answer = r.client->call<protocol::UpdateMetadataResponse>(7, far);
  ASSERT_TRUE(answer);
  EXPECT_EQ(code(answer->error_code), ErrorCode::NONE);
  EXPECT_EQ(code(r.metadata("good", false).error_code), ErrorCode::NONE);
  EXPECT_EQ(code(r.metadata("here", false).error_code), ErrorCode::NONE);
  EXPECT_EQ(code(r.metadata("t", false).error_code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

TEST(BrokerOrders, OfBrokersAreTakenOnTheirListenerOnly) {
  Running r({{"listeners", "CLIENT://127.0.0.1:9092,INSIDE://127.0.0.1:9093"},
             {"listener.security.protocol.map", "CLIENT:PLAINTEXT,INSIDE:PLAINTEXT"},
             {"inter.broker.listener.name", "INSIDE"}});
  protocol::ControlledShutdownRequest request;
  request.broker_id = 1;
  EXPECT_FALSE(r.client->call<protocol::ControlledShutdownResponse>(3, request));
  EXPECT_TRUE(r.client->ended());
}

}  // namespace
}  // namespace weir::broker
