// Several control planes over one state: one drives, and who did before has no effect any more.
#include "msk/fence.h"

#include <gtest/gtest.h>

#include <memory>

#include "msk/crash_fixture.h"

namespace weir::msk {
namespace {

using zkclient::ZkCode;

class FenceTest : public testing::Test {
 protected:
  template <class Work>
  void on_shard(Work work) {
    runtime::block_on(world.shard(), std::move(work));
  }
  runtime::SimWorld world{5};
  std::shared_ptr<zkclient::MemoryTree> tree = zkclient::MemoryTree::make();
  std::unique_ptr<zkclient::Zk> a = tree->connect();
  std::unique_ptr<zkclient::Zk> b = tree->connect();
};

TEST_F(FenceTest, WhoWasReplacedWritesNothing) {
  on_shard([this]() -> Task<void> {
    Fence old_one(*a, "/weir/epoch");
    Fence new_one(*b, "/weir/epoch");
    EXPECT_FALSE(co_await old_one.create("/x", "", zkclient::CreateMode::persistent, zkclient::Acl::open));
    EXPECT_TRUE(co_await old_one.take("old", {}));
    EXPECT_TRUE(co_await old_one.create("/x", "1", zkclient::CreateMode::persistent, zkclient::Acl::open));
    EXPECT_TRUE(co_await old_one.confirm());
    // Errors are those of the call itself.
    auto again = co_await old_one.create("/x", "1", zkclient::CreateMode::persistent, zkclient::Acl::open);
    EXPECT_EQ(again.error(), (zkclient::ZkError{ZkCode::node_exists, "/x"}));
    EXPECT_EQ((co_await old_one.set("/y", "", -1)).error(), (zkclient::ZkError{ZkCode::no_node, "/y"}));
    EXPECT_EQ((co_await old_one.set("/x", "2", 0))->version, 1);
    auto numbered =
        co_await old_one.create("/n-", "", zkclient::CreateMode::persistent_sequential, zkclient::Acl::open);
    EXPECT_TRUE(numbered->starts_with("/n-0"));

    EXPECT_TRUE(co_await new_one.take("new", {}));
    const auto before = tree->dump();
    EXPECT_TRUE(old_one.held());  // it does not know yet
    EXPECT_EQ((co_await old_one.set("/x", "3", -1)).error().code, ZkCode::bad_version);
    EXPECT_FALSE(old_one.held());
    EXPECT_FALSE(co_await old_one.remove("/x", -1));
    EXPECT_FALSE(co_await old_one.create("/z", "", zkclient::CreateMode::ephemeral, zkclient::Acl::open));
    EXPECT_FALSE(co_await old_one.confirm());
    std::vector<zkclient::Op> ops;
    ops.push_back(zkclient::Op::remove("/x"));
    EXPECT_FALSE(co_await old_one.multi(std::move(ops)));
    EXPECT_EQ(tree->dump(), before);
    EXPECT_EQ((co_await old_one.get("/x", {}))->data, "2");
    EXPECT_TRUE(co_await new_one.remove("/x", -1));
  });
}

TEST_F(FenceTest, AnEpochGoesToWhoIsEntitledWhenItAsks) {
  on_shard([this]() -> Task<void> {
    Fence one(*a, "/weir/epoch");
    Fence other(*b, "/weir/epoch");
    std::function<Task<bool>()> no = []() -> Task<bool> { co_return false; };
    EXPECT_EQ((co_await one.take("one", no)).error().code, ZkCode::closed);
    EXPECT_FALSE(one.held());
    // It is asked, and paused before it takes: another takes its place and the epoch.
    std::function<Task<bool>()> slow = [&]() -> Task<bool> {
      EXPECT_TRUE(co_await other.take("other", {}));
      co_return true;
    };
    EXPECT_EQ((co_await one.take("one", slow)).error().code, ZkCode::bad_version);
    EXPECT_FALSE(one.held());
    EXPECT_TRUE(co_await other.confirm());
  });
}

// Two control planes over one place and state.
class TwoPlanes : public Plane {
 public:
  ~TwoPlanes() override {
    runtime::block_on(shard, [this]() -> Task<void> { return end_other(); });
  }
  void start_other(std::function<Task<bool>()> entitled = {}) {
    ServiceOptions options;
    options.realm.account = "123456789012";
    options.zookeeper = "127.0.0.1:2181";
    options.poll = milliseconds(20);
    options.certify = [](std::string, std::vector<std::string>, std::vector<std::string>) {
      return std::expected<Certificate, std::string>(Certificate{"certificate", "authority"});
    };
    options.entitled = std::move(entitled);
    other = std::make_unique<Service>(shard, world.random(), *other_zk, place, options);
    runtime::block_on(shard, [this]() -> Task<void> { return start_it(); });
  }
  Task<void> start_it() {
    auto started = co_await other->start();
    EXPECT_TRUE(started.has_value());
  }
  Task<void> end_other() {
    if (other) co_await other->stop();
    co_await other_zk->close();
  }
  // Says it to the other one.
  Said ask_other(const std::string& operation, json::object body = {}) {
    std::swap(service, other);
    auto said = on(operation, arn, std::move(body));
    std::swap(service, other);
    return said;
  }

