#include "broker/broker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "broker/test_running.h"

namespace weir::broker {
namespace {

using namespace std::chrono_literals;

std::string large(int i) { return std::string(100'000, static_cast<char>('a' + i)); }

TEST(BrokerData, LargeFetchesLeaveWhole) {
  for (const bool cold : {false, true}) {
    SCOPED_TRACE(cold);
    Running r;
    ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
    Strings all;
    for (int i = 0; i < 9; ++i) {
      all.push_back(large(i));
      ASSERT_EQ(r.client->produce("t", 0, Strings{all.back()}).error, ErrorCode::NONE);
    }
    if (cold) {
      r.cluster.world.files().drop_cache();
      r.cluster.world.set_pool_latency(5ms);
    }
    EXPECT_EQ(r.client->fetch("t", 0, 0).values, all);
    if (cold) r.cluster.world.files().drop_cache();
    EXPECT_EQ(r.client->fetch("t", 0, 8).values, Strings{large(8)});
  }
}

TEST(BrokerData, AColdReadHoldsUpNobodyElse) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  ASSERT_EQ(r.client->create_topic("u"), ErrorCode::NONE);
  r.client->produce("t", 0, Strings{large(0)});
  r.client->produce("u", 0, Strings{"x"});
  r.cluster.world.files().drop_cache();
  r.client->produce("u", 0, Strings{"warm"});
  r.cluster.world.set_pool_latency(5s);
  Client history(r.cluster);
  history.send(12, Client::fetch_request("t", 0, 0));
  r.cluster.world.settle();
  const auto began = r.cluster.world.clock().mono();
  EXPECT_EQ(r.client->produce("u", 0, Strings{"y"}).error, ErrorCode::NONE);
  EXPECT_EQ(r.client->fetch("u", 0, 2).values, Strings{"y"});
  EXPECT_LT(r.cluster.world.clock().mono() - began, 1s);
  const auto out = history.receive_as<protocol::FetchResponse>(12);
  ASSERT_TRUE(out);
  EXPECT_EQ(Client::fetched(*out.message).values, Strings{large(0)});
}

TEST(BrokerData, AFetchGivesNoMoreThanItWasAskedForButAlwaysOneBatch) {
  Running r({}, 1, 2);
  ASSERT_EQ(r.client->create_topic("t", 4), ErrorCode::NONE);
  for (int p = 0; p < 4; ++p) {
    for (int i = 0; i < 3; ++i) r.client->produce("t", p, Strings{std::string(1000, 'x')});
  }
  auto in = Client::fetch_request("t", 0, 0);
  for (int p = 1; p < 4; ++p) {
    auto next = in.topics[0].partitions[0];
    next.partition = p;
    in.topics[0].partitions.push_back(next);
  }
  auto sizes = [&] {
    std::vector<std::uint64_t> found(4);
    const auto out = r.client->call<protocol::FetchResponse>(12, in);
    EXPECT_TRUE(out);
    for (const auto& topic : out->responses) {
      for (const auto& data : topic.partitions) {
        EXPECT_EQ(data.error_code, 0);
        found.at(static_cast<std::size_t>(data.partition_index)) = data.records.size();
      }
    }
    return found;
  };
  in.max_bytes = 10;
  auto found = sizes();
  EXPECT_GT(std::ranges::max(found), 1000U) << "one batch comes whole, or nobody would ever get on";
  EXPECT_EQ(std::ranges::count(found, 0U), 3);
  in.max_bytes = 1 << 20;
  for (auto& partition : in.topics[0].partitions) partition.partition_max_bytes = 1500;
  found = sizes();
  for (const auto size : found) EXPECT_LE(size, 1500U);
  EXPECT_GE(std::ranges::count_if(found, [](auto size) { return size > 1000; }), 4);
  in.max_bytes = -5;
  found = sizes();
  EXPECT_LE(std::ranges::count_if(found, [](auto size) { return size > 0; }), 1);
}

TEST(BrokerData, EachPartitionOfAProduceHasItsOwnResult) {
  for (std::size_t shards = 1; shards <= 3; ++shards) {
    Running r({}, 5, shards);
    ASSERT_EQ(r.client->create_topic("t", 5), ErrorCode::NONE);
    const auto good = r.cluster.batch({"x"});
    auto bad = r.cluster.batch({"y"});
    bad.mutable_view().back() ^= std::byte{1};
    auto in = Client::produce_request("t", 0, good, -1);
    for (int p = 1; p < 7; ++p) {
      auto& data = in.topic_data[0].partition_data.emplace_back();
      data.index = p;
      data.records = protocol::Records::in_memory(p == 2 ? bad.view() : good.view());
    }
    auto& other = in.topic_data.emplace_back();
    other.name = "nowhere";
    other.partition_data.emplace_back().records = protocol::Records::in_memory(good.view());
    const auto out = r.client->call<protocol::ProduceResponse>(9, in);
    ASSERT_TRUE(out);
    ASSERT_EQ(out->responses.size(), 2U);
    const auto& results = out->responses[0].partition_responses;
    ASSERT_EQ(results.size(), 7U);
    for (int p = 0; p < 7; ++p) {
      const auto& result = results[static_cast<std::size_t>(p)];
      EXPECT_EQ(result.index, p);
      EXPECT_EQ(code(result.error_code), p == 2   ? ErrorCode::CORRUPT_MESSAGE
                                         : p >= 5 ? ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                                                  : ErrorCode::NONE);
      EXPECT_EQ(result.base_offset, p == 2 || p >= 5 ? -1 : 0);
    }
    EXPECT_EQ(code(out->responses[1].partition_responses.at(0).error_code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
  }
}

TEST(BrokerData, LeaderEpochsAreChecked) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  const auto epoch = r.metadata("t", false).partitions.at(0).leader_epoch;
  auto in = Client::fetch_request("t", 0, 0);
  const auto ask = [&](std::int32_t current) {
    in.topics[0].partitions[0].current_leader_epoch = current;
    const auto out = r.client->call<protocol::FetchResponse>(12, in);
    EXPECT_TRUE(out);
    return Client::fetched(*out.message).error;
  };
  EXPECT_EQ(ask(epoch), ErrorCode::NONE);
  EXPECT_EQ(ask(epoch + 1), ErrorCode::UNKNOWN_LEADER_EPOCH);
  r.restart();
  const auto later = r.metadata("t", false).partitions.at(0).leader_epoch;
  EXPECT_EQ(ask(later), ErrorCode::NONE);
  if (later > 0) EXPECT_EQ(ask(later - 1), ErrorCode::FENCED_LEADER_EPOCH);
}

TEST(BrokerData, TopicsAreFetchedById) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  r.client->produce("t", 0, Strings{"x"});
  auto in = Client::fetch_request("t", 0, 0);
  in.topics[0].topic_id = r.metadata("t", false).topic_id;
  auto out = r.client->call<protocol::FetchResponse>(13, in);
  ASSERT_TRUE(out);
  EXPECT_EQ(Client::fetched(*out.message).values, Strings{"x"});
  EXPECT_EQ(out->responses[0].topic_id, in.topics[0].topic_id);
  in.topics[0].topic_id.bytes[3] ^= 1;
  out = r.client->call<protocol::FetchResponse>(13, in);
  ASSERT_TRUE(out);
  EXPECT_EQ(Client::fetched(*out.message).error, ErrorCode::UNKNOWN_TOPIC_ID);
}

TEST(BrokerData, WithoutSlotsThereAreNoSessions) {
  Running r({{"max.incremental.fetch.session.cache.slots", "0"}});
  ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
  auto in = Client::fetch_request("t", 0, 0);
  in.session_epoch = 0;
  const auto out = r.client->call<protocol::FetchResponse>(12, in);
  ASSERT_TRUE(out);
  EXPECT_EQ(out->session_id, 0);
  EXPECT_EQ(out->responses.size(), 1U);
}

TEST(BrokerData, AllTopicsAreListed) {
  Running r;
  for (const auto* topic : {"c", "a", "b"}) ASSERT_EQ(r.client->create_topic(topic), ErrorCode::NONE);
  protocol::MetadataRequest in;
  in.topics.reset();
  const auto out = r.client->call<protocol::MetadataResponse>(12, in);
  ASSERT_TRUE(out);
  Strings names;
  for (const auto& topic : out->topics) names.emplace_back(topic.name.value_or(""));
  EXPECT_EQ(names, (Strings{"a", "b", "c"}));
  EXPECT_EQ(out->controller_id, 1);
  EXPECT_EQ(out->cluster_id, r.cluster.broker->cluster_id());
}

TEST(BrokerData, ConfigChangesMadeAtTheSameTimeAreAllKept) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    Running r({}, seed, 2);
    ASSERT_EQ(r.client->create_topic("t"), ErrorCode::NONE);
    r.cluster.zk_latency = 1ms;
    const std::vector<std::pair<std::string, std::string>> wanted{
        {"retention.ms", "1111"}, {"retention.bytes", "2222"}, {"segment.ms", "333333"}, {"max.message.bytes", "4444"}};
    std::vector<std::unique_ptr<Client>> clients;
    std::vector<bytes::Shared> requests;
    for (const auto& [key, value] : wanted) {
      protocol::IncrementalAlterConfigsRequest in;
      auto& to = in.resources.emplace_back();
      to.resource_type = 2;
      to.resource_name = "t";
      auto& change = to.configs.emplace_back();
      change.name = key;
      change.value = value;
      clients.push_back(std::make_unique<Client>(r.cluster));
      requests.push_back(clients.back()->encode(1, in));
    }
    r.cluster.run([&]() -> Task<void> {
      for (std::size_t i = 0; i < clients.size(); ++i) r.cluster.scope.spawn(clients[i]->write(requests[i]));
      co_return;
    });
    for (auto& client : clients) {
      const auto out = client->receive_as<protocol::IncrementalAlterConfigsResponse>(1);
      ASSERT_TRUE(out);
      EXPECT_EQ(out->responses.at(0).error_code, 0);
    }
    for (const auto& [key, value] : wanted) EXPECT_EQ(r.describe("t", key).first, value) << key;
  }
}

TEST(BrokerData, OneOfManyWhoMakeATopicAtTheSameTimeMakesIt) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    Running r({{"num.partitions", "2"}}, seed, 2);
    r.cluster.zk_latency = 1ms;
    protocol::MetadataRequest in;
    in.topics.emplace().emplace_back().name = "t";
    std::vector<std::unique_ptr<Client>> clients;
    std::vector<bytes::Shared> requests;
    for (int i = 0; i < 5; ++i) {
      clients.push_back(std::make_unique<Client>(r.cluster));
      requests.push_back(clients.back()->encode(12, in));
    }
    r.cluster.run([&]() -> Task<void> {
      for (std::size_t i = 0; i < clients.size(); ++i) r.cluster.scope.spawn(clients[i]->write(requests[i]));
      co_return;
    });
    std::set<Uuid> ids;
    for (auto& client : clients) {
      const auto out = client->receive_as<protocol::MetadataResponse>(12);
      ASSERT_TRUE(out);
      EXPECT_EQ(code(out->topics.at(0).error_code), ErrorCode::NONE);
      EXPECT_EQ(out->topics.at(0).partitions.size(), 2U);
      ids.insert(out->topics.at(0).topic_id);
    }
    EXPECT_EQ(ids.size(), 1U);
  }
}

