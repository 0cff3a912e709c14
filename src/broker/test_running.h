// A broker that runs, a connection to it, and the requests of the tests of a whole broker.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/test_cluster.h"
#include "protocol/messages/create_partitions.h"
#include "protocol/messages/delete_records.h"
#include "protocol/messages/delete_topics.h"
#include "protocol/messages/describe_configs.h"
#include "protocol/messages/incremental_alter_configs.h"
#include "protocol/messages/init_producer_id.h"
#include "protocol/messages/list_offsets.h"
#include "protocol/messages/metadata.h"

namespace weir::broker {

using Strings = std::vector<std::string>;

inline ErrorCode code(std::int16_t number) { return static_cast<ErrorCode>(number); }

// A broker that runs, and a connection to it.
struct Running {
  explicit Running(config::Properties extra = {}, std::uint64_t seed = 1, std::size_t shards = 1)
      : cluster(std::move(extra), seed, shards) {
    const auto started = cluster.start();
    EXPECT_TRUE(started) << started.error().message;
    connect();
  }
  void connect() { client = std::make_unique<Client>(cluster); }
  void restart() {
    client.reset();
    cluster.stop();
    const auto started = cluster.start();
    EXPECT_TRUE(started) << started.error().message;
    connect();
  }

  protocol::MetadataResponse::MetadataResponseTopic metadata(std::string_view topic, bool create = true) {
    protocol::MetadataRequest in;
    in.topics.emplace().emplace_back().name = topic;
    in.allow_auto_topic_creation = create;
    last = client->call<protocol::MetadataResponse>(12, in);
    EXPECT_TRUE(last);
    return last ? last->topics.at(0) : protocol::MetadataResponse::MetadataResponseTopic{};
  }
  std::pair<ErrorCode, std::int64_t> offset(std::string_view topic, int partition, std::int64_t timestamp) {
    protocol::ListOffsetsRequest in;
    in.replica_id = -1;
    auto& to = in.topics.emplace_back();
    to.name = topic;
    auto& asked = to.partitions.emplace_back();
    asked.partition_index = partition;
    asked.timestamp = timestamp;
    const auto out = client->call<protocol::ListOffsetsResponse>(7, in);
    EXPECT_TRUE(out);
    const auto& found = out->topics.at(0).partitions.at(0);
    return {code(found.error_code), found.offset};
  }
  ErrorCode delete_topic(std::string_view topic) {
    protocol::DeleteTopicsRequest in;
    in.topic_names = {topic};
    in.timeout_ms = 10'000;
    const auto out = client->call<protocol::DeleteTopicsResponse>(5, in);
    EXPECT_TRUE(out);
    return code(out->responses.at(0).error_code);
  }
  ErrorCode create_partitions(std::string_view topic, int count) {
    protocol::CreatePartitionsRequest in;
    auto& to = in.topics.emplace_back();
    to.name = topic;
    to.count = count;
    to.assignments.reset();
    in.timeout_ms = 10'000;
    const auto out = client->call<protocol::CreatePartitionsResponse>(3, in);
    EXPECT_TRUE(out);
    return code(out->results.at(0).error_code);
  }
  std::pair<ErrorCode, std::int64_t> delete_records(std::string_view topic, std::int64_t offset) {
    protocol::DeleteRecordsRequest in;
    auto& to = in.topics.emplace_back();
    to.name = topic;
    to.partitions.emplace_back().offset = offset;
    in.timeout_ms = 10'000;
    const auto out = client->call<protocol::DeleteRecordsResponse>(2, in);
    EXPECT_TRUE(out);
    const auto& done = out->topics.at(0).partitions.at(0);
    return {code(done.error_code), done.low_watermark};
  }
  enum class Alter : std::int8_t { set = 0, remove = 1, append = 2, subtract = 3 };
  ErrorCode alter(std::string_view resource, std::string_view key, Alter op, std::string_view value, int type = 2,
                  bool validate_only = false) {
    protocol::IncrementalAlterConfigsRequest in;
    in.validate_only = validate_only;
    auto& to = in.resources.emplace_back();
    to.resource_type = static_cast<std::int8_t>(type);
    to.resource_name = resource;
    auto& change = to.configs.emplace_back();
    change.name = key;
    change.config_operation = static_cast<std::int8_t>(op);
    if (op == Alter::remove) {
      change.value.reset();
    } else {
      change.value = value;
    }
    const auto out = client->call<protocol::IncrementalAlterConfigsResponse>(1, in);
    EXPECT_TRUE(out);
    return code(out->responses.at(0).error_code);
  }
  // The value, and where it comes from (1: the topic, 5: the default).
  std::pair<std::string, int> describe(std::string_view resource, std::string_view key, int type = 2) {
    protocol::DescribeConfigsRequest in;
    auto& to = in.resources.emplace_back();
    to.resource_type = static_cast<std::int8_t>(type);
    to.resource_name = resource;
    to.configuration_keys = std::vector{key};
    const auto out = client->call<protocol::DescribeConfigsResponse>(4, in);
    EXPECT_TRUE(out);
    const auto& result = out->results.at(0);
    if (result.error_code != 0) return {std::string(name(code(result.error_code))), -1};
    if (result.configs.size() != 1) return {"not one entry", -1};
    return {std::string(result.configs[0].value.value_or("(null)")), result.configs[0].config_source};
  }
  std::pair<std::int64_t, std::int16_t> producer_id() {
    protocol::InitProducerIdRequest in;
    in.transactional_id.reset();
    const auto out = client->call<protocol::InitProducerIdResponse>(4, in);
    EXPECT_TRUE(out);
    EXPECT_EQ(out->error_code, 0);
    return {out->producer_id, out->producer_epoch};
  }

  Cluster cluster;
  std::unique_ptr<Client> client;
  Answer<protocol::MetadataResponse> last;
};

}  // namespace weir::broker
