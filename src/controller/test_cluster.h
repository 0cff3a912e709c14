// For this room's tests: brokers that keep the roles they are given, as Kafka's do, and controllers that are no
// brokers, so that one can die alone.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "controller/test_world.h"

namespace weir::controller {

class ModelBrokers : public BrokerLink {
 public:
  struct One {
    bool alive = false;
    bool answers = true;
    std::string refuses;  // orders that name this topic, as such
    BrokerEpoch epoch{-1};
    BrokerEpoch life{-1};
    ControllerEpoch heard{-1};
    std::map<PartitionRef, cluster::Partition> roles;
    std::map<PartitionRef, cluster::Partition> metadata;
    std::set<BrokerId> known;
  };
  One& operator[](BrokerId id) { return brokers_[id]; }
  std::map<BrokerId, One>& all() { return brokers_; }

  Task<Result<OrderAnswer>> leader_and_isr(BrokerId to, LeaderAndIsrOrder order) override {
    ++orders;
    if (auto fine = check(to, order); !fine) co_return std::unexpected(fine.error());
    auto& one = brokers_[to];
    OrderAnswer answer;
    for (const auto& item : order.partitions) {
      auto& role = one.roles[item.at];
      const bool stale = role.leader_epoch > item.state.leader_epoch;
      if (!stale) role = item.state;
      // A follower finds its leader among the brokers that it knows.
      if (item.state.leader.value >= 0 && !one.known.contains(item.state.leader)) ++unknown_leaders;
      answer.push_back({item.at, stale ? ErrorCode::STALE_CONTROLLER_EPOCH : ErrorCode::NONE});
    }
    co_return answer;
  }
  Task<Result<>> update_metadata(BrokerId to, UpdateMetadataOrder order) override {
    ++orders;
    if (auto fine = check(to, order); !fine) co_return fine;
    auto& one = brokers_[to];
    one.known.clear();
    for (const auto& broker : order.brokers) one.known.insert(broker->id);
    for (const auto& item : order.partitions) {
      if (item.state.leader.value == leader_during_delete) {
        one.metadata.erase(item.at);
      } else {
        one.metadata[item.at] = item.state;
      }
    }
    co_return Result<>();
  }
  Task<Result<OrderAnswer>> stop_replica(BrokerId to, StopReplicaOrder order) override {
    ++orders;
    if (auto fine = check(to, order); !fine) co_return std::unexpected(fine.error());
    OrderAnswer answer;
    for (const auto& item : order.partitions) {
      ++stops;
      brokers_[to].roles.erase(item.at);
      answer.push_back({item.at, ErrorCode::NONE});
    }
    co_return answer;
  }

  void know_brokers(std::vector<std::shared_ptr<const cluster::Broker>> alive) override {
    reachable.clear();
    for (const auto& broker : alive) reachable[broker->id] = broker->epoch;
  }

  std::map<BrokerId, BrokerEpoch> reachable;
  int orders = 0;
  int stops = 0;  // replicas
  int unknown_leaders = 0;

 private:
  template <class Order>
  Result<> check(BrokerId to, const Order& order) {
    const auto& head = order.head;
    auto& one = brokers_[to];
    if (!one.alive || !one.answers) return fail(ErrorCode::NETWORK_EXCEPTION, "nobody there");
    if (head.broker_epoch != one.epoch) return fail(ErrorCode::STALE_BROKER_EPOCH);
    if (head.controller_epoch < one.heard) return fail(ErrorCode::STALE_CONTROLLER_EPOCH);
    one.heard = head.controller_epoch;
    const auto refused = [&one](const auto& item) { return item.at.topic == one.refuses; };
    if (std::ranges::any_of(order.partitions, refused)) return fail(ErrorCode::INVALID_REQUEST, "not that");
    return {};
  }
  std::map<BrokerId, One> brokers_;
};

// A session that may not read some nodes.
class GuardedZk final : public zkclient::Zk {
 public:
  explicit GuardedZk(zkclient::Zk& inner) : inner_(inner) {}
  std::set<std::string> unreadable;