TEST(BrokerData, ProducerIdsAskedForAtTheSameTimeDiffer) {
  Running r({}, 2, 3);
  r.cluster.zk_latency = 1ms;
  protocol::InitProducerIdRequest in;
  in.transactional_id.reset();
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<bytes::Shared> requests;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<Client>(r.cluster));
    requests.push_back(clients.back()->encode(4, in));
  }
  r.cluster.run([&]() -> Task<void> {
    for (std::size_t i = 0; i < clients.size(); ++i) r.cluster.scope.spawn(clients[i]->write(requests[i]));
    co_return;
  });
  std::set<std::int64_t> ids;
  for (auto& client : clients) {
    const auto out = client->receive_as<protocol::InitProducerIdResponse>(4);
    ASSERT_TRUE(out);
    EXPECT_EQ(out->error_code, 0);
    ids.insert(out->producer_id);
  }
  EXPECT_EQ(ids.size(), 20U);
}

TEST(BrokerData, MetricsAreServed) {
  Running r({{"weir.metrics.listener", "127.0.0.1:11001"}});
  ASSERT_EQ(r.client->create_topic("orders"), ErrorCode::NONE);
  r.client->produce("orders", 0, Strings{"a", "b", "c"});
  ASSERT_TRUE(r.cluster.broker->metrics_at());
  const auto get = [&](const std::string& path) {
    std::string text;
    r.cluster.run([&]() -> Task<void> {
      const runtime::Address at{"127.0.0.1", 11001};
      auto socket = co_await r.cluster.world.sockets().connect(r.cluster.world.shard(0), at, {});
      EXPECT_TRUE(socket);
      if (!socket) co_return;
      std::vector<runtime::Chunk> chunks;
      chunks.push_back(
          {.memory = bytes::Shared::copy("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")});
      co_await (*socket)->write(std::move(chunks));
      std::string buffer(4096, '\0');
      for (;;) {
        auto n = co_await (*socket)->read_some(std::as_writable_bytes(std::span(buffer)));
        if (!n || *n == 0) break;
        text += buffer.substr(0, *n);
      }
    });
    return text;
  };
  const auto text = get("/metrics");
  EXPECT_NE(text.find("200 OK"), std::string::npos) << text.substr(0, 100);
  EXPECT_NE(text.find("weir_topic_messages_in_total{topic=\"orders\"} 3"), std::string::npos);
  EXPECT_NE(text.find("weir_requests_total{api=\"Produce\"} 1"), std::string::npos);
  EXPECT_NE(get("/other").find(" 404 "), std::string::npos);
}

