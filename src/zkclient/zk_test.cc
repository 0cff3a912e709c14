// The contract of Zk, for every body: in memory always; against a server when WEIR_TEST_ZK=host:port names one.
#include "zkclient/zk.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <functional>

#include "runtime/random.h"
#include "runtime/shard.h"
#include "zkclient/memory.h"
#include "zkclient/pipeline.h"
#include "zkclient/real.h"

namespace weir::zkclient {
namespace {

using namespace std::chrono_literals;
using runtime::Shard;

// Remembers what it is told, and lets a test wait for the next.
class Recorder : public Watcher {
 public:
  explicit Recorder(Shard& shard) : shard_(shard), waiter_(shard) {}
  void on_watch(const WatchEvent& event) override {
    EXPECT_TRUE(shard_.here());
    watches.push_back(event);
    waiter_.wake();
  }
  void on_session(SessionEvent event) override {
    EXPECT_TRUE(shard_.here());
    sessions.push_back(event);
    waiter_.wake();
  }
  Task<std::optional<WatchEvent>> next_watch() {
    while (watches.empty()) {
      if (!co_await waiter_.wait(20s)) co_return std::nullopt;
    }
    auto first = watches.front();
    watches.pop_front();
    co_return first;
  }
  Task<std::optional<SessionEvent>> next_session() {
    while (sessions.empty()) {
      if (!co_await waiter_.wait(20s)) co_return std::nullopt;
    }
    auto first = sessions.front();
    sessions.pop_front();
    co_return first;
  }
  std::deque<WatchEvent> watches;
  std::deque<SessionEvent> sessions;

 private:
  Shard& shard_;
  runtime::Waiter waiter_;
};

// Where sessions come from: one place (tree, or chroot of a server) a test.
class World {
 public:
  explicit World(const std::string& body) {
    if (body == "memory") {
      tree_ = MemoryTree::make();
    } else {
      options_.connect =
          fmt::format("{}/weir-test-{:x}/x", std::getenv("WEIR_TEST_ZK"), runtime::system_random().next());
      options_.session_timeout = 6s;
      if (body == "native") options_.security = std::make_shared<Security>();  // of nothing: our own client
    }
  }
  std::unique_ptr<Zk> open() {
    if (tree_) return tree_->connect();
    auto zk = connect(options_);
    EXPECT_TRUE(zk.has_value());
    return std::move(*zk);
  }
  MemoryTree* tree() { return tree_.get(); }

 private:
  std::shared_ptr<MemoryTree> tree_;
  RealOptions options_;
};

class ZkContract : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string body = GetParam();
    if (body != "memory" && std::getenv("WEIR_TEST_ZK") == nullptr) GTEST_SKIP() << "WEIR_TEST_ZK names no server";
    world_.emplace(body);
  }
  void TearDown() override { shards_.stop(); }

  // A test's body on shard 0 with a connected session that is closed at the end.
  void with(std::function<Task<void>(Zk&)> body) {
    runtime::block_on(shards_[0], [&]() -> Task<void> {
      auto zk = world_->open();
      EXPECT_TRUE(co_await zk->wait_connected(20s));
      EXPECT_TRUE((co_await ensure(*zk, "/r")).has_value());
      auto running = body(*zk);
      co_await std::move(running);
      (void)co_await remove_tree(*zk, "/r");
      co_await zk->close();
    });
  }

  std::optional<World> world_;
  runtime::Shards shards_{2};
};