  Task<zkclient::ZkResult<zkclient::Data>> get(std::string path, Watch watch) override {
    if (unreadable.contains(path)) return refuse(std::move(path));
    return inner_.get(std::move(path), std::move(watch));
  }
  Task<zkclient::ZkResult<std::string>> create(std::string path, std::string data, zkclient::CreateMode mode,
                                               zkclient::Acl acl) override {
    return inner_.create(std::move(path), std::move(data), mode, acl);
  }
  Task<zkclient::ZkResult<zkclient::Stat>> set(std::string path, std::string data, std::int32_t version) override {
    return inner_.set(std::move(path), std::move(data), version);
  }
  Task<zkclient::ZkResult<>> remove(std::string path, std::int32_t version) override {
    return inner_.remove(std::move(path), version);
  }
  Task<zkclient::ZkResult<std::vector<std::string>>> children(std::string path, Watch watch) override {
    return inner_.children(std::move(path), std::move(watch));
  }
  Task<zkclient::ZkResult<std::optional<zkclient::Stat>>> exists(std::string path, Watch watch) override {
    return inner_.exists(std::move(path), std::move(watch));
  }
  Task<zkclient::ZkResult<std::vector<zkclient::OpResult>>> multi(std::vector<zkclient::Op> ops) override {
    return inner_.multi(std::move(ops));
  }
  Task<zkclient::ZkResult<>> sync(std::string path) override { return inner_.sync(std::move(path)); }
  std::int64_t session_id() const override { return inner_.session_id(); }
  zkclient::State state() const override { return inner_.state(); }
  milliseconds session_timeout() const override { return inner_.session_timeout(); }
  void listen(Watch watcher) override { inner_.listen(std::move(watcher)); }
  Task<bool> wait_connected(nanoseconds timeout) override { return inner_.wait_connected(timeout); }
  Task<void> close() override { return inner_.close(); }

 private:
  static Task<zkclient::ZkResult<zkclient::Data>> refuse(std::string path) {
    co_return zkclient::zk_fail(zkclient::ZkCode::no_auth, std::move(path));
  }
  zkclient::Zk& inner_;
};

// A controller alone: it dies at its n-th operation, before or after that was done.
struct Officer {
  enum class Dies : std::uint8_t { never, before, after };
  Officer(runtime::Shard& s, std::shared_ptr<zkclient::MemoryTree> tree, BrokerLink& link, std::int32_t id,
          ControllerOptions options = {}, Dies dies = Dies::never, std::uint64_t at = 0)
      : shard(s), scope(s), raw(tree->connect()) {
    dies_at = dies == Dies::never ? never : at;
    zkclient::FaultRule rule = [this, dies](const zkclient::FaultyCall&) {
      if (operations++ == dies_at) die(dies == Dies::never ? Dies::after : dies);
      return zkclient::FaultAt::none;
    };
    guarded = std::make_unique<GuardedZk>(*raw);
    faulty = zkclient::make_faulty(*guarded, std::move(rule));
    zk = zkclient::make_patient(*faulty);
    options.broker = BrokerId{id};
    options.order_retry = 1ms;
    controller = std::make_unique<Controller>(shard, *zk, link, runtime::system_random(), std::move(options));
  }
  void die(Dies how) {
    dead = true;
    auto end = [this] { scope.spawn(raw->close()); };
    if (how == Dies::before) {
      end();
    } else {
      shard.post(end);
    }
  }
  Task<void> stop() {
    if (!dead) co_await controller->stop();
    if (!dead) co_await raw->close();
    if (dead) co_await controller->stop();
    co_await scope.stop();
  }

  runtime::Shard& shard;
  runtime::Scope scope;
  std::unique_ptr<zkclient::Zk> raw;
  std::unique_ptr<GuardedZk> guarded;
  std::unique_ptr<zkclient::Zk> faulty;
  std::unique_ptr<zkclient::Zk> zk;
  std::unique_ptr<Controller> controller;
  static constexpr std::uint64_t never = ~std::uint64_t{0};
  std::uint64_t operations = 0;
  std::uint64_t dies_at = never;
  bool dead = false;
};

struct World {
  explicit World(runtime::Shard& s) : shard(s), tree(zkclient::MemoryTree::make()), user(tree->connect()) {
    admin = std::make_unique<Admin>(shard, *user, runtime::system_random());
  }

