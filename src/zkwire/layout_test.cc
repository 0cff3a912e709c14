#include "zkwire/layout.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace weir::zkwire::layout {
namespace {

const BrokerId b0{0}, b1{1}, b2{2}, b3{3};
const auto id = *Uuid::parse("0uqrEPSJTEeLB8ZZzQ7fVg");

// The expected texts were written by Apache Kafka 3.9.1's own classes.

TEST(Layout, WritesABrokerAsKafkaDoes) {
  BrokerRegistration r;
  r.endpoints = {{"PLAINTEXT", "PLAINTEXT", "h1", 9092}, {"SSL", "SSL", "h1", 9094}};
  r.timestamp = 1795441107174;
  EXPECT_EQ(encode(r), R"({"features":{},"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT","SSL":"SSL"},)"
                       R"("endpoints":["PLAINTEXT://h1:9092","SSL://h1:9094"],"jmx_port":-1,"port":9092,"host":"h1",)"
                       R"("version":5,"timestamp":"1795441107174"})");
  r.rack = "ra";
  r.version = 4;
  EXPECT_EQ(encode(r), R"({"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT","SSL":"SSL"},)"
                       R"("endpoints":["PLAINTEXT://h1:9092","SSL://h1:9094"],"rack":"ra","jmx_port":-1,"port":9092,)"
                       R"("host":"h1","version":4,"timestamp":"1795441107174"})");
  r.version = 2;
  EXPECT_EQ(encode(r), R"({"endpoints":["PLAINTEXT://h1:9092","SSL://h1:9094"],"jmx_port":-1,"port":9092,"host":"h1",)"
                       R"("version":2,"timestamp":"1795441107174"})");
}

TEST(Layout, ABrokerThatRegistersAgainNamesItsFirstEpoch) {
  BrokerRegistration r;
  r.endpoints = {{"PLAINTEXT", "PLAINTEXT", "h1", 9092}};
  r.timestamp = 7;
  EXPECT_EQ(encode(r).find("weir_life"), std::string::npos) << "as Kafka writes it";
  r.life = BrokerEpoch{4294967301};
  const auto text = encode(r);
  EXPECT_TRUE(text.ends_with(R"("timestamp":"7","weir_life":4294967301})")) << text;
  EXPECT_EQ(*decode_broker("/brokers/ids/1", text), r);
  EXPECT_FALSE(decode_broker("/brokers/ids/1", R"({"version":5,"endpoints":[],"weir_life":"x"})"));
}

TEST(Layout, ABrokerWithoutAPlaintextListenerHasNoHostOfItsOwn) {
  BrokerRegistration r;
  r.endpoints = {{"REPLICATION", "SSL", "h1", 9094}};
  r.timestamp = 1;
  const auto text = encode(r);
  EXPECT_NE(text.find(R"("port":-1,"host":null)"), std::string::npos) << text;
  EXPECT_EQ(*decode_broker("/brokers/ids/1", text), r);
}

TEST(Layout, ReadsBrokersOfEveryVersion) {
  const auto v1 =
      decode_broker("/brokers/ids/0", R"({"version":1,"host":"a","port":9092,"jmx_port":9999,"timestamp":"7"})");
  ASSERT_TRUE(v1);
  EXPECT_EQ(v1->endpoints, (std::vector<Endpoint>{{"PLAINTEXT", "PLAINTEXT", "a", 9092}}));
  EXPECT_EQ(v1->jmx_port, 9999);
  const auto v3 =
      decode_broker("/brokers/ids/0", R"({"version":3,"host":"a","port":9092,"jmx_port":-1,"timestamp":"7",)"
                                      R"("endpoints":["PLAINTEXT://a:9092","SASL_SSL://[::1]:9094"],"rack":"r"})");
  ASSERT_TRUE(v3);
  EXPECT_EQ(v3->endpoints[1], (Endpoint{"SASL_SSL", "SASL_SSL", "::1", 9094}));
  EXPECT_EQ(v3->rack, "r");
  const auto v5 = decode_broker("/brokers/ids/0",
                                R"({"version":5,"host":null,"port":-1,"jmx_port":-1,"timestamp":"7","endpoints":)"
                                R"(["CLIENT://a:9092"],"listener_security_protocol_map":{"CLIENT":"SASL_PLAINTEXT"},)"
                                R"("features":{"f":{"min_version":1,"max_version":3}},"new_key":[1]})");
  ASSERT_TRUE(v5);
  EXPECT_EQ(v5->endpoints[0].protocol, "SASL_PLAINTEXT");
  EXPECT_EQ(v5->features.at("f"), (FeatureRange{1, 3}));
}

TEST(Layout, WritesTopicsAsKafkaDoes) {
  TopicAssignment t;
  t.id = id;
  t.partitions[PartitionId{0}].replicas = {b0};
  t.partitions[PartitionId{1}].replicas = {b1};
  EXPECT_EQ(encode(t), R"({"partitions":{"0":[0],"1":[1]},"topic_id":"0uqrEPSJTEeLB8ZZzQ7fVg","adding_replicas":{},)"
                       R"("removing_replicas":{},"version":3})");
  TopicAssignment moving;
  moving.partitions[PartitionId{0}] = {{b1, b2, b3}, {b3}, {b1}};
  EXPECT_EQ(encode(moving),
            R"({"partitions":{"0":[1,2,3]},"adding_replicas":{"0":[3]},"removing_replicas":{"0":[1]},"version":3})");
  EXPECT_EQ(*decode_topic("/brokers/topics/t", encode(moving)), moving);
  EXPECT_EQ(*decode_topic("/brokers/topics/t", encode(t)), t);
}

TEST(Layout, ReadsTheTopicThatAnOldToolWrote) {
  const auto t = decode_topic("/brokers/topics/t", R"({"version":1,"partitions":{"2":[1,0],"1":[0,1],"0":[1,0]}})");
  ASSERT_TRUE(t);
  EXPECT_FALSE(t->id);
  ASSERT_EQ(t->partitions.size(), 3U);
  EXPECT_EQ(t->partitions.at(PartitionId{2}).replicas, (std::vector<BrokerId>{b1, b0}));
}

TEST(Layout, PartitionStatesAsKafka) {
  PartitionState s{b1, LeaderEpoch{4}, {b1, b2}, ControllerEpoch{5}, 0};
  EXPECT_EQ(encode(s), R"({"controller_epoch":5,"leader":1,"version":1,"leader_epoch":4,"isr":[1,2]})");
  s.leader_recovery_state = 1;
  EXPECT_EQ(encode(s),
            R"({"controller_epoch":5,"leader":1,"version":1,"leader_recovery_state":1,"leader_epoch":4,"isr":[1,2]})");
  EXPECT_EQ(*decode_partition_state("/x", encode(s)), s);
}

TEST(Layout, SmallNodesAsKafka) {
  EXPECT_EQ(encode(ControllerRegistration{b1, 1700000000000, -1}),
            R"({"version":2,"brokerid":1,"timestamp":"1700000000000","kraftControllerEpoch":-1})");
  EXPECT_EQ(decode_controller("/controller", R"({"version":1,"brokerid":3,"timestamp":"5"})")->broker, b3);
  EXPECT_EQ(encode_cluster_id("abc"), R"({"version":"1","id":"abc"})");
  EXPECT_EQ(encode_config({{"retention.ms", "1000"}, {"cleanup.policy", "compact"}, {"a", "\"x\\/\u0001é"}}),
            R"({"version":1,"config":{"a":"\"x\\/\u0001é","cleanup.policy":"compact","retention.ms":"1000"}})");
  EXPECT_EQ(encode(ConfigChange{"topics", "t"}), R"({"version":2,"entity_path":"topics/t"})");
  EXPECT_EQ(encode(ProducerIdBlock{b1, 1000, 1999}),
            R"({"version":1,"broker":1,"block_start":"1000","block_end":"1999"})");
  EXPECT_EQ(encode_log_dir_event(b3), R"({"version":1,"broker":3,"event":1})");
  EXPECT_EQ(encode_partition_set({{"t", PartitionId{0}}, {"t", PartitionId{1}}}),
            R"({"version":1,"partitions":[{"topic":"t","partition":0},{"topic":"t","partition":1}]})");
  EXPECT_EQ(encode_reassignment({{{"t", PartitionId{0}}, {b1, b2}}}),
            R"({"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1,2]}]})");
  EXPECT_EQ(encode(Features{2, true, {}}), R"({"features":{},"version":2,"status":1})");
  EXPECT_EQ(encode(Features{1, true, {{"f", 2}}}),
            R"({"features":{"f":{"max_version_level":2,"min_version_level":2}},"version":1,"status":1})");
  EXPECT_EQ(
      encode_acl({{"User:alice", "Allow", "Read", "*"}}),
      R"({"acls":[{"principal":"User:alice","permissionType":"Allow","host":"*","operation":"Read"}],"version":1})");
  EXPECT_EQ(encode(AclChange{false, "TOPIC", "t:x"}), "TOPIC:t:x");
  EXPECT_EQ(encode(AclChange{true, "TOPIC", "t"}),
            R"({"version":1,"resourceType":"TOPIC","name":"t","patternType":"PREFIXED"})");
}