INSTANTIATE_TEST_SUITE_P(Body, ZkContract, testing::Values("memory", "real", "native"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(ZkContract, WritesAndReadsWithVersions) {
  with([](Zk& zk) -> Task<void> {
    EXPECT_EQ(*co_await zk.create("/r/a", "one"), "/r/a");
    auto data = co_await zk.get("/r/a");
    EXPECT_EQ(data->data, "one");
    EXPECT_EQ(data->stat.version, 0);
    EXPECT_GT(data->stat.czxid, 0);
    EXPECT_EQ(data->stat.ephemeral_owner, 0);
    auto stat = co_await zk.set("/r/a", "two", 0);
    EXPECT_EQ(stat->version, 1);
    EXPECT_EQ((co_await zk.set("/r/a", "three", 0)).error().code, ZkCode::bad_version);
    EXPECT_EQ((co_await zk.set("/r/a", "three"))->version, 2);
    EXPECT_EQ((co_await zk.get("/r/a"))->data, "three");
    EXPECT_EQ((co_await zk.remove("/r/a", 0)).error().code, ZkCode::bad_version);
    EXPECT_TRUE((co_await zk.remove("/r/a", 2)).has_value());
    auto gone = co_await zk.get("/r/a");
    EXPECT_EQ(gone.error(), (ZkError{ZkCode::no_node, "/r/a"}));
  });
}

TEST_P(ZkContract, SaysWhatIsWrong) {
  with([](Zk& zk) -> Task<void> {
    EXPECT_EQ((co_await zk.create("/r/a/b", "")).error().code, ZkCode::no_node);
    EXPECT_TRUE((co_await zk.create("/r/a", "")).has_value());
    EXPECT_EQ((co_await zk.create("/r/a", "")).error().code, ZkCode::node_exists);
    EXPECT_TRUE((co_await zk.create("/r/a/b", "")).has_value());
    EXPECT_EQ((co_await zk.remove("/r/a")).error().code, ZkCode::not_empty);
    EXPECT_EQ((co_await zk.remove("/r/none")).error().code, ZkCode::no_node);
    EXPECT_EQ((co_await zk.set("/r/none", "")).error().code, ZkCode::no_node);
    EXPECT_EQ((co_await zk.children("/r/none")).error().code, ZkCode::no_node);
    EXPECT_FALSE((co_await zk.exists("/r/none"))->has_value());
    EXPECT_TRUE((co_await zk.exists("/r/a"))->has_value());
    EXPECT_EQ((co_await zk.create("no/slash", "")).error().code, ZkCode::bad_arguments);
    EXPECT_TRUE((co_await zk.get("/r/a"))->data.empty());
    EXPECT_TRUE((co_await zk.sync("/r")).has_value());
  });
}

TEST_P(ZkContract, BytesArriveAsTheyWere) {
  with([](Zk& zk) -> Task<void> {
    std::string all;
    for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
    EXPECT_TRUE((co_await zk.create("/r/a", all)).has_value());
    EXPECT_EQ((co_await zk.get("/r/a"))->data, all);
    const std::string large(500'000, 'x');
    EXPECT_TRUE((co_await zk.set("/r/a", large)).has_value());
    EXPECT_EQ((co_await zk.get("/r/a"))->data.size(), large.size());
  });
}

TEST_P(ZkContract, EphemeralNodesEndWithTheirSession) {
  with([this](Zk& zk) -> Task<void> {
    auto other = world_->open();
    EXPECT_TRUE(co_await other->wait_connected(20s));
    EXPECT_TRUE((co_await other->create("/r/e", "x", CreateMode::ephemeral)).has_value());
    EXPECT_EQ((co_await zk.get("/r/e"))->stat.ephemeral_owner, other->session_id());
    EXPECT_NE(other->session_id(), zk.session_id());
    EXPECT_EQ((co_await zk.create("/r/e/child", "")).error().code, ZkCode::no_children_for_ephemerals);
    auto recorder = std::make_shared<Recorder>(shards_[0]);
    EXPECT_TRUE((co_await zk.exists("/r/e", recorder))->has_value());
    co_await other->close();
    auto event = co_await recorder->next_watch();
    EXPECT_TRUE(event && event->type == WatchEvent::Type::deleted);
    EXPECT_EQ((co_await zk.get("/r/e")).error().code, ZkCode::no_node);
  });
}

TEST_P(ZkContract, SequentialNodesAreNumbered) {
  with([](Zk& zk) -> Task<void> {
    auto first = co_await zk.create("/r/n_", "", CreateMode::persistent_sequential);
    auto second = co_await zk.create("/r/n_", "", CreateMode::persistent_sequential);
    EXPECT_EQ(*first, "/r/n_0000000000");
    EXPECT_EQ(*second, "/r/n_0000000001");
    auto names = co_await zk.children("/r");
    EXPECT_EQ(names->size(), 2U);
  });
}

TEST_P(ZkContract, AWatchTellsOnceOfEachKindOfChange) {
  with([this](Zk& zk) -> Task<void> {
    using Type = WatchEvent::Type;
    auto recorder = std::make_shared<Recorder>(shards_[0]);
    EXPECT_FALSE((co_await zk.exists("/r/a", recorder))->has_value());
    (void)co_await zk.create("/r/a", "");
    auto event = co_await recorder->next_watch();
    EXPECT_TRUE(event && event->type == Type::created && event->path == "/r/a");

    (void)co_await zk.get("/r/a", recorder);
    (void)co_await zk.set("/r/a", "x");
    event = co_await recorder->next_watch();
    EXPECT_TRUE(event && event->type == Type::changed);
    (void)co_await zk.set("/r/a", "y");  // nobody watches now

    (void)co_await zk.children("/r", recorder);
    (void)co_await zk.create("/r/b", "");
    event = co_await recorder->next_watch();
    EXPECT_TRUE(event && event->type == Type::children && event->path == "/r");

    (void)co_await zk.get("/r/b", recorder);
    (void)co_await zk.remove("/r/b");
    event = co_await recorder->next_watch();
    EXPECT_TRUE(event && event->type == Type::deleted && event->path == "/r/b");
    EXPECT_TRUE((co_await zk.sync("/r")).has_value());
    EXPECT_TRUE(recorder->watches.empty());
  });
}

TEST_P(ZkContract, AskingTwiceTellsOnce) {
  with([this](Zk& zk) -> Task<void> {
    auto recorder = std::make_shared<Recorder>(shards_[0]);
    for (int i = 0; i < 10; ++i) (void)co_await zk.children("/r", recorder);
    (void)co_await zk.create("/r/a", "");
    EXPECT_TRUE((co_await recorder->next_watch()).has_value());
    for (int i = 0; i < 3; ++i) (void)co_await zk.sync("/r");
    EXPECT_TRUE(recorder->watches.empty());
  });
}

TEST_P(ZkContract, AWatcherThatIsGoneIsNotTold) {
  with([this](Zk& zk) -> Task<void> {
    auto gone = std::make_shared<Recorder>(shards_[0]);
    auto stays = std::make_shared<Recorder>(shards_[0]);
    (void)co_await zk.children("/r", gone);
    (void)co_await zk.children("/r", stays);
    gone.reset();
    (void)co_await zk.create("/r/a", "");
    EXPECT_TRUE((co_await stays->next_watch()).has_value());
  });
}

TEST_P(ZkContract, EventsArriveOnTheShardThatAsked) {
  with([this](Zk& zk) -> Task<void> {
    // Recorder itself checks the shard.
    auto recorder = std::make_shared<Recorder>(shards_[1]);
    auto ask = [&]() -> Task<void> { (void)co_await zk.children("/r", recorder); };
    co_await runtime::call(shards_[1], ask);
    (void)co_await zk.create("/r/a", "");
    auto wait = [&]() -> Task<bool> { co_return (co_await recorder->next_watch()).has_value(); };
    EXPECT_TRUE(co_await runtime::call(shards_[1], wait));
  });
}

TEST_P(ZkContract, AMultiIsAllOrNothing) {
  with([](Zk& zk) -> Task<void> {
    (void)co_await zk.create("/r/v", "");
    std::vector<Op> good{Op::check("/r/v", 0), Op::create("/r/a", "1"), Op::create("/r/a/b", "2"),
                         Op::set("/r/v", "x", 0), Op::create("/r/e", "", CreateMode::ephemeral)};
    auto done = co_await zk.multi(good);
    EXPECT_TRUE(done.has_value());
    if (!done) co_return;
    EXPECT_EQ((*done)[1].path, "/r/a");
    EXPECT_EQ((*done)[3].stat.version, 1);
    EXPECT_EQ((co_await zk.get("/r/a/b"))->data, "2");
    EXPECT_EQ((co_await zk.get("/r/e"))->stat.ephemeral_owner, zk.session_id());

    std::vector<Op> bad{Op::create("/r/c", ""), Op::set("/r/v", "y"), Op::remove("/r/a/b"), Op::check("/r/v", 7),
                        Op::create("/r/d", "")};
    auto failed = co_await zk.multi(bad);
    EXPECT_EQ(failed.error(), (ZkError{ZkCode::bad_version, "/r/v", 3}));
    EXPECT_FALSE((co_await zk.exists("/r/c"))->has_value());
    EXPECT_TRUE((co_await zk.exists("/r/a/b"))->has_value());
    EXPECT_EQ((co_await zk.get("/r/v"))->data, "x");
    EXPECT_EQ((co_await zk.get("/r/v"))->stat.version, 1);

    std::vector<Op> exists{Op::check("/r/v", 1), Op::create("/r/a", "")};
    EXPECT_EQ((co_await zk.multi(exists)).error(), (ZkError{ZkCode::node_exists, "/r/a", 1}));
  });
}

TEST_P(ZkContract, ParentsAreMadeAndTreesRemoved) {
  with([](Zk& zk) -> Task<void> {
    EXPECT_EQ(*co_await create_with_parents(zk, "/r/x/y/z", "deep"), "/r/x/y/z");
    EXPECT_EQ((co_await create_with_parents(zk, "/r/x/y/z", "again")).error().code, ZkCode::node_exists);
    EXPECT_TRUE((co_await ensure(zk, "/r/x/y/z")).has_value());
    EXPECT_EQ((co_await zk.get("/r/x/y/z"))->data, "deep");
    (void)co_await zk.create("/r/x/w", "");
    EXPECT_TRUE((co_await remove_tree(zk, "/r/x")).has_value());
    EXPECT_FALSE((co_await zk.exists("/r/x"))->has_value());
    EXPECT_TRUE((co_await remove_tree(zk, "/r/x")).has_value());
  });
}

TEST_P(ZkContract, LargeTreesAreRemovedManyNodesAtATime) {
  with([this](Zk& zk) -> Task<void> {
    for (int i = 0; i < 20; ++i) {
      for (const auto* leaf : {"a", "b/c", "b/d/e"}) {
        EXPECT_TRUE((co_await create_with_parents(zk, fmt::format("/r/x/{}/{}", i, leaf), "deep")).has_value());
      }
    }
    EXPECT_TRUE((co_await remove_tree(shards_[0], zk, "/r/x", 7)).has_value());
    EXPECT_FALSE((co_await zk.exists("/r/x"))->has_value());
    EXPECT_TRUE((co_await remove_tree(shards_[0], zk, "/r/x")).has_value()) << "a missing one is fine";
    EXPECT_TRUE((co_await zk.exists("/r"))->has_value());
  });
}

TEST_P(ZkContract, ThousandsOfCallsAreInFlightAtOnce) {
  with([this](Zk& zk) -> Task<void> {
    std::size_t made = 0;
    std::size_t read = 0;
    auto create = [&](std::size_t i) -> Task<void> {
      auto r = co_await zk.create(fmt::format("/r/n{}", i), fmt::to_string(i));
      made += r.has_value();
    };
    co_await pipeline(shards_[0], 3000, 1000, create);
    auto get = [&](std::size_t i) -> Task<void> {
      auto r = co_await zk.get(fmt::format("/r/n{}", i));
      read += r && r->data == fmt::to_string(i);
    };
    co_await pipeline(shards_[0], 3000, 1000, get);
    EXPECT_EQ(made, 3000U);
    EXPECT_EQ(read, 3000U);
    auto drop = [&](std::size_t i) -> Task<void> { (void)co_await zk.remove(fmt::format("/r/n{}", i)); };
    co_await pipeline(shards_[0], 3000, 1000, drop);
  });
}

TEST_P(ZkContract, CloseEndsWhatIsInFlight) {
  runtime::block_on(shards_[0], [this]() -> Task<void> {
    auto zk = world_->open();
    EXPECT_TRUE(co_await zk->wait_connected(20s));
    EXPECT_EQ(zk->state(), State::connected);
    EXPECT_NE(zk->session_id(), 0);
    runtime::Scope scope(shards_[0]);
    int ended = 0;
    auto ask = [&]() -> Task<void> {
      (void)co_await zk->get("/");
      ++ended;
    };
    for (int i = 0; i < 100; ++i) scope.spawn(ask());
    co_await zk->close();
    co_await scope.stop();
    EXPECT_EQ(ended, 100);
    EXPECT_EQ(zk->state(), State::closed);
    EXPECT_EQ((co_await zk->get("/")).error().code, ZkCode::closed);
    EXPECT_FALSE(co_await zk->wait_connected(1s));
  });
}

// What only a server under our thumb can show.

TEST(MemoryZk, AnExpiredSessionLosesItsNodesAndWatchesAndComesBackAsAnother) {
  runtime::Shards shards(1);
  runtime::block_on(shards[0], [&]() -> Task<void> {
    auto tree = MemoryTree::make();
    auto zk = tree->connect();
    auto watching = tree->connect();
    auto session = std::make_shared<Recorder>(shards[0]);
    auto outside = std::make_shared<Recorder>(shards[0]);
    zk->listen(session);
    const auto first = zk->session_id();
    (void)co_await zk->create("/e", "", CreateMode::ephemeral);
    (void)co_await zk->children("/", session);
    (void)co_await watching->exists("/e", outside);
    tree->hold_new_sessions(true);
    tree->expire(first);
    EXPECT_EQ(co_await session->next_session(), SessionEvent::expired);
    EXPECT_EQ((co_await outside->next_watch())->type, WatchEvent::Type::deleted);
    EXPECT_EQ((co_await zk->get("/")).error().code, ZkCode::connection_loss);
    tree->hold_new_sessions(false);
    EXPECT_EQ(co_await session->next_session(), SessionEvent::connected);
    EXPECT_NE(zk->session_id(), first);
    (void)co_await zk->create("/x", "");
    EXPECT_TRUE(session->watches.empty());
    co_await zk->close();
    co_await watching->close();
  });
  shards.stop();
}

TEST(MemoryZk, ADisconnectedSessionLosesNoEvent) {
  runtime::Shards shards(1);
  runtime::block_on(shards[0], [&]() -> Task<void> {
    auto tree = MemoryTree::make();
    auto zk = tree->connect();
    auto other = tree->connect();
    auto recorder = std::make_shared<Recorder>(shards[0]);
    zk->listen(recorder);
    (void)co_await zk->children("/", recorder);
    tree->disconnect(zk->session_id());
    EXPECT_EQ(co_await recorder->next_session(), SessionEvent::disconnected);
    EXPECT_EQ((co_await zk->get("/")).error().code, ZkCode::connection_loss);
    (void)co_await other->create("/a", "");
    EXPECT_TRUE(recorder->watches.empty());
    tree->reconnect(zk->session_id());
    EXPECT_EQ(co_await recorder->next_session(), SessionEvent::connected);
    EXPECT_EQ((co_await recorder->next_watch())->type, WatchEvent::Type::children);
    co_await zk->close();
    co_await other->close();
  });
  shards.stop();
}

class NoServer : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Body, NoServer, testing::Bool(),
                         [](const auto& info) { return info.param ? "native" : "real"; });

TEST_P(NoServer, EndsCallsAndClose) {
  auto security = GetParam() ? std::make_shared<Security>() : nullptr;
  for (const char* bad : {"", "/chroot", ":2181", "127.0.0.1:99999", "127.0.0.1:x"}) {
    EXPECT_FALSE(connect({.connect = bad, .security = security})) << bad;
  }
  runtime::Shards shards(1);
  runtime::block_on(shards[0], [&]() -> Task<void> {
    auto zk = connect({.connect = "127.0.0.1:1", .security = security});  // nothing listens there
    EXPECT_TRUE(zk.has_value());
    EXPECT_FALSE(co_await (*zk)->wait_connected(10ms));
    auto got = co_await (*zk)->get("/");
    EXPECT_EQ(got.error().code, ZkCode::connection_loss);
    co_await (*zk)->close();
    EXPECT_EQ((co_await (*zk)->get("/")).error().code, ZkCode::closed);
  });
  shards.stop();
}

}  // namespace
}  // namespace weir::zkclient
