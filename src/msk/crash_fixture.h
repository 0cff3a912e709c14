// For tests: a control plane that can be cut off after each thing it does, over a cluster with its own Kafka; and how
// it all stands in the end.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "msk/codec.h"
#include "msk/fake_kafka.h"
#include "msk/plane_fixture.h"

namespace weir::msk {

// Counts what the control plane does, and cuts it off: from then on nothing that it still does has an effect, and
// nothing answers.
struct Knife {
  int done = 0;  // effects so far
  int cut = -1;  // after so many; -1: never
  int back = 0;  // how many there were when it was first to be taken back
  bool armed = false;
  bool dead = false;
  std::vector<std::string> versions;  // every currentVersion that was written

  void effect() {
    if (!armed || dead) return;
    if (++done == cut) dead = true;
  }
  // Before the first.
  void arm(int at) {
    done = back = 0;
    cut = at;
    armed = true;
    dead = at == 0;
  }
  void put_away() {
    armed = dead = false;
    cut = -1;
  }
};

// The session of a control plane that may be dead.
class CutZk final : public zkclient::Zk {
 public:
  template <class T = void>
  using ZkResult = zkclient::ZkResult<T>;

  CutZk(std::unique_ptr<zkclient::Zk> inner, Knife& knife) : inner_(std::move(inner)), knife_(knife) {}

  Task<ZkResult<std::string>> create(std::string path, std::string data, zkclient::CreateMode mode,
                                     zkclient::Acl acl) override {
    if (knife_.dead) co_return zkclient::zk_fail(zkclient::ZkCode::closed, path);
    auto done = co_await inner_->create(std::move(path), std::move(data), mode, acl);
    if (done) knife_.effect();
    co_return done;
  }
  Task<ZkResult<zkclient::Data>> get(std::string path, zkclient::Watch watch) override {
    if (knife_.dead) co_return zkclient::zk_fail(zkclient::ZkCode::closed, path);
    co_return co_await inner_->get(std::move(path), std::move(watch));
  }
  Task<ZkResult<zkclient::Stat>> set(std::string path, std::string data, std::int32_t version) override {
    if (knife_.dead) co_return zkclient::zk_fail(zkclient::ZkCode::closed, path);
    auto done = co_await inner_->set(std::move(path), std::move(data), version);
    if (done) knife_.effect();
    co_return done;
  }
  Task<ZkResult<>> remove(std::string path, std::int32_t version) override {
    if (knife_.dead) co_return zkclient::zk_fail(zkclient::ZkCode::closed, path);
    auto done = co_await inner_->remove(std::move(path), version);
    if (done) knife_.effect();
    co_return done;
  }
  Task<ZkResult<std::vector<std::string>>> children(std::string path, zkclient::Watch watch) override {
    if (knife_.dead) co_return zkclient::zk_fail(zkclient::ZkCode::closed, path);
    co_return co_await inner_->children(std::move(path), std::move(watch));
  }
  Task<ZkResult<std::optional<zkclient::Stat>>> exists(std::string path, zkclient::Watch watch) override {
    if (knife_.dead) co_return zkclient::zk_fail(zkclient::ZkCode::closed, path);
    co_return co_await inner_->exists(std::move(path), std::move(watch));
  }
  Task<ZkResult<std::vector<zkclient::OpResult>>> multi(std::vector<zkclient::Op> ops) override {
    if (knife_.dead) co_return zkclient::zk_fail(zkclient::ZkCode::closed, "");
    const auto copy = ops;
    auto done = co_await inner_->multi(std::move(ops));
    if (!done) co_return done;
    bool writes = false;
    for (const auto& op : copy) {
      writes = writes || op.kind != zkclient::Op::Kind::check;
      if (op.kind != zkclient::Op::Kind::set) continue;
      if (op.path.starts_with("/weir/msk/clusters/")) note(op.data);
      const bool back =
          op.path.starts_with("/weir/msk/operations/") && op.data.find("\"goingBack\":true") != op.data.npos;
      if (back && knife_.back == 0) knife_.back = knife_.done;
    }
    if (writes) knife_.effect();
    co_return done;
  }
  Task<ZkResult<>> sync(std::string path) override { return inner_->sync(std::move(path)); }
  std::int64_t session_id() const override { return inner_->session_id(); }
  zkclient::State state() const override { return inner_->state(); }
  milliseconds session_timeout() const override { return inner_->session_timeout(); }
  void listen(zkclient::Watch watcher) override { inner_->listen(std::move(watcher)); }
  Task<bool> wait_connected(nanoseconds timeout) override { return inner_->wait_connected(timeout); }
  Task<void> close() override { return inner_->close(); }

