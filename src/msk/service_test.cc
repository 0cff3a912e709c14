#include "msk/service.h"

#include <gtest/gtest.h>

#include "msk/plane_fixture.h"

namespace weir::msk {
namespace {

TEST_F(MskTest, AClusterComesUpIsShownAndGoes) {
  auto said = call("CreateCluster", create_body("tutorial"));
  ASSERT_EQ(said.status, 200) << said.message;
  EXPECT_EQ(text(said.body, "state"), "CREATING");
  EXPECT_EQ(text(said.body, "clusterName"), "tutorial");
  const auto arn = text(said.body, "clusterArn");
  EXPECT_TRUE(arn.starts_with("arn:aws:kafka:us-east-1:123456789012:cluster/tutorial/")) << arn;
  EXPECT_FALSE(info(arn).contains("zookeeperConnectString"));
  EXPECT_EQ(on("GetBootstrapBrokers", arn).error, "ConflictException");
  ASSERT_TRUE(becomes(arn, "ACTIVE"));

  const auto cluster = info(arn);
  EXPECT_EQ(cluster.at("numberOfBrokerNodes").as_int64(), 3);
  EXPECT_EQ(text(cluster, "zookeeperConnectString"), "127.0.0.1:2181/msk/tutorial-" + arn.substr(arn.rfind('/') + 1));
  EXPECT_FALSE(cluster.contains("activeOperationArn"));
  const auto& spec = place.all.begin()->second.spec;
  EXPECT_EQ(spec.properties.at("inter.broker.protocol.version"), "2.2");
  EXPECT_EQ(spec.properties.at("listeners"),
            "CLIENT://127.0.1.1:9092,CLIENT_SECURE://127.0.1.1:9094,REPLICATION://127.0.1.1:9093");
  EXPECT_EQ(spec.properties.at("unclean.leader.election.enable"), "true");  // MSK's default before 2.3
  EXPECT_EQ(spec.properties.at("zookeeper.connect"), text(cluster, "zookeeperConnectString"));
  EXPECT_EQ(spec.zone, "use1-az1");

  auto brokers = on("GetBootstrapBrokers", arn).body;
  EXPECT_EQ(text(brokers, "bootstrapBrokerString"), "127.0.1.1:9092,127.0.1.2:9092,127.0.1.3:9092");
  EXPECT_EQ(text(brokers, "bootstrapBrokerStringTls"), "127.0.1.1:9094,127.0.1.2:9094,127.0.1.3:9094");
  EXPECT_EQ(brokers.size(), 2U);
  auto nodes = on("ListNodes", arn).body.at("nodeInfoList").as_array();
  ASSERT_EQ(nodes.size(), 3U);
  EXPECT_EQ(nodes[1].at("brokerNodeInfo").at("brokerId").as_double(), 2.0);
  auto listed = call("ListClustersV2", {}, {}, {{"clusterNameFilter", "tuto"}}).body.at("clusterInfoList").as_array();
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_EQ(listed[0].at("clusterType").as_string(), "PROVISIONED");
  EXPECT_EQ(listed[0].at("provisioned").at("numberOfBrokerNodes").as_int64(), 3);

  EXPECT_EQ(on("DeleteCluster", arn, {}, {{"currentVersion", "K000"}}).parameter, "currentVersion");
  auto deleted = on("DeleteCluster", arn, {}, {{"currentVersion", text(cluster, "currentVersion")}});
  EXPECT_EQ(text(deleted.body, "state"), "DELETING") << deleted.message;
  for (int i = 0; i < 100 && on("DescribeCluster", arn).status != 404; ++i) world.run_for(milliseconds(50));
  EXPECT_EQ(on("DescribeCluster", arn).error, "NotFoundException");
  EXPECT_TRUE(place.all.empty());
  for (const auto& [path, value] : tree->dump()) {
    EXPECT_EQ(path.find("tutorial"), std::string::npos) << path;  // the chroot and the name are gone
  }
  make_cluster(create_body("tutorial"));  // the name is free again, and so are the addresses
  EXPECT_EQ(place.all.begin()->second.spec.address, "127.0.1.1");
}

TEST_F(MskTest, ANameIsTakenOnce) {
  make_cluster();
  auto said = call("CreateCluster", create_body());
  EXPECT_EQ(said.status, 409);
  EXPECT_EQ(said.error, "ConflictException");
  EXPECT_EQ(said.message, "A resource with this name already exists.");
  EXPECT_EQ(said.parameter, "clusterName");
}

TEST_F(MskTest, EveryBoundOfACreationIsChecked) {
  struct Case {
    std::function<void(json::object&)> spoil;
    std::string parameter;
    std::string message;  // a part
  };
  const auto group = [](json::object& b) -> json::object& { return b["brokerNodeGroupInfo"].as_object(); };
  const std::vector<Case> cases{
      {[](json::object& b) { b["clusterName"] = std::string(65, 'x'); }, "clusterName", "1 to 64"},
      {[](json::object& b) { b["clusterName"] = "-x"; }, "clusterName", "pattern"},
      {[](json::object& b) { b.erase("clusterName"); }, "clusterName", "required"},
      {[](json::object& b) { b["clusterName"] = 5; }, "clusterName", "string"},
      {[](json::object& b) { b["kafkaVersion"] = "2.1.0"; }, "kafkaVersion",
       "Unsupported KafkaVersion [2.1.0]. Valid values: [1.1.1, 2.2.1,"},
      {[](json::object& b) { b["numberOfBrokerNodes"] = 33; }, "numberOfBrokerNodes", "from 1 to 30"},
      {[](json::object& b) { b["numberOfBrokerNodes"] = 4; }, "numberOfBrokerNodes", "multiple"},
      {[](json::object& b) { b["numberOfBrokerNodes"] = 2.5; }, "numberOfBrokerNodes", "whole number"},
      {[&](json::object& b) { group(b)["clientSubnets"] = json::array{"a"}; }, "clientSubnets", "two or three"},
      {[&](json::object& b) { group(b)["clientSubnets"] = json::array{"a", "a", "b"}; }, "clientSubnets",
       "two or three"},
      {[&](json::object& b) { group(b)["instanceType"] = "kafka.huge"; }, "instanceType", "kafka.m5.large"},
      {[&](json::object& b) { group(b)["instanceType"] = "express.m7g.large"; }, "instanceType", "not supported yet"},
      {[&](json::object& b) {
         group(b)["storageInfo"] = json::object{{"ebsStorageInfo", json::object{{"volumeSize", 99999}}}};
       },
       "volumeSize", "from 1 to 16384"},
      {[](json::object& b) { b["enhancedMonitoring"] = "MORE"; }, "enhancedMonitoring", "PER_TOPIC_PER_BROKER"},
      {[](json::object& b) { b["storageMode"] = "TIERED"; }, "storageMode", "not supported yet"},
      {[](json::object& b) { b["encryptionInfo"] = json::array(); }, "encryptionInfo", "structure"},
      {[](json::object& b) {
         b["clientAuthentication"] = json::object{{"sasl", json::object{{"iam", json::object{{"enabled", true}}}}}};
       },
       "iam", "not supported yet"},
      {[](json::object& b) {
         b["encryptionInfo"] = json::object{{"encryptionAtRest", json::object{{"dataVolumeKMSKeyId", "k"}}}};
       },
       "dataVolumeKMSKeyId", "not supported yet"},
      {[](json::object& b) {
         json::object s3{{"enabled", true}, {"bucket", "b"}};
         b["loggingInfo"] = json::object{{"brokerLogs", json::object{{"s3", s3}}}};
       },
       "s3", "not supported yet"},
      {[](json::object& b) { b["configurationInfo"] = json::object{{"arn", "nonsense"}, {"revision", 1}}; }, "arn",
       "Invalid Configuration ARN."},
      {[](json::object& b) { b["tags"] = json::object{{"aws:x", "y"}}; }, "tags", "aws:"},
  };
  for (const auto& each : cases) {
    auto body = create_body();
    each.spoil(body);
    const auto said = call("CreateCluster", body);
    EXPECT_EQ(said.status, 400) << json::serialize(body);
    EXPECT_EQ(said.error, "BadRequestException");
    EXPECT_EQ(said.parameter, each.parameter) << said.message;
    EXPECT_NE(said.message.find(each.message), std::string::npos) << said.message;
  }
  EXPECT_TRUE(place.all.empty());
}

TEST_F(MskTest, ACreationThatFailsSaysWhyAndCanOnlyBeDeleted) {
  place.trouble = [](const std::string& what, const provision::BrokerSpec& spec) -> std::optional<provision::Failure> {
    if (what != "start" || spec.key.broker != 2) return std::nullopt;
    return provision::Failure{provision::Failure::Kind::not_ready, "Broker 2 ended: port 9092 is taken."};
  };
  const auto arn = text(call("CreateCluster", create_body()).body, "clusterArn");
  ASSERT_TRUE(becomes(arn, "FAILED"));
  EXPECT_NE(text(info(arn).at("stateInfo").as_object(), "message").find("port 9092 is taken"), std::string::npos);
  auto update =
      on("UpdateBrokerType", arn, {{"currentVersion", version(arn)}, {"targetInstanceType", "kafka.m5.xlarge"}});
  EXPECT_EQ(update.status, 400);
  EXPECT_EQ(on("DeleteCluster", arn).status, 200);
  for (int i = 0; i < 100 && on("DescribeCluster", arn).status != 404; ++i) world.run_for(milliseconds(50));
  EXPECT_EQ(on("DescribeCluster", arn).status, 404);
}

TEST_F(MskTest, ConfigurationsHaveRevisionsAndStayWhileTheyAreUsed) {
  const auto blob = [](std::string_view s) { return json::value(to_base64(s)); };
  json::object body{{"name", "Custom"},
                    {"kafkaVersions", json::array{"1.1.1"}},
                    {"serverProperties", blob("auto.create.topics.enable = true\nlog.roll.ms = 604800000\n")}};
  auto made = call("CreateConfiguration", body);
  ASSERT_EQ(made.status, 200) << made.message;
  const auto arn = text(made.body, "arn");
  EXPECT_EQ(made.body.at("latestRevision").at("revision").as_int64(), 1);
  EXPECT_EQ(call("CreateConfiguration", body).status, 409);
  body["name"] = "Other";
  body["serverProperties"] = blob("listeners=PLAINTEXT://:9092\n");
  auto refused = call("CreateConfiguration", body);
  EXPECT_EQ(refused.parameter, "serverProperties");
  EXPECT_NE(refused.message.find("listeners"), std::string::npos);
  body["serverProperties"] = blob("replica.lag.time.max.ms=99999\n");
  EXPECT_NE(call("CreateConfiguration", body).message.find("from 10000 to 30000"), std::string::npos);
  body["serverProperties"] = "%%%";
  EXPECT_NE(call("CreateConfiguration", body).message.find("base64"), std::string::npos);

  auto revised = call("UpdateConfiguration", {{"serverProperties", blob("num.partitions=3\n")}, {"description", "two"}},
                      {{"arn", arn}});
  ASSERT_EQ(revised.status, 200) << revised.message;
  EXPECT_EQ(revised.body.at("latestRevision").at("revision").as_int64(), 2);
  auto second = call("DescribeConfigurationRevision", {}, {{"arn", arn}, {"revision", "2"}});
  EXPECT_EQ(text(second.body, "serverProperties"), to_base64("num.partitions=3\n"));
  EXPECT_EQ(call("DescribeConfigurationRevision", {}, {{"arn", arn}, {"revision", "3"}}).status, 404);
  auto page = call("ListConfigurationRevisions", {}, {{"arn", arn}}, {{"maxResults", "1"}});
  ASSERT_EQ(page.body.at("revisions").as_array().size(), 1U);
  auto rest = call("ListConfigurationRevisions", {}, {{"arn", arn}},
                   {{"maxResults", "1"}, {"nextToken", text(page.body, "nextToken")}});
  EXPECT_EQ(rest.body.at("revisions").as_array()[0].at("revision").as_int64(), 2);
  EXPECT_FALSE(rest.body.contains("nextToken"));
  EXPECT_EQ(call("ListConfigurations", {}, {}, {{"maxResults", "101"}}).parameter, "maxResults");
  EXPECT_EQ(call("ListConfigurations", {}, {}, {{"nextToken", "junk"}}).parameter, "nextToken");

  auto with = create_body();
  with["configurationInfo"] = json::object{{"arn", arn}, {"revision", 2}};
  const auto cluster = make_cluster(with);
  EXPECT_EQ(place.all.begin()->second.spec.properties.at("num.partitions"), "3");
  auto kept = call("DeleteConfiguration", {}, {{"arn", arn}});
  EXPECT_EQ(kept.status, 400);
  EXPECT_TRUE(kept.message.starts_with("Configuration is in use by one or more clusters.")) << kept.message;
  EXPECT_EQ(on("DeleteCluster", cluster).status, 200);
  for (int i = 0; i < 100 && on("DescribeCluster", cluster).status != 404; ++i) world.run_for(milliseconds(50));
  EXPECT_EQ(text(call("DeleteConfiguration", {}, {{"arn", arn}}).body, "state"), "DELETING");
  EXPECT_EQ(call("DescribeConfiguration", {}, {{"arn", arn}}).status, 400);
}

TEST_F(MskTest, TagsPolicyAndVpcConnectionsAreKept) {
  const auto arn = make_cluster();
  EXPECT_EQ(call("TagResource", {{"tags", json::object{{"a", "1"}, {"b", "2"}}}}, {{"resourceArn", arn}}).status, 204);
  EXPECT_EQ(call("UntagResource", {}, {{"resourceArn", arn}}, {{"tagKeys", "a"}}).status, 204);
  auto tags = call("ListTagsForResource", {}, {{"resourceArn", arn}}).body.at("tags").as_object();
  EXPECT_EQ(json::serialize(tags), R"({"b":"2"})");
  EXPECT_EQ(call("ListTagsForResource", {}, {{"resourceArn", arn + "0"}}).status, 404);

  EXPECT_EQ(on("GetClusterPolicy", arn).status, 404);
  EXPECT_EQ(on("PutClusterPolicy", arn, {{"policy", "no json"}}).parameter, "policy");
  auto put = on("PutClusterPolicy", arn, {{"policy", R"({"Statement":[]})"}});
  ASSERT_EQ(put.status, 200) << put.message;
  EXPECT_EQ(on("PutClusterPolicy", arn, {{"policy", R"({"Statement":[]})"}, {"currentVersion", "K1"}}).parameter,
            "currentVersion");
  EXPECT_EQ(text(on("GetClusterPolicy", arn).body, "policy"), R"({"Statement":[]})");
  EXPECT_EQ(on("DeleteClusterPolicy", arn).status, 200);
  EXPECT_EQ(on("GetClusterPolicy", arn).status, 404);

  json::object body{{"targetClusterArn", arn},
                    {"authentication", "TLS"},
                    {"vpcId", "vpc-1"},
                    {"clientSubnets", json::array{"s"}},
                    {"securityGroups", json::array{"g"}}};
  auto vpc = call("CreateVpcConnection", body);
  ASSERT_EQ(vpc.status, 200) << vpc.message;
  EXPECT_EQ(call("ListVpcConnections").body.at("vpcConnections").as_array().size(), 1U);
  EXPECT_EQ(on("ListClientVpcConnections", arn).body.at("clientVpcConnections").as_array().size(), 1U);
  const auto vpc_arn = text(vpc.body, "vpcConnectionArn");
  EXPECT_EQ(call("DeleteVpcConnection", {}, {{"arn", vpc_arn}}).status, 200);
  EXPECT_EQ(call("DescribeVpcConnection", {}, {{"arn", vpc_arn}}).status, 404);
}

TEST_F(MskTest, WhatIsNotThereYetSaysSo) {
  for (const std::string operation : {"CreateReplicator", "BatchAssociateScramSecret"}) {
    auto said = call(operation);
    EXPECT_EQ(said.error, "BadRequestException");
    EXPECT_NE(said.message.find("not supported yet"), std::string::npos);
  }
  EXPECT_EQ(call("ListReplicators").status, 200);
  EXPECT_EQ(call("DescribeReplicator", {}, {{"replicatorArn", "arn:x"}}).status, 404);
}

TEST_F(MskTest, TopicsAreMadeAsKafkaMakesThem) {
  const auto arn = make_cluster();
  auto body = json::object{
      {"topicName", "t"}, {"partitionCount", 2}, {"replicationFactor", 3}, {"configs", to_base64("retention.ms=1000")}};
  auto made = on("CreateTopic", arn, body);
  ASSERT_EQ(made.status, 200) << made.message;
  EXPECT_EQ(on("CreateTopic", arn, body).error, "TopicExistsException");
  EXPECT_EQ(data(chroot(arn) + "/config/topics/t"), R"({"version":1,"config":{"retention.ms":"1000"}})");
  auto assignment = zkwire::layout::decode_topic("t", data(chroot(arn) + "/brokers/topics/t"));
  ASSERT_TRUE(assignment.has_value());
  ASSERT_EQ(assignment->partitions.size(), 2U);
  EXPECT_EQ(assignment->partitions.begin()->second.replicas.size(), 3U);
  body["topicName"] = "bad/name";
  EXPECT_EQ(on("CreateTopic", arn, body).parameter, "topicName");
  body["topicName"] = "u";
  body["replicationFactor"] = 4;
  EXPECT_EQ(on("CreateTopic", arn, body).parameter, "replicationFactor");
  const aws::Labels labels{{"clusterArn", arn}, {"topicName", "t"}};
  EXPECT_EQ(call("UpdateTopic", {{"partitionCount", 1}}, labels).parameter, "partitionCount");
  EXPECT_EQ(call("UpdateTopic", {{"partitionCount", 5}, {"configs", to_base64("retention.ms=5")}}, labels).status, 200);
  auto topic = call("DescribeTopic", {}, labels).body;
  EXPECT_EQ(topic.at("partitionCount").as_int64(), 5);
  EXPECT_EQ(from_base64(text(topic, "configs")), "retention.ms=5\n");
  EXPECT_EQ(call("DescribeTopicPartitions", {}, labels, {{"maxResults", "4"}}).body.at("partitions").as_array().size(),
            4U);
  EXPECT_EQ(on("ListTopics", arn).body.at("topics").as_array().size(), 1U);
  EXPECT_EQ(text(call("DeleteTopic", {}, labels).body, "status"), "DELETING");
  EXPECT_EQ(call("DeleteTopic", {}, {{"clusterArn", arn}, {"topicName", "none"}}).error,
            "UnknownTopicOrPartitionException");
}

// Its process is there (SIGSTOP, a deadlock), and ZooKeeper has not heard of it for a session.
TEST_F(MskTest, ABrokerThatHangsShowsAsHealingAndIsStartedAnew) {
  const auto arn = make_cluster();
  place.log.clear();
  erase(chroot(arn) + "/brokers/ids/2");
  ASSERT_TRUE(becomes(arn, "HEALING"));
  EXPECT_NE(text(info(arn).at("stateInfo").as_object(), "message").find("Broker 2 runs, but is not registered"),
            std::string::npos);
  EXPECT_TRUE(place.log.empty()) << "it may come back by itself";
  for (int i = 0; i < 10 && place.log.empty(); ++i) world.run_for(seconds(10));
  revive();
  EXPECT_EQ(place.log, (std::vector<std::string>{"kill 2", "start 2"}));
  EXPECT_TRUE(becomes(arn, "ACTIVE"));
}

// A kill is only asked for: while that one ends, waits and starts the other is not killed, too.
TEST_F(MskTest, BrokersThatHangAreKilledOneAtATimeAndNotAllTheTime) {
  const auto arn = make_cluster();
  place.log.clear();
  const auto root = chroot(arn);
  place.at_start = [this, root](std::int32_t broker) { return take(root + "/brokers/ids/" + std::to_string(broker)); };
  erase(root + "/brokers/ids/1");
  erase(root + "/brokers/ids/3");
  std::int64_t last = -1000;
  std::map<std::string, int> kills;
  for (std::int64_t second = 0; second < 1200; ++second) {
    world.run_for(seconds(1));
    if (place.killed.empty()) continue;
    EXPECT_EQ(place.killed.size(), 1U);
    EXPECT_GE(second - last, 55) << "the one before had not its time";
    last = second;
    ++kills["kill " + std::to_string(place.killed.front().broker)];
    world.run_for(seconds(2));  // it still runs
    place.die();
    world.run_for(seconds(3));  // it waits
    EXPECT_EQ(place.killed.size(), 1U);
    revive();
  }
  for (const auto* what : {"kill 1", "kill 3"}) {
    EXPECT_GE(kills[what], 2) << what;
    EXPECT_LE(kills[what], 5) << what;
  }
  EXPECT_EQ(kills["kill 2"], 0);
}

// Without anybody who is registered nobody would lead in their place, and what they have they serve.
TEST_F(MskTest, WhereNobodyIsRegisteredNobodyIsKilled) {
  const auto arn = make_cluster();
  place.log.clear();
  const auto root = chroot(arn);
  for (const auto* id : {"1", "2", "3"}) erase(root + "/brokers/ids/" + id);
  for (auto& [key, broker] : place.all) broker.stale = true;  // by a change that needs no restart
  world.run_for(seconds(1200));
  EXPECT_TRUE(place.log.empty()) << place.log.front();
  EXPECT_EQ(state(arn), "HEALING");
}

TEST_F(MskTest, FilesThatAreNewerAreNoReasonToKillSooner) {
  const auto arn = make_cluster();
  place.log.clear();
  for (auto& [key, broker] : place.all) broker.stale = true;
  erase(chroot(arn) + "/brokers/ids/2");
  world.run_for(seconds(40));
  EXPECT_EQ(state(arn), "HEALING");
  EXPECT_TRUE(place.log.empty()) << "a machine that stalls comes back";
}

TEST_F(MskTest, AnotherAddressOfZooKeeperReachesTheBrokers) {
  const auto arn = make_cluster();
  const auto root = chroot(arn);
  end();
  tune = [](ServiceOptions& options) { options.zookeeper = "127.0.0.9:2999"; };
  place.log.clear();
  // One cannot start with the old address, one runs on without having a session, one is well.
  for (auto& [key, broker] : place.all) {
    if (key.broker == 1) broker.state = provision::BrokerState::backing_off;
  }
  erase(root + "/brokers/ids/1");
  erase(root + "/brokers/ids/2");
  make();
  for (int i = 0; i < 400 && place.killed.empty(); ++i) world.run_for(milliseconds(100));
  revive();
  EXPECT_EQ(place.log, (std::vector<std::string>{"put 1", "stop 1", "start 1", "put 2", "put 3", "kill 2", "start 2"}));
  for (const auto& [key, broker] : place.all) {
    EXPECT_EQ(broker.spec.properties.at("zookeeper.connect"), "127.0.0.9:2999" + root);
  }
  EXPECT_TRUE(becomes(arn, "ACTIVE"));
}

TEST_F(MskUpdateTest, AnOperationSaysWhatItWaitsFor) {
  partition("[2,3]", 2);
  const auto said = on("RebootBroker", arn, {{"brokerIds", json::array{"2"}}});
  ASSERT_EQ(said.status, 200) << said.message;
  world.run_for(seconds(2));
  const auto record =
      call("DescribeClusterOperation", {}, {{"clusterOperationArn", text(said.body, "clusterOperationArn")}})
          .body.at("clusterOperationInfo")
          .as_object();
  EXPECT_EQ(json::serialize(record.at("errorInfo")),
            R"({"errorCode":"WAITING","errorString":"t-0 would have 1 replicas in sync, and 2 are needed"})");
}

TEST_F(MskTest, ABrokerThatIsDownShowsAsHealingWithItsCause) {
  const auto arn = make_cluster();
  auto& broker = place.all.begin()->second;
  broker.state = provision::BrokerState::backing_off;
  broker.cause = "it was killed by signal 9";
  ASSERT_TRUE(becomes(arn, "HEALING"));
  EXPECT_NE(text(info(arn).at("stateInfo").as_object(), "message").find("signal 9"), std::string::npos);
  auto refused = on("UpdateBrokerCount", arn, {{"currentVersion", version(arn)}, {"targetNumberOfBrokerNodes", 6}});
  EXPECT_NE(refused.message.find("HEALING"), std::string::npos);
  broker.state = provision::BrokerState::running;
  EXPECT_TRUE(becomes(arn, "ACTIVE"));
}

TEST_F(MskUpdateTest, DynamicKeysAreSetWithoutARestart) {
  const auto before = version(arn);
  auto record = over(configure("live", "message.max.bytes=2000000\n"));
  EXPECT_EQ(text(record, "operationState"), "UPDATE_COMPLETE");
  EXPECT_EQ(text(record, "operationType"), "UPDATE_CLUSTER_CONFIGURATION");
  EXPECT_TRUE(restarts().empty());
  EXPECT_EQ(data(chroot(arn) + "/config/brokers/<default>"),
            R"({"version":1,"config":{"message.max.bytes":"2000000"}})");
  EXPECT_EQ(place.all.begin()->second.spec.properties.at("message.max.bytes"), "2000000");
  EXPECT_NE(version(arn), before);
  auto stale = on("UpdateBrokerType", arn, {{"currentVersion", before}, {"targetInstanceType", "kafka.m5.xlarge"}});
  EXPECT_EQ(stale.message, "The version of the cluster isn't current. Check the current version and try again.");
  EXPECT_EQ(stale.parameter, "currentVersion");
}

TEST_F(MskUpdateTest, OthersRollAndWaitForEveryReplica) {
  partition("[1,2]");
  auto begun = configure("roll", "auto.create.topics.enable=true\n");
  world.run_for(seconds(5));
  EXPECT_TRUE(restarts().empty());  // two in sync, two needed: nobody may leave
  EXPECT_EQ(state(arn), "UPDATING");
  auto second =
      on("UpdateBrokerType", arn, {{"currentVersion", version(arn)}, {"targetInstanceType", "kafka.m5.xlarge"}});
  EXPECT_NE(second.message.find("UPDATING"), std::string::npos);
  // Broker 1 is restarted, is not back in sync, and another leads.
  const auto root = chroot(arn);
  place.at_start = [this, &root](std::int32_t broker) { return fell_behind(broker, root); };
  partition("[1,2,3]");
  world.run_for(seconds(5));
  EXPECT_EQ(restarts(), std::vector<std::string>{"start 1"});
  partition("[2,3,1]", 2);  // it is, and does not lead again
  world.run_for(seconds(5));
  EXPECT_EQ(restarts().size(), 1U);
  EXPECT_EQ(data(chroot(arn) + "/admin/preferred_replica_election"),
            R"({"version":1,"partitions":[{"topic":"t","partition":0}]})");
  erase(chroot(arn) + "/admin/preferred_replica_election");
  partition("[2,3,1]", 1);
  EXPECT_EQ(text(over(begun), "operationState"), "UPDATE_COMPLETE");
  EXPECT_EQ(restarts(), (std::vector<std::string>{"start 1", "start 2", "start 3"}));
  EXPECT_EQ(text(info(arn).at("currentBrokerSoftwareInfo").as_object(), "configurationArn").find("configuration/roll"),
            std::string("arn:aws:kafka:us-east-1:123456789012:").size());
}

TEST_F(MskUpdateTest, AnUpdateThatFailsLeavesTheClusterAsItWas) {
  place.trouble = [](const std::string& what, const provision::BrokerSpec& spec) -> std::optional<provision::Failure> {
    const auto found = spec.properties.find("auto.create.topics.enable");
    if (what != "start" || spec.key.broker != 2 || found->second != "true") return std::nullopt;
    return provision::Failure{provision::Failure::Kind::not_ready, "Broker 2 ended."};
  };
  auto record = over(configure("bad", "auto.create.topics.enable=true\n"));
  EXPECT_EQ(text(record, "operationState"), "UPDATE_FAILED");
  EXPECT_NE(text(record.at("errorInfo").as_object(), "errorString").find("Broker 2 ended."), std::string::npos);
  EXPECT_TRUE(becomes(arn, "ACTIVE"));
  EXPECT_FALSE(info(arn).at("currentBrokerSoftwareInfo").as_object().contains("configurationArn"));
  for (const auto& [key, broker] : place.all) {
    EXPECT_EQ(broker.state, provision::BrokerState::running) << key.broker;
    EXPECT_EQ(broker.spec.properties.at("auto.create.topics.enable"), "false") << key.broker;
    EXPECT_FALSE(broker.stale) << key.broker;
  }
}

TEST_F(MskUpdateTest, BrokersComeAndGo) {
  auto grown = over(on("UpdateBrokerCount", arn, {{"currentVersion", version(arn)}, {"targetNumberOfBrokerNodes", 6}}));
  EXPECT_EQ(text(grown, "operationType"), "INCREASE_BROKER_COUNT");
  EXPECT_EQ(json::serialize(grown.at("targetClusterInfo").at("brokerCountUpdateInfo").at("createdBrokerIds")),
            "[4E0,5E0,6E0]");
  EXPECT_EQ(place.all.size(), 6U);
  EXPECT_EQ(info(arn).at("numberOfBrokerNodes").as_int64(), 6);
  partition("[1,2,3]");
  auto refused = on("UpdateBrokerCount", arn, {{"currentVersion", version(arn)}, {"targetNumberOfBrokerNodes", 5}});
  EXPECT_EQ(refused.parameter, "targetNumberOfBrokerNodes");
  auto shrunk =
      over(on("UpdateBrokerCount", arn, {{"currentVersion", version(arn)}, {"targetNumberOfBrokerNodes", 3}}));
  EXPECT_EQ(text(shrunk, "operationState"), "UPDATE_COMPLETE") << json::serialize(shrunk);
  EXPECT_EQ(place.all.size(), 3U);
}

TEST_F(MskUpdateTest, ARebootIsOfOneBroker) {
  place.log.clear();
  auto said = on("RebootBroker", arn, {{"brokerIds", json::array{"2"}}});
  EXPECT_EQ(state(arn), "REBOOTING_BROKER");
  EXPECT_EQ(text(over(said), "operationState"), "REBOOT_COMPLETE");
  EXPECT_EQ(restarts(), std::vector<std::string>{"start 2"});
  EXPECT_EQ(on("RebootBroker", arn, {{"brokerIds", json::array{"9"}}}).parameter, "brokerIds");
}

TEST_F(MskUpdateTest, StorageGrowsByTenOrMore) {
  const auto ask = [&](int size) {
    json::array volumes{json::object{{"kafkaBrokerNodeId", "All"}, {"volumeSizeGB", size}}};
    return on("UpdateBrokerStorage", arn, {{"currentVersion", version(arn)}, {"targetBrokerEBSVolumeInfo", volumes}});
  };
  place.log.clear();
  EXPECT_EQ(text(over(ask(100)), "operationType"), "INCREASE_BROKER_STORAGE");
  EXPECT_TRUE(restarts().empty()) << "it is in force at once";
  EXPECT_EQ(place.all.begin()->second.spec.limits.storage_bytes, std::int64_t{100} << 30U);
  EXPECT_EQ(ask(105).message, "To update storage, you must increase it by at least 10 GiB.");
  EXPECT_EQ(ask(50).parameter, "volumeSizeGB");
  EXPECT_EQ(ask(99999).parameter, "volumeSizeGB");
}

TEST_F(MskUpdateTest, AControlPlaneThatDiesAnywhereIsFollowedByOneThatGoesOn) {
  partition("[1,2,3]");
  for (int cut = 1; cut <= 6; ++cut) {
    int seen = 0;
    place.after = [&](const std::string&) {
      if (++seen != cut) return;
      // Nothing that this control plane still does has an effect.
      tree->disconnect(zk->session_id());
      place.trouble = [](const std::string&, const provision::BrokerSpec&) {
        return std::optional(provision::Failure{provision::Failure::Kind::closed, "dead"});
      };
    };
    auto begun = configure("cut" + std::to_string(cut), "num.partitions=" + std::to_string(cut + 1) + "\n");
    ASSERT_EQ(begun.status, 200) << begun.message;
    for (int i = 0; i < 200 && seen < cut; ++i) world.run_for(milliseconds(50));
    ASSERT_EQ(seen, cut);
    place.after = nullptr;
    end();
    place.trouble = nullptr;
    // What was cut off in the middle of a start is found by the place when it is opened again: not running.
    for (auto& [key, broker] : place.all) {
      if (broker.state == provision::BrokerState::backing_off) broker.state = provision::BrokerState::stopped;
    }
    tree->reconnect(zk->session_id());
    make();
    EXPECT_EQ(text(over(begun), "operationState"), "UPDATE_COMPLETE") << cut;
    EXPECT_TRUE(becomes(arn, "ACTIVE"));
    for (const auto& [key, broker] : place.all) {
      EXPECT_EQ(broker.spec.properties.at("num.partitions"), std::to_string(cut + 1)) << cut;
      EXPECT_EQ(broker.state, provision::BrokerState::running);
      EXPECT_FALSE(broker.stale);
    }
  }
}

}  // namespace
}  // namespace weir::msk
