// A whole broker in a simulated world, and a client that speaks to it in messages; for the tests of this room.
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/broker.h"
#include "broker/test_slow_zk.h"
#include "config/broker_config.h"
#include "metrics/registry.h"
#include "protocol/frame.h"
#include "protocol/messages/create_topics.h"
#include "protocol/messages/fetch.h"
#include "protocol/messages/produce.h"
#include "record/builder.h"
#include "runtime/sim.h"
#include "zkclient/memory.h"

namespace weir::broker {

using runtime::Task;

struct Cluster {
  explicit Cluster(config::Properties extra = {}, std::uint64_t seed = 1, std::size_t shards = 1)
      : world(seed, shards), scope(world.shard(0)), tree(zkclient::MemoryTree::make()) {
    properties = {{"broker.id", "1"},
                  {"listeners", "PLAINTEXT://127.0.0.1:9092"},
                  {"log.dirs", "/data"},
                  {"zookeeper.connect", "memory:2181"},
                  {"offsets.topic.replication.factor", "1"},
                  {"offsets.topic.num.partitions", "3"},
                  {"group.initial.rebalance.delay.ms", "0"}};
    for (auto& [key, value] : extra) properties[key] = value;
  }
  ~Cluster() {
    stop();
    run([this]() -> Task<void> { co_await scope.stop(); });
  }

  void run(std::move_only_function<Task<void>()> fn) { runtime::block_on(world.shard(0), std::move(fn)); }

  Result<> start() {
    config::BrokerLayers layers;
    layers.file = properties;
    auto loaded = config::load_broker_config(layers);
    if (!loaded) return fail(ErrorCode::INVALID_CONFIG, loaded.error().front());
    registry = std::make_unique<metrics::Registry>();
    Environment env;
    env.shards = world.all();
    env.pool = &world.pool();
    env.files = &world.files();
    env.sockets = &world.sockets();
    env.clock = &world.clock();
    env.random = &world.random();
    env.metrics = registry.get();
    env.failed = [this](const std::string& why) { failed = why; };
    env.connect = [this](zkclient::RealOptions options) -> Result<std::unique_ptr<zkclient::Zk>> {
      auto made = tree->connect(options.session_timeout);
      session_id = made->session_id();
      return std::make_unique<SlowZk>(std::move(made), zk_latency);
    };
    broker = std::make_unique<Broker>(std::move(env), std::move(layers), std::move(loaded->config));
    Result<> result;
    run([&]() -> Task<void> { result = co_await broker->start(); });
    return result;
  }
  void stop() {
    if (!broker) return;
    run([this]() -> Task<void> { co_await broker->stop(); });
    broker.reset();
    registry.reset();
  }
  // Power fails. What the old process would still do reaches no disk; its session ends.
  void crash(bool lose_nothing = false) {
    world.files().crash(lose_nothing);
    world.files().set_fault([](auto, const auto&) { return EIO; });
    stop();
    world.files().set_fault(nullptr);
  }

  std::int64_t in_flight() { return registry->gauge("weir_requests_in_flight", "").value(); }
  std::uint64_t malformed() { return registry->counter("weir_requests_malformed_total", "").value(); }
  std::uint64_t unsupported() { return registry->counter("weir_requests_unsupported_total", "").value(); }

  bytes::Shared batch(const std::vector<std::string>& values, record::BatchOptions options = {}) {
    record::Builder builder(options);
    for (const auto& value : values) {
      builder.append(
          {.timestamp = world.clock().wall().count(), .key = {}, .value = bytes::as_bytes(value), .headers = {}});
    }
    return *builder.build();
  }

  runtime::SimWorld world;
  runtime::Scope scope;  // of the clients' own tasks
  std::shared_ptr<zkclient::MemoryTree> tree;
  config::Properties properties;
  std::unique_ptr<metrics::Registry> registry;
  std::unique_ptr<Broker> broker;
  std::int64_t session_id = 0;
  std::string failed;                        // why the broker could not go on
  nanoseconds zk_latency = milliseconds(1);  // of each call of the coordination service, each way
};

// An answer, with the memory its views point into. Without one when the connection ended instead.
template <class Message>
struct Answer {
  bytes::Shared frame;
  std::int32_t correlation_id = -1;
  std::optional<Message> message;

