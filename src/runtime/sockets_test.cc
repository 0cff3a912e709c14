// One suite for TCP and for the sockets in memory, and the simulated world's own behaviour.
#include "runtime/sockets.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

#include "runtime/sim.h"

namespace weir::runtime {
namespace {

bytes::Shared shared(std::string_view text) { return bytes::Shared::copy(text); }

Chunk memory(std::string_view text) {
  Chunk chunk;
  chunk.memory = shared(text);
  return chunk;
}

Task<std::string> read_all(Socket& socket, std::size_t buffer_bytes = 4096) {
  std::string all;
  std::vector<std::byte> buffer(buffer_bytes);
  for (;;) {
    auto n = co_await socket.read_some(buffer);
    if (!n || *n == 0) co_return all;
    all += bytes::as_text(bytes::Bytes(buffer).first(*n));
  }
}

class SocketsSuite : public testing::TestWithParam<bool> {
 protected:
  SocketsSuite() {
    if (GetParam()) {
      world = std::make_unique<SimWorld>(7, 2);
      one = &world->shard(0);
      two = &world->shard(1);
      sockets = &world->sockets();
    } else {
      shards = std::make_unique<Shards>(2);
      one = &(*shards)[0];
      two = &(*shards)[1];
      sockets = &system_sockets();
    }
  }
  ~SocketsSuite() override {
    if (shards) shards->stop();
  }

  // A listener on shard one and a pair of connected sockets: `client` on one, `server` on two.
  struct Pair {
    std::unique_ptr<Listener> listener;
    std::unique_ptr<Socket> client;
    std::unique_ptr<Socket> server;
  };
  Task<Pair> connected() {
    Pair pair;
    auto listener = sockets->listen(*one, Address{"127.0.0.1", 0}, {});
    EXPECT_TRUE(listener) << listener.error().message;
    pair.listener = std::move(*listener);
    auto client = co_await sockets->connect(*one, pair.listener->local(), {});
    EXPECT_TRUE(client) << client.error().message;
    pair.client = std::move(*client);
    auto server = co_await pair.listener->accept(*two);
    EXPECT_TRUE(server);
    pair.server = std::move(*server);
    co_return pair;
  }
  // Sockets go on their shard.
  Task<void> drop(std::unique_ptr<Socket> socket) {
    auto let_go = [s = std::move(socket)]() mutable { s.reset(); };
    co_await call(*two, std::move(let_go));
  }

