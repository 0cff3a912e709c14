#include "config/topic_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "config/alter.h"
#include "config/describe.h"

namespace weir::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();

BrokerConfig broker(Properties file) {
  file.emplace("zookeeper.connect", "localhost:2181");
  auto loaded = load_broker_config({{}, {}, std::move(file)});
  EXPECT_TRUE(loaded.has_value());
  return loaded ? loaded->config : BrokerConfig{};
}

TEST(TopicConfig, DefaultsOfTheStructAreThoseOfTheTables) {
  EXPECT_EQ(default_topic_config(broker({})), TopicConfig{});
}

TEST(TopicConfig, TakesTheBrokersValuesAndItsOwnBeforeThem) {
  auto b = broker({{"log.segment.bytes", "5000"},
                   {"log.retention.bytes", "7"},
                   {"log.cleanup.policy", "compact"},
                   {"log.message.timestamp.type", "LogAppendTime"},
                   {"compression.type", "zstd"},
                   {"min.insync.replicas", "2"}});
  auto c = resolve_topic_config(b, {{"segment.bytes", "6000"}, {"cleanup.policy", "compact,delete"}});
  EXPECT_EQ(c.segment_bytes, 6000);
  EXPECT_EQ(c.retention_bytes, 7);
  EXPECT_TRUE(c.cleanup_compact);
  EXPECT_TRUE(c.cleanup_delete);
  EXPECT_EQ(c.timestamp_type, TimestampType::log_append_time);
  EXPECT_EQ(c.compression_type, CompressionType::zstd);
  EXPECT_EQ(c.min_insync_replicas, 2);
  EXPECT_FALSE(resolve_topic_config(b, {}).cleanup_delete);
}

