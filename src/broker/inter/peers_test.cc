#include "broker/inter/peers.h"

#include <gtest/gtest.h>

#include <optional>

#include "runtime/sim.h"

namespace weir::broker {
namespace {

using namespace std::chrono_literals;
using runtime::Task;

const BrokerId b2{2};
const runtime::Address at{"127.0.0.2", 9092};

struct Asking {
  Task<void> ask() {
    auto connection = co_await peers.to(b2, at);
    error = connection ? ErrorCode::NONE : connection.error().code;
  }
  void run(std::move_only_function<Task<void>()> fn) { runtime::block_on(world.shard(0), std::move(fn)); }
  // It asks, and still waits a second later.
  void begin() {
    run([this]() -> Task<void> {
      scope.spawn(ask());
      co_return;
    });
    world.run_for(1s);
    EXPECT_FALSE(error);
  }
  nanoseconds stop() {
    const auto began = world.clock().mono();
    run([this]() -> Task<void> { co_await peers.stop(); });
    return world.clock().mono() - began;
  }
  void end() {
    run([this]() -> Task<void> { co_await scope.stop(); });
    EXPECT_EQ(error, ErrorCode::NETWORK_EXCEPTION);
  }

  runtime::SimWorld world{1, 1};
  runtime::Scope scope{world.shard(0)};
  Peers peers{world.shard(0), world.sockets(), {}};
  std::optional<ErrorCode> error;
};

TEST(Peers, AStopDoesNotWaitForAHostThatDoesNotAnswer) {
  Asking asking;
  asking.world.sockets().set_cut(true);
  asking.begin();
  EXPECT_LE(asking.stop(), 200ms);
  asking.end();
}

TEST(Peers, AStopDoesNotWaitForAProcessThatSaysNothing) {
  Asking asking;
  const auto silent = asking.world.sockets().listen(asking.world.shard(0), at, {});
  ASSERT_TRUE(silent);
  asking.begin();
  EXPECT_LE(asking.stop(), 200ms);
  asking.end();
}

// Its next life has another address, or the same and is asked anew: who waits for the last one hears that at once.
TEST(Peers, ABrokerThatIsGoneIsNotWaitedForEither) {
  Asking asking;
  const auto silent = asking.world.sockets().listen(asking.world.shard(0), at, {});
  ASSERT_TRUE(silent);
  asking.begin();
  asking.run([&]() -> Task<void> {
    asking.peers.drop(b2);
    co_return;
  });
  asking.world.run_for(200ms);
  EXPECT_EQ(asking.error, ErrorCode::NETWORK_EXCEPTION);
  EXPECT_LE(asking.stop(), 200ms);
  asking.end();
}

}  // namespace
}  // namespace weir::broker
