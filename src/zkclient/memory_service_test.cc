#include "zkclient/memory_service.h"

#include <gtest/gtest.h>

#include <functional>
#include <utility>
#include <vector>

namespace weir::zkclient {
namespace {

using runtime::SimMachine;
using runtime::SimProcess;
using runtime::SimWorld;

struct Heard final : Watcher {
  void on_watch(const WatchEvent& event) override { said->push_back("watch " + event.path); }
  void on_session(SessionEvent event) override {
    said->push_back(event == SessionEvent::connected      ? "connected"
                    : event == SessionEvent::disconnected ? "disconnected"
                    : event == SessionEvent::expired      ? "expired"
                                                          : "auth failed");
  }
  std::vector<std::string>* said = nullptr;
};

// A process with a session, and what it heard in the order it did.
struct Peer {
  Peer(SimWorld& w, const std::shared_ptr<MemoryService>& service, const std::string& host)
      : world(w), machine(w, host, 5), process(machine.start(1)), scope(*process.shards().front()) {
    zk = service->connect(process, milliseconds(6000));
    heard->said = &said;
    run([this] { zk->listen(heard); });
  }
  void run(std::function<void()> fn) {
    process.shards().front()->post(std::move(fn));
    world.settle();
  }
  void create(std::string path, CreateMode mode = CreateMode::persistent) {
    run([=, this] { scope.spawn(created(this, path, mode)); });
  }
  void get(std::string path) {
    run([=, this] { scope.spawn(got(this, path)); });
  }
  void set(std::string path) {
    run([=, this] { scope.spawn(was_set(this, path)); });
  }
  void say(const std::string& what, const std::string& path, bool fine, ZkCode code) {
    said.push_back(what + " " + path + (fine ? "" : std::string(" ") + std::string(name(code))));
  }
  static Task<void> created(Peer* self, std::string path, CreateMode mode) {
    auto result = co_await self->zk->create(path, "", mode);
    self->say("create", path, result.has_value(), result ? ZkCode::ok : result.error().code);
  }
  static Task<void> got(Peer* self, std::string path) {
    auto result = co_await self->zk->get(path, self->heard);
    self->say("get", path, result.has_value(), result ? ZkCode::ok : result.error().code);
  }
  static Task<void> was_set(Peer* self, std::string path) {
    auto result = co_await self->zk->set(path, "x");
    self->say("set", path, result.has_value(), result ? ZkCode::ok : result.error().code);
  }

  SimWorld& world;
  SimMachine machine;
  SimProcess& process;
  runtime::Scope scope;
  std::unique_ptr<Zk> zk;
  std::shared_ptr<Heard> heard = std::make_shared<Heard>();
  std::vector<std::string> said;
};

using Said = std::vector<std::string>;

// What froze points to it: never taken apart.
template <class T, class... Args>
T& kept(Args&&... args) {
  static auto* all = new std::vector<T*>;
  return *all->emplace_back(new T(std::forward<Args>(args)...));
}

struct Service : ::testing::Test {
  SimWorld& world = kept<SimWorld>(3U);
  std::shared_ptr<MemoryTree> tree = MemoryTree::make();
  std::shared_ptr<MemoryService> service = MemoryService::make(world, "zk", tree);
  Peer& one = kept<Peer>(world, service, "10.0.0.1");
  Peer& two = kept<Peer>(world, service, "10.0.0.2");