TEST(TopicConfig, FallbacksOfRetentionRollAndFlush) {
  auto ms = [](Properties p) { return default_topic_config(broker(std::move(p))).retention_ms; };
  EXPECT_EQ(ms({{"log.retention.hours", "2"}}), 7'200'000);
  EXPECT_EQ(ms({{"log.retention.hours", "2"}, {"log.retention.minutes", "3"}}), 180'000);
  EXPECT_EQ(ms({{"log.retention.hours", "2"}, {"log.retention.minutes", "3"}, {"log.retention.ms", "4"}}), 4);
  EXPECT_EQ(ms({{"log.retention.hours", "-1"}}), -1);
  EXPECT_EQ(default_topic_config(broker({{"log.roll.hours", "1"}})).segment_ms, 3'600'000);
  EXPECT_EQ(default_topic_config(broker({{"log.roll.hours", "1"}, {"log.roll.ms", "9"}})).segment_ms, 9);
  EXPECT_EQ(default_topic_config(broker({{"log.roll.jitter.hours", "1"}})).segment_jitter_ms, 3'600'000);
  EXPECT_EQ(default_topic_config(broker({{"log.flush.scheduler.interval.ms", "77"}})).flush_ms, 77);
}

TEST(TopicConfig, TimestampBoundsAsMskWritesThem) {
  auto b = broker({{"message.timestamp.type", "LogAppendTime"}, {"message.timestamp.after.max.ms", "1000"}});
  auto c = default_topic_config(b);
  EXPECT_EQ(c.timestamp_type, TimestampType::log_append_time);
  EXPECT_EQ(c.timestamp_after_max_ms, 1000);
  EXPECT_EQ(c.timestamp_before_max_ms, never);
  auto old = resolve_topic_config(b, {{"message.timestamp.difference.max.ms", "500"}});
  EXPECT_EQ(old.timestamp_after_max_ms, 1000);
  EXPECT_EQ(old.timestamp_before_max_ms, 500);
}

TEST(TopicConfig, AnOverrideThatCannotBeReadCountsForNothing) {
  auto c = resolve_topic_config(broker({{"log.segment.bytes", "5000"}}), {{"segment.bytes", "big"}, {"no.such", "1"}});
  EXPECT_EQ(c.segment_bytes, 5000);
}

TEST(TopicConfig, ValidationNamesWhatIsWrong) {
  EXPECT_TRUE(validate_topic_config({{"retention.ms", "-1"}, {"cleanup.policy", "compact"}}));
  auto text = [](Properties p) {
    auto r = validate_topic_config(p);
    EXPECT_FALSE(r);
    EXPECT_EQ(r.error().code, ErrorCode::INVALID_CONFIG);
    return r.error().message;
  };
  EXPECT_EQ(text({{"retention.ms", "-2"}}), "retention.ms=-2: must be at least -1");
  EXPECT_EQ(text({{"retention", "1"}}), "retention: topics have no configuration of this name");
  EXPECT_THAT(text({{"min.compaction.lag.ms", "10"}, {"max.compaction.lag.ms", "5"}}),
              HasSubstr("must be at most max.compaction.lag.ms (5)"));
  EXPECT_THAT(text({{"remote.storage.enable", "true"}}), HasSubstr("no tiered storage"));
}

Result<Properties> alter_one(const Properties& now, std::string name, AlterOp op, std::optional<std::string> value) {
  std::vector<Alteration> changes{{std::move(name), op, std::move(value)}};
  return alter_topic(now, changes);
}

TEST(Alter, SetAndRemove) {
  Properties now{{"retention.ms", "5"}};
  EXPECT_EQ(*alter_one(now, "retention.bytes", AlterOp::set, "7"),
            (Properties{{"retention.bytes", "7"}, {"retention.ms", "5"}}));
  EXPECT_EQ(*alter_one(now, "retention.ms", AlterOp::remove, std::nullopt), Properties{});
  EXPECT_EQ(alter_one(now, "retention.ms", AlterOp::set, "x").error().code, ErrorCode::INVALID_CONFIG);
  EXPECT_EQ(alter_one(now, "nothing", AlterOp::set, "x").error().code, ErrorCode::INVALID_CONFIG);
  EXPECT_EQ(alter_one(now, "retention.ms", AlterOp::set, std::nullopt).error().code, ErrorCode::INVALID_REQUEST);
  EXPECT_EQ(alter_one(now, "retention.ms", static_cast<AlterOp>(9), "1").error().code, ErrorCode::INVALID_REQUEST);
}

TEST(Alter, AppendAndSubtractStartFromTheDefault) {
  EXPECT_EQ(alter_one({}, "cleanup.policy", AlterOp::append, "compact")->at("cleanup.policy"), "delete,compact");
  EXPECT_EQ(
      alter_one({{"cleanup.policy", "compact"}}, "cleanup.policy", AlterOp::append, "compact")->at("cleanup.policy"),
      "compact");
  EXPECT_EQ(alter_one({{"cleanup.policy", "compact,delete"}}, "cleanup.policy", AlterOp::subtract, "compact")
                ->at("cleanup.policy"),
            "delete");
  EXPECT_EQ(alter_one({}, "retention.ms", AlterOp::append, "1").error().code, ErrorCode::INVALID_CONFIG);
}

TEST(Alter, AKeyOnceOnly) {
  std::vector<Alteration> twice{{"retention.ms", AlterOp::set, "1"}, {"retention.ms", AlterOp::set, "2"}};
  EXPECT_EQ(alter_topic({}, twice).error().code, ErrorCode::INVALID_REQUEST);
}

TEST(Alter, BrokersTakeWhatCanChangeLive) {
  auto one = [](std::string name, std::string value, bool per_broker) {
    std::vector<Alteration> changes{{std::move(name), AlterOp::set, std::move(value)}};
    return alter_broker({}, changes, per_broker);
  };
  EXPECT_TRUE(one("log.retention.ms", "1000", false));
  // Live in Kafka; here it would lie in wait for the next restart.
  for (const auto* key : {"listeners", "advertised.listeners"}) {
    EXPECT_EQ(one(key, "PLAINTEXT://h:1", true).error().code, ErrorCode::INVALID_REQUEST) << key;
  }
  EXPECT_EQ(one("listener.security.protocol.map", "A:SSL", true).error().code, ErrorCode::INVALID_REQUEST);
  EXPECT_TRUE(one("listener.name.internal.ssl.keystore.location", "/k", true));
  EXPECT_EQ(one("num.partitions", "3", true).error().code, ErrorCode::INVALID_REQUEST);
  EXPECT_EQ(one("advertised.listeners", "PLAINTEXT://h:1", false).error().code, ErrorCode::INVALID_REQUEST);
  EXPECT_EQ(one("ssl.keystore.location", "/k", true).error().code, ErrorCode::INVALID_REQUEST);
  EXPECT_EQ(one("log.retention.ms", "soon", true).error().code, ErrorCode::INVALID_CONFIG);
  std::vector<Alteration> gone{{"anything.that.was.there", AlterOp::remove, std::nullopt}};
  EXPECT_TRUE(alter_broker({{"anything.that.was.there", "1"}}, gone, true)->empty());
  EXPECT_TRUE(is_dynamic("log.retention.ms"));
  EXPECT_FALSE(is_dynamic("log.retention.hours"));
  EXPECT_FALSE(validate_broker_dynamic({}, {{"broker.id", "1"}}, true));
  const Properties left{{"advertised.listeners", "PLAINTEXT://h:1"}};  // by a broker of Kafka
  EXPECT_TRUE(
      validate_broker_dynamic(left, {{"advertised.listeners", "PLAINTEXT://h:1"}, {"log.retention.ms", "5"}}, true));
  EXPECT_FALSE(validate_broker_dynamic(left, {{"advertised.listeners", "PLAINTEXT://h:2"}}, true));
}

const Described& entry(const std::vector<Described>& all, std::string_view name) {
  for (const auto& d : all) {
    if (d.name == name) return d;
  }
  static const Described none;
  ADD_FAILURE() << name;
  return none;
}

std::vector<std::string> lines(const Described& d) {
  std::vector<std::string> out;
  for (const auto& s : d.synonyms) {
    out.push_back(s.name + "=" + s.value.value_or("null") + "@" + std::to_string(static_cast<int>(s.source)));
  }
  return out;
}

TEST(Describe, ATopicShowsWhereItsValuesComeFrom) {
  BrokerLayers layers{
      {}, {{"log.retention.ms", "500"}}, {{"log.retention.hours", "24"}, {"log.segment.bytes", "5000"}}};
  auto all = describe_topic(layers, {{"segment.bytes", "6000"}});
  EXPECT_EQ(all.size(), 36u);
  const auto& segment = entry(all, "segment.bytes");
  EXPECT_EQ(segment.value, "6000");
  EXPECT_EQ(segment.source, Source::dynamic_topic);
  EXPECT_EQ(segment.type, Type::int32);
  EXPECT_FALSE(segment.read_only);
  EXPECT_THAT(lines(segment),
              ElementsAre("segment.bytes=6000@1", "log.segment.bytes=5000@4", "log.segment.bytes=1073741824@5"));
  const auto& retention = entry(all, "retention.ms");
  EXPECT_EQ(retention.value, "500");
  EXPECT_EQ(retention.source, Source::dynamic_default_broker);
  EXPECT_THAT(lines(retention),
              ElementsAre("log.retention.ms=500@3", "log.retention.hours=24@4", "log.retention.hours=168@5"));
  const auto& flush = entry(all, "flush.messages");
  EXPECT_EQ(flush.value, "9223372036854775807");
  EXPECT_EQ(flush.source, Source::default_config);
}

TEST(Describe, ABrokerHidesSecretsAndSaysWhatIsReadOnly) {
  BrokerLayers layers{
      {{"log.retention.ms", "9"}},
      {},
      {{"broker.id", "1"}, {"listener.name.x.ssl.keystore.password", "secret"}, {"log.retention.hours", "5"}}};
  auto all = describe_broker(layers);
  const auto& password = entry(all, "listener.name.x.ssl.keystore.password");
  EXPECT_EQ(password.value, std::nullopt);
  EXPECT_TRUE(password.sensitive);
  for (const auto& s : password.synonyms) EXPECT_EQ(s.value, std::nullopt);
  EXPECT_TRUE(entry(all, "broker.id").read_only);
  EXPECT_EQ(entry(all, "broker.id").source, Source::static_broker);
  EXPECT_FALSE(entry(all, "log.retention.ms").read_only);
  EXPECT_EQ(entry(all, "log.retention.ms").source, Source::dynamic_broker);
  EXPECT_EQ(entry(all, "log.retention.ms").value, "9");
  EXPECT_EQ(entry(all, "log.retention.minutes").value, std::nullopt);
  EXPECT_EQ(entry(all, "num.partitions").source, Source::default_config);
  auto defaults = describe_broker_default({{}, {{"max.connections", "5"}}, {}});
  ASSERT_EQ(defaults.size(), 1u);
  EXPECT_EQ(defaults[0].source, Source::dynamic_default_broker);
}

TEST(Describe, Groups) {
  auto all = describe_group({{}, {}, {{"group.consumer.session.timeout.ms", "50000"}}}, {});
  EXPECT_EQ(entry(all, "consumer.session.timeout.ms").value, "50000");
  EXPECT_EQ(entry(all, "consumer.session.timeout.ms").source, Source::static_broker);
  EXPECT_TRUE(validate_group({{"consumer.session.timeout.ms", "50000"}}));
  EXPECT_FALSE(validate_group({{"retention.ms", "50000"}}));
  EXPECT_FALSE(validate_client_metrics({{"interval.ms", "1"}}));
}

}  // namespace
}  // namespace weir::config
