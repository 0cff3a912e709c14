#include "config/key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "config/document.h"

namespace weir::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string complaint_of(const Table& table, std::string_view key, std::string_view value) {
  const Key* k = table.find(key);
  EXPECT_NE(k, nullptr) << key;
  return k == nullptr ? "" : complaint(*k, value).value_or("good");
}

TEST(Keys, NamesAreUniqueAndDefaultsAreGood) {
  for (const Table* table : {&broker_keys(), &topic_keys(), &group_keys(), &client_metrics_keys()}) {
    std::set<std::string_view> names;
    for (const Key& key : table->all()) {
      EXPECT_TRUE(names.insert(key.name).second) << key.name;
      EXPECT_EQ(table->find(key.name), &key);
      EXPECT_FALSE(key.doc.empty()) << key.name;
      if (key.initial) {
        EXPECT_EQ(complaint(key, *key.initial), std::nullopt) << key.name;
      }
      if (!key.broker_key.empty()) {
        const Key* broker = broker_keys().find(key.broker_key);
        ASSERT_NE(broker, nullptr) << key.name;
      }
    }
  }
}

TEST(Keys, EveryKeyOfKafkaIsKnown) {
  // 328 of Apache Kafka 3.9.1, 2 more that exist at run time only (replication throttles), 7 of 2.2.1 that are gone
  // since, 2 of the authorizer, 11 of Weir.
  EXPECT_EQ(broker_keys().all().size(), 328u + 2 + 7 + 2 + 11);
  EXPECT_EQ(topic_keys().all().size(), 36u);
  EXPECT_EQ(broker_keys().find("num.partition"), nullptr);
}

TEST(Keys, ComplaintsNameKeyValueAndRange) {
  EXPECT_EQ(complaint_of(broker_keys(), "num.partitions", "0"), "num.partitions=0: must be at least 1");
  EXPECT_EQ(complaint_of(broker_keys(), "num.partitions", "x"),
            "num.partitions=x: must be a whole number from -2147483648 to 2147483647, at least 1");
  EXPECT_EQ(complaint_of(broker_keys(), "num.partitions", "2147483648"),
            "num.partitions=2147483648: must be a whole number from -2147483648 to 2147483647, at least 1");
  EXPECT_EQ(complaint_of(broker_keys(), "offsets.topic.replication.factor", "40000"),
            "offsets.topic.replication.factor=40000: must be a whole number from -32768 to 32767, at least 1");
  EXPECT_EQ(complaint_of(broker_keys(), "log.retention.ms", "9223372036854775808"),
            "log.retention.ms=9223372036854775808: must be a whole number of 64 bits");
  EXPECT_EQ(complaint_of(topic_keys(), "min.cleanable.dirty.ratio", "1.5"),
            "min.cleanable.dirty.ratio=1.5: must be between 0 and 1");
  EXPECT_EQ(complaint_of(topic_keys(), "cleanup.policy", "delete,shred"),
            "cleanup.policy=delete,shred: must be some of: compact, delete");
  EXPECT_EQ(complaint_of(topic_keys(), "compression.type", "brotli"),
            "compression.type=brotli: must be one of: uncompressed, zstd, lz4, snappy, gzip, producer");
  EXPECT_EQ(complaint_of(broker_keys(), "delete.topic.enable", "yes"),
            "delete.topic.enable=yes: must be true or false");
  EXPECT_EQ(complaint_of(topic_keys(), "compression.gzip.level", "0"),
            "compression.gzip.level=0: must be between 1 and 9, or -1");
  EXPECT_EQ(complaint_of(broker_keys(), "inter.broker.protocol.version", "five"),
            "inter.broker.protocol.version=five: must be a version of Kafka, such as 3.9 or 2.2-IV1");
  EXPECT_EQ(complaint_of(topic_keys(), "leader.replication.throttled.replicas", "1-2"),
            "leader.replication.throttled.replicas=1-2: must be *, or PARTITION:BROKER separated by commas");
}

