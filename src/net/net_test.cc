#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <mutex>
#include <thread>

#include "bytes/cursor.h"
#include "net/connection.h"
#include "net/endpoint.h"
#include "net/http.h"
#include "net/server.h"
#include "runtime/pool.h"
#include "runtime/sim.h"

namespace weir::net {
namespace {

using runtime::Address;
using runtime::Chunk;
using runtime::Scope;
using runtime::Shard;
using runtime::SimWorld;
using runtime::Socket;
using runtime::Task;
using runtime::Waiter;

Chunk chunk(std::string_view text) {
  Chunk made;
  made.memory = bytes::Shared::copy(text);
  return made;
}

std::string framed(std::string_view body) {
  std::string out(4, '\0');
  bytes::store_big(reinterpret_cast<std::byte*>(out.data()), static_cast<std::int32_t>(body.size()));
  return out + std::string(body);
}

Task<bool> send(Socket& socket, std::string text) {
  std::vector<Chunk> chunks;
  chunks.push_back(chunk(text));
  auto result = co_await socket.write(std::move(chunks));
  co_return result.has_value();
}

// `size` bytes, or fewer when the stream ends before.
Task<std::string> receive(Socket& socket, std::size_t size) {
  std::string out(size, '\0');
  std::size_t got = 0;
  while (got < size) {
    auto n = co_await socket.read_some(std::as_writable_bytes(std::span(out).subspan(got)));
    if (!n || *n == 0) break;
    got += *n;
  }
  out.resize(got);
  co_return out;
}

// Sends each frame back as it came, and remembers how connections ended.
class Echo : public Service {
 public:
  Task<void> serve(std::shared_ptr<Connection> connection) override {
    for (;;) {
      auto frame = co_await connection->read_frame();
      if (!frame) {
        const std::lock_guard lock(mutex);
        ends.push_back(frame.error());
        co_return;
      }
      connection->mute();
      co_await work(*connection);
      std::vector<Chunk> chunks;
      chunks.push_back(chunk(framed(frame->bytes.text())));
      auto written = co_await connection->write(std::move(chunks));
      connection->unmute();
    }
  }
  virtual Task<void> work(Connection&) { co_return; }

  std::mutex mutex;
  std::vector<Ended> ends;
};

Endpoint endpoint(Address at, std::string listener = "PLAINTEXT") {
  return {std::move(listener), SecurityProtocol::plaintext, std::move(at)};
}

// A server in a simulated world, on 127.0.0.1:9092 and shard 0, unless told otherwise.
struct Sim {
  explicit Sim(ServerOptions options = {}, std::size_t shards = 1, Service* other = nullptr)
      : world(11, shards), server(world.all(), world.sockets(), other != nullptr ? *other : echo, std::move(options)) {}
  ~Sim() {
    runtime::block_on(world.shard(), [&]() -> Task<void> { co_await server.stop(); });
  }
  void start(std::vector<ListenerOptions> listeners = {ListenerOptions{.endpoint = endpoint({"127.0.0.1", 9092})}}) {
    run([&]() -> Task<void> {
      auto bound = co_await server.start(listeners);
      EXPECT_TRUE(bound) << bound.error().message;
    });
  }
  void run(std::move_only_function<Task<void>()> fn) { runtime::block_on(world.shard(), std::move(fn)); }
  Task<std::unique_ptr<Socket>> connect(std::uint16_t port = 9092) {
    const Address to{"127.0.0.1", port};
    auto socket = co_await world.sockets().connect(world.shard(), to, {});
    EXPECT_TRUE(socket) << socket.error().message;
    co_return std::move(*socket);
  }

