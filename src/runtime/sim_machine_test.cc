#include "runtime/sim_machine.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <utility>
#include <vector>

namespace weir::runtime {
namespace {

// What froze points to it: never taken apart.
template <class T, class... Args>
T& kept(Args&&... args) {
  static auto* all = new std::vector<T*>;
  return *all->emplace_back(new T(std::forward<Args>(args)...));
}

struct Machines : ::testing::Test {
  SimWorld& world = kept<SimWorld>(11U);
  SimMachine& one = kept<SimMachine>(world, "10.0.0.1", 1U);
  SimMachine& two = kept<SimMachine>(world, "10.0.0.2", 2U);

  // Runs `fn` on a process' first shard, as a job.
  template <class Fn>
  void on(SimProcess& process, Fn fn) {
    process.shards().front()->post(std::move(fn));
  }
};

// A connection from one machine to another, and what each end saw.
struct Pair {
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Socket> server;
  std::unique_ptr<Socket> client;
  int connect_error = 0;
  std::string read;
  int read_error = 0;
  bool read_ended = false;
  int write_error = 0;
};

Task<void> accept(SimProcess* process, Pair* pair) {
  auto socket = co_await pair->listener->accept(*process->shards().front());
  if (socket) pair->server = std::move(*socket);
}
Task<void> connect(SimProcess* process, Pair* pair, std::string to) {
  SocketOptions options;
  options.connect_max = milliseconds(3000);
  auto socket = co_await process->sockets().connect(*process->shards().front(), Address{to, 9}, options);
  if (socket) {
    pair->client = std::move(*socket);
  } else {
    pair->connect_error = socket.error().number;
  }
}
Task<void> read(Socket* from, Pair* pair) {
  for (;;) {
    std::array<std::byte, 16> some{};
    const bytes::MutableBytes out(some);
    const auto n = co_await from->read_some(out);
    if (!n) pair->read_error = n.error().number;
    pair->read_ended = !n || *n == 0;
    if (pair->read_ended) co_return;
    pair->read += bytes::as_text(bytes::Bytes(some).first(*n));
  }
}
Task<void> write(Socket* to, Pair* pair, std::string text) {
  std::vector<Chunk> chunks;
  chunks.push_back({.memory = bytes::Shared::copy(text)});
  const auto done = co_await to->write(std::move(chunks));
  if (!done) pair->write_error = done.error().number;
}

struct Network : Machines {
  SimProcess& a = one.start(1);
  SimProcess& b = two.start(1);
  Scope& on_a = kept<Scope>(*a.shards().front());
  Scope& on_b = kept<Scope>(*b.shards().front());
  Pair& pair = kept<Pair>();