  explicit operator bool() const { return message.has_value(); }
  const Message* operator->() const { return &*message; }
};

struct Fetched {
  ErrorCode error = ErrorCode::UNKNOWN_SERVER_ERROR;
  std::int64_t high_watermark = -1;
  std::int64_t log_start = -1;
  std::vector<std::string> values;
};
struct Produced {
  ErrorCode error = ErrorCode::NETWORK_EXCEPTION;  // unless it was answered
  std::int64_t base_offset = -1;
};

// One connection. Its calls wait (the world runs meanwhile).
class Client {
 public:
  explicit Client(Cluster& cluster) : cluster_(cluster) {
    cluster_.run([this]() -> Task<void> {
      const runtime::Address to{"127.0.0.1", 9092};
      auto socket = co_await cluster_.world.sockets().connect(cluster_.world.shard(0), to, {});
      EXPECT_TRUE(socket);
      if (socket) socket_ = std::move(*socket);
    });
  }
  void close() { socket_.reset(); }

  template <class Message>
  bytes::Shared encode(std::int16_t version, const Message& message, std::string_view client_id = "test") {
    protocol::RequestHeader header;
    header.request_api_key = Message::api_key;
    header.request_api_version = version;
    header.correlation_id = ++correlation_;
    header.client_id = client_id;
    return protocol::encode_request(header, message).memory;
  }
  // The correlation id it was given.
  template <class Message>
  std::int32_t send(std::int16_t version, const Message& message, std::string_view client_id = "test") {
    send_bytes(encode(version, message, client_id));
    return correlation_;
  }
  void send_bytes(bytes::Shared bytes) {
    cluster_.run([&]() -> Task<void> { co_await write(bytes); });
  }
  // In the background, when the peer may not take it all.
  void send_behind(bytes::Shared bytes) {
    cluster_.run([&]() -> Task<void> {
      cluster_.scope.spawn(write(bytes));
      co_return;
    });
  }

  Task<void> write(bytes::Shared bytes) {
    std::vector<runtime::Chunk> chunks;
    chunks.push_back({.memory = bytes});
    co_await socket_->write(std::move(chunks));
  }

  // The next answer whole; empty at the end of the stream.
  bytes::Shared receive() {
    bytes::Shared frame;
    cluster_.run([&]() -> Task<void> {
      auto head = co_await read(4);
      if (head.size() < 4) co_return;
      const auto size = bytes::load_big<std::int32_t>(head.data());
      frame = co_await read(static_cast<std::size_t>(size));
    });
    return frame;
  }
  // The peer closed: nothing comes any more.
  bool ended() { return receive().empty(); }
  static std::int32_t correlation_of(const bytes::Shared& frame) {
    return frame.size() < 4 ? -1 : bytes::load_big<std::int32_t>(frame.data());
  }

  template <class Message>
  Answer<Message> receive_as(std::int16_t version) {
    Answer<Message> answer;
    answer.frame = receive();
    if (answer.frame.empty()) return answer;
    bytes::Reader in(answer.frame.view());
    protocol::ResponseHeader header;
    EXPECT_TRUE(protocol::decode_response_header(in, Message::api_key, version, header));
    answer.correlation_id = header.correlation_id;
    Message message;
    EXPECT_TRUE(decode(in, version, message) && in.ok());
    EXPECT_EQ(in.left(), 0U);
    answer.message = std::move(message);
    return answer;
  }
  template <class Out, class In>
  Answer<Out> call(std::int16_t version, const In& message, std::string_view client_id = "test") {
    static_assert(Out::api_key == In::api_key);
    const auto id = send(version, message, client_id);
    auto answer = receive_as<Out>(version);
    if (answer) EXPECT_EQ(answer.correlation_id, id);
    return answer;
  }