  SimWorld world;
  Echo echo;
  Server server;
};

TEST(Frames, pipelined_of_every_size_come_back_in_order) {
  Sim sim;
  sim.start();
  sim.run([&]() -> Task<void> {
    auto client = co_await sim.connect();
    std::string all;
    for (std::size_t size : {0, 1, 5, 2043, 2044, 2045, 100, 2048, 2049, 16'384, 3, 511, 513, 100'000, 0, 7}) {
      std::string body(size, 'a');
      for (std::size_t i = 0; i < size; ++i) body[i] = static_cast<char>('a' + (i * 7 + size) % 26);
      all += framed(body);
    }
    Scope scope(sim.world.shard());
    auto write = [](Socket& socket, std::string text) -> Task<void> { EXPECT_TRUE(co_await send(socket, text)); };
    scope.spawn(write(*client, all));
    EXPECT_TRUE(co_await receive(*client, all.size()) == all);
    co_await scope.stop();
  });
  EXPECT_EQ(sim.server.counters().frames, 16U);
}

TEST(Frames, what_has_arrived_is_known) {
  struct Asking : Echo {
    Task<void> work(Connection& connection) override {
      seen.push_back(connection.has_frame());
      co_return;
    }
    std::vector<bool> seen;
  } service;
  Sim sim({}, 1, &service);
  sim.start();
  sim.run([&]() -> Task<void> {
    auto client = co_await sim.connect();
    const auto all = framed("a") + framed("") + framed("c");
    EXPECT_TRUE(co_await send(*client, all + framed("part").substr(0, 6)));
    EXPECT_EQ(co_await receive(*client, all.size()), all);
  });
  EXPECT_EQ(service.seen, (std::vector<bool>{true, true, false}));
}

TEST(Frames, split_at_every_byte) {
  const std::string all = framed("hello") + framed("") + framed(std::string(3000, 'x'));
  for (std::size_t read_max : {1, 3}) {
    Sim sim;
    sim.world.sockets().set_read_max(read_max);
    sim.start();
    sim.run([&]() -> Task<void> {
      auto client = co_await sim.connect();
      EXPECT_TRUE(co_await send(*client, all));
      EXPECT_EQ(co_await receive(*client, all.size()), all);
    });
  }
  for (std::size_t cut = 0; cut < 20; ++cut) {
    Sim sim;
    sim.start();
    sim.run([&]() -> Task<void> {
      auto client = co_await sim.connect();
      EXPECT_TRUE(co_await send(*client, all.substr(0, cut)));
      co_await runtime::sleep(sim.world.shard(), milliseconds(1));
      EXPECT_TRUE(co_await send(*client, all.substr(cut)));
      EXPECT_EQ(co_await receive(*client, all.size()), all);
    });
  }
}

TEST(Frames, a_length_that_cannot_be_closes_and_others_go_on) {
  ServerOptions options;
  options.frame_bytes_max = 1000;
  Sim sim(options);
  sim.start();
  sim.run([&]() -> Task<void> {
    auto good = co_await sim.connect();
    for (const std::string& bad :
         {std::string("\xff\xff\xff\xff", 4), std::string("\0\0\x03\xe9", 4), std::string("GET / HTTP/1.1\r\n\r\n"),
          std::string("\x16\x03\x01\x02\x00", 5), std::string("\x80\0\0\0", 4)}) {
      auto client = co_await sim.connect();
      EXPECT_TRUE(co_await send(*client, bad));
      EXPECT_EQ(co_await receive(*client, 1), "");
    }
    const auto most = framed(std::string(1000, 'x'));
    EXPECT_TRUE(co_await send(*good, most));
    EXPECT_EQ(co_await receive(*good, most.size()), most);
  });
  EXPECT_EQ(sim.server.counters().bad_frames, 5U);
  EXPECT_THAT(sim.echo.ends, testing::Each(Ended::bad_frame));
}

TEST(Frames, the_end_between_frames_is_clean_and_within_one_is_not) {
  Sim sim;
  sim.start();
  sim.run([&]() -> Task<void> {
    for (const auto& text : {framed("whole"), framed("whole").substr(0, 2), framed("whole").substr(0, 6)}) {
      auto client = co_await sim.connect();
      EXPECT_TRUE(co_await send(*client, text));
      client->close();
      co_await runtime::sleep(sim.world.shard(), milliseconds(1));
    }
  });
  sim.world.settle();
  EXPECT_EQ(sim.echo.ends, (std::vector<Ended>{Ended::closed, Ended::broken, Ended::broken}));
  EXPECT_EQ(sim.server.counters().cut_frames, 2U);
  EXPECT_EQ(sim.server.counters().open(), 0U);
}

TEST(Memory, a_frame_over_the_budget_is_not_read_until_there_is_room) {
  ServerOptions options;
  options.queued_bytes_max = 1000;
  struct Holding : Echo {
    Task<void> work(Connection& connection) override {
      if (held) co_return;
      held = true;
      Waiter waiter(connection.shard());
      gate = &waiter;
      co_await waiter.wait();
    }
    bool held = false;
    Waiter* gate = nullptr;
  } service;
  Sim sim(options, 1, &service);
  sim.start();
  sim.run([&]() -> Task<void> {
    auto first = co_await sim.connect();
    auto second = co_await sim.connect();
    EXPECT_TRUE(co_await send(*first, framed(std::string(800, 'a'))));
    co_await runtime::sleep(sim.world.shard(), milliseconds(1));
    EXPECT_EQ(sim.server.budget().used(), 800U);
    // More than the budget has left; what the network holds, and then the writer waits.
    sim.world.sockets().set_window(2500);
    const auto large = framed(std::string(5000, 'b'));
    Scope scope(sim.world.shard());
    bool sent = false;
    auto write = [](Socket& socket, std::string text, bool& done) -> Task<void> { done = co_await send(socket, text); };
    scope.spawn(write(*second, large, sent));
    co_await runtime::sleep(sim.world.shard(), seconds(3600));
    EXPECT_FALSE(sent) << "the connection is not read";
    EXPECT_EQ(sim.server.counters().memory_waits, 1U);
    EXPECT_EQ(sim.server.counters().expired_idle, 0U) << "who waits for memory, or for an answer, is not idle";
    service.gate->wake();
    EXPECT_EQ((co_await receive(*second, large.size())).size(), large.size());
    co_await scope.stop();
  });
  EXPECT_EQ(sim.server.budget().used(), 0U);
}

TEST(Idle, closes_the_silent_and_the_stalled_but_not_the_working) {
  ServerOptions options;
  options.idle_max = seconds(10);
  struct Slow : Echo {
    Task<void> work(Connection& connection) override { co_await runtime::sleep(connection.shard(), seconds(60)); }
  } service;
  Sim sim(options, 1, &service);
  sim.start();
  sim.run([&]() -> Task<void> {
    auto& shard = sim.world.shard();
    const auto start = shard.clock().mono();
    auto silent = co_await sim.connect();
    auto stalled = co_await sim.connect();
    auto busy = co_await sim.connect();
    auto trickle = co_await sim.connect();
    EXPECT_TRUE(co_await send(*stalled, framed("half a frame").substr(0, 9)));
    EXPECT_TRUE(co_await send(*busy, framed("long poll")));
    EXPECT_EQ(co_await receive(*silent, 1), "");
    EXPECT_EQ(shard.clock().mono() - start, seconds(10));
    EXPECT_EQ(co_await receive(*stalled, 1), "");
    EXPECT_EQ(shard.clock().mono() - start, seconds(10));
    EXPECT_EQ((co_await receive(*busy, 13)).size(), 13U);
    EXPECT_GE(shard.clock().mono() - start, seconds(60));
    EXPECT_EQ(co_await receive(*busy, 1), "");
    EXPECT_EQ(shard.clock().mono() - start, seconds(70)) << "the time begins anew with the answer";
  });
  EXPECT_EQ(sim.server.counters().expired_idle, 4U);
}

TEST(Idle, a_trickle_keeps_a_connection) {
  ServerOptions options;
  options.idle_max = seconds(10);
  Sim sim(options);
  sim.start();
  sim.run([&]() -> Task<void> {
    auto client = co_await sim.connect();
    const auto frame = framed("slowly");
    for (const char c : frame) {
      EXPECT_TRUE(co_await send(*client, std::string(1, c)));
      co_await runtime::sleep(sim.world.shard(), seconds(9));
    }
    EXPECT_EQ(co_await receive(*client, frame.size()), frame);
  });
}

TEST(Idle, a_peer_that_never_reads_is_closed_and_nothing_grows) {
  ServerOptions options;
  options.idle_max = seconds(10);
  Sim sim(options);
  sim.start();
  sim.run([&]() -> Task<void> {
    auto client = co_await sim.connect();
    std::string all;
    while (all.size() < 1'000'000) all += framed(std::string(1000, 'x'));
    Scope scope(sim.world.shard());
    auto write = [](Socket& socket, std::string text) -> Task<void> { EXPECT_FALSE(co_await send(socket, text)); };
    scope.spawn(write(*client, all));
    co_await scope.stop();
  });
  sim.world.settle();
  EXPECT_LT(sim.server.counters().frames, 200U) << "what it did not take is what stopped its requests";
  EXPECT_EQ(sim.server.counters().open(), 0U);
}

// What it pushes, and when, is the test's.
struct Pushing : Service {
  Task<void> serve(std::shared_ptr<Connection> given) override {
    connection = given;
    Waiter waiter(given->shard());
    gate = &waiter;
    co_await waiter.wait();
    gate = nullptr;
  }
  std::shared_ptr<Connection> connection;
  Waiter* gate = nullptr;
};

TEST(Pushes, keep_the_order_of_the_calls) {
  Pushing service;
  Sim sim({}, 1, &service);
  sim.world.sockets().set_window(1000);
  sim.start();
  sim.run([&]() -> Task<void> {
    auto client = co_await sim.connect();
    co_await runtime::sleep(sim.world.shard(), milliseconds(1));
    Scope scope(sim.world.shard());
    auto write = [](std::shared_ptr<Connection> to, char c) -> Task<void> {
      std::vector<Chunk> chunks;
      chunks.push_back(chunk(std::string(1500, c)));
      EXPECT_TRUE(co_await to->write(std::move(chunks)));
    };
    const auto push = [&](char c) { service.connection->send(bytes::Shared::copy(std::string(1200, c))); };
    std::string expected;
    scope.spawn(write(service.connection, 'a'));
    push('b');
    push('c');
    scope.spawn(write(service.connection, 'd'));
    push('e');
    scope.spawn(write(service.connection, 'f'));
    push('g');
    for (const char c : {'a', 'b', 'c', 'd', 'e', 'f', 'g'}) {
      expected += std::string(c == 'a' || c == 'd' || c == 'f' ? 1500 : 1200, c);
    }
    service.gate->wake();  // serve() returns: what was pushed still goes out before the close
    EXPECT_EQ(co_await receive(*client, expected.size() + 1), expected);
    co_await scope.stop();
  });
  service.connection = nullptr;
}

TEST(Pushes, over_their_bound_close_the_connection) {
  Pushing service;
  ServerOptions options;
  options.queued_push_bytes_max = 10'000;
  Sim sim(options, 1, &service);
  sim.world.sockets().set_window(1000);
  sim.start();
  sim.run([&]() -> Task<void> {
    auto client = co_await sim.connect();
    co_await runtime::sleep(sim.world.shard(), milliseconds(1));
    // One fills the network, ten wait.
    for (int i = 0; i < 11; ++i) service.connection->send(bytes::Shared::copy(std::string(1000, 'x')));
    EXPECT_FALSE(service.connection->closed());
    service.connection->send(bytes::Shared::copy("y"));
    EXPECT_TRUE(service.connection->closed());
    service.connection->send(bytes::Shared::copy("ignored"));
    service.gate->wake();
  });
  service.connection = nullptr;
}

TEST(Connection, peek4_leaves_the_bytes_where_they_are) {
  struct Words : Service {
    Task<void> serve(std::shared_ptr<Connection> connection) override {
      auto first = co_await connection->peek4();
      if (!first) co_return;
      if (bytes::as_text(*first) == "ruok") {
        std::array<std::byte, 4> taken{};
        auto n = co_await connection->read_some(taken);
        EXPECT_EQ(n, 4U);
        connection->send(bytes::Shared::copy("imok"));
        co_return;
      }
      auto frame = co_await connection->read_frame();
      connection->send(bytes::Shared::copy(frame ? frame->bytes.text() : "no frame"));
    }
  } service;
  Sim sim({}, 1, &service);
  sim.start();
  sim.run([&]() -> Task<void> {
    auto word = co_await sim.connect();
    EXPECT_TRUE(co_await send(*word, "ruok"));
    EXPECT_EQ(co_await receive(*word, 100), "imok");
    auto frame = co_await sim.connect();
    EXPECT_TRUE(co_await send(*frame, framed("body")));
    EXPECT_EQ(co_await receive(*frame, 100), "body");
  });
}

TEST(Limits, per_ip_closes_at_once_with_overrides) {
  ServerOptions options;
  options.connections_per_ip_max = 2;
  options.connections_per_ip_overrides = {{"10.0.0.9", 1}, {"10.0.0.8", 0}};
  Sim sim(options, 2);
  sim.start();
  sim.run([&]() -> Task<void> {
    const auto served = [&](Socket& socket) -> Task<bool> {
      co_await send(socket, framed("x"));
      co_return (co_await receive(socket, 5)).size() == 5;
    };
    auto a = co_await sim.connect();
    auto b = co_await sim.connect();
    auto c = co_await sim.connect();
    EXPECT_TRUE(co_await served(*a));
    EXPECT_TRUE(co_await served(*b));
    EXPECT_FALSE(co_await served(*c));
    sim.world.sockets().set_source("10.0.0.9");
    auto d = co_await sim.connect();
    auto e = co_await sim.connect();
    EXPECT_TRUE(co_await served(*d));
    EXPECT_FALSE(co_await served(*e));
    sim.world.sockets().set_source("10.0.0.8");
    auto f = co_await sim.connect();
    EXPECT_FALSE(co_await served(*f));
    a->close();
    co_await runtime::sleep(sim.world.shard(), milliseconds(1));
    sim.world.sockets().set_source("127.0.0.1");
    auto g = co_await sim.connect();
    EXPECT_TRUE(co_await served(*g)) << "a place was free again";
  });
  EXPECT_EQ(sim.server.counters().rejected, 3U);
}

std::vector<ListenerOptions> two_listeners() {
  return {ListenerOptions{.endpoint = endpoint({"127.0.0.1", 9092})},
          ListenerOptions{.endpoint = endpoint({"127.0.0.1", 9093}, "OTHER")}};
}

TEST(Limits, at_the_total_nothing_is_accepted_until_one_leaves) {
  ServerOptions options;
  options.connections_max = 2;
  options.listeners["OTHER"].connections_max = 1;
  Sim sim(options);
  sim.start(two_listeners());
  sim.run([&]() -> Task<void> {
    auto& shard = sim.world.shard();
    Scope scope(shard);
    std::vector<int> served;
    auto ask = [](Socket& socket, int id, std::vector<int>& out) -> Task<void> {
      co_await send(socket, framed("x"));
      if ((co_await receive(socket, 5)).size() == 5) out.push_back(id);
    };
    auto a = co_await sim.connect(9093);
    scope.spawn(ask(*a, 1, served));
    co_await runtime::sleep(shard, milliseconds(1));
    auto b = co_await sim.connect(9093);  // over that listener's own limit
    scope.spawn(ask(*b, 2, served));
    co_await runtime::sleep(shard, milliseconds(1));
    EXPECT_EQ(served, (std::vector<int>{1}));
    EXPECT_EQ(sim.server.connections("OTHER"), 1U);
    auto c = co_await sim.connect(9092);
    scope.spawn(ask(*c, 3, served));
    co_await runtime::sleep(shard, milliseconds(1));
    auto d = co_await sim.connect(9092);  // over the total
    scope.spawn(ask(*d, 4, served));
    co_await runtime::sleep(shard, seconds(60));
    EXPECT_EQ(served, (std::vector<int>{1, 3}));
    c->close();
    co_await runtime::sleep(shard, milliseconds(1));
    EXPECT_EQ(served, (std::vector<int>{1, 3, 4}));
    a->close();
    co_await scope.stop();
    EXPECT_EQ(served, (std::vector<int>{1, 3, 4, 2}));
  });
}

TEST(Server, accept_errors_pass) {
  Sim sim;
  sim.start();
  sim.world.sockets().fail_accept(EMFILE);
  sim.world.settle();
  sim.run([&]() -> Task<void> {
    auto client = co_await sim.connect();
    EXPECT_TRUE(co_await send(*client, framed("x")));
    EXPECT_EQ(co_await receive(*client, 5), framed("x"));
  });
  EXPECT_EQ(sim.server.counters().accept_errors, 1U);
}

TEST(Server, connections_spread_over_the_shards) {
  struct Where : Echo {
    Task<void> work(Connection& connection) override {
      EXPECT_TRUE(connection.shard().here());
      ++on[connection.shard().index()];
      co_return;
    }
    std::map<std::size_t, int> on;
  } service;
  Sim sim({}, 3, &service);
  sim.start();
  sim.run([&]() -> Task<void> {
    std::vector<std::unique_ptr<Socket>> clients;
    for (int i = 0; i < 9; ++i) {
      clients.push_back(co_await sim.connect());
      EXPECT_TRUE(co_await send(*clients.back(), framed("x")));
      EXPECT_EQ((co_await receive(*clients.back(), 5)).size(), 5U);
    }
  });
  EXPECT_EQ(service.on, (std::map<std::size_t, int>{{0, 3}, {1, 3}, {2, 3}}));
}

TEST(Server, binds_all_or_none_and_says_where) {
  Sim sim;
  sim.start();
  Server second(sim.world.all(), sim.world.sockets(), sim.echo, {});
  sim.run([&]() -> Task<void> {
    std::vector<ListenerOptions> listeners;
    listeners.push_back({.endpoint = endpoint({"127.0.0.1", 9100}, "FREE")});
    listeners.push_back({.endpoint = endpoint({"127.0.0.1", 9092}, "TAKEN")});
    auto bound = co_await second.start(listeners);
    EXPECT_FALSE(bound);
    EXPECT_EQ(bound.error().message, "listener TAKEN: cannot listen on 127.0.0.1:9092: Address already in use");
    const Address free{"127.0.0.1", 9100};
    auto nobody = co_await sim.world.sockets().connect(sim.world.shard(), free, {});
    EXPECT_FALSE(nobody);
  });
}

TEST(Server, a_service_that_throws_costs_its_connection_only) {
  struct Throwing : Echo {
    Task<void> work(Connection&) override {
      if (first) {
        first = false;
        throw std::runtime_error("bug");
      }
      co_return;
    }
    bool first = true;
  } service;
  Sim sim({}, 1, &service);
  sim.start();
  sim.run([&]() -> Task<void> {
    auto a = co_await sim.connect();
    auto b = co_await sim.connect();
    EXPECT_TRUE(co_await send(*a, framed("x")));
    EXPECT_EQ(co_await receive(*a, 5), "");
    EXPECT_TRUE(co_await send(*b, framed("x")));
    EXPECT_EQ(co_await receive(*b, 5), framed("x"));
  });
}

TEST(Server, stop_ends_connections_in_every_state) {
  ServerOptions options;
  options.queued_bytes_max = 100;
  struct Working : Echo {
    Task<void> work(Connection& connection) override {
      while (!connection.closed()) co_await runtime::sleep(connection.shard(), seconds(1));
    }
  } service;
  for (std::size_t shards : {1, 3}) {
    SimWorld world(5, shards);
    Server server(world.all(), world.sockets(), service, options);
    runtime::block_on(world.shard(), [&]() -> Task<void> {
      std::vector<ListenerOptions> listeners;
      listeners.push_back({.endpoint = endpoint({"127.0.0.1", 9092})});
      auto bound = co_await server.start(listeners);
      EXPECT_TRUE(bound);
      std::vector<std::unique_ptr<Socket>> clients;
      const Address to{"127.0.0.1", 9092};
      // Silent; with half a frame; at work; waiting for memory.
      for (const auto& text :
           {std::string(), framed("half").substr(0, 6), framed(std::string(80, 'x')), framed(std::string(50, 'x'))}) {
        auto client = co_await world.sockets().connect(world.shard(), to, {});
        co_await send(**client, text);
        co_await runtime::sleep(world.shard(), milliseconds(10));
        clients.push_back(std::move(*client));
      }
      EXPECT_EQ(server.counters().open(), 4U);
      EXPECT_EQ(server.counters().memory_waits, 1U);
      co_await server.stop();
      EXPECT_EQ(server.counters().open(), 0U);
      EXPECT_EQ(server.budget().used(), 0U);
      for (auto& client : clients) EXPECT_EQ(co_await receive(*client, 1), "");
      auto late = co_await world.sockets().connect(world.shard(), to, {});
      EXPECT_FALSE(late);
    });
  }
}

// ---- over TCP, with threads ----

// A byte now and then of a large frame: the reader waits for more at once (SO_RCVLOWAT), and the peer is not idle all
// the same, while one that sends nothing is.
TEST(System, a_trickle_keeps_a_connection) {
  runtime::Shards shards(1);
  Echo echo;
  ServerOptions options;
  options.idle_max = milliseconds(400);
  Server server(shards.all(), runtime::system_sockets(), echo, options);
  runtime::block_on(shards[0], [&]() -> Task<void> {
    std::vector<ListenerOptions> listeners;
    listeners.push_back({.endpoint = endpoint({"127.0.0.1", 0})});
    auto bound = co_await server.start(listeners);
    const Address to{"127.0.0.1", bound->front().address.port};
    auto trickle = co_await runtime::system_sockets().connect(shards[0], to, {});
    auto silent = co_await runtime::system_sockets().connect(shards[0], to, {});
    const auto frame = framed(std::string(1'000'000, 'x'));
    EXPECT_TRUE(co_await send(**trickle, frame.substr(0, 5000)));
    EXPECT_TRUE(co_await send(**silent, frame.substr(0, 5000)));
    std::size_t at = 5000;
    while (server.counters().expired_idle == 0 || at < 5040) {
      EXPECT_TRUE(co_await send(**trickle, frame.substr(at++, 1)));
      co_await runtime::sleep(shards[0], milliseconds(50));
    }
    EXPECT_EQ(co_await receive(**silent, 1), "");
    EXPECT_EQ(server.counters().open(), 1U);
    Scope scope(shards[0]);
    auto rest = [](Socket& socket, std::string text) -> Task<void> { EXPECT_TRUE(co_await send(socket, text)); };
    scope.spawn(rest(**trickle, frame.substr(at)));
    EXPECT_EQ((co_await receive(**trickle, frame.size())).size(), frame.size());
    co_await scope.stop();
    co_await server.stop();
  });
  shards.stop();
}

TEST(System, many_clients_on_many_shards_while_one_is_slow_and_one_deaf) {
  runtime::Shards shards(3);
  Echo echo;
  ServerOptions options;
  options.queued_bytes_max = 300'000;
  Server server(shards.all(), runtime::system_sockets(), echo, options);
  std::uint16_t port = 0;
  runtime::block_on(shards[0], [&]() -> Task<void> {
    std::vector<ListenerOptions> listeners;
    listeners.push_back({.endpoint = endpoint({"", 0})});
    auto bound = co_await server.start(listeners);
    EXPECT_TRUE(bound) << bound.error().message;
    port = bound->front().address.port;
  });
  std::unique_ptr<Socket> slow;
  runtime::block_on(shards[1], [&]() -> Task<void> {
    const Address to{"127.0.0.1", port};
    auto socket = co_await runtime::system_sockets().connect(shards[1], to, {});
    slow = std::move(*socket);
    EXPECT_TRUE(co_await send(*slow, framed(std::string(100'000, 'x')).substr(0, 5)));
  });
  // One that asks for much and never reads an answer, on the shard that serves others too.
  std::unique_ptr<Socket> deaf;
  std::unique_ptr<Scope> asking;
  runtime::block_on(shards[1], [&]() -> Task<void> {
    const Address to{"127.0.0.1", port};
    auto socket = co_await runtime::system_sockets().connect(shards[1], to, {});
    deaf = std::move(*socket);
    asking = std::make_unique<Scope>(shards[1]);
    auto ask = [](Socket& from) -> Task<void> {
      const auto frame = framed(std::string(50'000, 'd'));
      while (co_await send(from, frame)) {
      }
    };
    asking->spawn(ask(*deaf));
  });
  std::vector<std::thread> drivers;
  std::atomic<int> answered{0};
  for (std::size_t i = 0; i < 3; ++i) {
    drivers.emplace_back([&, i] {
      runtime::block_on(shards[i], [&, i]() -> Task<void> {
        const Address to{i == 2 ? "localhost" : "127.0.0.1", port};
        for (int n = 0; n < 10; ++n) {
          auto socket = co_await runtime::system_sockets().connect(shards[i], to, {});
          if (!socket) {
            ADD_FAILURE() << socket.error().message;
            co_return;
          }
          std::string all;
          for (int f = 0; f < 20; ++f)
            all += framed(std::string(static_cast<std::size_t>(f) * 997, static_cast<char>('a' + f)));
          Scope scope(shards[i]);
          auto write = [](Socket& to_socket, std::string text) -> Task<void> {
            EXPECT_TRUE(co_await send(to_socket, text));
          };
          scope.spawn(write(**socket, all));
          if (co_await receive(**socket, all.size()) == all) ++answered;
          co_await scope.stop();
        }
      });
    });
  }
  for (auto& driver : drivers) driver.join();
  EXPECT_EQ(answered, 30);
  runtime::block_on(shards[0], [&]() -> Task<void> { co_await server.stop(); });
  EXPECT_EQ(server.counters().open(), 0U);
  EXPECT_GE(server.counters().frames, 600U);
  runtime::block_on(shards[1], [&]() -> Task<void> {
    co_await asking->stop();
    deaf.reset();
    EXPECT_EQ(co_await receive(*slow, 1), "");
    slow.reset();
  });
  shards.stop();
}

// ---- HTTP ----

struct Http {
  explicit Http(HttpOptions options = {}) : server(world.all(), world.sockets(), handler, options) {
    runtime::block_on(world.shard(), [&]() -> Task<void> {
      auto bound = co_await server.start({"127.0.0.1", 80});
      EXPECT_TRUE(bound);
    });
  }
  ~Http() {
    runtime::block_on(world.shard(), [&]() -> Task<void> { co_await server.stop(); });
  }
  static Task<HttpResponse> handler(HttpRequest request) {
    if (request.path() == "/throw") throw std::runtime_error("bug");
    HttpResponse response;
    response.body = fmt::format("{} {} {} {} '{}'", request.method, request.path(), request.query(),
                                request.header("X-Thing"), request.body);
    response.headers.emplace_back("X-Back", "a\r\nInjected: b");
    if (request.path() == "/none") response.status = 404;
    co_return response;
  }
  // What comes back until the server closes, or for a second.
  std::string talk(std::string text) {
    std::string out;
    runtime::block_on(world.shard(), [&]() -> Task<void> {
      const Address to{"127.0.0.1", 80};
      auto socket = co_await world.sockets().connect(world.shard(), to, {});
      auto* const raw = socket->get();
      const auto timer = world.shard().schedule(world.clock().mono() + wait, [raw] { raw->close(); });
      Scope scope(world.shard());
      auto write = [](Socket& to_socket, std::string all) -> Task<void> { co_await send(to_socket, all); };
      scope.spawn(write(*raw, text));
      out = co_await receive(*raw, 100'000);
      world.shard().cancel(timer);
      raw->close();
      co_await scope.stop();
    });
    return out;
  }

  SimWorld world;
  HttpServer server;
  nanoseconds wait = seconds(1);
};

TEST(HttpServer, answers_and_keeps_the_connection) {
  Http http;
  const auto got = http.talk(
      "GET /a?x=1 HTTP/1.1\r\nHost: h\r\nx-thing: T\r\n\r\n"
      "POST /none HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
      "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
      "HEAD /d HTTP/1.1\r\nHost: h\r\n\r\n"
      "GET /throw HTTP/1.1\r\nHost: h\r\n\r\n"
      "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\n\r\n");
  using testing::HasSubstr;
  EXPECT_THAT(got, HasSubstr("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(got, HasSubstr("GET /a x=1 T ''"));
  EXPECT_THAT(got, HasSubstr("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_THAT(got, HasSubstr("POST /none   'hello'"));
  EXPECT_THAT(got, HasSubstr("POST /c   'abcde'"));
  EXPECT_THAT(got, testing::Not(HasSubstr("HEAD /d")));
  EXPECT_THAT(got, HasSubstr("HTTP/1.1 500 "));
  EXPECT_THAT(got, HasSubstr("GET /last"));
  EXPECT_THAT(got, testing::Not(HasSubstr("/never")));
  EXPECT_THAT(got, testing::Not(HasSubstr("\nInjected"))) << "a value does not begin another header";
}

TEST(HttpServer, bounds_and_nonsense_are_refused) {
  HttpOptions options;
  options.head_bytes_max = 1024;
  options.body_bytes_max = 100;
  Http http(options);
  const auto line = [&](std::string text) { return http.talk(std::move(text)).substr(0, 12); };
  EXPECT_EQ(line("GET / HTTP/1.1\r\nX: " + std::string(2000, 'x') + "\r\n\r\n"), "HTTP/1.1 431");
  EXPECT_EQ(line("GET /" + std::string(50'000, 'x')), "HTTP/1.1 431");
  EXPECT_EQ(line("POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n" + std::string(101, 'x')), "HTTP/1.1 413");
  EXPECT_EQ(line("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFF\r\n" + std::string(5000, 'x')),
            "HTTP/1.1 413");
  EXPECT_EQ(line("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), "HTTP/1.1 400");
  EXPECT_EQ(line(std::string("\0\0\0\x20hello kafka, are you there? ....", 36)), "HTTP/1.1 400");
  EXPECT_EQ(line("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"), "HTTP/1.1 100");
  EXPECT_EQ(line("GET / HTTP/1.1\r\n\r\n"), "HTTP/1.1 200");
}

TEST(HttpServer, a_request_that_never_ends_is_cut) {
  HttpOptions options;
  options.request_max = seconds(30);
  Http http(options);
  http.wait = seconds(3600);
  const auto start = http.world.clock().mono();
  EXPECT_EQ(http.talk("GET / HTT"), "");
  EXPECT_EQ(http.world.clock().mono() - start, seconds(30));
}

// ---- endpoints ----

TEST(Endpoint, as_kafka_writes_them) {
  const auto map = *parse_protocol_map("");
  const auto ok = [&](std::string_view text) { return parse_endpoint(text, map).value().text(); };
  EXPECT_EQ(ok("PLAINTEXT://host.example:9092"), "PLAINTEXT://host.example:9092");
  EXPECT_EQ(ok(" plaintext://:9092 "), "PLAINTEXT://:9092");
  EXPECT_EQ(ok("SSL://[::1]:9094"), "SSL://[::1]:9094");
  EXPECT_EQ(parse_endpoint("SASL_SSL://[fe80::1%eth0]:1", map)->address.host, "fe80::1%eth0");
  EXPECT_EQ(parse_endpoint("SASL_SSL://h:1", map)->protocol, SecurityProtocol::sasl_ssl);
  for (const auto* bad : {"", "PLAINTEXT", "PLAINTEXT://", "PLAINTEXT://host", "PLAINTEXT://host:",
                          "PLAINTEXT://host:65536", "PLAINTEXT://host:-1", "PLAINTEXT://host:9 2", "NOBODY://host:1",
                          "://host:1", "PLAINTEXT://[::1:9092", "PLAINTEXT://[host]:1", "PLAINTEXT://ho/st:1"}) {
    const auto got = parse_endpoint(bad, map);
    EXPECT_FALSE(got) << bad;
    EXPECT_EQ(got.error().code, ErrorCode::INVALID_CONFIG);
    EXPECT_THAT(got.error().message, testing::HasSubstr(bad));
  }
}

TEST(Endpoint, names_of_ones_own) {
  const auto map = parse_protocol_map("internal:PLAINTEXT, EXTERNAL:sasl_ssl");
  ASSERT_TRUE(map);
  const auto list = parse_endpoints("INTERNAL://:9092,External://0.0.0.0:9096", *map, EndpointUse::listen);
  ASSERT_TRUE(list) << list.error().message;
  ASSERT_EQ(list->size(), 2U);
  EXPECT_EQ((*list)[0].protocol, SecurityProtocol::plaintext);
  EXPECT_EQ((*list)[1].listener, "EXTERNAL");
  EXPECT_EQ((*list)[1].protocol, SecurityProtocol::sasl_ssl);
  EXPECT_FALSE(parse_endpoints("PLAINTEXT://:9092", *map, EndpointUse::listen)) << "not in the map";
  EXPECT_FALSE(parse_protocol_map("A:PLAINTEXT,A:SSL"));
  EXPECT_FALSE(parse_protocol_map("A:TELNET"));
  EXPECT_FALSE(parse_protocol_map("A"));
}

TEST(Endpoint, lists) {
  const auto map = *parse_protocol_map("");
  EXPECT_FALSE(parse_endpoints("PLAINTEXT://:9092,SSL://:9092", map, EndpointUse::listen));
  EXPECT_FALSE(parse_endpoints("PLAINTEXT://:9092,PLAINTEXT://:9093", map, EndpointUse::listen));
  EXPECT_TRUE(parse_endpoints("PLAINTEXT://:0,SSL://:0", map, EndpointUse::listen));
  EXPECT_TRUE(parse_endpoints("PLAINTEXT://127.0.0.1:9092,SSL://[::1]:9092", map, EndpointUse::listen));
  EXPECT_TRUE(parse_endpoints("PLAINTEXT://127.0.0.1:9092,PLAINTEXT://[::1]:9092", map, EndpointUse::listen));
  EXPECT_TRUE(parse_endpoints("PLAINTEXT://h:9092,SSL://h:9092", map, EndpointUse::advertise));
  EXPECT_FALSE(parse_endpoints("PLAINTEXT://0.0.0.0:9092", map, EndpointUse::advertise));
  EXPECT_EQ(parse_endpoints("", map, EndpointUse::listen)->size(), 0U);
}

}  // namespace
}  // namespace weir::net
