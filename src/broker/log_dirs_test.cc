// DescribeLogDirs: what kafka-log-dirs and kafka-reassign-partitions show.
#include <gtest/gtest.h>

#include <fmt/core.h>

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/test_running.h"
#include "protocol/messages/describe_log_dirs.h"
#include "protocol/messages/update_metadata.h"
#include "zkwire/layout.h"

namespace weir::broker {
namespace {

using Out = protocol::DescribeLogDirsResponse;
using Names = std::vector<std::pair<std::string_view, std::vector<std::int32_t>>>;

protocol::DescribeLogDirsRequest asking(const std::optional<Names>& names) {
  protocol::DescribeLogDirsRequest in;
  in.topics.reset();
  if (!names) return in;
  in.topics.emplace();
  for (const auto& [name, partitions] : *names) {
    auto& topic = in.topics->emplace_back();
    topic.topic = name;
    topic.partitions = partitions;
  }
  return in;
}

// Sizes by partition, of all directories.
std::map<std::string, std::int64_t> sizes(const Out& out) {
  std::map<std::string, std::int64_t> found;
  for (const auto& directory : out.results) {
    for (const auto& topic : directory.topics) {
      for (const auto& partition : topic.partitions) {
        found[fmt::format("{}-{}", topic.name, partition.partition_index)] = partition.partition_size;
        EXPECT_EQ(partition.offset_lag, 0) << topic.name;
        EXPECT_FALSE(partition.is_future_key);
      }
    }
  }
  return found;
}

TEST(BrokerLogDirs, SaySizesAndTheVolumeInEveryVersion) {
  Running r({{"log.dirs", "/a,/b/"}});
  constexpr std::uint64_t gigabyte = 1'000'000'000;
  r.cluster.world.files().set_capacity(gigabyte);
  ASSERT_EQ(r.client->create_topic("t", 2), ErrorCode::NONE);
  ASSERT_EQ(r.client->create_topic("u", 1), ErrorCode::NONE);
  const auto records = r.cluster.batch({std::string(1000, 'x')});
  ASSERT_EQ(r.client->produce("t", 1, records).error, ErrorCode::NONE);
  const auto written = static_cast<std::int64_t>(records.size());
  for (std::int16_t version = 0; version <= 4; ++version) {
    SCOPED_TRACE(version);
    const auto out = r.client->call<Out>(version, asking(std::nullopt));
    ASSERT_TRUE(out);
    EXPECT_EQ(out->error_code, 0);
    ASSERT_EQ(out->results.size(), 2U);
    EXPECT_EQ(out->results[0].log_dir, "/a");
    EXPECT_EQ(out->results[1].log_dir, "/b");
    EXPECT_EQ(sizes(*out.message), (std::map<std::string, std::int64_t>{{"t-0", 0}, {"t-1", written}, {"u-0", 0}}));
    for (const auto& directory : out->results) {
      EXPECT_EQ(directory.error_code, 0);
      EXPECT_FALSE(directory.topics.empty()) << "logs are spread over " << directory.log_dir;
      EXPECT_EQ(directory.total_bytes, version < 4 ? -1 : static_cast<std::int64_t>(gigabyte));
      if (version < 4) continue;
      EXPECT_LE(directory.usable_bytes, static_cast<std::int64_t>(gigabyte) - written);
      EXPECT_GT(directory.usable_bytes, 0);
    }
  }
}

TEST(BrokerLogDirs, SayOnlyWhatIsAskedFor) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t", 3), ErrorCode::NONE);
  ASSERT_EQ(r.client->create_topic("u", 1), ErrorCode::NONE);
  const auto some = r.client->call<Out>(4, asking(Names{{"t", {2, 9}}, {"nowhere", {0}}}));
  ASSERT_TRUE(some);
  EXPECT_EQ(sizes(*some.message), (std::map<std::string, std::int64_t>{{"t-2", 0}}));
  const auto none = r.client->call<Out>(4, asking(Names{}));
  ASSERT_TRUE(none);
  ASSERT_EQ(none->results.size(), 1U) << "the directory itself is told all the same";
  EXPECT_TRUE(none->results[0].topics.empty());
  EXPECT_GT(none->results[0].total_bytes, 0);
}

// There are file systems that say they are larger than what fits.
TEST(BrokerLogDirs, AVolumeIsNeverNegative) {
  Running r;
  r.cluster.world.files().set_capacity(~std::uint64_t{0});
  const auto out = r.client->call<Out>(4, asking(std::nullopt));
  ASSERT_TRUE(out);
  EXPECT_EQ(out->results.at(0).total_bytes, std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(out->results.at(0).usable_bytes, std::numeric_limits<std::int64_t>::max());
}

// With another broker in the cluster it is left alone, and its disk is told as broken: kafka-log-dirs names it.
TEST(BrokerLogDirs, AFailedDirectoryIsNamedAndTheOthersAreTold) {
  Running r({{"log.dirs", "/a,/b"}, {"log.flush.interval.messages", "1"}});
  auto other = r.cluster.tree->connect(milliseconds(3'600'000));
  r.cluster.run([&]() -> Task<void> {
    zkwire::layout::BrokerRegistration second;
    second.endpoints = {{"PLAINTEXT", "PLAINTEXT", "127.0.0.2", 9092}};
    auto there = co_await other->create(zkwire::layout::path_of_broker(BrokerId{2}), zkwire::layout::encode(second),
                                        zkclient::CreateMode::ephemeral);
    EXPECT_TRUE(there);
  });
  ASSERT_EQ(r.client->create_topic("t", 4), ErrorCode::NONE);
  r.cluster.world.run_for(seconds(5));
  r.cluster.world.files().set_fault([](auto op, const std::string& path) {
    return op == runtime::SimFiles::Op::sync && path.starts_with("/b/") ? EIO : 0;
  });
  int refused = 0;
  for (int p = 0; p < 4; ++p) {
    const auto error = r.client->produce("t", p, std::vector<std::string>{"x"}).error;
    refused += error == ErrorCode::KAFKA_STORAGE_ERROR ? 1 : 0;
  }
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, 4) << "what is in the other directory goes on";
  for (std::int16_t version = 0; version <= 4; ++version) {
    SCOPED_TRACE(version);
    const auto out = r.client->call<Out>(version, asking(std::nullopt));
    ASSERT_TRUE(out);
    ASSERT_EQ(out->results.size(), 2U);
    EXPECT_EQ(out->results[0].error_code, 0);
    EXPECT_FALSE(out->results[0].topics.empty());
    EXPECT_EQ(out->results[1].log_dir, "/b");
    EXPECT_EQ(out->results[1].error_code, static_cast<std::int16_t>(ErrorCode::KAFKA_STORAGE_ERROR));
    EXPECT_TRUE(out->results[1].topics.empty());
    EXPECT_EQ(out->results[1].total_bytes, -1);
  }
  EXPECT_EQ(r.cluster.failed, "") << "one directory is left";
  r.cluster.world.files().set_fault(nullptr);
  r.cluster.run([&]() -> Task<void> { co_await other->close(); });
}

// Its log stays until the controller says that it goes.
TEST(BrokerLogDirs, AReplicaThatIsElsewhereNowHasNoLagToTell) {
  Running r;
  ASSERT_EQ(r.client->create_topic("t", 2), ErrorCode::NONE);
  protocol::UpdateMetadataRequest word;
  word.controller_id = 1;
  word.controller_epoch = 1;
  for (const int id : {1, 2}) {
    auto& broker = word.live_brokers.emplace_back();
    broker.id = id;
    auto& endpoint = broker.endpoints.emplace_back();
    endpoint.host = "127.0.0.1";
    endpoint.port = 9092;
    endpoint.listener = "PLAINTEXT";
  }
  auto& topic = word.topic_states.emplace_back();
  topic.topic_name = "t";
  topic.topic_id = r.metadata("t").topic_id;
  auto& moved = topic.partition_states.emplace_back();
  moved.partition_index = 0;
  moved.controller_epoch = 1;
  moved.leader = 2;
  moved.replicas = moved.isr = {2};
  moved.leader_epoch = 3;
  ASSERT_TRUE(r.client->call<protocol::UpdateMetadataResponse>(7, word));
  const auto out = r.client->call<Out>(4, asking(std::nullopt));
  ASSERT_TRUE(out);
  std::map<std::int32_t, std::int64_t> lags;
  for (const auto& partition : out->results.at(0).topics.at(0).partitions) {
    lags[partition.partition_index] = partition.offset_lag;
  }
  EXPECT_EQ(lags, (std::map<std::int32_t, std::int64_t>{{0, -1}, {1, 0}}));
}

}  // namespace
}  // namespace weir::broker