  void connected() {
    on(b, [this] {
      pair.listener = std::move(*b.sockets().listen(*b.shards().front(), Address{"10.0.0.2", 9}, {}));
      on_b.spawn(accept(&b, &pair));
    });
    world.settle();
    on(a, [this] { on_a.spawn(connect(&a, &pair, "10.0.0.2")); });
    world.run_for(seconds(1));
    ASSERT_NE(pair.client, nullptr);
    ASSERT_NE(pair.server, nullptr);
    on(a, [this] { on_a.spawn(read(pair.client.get(), &pair)); });
    world.settle();
  }
  void send(std::string text) {
    on(b, [this, text] { on_b.spawn(write(pair.server.get(), &pair, text)); });
  }
};

TEST_F(Network, ComesFromTheMachinesOwnAddressAndIsHeldUpByACutOneWay) {
  connected();
  EXPECT_EQ(pair.server->peer().host, "10.0.0.1");
  world.sockets().set_link("10.0.0.2", "10.0.0.1", {.cut = true});
  send("hello");
  world.run_for(seconds(60));
  EXPECT_EQ(pair.read, "");
  world.sockets().set_link("10.0.0.2", "10.0.0.1", {});
  world.run_for(seconds(1));
  EXPECT_EQ(pair.read, "hello");
}
TEST_F(Network, KeepsAStreamInOrderWhateverTheDelay) {
  connected();
  world.sockets().set_link("10.0.0.2", "10.0.0.1", {.latency_min = milliseconds(1), .latency_max = milliseconds(500)});
  std::string all;
  for (int i = 0; i < 50; ++i) {
    all += std::to_string(i) + ",";
    send(std::to_string(i) + ",");
    world.run_for(milliseconds(20));
  }
  world.run_for(seconds(1));
  EXPECT_EQ(pair.read, all);
}
TEST_F(Network, AKilledProcessResetsItsConnectionsAndRefusesNewOnes) {
  connected();
  two.kill();
  world.run_for(seconds(1));
  EXPECT_TRUE(pair.read_ended);
  EXPECT_EQ(pair.read_error, ECONNRESET);
  pair.connect_error = 0;
  on(a, [this] { on_a.spawn(connect(&a, &pair, "10.0.0.2")); });
  world.run_for(seconds(1));
  EXPECT_EQ(pair.connect_error, ECONNREFUSED);
}
TEST_F(Network, AMachineWithoutPowerIsSilentUntilItIsBack) {
  connected();
  two.lose_power();
  world.run_for(seconds(100));
  EXPECT_FALSE(pair.read_ended);
  on(a, [this] { on_a.spawn(write(pair.client.get(), &pair, "are you there?")); });
  on(a, [this] { on_a.spawn(connect(&a, &pair, "10.0.0.2")); });
  world.run_for(seconds(100));
  EXPECT_FALSE(pair.read_ended);
  EXPECT_EQ(pair.connect_error, ETIMEDOUT);
  two.start(1);
  world.run_for(seconds(1));
  EXPECT_EQ(pair.read_error, ECONNRESET);
}
TEST_F(Network, AResetLosesWhatIsOnItsWay) {
  connected();
  world.sockets().set_link("10.0.0.2", "10.0.0.1", {.latency_min = seconds(1), .latency_max = seconds(1)});
  send("hello");
  world.settle();
  world.sockets().reset("10.0.0.1", "10.0.0.2");
  world.run_for(seconds(5));
  EXPECT_EQ(pair.read, "");
  EXPECT_EQ(pair.read_error, ECONNRESET);
}

TEST_F(Machines, WhatDiedRunsNeverAgain) {
  auto& process = one.start(2);
  int ran = 0;
  on(process, [&] { ++ran; });
  process.shards()[1]->post([&, shard = process.shards()[1]] {
    shard->schedule(world.clock().mono() + seconds(1), [&] { ++ran; });
    process.pool().submit([&] { ++ran; });
  });
  one.set_pool_latency(seconds(1), seconds(2));
  world.settle();
  EXPECT_EQ(ran, 1);
  one.kill();
  on(process, [&] { ++ran; });
  world.run_for(seconds(100));
  EXPECT_EQ(ran, 1);
  EXPECT_FALSE(process.alive());
}
TEST_F(Machines, APauseMakesTimersLate) {
  auto& process = one.start(1);
  auto* shard = process.shards().front();
  std::vector<int> ran;
  Shard::TimerId second = 0;
  on(process, [&] {
    shard->schedule(world.clock().mono() + seconds(1), [&] {
      ran.push_back(1);
      shard->cancel(second);  // it is due as well, and has not run
    });
    second = shard->schedule(world.clock().mono() + seconds(2), [&] { ran.push_back(2); });
    shard->schedule(world.clock().mono() + seconds(3), [&] { ran.push_back(3); });
  });
  world.settle();
  one.pause();
  on(process, [&] { ran.push_back(0); });
  world.run_for(seconds(60));
  EXPECT_TRUE(ran.empty());
  one.resume();
  world.settle();
  EXPECT_EQ(ran, (std::vector{0, 1, 3}));
}
TEST_F(Machines, EachHasItsOwnWallClock) {
  auto& process = one.start(1);
  const auto before = process.clock().wall();
  one.clock().jump_wall(milliseconds(-5000));
  EXPECT_EQ(process.clock().wall(), before - milliseconds(5000));
  EXPECT_EQ(two.clock().wall(), before);
  world.run_for(seconds(1));
  EXPECT_EQ(process.clock().wall(), before - milliseconds(4000));
  EXPECT_EQ(process.clock().mono(), world.clock().mono());
}
TEST_F(Machines, EndsInTheMiddleOfAFileOperation) {
  auto& process = one.start(1);
  bool ended = false;
  std::vector<bool> written;
  one.end_at_file_operation(2, false, [&] { ended = true; });
  on(process, [&] {
    for (const char* path : {"/a", "/b", "/c"}) {
      written.push_back(process.files().open(path, Open::create).has_value());
      EXPECT_FALSE(ended);
    }
  });
  world.settle();
  EXPECT_TRUE(ended);
  EXPECT_EQ(written, (std::vector{true, false, false}));
  EXPECT_EQ(one.process(), nullptr);
  one.start(1);
  EXPECT_TRUE(*one.disk().exists("/a"));
  EXPECT_FALSE(*one.disk().exists("/c"));
  EXPECT_TRUE(one.disk().open("/c", Open::create).has_value());
}

TEST(SimWorld, TwoRunsOfASeedHaveTheSameFingerprint) {
  const auto run = [](std::uint64_t seed) {
    SimWorld world(seed, 3);
    for (int i = 0; i < 50; ++i) {
      for (std::size_t s = 0; s < 3; ++s) world.shard(s).post([&world] { (void)world.random().next(); });
    }
    world.run_for(seconds(1));
    return world.fingerprint();
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

}  // namespace
}  // namespace weir::runtime
