#include "apps/local_cluster.h"

#include <gtest/gtest.h>

#include "msk/local.h"
#include "zkclient/memory.h"

namespace weir::apps {
namespace {

using runtime::Task;

cli::State state_of(int brokers) {
  cli::State state;
  state.kafka_version = "3.9";
  for (int id = 1; id <= brokers; ++id) {
    cli::ProcessState process;
    process.role = "broker";
    process.id = id;
    process.addresses = {{"PLAINTEXT", "127.0.0." + std::to_string(id) + ":9092"}, {"metrics", "127.0.0.1:11001"}};
    state.processes.push_back(process);
  }
  return state;
}

msk::Cluster changed() {
  msk::Cluster c;
  c.spec.kafka_version = "3.9.x";
  c.spec.client_broker = msk::ClientBroker::plaintext;
  c.spec.instance_type = msk::local_instance_type;
  c.spec.jmx_exporter = true;
  return c;
}

TEST(LocalCluster, WhatTheApiChangedIsWhatABrokerThatCameLaterGets) {
  auto c = changed();
  EXPECT_FALSE(changed_by_the_api(c, 2, "127.0.0.2")) << "`weir up` says all of it";
  c.spec.client_broker = msk::ClientBroker::tls_plaintext;
  c.spec.server_properties = "num.io.threads=3\n";
  const auto spec = changed_by_the_api(c, 2, "127.0.0.2");
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->key.text(), "local/2");
  EXPECT_EQ(spec->address, "127.0.0.2");
  EXPECT_EQ(spec->properties.at("num.io.threads"), "3");
  EXPECT_EQ(spec->properties.at("listeners"), "@LISTENERS@,CLIENT_SECURE://@TLS@");
  c = changed();
  c.spec.instance_type = "kafka.m5.xlarge";
  const auto larger = changed_by_the_api(c, 2, "127.0.0.2");
  ASSERT_TRUE(larger);
  EXPECT_GT(larger->limits.memory_bytes, 0);
}

TEST(LocalCluster, IsSettledWhenNoOperationChangesIt) {
  const auto tree = zkclient::MemoryTree::make();
  const auto zk = tree->connect();
  runtime::Shards shards(1);
  std::optional<msk::Cluster> before, fresh;
  runtime::block_on(shards[0], [&]() -> Task<void> {
    before = co_await settled_local_cluster(shards[0], *zk);
    (void)co_await record_local_cluster(shards[0], runtime::system_random(), *zk, msk::Realm{}, state_of(1));
    fresh = co_await settled_local_cluster(shards[0], *zk);
    co_await zk->close();
  });
  EXPECT_FALSE(before);
  EXPECT_FALSE(fresh) << "it is created by an operation";
  shards.stop();
}

}  // namespace
}  // namespace weir::apps