TEST(Layout, SmallNodesComeBack) {
  EXPECT_EQ(*decode_config("/c", R"({"version":1,"config":{"a":"\"x\\\/\u0001é"}})"), (Config{{"a", "\"x\\/\u0001é"}}));
  EXPECT_TRUE(decode_config("/c", "")->empty());
  EXPECT_TRUE(decode_config("/c", R"({"version":1})")->empty());
  EXPECT_EQ(*decode_config_change("/c", R"({"version":1,"entity_type":"topics","entity_name":"t"})"),
            (ConfigChange{"topics", "t"}));
  EXPECT_EQ(*decode_config_change("/c", R"({"version":2,"entity_path":"users/a/clients/b"})"),
            (ConfigChange{"users", "a/clients/b"}));
  const ProducerIdBlock block{b1, 1000, 1999};
  EXPECT_EQ(*decode_producer_id_block("/p", encode(block)), block);
  const Features features{1, false, {{"f", 3}}};
  EXPECT_EQ(*decode_features("/feature", encode(features)), features);
  const std::vector<AclEntry> acl{{"User:a", "Deny", "All", "10.0.0.1"}};
  EXPECT_EQ(*decode_acl("/a", encode_acl(acl)), acl);
  EXPECT_EQ(*decode_acl_change("/kafka-acl-changes/acl_changes_0000000001", "Topic:a:b"),
            (AclChange{false, "Topic", "a:b"}));
  const AclChange extended{true, "TOPIC", "a"};
  EXPECT_EQ(*decode_acl_change("/kafka-acl-extended-changes/acl_changes_0000000001", encode(extended)), extended);
  EXPECT_EQ(decode_reassignment("/r", encode_reassignment({{{"t", PartitionId{3}}, {b1}}}))->begin()->second,
            std::vector<BrokerId>{b1});
}

