#include "client/client.h"

#include <gtest/gtest.h>

#include "client/fake_broker.h"
#include "protocol/messages/create_topics.h"
#include "protocol/messages/fetch.h"
#include "protocol/messages/find_coordinator.h"
#include "protocol/messages/heartbeat.h"
#include "protocol/messages/list_offsets.h"
#include "protocol/messages/metadata.h"
#include "protocol/messages/produce.h"
#include "record/builder.h"
#include "runtime/sim.h"

namespace weir::client {
namespace {

using runtime::SimWorld;
using runtime::Task;

class ClientTest : public testing::Test {
 protected:
  SimWorld world{3};
  runtime::Shard& shard{world.shard()};
  FakeBroker broker{shard, world.sockets()};
  runtime::Scope scope{shard};

  // Runs a test's coroutine, then stops broker and scope.
  void run(std::function<Task<void>()> body) {
    runtime::block_on(shard, [this, &body]() -> Task<void> { return whole(body); });
  }
  Task<void> whole(std::function<Task<void>()>& body) {
    broker.start();
    co_await body();
    co_await broker.stop();
    co_await scope.stop();
  }
  Task<Result<std::shared_ptr<Connection>>> open(ConnectionOptions options = {}) {
    auto at = broker.address();
    co_return co_await Connection::open(shard, scope, world.sockets(), std::move(at), std::move(options));
  }
  static FakeBroker::Handler heartbeats(std::int16_t error = 0) {
    return [error](const FakeBroker::Request& request) {
      protocol::HeartbeatResponse response;
      response.error_code = error;
      return std::optional(request.answer(response));
    };
  }
  // A cluster of this one broker, as number 1, leading everything but what `leader` says.
  std::int32_t leader = 1;
  std::int16_t topic_error = 0;
  FakeBroker::Handler metadata() {
    return [this](const FakeBroker::Request& request) {
      protocol::MetadataResponse response;
      auto& b = response.brokers.emplace_back();
      b.node_id = 1;
      b.host = broker.address().host;
      b.port = broker.address().port;
      response.cluster_id = "cluster";
      response.controller_id = 1;
      const auto wire = request.as<protocol::MetadataRequest>();
      if (wire.topics) {
        for (const auto& t : *wire.topics) {
          auto& topic = response.topics.emplace_back();
          topic.name = t.name;
          topic.error_code = topic_error;
          if (topic_error != 0) continue;
          auto& p = topic.partitions.emplace_back();
          p.leader_id = leader;
          p.replica_nodes = {1};
        }
      }
      EXPECT_FALSE(wire.allow_auto_topic_creation);
      return std::optional(request.answer(response));
    };
  }
};

Task<void> heartbeat(std::shared_ptr<Connection> connection, std::vector<std::string>& log, std::string name) {
  protocol::HeartbeatRequest request;
  request.group_id = name;
  auto answer = co_await connection->call<protocol::HeartbeatResponse>(std::move(request));
  log.push_back(name + ":" +
                (answer ? std::to_string(answer->message.error_code) : std::string(weir::name(answer.error().code))));
}

TEST_F(ClientTest, TheHighestCommonVersionIsUsed) {
  broker.handlers[12] = heartbeats(27);
  broker.versions[12] = {1, 2};
  run([this]() -> Task<void> {
    auto connection = co_await open();
    EXPECT_TRUE(connection);
    protocol::HeartbeatRequest request;
    auto answer = co_await (*connection)->call<protocol::HeartbeatResponse>(std::move(request));
    EXPECT_TRUE(answer);
    EXPECT_EQ(answer->version, 2);
    EXPECT_EQ(answer->message.error_code, 27);
    protocol::HeartbeatRequest again;
    const Versions newer{3, 4};
    auto refused = co_await (*connection)->call<protocol::HeartbeatResponse>(std::move(again), newer);
    EXPECT_EQ(refused.error().code, ErrorCode::UNSUPPORTED_VERSION);
    protocol::FetchRequest other;
    auto unknown = co_await (*connection)->call<protocol::FetchResponse>(std::move(other));
    EXPECT_EQ(unknown.error().code, ErrorCode::UNSUPPORTED_VERSION);
    (*connection)->close();
  });
}

TEST_F(ClientTest, OldBrokersAreAskedInTheirOwnVersion) {
  broker.handlers[12] = heartbeats();
  broker.versions[18] = {0, 1};
  run([this]() -> Task<void> {
    auto connection = co_await open();
    EXPECT_TRUE(connection);
    EXPECT_EQ(broker.seen.size(), 2u);
    EXPECT_EQ(broker.seen.back().second, 1);
    (*connection)->close();
  });
}

TEST_F(ClientTest, RequestsArePipelined) {
  std::vector<std::function<void()>> answers;
  int waiting = 0;
  std::vector<FakeBroker::Request> requests;
  broker.handlers[12] = [&](const FakeBroker::Request& request) -> std::optional<bytes::Shared> {
    // Nothing is answered before all three are there.
    requests.push_back(request);
    if (++waiting < 3) return std::nullopt;
    std::string all;
    for (std::int16_t i = 0; i < 3; ++i) {
      protocol::HeartbeatResponse response;
      response.error_code = i;
      all += requests[static_cast<std::size_t>(i)].answer(response).text();
    }
    return bytes::Shared::copy(all);
  };
  run([this]() -> Task<void> {
    auto connection = co_await open();
    std::vector<std::string> log;
    for (const auto* n : {"a", "b", "c"}) scope.spawn(heartbeat(*connection, log, n));
    co_await runtime::sleep(shard, seconds(1));
    EXPECT_EQ(log, (std::vector<std::string>{"a:0", "b:1", "c:2"}));
    (*connection)->close();
  });
}

TEST_F(ClientTest, MoreThanMayBeInFlightWaitForTheirTurn) {
  std::size_t most = 0;
  std::shared_ptr<Connection> made;
  broker.handlers[12] = [&](const FakeBroker::Request& request) -> std::optional<bytes::Shared> {
    most = std::max(most, made->in_flight());
    return request.answer(protocol::HeartbeatResponse());
  };
  run([this, &made, &most]() -> Task<void> {
    ConnectionOptions options;
    options.in_flight_max = 2;
    auto connection = co_await open(std::move(options));
    made = *connection;
    std::vector<std::string> log;
    for (int i = 0; i < 20; ++i) scope.spawn(heartbeat(made, log, std::to_string(i)));
    co_await runtime::sleep(shard, seconds(5));
    EXPECT_EQ(log.size(), 20u);
    EXPECT_LE(most, 2u);
    made->close();
  });
}

TEST_F(ClientTest, ASilentBrokerIsGivenUpAfterTheTimeout) {
  broker.handlers[12] = [](const FakeBroker::Request&) { return std::optional<bytes::Shared>(); };
  run([this]() -> Task<void> {
    ConnectionOptions options;
    options.request_timeout = milliseconds(500);
    auto connection = co_await open(std::move(options));
    const auto before = shard.clock().mono();
    std::vector<std::string> log;
    scope.spawn(heartbeat(*connection, log, "a"));
    co_await runtime::sleep(shard, milliseconds(100));
    scope.spawn(heartbeat(*connection, log, "b"));
    co_await runtime::sleep(shard, seconds(2));
    EXPECT_EQ(log, (std::vector<std::string>{"a:REQUEST_TIMED_OUT", "b:NETWORK_EXCEPTION"}));
    EXPECT_TRUE((*connection)->closed());
    EXPECT_GE(shard.clock().mono() - before, milliseconds(500));
    co_await heartbeat(*connection, log, "c");
    EXPECT_EQ(log.back(), "c:NETWORK_EXCEPTION");
  });
}

TEST_F(ClientTest, AnswersThatLieCloseTheConnection) {
  const std::vector<std::string> lies = {
      std::string("\x7f\xff\xff\xff", 4),  // 2 GiB announced
      std::string("\xff\xff\xff\xff", 4),  // -1
      std::string("\0\0\0\0", 4),          // no room for a correlation id
      std::string("\0\0\0\4\0\1\2\3", 8),  // nobody asked
  };
  for (const auto& lie : lies) {
    SCOPED_TRACE(testing::PrintToString(lie));
    SimWorld w{5};
    FakeBroker b(w.shard(), w.sockets());
    runtime::Scope s(w.shard());
    b.handlers[12] = [&](const FakeBroker::Request&) { return std::optional(bytes::Shared::copy(lie)); };
    auto body = [&]() -> Task<void> {
      b.start();
      auto at = b.address();
      ConnectionOptions options;
      auto connection = co_await Connection::open(w.shard(), s, w.sockets(), std::move(at), std::move(options));
      std::vector<std::string> log;
      co_await heartbeat(*connection, log, "a");
      EXPECT_EQ(log.at(0), "a:NETWORK_EXCEPTION");
      EXPECT_TRUE((*connection)->closed());
      co_await b.stop();
      co_await s.stop();
    };
    runtime::block_on(w.shard(), [&body] { return body(); });
  }
}

TEST_F(ClientTest, AnAnswerThatEndsEarlyIsCorrupt) {
  broker.handlers[12] = [](const FakeBroker::Request& request) {
    auto whole = request.answer(protocol::HeartbeatResponse());
    auto cut = bytes::Shared::copy(whole.view().first(whole.size() - 2));
    bytes::store_big(cut.mutable_view().data(), static_cast<std::int32_t>(cut.size() - 4));
    return std::optional(cut);
  };
  run([this]() -> Task<void> {
    auto connection = co_await open();
    std::vector<std::string> log;
    co_await heartbeat(*connection, log, "a");
    EXPECT_EQ(log.at(0), "a:CORRUPT_MESSAGE");
    EXPECT_TRUE((*connection)->closed());
  });
}

TEST_F(ClientTest, AnswersArriveInAnyPieces) {
  world.sockets().set_read_max(1);
  broker.handlers[12] = heartbeats(3);
  run([this]() -> Task<void> {
    auto connection = co_await open();
    std::vector<std::string> log;
    co_await heartbeat(*connection, log, "a");
    EXPECT_EQ(log.at(0), "a:3");
    (*connection)->close();
  });
}

// ---- the cluster

class ClusterTest : public ClientTest {
 protected:
  std::unique_ptr<Client> client;

