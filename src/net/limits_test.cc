// The limits at a server's doors while they change.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "bytes/cursor.h"
#include "net/server.h"
#include "runtime/sim.h"

namespace weir::net {
namespace {

using namespace std::chrono_literals;
using runtime::Socket;
using runtime::Task;

// Answers each frame with one byte.
class Answering : public Service {
 public:
  Task<void> serve(std::shared_ptr<Connection> connection) override {
    while (co_await connection->read_frame()) {
      std::vector<runtime::Chunk> chunks(1);
      chunks[0].memory = bytes::Shared::copy(std::string_view("!"));
      co_await connection->write(std::move(chunks));
    }
  }
};

Endpoint endpoint(std::uint16_t port, std::string listener) {
  return {std::move(listener), SecurityProtocol::plaintext, {"127.0.0.1", port}};
}

// Listeners CLIENTS on port 9092 and BROKERS on 9093; on one shard and on two.
struct LimitsTest : testing::TestWithParam<std::size_t> {
  ~LimitsTest() override {
    run([this]() -> Task<void> {
      co_await server->stop();
      co_await scope.stop();
    });
  }
  void start(Limits limits) {
    ServerOptions options;
    static_cast<Limits&>(options) = std::move(limits);
    server = std::make_unique<Server>(world.all(), world.sockets(), service, std::move(options));
    run([this]() -> Task<void> {
      auto bound = co_await server->start({{endpoint(9092, "CLIENTS")}, {endpoint(9093, "BROKERS")}});
      EXPECT_TRUE(bound);
    });
  }
  void change(Limits limits) {
    run([this, &limits]() -> Task<void> {
      server->set_limits(std::move(limits));
      co_return;
    });
    world.settle();
  }
  void run(std::move_only_function<Task<void>()> fn) { runtime::block_on(world.shard(), std::move(fn)); }

  struct Guest {
    std::unique_ptr<Socket> socket;
    int answers = 0;
    bool ended = false;
  };
  Task<void> listen(Guest& guest) {
    std::vector<std::byte> one(1);
    while (true) {
      const auto n = co_await guest.socket->read_some(one);
      if (!n || *n == 0) break;
      ++guest.answers;
    }
    guest.ended = true;
  }
  // Connects and asks once; what comes of it shows when the world goes on.
  Guest& connect(std::uint16_t port = 9092) {
    auto& guest = *guests.emplace_back(std::make_unique<Guest>());
    run([&]() -> Task<void> {
      const runtime::Address to{"127.0.0.1", port};
      auto socket = co_await world.sockets().connect(world.shard(), to, {});
      EXPECT_TRUE(socket);
      guest.socket = std::move(*socket);
      scope.spawn(listen(guest));
    });
    ask(guest);
    return guest;
  }
  void ask(Guest& guest) {
    run([&]() -> Task<void> {
      std::vector<runtime::Chunk> chunks(1);
      chunks[0].memory = bytes::Shared::copy(std::string_view("\0\0\0\1x", 5));
      co_await guest.socket->write(std::move(chunks));
    });
    world.settle();
  }
  int served() const {
    return static_cast<int>(std::ranges::count_if(guests, [](const auto& guest) { return guest->answers > 0; }));
  }