  void SetUp() override {
    world.run_for(seconds(1));
    for (auto* peer : {&one, &two}) {
      ASSERT_EQ(peer->zk->state(), State::connected);
      peer->said.clear();
    }
  }
  void link(bool cut, nanoseconds latency = nanoseconds(0)) {
    world.sockets().set_link("10.0.0.1", "zk", {.cut = cut, .latency_min = latency, .latency_max = latency});
    world.sockets().set_link("zk", "10.0.0.1", {.cut = cut, .latency_min = latency, .latency_max = latency});
  }
};

TEST_F(Service, AnswersInOrderAndAfterAWhile) {
  link(false, milliseconds(100));
  one.create("/a");
  one.set("/a");
  one.get("/b");
  world.run_for(milliseconds(150));
  EXPECT_EQ(one.said, Said{});
  EXPECT_EQ(tree->dump().size(), 1U);
  world.run_for(milliseconds(100));
  EXPECT_EQ(one.said, (Said{"create /a", "set /a", "get /b no_node"}));
}
TEST_F(Service, TellsAWatchAfterTheAnswerThatSetIt) {
  one.create("/a");
  world.run_for(seconds(1));
  one.said.clear();
  link(false, milliseconds(100));
  one.get("/a");
  world.run_for(milliseconds(110));
  two.set("/a");
  world.run_for(seconds(1));
  EXPECT_EQ(one.said, (Said{"get /a", "watch /a"}));
}
TEST_F(Service, FailsWhatIsInFlightWhenTheConnectionBreaksDoneOrNot) {
  link(false, milliseconds(100));
  one.create("/done");
  world.run_for(milliseconds(120));
  one.create("/not");
  service->reset("10.0.0.1");
  world.run_for(seconds(2));
  EXPECT_EQ(one.said,
            (Said{"create /done connection_loss", "create /not connection_loss", "disconnected", "connected"}));
  EXPECT_EQ(tree->dump().size(), 1U);
  EXPECT_EQ(service->expired(), 0U);
}
TEST_F(Service, EndsTheSessionOfWhoIsCutOffAndTellsItWhenItIsBack) {
  one.create("/mine", CreateMode::ephemeral);
  world.run_for(seconds(1));
  two.get("/mine");
  one.get("/mine");
  world.run_for(seconds(1));
  one.said.clear();
  two.said.clear();
  const auto before = one.zk->session_id();
  link(true);
  world.run_for(seconds(5));
  EXPECT_EQ(one.said, Said{"disconnected"});
  EXPECT_EQ(two.said, Said{});
  world.run_for(seconds(5));
  EXPECT_EQ(two.said, Said{"watch /mine"});
  EXPECT_EQ(one.said, Said{"disconnected"});
  link(false);
  world.run_for(seconds(1));
  EXPECT_EQ(one.said, (Said{"disconnected", "expired", "connected"}));
  EXPECT_NE(one.zk->session_id(), before);
  EXPECT_EQ(service->expired(), 1U);
}
TEST_F(Service, TellsWhatHappenedDuringAShortAbsence) {
  one.create("/a");
  world.run_for(seconds(1));
  one.get("/a");
  world.run_for(seconds(1));
  one.said.clear();
  link(true);
  two.set("/a");
  world.run_for(milliseconds(5000));
  link(false);
  world.run_for(seconds(1));
  EXPECT_EQ(one.said, (Said{"disconnected", "connected", "watch /a"}));
}
TEST_F(Service, AShortCutOnlyDelays) {
  link(true);
  one.create("/a");
  one.set("/a");
  world.run_for(milliseconds(2000));
  EXPECT_EQ(one.said, Said{});
  link(false);
  world.run_for(seconds(1));
  EXPECT_EQ(one.said, (Said{"create /a", "set /a"}));
}
TEST_F(Service, EndsTheSessionOfWhoStandsStillAndOfWhoDied) {
  one.create("/paused", CreateMode::ephemeral);
  two.create("/dead", CreateMode::ephemeral);
  world.run_for(seconds(1));
  one.said.clear();
  one.machine.pause();
  two.machine.kill();
  world.run_for(seconds(5));
  EXPECT_EQ(tree->dump().size(), 2U);
  world.run_for(seconds(3));
  EXPECT_EQ(tree->dump().size(), 0U);
  one.machine.resume();
  world.run_for(seconds(1));
  EXPECT_EQ(one.said, (Said{"disconnected", "expired", "connected"}));
}
TEST_F(Service, SessionsSurviveItsAbsence) {
  one.create("/mine", CreateMode::ephemeral);
  world.run_for(seconds(1));
  service->set_down(true);
  world.run_for(seconds(60));
  service->set_down(false);
  world.run_for(seconds(5));
  EXPECT_EQ(tree->dump().size(), 1U);
  EXPECT_EQ(service->expired(), 0U);
}

}  // namespace
}  // namespace weir::zkclient