// Partitions that are in many requests at once, on several shards, with every order of events: each record once, in
// the order of its producer.
TEST(BrokerData, ManyProducersAndConsumersAtOnce) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    Running r({{"log.flush.interval.messages", "1"}}, seed, 3);
    ASSERT_EQ(r.client->create_topic("t", 3), ErrorCode::NONE);
    r.cluster.world.set_pool_latency(1ms);
    std::vector<std::unique_ptr<Client>> producers;
    for (int c = 0; c < 4; ++c) {
      auto& client = *producers.emplace_back(std::make_unique<Client>(r.cluster));
      std::string all;
      for (int i = 0; i < 30; ++i) {
        const auto records = r.cluster.batch({std::to_string(c) + ":" + std::to_string(i)});
        all += client.encode(9, Client::produce_request("t", i % 3, records, -1)).text();
      }
      client.send_behind(bytes::Shared::copy(all));
    }
    for (auto& client : producers) {
      for (int i = 0; i < 30; ++i) {
        const auto out = client->receive_as<protocol::ProduceResponse>(9);
        ASSERT_TRUE(out);
        ASSERT_EQ(out->responses.at(0).partition_responses.at(0).error_code, 0);
      }
    }
    std::size_t total = 0;
    for (int p = 0; p < 3; ++p) {
      const auto fetched = r.client->fetch("t", p, 0);
      EXPECT_EQ(fetched.high_watermark, 40);
      std::vector<int> last(4, -1);
      for (const auto& value : fetched.values) {
        const auto producer = static_cast<std::size_t>(value.at(0) - '0');
        const auto number = std::stoi(value.substr(2));
        EXPECT_GT(number, last.at(producer));
        last.at(producer) = number;
        ++total;
      }
    }
    EXPECT_EQ(total, 120U);
  }
}

}  // namespace
}  // namespace weir::broker
