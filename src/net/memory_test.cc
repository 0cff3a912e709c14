// Memory for requests while it is short: who waits, who holds, and who is closed, to the exact time.
#include "net/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bytes/cursor.h"
#include "net/server.h"
#include "runtime/sim.h"

namespace weir::net {
namespace {

using runtime::Chunk;
using runtime::Scope;
using runtime::Socket;
using runtime::Task;
using runtime::Waiter;
using namespace std::chrono_literals;

std::string head(std::size_t size) {
  std::string out(4, '\0');
  bytes::store_big(reinterpret_cast<std::byte*>(out.data()), static_cast<std::int32_t>(size));
  return out;
}
std::string framed(std::size_t size) { return head(size) + std::string(size, 'x'); }

Task<bool> send(Socket& socket, std::string text) {
  std::vector<Chunk> chunks(1);
  chunks[0].memory = bytes::Shared::copy(text);
  auto result = co_await socket.write(std::move(chunks));
  co_return result.has_value();
}

// Answers each frame with one byte; while `held`, not before it is let go.
class Answering : public Service {
 public:
  Task<void> serve(std::shared_ptr<Connection> connection) override {
    for (;;) {
      auto frame = co_await connection->read_frame();
      if (!frame) co_return;
      if (rest > 0s) {
        co_await runtime::sleep(connection->shard(), rest);
        continue;
      }
      connection->mute();
      if (held) {
        Waiter waiter(connection->shard());
        let_go = [&waiter, &shard = connection->shard()] { shard.post([&waiter] { waiter.wake(); }); };
        co_await waiter.wait();
      }
      frame = std::unexpected(Ended::closed);  // its memory goes back
      std::vector<Chunk> chunks(1);
      chunks[0].memory = bytes::Shared::copy(std::string_view("!"));
      co_await connection->write(std::move(chunks));
      connection->unmute();
    }
  }
  bool held = false;
  nanoseconds rest{0};  // before it reads on, and without an answer
  std::function<void()> let_go;
};

constexpr std::uint16_t clients = 9092;
constexpr std::uint16_t brokers = 9093;

// Of 2,000,000 bytes for clients, 100,000 for their small requests and 500,000 for brokers; on one shard and on two.
struct MemoryTest : testing::TestWithParam<std::size_t> {
  MemoryTest() {
    ServerOptions options;
    options.spared_listener = "BROKERS";
    options.queued_bytes_max = 2'000'000;
    options.queued_small_bytes_max = 100'000;
    options.queued_spared_bytes_max = 500'000;
    server = std::make_unique<Server>(world.all(), world.sockets(), service, std::move(options));
    run([this]() -> Task<void> {
      std::vector<ListenerOptions> listeners(2);
      listeners[0].endpoint = {"CLIENTS", SecurityProtocol::plaintext, {"127.0.0.1", clients}};
      listeners[1].endpoint = {"BROKERS", SecurityProtocol::plaintext, {"127.0.0.1", brokers}};
      EXPECT_TRUE(co_await server->start(std::move(listeners)));
    });
  }
  ~MemoryTest() override {
    run([this]() -> Task<void> {
      if (!stopped) co_await server->stop();
      for (auto& one : peers) one->socket->close();
      co_await scope.stop();
    });
    EXPECT_EQ(server->budget().used(), 0U);
  }

  struct Peer {
    std::unique_ptr<Socket> socket;
    std::size_t answers = 0;
    nanoseconds answered{};
    std::optional<nanoseconds> ended;
  };

  void run(std::move_only_function<Task<void>()> fn) { runtime::block_on(world.shard(), std::move(fn)); }
  nanoseconds now() { return world.clock().mono() - began; }

  // A peer that has sent `text`, as far as the network took it.
  Peer& peer(std::string text, std::uint16_t port = clients) {
    auto& made = *peers.emplace_back(std::make_unique<Peer>());
    run([&]() -> Task<void> {
      auto socket = co_await world.sockets().connect(world.shard(), {"127.0.0.1", port}, {});
      EXPECT_TRUE(socket);
      made.socket = std::move(*socket);
      scope.spawn(listen(made));
    });
    give(made, std::move(text));
    return made;
  }
  void give(Peer& to, std::string text) {
    run([&]() -> Task<void> {
      scope.spawn(write(to, std::move(text)));
      co_return;
    });
    world.settle();
  }
  Task<void> write(Peer& to, std::string text) { co_await send(*to.socket, std::move(text)); }
  Task<void> listen(Peer& one) {
    std::array<std::byte, 1> byte{};
    for (;;) {
      auto n = co_await one.socket->read_some(byte);
      if (!n || *n == 0) break;
      ++one.answers;
      one.answered = now();
    }
    one.ended = now();
  }
  // A piece every `pause`, for ever.
  void trickle(Peer& from, std::size_t piece, nanoseconds pause) {
    world.after(pause, [this, &from, piece, pause] {
      if (from.ended || stopped) return;
      world.shard().post([this, &from, piece] { scope.spawn(write(from, std::string(piece, 'x'))); });
      trickle(from, piece, pause);
    });
  }