TEST(Layout, NamesAreMadeSafeAsKafkasSanitizerDoes) {
  EXPECT_EQ(sanitize("a b*~+/é"), "a%20b%2A%7E%2B%2F%C3%A9");
  EXPECT_EQ(sanitize("<default>"), "%3Cdefault%3E");
  EXPECT_EQ(sanitize("user.name-1_2"), "user.name-1_2");
  EXPECT_EQ(desanitize(sanitize("a b*~+/é")), "a b*~+/é");
  EXPECT_FALSE(desanitize("a%2"));
  EXPECT_FALSE(desanitize("a%zz"));
}

TEST(Layout, Paths) {
  EXPECT_EQ(path_of_broker(BrokerId{7}), "/brokers/ids/7");
  EXPECT_EQ(path_of_partition_state("t", PartitionId{3}), "/brokers/topics/t/partitions/3/state");
  EXPECT_EQ(path_of_config("topics", "t"), "/config/topics/t");
  EXPECT_EQ(path_of_acl(true, "TransactionalId", "t"), "/kafka-acl-extended/prefixed/TransactionalId/t");
  EXPECT_EQ(path_of_new_config_change(), "/config/changes/config_change_");
  EXPECT_EQ(broker_of_child("12"), BrokerId{12});
  EXPECT_FALSE(broker_of_child("x"));
  EXPECT_FALSE(broker_of_child("-1"));
  EXPECT_TRUE(sensitive_path("/config/users/a"));
  EXPECT_FALSE(sensitive_path("/config/topics/a"));
}