 private:
  void note(const std::string& record) {
    Cluster cluster;
    ASSERT_TRUE(decode(record, cluster).has_value());
    auto& all = knife_.versions;
    if (all.empty() || all.back() != cluster.current_version) all.push_back(cluster.current_version);
  }

  std::unique_ptr<zkclient::Zk> inner_;
  Knife& knife_;
};

// How it all stands in the end, without what differs from one run to the next.
struct Ending {
  std::optional<Cluster> cluster;
  std::vector<Operation> operations;
  std::map<std::string, provision::BrokerSpec> brokers;
  std::vector<std::string> down;
  std::vector<std::string> stale;             // they run with other files than they have
  std::map<std::string, std::string> znodes;  // of the cluster's chroot
  std::vector<std::string> kept;              // paths of the control plane's own state
  std::vector<std::string> done;              // at the place, in the operation: starts, stops, removals; sorted
  int reassignments = 0;
  std::size_t versions = 0;  // how many current versions there were since it began

  // What differs, in words; empty: nothing.
  std::string differs(const Ending& o) const {
    std::string out;
    const auto check = [&out](bool same, const char* what) {
      if (!same) out += std::string(out.empty() ? "" : ", ") + what;
    };
    check(cluster == o.cluster, "the cluster's record");
    check(operations == o.operations, "the operations");
    check(brokers == o.brokers, "the brokers' files");
    check(down == o.down, "who is down");
    check(stale == o.stale, "who runs with older files");
    check(znodes == o.znodes, "the cluster's znodes");
    check(kept == o.kept, "what is kept");
    check(done == o.done, "what was done at the place");
    check(reassignments == o.reassignments, "how often partitions were reassigned");
    check(versions == o.versions, "how often the version changed");
    return out;
  }
};

inline std::ostream& operator<<(std::ostream& out, const Ending& e) {
  if (e.cluster) out << "cluster " << encode(*e.cluster) << "\n";
  for (const auto& o : e.operations) out << "operation " << encode(o) << "\n";
  for (const auto& [key, spec] : e.brokers) out << key << " ";
  for (const auto& key : e.down) out << key << " down ";
  for (const auto& [path, data] : e.znodes) out << "\n" << path << " " << data;
  for (const auto& path : e.kept) out << "\n" << path;
  out << "\n";
  for (const auto& line : e.done) out << line << ", ";
  return out << e.reassignments << " reassignments, " << e.versions << " versions";
}

// A world with a cluster, its Kafka, and a control plane that can be cut off.
class Plane : public MskTest {
 public:
  using MskTest::becomes;
  using MskTest::call;
  using MskTest::create_body;
  using MskTest::on;
  using MskTest::over;
  using MskTest::place;
  using MskTest::service;
  using MskTest::shard;
  using MskTest::text;
  using MskTest::tree;
  using MskTest::tune;
  using MskTest::version;
  using MskTest::world;
  using MskTest::write;

  Plane() {
    end();
    zk = std::make_unique<CutZk>(std::exchange(zk, nullptr), knife);
    make();
    place.after = [this](const std::string&) { knife.effect(); };
    place.trouble = [this](const std::string& what, const provision::BrokerSpec& spec) { return refuse(what, spec); };
  }
  void TestBody() override {}