  std::unique_ptr<SimWorld> world;
  std::unique_ptr<Shards> shards;
  Shard* one;
  Shard* two;
  Sockets* sockets;
};
INSTANTIATE_TEST_SUITE_P(Bodies, SocketsSuite, testing::Bool(),
                         [](const auto& info) { return info.param ? "simulated" : "system"; });

TEST_P(SocketsSuite, bytes_arrive_in_order_and_then_the_end) {
  block_on(*one, [&]() -> Task<void> {
    auto pair = co_await connected();
    EXPECT_EQ(pair.client->peer(), pair.listener->local());
    EXPECT_EQ(pair.client->local(), pair.server->peer());
    EXPECT_EQ(pair.server->peer().host, "127.0.0.1");
    std::vector<Chunk> chunks;
    std::string expected;
    for (int i = 0; i < 200; ++i) {
      const auto piece = std::to_string(i) + (i % 7 == 0 ? "" : ",");
      expected += piece;
      chunks.push_back(memory(piece));
      chunks.push_back(Chunk{});
    }
    std::uint64_t progress = 0;
    auto written = co_await pair.client->write(std::move(chunks), &progress);
    EXPECT_TRUE(written);
    EXPECT_EQ(progress, expected.size());
    pair.client->close();
    auto read = [&]() -> Task<std::string> { return read_all(*pair.server, 100); };
    EXPECT_EQ(co_await call(*two, read), expected);
    co_await drop(std::move(pair.server));
  });
}

TEST_P(SocketsSuite, more_than_the_network_holds_waits_for_the_reader) {
  block_on(*one, [&]() -> Task<void> {
    auto pair = co_await connected();
    const std::string data(32 * MiB, 'x');
    Scope scope(*one);
    std::uint64_t progress = 0;
    bool done = false;
    auto write = [](Socket& socket, Chunk chunk, std::uint64_t& out, bool& ended) -> Task<void> {
      std::vector<Chunk> chunks;
      chunks.push_back(std::move(chunk));
      auto result = co_await socket.write(std::move(chunks), &out);
      EXPECT_TRUE(result);
      ended = true;
      socket.close();
    };
    auto chunk = memory(data);
    scope.spawn(write(*pair.client, std::move(chunk), progress, done));
    EXPECT_FALSE(done);
    auto read = [&]() -> Task<std::string> { return read_all(*pair.server, 256 * 1024); };
    const auto got = co_await call(*two, read);
    EXPECT_EQ(got.size(), data.size());
    co_await scope.stop();
    EXPECT_TRUE(done);
    EXPECT_EQ(progress, data.size());
    co_await drop(std::move(pair.server));
  });
}

// What was announced need not come: the sender may go, and what follows may be small.
TEST_P(SocketsSuite, more_may_be_expected_than_arrives) {
  block_on(*one, [&]() -> Task<void> {
    auto pair = co_await connected();
    const auto send = [](Socket& socket, std::string text) -> Task<void> {
      std::vector<Chunk> chunks;
      chunks.push_back(memory(text));
      EXPECT_TRUE(co_await socket.write(std::move(chunks)));
    };
    const std::string large(3 * MiB, 'x');
    Scope scope(*one);
    scope.spawn(send(*pair.client, large));
    auto read = [&](std::size_t size, bool told) -> Task<std::size_t> {
      std::vector<std::byte> buffer(size);
      std::size_t got = 0;
      while (got < size) {
        if (told) pair.server->expect(size - got);
        auto n = co_await pair.server->read_some(bytes::MutableBytes(buffer).subspan(got));
        if (!n || *n == 0) break;
        got += *n;
      }
      co_return got;
    };
    auto all = [&]() -> Task<std::size_t> { return read(large.size(), true); };
    EXPECT_EQ(co_await call(*two, all), large.size());

    // The reader waits already, for much and then for little, each time it is sent: the second wait must not be for as
    // much as the first.
    for (const std::size_t size : {std::size_t{128 * 1024}, std::size_t{4}}) {
      std::optional<std::size_t> got;
      auto some = [&]() -> Task<std::size_t> { return read(size, size > 4); };
      const auto ask = [&]() -> Task<void> { got = co_await call(*two, some); };
      scope.spawn(ask());
      auto look = [] {};
      co_await call(*two, look);  // after that it waits
      EXPECT_FALSE(got);
      co_await send(*pair.client, std::string(size, 'x'));
      for (int i = 0; i < 10'000 && !got; ++i) co_await sleep(*one, milliseconds(1));
      EXPECT_EQ(got.value_or(0), size);
      if (!got) {
        // Its end wakes a reader, whatever that waits for.
        pair.client->close();
        co_await scope.stop();
        co_await drop(std::move(pair.server));
        co_return;
      }
    }

    scope.spawn(send(*pair.client, "part"));
    auto close = [&]() -> Task<void> {
      pair.client->close();
      co_return;
    };
    auto cut_short = [&]() -> Task<std::size_t> { return read(1 * MiB, true); };
    co_await scope.stop();
    co_await close();
    EXPECT_EQ(co_await call(*two, cut_short), 4U);
    co_await drop(std::move(pair.server));
  });
}

TEST_P(SocketsSuite, files_and_memory_in_one_write) {
  SimFiles memory_files;
  const std::string name = testing::TempDir() + "weir-sockets-" + std::to_string(::getpid());
  for (Files* files : {static_cast<Files*>(&memory_files), &system_files()}) {
    if (files == &memory_files) EXPECT_TRUE(memory_files.make_directories(testing::TempDir()));
    std::string content;
    for (int i = 0; i < 50'000; ++i) content += std::to_string(i);
    ASSERT_TRUE(files->write_whole(name, content));
    std::shared_ptr<const File> file = std::move(*files->open(name, Open::read));
    block_on(*one, [&]() -> Task<void> {
      auto pair = co_await connected();
      std::vector<Chunk> chunks;
      chunks.push_back(memory("head"));
      chunks.push_back(Chunk{.memory = {}, .file = file, .position = 5, .length = 200'000});
      chunks.push_back(memory("middle"));
      chunks.push_back(Chunk{.memory = {}, .file = file, .position = 7, .length = 3});
      Scope scope(*one);
      auto write = [](Socket& socket, std::vector<Chunk> list) -> Task<void> {
        auto result = co_await socket.write(std::move(list));
        EXPECT_TRUE(result);
        socket.close();
      };
      scope.spawn(write(*pair.client, std::move(chunks)));
      auto read = [&]() -> Task<std::string> { return read_all(*pair.server); };
      const auto got = co_await call(*two, read);
      EXPECT_TRUE(got == "head" + content.substr(5, 200'000) + "middle" + content.substr(7, 3)) << got.size();
      co_await scope.stop();
      co_await drop(std::move(pair.server));
    });
    block_on(*one, [&]() -> Task<void> {
      auto pair = co_await connected();
      std::vector<Chunk> chunks;
      chunks.push_back(Chunk{.memory = {}, .file = file, .position = content.size() - 1, .length = 5});
      auto result = co_await pair.client->write(std::move(chunks));
      EXPECT_FALSE(result) << "a file that is shorter than said";
      co_await drop(std::move(pair.server));
    });
    ASSERT_TRUE(files->remove(name));
  }
}

TEST_P(SocketsSuite, close_ends_what_waits) {
  block_on(*one, [&]() -> Task<void> {
    auto pair = co_await connected();
    Scope scope(*one);
    int ended = 0;
    auto read = [](Socket& socket, int& count) -> Task<void> {
      std::vector<std::byte> buffer(10);
      auto n = co_await socket.read_some(buffer);
      EXPECT_FALSE(n);
      ++count;
    };
    auto write = [](Socket& socket, int& count) -> Task<void> {
      std::vector<Chunk> chunks;
      for (int i = 0; i < 64; ++i) chunks.push_back(memory(std::string(1 * MiB, 'x')));
      auto result = co_await socket.write(std::move(chunks));
      EXPECT_FALSE(result);
      ++count;
    };
    auto accept = [](Listener& listener, Shard& owner, int& count) -> Task<void> {
      auto socket = co_await listener.accept(owner);
      EXPECT_FALSE(socket);
      EXPECT_EQ(socket.error().number, ECANCELED);
      ++count;
    };
    scope.spawn(read(*pair.client, ended));
    scope.spawn(write(*pair.client, ended));
    scope.spawn(accept(*pair.listener, *two, ended));
    one->post([&] {
      pair.client->close();
      pair.client->close();
      pair.listener->close();
    });
    co_await scope.stop();
    EXPECT_EQ(ended, 3);
    std::vector<std::byte> buffer(10);
    EXPECT_FALSE(co_await pair.client->read_some(buffer));
    co_await drop(std::move(pair.server));
  });
}

TEST_P(SocketsSuite, a_peer_that_went_away_is_an_error_for_files_too) {
  const std::string name = testing::TempDir() + "weir-gone-" + std::to_string(::getpid());
  ASSERT_TRUE(system_files().write_whole(name, std::string(100'000, 'x')));
  std::shared_ptr<const File> file = std::move(*system_files().open(name, Open::read));
  ASSERT_TRUE(system_files().remove(name));
  block_on(*one, [&]() -> Task<void> {
    auto pair = co_await connected();
    co_await drop(std::move(pair.server));
    for (int i = 0;; ++i) {
      std::vector<Chunk> chunks;
      chunks.push_back(Chunk{.memory = {}, .file = file, .position = 0, .length = 100'000});
      auto result = co_await pair.client->write(std::move(chunks));
      if (!result) break;
      EXPECT_LT(i, 1000);
    }
  });
}

TEST_P(SocketsSuite, refusals_say_where_and_why) {
  block_on(*one, [&]() -> Task<void> {
    auto listener = sockets->listen(*one, Address{"127.0.0.1", 0}, {});
    const auto at = (*listener)->local();
    EXPECT_NE(at.port, 0);
    const auto again = sockets->listen(*one, at, {});
    EXPECT_FALSE(again);
    EXPECT_EQ(again.error().number, EADDRINUSE);
    EXPECT_EQ(again.error().message, "cannot listen on " + at.text() + ": Address already in use");
    listener->reset();
    auto nobody = co_await sockets->connect(*one, at, {});
    EXPECT_FALSE(nobody);
    EXPECT_EQ(nobody.error().number, ECONNREFUSED);
    EXPECT_NE(nobody.error().message.find(at.text()), std::string::npos);
  });
}

TEST(SystemSockets, all_interfaces_take_both_families_and_names_are_resolved) {
  Shards shards(1);
  block_on(shards[0], [&]() -> Task<void> {
    auto& sockets = system_sockets();
    auto listener = sockets.listen(shards[0], Address{"", 0}, {});
    EXPECT_TRUE(listener) << listener.error().message;
    const auto port = (*listener)->local().port;
    std::vector<std::string> hosts{"127.0.0.1", "localhost"};
    if (sockets.listen(shards[0], Address{"::1", 0}, {})) hosts.emplace_back("::1");
    for (const auto& host : hosts) {
      const Address to{host, port};
      auto client = co_await sockets.connect(shards[0], to, {});
      EXPECT_TRUE(client) << client.error().message;
      auto server = co_await (*listener)->accept(shards[0]);
      EXPECT_TRUE(server);
      if (host != "localhost") EXPECT_EQ((*server)->peer().host, host);
    }
    const Address nowhere{"no-such-host.invalid", 1};
    auto failed = co_await sockets.connect(shards[0], nowhere, {});
    EXPECT_FALSE(failed);
    EXPECT_NE(failed.error().message.find("no-such-host.invalid"), std::string::npos);
  });
  shards.stop();
}

TEST(Address, text_puts_ipv6_in_brackets) {
  EXPECT_EQ((Address{"::1", 9092}.text()), "[::1]:9092");
  EXPECT_EQ((Address{"localhost", 1}.text()), "localhost:1");
}

// ---- the simulated world ----

TEST(SimWorld, time_moves_only_when_told_and_from_timer_to_timer) {
  SimWorld world;
  const auto start = world.clock().mono();
  std::vector<nanoseconds> seen;
  world.shard().post([&] {
    for (const auto at : {30, 10, 20}) {
      world.shard().schedule(start + seconds(at), [&] { seen.push_back(world.clock().mono() - start); });
    }
  });
  world.settle();
  EXPECT_TRUE(seen.empty());
  world.run_for(seconds(15));
  EXPECT_EQ(seen, (std::vector<nanoseconds>{seconds(10)}));
  EXPECT_EQ(world.clock().mono(), start + seconds(15));
  world.run_until_idle();
  EXPECT_EQ(world.clock().mono(), start + seconds(30));
}

TEST(SimWorld, the_same_seed_gives_the_same_order) {
  const auto run = [](std::uint64_t seed) {
    SimWorld world(seed, 3);
    std::string order;
    for (std::size_t i = 0; i < 3; ++i) {
      for (int n = 0; n < 5; ++n) world.shard(i).post([&order, i] { order += static_cast<char>('a' + i); });
    }
    world.settle();
    return order;
  };
  EXPECT_EQ(run(1), run(1));
  std::set<std::string> orders;
  for (std::uint64_t seed = 0; seed < 20; ++seed) orders.insert(run(seed));
  EXPECT_GT(orders.size(), 10U);
}

TEST(SimWorld, waits_pools_and_calls_work_as_on_real_shards) {
  SimWorld world(3, 2);
  world.set_pool_latency(milliseconds(5));
  const auto start = world.clock().mono();
  block_on(world.shard(0), [&]() -> Task<void> {
    co_await sleep(world.shard(0), seconds(3600));
    auto job = [] { return Shard::current() == nullptr; };
    EXPECT_TRUE(co_await world.pool().run(job));
    auto where = [] { return Shard::current()->index(); };
    EXPECT_EQ(co_await call(world.shard(1), where), 1U);
    EXPECT_EQ(Shard::current(), &world.shard(0));
  });
  EXPECT_EQ(world.clock().mono() - start, seconds(3600) + milliseconds(5));
}

TEST(SimSockets, a_cut_holds_bytes_up_and_a_reset_breaks) {
  SimWorld world;
  auto& shard = world.shard();
  block_on(shard, [&]() -> Task<void> {
    auto listener = world.sockets().listen(shard, Address{"", 9092}, {});
    const Address to{"broker-1", 9092};
    auto client = co_await world.sockets().connect(shard, to, {});
    auto server = co_await (*listener)->accept(shard);
    world.sockets().set_cut(true);
    std::vector<Chunk> chunks;
    chunks.push_back(memory("hello"));
    EXPECT_TRUE(co_await (*client)->write(std::move(chunks)));
    Scope scope(shard);
    std::string got;
    auto read = [](Socket& socket, std::string& out) -> Task<void> { out = co_await read_all(socket); };
    scope.spawn(read(**server, got));
    auto late = co_await world.sockets().connect(shard, to, {});
    EXPECT_EQ(late.error().number, ETIMEDOUT);
    world.sockets().set_cut(false);
    co_await sleep(shard, milliseconds(1));
    world.sockets().reset_all();
    co_await scope.stop();
    EXPECT_EQ(got, "hello");
    chunks.clear();
    chunks.push_back(memory("more"));
    auto broken = co_await (*client)->write(std::move(chunks));
    EXPECT_EQ(broken.error().number, ECONNRESET);
  });
}

// A host that does not answer, as a listener whose queue is full: what asked for the connection stops, and does not
// wait until its time is over.
TEST(SystemSockets, AConnectIsGivenUp) {
  Shards shards(1);
  auto& shard = shards[0];
  block_on(shard, [&]() -> Task<void> {
    SocketOptions options;
    options.backlog = 0;
    auto listener = system_sockets().listen(shard, {"127.0.0.1", 0}, options);
    EXPECT_TRUE(listener);
    if (!listener) co_return;
    const auto to = (*listener)->local();
    std::vector<std::unique_ptr<Socket>> queued;
    options.connect_max = milliseconds(200);
    for (bool full = false; !full && queued.size() < 50;) {
      auto socket = co_await system_sockets().connect(shard, to, options);
      full = !socket;
      if (socket) queued.push_back(std::move(*socket));
    }
    EXPECT_LT(queued.size(), 50U);
    options.connect_max = milliseconds(60'000);
    const auto given_up = std::make_shared<bool>(false);
    options.connect_given_up = given_up;
    std::optional<int> ended;
    const auto ask = [&]() -> Task<void> {
      auto socket = co_await system_sockets().connect(shard, to, options);
      ended = socket ? 0 : socket.error().number;
    };
    Scope scope(shard);
    scope.spawn(ask());
    EXPECT_FALSE(ended);
    *given_up = true;
    co_await scope.stop();
    EXPECT_EQ(ended.value_or(0), ECANCELED);
  });
  shards.stop();
}

}  // namespace
}  // namespace weir::runtime
