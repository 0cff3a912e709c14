// acks=1 where flush.messages asks for the disk: the answer stands for a flush (found by review: it came before).
#include <gtest/gtest.h>

#include "broker/test_running.h"

namespace weir::broker {
namespace {

using namespace std::chrono_literals;

constexpr auto a_flush = 3s;

TEST(BrokerFlush, AnAcksOneProduceIsAnsweredAfterItsFlush) {
  Running r;
  ASSERT_EQ(r.client->create_topic("flushed", 1, {{"flush.messages", "1"}}), ErrorCode::NONE);
  ASSERT_EQ(r.client->create_topic("lazy"), ErrorCode::NONE);
  r.cluster.world.set_pool_latency(a_flush);
  const auto began = r.cluster.world.clock().mono();
  const auto syncs = r.cluster.world.files().syncs();
  EXPECT_EQ(r.client->produce("lazy", 0, Strings{"x"}, 1).error, ErrorCode::NONE);
  EXPECT_EQ(r.cluster.world.clock().mono(), began) << "nobody asked for a flush";
  EXPECT_EQ(r.cluster.world.files().syncs(), syncs);
  EXPECT_EQ(r.client->produce("flushed", 0, Strings{"x"}, 1).error, ErrorCode::NONE);
  EXPECT_GE(r.cluster.world.clock().mono() - began, nanoseconds(a_flush));
  EXPECT_GT(r.cluster.world.files().syncs(), syncs);
  r.cluster.world.set_pool_latency(0s);
}

TEST(BrokerFlush, ProducesThatComeWhileAFlushRunsShareTheNext) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t", 1, {{"flush.messages", "1"}}), ErrorCode::NONE);
  r.cluster.world.set_pool_latency(a_flush);
  const auto began = r.cluster.world.clock().mono();
  constexpr int count = 20;
  const auto records = r.cluster.batch({"x"});
  for (int i = 0; i < count; ++i) r.client->send(9, Client::produce_request("t", 0, records, 1));
  for (int i = 0; i < count; ++i) {
    const auto out = r.client->receive_as<protocol::ProduceResponse>(9);
    ASSERT_TRUE(out);
    EXPECT_EQ(out->responses.at(0).partition_responses.at(0).error_code, 0);
  }
  EXPECT_GE(r.cluster.world.clock().mono() - began, nanoseconds(a_flush));
  EXPECT_LE(r.cluster.world.clock().mono() - began, 2 * nanoseconds(a_flush)) << "the first alone, all others together";
  r.cluster.world.set_pool_latency(0s);
}

TEST(BrokerFlush, WhatAcksOneAcknowledgedIsThereAfterACrash) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    Running r({}, seed);
    ASSERT_EQ(r.client->create_topic("t", 1, {{"flush.messages", "1"}}), ErrorCode::NONE);
    r.cluster.world.set_pool_latency(10ms);
    Strings acknowledged;
    for (int i = 0; i < 5; ++i) {
      acknowledged.push_back(std::to_string(i));
      ASSERT_EQ(r.client->produce("t", 0, Strings{acknowledged.back()}, 1).error, ErrorCode::NONE);
    }
    r.client.reset();
    r.cluster.crash();  // with what the pool was about to do
    r.cluster.world.set_pool_latency(0ms);
    ASSERT_TRUE(r.cluster.start());
    r.connect();
    EXPECT_EQ(r.client->fetch("t", 0, 0).values, acknowledged);
  }
}

TEST(BrokerFlush, AFlushThatFailsIsAnErrorForAcksOne) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t", 1, {{"flush.messages", "1"}}), ErrorCode::NONE);
  r.cluster.world.files().set_fault([](auto op, const std::string& path) {
    return op == runtime::SimFiles::Op::sync && path.contains("/t-0/") ? EIO : 0;
  });
  const auto began = r.cluster.world.clock().mono();
  EXPECT_EQ(r.client->produce("t", 0, Strings{"x"}, 1).error, ErrorCode::KAFKA_STORAGE_ERROR);
  EXPECT_LT(r.cluster.world.clock().mono() - began, 1s) << "at once, not when the request times out";
  r.cluster.world.files().set_fault(nullptr);
}

}  // namespace
}  // namespace weir::broker
