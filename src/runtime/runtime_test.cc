#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <stdexcept>
#include <thread>

#include "runtime/budget.h"
#include "runtime/pool.h"
#include "runtime/random.h"
#include "runtime/shard.h"

namespace weir::runtime {
namespace {

// Real shards, stopped at the end.
struct Threads {
  explicit Threads(std::size_t n) : shards(n) {}
  ~Threads() { shards.stop(); }
  Shards shards;
};

TEST(Task, values_and_exceptions_reach_the_awaiter) {
  Threads t(1);
  int got = 0;
  bool caught = false;
  block_on(t.shards[0], [&]() -> Task<void> {
    auto seven = []() -> Task<int> { co_return 7; };
    got = co_await seven();
    auto bad = []() -> Task<int> {
      throw std::runtime_error("no");
      co_return 0;
    };
    try {
      co_await bad();
    } catch (const std::runtime_error&) {
      caught = true;
    }
  });
  EXPECT_EQ(got, 7);
  EXPECT_TRUE(caught);
}

TEST(Task, an_exception_comes_out_of_block_on) {
  Threads t(1);
  EXPECT_THROW(block_on(t.shards[0],
                        []() -> Task<void> {
                          throw std::logic_error("bug");
                          co_return;
                        }),
               std::logic_error);
}

TEST(Shard, jobs_of_one_poster_run_in_their_order) {
  Threads t(1);
  std::vector<int> seen;
  for (int i = 0; i < 1000; ++i) t.shards[0].post([&seen, i] { seen.push_back(i); });
  block_on(t.shards[0], []() -> Task<void> { co_return; });
  ASSERT_EQ(seen.size(), 1000U);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(seen[static_cast<std::size_t>(i)], i);
}

TEST(Shard, calls_run_on_the_owner_and_come_back) {
  Threads t(2);
  block_on(t.shards[0], [&]() -> Task<void> {
    auto where = [] { return Shard::current()->index(); };
    EXPECT_EQ(co_await call(t.shards[1], where), 1U);
    EXPECT_EQ(Shard::current()->index(), 0U);
    auto task = [&]() -> Task<std::size_t> {
      co_await sleep(t.shards[1], milliseconds(1));
      co_return Shard::current()->index();
    };
    EXPECT_EQ(co_await call(t.shards[1], task), 1U);
    EXPECT_EQ(Shard::current()->index(), 0U);
    auto bad = []() -> int { throw std::runtime_error("over there"); };
    bool caught = false;
    try {
      co_await call(t.shards[1], bad);
    } catch (const std::runtime_error&) {
      caught = true;
    }
    EXPECT_TRUE(caught);
    EXPECT_EQ(Shard::current()->index(), 0U);
  });
}

TEST(Shard, many_calls_from_all_to_all) {
  Threads t(3);
  constexpr std::uint64_t calls = 2000;
  std::vector<std::uint64_t> owned(3);  // each touched on its shard only
  std::atomic<int> left{3};
  for (std::size_t i = 0; i < 3; ++i) {
    block_on(t.shards[i], [&]() -> Task<void> { co_return; });
  }
  std::vector<std::thread> drivers;
  for (std::size_t from = 0; from < 3; ++from) {
    drivers.emplace_back([&, from] {
      block_on(t.shards[from], [&, from]() -> Task<void> {
        for (std::uint64_t i = 0; i < calls; ++i) {
          const auto to = (from + i) % 3;
          auto add = [&owned, to] { ++owned[to]; };
          co_await call(t.shards[to], add);
        }
        --left;
      });
    });
  }
  for (auto& d : drivers) d.join();
  EXPECT_EQ(left, 0);
  EXPECT_EQ(owned[0] + owned[1] + owned[2], 3 * calls);
}

TEST(Shard, timers_run_in_time_order_and_cancelled_ones_do_not) {
  Threads t(1);
  std::vector<int> seen;
  block_on(t.shards[0], [&]() -> Task<void> {
    auto& shard = t.shards[0];
    Waiter done(shard);
    const auto now = shard.clock().mono();
    shard.schedule(now + milliseconds(3), [&] {
      seen.push_back(3);
      done.wake();
    });
    shard.schedule(now + milliseconds(1), [&] { seen.push_back(1); });
    const auto gone = shard.schedule(now + milliseconds(2), [&] { seen.push_back(2); });
    EXPECT_TRUE(shard.cancel(gone));
    EXPECT_FALSE(shard.cancel(gone));
    co_await done.wait();
    EXPECT_GE(shard.clock().mono(), now + milliseconds(3));
  });
  EXPECT_EQ(seen, (std::vector<int>{1, 3}));
}

TEST(Waiter, woken_before_during_and_not_at_all) {
  Threads t(1);
  block_on(t.shards[0], [&]() -> Task<void> {
    auto& shard = t.shards[0];
    Waiter waiter(shard);
    waiter.wake();
    waiter.wake();
    EXPECT_TRUE(co_await waiter.wait(seconds(100)));
    EXPECT_FALSE(co_await waiter.wait(milliseconds(1))) << "two wakes before the wait count once";
    shard.post([&] { waiter.wake(); });
    EXPECT_TRUE(co_await waiter.wait(seconds(100)));
    shard.post([&] { waiter.wake(); });
    co_await waiter.wait();
  });
}

TEST(Scope, stop_waits_for_all) {
  Threads t(1);
  int ended = 0;
  block_on(t.shards[0], [&]() -> Task<void> {
    auto& shard = t.shards[0];
    Scope scope(shard);
    Waiter gate(shard);
    auto one = [](int& count, Waiter& wait) -> Task<void> {
      co_await wait.wait();
      ++count;
    };
    auto two = [](int& count) -> Task<void> {
      ++count;
      throw std::runtime_error("logged, not lost");
      co_return;
    };
    scope.spawn(one(ended, gate));
    scope.spawn(two(ended));
    EXPECT_EQ(scope.running(), 1U);
    shard.post([&] { gate.wake(); });
    co_await scope.stop();
    EXPECT_EQ(ended, 2);
  });
}

TEST(Pool, runs_elsewhere_and_comes_back) {
  Threads t(1);
  const auto pool = make_pool(2);
  block_on(t.shards[0], [&]() -> Task<void> {
    auto where = [] { return Shard::current(); };
    EXPECT_EQ(co_await pool->run(where), nullptr);
    EXPECT_EQ(Shard::current(), &t.shards[0]);
  });
}

TEST(Pool, the_destructor_runs_what_was_submitted) {
  std::atomic<int> ran{0};
  {
    const auto pool = make_pool(1);
    for (int i = 0; i < 100; ++i) pool->submit([&] { ++ran; });
  }
  EXPECT_EQ(ran, 100);
}

TEST(Random, a_seed_gives_the_same_again) {
  const auto a = seeded_random(42);
  const auto b = seeded_random(42);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(a->next(), b->next());
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 200; ++i) {
    const auto v = a->below(5);
    EXPECT_LT(v, 5U);
    seen.insert(v);
  }
  EXPECT_EQ(seen.size(), 5U);
  EXPECT_NE(system_random().uuid(), system_random().uuid());
}

TEST(Budget, first_come_first_served_and_nobody_hangs) {
  Threads t(1);
  Budget budget(100);
  std::vector<int> order;
  block_on(t.shards[0], [&]() -> Task<void> {
    auto& shard = t.shards[0];
    Scope scope(shard);
    auto first = co_await budget.take(60);
    auto take = [](Budget& b, std::uint64_t n, int id, std::vector<int>& seen) -> Task<void> {
      auto lease = co_await b.take(n);
      EXPECT_EQ(lease.bytes(), n);
      seen.push_back(id);
    };
    scope.spawn(take(budget, 500, 1, order));  // larger than all: waits until it is alone
    scope.spawn(take(budget, 10, 2, order));   // would fit, but came later
    EXPECT_EQ(budget.waiting(), 2U);
    EXPECT_FALSE(budget.try_take(1)) << "nobody overtakes";
    first.give_back();
    co_await scope.stop();
  });
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
  EXPECT_EQ(budget.used(), 0U);
}

TEST(Budget, a_wait_can_be_cancelled) {
  Threads t(1);
  Budget budget(10);
  block_on(t.shards[0], [&]() -> Task<void> {
    auto& shard = t.shards[0];
    Scope scope(shard);
    auto held = co_await budget.take(10);
    Budget::Wait wait;
    bool empty = false;
    auto take = [](Budget& b, Budget::Wait& w, bool& out) -> Task<void> {
      auto lease = co_await b.take(5, &w);
      out = !lease;
    };
    scope.spawn(take(budget, wait, empty));
    wait.cancel();
    wait.cancel();
    co_await scope.stop();
    EXPECT_TRUE(empty);
    EXPECT_EQ(budget.used(), 10U);
  });
}

TEST(Budget, shared_by_shards) {
  Threads t(3);
  Budget budget(64);
  std::atomic<std::uint64_t> out{0};
  std::vector<std::thread> drivers;
  for (std::size_t i = 0; i < 3; ++i) {
    drivers.emplace_back([&, i] {
      block_on(t.shards[i], [&, i]() -> Task<void> {
        for (int n = 0; n < 500; ++n) {
          auto lease = co_await budget.take(40);
          EXPECT_LE(out += 40, 64U);
          out -= 40;
          lease.give_back();
          EXPECT_EQ(Shard::current(), &t.shards[i]);
        }
      });
    });
  }
  for (auto& d : drivers) d.join();
  EXPECT_EQ(budget.used(), 0U);
}

}  // namespace
}  // namespace weir::runtime
