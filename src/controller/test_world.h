// For this room's tests: a coordination service in memory, brokers that write down their orders, and a controller.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "controller/admin.h"
#include "controller/drive/controller.h"
#include "controller/register.h"
#include "runtime/random.h"
#include "runtime/shard.h"
#include "zkclient/faulty.h"
#include "zkclient/memory.h"
#include "zkclient/patient.h"

namespace weir::controller {

namespace layout = zkwire::layout;
using namespace std::chrono_literals;
using zkclient::Watch;

// All brokers of the world: they do what they are told, and remember it.
class FakeBrokers : public BrokerLink {
 public:
  Task<Result<OrderAnswer>> leader_and_isr(BrokerId to, LeaderAndIsrOrder order) override {
    OrderAnswer answer;
    for (const auto& item : order.partitions) {
      const bool bad = broken_directory == to;
      answer.push_back({item.at, bad ? ErrorCode::KAFKA_STORAGE_ERROR : ErrorCode::NONE});
    }
    led.emplace_back(to, std::move(order));
    co_return answer;
  }
  Task<Result<>> update_metadata(BrokerId to, UpdateMetadataOrder order) override {
    if (refuse_metadata > 0) {
      --refuse_metadata;
      co_return fail(ErrorCode::NETWORK_EXCEPTION, "lost");
    }
    told.emplace_back(to, std::move(order));
    co_return Result<>();
  }
  Task<Result<OrderAnswer>> stop_replica(BrokerId to, StopReplicaOrder order) override {
    OrderAnswer answer;
    for (const auto& item : order.partitions) answer.push_back({item.at, ErrorCode::NONE});
    stopped.emplace_back(to, std::move(order));
    co_return answer;
  }
  void forget() {
    led.clear();
    told.clear();
    stopped.clear();
  }
  std::vector<std::pair<BrokerId, LeaderAndIsrOrder>> led;
  std::vector<std::pair<BrokerId, UpdateMetadataOrder>> told;
  std::vector<std::pair<BrokerId, StopReplicaOrder>> stopped;
  BrokerId broken_directory = no_broker;
  int refuse_metadata = 0;
};

// One broker's view: a session, its registration, its controller.
struct Node {
  Node(runtime::Shard& s, std::shared_ptr<zkclient::MemoryTree> t, BrokerLink& link, BrokerId broker,
       zkclient::FaultRule rule = nullptr, runtime::Random& random = runtime::system_random())
      : shard(s), tree(std::move(t)), id(broker), raw(tree->connect()) {
    if (rule) faulty = zkclient::make_faulty(*raw, std::move(rule));
    zk = zkclient::make_patient(faulty ? *faulty : *raw);
    ControllerOptions options;
    options.broker = broker;
    options.order_retry = 1ms;
    options.register_again = [this]() -> Task<void> { return enroll(); };
    controller = std::make_unique<Controller>(shard, *zk, link, random, std::move(options));
    admin = std::make_unique<Admin>(shard, *zk, runtime::system_random());
  }
  layout::BrokerRegistration registration() const {
    layout::BrokerRegistration r;
    r.endpoints = {{"PLAINTEXT", "PLAINTEXT", "127.0.0." + std::to_string(id.value + 1), 9092}};
    r.timestamp = 7;
    return r;
  }
  Task<void> enroll() {
    auto epoch = co_await register_broker(shard, *zk, id, registration(), 10s);
    EXPECT_TRUE(epoch.has_value()) << (epoch ? "" : epoch.error().message);
  }
  Task<void> start() {
    EXPECT_TRUE((co_await ensure_root_paths(*zk)).has_value());
    co_await enroll();
    controller->start();
    co_await controller->idle();
  }
  Task<void> stop() {
    co_await controller->stop();
    co_await raw->close();
  }
  Task<Result<>> create(std::string name, std::int32_t partitions, Assignment assignment = {}) {
    std::vector<NewTopic> topics(1);
    topics[0].name = std::move(name);
    if (assignment.empty()) {
      topics[0].partitions = partitions;
      topics[0].replication_factor = 1;
    }
    topics[0].assignment = std::move(assignment);
    auto made = co_await admin->create_topics(std::move(topics), CreateOptions{}, controller->image());
    co_return made.front().result;
  }
  Task<layout::PartitionState> state(std::string topic, std::int32_t partition = 0) {
    const auto path = layout::path_of_partition_state(topic, PartitionId{partition});
    auto there = co_await raw->get(path, Watch{});
    EXPECT_TRUE(there.has_value()) << path;
    if (!there) co_return layout::PartitionState{};
    co_return *layout::decode_partition_state(path, there->data);
  }
  Task<bool> there(std::string path) {
    auto found = co_await raw->exists(std::move(path), Watch{});
    co_return found && found->has_value();
  }

  runtime::Shard& shard;
  std::shared_ptr<zkclient::MemoryTree> tree;
  BrokerId id;
  std::unique_ptr<zkclient::Zk> raw;
  std::unique_ptr<zkclient::Zk> faulty;
  std::unique_ptr<zkclient::Zk> zk;
  std::unique_ptr<Controller> controller;
  std::unique_ptr<Admin> admin;
};

// Runs a test's story on a shard.
inline void story(std::function<Task<void>(runtime::Shard&)> body) {
  runtime::Shards shards(1);
  runtime::block_on(shards[0], [&]() -> Task<void> { return body(shards[0]); });
  shards.stop();
}

inline const BrokerId b0{0}, b1{1}, b2{2};
inline const PartitionId p0{0}, p1{1};
using Ids = std::vector<BrokerId>;

}  // namespace weir::controller