TEST(Keys, GoodValues) {
  EXPECT_EQ(complaint_of(broker_keys(), "num.partitions", " 12 "), "good");
  EXPECT_EQ(complaint_of(broker_keys(), "num.partitions", "+3"), "good");
  EXPECT_EQ(complaint_of(broker_keys(), "delete.topic.enable", "TRUE"), "good");
  EXPECT_EQ(complaint_of(topic_keys(), "compression.gzip.level", "-1"), "good");
  EXPECT_EQ(complaint_of(topic_keys(), "cleanup.policy", "compact, delete"), "good");
  EXPECT_EQ(complaint_of(topic_keys(), "cleanup.policy", ""), "good");
  EXPECT_EQ(complaint_of(topic_keys(), "leader.replication.throttled.replicas", "0:1,5:1002"), "good");
  EXPECT_EQ(complaint_of(topic_keys(), "leader.replication.throttled.replicas", "*"), "good");
  EXPECT_EQ(complaint_of(broker_keys(), "log.cleaner.io.max.bytes.per.second", "1.7976931348623157E308"), "good");
  EXPECT_EQ(complaint_of(broker_keys(), "group.consumer.migration.policy", "Upgrade"), "good");
}

TEST(Keys, TextAboutAHugeValueStaysShort) {
  std::string text = complaint_of(topic_keys(), "retention.ms", std::string(1'000'000, 'x'));
  EXPECT_LT(text.size(), 400u);
}

TEST(Keys, ListenerPrefixes) {
  EXPECT_EQ(find_broker_key("listener.name.internal.ssl.keystore.location")->name, "ssl.keystore.location");
  EXPECT_EQ(find_broker_key("listener.name.internal.scram-sha-512.sasl.jaas.config")->name, "sasl.jaas.config");
  EXPECT_EQ(find_broker_key("listener.name.internal.max.connections")->name, "max.connections");
  EXPECT_EQ(find_broker_key("listener.name.internal.nothing"), nullptr);
  EXPECT_EQ(find_broker_key("listener.name."), nullptr);
  EXPECT_EQ(find_broker_key("listener.name.x"), nullptr);
}

TEST(Keys, DynamicModesAreKafkas) {
  EXPECT_EQ(broker_keys().find("num.partitions")->update, Update::read_only);
  EXPECT_EQ(broker_keys().find("log.retention.ms")->update, Update::cluster_wide);
  EXPECT_EQ(broker_keys().find("log.retention.hours")->update, Update::read_only);
  EXPECT_EQ(broker_keys().find("advertised.listeners")->update, Update::at_start);
  EXPECT_EQ(find_broker_key("listener.name.internal.ssl.keystore.location")->update, Update::per_broker);
  EXPECT_EQ(broker_keys().find("max.connections.per.ip")->update, Update::cluster_wide);
}

TEST(Keys, Lists) {
  EXPECT_THAT(parse_list(""), IsEmpty());
  EXPECT_THAT(parse_list("  "), IsEmpty());
  EXPECT_THAT(parse_list("a , b,,c"), ElementsAre("a", "b", "", "c"));
}

TEST(Document, IsWhatTheTablesSay) {
  const std::string path = std::string(WEIR_SOURCE_DIR) + "/docs/configuration.md";
  if (std::getenv("WEIR_UPDATE_DOCS") != nullptr) std::ofstream(path) << configuration_document();
  std::stringstream file;
  file << std::ifstream(path).rdbuf();
  EXPECT_TRUE(file.str() == configuration_document())
      << path << " is not what src/config/keys says: run WEIR_UPDATE_DOCS=1 config_tests";
  EXPECT_THAT(configuration_document(), HasSubstr("| `num.partitions` | int, at least 1 | `1` | at start |"));
}

}  // namespace
}  // namespace weir::config
