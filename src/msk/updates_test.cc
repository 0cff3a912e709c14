// Updates of a cluster that are read from the request alone: what they ask for is what is done, and shown.
#include <gtest/gtest.h>

#include "msk/plane_fixture.h"
#include "msk/service.h"

namespace weir::msk {
namespace {

class MskChangeTest : public MskUpdateTest {
 protected:
  Said ask(const std::string& operation, json::object body) {
    body["currentVersion"] = version(arn);
    place.log.clear();
    return on(operation, arn, std::move(body));
  }
  // The record of an update that goes well.
  json::object done(const std::string& operation, json::object body) {
    const auto before = version(arn);
    auto record = over(ask(operation, std::move(body)));
    EXPECT_EQ(text(record, "operationState"), "UPDATE_COMPLETE") << json::serialize(record);
    EXPECT_NE(version(arn), before);
    EXPECT_TRUE(becomes(arn, "ACTIVE"));
    return record;
  }
  void refused(const std::string& operation, json::object body, const std::string& parameter, const std::string& why) {
    const auto before = version(arn);
    const auto said = ask(operation, std::move(body));
    EXPECT_EQ(said.error, "BadRequestException");
    EXPECT_EQ(said.parameter, parameter) << said.message;
    EXPECT_NE(said.message.find(why), std::string::npos) << said.message;
    EXPECT_EQ(version(arn), before);
    EXPECT_EQ(state(arn), "ACTIVE");
  }
  std::string property(const std::string& key) const {
    const auto& properties = place.all.begin()->second.spec.properties;
    const auto found = properties.find(key);
    return found == properties.end() ? "" : found->second;
  }
};

json::object transit(const std::string& client) {
  return {{"encryptionInTransit", json::object{{"clientBroker", client}}}};
}

TEST_F(MskChangeTest, EncryptionOfClientsIsRolled) {
  auto record = done("UpdateSecurity", {{"encryptionInfo", transit("TLS")}});
  EXPECT_EQ(text(record, "operationType"), "UPDATE_SECURITY");
  EXPECT_EQ(json::serialize(record.at("sourceClusterInfo")),
            R"({"encryptionInfo":{"encryptionInTransit":{"clientBroker":"TLS_PLAINTEXT","inCluster":true}}})");
  EXPECT_EQ(json::serialize(record.at("targetClusterInfo")),
            R"({"encryptionInfo":{"encryptionInTransit":{"clientBroker":"TLS","inCluster":true}}})");
  EXPECT_EQ(restarts().size(), 3U);
  EXPECT_EQ(property("listeners").find("CLIENT://"), std::string::npos);
  EXPECT_FALSE(on("GetBootstrapBrokers", arn).body.contains("bootstrapBrokerString"));
}

TEST_F(MskChangeTest, ClientsAuthenticateByTls) {
  json::object tls{{"enabled", true}, {"certificateAuthorityArnList", json::array{"arn:aws:acm-pca:x"}}};
  json::object wish{{"tls", tls}, {"unauthenticated", json::object{{"enabled", false}}}};
  // Whoever comes by the plaintext listener would be let in: said or not.
  refused("UpdateSecurity", {{"clientAuthentication", wish}}, "clientBroker", "unauthenticated.enabled to true");
  refused("UpdateSecurity", {{"clientAuthentication", json::object{{"tls", tls}}}}, "clientBroker", "must be TLS");
  done("UpdateSecurity", {{"clientAuthentication", wish}, {"encryptionInfo", transit("TLS")}});
  EXPECT_EQ(json::serialize(info(arn).at("clientAuthentication")), json::serialize(wish));
  EXPECT_EQ(property("listener.name.client_secure.ssl.client.auth"), "required");
  refused("UpdateSecurity", {{"encryptionInfo", transit("PLAINTEXT")}}, "clientBroker", "needs encryption");
  refused("UpdateSecurity", {{"encryptionInfo", transit("TLS_PLAINTEXT")}}, "clientBroker", "must be TLS");
  wish["unauthenticated"] = json::object{{"enabled", true}};
  done("UpdateSecurity", {{"clientAuthentication", wish}, {"encryptionInfo", transit("TLS_PLAINTEXT")}});
  EXPECT_EQ(property("listener.name.client_secure.ssl.client.auth"), "requested");
  auto body = create_body("open");
  auto plain = transit("TLS");
  plain["encryptionInTransit"].as_object()["inCluster"] = false;
  body["encryptionInfo"] = plain;
  body["clientAuthentication"] = json::object{{"tls", tls}};
  EXPECT_EQ(call("CreateCluster", body).parameter, "inCluster");
}

TEST_F(MskChangeTest, NoMoreReplicasThanBrokersAreAskedFor) {
  const auto wish = [&](const std::string& name, const std::string& properties) {
    return json::object{{"configurationInfo", json::object{{"arn", configuration(name, properties)}, {"revision", 1}}}};
  };
  refused("UpdateClusterConfiguration", wish("many", "offsets.topic.replication.factor=5\n"), "configurationInfo",
          "offsets.topic.replication.factor=5: a cluster of 3 brokers");
  done("UpdateBrokerCount", {{"targetNumberOfBrokerNodes", 6}});
  done("UpdateClusterConfiguration", wish("five", "offsets.topic.replication.factor=5\n"));
  refused("UpdateBrokerCount", {{"targetNumberOfBrokerNodes", 3}}, "targetNumberOfBrokerNodes",
          "offsets.topic.replication.factor=5: a cluster of 3 brokers");
  auto body = create_body("few");
  body["configurationInfo"] = wish("three", "min.insync.replicas=4\n").at("configurationInfo");
  EXPECT_EQ(call("CreateCluster", body).parameter, "configurationInfo");
}

TEST_F(MskChangeTest, WhatSecurityCannotBecome) {
  json::object in_cluster{{"encryptionInTransit", json::object{{"inCluster", false}}}};
  refused("UpdateSecurity", {{"encryptionInfo", in_cluster}}, "inCluster", "cannot be changed");
  refused("UpdateSecurity", {}, "encryptionInfo", "does not include any updates");
  refused("UpdateSecurity", {{"encryptionInfo", transit("SOME")}}, "clientBroker", "TLS_PLAINTEXT");
  for (const std::string kind : {"iam", "scram"}) {
    json::object sasl{{kind, json::object{{"enabled", true}}}};
    refused("UpdateSecurity", {{"clientAuthentication", json::object{{"sasl", sasl}}}}, kind, "not supported yet");
  }
  json::object nobody{{"unauthenticated", json::object{{"enabled", false}}}};
  refused("UpdateSecurity", {{"clientAuthentication", nobody}}, "clientAuthentication", "At least one");
}

TEST_F(MskChangeTest, ConnectivityIsKeptAndShown) {
  const auto tls = json::parse(R"({"vpcConnectivity":{"clientAuthentication":{"tls":{"enabled":true}}}})").as_object();
  auto record = done("UpdateConnectivity", {{"connectivityInfo", tls}});
  EXPECT_EQ(text(record, "operationType"), "UPDATE_CONNECTIVITY");
  EXPECT_TRUE(restarts().empty());
  EXPECT_EQ(
      json::serialize(info(arn).at("brokerNodeGroupInfo").at("connectivityInfo")),
      R"({"vpcConnectivity":{"clientAuthentication":{"tls":{"enabled":true}}},"publicAccess":{"type":"DISABLED"}})");
  // What is not said stays.
  done("UpdateConnectivity",
       {{"connectivityInfo", json::object{{"publicAccess", json::object{{"type", "DISABLED"}}}}}});
  EXPECT_TRUE(info(arn).at("brokerNodeGroupInfo").at("connectivityInfo").as_object().contains("vpcConnectivity"));
  done("UpdateConnectivity", {{"zookeeperAccess", json::object{{"enabled", true}}}});
}

TEST_F(MskChangeTest, WhatConnectivityCannotBecome) {
  const auto wish = [](const char* text) { return json::object{{"connectivityInfo", json::parse(text)}}; };
  refused("UpdateConnectivity", wish(R"({"publicAccess":{"type":"SERVICE_PROVIDED_EIPS"}})"), "type", "network");
  refused("UpdateConnectivity", wish(R"({"publicAccess":{"type":"MORE"}})"), "type", "DISABLED");
  refused("UpdateConnectivity", wish(R"({"networkType":"DUAL"})"), "networkType", "IPV4");
  refused("UpdateConnectivity",
          wish(R"({"vpcConnectivity":{"clientAuthentication":{"sasl":{"iam":{"enabled":true}}}}})"), "iam",
          "not supported yet");
  refused("UpdateConnectivity", {}, "connectivityInfo", "does not include any updates");
  refused("UpdateConnectivity", {{"zookeeperAccess", json::object{{"enabled", false}}}}, "enabled", "cannot be");
  auto body = create_body("early");
  body["brokerNodeGroupInfo"].as_object()["connectivityInfo"] =
      json::parse(R"({"vpcConnectivity":{"clientAuthentication":{"tls":{"enabled":true}}}})");
  EXPECT_EQ(call("CreateCluster", body).parameter, "vpcConnectivity");
}

TEST_F(MskChangeTest, AVersionGoesUpAndOnceBack) {
  auto record = done("UpdateClusterKafkaVersion", {{"targetKafkaVersion", "3.6.0"}});
  EXPECT_EQ(text(record, "operationType"), "UPDATE_CLUSTER_KAFKA_VERSION");
  EXPECT_EQ(json::serialize(record.at("sourceClusterInfo")), R"({"kafkaVersion":"2.2.1"})");
  EXPECT_EQ(restarts().size(), 3U);
  EXPECT_EQ(property("inter.broker.protocol.version"), "3.6");
  EXPECT_EQ(property("unclean.leader.election.enable"), "false");  // MSK's true is of versions before 2.3
  refused("UpdateClusterKafkaVersion", {{"targetKafkaVersion", "1.1.1"}}, "targetKafkaVersion", "2.2.1");
  refused("UpdateClusterKafkaVersion", {{"targetKafkaVersion", "3.6.0"}}, "targetKafkaVersion", "Unsupported");
  const auto targets = call("GetCompatibleKafkaVersions", {}, {}, {{"clusterArn", arn}})
                           .body.at("compatibleKafkaVersions")
                           .as_array()[0]
                           .at("targetVersions")
                           .as_array();
  EXPECT_EQ(targets.back().as_string(), "2.2.1");
  done("UpdateClusterKafkaVersion", {{"targetKafkaVersion", "2.2.1"}});
  EXPECT_EQ(property("inter.broker.protocol.version"), "2.2");
  EXPECT_EQ(text(info(arn).at("currentBrokerSoftwareInfo").as_object(), "kafkaVersion"), "2.2.1");
}

TEST_F(MskChangeTest, AVersionComesWithItsConfiguration) {
  json::object which{{"arn", configuration("with", "num.partitions=7\n")}, {"revision", 1}};
  auto record = done("UpdateClusterKafkaVersion", {{"targetKafkaVersion", "3.9.x"}, {"configurationInfo", which}});
  EXPECT_EQ(record.at("targetClusterInfo").at("configurationInfo").at("revision").as_int64(), 1);
  EXPECT_EQ(property("num.partitions"), "7");
  EXPECT_EQ(restarts().size(), 3U);  // once for both
}

TEST_F(MskChangeTest, RebalancingIsSaidAndDone) {
  partition("[1,2,3]");
  auto record = done("UpdateRebalancing", {{"rebalancing", json::object{{"status", "ACTIVE"}}}});
  EXPECT_EQ(text(record, "operationType"), "UPDATE_REBALANCING");
  EXPECT_EQ(json::serialize(info(arn).at("rebalancing")), R"({"status":"ACTIVE"})");
  record = done("UpdateRebalancing", {{"rebalancing", json::object{{"status", "PAUSED"}}}});
  EXPECT_EQ(json::serialize(record.at("sourceClusterInfo")), R"({"rebalancing":{"status":"ACTIVE"}})");
  EXPECT_EQ(json::serialize(record.at("targetClusterInfo")), R"({"rebalancing":{"status":"PAUSED"}})");
  EXPECT_TRUE(restarts().empty());
  refused("UpdateRebalancing", {{"rebalancing", json::object{{"status", "ON"}}}}, "status", "PAUSED, ACTIVE");
  refused("UpdateRebalancing", {}, "rebalancing", "required");
}

TEST_F(MskChangeTest, MonitoringIsShownAsItWasAsked) {
  json::object prometheus{{"jmxExporter", json::object{{"enabledInBroker", true}}}};
  done("UpdateMonitoring",
       {{"enhancedMonitoring", "PER_BROKER"}, {"openMonitoring", json::object{{"prometheus", prometheus}}}});
  EXPECT_EQ(restarts().size(), 3U);
  EXPECT_EQ(text(info(arn), "enhancedMonitoring"), "PER_BROKER");
  done("UpdateMonitoring", {{"enhancedMonitoring", "DEFAULT"}});
  EXPECT_TRUE(restarts().empty());
  refused("UpdateMonitoring", {}, "enhancedMonitoring", "does not include any updates");
}

TEST_F(MskChangeTest, StorageIsAskedForInOneOfTwoWays) {
  auto record = done("UpdateStorage", {{"volumeSizeGB", 100}, {"storageMode", "LOCAL"}});
  EXPECT_EQ(text(record, "operationType"), "UPDATE_STORAGE");
  refused("UpdateStorage", {{"volumeSizeGB", 100}}, "volumeSizeGB", "does not include any updates");
  refused("UpdateStorage", {{"volumeSizeGB", 109}}, "volumeSizeGB", "at least 10 GiB");
  refused("UpdateStorage", {{"storageMode", "TIERED"}}, "storageMode", "not supported yet");
  refused("UpdateBrokerStorage", {{"targetBrokerEBSVolumeInfo", json::array{json::object{{"kafkaBrokerNodeId", "1"}}}}},
          "kafkaBrokerNodeId", "must be All");
  refused("UpdateBrokerStorage",
          {{"targetBrokerEBSVolumeInfo", json::array{json::object{{"kafkaBrokerNodeId", "All"}}}}},
          "targetBrokerEBSVolumeInfo", "does not include any updates");
}

TEST_F(MskChangeTest, TheLatestHundredOperationsAreKept) {
  std::string last;
  for (int i = 0; i < 105; ++i) {
    last =
        text(done("UpdateMonitoring", {{"enhancedMonitoring", i % 2 == 0 ? "PER_BROKER" : "DEFAULT"}}), "operationArn");
  }
  const auto list = on("ListClusterOperations", arn, {}, {{"maxResults", "100"}}).body;
  EXPECT_EQ(list.at("clusterOperationInfoList").as_array().size(), 100U);
  EXPECT_EQ(text(list.at("clusterOperationInfoList").at(0).as_object(), "operationArn"), last);
  EXPECT_FALSE(list.contains("nextToken"));
}

// What was set for broker 4 is not for the next one that is called so.
TEST_F(MskChangeTest, ABrokerThatGoesTakesItsConfigurationAlong) {
  done("UpdateBrokerCount", {{"targetNumberOfBrokerNodes", 6}});
  const auto of = [this](int broker) { return chroot(arn) + "/config/brokers/" + std::to_string(broker); };
  for (const int broker : {1, 4}) write(of(broker), R"({"version":1,"config":{"log.retention.ms":"1000"}})");
  done("UpdateBrokerCount", {{"targetNumberOfBrokerNodes", 3}});
  EXPECT_EQ(data(of(4)), "");
  EXPECT_NE(data(of(1)), "");
}

TEST_F(MskChangeTest, WithoutZooKeeperCallsAreAnsweredSoon) {
  tree->disconnect(zk->session_id());
  const auto before = shard.clock().mono();
  const auto said = call("ListClusters");
  EXPECT_EQ(said.status, 503);
  EXPECT_EQ(said.error, "ServiceUnavailableException");
  EXPECT_LE(shard.clock().mono() - before, seconds(11));
  tree->reconnect(zk->session_id());
  EXPECT_EQ(call("ListClusters").status, 200);
}

TEST_F(MskChangeTest, AClusterHasUpToThirtyBrokers) {
  refused("UpdateBrokerCount", {{"targetNumberOfBrokerNodes", 33}}, "targetNumberOfBrokerNodes", "from 1 to 30");
  done("UpdateBrokerCount", {{"targetNumberOfBrokerNodes", 30}});
  EXPECT_EQ(place.all.size(), 30U);
  EXPECT_EQ(on("ListNodes", arn).body.at("nodeInfoList").as_array().size(), 30U);
}

TEST_F(MskTest, PagesOfOneShowEachOnceInOrder) {
  const auto arn = make_cluster();
  std::vector<std::string> seen;
  for (std::string token;;) {
    aws::Query query{{"maxResults", "1"}};
    if (!token.empty()) query.emplace("nextToken", token);
    const auto page = on("ListNodes", arn, {}, query).body;
    ASSERT_EQ(page.at("nodeInfoList").as_array().size(), 1U);
    seen.push_back(json::serialize(page.at("nodeInfoList").at(0).at("brokerNodeInfo").at("brokerId")));
    token = text(page, "nextToken");
    if (token.empty()) break;
    // Another list's.
    EXPECT_EQ(on("ListTopics", arn, {}, {{"nextToken", token}}).parameter, "nextToken");
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"1E0", "2E0", "3E0"}));
}

TEST_F(MskTest, AConfigurationThatIsGoneIsAnsweredAsToolsWaitForIt) {
  const auto arn = text(
      call("CreateConfiguration", {{"name", "gone"}, {"serverProperties", to_base64("num.partitions=2")}}).body, "arn");
  EXPECT_EQ(call("DeleteConfiguration", {}, {{"arn", arn}}).status, 200);
  for (const std::string operation : {"DescribeConfiguration", "DeleteConfiguration", "ListConfigurationRevisions"}) {
    const auto said = call(operation, {}, {{"arn", arn}});
    EXPECT_EQ(said.error, "BadRequestException") << operation;
    EXPECT_EQ(said.message, "Configuration ARN does not exist.");
  }
}

}  // namespace
}  // namespace weir::msk