  Task<void> start_broker(BrokerId id) {
    auto& one = brokers[id];
    one = {};
    one.alive = true;
    co_await enroll(id, std::nullopt);
    one.life = one.epoch;
  }
  // Its session ended; it lives on.
  Task<void> register_again(BrokerId id) {
    co_await sessions[id]->close();
    co_await enroll(id, brokers[id].life);
  }
  // Bounded, so that a broken controller fails a test and does not hold it up.
  Task<bool> comes_true(std::function<Task<bool>()> what) {
    for (int i = 0; i < 20'000; ++i) {
      if (co_await what()) co_return true;
      co_await runtime::sleep(shard, 100us);
    }
    co_return false;
  }
  Task<void> enroll(BrokerId id, std::optional<BrokerEpoch> life) {
    auto session = tree->connect();
    layout::BrokerRegistration r;
    r.endpoints = {{"PLAINTEXT", "PLAINTEXT", "127.0.0." + std::to_string(id.value), 9092}};
    r.life = life;
    auto epoch = co_await register_broker(shard, *session, id, std::move(r), 10s);
    EXPECT_TRUE(epoch.has_value());
    brokers[id].epoch = epoch.value_or(BrokerEpoch{-1});
    sessions[id] = std::move(session);
  }
  Task<void> kill_broker(BrokerId id) {
    brokers[id].alive = false;
    brokers[id].roles.clear();
    auto session = std::move(sessions[id]);
    sessions.erase(id);
    co_await session->close();
  }
  Officer& start_officer(std::int32_t id, ControllerOptions options = {}, Officer::Dies dies = Officer::Dies::never,
                         std::uint64_t at = 0) {
    officers.push_back(std::make_unique<Officer>(shard, tree, brokers, id, std::move(options), dies, at));
    officers.back()->controller->start();
    return *officers.back();
  }
  Task<void> open(std::int32_t count) {
    EXPECT_TRUE((co_await ensure_root_paths(*user)).has_value());
    for (std::int32_t i = 1; i <= count; ++i) co_await start_broker(BrokerId{i});
  }
  Task<void> close() {
    for (auto& officer : officers) co_await officer->stop();
    for (auto& [id, session] : sessions) co_await session->close();
    co_await user->close();
  }
  // Who is in office, when all is worked off.
  Task<Officer*> settled() {
    for (int i = 0; i < 20'000; ++i) {
      for (auto& officer : officers) {
        if (officer->dead || !officer->controller->active()) continue;
        co_await officer->controller->idle();
        if (!officer->dead && officer->controller->active()) co_return officer.get();
      }
      co_await runtime::sleep(shard, 100us);
    }
    ADD_FAILURE() << "nobody took office";
    co_return nullptr;
  }
  Task<void> create(std::string name, Assignment assignment) {
    std::vector<NewTopic> topics(1);
    topics[0].name = std::move(name);
    topics[0].assignment = std::move(assignment);
    cluster::ImageBuilder image(cluster::empty_image());
    for (const auto& [id, session] : sessions) {
      cluster::Broker broker;
      broker.id = id;
      image.put_broker(std::move(broker));
    }
    auto made = co_await admin->create_topics(std::move(topics), CreateOptions{}, image.build());
    EXPECT_TRUE(made.front().result.has_value()) << made.front().result.error().message;
    (void)co_await settled();
  }
  Task<layout::PartitionState> state(std::string topic, std::int32_t partition = 0) {
    const auto path = layout::path_of_partition_state(topic, PartitionId{partition});
    auto there = co_await user->get(path, Watch{});
    if (!there) co_return layout::PartitionState{};
    co_return *layout::decode_partition_state(path, there->data);
  }
  Task<layout::ReplicaAssignment> replicas(std::string topic, std::int32_t partition = 0) {
    const auto path = layout::path_of_topic(topic);
    auto there = co_await user->get(path, Watch{});
    if (!there) co_return layout::ReplicaAssignment{};
    co_return layout::decode_topic(path, there->data)->partitions[PartitionId{partition}];
  }
  Task<bool> there(std::string path) {
    auto found = co_await user->exists(std::move(path), Watch{});
    co_return found && found->has_value();
  }
  // What the leader of a partition proposes.
  AlterPartitionItem proposal(BrokerId leader, const PartitionRef& at, const Ids& isr) {
    const auto& role = brokers[leader].roles[at];
    AlterPartitionItem item;
    item.at = at;
    item.leader_epoch = role.leader_epoch;
    item.partition_epoch = role.version;
    for (const auto id : isr) item.new_isr.push_back({id, brokers[id].epoch});
    return item;
  }
  // All replicas that are alive catch up with their leader, which says so until it is heard.
  Task<void> catch_up(PartitionRef at) {
    for (int i = 0; i < 1000; ++i) {
      auto* officer = co_await settled();
      if (officer == nullptr) co_return;
      const auto now = co_await state(at.topic, at.partition.value);
      auto& role = brokers[now.leader].roles[at];
      Ids wanted;
      for (const auto id : role.replicas) {
        if (brokers[id].alive && brokers[id].roles.contains(at)) wanted.push_back(id);
      }
      if (role.leader == now.leader && same(now.isr, wanted)) co_return;
      std::vector<AlterPartitionItem> items{proposal(now.leader, at, wanted)};
      auto answer = co_await officer->controller->alter_partition(now.leader, brokers[now.leader].epoch, items);
      if (answer && answer->front().error == ErrorCode::NONE) {
        role.isr = answer->front().state.isr;
        role.version = answer->front().state.version;
      }
    }
    ADD_FAILURE() << at.topic << " does not catch up";
  }
  // Until the controller took it.
  Task<void> move(PartitionRef at, std::optional<Ids> target) {
    for (int i = 0; i < 1000; ++i) {
      auto* officer = co_await settled();
      if (officer == nullptr) co_return;
      Reassignments wanted{{at, target}};
      auto answer = co_await officer->controller->alter_reassignments(wanted);
      if (!answer) continue;
      const auto& result = answer->front().result;
      // Asked for by one that died, and done by the next.
      const bool over = !target && !result && result.error().code == ErrorCode::NO_REASSIGNMENT_IN_PROGRESS;
      EXPECT_TRUE(result.has_value() || over) << result.error().message;
      (void)co_await settled();
      co_return;
    }
    ADD_FAILURE() << "nobody takes the reassignment";
  }
  static bool same(Ids a, Ids b) {
    std::sort(a.begin(), a.end());
    std::sort(b.begin(), b.end());
    return a == b;
  }

