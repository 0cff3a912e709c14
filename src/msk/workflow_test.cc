#include "msk/workflow.h"

#include <gtest/gtest.h>

#include <set>

#include "msk/codec.h"
#include "msk/kafka.h"
#include "msk/names.h"

namespace weir::msk {
namespace {

PartitionFact partition(std::string topic, std::vector<std::int32_t> replicas, std::vector<std::int32_t> isr,
                        std::int32_t isr_min) {
  PartitionFact p;
  p.topic = std::move(topic);
  p.replicas = std::move(replicas);
  p.isr = std::move(isr);
  p.leader = p.isr.empty() ? -1 : p.isr.front();
  p.isr_min = isr_min;
  return p;
}

TEST(Workflow, NobodyLeavesBelowMinIsr) {
  EXPECT_EQ(unsafe_without(1, {partition("t", {1, 2, 3}, {1, 2, 3}, 2)}), "");
  EXPECT_NE(unsafe_without(1, {partition("t", {1, 2, 3}, {1, 2}, 2)}), "");
  EXPECT_EQ(unsafe_without(3, {partition("t", {1, 2, 3}, {1, 2}, 2)}), "");  // it is not in sync: nothing is lost
  EXPECT_EQ(unsafe_without(4, {partition("t", {1, 2, 3}, {1}, 2)}), "");
  // Could not be kept by any waiting: one replica, or as many as must be in sync.
  EXPECT_EQ(unsafe_without(1, {partition("t", {1}, {1}, 1)}), "");
  EXPECT_EQ(unsafe_without(1, {partition("t", {1, 2}, {1, 2}, 2)}), "");
  EXPECT_NE(unsafe_without(1, {partition("t", {1, 2}, {1}, 2)}), "");  // the other must be in sync at least
}

TEST(Workflow, PartitionsAreSharedOutEvenlyAndByZone) {
  std::vector<PartitionFact> partitions;
  for (int i = 0; i < 12; ++i) {
    partitions.push_back(partition("t", {1 + i % 3, 1 + (i + 1) % 3, 1 + (i + 2) % 3}, {1, 2, 3}, 2));
    partitions.back().partition = i;
  }
  std::map<std::int32_t, std::size_t> zones{{1, 0}, {2, 1}, {3, 2}, {4, 0}, {5, 1}, {6, 2}};
  const auto moved = spread(partitions, zones);
  std::map<std::int32_t, int> load;
  std::map<std::int32_t, int> leads;
  for (auto& p : partitions) {
    if (const auto found = moved.find({p.topic, p.partition}); found != moved.end()) p.replicas = found->second;
    std::set<std::size_t> seen;
    for (const auto id : p.replicas) {
      ++load[id];
      seen.insert(zones.at(id));
    }
    ++leads[p.replicas.front()];
    EXPECT_EQ(seen.size(), 3U) << "partition " << p.partition << " is in fewer zones";
  }
  for (const auto& [id, zone] : zones) {
    EXPECT_EQ(load[id], 6) << id;
    EXPECT_LE(leads[id], 3) << id;
  }
  // And away again.
  const auto back = spread(partitions, {{1, 0}, {2, 1}, {3, 2}});
  for (auto& p : partitions) {
    if (const auto found = back.find({p.topic, p.partition}); found != back.end()) p.replicas = found->second;
    for (const auto id : p.replicas) EXPECT_LE(id, 3);
    EXPECT_EQ(std::set(p.replicas.begin(), p.replicas.end()).size(), 3U);
  }
}

TEST(Workflow, ARestartThatWasCutOffIsDoneAgainAndOnlyThen) {
  Operation operation;
  Cluster cluster;
  Step step;
  step.kind = StepKind::restart;
  step.broker = 1;
  Facts facts;
  auto& broker = facts.brokers[1];
  broker = {.known = true, .running = true, .stale = true, .registered = true, .life = 7};
  auto first = decide(operation, step, cluster, facts);
  EXPECT_EQ(first.kind, Decision::Kind::act);
  EXPECT_EQ(first.note, "7");
  step.note = first.note;
  EXPECT_EQ(decide(operation, step, cluster, facts).kind, Decision::Kind::act);  // it was not carried out
  broker.running = broker.registered = false;
  EXPECT_EQ(decide(operation, step, cluster, facts).kind, Decision::Kind::act);  // stopped and not started
  broker.starting = true;
  EXPECT_EQ(decide(operation, step, cluster, facts).kind, Decision::Kind::act);  // and with the old files
  broker.stale = false;
  EXPECT_EQ(decide(operation, step, cluster, facts).kind, Decision::Kind::wait);  // started, and does not serve yet
  broker.starting = false;
  broker.running = true;
  EXPECT_EQ(decide(operation, step, cluster, facts).kind, Decision::Kind::wait);  // started, not registered yet
  broker.registered = true;
  broker.life = 9;
  EXPECT_EQ(decide(operation, step, cluster, facts).kind, Decision::Kind::done);
  broker.stale = true;  // it died and came back by itself, with the old files
  EXPECT_EQ(decide(operation, step, cluster, facts).kind, Decision::Kind::act);
  broker.failed = true;
  broker.cause = "it ended";
  EXPECT_EQ(decide(operation, step, cluster, facts).kind, Decision::Kind::fail);
}

TEST(Kafka, DynamicKeysAreLiveAndOthersRoll) {
  const auto change = change_between({{"message.max.bytes", "1"}, {"log.roll.ms", "5"}},
                                     {{"message.max.bytes", "2"}, {"log.roll.ms", "5"}});
  EXPECT_FALSE(change.roll);
  EXPECT_EQ(change.live.at("message.max.bytes"), "2");
  EXPECT_TRUE(change_between({}, {{"num.partitions", "2"}}).roll);
}

// A broker that runs has in force what its file said when it started, unless a dynamic value stands before it.
TEST(Kafka, AKeyThatIsTakenAwayGetsItsDefaultAsAValue) {
  using Live = std::map<std::string, std::optional<std::string>>;
  const auto live = [](const config::Properties& from, const config::Properties& to) {
    return change_between(from, to).live;
  };
  EXPECT_EQ(live({{"log.retention.ms", "60000"}}, {}), (Live{{"log.retention.ms", "604800000"}}));
  EXPECT_EQ(live({{"log.retention.ms", "60000"}}, {{"log.retention.hours", "2"}}),
            (Live{{"log.retention.ms", "7200000"}}));
  EXPECT_EQ(live({{"log.retention.ms", "60000"}, {"log.retention.hours", "2"}}, {{"log.retention.minutes", "3"}}),
            (Live{{"log.retention.ms", "180000"}}));
  // Behind a dynamic log.retention.ms nothing else of them counts.
  EXPECT_EQ(live({{"log.retention.minutes", "5"}}, {{"log.retention.minutes", "-1"}}),
            (Live{{"log.retention.ms", "-1"}}));
  EXPECT_EQ(live({{"log.roll.ms", "5"}, {"log.flush.interval.ms", "5"}, {"message.max.bytes", "7"}}, {}),
            (Live{{"log.roll.ms", "604800000"},
                  {"log.flush.interval.ms", "9223372036854775807"},
                  {"message.max.bytes", "1048588"}}));
  // Of every key that a configuration can set and take away the default is known.
  for (const auto key : settable_keys()) {
    if (key.starts_with("message.")) continue;  // other names of log.message...
    for (const auto& [name, value] : live({{std::string(key), "x"}}, {})) EXPECT_TRUE(value.has_value()) << name;
  }
}

TEST(Kafka, WhatNobodyWouldHonourIsRefused) {
  for (const std::string bad :
       {"allow.everyone.if.no.acl.found=false", "replica.selector.class=com.example.Mine",
        "replica.selector.class=org.apache.kafka.common.replica.Mine", "log.roll.ms=0", "log.retention.ms=0",
        "log.retention.hours=-2", "num.replica.fetchers=0", "socket.send.buffer.bytes=-2", "socket.request.max.bytes=1",
        "transactional.id.expiration.ms=0", "zookeeper.session.timeout.ms=5999", "replica.lag.time.max.ms=30001"}) {
    const auto parsed = parse_server_properties(bad);
    ASSERT_FALSE(parsed.has_value()) << bad;
    EXPECT_TRUE(parsed.error().starts_with(bad)) << parsed.error();
  }
  for (const std::string good : {"allow.everyone.if.no.acl.found=true",
                                 "replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector",
                                 "log.retention.ms=-1", "socket.send.buffer.bytes=-1"}) {
    EXPECT_TRUE(parse_server_properties(good).has_value()) << good;
  }
}

TEST(Kafka, ReplicasNeedBrokers) {
  ClusterSpec spec;
  spec.brokers = 3;
  EXPECT_EQ(too_many_replicas(spec, 3), "");
  for (const std::string key : {"default.replication.factor", "offsets.topic.replication.factor",
                                "transaction.state.log.replication.factor", "min.insync.replicas"}) {
    spec.server_properties = key + "=4\n";
    EXPECT_NE(too_many_replicas(spec, 3).find(key + "=4: a cluster of 3 brokers"), std::string::npos) << key;
  }
}

TEST(Kafka, BetweenBrokersOnlyBrokersAreLetIn) {
  ClusterSpec spec;
  const auto properties = broker_properties(spec, 3, {"127.0.0.1", "z/c", certificate_domain("c1")}, {});
  EXPECT_EQ(properties.at("listener.name.replication.ssl.client.auth"), "required");
  EXPECT_EQ(properties.at("listener.name.replication.weir.ssl.client.names"), ".c1");
  EXPECT_EQ(certificate_name("c1", 2), "b-2.c1");
  spec.in_cluster = false;
  EXPECT_FALSE(broker_properties(spec, 3, {"127.0.0.1", "z/c", ".c1"}, {})
                   .contains("listener.name.replication.weir.ssl.client.names"));
}

TEST(Kafka, EverySettableKeyIsOneOfTheBroker) {
  ClusterSpec spec;
  spec.instance_type = "kafka.m5.large";
  EXPECT_EQ(complaints(spec, 3), std::vector<std::string>{});
  for (const auto key : settable_keys()) {
    const auto parsed = parse_server_properties(std::string(key) + "=\n");
    if (!parsed) EXPECT_EQ(parsed.error().find("not known"), std::string::npos) << parsed.error();
  }
}

TEST(Names, ArnsAndTimesAreAsMskHasThem) {
  const Realm realm{"eu-west-1", "123456789012"};
  const auto text = arn_text(realm, cluster_kind, "c", "0b1e-2");
  EXPECT_EQ(text, "arn:aws:kafka:eu-west-1:123456789012:cluster/c/0b1e-2");
  const auto arn = parse_arn(realm, text);
  ASSERT_TRUE(arn.has_value());
  EXPECT_EQ(arn->id, "0b1e-2");
  EXPECT_EQ(parse_arn(realm, arn_text(realm, operation_kind, "c", "i", "o"))->rest, "o");
  for (const std::string_view bad :
       {"", "arn", "arn:aws:kafka:eu-west-1:123456789012:cluster/c", "arn:aws:sns:eu-west-1:123456789012:cluster/c/i",
        "arn:aws:kafka:eu-west-2:123456789012:cluster/c/i", "arn:aws:kafka:eu-west-1:123456789012:cluster/../../x",
        "arn:aws:kafka:eu-west-1:123456789012:cluster//i"}) {
    EXPECT_FALSE(parse_arn(realm, bad).has_value()) << bad;
  }
  EXPECT_EQ(iso8601(milliseconds(1569455284794)), "2019-09-25T23:48:04.794Z");
}

TEST(Codec, RecordsComeBackAsTheyWere) {
  Cluster cluster;
  cluster.id = "i-2";
  cluster.name = "c";
  cluster.state = ClusterState::updating;
  cluster.members = {{1, milliseconds(5)}, {2, milliseconds(6)}};
  cluster.tags = {{"a", "b"}};
  cluster.spec.client_broker = ClientBroker::plaintext;
  cluster.spec.server_properties = "a=\"1\"\n";
  Cluster back;
  ASSERT_TRUE(decode(encode(cluster), back).has_value());
  EXPECT_EQ(back, cluster);
  Operation operation;
  operation.steps.resize(2);
  operation.steps[1] = {StepKind::restart, 3, true, true, "9"};
  operation.to.brokers = 6;
  Operation read;
  ASSERT_TRUE(decode(encode(operation), read).has_value());
  EXPECT_EQ(read, operation);
  EXPECT_FALSE(decode("{\"id\":5}", back).has_value());
  EXPECT_FALSE(decode("nonsense", back).has_value());
}

}  // namespace
}  // namespace weir::msk