  std::optional<provision::Failure> refuse(const std::string& what, const provision::BrokerSpec& spec) {
    using provision::Failure;
    if (knife.dead) return Failure{Failure::Kind::closed, "the control plane is dead"};
    return bad ? bad(what, spec) : std::nullopt;
  }

  void make_the_cluster() {
    arn = make_cluster();
    kafka.emplace(*tree, *brokers_zk, chroot(arn));
    for (int i = 0; i < 3; ++i) kafka->add("t", i, {1 + i % 3, 1 + (i + 1) % 3, 1 + (i + 2) % 3});
    kafka->add("u", 0, {2});
    place.at_stop = [this](std::int32_t) { return kafka->look(); };
    pass();
  }
  void pass() {
    world.run_for(milliseconds(20));
    if (kafka) runtime::block_on(shard, [this]() -> Task<void> { return kafka->look(); });
  }
  std::string root() { return chroot(arn); }
  bool pending() const {
    return std::ranges::any_of(tree->dump(),
                               [](const auto& node) { return node.first.starts_with("/weir/msk/pending/"); });
  }
  // Until nothing is under way; with a control plane that is cut off: until it is.
  bool ends() {
    for (int i = 0; i < 3000; ++i) {
      if (knife.dead || (!pending() && i > 0)) return true;
      pass();
    }
    return false;
  }
  // A session of its own for the next one.
  void next_control_plane() {
    end();
    knife.put_away();
    make();
  }
  void change(const std::string& operation, json::object body) {
    body["currentVersion"] = version(arn);
    said = on(operation, arn, std::move(body));
    EXPECT_EQ(said.status, 200) << said.message;
  }
  // It gives up after a little, and moves go at a rate.
  void gives_up_soon() {
    tune = [](ServiceOptions& options) {
      options.stall_max = options.move_stall_max = milliseconds(300);
      options.move_rate = 1000;
    };
    next_control_plane();
  }
  // What a user has throttled, of a topic and of a broker, and set for all brokers.
  void users_settings() {
    const auto config = [this](const std::string& of, const zkwire::layout::Config& keys) {
      write(root() + "/config/" + of, zkwire::layout::encode_config(keys));
    };
    config("topics/t", {{"leader.replication.throttled.replicas", "0:1,1:9"}, {"retention.ms", "60000"}});
    config("brokers/2", {{"follower.replication.throttled.rate", "777"}});
    config("brokers/<default>", {{"log.cleaner.threads", "2"}, {"message.max.bytes", "1500000"}});
  }
  void configure(const std::string& properties) {
    auto made = call("CreateConfiguration", {{"name", "cfg"}, {"serverProperties", to_base64(properties)}});
    EXPECT_EQ(made.status, 200) << made.message;
    json::object which{{"arn", text(made.body, "arn")}, {"revision", 1}};
    change("UpdateClusterConfiguration", {{"configurationInfo", which}});
  }

  // Not the time of a registration, nor the order and age of an in-sync set.
  static std::string as_far_as_it_counts(const std::string& path, const std::string& data) {
    if (path.find("/brokers/ids/") != std::string::npos) return "";
    if (!path.ends_with("/state")) return data;
    auto state = zkwire::layout::decode_partition_state(path, data);
    EXPECT_TRUE(state.has_value());
    std::ranges::sort(state->isr);
    state->leader_epoch = LeaderEpoch{0};
    return zkwire::layout::encode(*state);
  }

