// Configs that several brokers change at once.
#include "broker/config_resource.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "broker/test_running.h"
#include "protocol/messages/incremental_alter_configs.h"
#include "zkwire/layout.h"

namespace weir::broker {
namespace {

namespace layout = zkwire::layout;
using namespace std::chrono_literals;

// As another broker would do it, between two steps of this one.
Task<void> set_key(zkclient::Zk& zk, std::string path, std::string key) {
  auto there = co_await zk.get(path);
  EXPECT_TRUE(there);
  if (!there) co_return;
  auto values = layout::decode_config(path, there->data).value_or(cluster::ConfigMap{});
  values[key] = "77";
  auto done = co_await zk.set(path, layout::encode_config(values), there->stat.version);
  EXPECT_TRUE(done);
}

// Whenever the other one writes, both keys are there in the end.
TEST(BrokerConfigs, TwoThatAlterOneTopicLoseNeithersKey) {
  Running r;
  auto other = r.cluster.tree->connect(3'600'000ms);
  for (int moment = 0; moment < 12; ++moment) {
    SCOPED_TRACE(moment);
    r.cluster.zk_latency = 1ms;
    const auto topic = "t" + std::to_string(moment);
    ASSERT_EQ(r.client->create_topic(topic), ErrorCode::NONE);
    r.cluster.zk_latency = 1s;
    protocol::IncrementalAlterConfigsRequest in;
    auto& to = in.resources.emplace_back();
    to.resource_type = 2;
    to.resource_name = topic;
    auto& change = to.configs.emplace_back();
    change.name = "retention.ms";
    change.value = "99";
    r.client->send(1, in);
    r.cluster.world.run_for(moment * 500ms);
    const auto path = layout::path_of_config(layout::topics_type, topic);
    r.cluster.run([&]() -> Task<void> { co_await set_key(*other, path, "max.message.bytes"); });
    const auto out = r.client->receive_as<protocol::IncrementalAlterConfigsResponse>(1);
    ASSERT_TRUE(out);
    EXPECT_EQ(code(out->responses.at(0).error_code), ErrorCode::NONE);
    r.cluster.run([&]() -> Task<void> {
      auto there = co_await other->get(path);
      EXPECT_TRUE(there);
      if (!there) co_return;
      const cluster::ConfigMap both{{"max.message.bytes", "77"}, {"retention.ms", "99"}};
      EXPECT_EQ(layout::decode_config(path, there->data).value_or(cluster::ConfigMap{}), both);
    });
  }
  r.cluster.zk_latency = 1ms;
  r.cluster.run([&]() -> Task<void> { co_await other->close(); });
}

}  // namespace
}  // namespace weir::broker