  runtime::SimWorld world{7, GetParam()};
  nanoseconds began = world.clock().mono();
  Answering service;
  Scope scope{world.shard()};
  std::unique_ptr<Server> server;
  std::vector<std::unique_ptr<Peer>> peers;
  bool stopped = false;
};

TEST_P(MemoryTest, who_only_announces_is_closed_when_another_needs_the_memory) {
  auto& one = peer(head(990'000));
  auto& two = peer(head(990'000));
  auto& three = peer(head(990'000));
  EXPECT_EQ(server->budget().used(), 1'980'000U);
  world.run_for(2s);
  auto& good = peer(framed(900'000));
  EXPECT_EQ(server->counters().memory_waits, 1U) << "the third sent nothing yet, and does not stand in the queue";
  world.run_for(60s);
  EXPECT_EQ(one.ended, 5s);
  EXPECT_EQ(good.answers, 1U);
  EXPECT_EQ(good.answered, 5s);
  EXPECT_FALSE(two.ended) << "nobody waits any more";
  EXPECT_FALSE(three.ended);
  EXPECT_EQ(server->counters().memory_held, 1U);
}

TEST_P(MemoryTest, who_was_silent_for_long_is_closed_at_once) {
  auto& one = peer(head(1'900'000) + "some");
  world.run_for(300s);
  EXPECT_FALSE(one.ended) << "a slow client alone keeps its connection";
  auto& good = peer(framed(900'000));
  world.run_for(0s);
  EXPECT_EQ(one.ended, 300s);
  EXPECT_EQ(good.answered, 300s);
}

TEST_P(MemoryTest, who_was_not_read_was_not_silent) {
  service.rest = 20s;
  auto& one = peer(framed(10) + head(1'000'000) + "some");
  world.run_for(20s);
  service.rest = 0s;
  auto& good = peer(framed(1'500'000));
  world.run_for(10s);
  EXPECT_EQ(one.ended, 25s);
  EXPECT_EQ(good.answered, 25s);
}

TEST_P(MemoryTest, many_silent_ones_do_not_take_turns) {
  // A hundred that send enough to stand in the queue, and nothing more.
  for (int i = 0; i < 100; ++i) peer(head(990'000) + std::string(3000, 'x'));
  world.run_for(1s);
  auto& good = peer(framed(900'000));
  world.run_for(30s);
  EXPECT_EQ(good.answers, 1U);
  EXPECT_EQ(good.answered, 5s) << "in one go, not one after the other";
}

TEST_P(MemoryTest, what_comes_slower_than_the_least_rate_is_closed_and_what_is_faster_is_not) {
  auto& slow = peer(head(990'000));
  trickle(slow, 8 * 1024, 1s);
  auto& fast = peer(head(990'000));
  trickle(fast, 24 * 1024, 1s);
  auto& good = peer(framed(990'000));
  world.run_for(40s);
  // After 5 s, and half a second more for each of 8 KiB; a frame of this size has to come a little faster than the
  // least.
  ASSERT_TRUE(slow.ended);
  EXPECT_GE(*slow.ended, 8900ms);
  EXPECT_LE(*slow.ended, 9s);
  EXPECT_EQ(good.answered, *slow.ended);
  EXPECT_FALSE(fast.ended);
  world.run_for(1s);
  EXPECT_EQ(fast.answers, 1U);
}

TEST_P(MemoryTest, nobody_is_closed_for_being_slow_while_nobody_waits) {
  auto& slow = peer(head(1'900'000));
  trickle(slow, 100, 60s);
  world.run_for(2h);
  EXPECT_FALSE(slow.ended);
  auto& fast = peer(head(60'001));  // there is room for it
  trickle(fast, 30'000, 1s);
  world.run_for(1h);
  EXPECT_EQ(fast.answers, 1U);
  EXPECT_FALSE(slow.ended);
}

TEST_P(MemoryTest, a_large_one_is_not_overtaken_for_ever_and_small_ones_go_on_beside_it) {
  service.held = true;
  auto& first = peer(framed(1'500'000));
  world.settle();
  service.held = false;
  auto& large = peer(framed(1'900'000));
  auto& middle = peer(framed(400'000));
  EXPECT_EQ(middle.answers, 0U) << "it would have room, but came later";
  std::size_t small_answers = 0;
  for (int i = 0; i < 10; ++i) {
    auto& small = peer(framed(50'000));
    world.settle();
    small_answers += small.answers;
  }
  EXPECT_EQ(small_answers, 10U);
  world.run_for(100s);
  EXPECT_EQ(large.answers, 0U);
  EXPECT_FALSE(first.ended) << "what is whole and being answered is not the peer's fault";
  service.let_go();
  world.run_for(1s);
  EXPECT_EQ(first.answers, 1U);
  EXPECT_EQ(large.answers, 1U);
  EXPECT_EQ(middle.answers, 1U);
}

TEST_P(MemoryTest, more_than_there_is_at_all_comes_alone) {
  auto& one = peer(framed(100'000));
  auto& huge = peer(framed(5'000'000));
  auto& other = peer(framed(1'000'000));
  world.run_for(1s);
  EXPECT_EQ(one.answers, 1U);
  EXPECT_EQ(huge.answers, 1U);
  EXPECT_EQ(other.answers, 1U);
  EXPECT_EQ(server->counters().memory_held, 0U);
}

TEST_P(MemoryTest, small_ones_that_are_silent_are_closed_for_other_small_ones) {
  auto& large = peer(head(2'000'000) + "some");
  trickle(large, 100'000, 1s);  // never too slow; it holds everything for 20 s
  auto& one = peer(head(60'000));
  auto& two = peer(head(40'000));
  auto& good = peer(framed(30'000));
  world.run_for(15s);
  EXPECT_EQ(one.ended, 5s);
  EXPECT_FALSE(two.ended) << "there is room again";
  EXPECT_EQ(good.answered, 5s);
  EXPECT_FALSE(large.ended);
}

TEST_P(MemoryTest, brokers_do_not_wait_for_what_clients_hold) {
  service.held = true;
  peer(framed(2'000'000));
  world.settle();
  service.held = false;
  peer(framed(1'000'000));
  EXPECT_EQ(server->counters().memory_waits, 1U);
  auto& broker = peer(framed(400'000), brokers);
  auto& order = peer(framed(3'000'000), brokers);  // more than they have: one at a time
  world.settle();
  EXPECT_EQ(broker.answers, 1U);
  EXPECT_EQ(order.answers, 1U);
  service.let_go();
  world.settle();
}

TEST_P(MemoryTest, who_leaves_while_it_waits_holds_nobody_up) {
  service.held = true;
  auto& first = peer(framed(1'500'000));
  world.settle();
  service.held = false;
  auto& gone = peer(framed(1'000'000));
  auto& good = peer(framed(400'000));
  world.run_for(1s);
  EXPECT_EQ(good.answers, 0U);
  gone.socket->close();
  service.let_go();
  world.run_for(1s);
  EXPECT_EQ(first.answers, 1U);
  EXPECT_EQ(good.answers, 1U);
}

TEST_P(MemoryTest, a_server_stops_with_holders_and_waiters) {
  peer(head(990'000));
  peer(head(990'000) + "part");
  peer(framed(900'000));
  peer(head(900'000));
  peer(head(60'000));
  world.run_for(1s);
  stopped = true;
  run([this]() -> Task<void> { co_await server->stop(); });
  EXPECT_EQ(server->counters().open(), 0U);
}

TEST_P(MemoryTest, who_holds_how_much_is_told) {
  auto& one = peer(head(990'000));
  world.run_for(3s);
  auto& two = peer(head(900'000) + std::string(10, 'x'));
  const auto from = [](const Peer& p) { return p.socket->local().text(); };
  EXPECT_EQ(server->memory().text(world.clock().mono()),
            "1890000 of 2000000 bytes are taken, 1890000 of them by 2 that are still coming (990000 for 3 s from " +
                from(one) + ", 900000 for 0 s from " + from(two) + ")");
  one.socket->close();
  two.socket->close();
  world.settle();
  EXPECT_EQ(server->memory().text(world.clock().mono()),
            "0 of 2000000 bytes are taken, 0 of them by 0 that are still coming");
}

INSTANTIATE_TEST_SUITE_P(Shards, MemoryTest, testing::Values(1, 2),
                         [](const auto& info) { return info.param == 1 ? "one" : "two"; });

}  // namespace
}  // namespace weir::net
