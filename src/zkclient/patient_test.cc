#include "zkclient/patient.h"

#include <gtest/gtest.h>

#include <functional>

#include "runtime/shard.h"
#include "zkclient/faulty.h"
#include "zkclient/memory.h"

namespace weir::zkclient {
namespace {

using namespace std::chrono_literals;

// Runs `body` on a fresh tree whose n-th call fails, and reports how the tree ends.
struct Outcome {
  std::vector<std::pair<std::string, std::string>> tree;
  bool fault_happened = false;
};
Outcome run(FaultRule rule, std::function<Task<void>(Zk&)> body) {
  Outcome out;
  runtime::Shards shards(1);
  runtime::block_on(shards[0], [&]() -> Task<void> {
    auto tree = MemoryTree::make();
    auto zk = tree->connect();
    FaultRule counted = [&](const FaultyCall& call) {
      const auto at = rule(call);
      out.fault_happened = out.fault_happened || at != FaultAt::none;
      return at;
    };
    auto faulty = make_faulty(*zk, std::move(counted));
    auto patient = make_patient(*faulty);
    auto running = body(*patient);
    co_await std::move(running);
    out.tree = tree->dump();
    co_await zk->close();
  });
  shards.stop();
  return out;
}

Task<void> story(Zk& zk) {
  EXPECT_EQ(*co_await zk.create("/a", "1"), "/a");
  EXPECT_EQ((co_await zk.set("/a", "2", 0))->version, 1);
  EXPECT_TRUE((co_await zk.create("/e", "", CreateMode::ephemeral)).has_value());
  std::vector<Op> ops{Op::check("/a", 1), Op::create("/b", "3"), Op::set("/a", "4", 1), Op::remove("/e")};
  auto done = co_await zk.multi(ops);
  EXPECT_TRUE(done.has_value()) << (done ? "" : done.error().text());
  if (done) {
    EXPECT_EQ((*done)[1].path, "/b");
    EXPECT_EQ((*done)[2].stat.version, 2);
  }
  EXPECT_EQ((co_await zk.get("/a"))->data, "4");
  EXPECT_TRUE((co_await zk.create("/c", "")).has_value());
  EXPECT_TRUE((co_await zk.remove("/c", 0)).has_value());
  EXPECT_EQ((co_await zk.children("/"))->size(), 2U);
  EXPECT_TRUE((co_await zk.exists("/b"))->has_value());
  EXPECT_TRUE((co_await zk.sync("/")).has_value());
  // What was wrong before stays wrong.
  EXPECT_EQ((co_await zk.create("/a", "other")).error().code, ZkCode::node_exists);
  EXPECT_EQ((co_await zk.set("/a", "x", 0)).error().code, ZkCode::bad_version);
}

TEST(Patient, OneLostAnswerAnywhereChangesNothing) {
  const auto plain = run([](const FaultyCall&) { return FaultAt::none; }, story);
  for (const auto at : {FaultAt::before, FaultAt::after}) {
    std::uint64_t n = 0;
    for (;; ++n) {
      SCOPED_TRACE(n);
      const auto outcome = run(fail_nth(n, at), story);
      if (!outcome.fault_happened) break;
      EXPECT_EQ(outcome.tree, plain.tree);
      if (testing::Test::HasFailure()) return;
    }
    EXPECT_GT(n, 10U);
  }
}

TEST(Patient, ManyLostAnswersChangeNothing) {
  const auto plain = run([](const FaultyCall&) { return FaultAt::none; }, story);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    EXPECT_EQ(run(fail_by_seed(seed, 300), story).tree, plain.tree);
  }
}

// The answer of our set was lost and another wrote after it: that is not ours to claim.
TEST(Patient, AnothersWriteIsNotTakenForOurs) {
  runtime::Shards shards(1);
  runtime::block_on(shards[0], [&]() -> Task<void> {
    auto tree = MemoryTree::make();
    auto zk = tree->connect();
    auto other = tree->connect();
    (void)co_await other->create("/a", "theirs");
    (void)co_await other->create("/e", "", CreateMode::ephemeral);
    bool lose = true;
    auto faulty = make_faulty(
        *zk, [&](const FaultyCall&) { return std::exchange(lose, false) ? FaultAt::before : FaultAt::none; });
    auto patient = make_patient(*faulty);
    EXPECT_EQ((co_await patient->create("/a", "ours")).error().code, ZkCode::node_exists);
    lose = true;
    EXPECT_EQ((co_await patient->create("/e", "", CreateMode::ephemeral)).error().code, ZkCode::node_exists);
    lose = true;
    EXPECT_EQ((co_await patient->set("/a", "ours", 7)).error().code, ZkCode::bad_version);
    lose = true;
    std::vector<Op> ops{Op::create("/e", "", CreateMode::ephemeral), Op::set("/a", "ours", 0)};
    EXPECT_EQ((co_await patient->multi(ops)).error().code, ZkCode::node_exists);
    EXPECT_EQ((co_await zk->get("/a"))->data, "theirs");
    co_await zk->close();
    co_await other->close();
  });
  shards.stop();
}

TEST(Patient, WaitsForTheConnectionAndGivesUpWhenAsked) {
  runtime::Shards shards(1);
  runtime::block_on(shards[0], [&]() -> Task<void> {
    auto tree = MemoryTree::make();
    auto zk = tree->connect();
    auto patient = make_patient(*zk);
    auto hasty = make_patient(*zk, 1ms);
    tree->disconnect(zk->session_id());
    EXPECT_EQ((co_await hasty->get("/")).error().code, ZkCode::connection_loss);
    runtime::Scope scope(shards[0]);
    bool answered = false;
    auto ask = [&]() -> Task<void> { answered = (co_await patient->get("/")).has_value(); };
    scope.spawn(ask());
    EXPECT_FALSE(answered);
    tree->reconnect(zk->session_id());
    co_await scope.stop();
    EXPECT_TRUE(answered);
    co_await zk->close();
  });
  shards.stop();
}

}  // namespace
}  // namespace weir::zkclient
