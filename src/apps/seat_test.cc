#include "apps/seat.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/shard.h"
#include "zkclient/memory.h"

namespace weir::apps {
namespace {

using runtime::Task;
using testing::ElementsAre;

constexpr auto path = "/weir/active";

// One control plane as far as its seat goes. What happened is in `events`.
struct Sitter {
  Sitter(runtime::Shard& shard, std::shared_ptr<zkclient::MemoryTree> tree, const std::string& name,
         milliseconds session_timeout = milliseconds(18'000))
      : zk(tree->connect(session_timeout)) {
    SeatHooks hooks;
    hooks.gained = [this]() -> Task<bool> {
      events.push_back(able ? "gained" : "unable");
      co_return able;
    };
    hooks.lost = [this]() -> Task<void> {
      events.push_back("lost");
      co_return;
    };
    hooks.occupied = [this](std::string by) -> Task<bool> {
      if (events.empty() || events.back() != "by " + by) events.push_back("by " + by);
      co_return end_of&& end_of(by);
    };
    seat = std::make_unique<Seat>(shard, *zk, path, name, std::move(hooks));
  }
  Task<void> end() {
    co_await seat->stop();
    co_await zk->close();
  }
  std::unique_ptr<zkclient::Zk> zk;
  std::vector<std::string> events;
  bool able = true;
  std::function<bool(const std::string&)> end_of;
  std::unique_ptr<Seat> seat;
};

class SeatTest : public testing::Test {
 protected:
  ~SeatTest() override { shards.stop(); }
  template <class Work>
  void on_shard(Work work) {
    runtime::block_on(shards[0], std::move(work));
  }
  Task<void> until(std::function<bool()> is) {
    for (int i = 0; i < 4000 && !is(); ++i) co_await runtime::sleep(shards[0], milliseconds(5));
    EXPECT_TRUE(is());
  }
  runtime::Shards shards{1};
  std::shared_ptr<zkclient::MemoryTree> tree = zkclient::MemoryTree::make();
};

TEST_F(SeatTest, OneSitsAndTheOtherTakesOverWhenItGivesUp) {
  on_shard([this]() -> Task<void> {
    Sitter one(shards[0], tree, "one");
    Sitter two(shards[0], tree, "two");
    one.seat->start();
    co_await until([&] { return one.seat->mine(); });
    two.seat->start();
    co_await until([&] { return !two.events.empty(); });
    EXPECT_FALSE(two.seat->mine());
    EXPECT_EQ(tree->data(path), "one");
    co_await one.end();
    co_await until([&] { return two.seat->mine(); });
    EXPECT_THAT(one.events, ElementsAre("gained", "lost"));
    EXPECT_THAT(two.events, ElementsAre("by one", "gained"));
    co_await two.end();
    EXPECT_FALSE(tree->data(path));
  });
}

TEST_F(SeatTest, WhoseSessionExpiresLosesTheSeatBeforeItSitsAgain) {
  on_shard([this]() -> Task<void> {
    Sitter one(shards[0], tree, "one");
    one.seat->start();
    co_await until([&] { return one.seat->mine(); });
    tree->expire(one.zk->session_id());
    co_await until([&] { return one.events.size() == 3; });
    EXPECT_THAT(one.events, ElementsAre("gained", "lost", "gained"));
    co_await one.end();
  });
}

TEST_F(SeatTest, WhoIsCutOffForLongerThanItsSessionLivesDoesNotSitAnyMore) {
  on_shard([this]() -> Task<void> {
    Sitter one(shards[0], tree, "one", milliseconds(50));
    one.seat->start();
    co_await until([&] { return one.seat->mine(); });
    EXPECT_TRUE(co_await one.seat->confirm());
    tree->disconnect(one.zk->session_id());
    EXPECT_FALSE(co_await one.seat->confirm());
    co_await until([&] { return !one.seat->mine(); });
    EXPECT_THAT(one.events, ElementsAre("gained", "lost"));
    // The service has not ended its session: the seat is its own still, and it sits again.
    tree->reconnect(one.zk->session_id());
    co_await until([&] { return one.seat->mine(); });
    EXPECT_TRUE(co_await one.seat->confirm());
    co_await one.end();
  });
}

TEST_F(SeatTest, WhoCannotActLeavesTheSeatToAnother) {
  on_shard([this]() -> Task<void> {
    Sitter one(shards[0], tree, "one");
    one.able = false;
    one.seat->start();
    co_await until([&] { return !one.events.empty(); });
    Sitter two(shards[0], tree, "two");
    two.seat->start();
    co_await until([&] { return two.seat->mine(); });
    co_await two.end();
    EXPECT_FALSE(one.seat->mine());
    co_await one.end();
  });
}

TEST_F(SeatTest, TheSessionOfADeadOneIsEndedAndTheSeatTakenAtOnce) {
  on_shard([this]() -> Task<void> {
    auto dead = tree->connect();
    co_await zkclient::create_with_parents(*dead, path, "dead", zkclient::CreateMode::ephemeral);
    Sitter one(shards[0], tree, "one");
    one.end_of = [&](const std::string& by) {
      if (by == "dead") tree->expire(dead->session_id());
      return by == "dead";
    };
    one.seat->start();
    co_await until([&] { return one.seat->mine(); });
    EXPECT_THAT(one.events, ElementsAre("by dead", "gained"));
    co_await one.end();
    co_await dead->close();
  });
}

}  // namespace
}  // namespace weir::apps