  // Every broker has the roles and the metadata that are written, and no others.
  Task<void> verify() {
    auto* officer = co_await settled();
    if (officer == nullptr) co_return;
    std::set<PartitionRef> written;
    for (const auto& [path, data] : tree->dump()) {
      const auto at = layout::partition_of_state_path(path);
      if (!at) continue;
      const PartitionRef p{at->topic, at->partition};
      written.insert(p);
      const auto now = *layout::decode_partition_state(path, data);
      const auto all = co_await replicas(p.topic, p.partition.value);
      const auto* known = officer->controller->image()->partition(p.topic, p.partition);
      EXPECT_TRUE(known != nullptr && known->replicas == all.replicas && known->isr == now.isr) << path;
      for (auto& [id, one] : brokers.all()) {
        if (!one.alive) continue;
        const bool replica = std::find(all.replicas.begin(), all.replicas.end(), id) != all.replicas.end();
        EXPECT_EQ(one.roles.contains(p), replica) << path << " on broker " << id.value;
        if (replica) {
          EXPECT_EQ(one.roles[p].leader, now.leader) << path << " on broker " << id.value;
          EXPECT_EQ(one.roles[p].leader_epoch, now.leader_epoch) << path << " on broker " << id.value;
        }
        EXPECT_TRUE(one.metadata.contains(p)) << path << " on broker " << id.value;
        EXPECT_EQ(one.metadata[p].leader, now.leader) << path << " on broker " << id.value;
        EXPECT_EQ(one.metadata[p].isr, now.isr) << path << " on broker " << id.value;
        EXPECT_EQ(one.metadata[p].replicas, all.replicas) << path << " on broker " << id.value;
      }
    }
    for (auto& [id, one] : brokers.all()) {
      EXPECT_EQ(brokers.reachable.contains(id), one.alive) << id.value;
      if (!one.alive) continue;
      EXPECT_EQ(brokers.reachable[id], one.epoch) << id.value;
      for (const auto& [p, partition] : one.metadata) EXPECT_TRUE(written.contains(p)) << p.topic;
    }
    EXPECT_EQ(brokers.unknown_leaders, 0);
  }
  // What is written, without what differs from run to run: ids, times, epochs.
  std::map<std::string, std::string> shape() const {
    std::map<std::string, std::string> out;
    for (auto& [path, data] : tree->dump()) {
      if (path == "/controller" || path == "/controller_epoch" || path.starts_with("/brokers/ids/")) {
        out[path] = "";
      } else if (path.ends_with("/state")) {
        auto read = *layout::decode_partition_state(path, data);
        read.controller_epoch = ControllerEpoch{0};
        read.leader_epoch = LeaderEpoch{0};
        std::sort(read.isr.begin(), read.isr.end());
        out[path] = layout::encode(read);
      } else if (path.starts_with("/brokers/topics/") && path.find('/', 16) == std::string::npos) {
        auto read = *layout::decode_topic(path, data);
        read.id.reset();
        out[path] = layout::encode(read);
      } else {
        out[path] = data;
      }
    }
    return out;
  }

  runtime::Shard& shard;
  std::shared_ptr<zkclient::MemoryTree> tree;
  ModelBrokers brokers;
  std::unique_ptr<zkclient::Zk> user;
  std::unique_ptr<Admin> admin;
  std::map<BrokerId, std::unique_ptr<zkclient::Zk>> sessions;
  std::vector<std::unique_ptr<Officer>> officers;
};

inline const BrokerId b3{3}, b4{4};
inline const PartitionRef t0{"t", p0}, t1{"t", p1};

}  // namespace weir::controller