  std::unique_ptr<zkclient::Zk> other_zk = tree->connect();
  std::unique_ptr<Service> other;
};

TEST(Standby, WhoIsReplacedInTheMiddleOfAnOperationDoesNothingMore) {
  // At every moment of a rolling update the other becomes the active one, and the first does not hear of it.
  for (int when = 0; when < 30; ++when) {
    TwoPlanes planes;
    planes.make_the_cluster();
    planes.start_other();
    planes.place.log.clear();
    planes.configure("num.partitions=7\n");
    for (int i = 0; i < when; ++i) planes.pass();
    planes.other->set_active(true);
    ASSERT_TRUE(planes.ends());
    for (int i = 0; i < 20; ++i) planes.pass();
    auto ending = planes.ending();
    EXPECT_EQ(ending.cluster->state, ClusterState::active);
    EXPECT_EQ(ending.operations.back().state, OperationState::complete);
    EXPECT_EQ(ending.done, (std::vector<std::string>{"start 1", "start 2", "start 3", "stop 1", "stop 2", "stop 3"}))
        << when;
    // A broker that is down is the other's to start, and its alone.
    planes.place.log.clear();
    planes.bad = [&](const std::string&, const provision::BrokerSpec&) { return std::optional<provision::Failure>(); };
    planes.place.all.begin()->second.state = provision::BrokerState::stopped;
    for (int i = 0; i < 100; ++i) planes.pass();
    EXPECT_EQ(std::ranges::count(planes.place.log, "start 1"), 1) << when;
  }
}

TEST(Standby, WhoIsEntitledTakesItsPlaceBackFromOneThatIsNot) {
  TwoPlanes planes;
  planes.make_the_cluster();
  planes.start_other([]() -> Task<bool> { co_return true; });
  planes.other->set_active(true);
  planes.pass();
  planes.service->set_active(false);
  planes.service->set_active(true);  // by mistake
  for (int i = 0; i < 100; ++i) planes.pass();
  planes.configure("num.partitions=7\n");
  ASSERT_TRUE(planes.ends());
  EXPECT_EQ(planes.ending().operations.back().state, OperationState::complete);
}

TEST(Standby, AnswersAsTheActiveOneDoesAndBeginsWhatThatOneDrives) {
  TwoPlanes planes;
  planes.make_the_cluster();
  planes.start_other();
  auto& broker = planes.place.all.begin()->second;
  broker.state = provision::BrokerState::backing_off;
  broker.cause = "it was killed by signal 9";
  for (int i = 0; i < 150; ++i) planes.pass();
  auto info = planes.ask_other("DescribeCluster").body.at("clusterInfo").as_object();
  EXPECT_EQ(Plane::text(info, "state"), "HEALING");
  EXPECT_NE(json::serialize(info).find("signal 9"), std::string::npos);
  broker.state = provision::BrokerState::running;
  for (int i = 0; i < 150; ++i) planes.pass();
  info = planes.ask_other("DescribeCluster").body.at("clusterInfo").as_object();
  EXPECT_EQ(Plane::text(info, "state"), "ACTIVE");

  const json::object jmx{{"prometheus", json::object{{"jmxExporter", json::object{{"enabledInBroker", true}}}}}};
  auto said =
      planes.ask_other("UpdateMonitoring", {{"currentVersion", planes.version(planes.arn)}, {"openMonitoring", jmx}});
  ASSERT_EQ(said.status, 200) << said.message;
  planes.pass();  // by a watch, not by its next look
  planes.pass();
  EXPECT_EQ(Plane::text(planes
                            .call("DescribeClusterOperation", {},
                                  {{"clusterOperationArn", Plane::text(said.body, "clusterOperationArn")}})
                            .body.at("clusterOperationInfo")
                            .as_object(),
                        "operationState"),
            "UPDATE_IN_PROGRESS");
  ASSERT_TRUE(planes.ends());
  EXPECT_TRUE(planes.place.all.begin()->second.spec.properties.contains("weir.metrics.listener"));
}

}  // namespace
}  // namespace weir::msk