  runtime::SimWorld world{7, GetParam()};
  runtime::Scope scope{world.shard()};
  Answering service;
  std::unique_ptr<Server> server;
  std::vector<std::unique_ptr<Guest>> guests;
};

TEST_P(LimitsTest, a_raised_total_lets_those_in_who_wait_at_the_door) {
  Limits limits;
  limits.connections_max = 2;
  start(limits);
  for (int i = 0; i < 5; ++i) connect();
  EXPECT_EQ(served(), 2);
  limits.connections_max = 4;
  change(limits);
  EXPECT_EQ(served(), 4);
  limits.connections_max = no_limit;
  change(limits);
  EXPECT_EQ(served(), 5);
}

TEST_P(LimitsTest, a_lowered_total_closes_who_was_silent_longest) {
  start({});
  for (int i = 0; i < 5; ++i) {
    connect();
    world.run_for(1s);
  }
  ask(*guests[0]);  // so that the second is the oldest now
  Limits limits;
  limits.connections_max = 3;
  change(limits);
  EXPECT_FALSE(guests[0]->ended);
  EXPECT_TRUE(guests[1]->ended);
  EXPECT_TRUE(guests[2]->ended);
  EXPECT_FALSE(guests[3]->ended);
  EXPECT_FALSE(guests[4]->ended);
  auto& late = connect();
  EXPECT_EQ(late.answers, 0);
  guests[3]->socket->close();
  world.settle();
  EXPECT_EQ(late.answers, 1);
}

TEST_P(LimitsTest, the_spared_listener_is_let_in_over_the_total_in_place_of_another) {
  Limits limits;
  limits.connections_max = 2;
  limits.spared_listener = "BROKERS";
  limits.listeners["BROKERS"].connections_max = 3;
  start(limits);
  connect();
  world.run_for(1s);
  connect();
  EXPECT_EQ(connect(9093).answers, 1);
  EXPECT_TRUE(guests[0]->ended) << "the client that was silent longest made room";
  EXPECT_FALSE(guests[1]->ended);
  EXPECT_EQ(connect(9093).answers, 1);
  EXPECT_TRUE(guests[1]->ended);
  EXPECT_EQ(connect(9093).answers, 1) << "when only brokers are left, none is closed";
  EXPECT_EQ(connect(9093).answers, 0) << "its own limit holds";
  EXPECT_EQ(connect(9092).answers, 0);
  EXPECT_EQ(server->connections("BROKERS"), 3U);
}

TEST_P(LimitsTest, a_listeners_own_limit_changes_alone) {
  Limits limits;
  limits.listeners["CLIENTS"].connections_max = 1;
  start(limits);
  connect();
  connect();
  EXPECT_EQ(connect(9093).answers, 1);
  EXPECT_EQ(served(), 2);
  limits.listeners["CLIENTS"].connections_max = 2;
  limits.listeners["BROKERS"].connections_max = 1;
  change(limits);
  EXPECT_EQ(served(), 3);
  EXPECT_EQ(connect(9093).answers, 0);
  change({});
  EXPECT_EQ(served(), 4);
}

TEST_P(LimitsTest, the_limit_of_an_address_holds_for_those_who_come_after) {
  start({});
  connect();
  connect();
  Limits limits;
  limits.connections_per_ip_max = 2;
  limits.connections_per_ip_overrides["10.0.0.9"] = 0;
  change(limits);
  EXPECT_TRUE(connect().ended);
  EXPECT_FALSE(guests[0]->ended) << "who is there stays";
  world.sockets().set_source("10.0.0.9");
  EXPECT_TRUE(connect().ended);
  limits.connections_per_ip_overrides["10.0.0.9"] = 1;
  change(limits);
  EXPECT_EQ(connect().answers, 1);
}

TEST_P(LimitsTest, connections_come_no_faster_than_their_rate) {
  Limits limits;
  limits.connections_per_second_max = 2;
  limits.listeners["BROKERS"].connections_per_second_max = 1;
  limits.spared_listener = "BROKERS";
  start(limits);
  for (int i = 0; i < 30; ++i) connect();
  EXPECT_EQ(served(), 20) << "ten seconds' worth at once, after a quiet time";
  world.run_for(1s);
  EXPECT_EQ(served(), 22);
  world.run_for(2s);
  EXPECT_EQ(served(), 26);
  EXPECT_EQ(connect(9093).answers, 1) << "brokers do not wait behind clients";
  for (int i = 0; i < 10; ++i) connect(9093);
  EXPECT_EQ(served(), 26 + 10) << "but have a rate of their own";
  world.run_for(1s);
  EXPECT_EQ(served(), 28 + 11);
  EXPECT_EQ(server->counters().rejected, 0U);
}

TEST_P(LimitsTest, another_rate_is_in_force_at_once) {
  Limits limits;
  limits.connections_per_second_max = 0;
  start(limits);
  for (int i = 0; i < 5; ++i) connect();
  world.run_for(3600s);
  EXPECT_EQ(served(), 0);
  limits.connections_per_second_max = 100;
  change(limits);
  EXPECT_EQ(served(), 5);
}

TEST_P(LimitsTest, a_stop_does_not_wait_for_who_waits_at_the_door) {
  Limits limits;
  limits.connections_max = 1;
  limits.listeners["BROKERS"].connections_per_second_max = 0;
  start(limits);
  connect();
  connect();
  connect(9093);
  const auto began = world.clock().mono();
  run([this]() -> Task<void> { co_await server->stop(); });
  world.settle();
  EXPECT_EQ(world.clock().mono(), began);
  for (const auto& guest : guests) EXPECT_TRUE(guest->ended);
}

INSTANTIATE_TEST_SUITE_P(Shards, LimitsTest, testing::Values(1U, 2U));

}  // namespace
}  // namespace weir::net