// Whatever stands there, the answer is a value or an error that names the path.
TEST(Layout, GarbageIsAnErrorThatNamesThePath) {
  const std::string path = "/some/path";
  const std::vector<std::string> broken = {
      "",
      "{",
      "null",
      "[]",
      "7",
      "{\"version\":1",
      "\xff\xfe",
      "{\"partitions\":[]}",
      "{\"partitions\":{\"x\":[1]}}",
      "{\"version\":0}",
      "{\"version\":99999999999}",
      std::string(100000, '['),
      "{\"version\":5,\"endpoints\":[\"x\"]}",
      "{\"version\":5,\"endpoints\":[\"A://h:99999\"],\"listener_security_protocol_map\":{}}",
      "{\"leader\":0,\"leader_epoch\":-5,\"isr\":[0],\"controller_epoch\":1}",
      "{\"broker\":0,\"block_start\":\"x\",\"block_end\":\"1\"}"};
  const auto names = [&](const auto& result, const std::string& data) {
    EXPECT_FALSE(result.has_value()) << data.substr(0, 100);
    if (!result) EXPECT_NE(result.error().message.find(path), std::string::npos) << result.error().message;
  };
  for (const auto& data : broken) {
    names(decode_broker(path, data), data);
    names(decode_topic(path, data), data);
    names(decode_partition_state(path, data), data);
    names(decode_cluster_id(path, data), data);
    names(decode_controller(path, data), data);
    names(decode_producer_id_block(path, data), data);
    names(decode_features(path, data), data);
    names(decode_acl(path, data), data);
    names(decode_config_change(path, data), data);
  }
  for (const auto* const replicas : {"[]", "[1,2,1]", "[2,-1]"}) {
    const auto data = fmt::format("{{\"version\":1,\"partitions\":{{\"0\":[1,2],\"3\":{}}}}}", replicas);
    names(decode_topic(path, data), data);
    EXPECT_NE(decode_topic(path, data).error().message.find("partition 3 "), std::string::npos);
  }
  names(decode_acl_change(path, "no resource"), "no resource");
  names(decode_controller_epoch(path, "1x"), "1x");
  names(decode_controller_epoch(path, ""), "");
  names(decode_config(path, "{"), "{");
  names(decode_config(path, R"({"config":{"a":1}})"), "number");
}

// A prefix of a good node, as a torn write would leave it, is never taken for one.
TEST(Layout, EveryPrefixOfAGoodNodeIsRefused) {
  BrokerRegistration broker;
  broker.endpoints = {{"PLAINTEXT", "PLAINTEXT", "h1", 9092}};
  const auto b = encode(broker);
  for (std::size_t n = 0; n < b.size(); ++n) EXPECT_FALSE(decode_broker("/b", std::string_view(b).substr(0, n)));
  TopicAssignment topic;
  topic.id = id;
  topic.partitions[PartitionId{0}].replicas = {b0};
  const auto t = encode(topic);
  for (std::size_t n = 0; n < t.size(); ++n) EXPECT_FALSE(decode_topic("/t", std::string_view(t).substr(0, n)));
}

// It goes to logs and to clients.
TEST(Layout, WhatIsShownOfANodeIsText) {
  const auto read = decode_topic("/t", "\xff\xfe\x1b[2J");
  ASSERT_FALSE(read);
  EXPECT_TRUE(read.error().message.ends_with("\\xff\\xfe\\x1b[2J")) << read.error().message;
}

TEST(Layout, APartitionIsReadFromThePathOfItsState) {
  const auto path = path_of_partition_state("a.b", PartitionId{12});
  EXPECT_EQ(partition_of_state_path(path), (TopicPartition{"a.b", PartitionId{12}}));
  for (const auto* other :
       {"/brokers/topics/t", "/brokers/topics/t/partitions/x/state", "/brokers/topics//partitions/1/state",
        "/other/t/partitions/1/state", "/brokers/topics/t/partitions/-1/state",
        "/brokers/topics/t/partitions/99999999999/state", "/brokers/topics"}) {
    EXPECT_FALSE(partition_of_state_path(other)) << other;
  }
}

}  // namespace
}  // namespace weir::zkwire::layout
