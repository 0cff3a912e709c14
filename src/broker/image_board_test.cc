#include "broker/image_board.h"

#include <gtest/gtest.h>

#include "runtime/sim.h"

namespace weir::broker {
namespace {

using namespace std::chrono_literals;
using runtime::Task;

struct ImageBoardTest : testing::Test {
  void run(std::move_only_function<Task<void>()> fn) { runtime::block_on(world.shard(0), std::move(fn)); }
  static std::function<void(cluster::ImageBuilder&)> controller(int id) {
    return [id](cluster::ImageBuilder& next) { next.set_controller(BrokerId{id}, ControllerEpoch{id}); };
  }

  runtime::SimWorld world{5, 3};
  ImageBoard board{world.all()};
};

TEST_F(ImageBoardTest, AChangeHasReachedEveryShardWhenItEnds) {
  run([&]() -> Task<void> {
    EXPECT_EQ(board.current()->controller(), no_broker);
    co_await board.change(controller(7));
    for (auto* shard : world.all()) {
      auto look = [&] { return board.current()->controller(); };
      EXPECT_EQ(co_await runtime::call(*shard, std::move(look)), BrokerId{7});
    }
    EXPECT_EQ(board.latest()->controller(), BrokerId{7});
  });
  EXPECT_EQ(board.latest_anywhere()->controller(), BrokerId{7});
}

TEST_F(ImageBoardTest, ChangesThatOverlapBuildOnEachOtherAndArriveInOrder) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    runtime::SimWorld other(seed, 4);
    ImageBoard here(other.all());
    runtime::block_on(other.shard(0), [&]() -> Task<void> {
      runtime::Scope scope(other.shard(0));
      for (int i = 1; i <= 5; ++i) {
        scope.spawn(here.change([i](cluster::ImageBuilder& next) {
          next.set_controller(BrokerId{i}, ControllerEpoch{i});
          next.put_topic("t" + std::to_string(i), Uuid{});
        }));
      }
      co_await scope.stop();
      for (auto* shard : other.all()) {
        auto look = [&] { return here.current(); };
        const auto image = co_await runtime::call(*shard, std::move(look));
        EXPECT_EQ(image->controller(), BrokerId{5});
        EXPECT_EQ(image->topic_count(), 5U) << "no change is lost";
      }
    });
  }
}

TEST_F(ImageBoardTest, OneWaitsOnAnyShardUntilItHolds) {
  run([&]() -> Task<void> {
    runtime::Scope scope(world.shard(0));
    auto later = [](runtime::SimWorld& w, ImageBoard& b) -> Task<void> {
      co_await runtime::sleep(w.shard(0), 100ms);
      co_await b.change(controller(1));
      co_await runtime::sleep(w.shard(0), 100ms);
      co_await b.change(controller(2));
    };
    const auto began = world.clock().mono();
    scope.spawn(later(world, board));
    auto wait = [&]() -> Task<bool> {
      auto holds = [](const cluster::Image& image) { return image.controller() == BrokerId{2}; };
      co_return co_await board.wait_until(std::move(holds), 10s);
    };
    EXPECT_TRUE(co_await runtime::call(world.shard(2), std::move(wait)));
    EXPECT_EQ(world.clock().mono() - began, 200ms);
    co_await scope.stop();
  });
}

TEST_F(ImageBoardTest, AWaitEndsWhenTimeRunsOutAndLeavesNothingBehind) {
  run([&]() -> Task<void> {
    auto never = [](const cluster::Image&) { return false; };
    const auto began = world.clock().mono();
    EXPECT_FALSE(co_await board.wait_until(never, 3s));
    EXPECT_EQ(world.clock().mono() - began, 3s);
    co_await board.change(controller(1));  // wakes nobody who is gone
    EXPECT_FALSE(co_await board.wait_until(never, 0s));
    auto always = [](const cluster::Image&) { return true; };
    EXPECT_TRUE(co_await board.wait_until(always, 0s));
  });
}

TEST_F(ImageBoardTest, AnImageInHandDoesNotChange) {
  run([&]() -> Task<void> {
    co_await board.change(controller(1));
    const auto image = board.current();
    co_await board.change(controller(2));
    EXPECT_EQ(image->controller(), BrokerId{1});
    EXPECT_EQ(board.current()->controller(), BrokerId{2});
  });
}

}  // namespace
}  // namespace weir::broker
