// What clients are told of leaders while a broker dies.
#include "broker/node.h"

#include <gtest/gtest.h>

#include "runtime/sim.h"

namespace weir::broker {
namespace {

using namespace std::chrono_literals;
using runtime::Task;

struct NodeTest : testing::Test {
  NodeTest() {
    node.images = &board;
    node.clock = &world.clock();
    run([this]() -> Task<void> {
      co_await board.change([](cluster::ImageBuilder& next) {
        next.set_brokers({broker(1), broker(2)});
        next.put_topic("t", Uuid{});
      });
      co_await lead(2);
    });
    world.run_for(10s);
  }
  void run(std::move_only_function<Task<void>()> fn) { runtime::block_on(world.shard(0), std::move(fn)); }
  static cluster::Broker broker(int id) {
    cluster::Broker out;
    out.id = BrokerId{id};
    return out;
  }
  Task<void> lead(int leader) {
    cluster::Partition partition;
    partition.leader = BrokerId{leader};
    partition.replicas = partition.isr = {BrokerId{1}, BrokerId{2}};
    co_await board.change(
        [partition](cluster::ImageBuilder& next) { next.put_partition("t", PartitionId{0}, partition); });
  }
  // The controller says that broker 2 is gone.
  Task<void> goes() {
    const auto was = board.latest()->broker(BrokerId{2});
    node.set_gone(std::make_shared<const Node::AllGone>(
        Node::AllGone{{std::make_shared<const cluster::Broker>(*was), world.clock().mono()}}));
    co_await board.change([](cluster::ImageBuilder& next) { next.remove_broker(BrokerId{2}); });
  }
  // How long one who asks waits, and whether a living broker leads then.
  Task<std::pair<nanoseconds, bool>> ask(bool connected_for_long) {
    auto led = [](const cluster::Image& now) {
      const auto leader = now.partition("t", PartitionId{0})->leader;
      return leader.value < 0 || now.alive(leader);
    };
    const auto began = world.clock().mono();
    co_await node.news_of_lost(led, connected_for_long);
    co_return std::pair(world.clock().mono() - began, led(*board.current()));
  }

  runtime::SimWorld world{3, 1};
  ImageBoard board{world.all()};
  Node node;
};

TEST_F(NodeTest, WhoComesWhenAllIsWellIsAnsweredAtOnce) {
  run([&]() -> Task<void> {
    EXPECT_EQ((co_await ask(false)).first, 0ns);
    EXPECT_EQ((co_await ask(true)).first, nanoseconds(Node::suspicion_wait_max));
  });
}

TEST_F(NodeTest, TheNextLeaderIsWaitedForNotOnlyThatTheOldOneIsGone) {
  run([&]() -> Task<void> {
    runtime::Scope scope(world.shard(0));
    auto dies = [](NodeTest& test) -> Task<void> {
      co_await runtime::sleep(test.world.shard(0), 10ms);
      test.node.note_lost(BrokerId{2});
      co_await runtime::sleep(test.world.shard(0), 50ms);
      co_await test.goes();
      co_await runtime::sleep(test.world.shard(0), 70ms);
      co_await test.lead(1);
    };
    scope.spawn(dies(*this));
    // Its own connection broke before this broker heard of anything.
    const auto [took, led] = co_await ask(true);
    EXPECT_TRUE(led);
    EXPECT_EQ(took, 130ms);
    co_await scope.stop();
    EXPECT_EQ((co_await ask(false)).first, 0ns);
  });
}

TEST_F(NodeTest, NobodyWaitsForLongForWhatDoesNotCome) {
  run([&]() -> Task<void> {
    node.note_lost(BrokerId{2});
    const auto alive = co_await ask(false);
    EXPECT_EQ(alive.first, nanoseconds(Node::lost_wait_max)) << "only the connection broke";
    EXPECT_EQ((co_await ask(false)).first, 0ns);
    co_await goes();
    const auto leaderless = co_await ask(false);
    EXPECT_EQ(leaderless.first, nanoseconds(Node::gone_wait_max));
    EXPECT_FALSE(leaderless.second);
    EXPECT_EQ((co_await ask(false)).first, 0ns);
  });
}

}  // namespace
}  // namespace weir::broker