  void run_client(std::function<Task<void>()> body, Options options = {}) {
    broker.handlers[3] = metadata();
    run([this, &body, &options]() -> Task<void> { return with_client(body, options); });
  }
  Task<void> with_client(std::function<Task<void>()>& body, Options& options) {
    auto bootstrap = std::vector<runtime::Address>{broker.address()};
    client = std::make_unique<Client>(shard, world.sockets(), world.random(), options, std::move(bootstrap));
    co_await body();
    co_await client->stop();
    client.reset();
  }
  static bytes::Shared batch() {
    record::NewRecord r;
    r.timestamp = 1;
    r.value = bytes::as_bytes("value");
    return record::batch_of(std::span(&r, 1));
  }
  std::vector<std::int16_t> produce_errors;  // for one try after the other; then success
  std::size_t produced = 0;
  FakeBroker::Handler produces() {
    return [this](const FakeBroker::Request& request) -> std::optional<bytes::Shared> {
      const auto wire = request.as<protocol::ProduceRequest>();
      EXPECT_LE(request.version(), 12);
      EXPECT_EQ(bytes::as_text(wire.topic_data.at(0).partition_data.at(0).records.view), batch().text());
      const auto n = produced++;
      if (wire.acks == 0) return std::nullopt;
      protocol::ProduceResponse response;
      auto& t = response.responses.emplace_back();
      t.name = wire.topic_data[0].name;
      auto& p = t.partition_responses.emplace_back();
      p.index = wire.topic_data[0].partition_data[0].index;
      p.base_offset = 42;
      if (n < produce_errors.size()) p.error_code = produce_errors[n];
      return request.answer(response);
    };
  }
};

TEST_F(ClusterTest, TheClusterIsSeen) {
  run_client([this]() -> Task<void> {
    auto names = std::vector<std::string>{"t"};
    auto topics = std::optional(std::move(names));
    auto seen = co_await client->refresh(std::move(topics));
    EXPECT_TRUE(seen);
    EXPECT_EQ(seen->cluster_id, "cluster");
    EXPECT_EQ(seen->controller, BrokerId{1});
    EXPECT_EQ(seen->brokers.at(BrokerId{1}), broker.address());
    EXPECT_EQ(seen->topics.at("t").partitions.at(PartitionId{0}).leader, BrokerId{1});
    auto missing = co_await client->broker(BrokerId{9});
    EXPECT_EQ(missing.error().code, ErrorCode::BROKER_NOT_AVAILABLE);
  });
}

TEST_F(ClusterTest, ProducesAndTriesAgainWhereTheLeaderMoved) {
  broker.handlers[0] = produces();
  produce_errors = {6, 5, 3};  // not leader, no leader, unknown
  run_client([this]() -> Task<void> {
    auto records = batch();
    const auto offset = co_await client->produce("t", PartitionId{0}, std::move(records));
    EXPECT_EQ(offset, Offset{42});
    EXPECT_EQ(produced, 4u);
    std::size_t asked = 0;
    for (const auto& [api, version] : broker.seen) asked += api == 3 ? 1 : 0;
    EXPECT_GE(asked, 4u) << "leaders are looked up anew";
  });
}

TEST_F(ClusterTest, ErrorsThatDoNotPassAreToldAtOnce) {
  broker.handlers[0] = produces();
  produce_errors = {10};
  run_client([this]() -> Task<void> {
    auto records = batch();
    const auto offset = co_await client->produce("t", PartitionId{0}, std::move(records));
    EXPECT_EQ(offset.error().code, ErrorCode::MESSAGE_TOO_LARGE);
    EXPECT_EQ(produced, 1u);
  });
}

TEST_F(ClusterTest, RetriesEndAfterTheirTime) {
  leader = -1;
  broker.handlers[0] = produces();
  Options options;
  options.retry_timeout = seconds(10);
  run_client(
      [this]() -> Task<void> {
        const auto before = shard.clock().mono();
        auto records = batch();
        const auto offset = co_await client->produce("t", PartitionId{0}, std::move(records));
        EXPECT_EQ(offset.error().code, ErrorCode::LEADER_NOT_AVAILABLE);
        EXPECT_LE(shard.clock().mono() - before, seconds(10));
        EXPECT_GE(shard.clock().mono() - before, seconds(8));
      },
      options);
}

TEST_F(ClusterTest, WithoutAcksNothingIsAwaited) {
  broker.handlers[0] = produces();
  run_client([this]() -> Task<void> {
    auto records = batch();
    const auto offset = co_await client->produce("t", PartitionId{0}, std::move(records), 0);
    EXPECT_EQ(offset, no_offset);
    co_await runtime::sleep(shard, seconds(1));
    EXPECT_EQ(produced, 1u);
  });
}

TEST_F(ClusterTest, FetchesAndListsOffsets) {
  broker.handlers[1] = [](const FakeBroker::Request& request) {
    const auto wire = request.as<protocol::FetchRequest>();
    EXPECT_EQ(wire.session_epoch, -1) << "no session";
    protocol::FetchResponse response;
    auto& t = response.responses.emplace_back();
    t.topic = wire.topics.at(0).topic;
    auto& p = t.partitions.emplace_back();
    p.partition_index = wire.topics[0].partitions.at(0).partition;
    p.high_watermark = wire.topics[0].partitions[0].fetch_offset + 1;
    const auto records = batch();
    p.records = protocol::Records::in_memory(records.view());
    return std::optional(request.answer(response));
  };
  broker.handlers[2] = [](const FakeBroker::Request& request) {
    const auto wire = request.as<protocol::ListOffsetsRequest>();
    protocol::ListOffsetsResponse response;
    auto& t = response.topics.emplace_back();
    t.name = wire.topics.at(0).name;
    t.partitions.emplace_back().offset = wire.topics[0].partitions.at(0).timestamp == earliest_offset ? 5 : 9;
    return std::optional(request.answer(response));
  };
  run_client([this]() -> Task<void> {
    const auto fetched = co_await client->fetch("t", PartitionId{0}, Offset{7});
    EXPECT_TRUE(fetched);
    EXPECT_EQ(fetched->high_watermark, Offset{8});
    EXPECT_EQ(fetched->records.text(), batch().text());
    EXPECT_EQ(co_await client->list_offset("t", PartitionId{0}, earliest_offset), Offset{5});
    EXPECT_EQ(co_await client->list_offset("t", PartitionId{0}, latest_offset), Offset{9});
  });
}

TEST_F(ClusterTest, TopicsAreCreatedByTheController) {
  int tries = 0;
  broker.handlers[19] = [&](const FakeBroker::Request& request) {
    const auto wire = request.as<protocol::CreateTopicsRequest>();
    EXPECT_EQ(wire.topics.at(0).configs.at(0).value, "compact");
    protocol::CreateTopicsResponse response;
    auto& t = response.topics.emplace_back();
    t.name = wire.topics[0].name;
    t.error_code = tries++ == 0 ? std::int16_t{41} : std::int16_t{36};  // not the controller; then: exists
    return std::optional(request.answer(response));
  };
  run_client([this]() -> Task<void> {
    NewTopic topic;
    topic.name = "new";
    topic.configs.emplace_back("cleanup.policy", "compact");
    const auto made = co_await client->create_topic(std::move(topic));
    EXPECT_EQ(made.error().code, ErrorCode::TOPIC_ALREADY_EXISTS);
  });
  EXPECT_EQ(tries, 2);
}

TEST_F(ClusterTest, ABrokerThatComesBackIsFoundAgain) {
  broker.handlers[0] = produces();
  run_client([this]() -> Task<void> {
    auto first = batch();
    EXPECT_TRUE(co_await client->produce("t", PartitionId{0}, std::move(first)));
    co_await broker.stop();
    world.after(seconds(20), [this] { shard.post([this] { broker.start(); }); });
    const auto before = shard.clock().mono();
    auto second = batch();
    const auto offset = co_await client->produce("t", PartitionId{0}, std::move(second));
    EXPECT_EQ(offset, Offset{42});
    EXPECT_GE(shard.clock().mono() - before, seconds(20));
    EXPECT_LE(shard.clock().mono() - before, seconds(25)) << "the back-off stays small";
  });
}

TEST_F(ClusterTest, ConnectionsAreTriedWithABackOffNotInALoop) {
  broker.handlers[0] = produces();
  std::size_t accepted = 0;
  broker.handlers[18] = [](const FakeBroker::Request&) { return std::optional(bytes::Shared()); };  // closes
  Options options;
  options.retry_timeout = seconds(30);
  run_client(
      [this, &accepted]() -> Task<void> {
        auto records = batch();
        const auto offset = co_await client->produce("t", PartitionId{0}, std::move(records));
        EXPECT_EQ(offset.error().code, ErrorCode::NETWORK_EXCEPTION);
        accepted = broker.accepted;
      },
      options);
  EXPECT_GE(accepted, 10u);
  EXPECT_LE(accepted, 60u) << "30 s with a back-off of up to a second";
}

TEST_F(ClusterTest, ManyAtOnceShareOneConnection) {
  broker.handlers[0] = produces();
  run_client([this]() -> Task<void> {
    std::size_t done = 0;
    // A function of its own: a lambda's captures would go before its coroutine ends.
    struct One {
      static Task<void> run(Client& client, std::size_t& done) {
        auto records = batch();
        EXPECT_TRUE(co_await client.produce("t", PartitionId{0}, std::move(records)));
        ++done;
      }
    };
    for (int i = 0; i < 50; ++i) scope.spawn(One::run(*client, done));
    co_await runtime::sleep(shard, seconds(10));
    EXPECT_EQ(done, 50u);
    EXPECT_LE(broker.accepted, 2u) << "one for the bootstrap address, one for the broker";
  });
}

TEST_F(ClusterTest, StoppingEndsWhatWaits) {
  broker.handlers[0] = [](const FakeBroker::Request&) { return std::optional<bytes::Shared>(); };  // silent
  std::vector<ErrorCode> errors;
  run_client([this, &errors]() -> Task<void> {
    struct One {
      static Task<void> run(Client& client, std::vector<ErrorCode>& errors) {
        auto records = batch();
        const auto offset = co_await client.produce("t", PartitionId{0}, std::move(records));
        errors.push_back(offset ? ErrorCode::NONE : offset.error().code);
      }
    };
    scope.spawn(One::run(*client, errors));
    co_await runtime::sleep(shard, seconds(1));
    const auto before = shard.clock().mono();
    co_await client->stop();
    EXPECT_LT(shard.clock().mono() - before, seconds(1));
    EXPECT_EQ(errors, (std::vector<ErrorCode>{ErrorCode::NETWORK_EXCEPTION}));
  });
}

}  // namespace
}  // namespace weir::client