  // ---- the requests that most tests need

  static protocol::ProduceRequest produce_request(std::string_view topic, int partition, const bytes::Shared& records,
                                                  int acks) {
    protocol::ProduceRequest in;
    in.acks = static_cast<std::int16_t>(acks);
    in.timeout_ms = 30'000;
    auto& to = in.topic_data.emplace_back();
    to.name = topic;
    auto& data = to.partition_data.emplace_back();
    data.index = partition;
    data.records = protocol::Records::in_memory(records.view());
    return in;
  }
  Produced produce(std::string_view topic, int partition, const bytes::Shared& records, int acks = -1) {
    auto out = call<protocol::ProduceResponse>(9, produce_request(topic, partition, records, acks));
    if (!out) return {};
    const auto& result = out->responses.at(0).partition_responses.at(0);
    EXPECT_EQ(out->responses.at(0).name, topic);
    EXPECT_EQ(result.index, partition);
    return {static_cast<ErrorCode>(result.error_code), result.base_offset};
  }
  Produced produce(std::string_view topic, int partition, const std::vector<std::string>& values, int acks = -1) {
    return produce(topic, partition, cluster_.batch(values), acks);
  }

  static protocol::FetchRequest fetch_request(std::string_view topic, int partition, std::int64_t offset,
                                              int max_wait_ms = 0, int min_bytes = 1) {
    protocol::FetchRequest in;
    in.max_wait_ms = max_wait_ms;
    in.min_bytes = min_bytes;
    in.max_bytes = 1 << 20;
    auto& to = in.topics.emplace_back();
    to.topic = topic;
    auto& asked = to.partitions.emplace_back();
    asked.partition = partition;
    asked.fetch_offset = offset;
    asked.partition_max_bytes = 1 << 20;
    return in;
  }
  static Fetched fetched(const protocol::FetchResponse& out) {
    Fetched result;
    if (out.error_code != 0) {
      result.error = static_cast<ErrorCode>(out.error_code);
      return result;
    }
    const auto& data = out.responses.at(0).partitions.at(0);
    result.error = static_cast<ErrorCode>(data.error_code);
    result.high_watermark = data.high_watermark;
    result.log_start = data.log_start_offset;
    record::Batches batches(data.records.view);
    while (auto batch = batches.next()) {
      record::RecordIterator records(*batch);
      while (const auto* record = records.next()) result.values.emplace_back(bytes::as_text(*record->value));
    }
    return result;
  }
  Fetched fetch(std::string_view topic, int partition, std::int64_t offset, int max_wait_ms = 0) {
    auto out = call<protocol::FetchResponse>(12, fetch_request(topic, partition, offset, max_wait_ms));
    return out ? fetched(*out.message) : Fetched{};
  }

  ErrorCode create_topic(std::string_view name, int partitions = 1,
                         const std::vector<std::pair<std::string, std::string>>& configs = {}, int replicas = 1) {
    protocol::CreateTopicsRequest in;
    auto& topic = in.topics.emplace_back();
    topic.name = name;
    topic.num_partitions = partitions;
    topic.replication_factor = static_cast<std::int16_t>(replicas);
    for (const auto& [key, value] : configs) {
      auto& config = topic.configs.emplace_back();
      config.name = key;
      config.value = value;
    }
    auto out = call<protocol::CreateTopicsResponse>(7, in);
    return out ? static_cast<ErrorCode>(out->topics.at(0).error_code) : ErrorCode::NETWORK_EXCEPTION;
  }

 private:
  Task<bytes::Shared> read(std::size_t size) {
    auto memory = bytes::Shared::allocate(size);
    std::size_t got = 0;
    while (got < size) {
      auto n = co_await socket_->read_some(memory.mutable_view().subspan(got));
      if (!n || *n == 0) break;
      got += *n;
    }
    co_return memory.sub(0, got);
  }

  Cluster& cluster_;
  std::unique_ptr<runtime::Socket> socket_;
  std::int32_t correlation_ = 0;
};

}  // namespace weir::broker