  Ending ending() {
    Ending out;
    std::string root;
    for (const auto& [path, data] : tree->dump()) {
      if (path.starts_with("/weir/msk/clusters/")) {
        Cluster c;
        EXPECT_TRUE(decode(data, c).has_value());
        root = c.chroot();
        c.id = c.arn = c.current_version = "";
        for (auto& [id, added] : c.members) added = milliseconds(0);
        c.created = milliseconds(0);
        for (auto* arn_of : {&c.spec.configuration_arn}) *arn_of = arn_of->substr(0, arn_of->rfind('/'));
        out.cluster = c;
      } else if (path.starts_with("/weir/msk/operations/") && !data.empty()) {
        Operation o;
        EXPECT_TRUE(decode(data, o).has_value());
        o.id = o.arn = o.cluster_id = o.cluster_arn = o.request_id = o.source_info = o.target_info = "";
        o.created = o.ended = milliseconds(0);
        for (auto& step : o.steps) step.note.clear();
        for (auto* spec : {&o.from, &o.to}) spec->configuration_arn.clear();
        out.operations.push_back(o);
      }
    }
    for (const auto& [path, data] : tree->dump()) {
      if (!root.empty() && path.starts_with(root) && path.find("/config/changes/") == std::string::npos) {
        if (data.empty() && path.find("/ids/") == std::string::npos) continue;  // a folder
        if (data == zkwire::layout::encode_config({})) continue;                // as good as none
        out.znodes.emplace(path.substr(root.size()), as_far_as_it_counts(path, data));
      } else if (path.starts_with("/weir/msk/") && path.find("/clusters/") == std::string::npos &&
                 path.find("/operations/") == std::string::npos && path.find("configurations/") == std::string::npos &&
                 !path.ends_with("/health") && !path.ends_with("/epoch") && path.find("/names/") == std::string::npos) {
        out.kept.push_back(path);
      } else if (path.starts_with("/msk/") && root.empty()) {
        out.kept.push_back(path);
      }
    }
    std::ranges::sort(out.operations, {}, [](const Operation& o) { return o.type; });
    for (const auto& [key, broker] : place.all) {
      auto spec = broker.spec;
      spec.key.cluster.clear();
      spec.properties.erase("zookeeper.connect");
      const auto id = std::to_string(key.broker);
      if (broker.state != provision::BrokerState::running) out.down.push_back(id);
      if (broker.stale) out.stale.push_back(id);
      out.brokers.emplace(id, spec);
    }
    for (const auto& line : place.log) {
      if (!line.starts_with("put")) out.done.push_back(line);
    }
    std::ranges::sort(out.done);
    if (kafka) out.reassignments = kafka->reassignments;
    out.versions = knife.versions.size();
    return out;
  }

  Knife knife;
  std::string arn;
  Said said;
  std::optional<FakeKafka> kafka;
  std::function<std::optional<provision::Failure>(const std::string&, const provision::BrokerSpec&)> bad;
};

// Moves to `brokers` do not end.
inline std::function<void(Plane&)> stuck(std::set<std::int32_t> brokers, std::function<void(Plane&)> begin) {
  return [=](Plane& plane) {
    plane.kafka->never_in_sync = brokers;
    begin(plane);
  };
}
// An operation of the API, on the cluster.
inline std::function<void(Plane&)> asks(std::string operation, json::object body) {
  return [=](Plane& plane) { plane.change(operation, body); };
}
// A topic of which one broker has all.
inline void crowded(Plane& plane) {
  plane.make_the_cluster();
  for (int i = 0; i < 6; ++i) plane.kafka->add("v", i, {1});
  plane.pass();
}

inline json::array volumes(int size) { return {json::object{{"kafkaBrokerNodeId", "All"}, {"volumeSizeGB", size}}}; }

inline void grow(Plane& plane) { plane.change("UpdateBrokerCount", {{"targetNumberOfBrokerNodes", 6}}); }

inline void grown(Plane& plane) {
  plane.make_the_cluster();
  grow(plane);
  EXPECT_TRUE(plane.ends());
}

inline std::function<std::optional<provision::Failure>(const std::string&, const provision::BrokerSpec&)>
does_not_start(std::int32_t broker, std::string key, std::string value) {
  return [=](const std::string& what, const provision::BrokerSpec& spec) -> std::optional<provision::Failure> {
    const auto found = spec.properties.find(key);
    if (what != "start" || spec.key.broker != broker) return std::nullopt;
    if (!key.empty() && (found == spec.properties.end() || found->second != value)) return std::nullopt;
    return provision::Failure{provision::Failure::Kind::not_ready, "Broker ended."};
  };
}

}  // namespace weir::msk
