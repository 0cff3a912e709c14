// An update that fails: for each operation something goes wrong on the way, and the cluster is what it was.
#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "msk/crash_fixture.h"

namespace weir::msk {
namespace {

using Trouble = std::function<std::optional<provision::Failure>(const std::string&, const provision::BrokerSpec&)>;

struct Failing {
  std::string name;
  std::function<void(Plane&)> begin;
  std::string said;  // in errorInfo
  std::function<void(Plane&)> prepare = [](Plane& plane) { plane.make_the_cluster(); };
};

std::ostream& operator<<(std::ostream& out, const Failing& each) { return out << each.name; }

class Failures : public testing::TestWithParam<Failing> {};

TEST_P(Failures, AnUpdateThatFailsLeavesTheClusterAsItWas) {
  const auto& each = GetParam();
  Plane plane;
  plane.tune = [](ServiceOptions& options) { options.stall_max = options.move_stall_max = milliseconds(3'000); };
  plane.next_control_plane();
  each.prepare(plane);
  const auto before = plane.ending();
  const auto version = plane.version(plane.arn);
  each.begin(plane);
  ASSERT_EQ(plane.said.status, 200) << plane.said.message;
  ASSERT_TRUE(plane.ends());
  const auto record = plane.over(plane.said);
  EXPECT_TRUE(Plane::text(record, "operationState").ends_with("_FAILED")) << json::serialize(record);
  ASSERT_TRUE(record.contains("errorInfo"));
  const auto error = Plane::text(record.at("errorInfo").as_object(), "errorString");
  EXPECT_NE(error.find(each.said), std::string::npos) << error;
  EXPECT_EQ(error.find("Taking it back failed"), std::string::npos) << error;
  const auto after = plane.ending();
  EXPECT_EQ(after.cluster, before.cluster) << after << "\nbefore:\n" << before;
  EXPECT_EQ(after.brokers, before.brokers) << after << "\nbefore:\n" << before;
  EXPECT_EQ(after.znodes, before.znodes) << after << "\nbefore:\n" << before;
  EXPECT_EQ(after.down, before.down) << after << "\nbefore:\n" << before;
  EXPECT_EQ(plane.version(plane.arn), version);
  // And it can be changed again.
  plane.bad = nullptr;
  plane.kafka->never_in_sync.clear();
  plane.change("UpdateConnectivity", {{"zookeeperAccess", json::object{{"enabled", true}}}});
  ASSERT_TRUE(plane.ends());
  EXPECT_EQ(Plane::text(plane.over(plane.said), "operationState"), "UPDATE_COMPLETE");
}

Trouble fails(std::string call, std::int32_t broker, std::function<bool(const provision::BrokerSpec&)> when) {
  return [=](const std::string& what, const provision::BrokerSpec& spec) -> std::optional<provision::Failure> {
    if (what != call || spec.key.broker != broker || !when(spec)) return std::nullopt;
    const auto kind = call == "start" ? provision::Failure::Kind::not_ready : provision::Failure::Kind::system;
    return provision::Failure{kind, call == "start" ? "it ended." : "The disk is full."};
  };
}
std::function<bool(const provision::BrokerSpec&)> has(std::string key, std::string value) {
  return [=](const provision::BrokerSpec& spec) {
    const auto found = spec.properties.find(key);
    return found != spec.properties.end() && found->second == value;
  };
}

// A failure of this kind, and then the change.
std::function<void(Plane&)> with(Trouble bad, std::function<void(Plane&)> begin) {
  return [=](Plane& plane) {
    plane.bad = bad;
    begin(plane);
  };
}
std::function<void(Plane&)> asks(std::string operation, json::object body) {
  return [=](Plane& plane) { plane.change(operation, body); };
}

const std::string ended = "does not start: it ended.";

std::vector<Failing> failing() {
  const auto live = [](Plane& plane) { plane.configure("message.max.bytes=2000000\n"); };
  const auto roll = [](Plane& plane) { plane.configure("num.partitions=7\nmessage.max.bytes=2000000\n"); };
  const auto any = [](const provision::BrokerSpec&) { return true; };
  const auto larger = [](const provision::BrokerSpec& spec) { return spec.limits.storage_bytes > 0; };
  const auto xlarge = [](const provision::BrokerSpec& spec) {
    return spec.limits.shards > 2 || spec.limits.memory_bytes > (std::int64_t{9} << 30U);
  };
  const json::object jmx{{"prometheus", json::object{{"jmxExporter", json::object{{"enabledInBroker", true}}}}}};
  const json::object tls{{"encryptionInTransit", json::object{{"clientBroker", "TLS"}}}};
  const auto upgrade = asks("UpdateClusterKafkaVersion", {{"targetKafkaVersion", "3.9.x"}});
  std::vector<Failing> out;
  out.push_back({"AKeyThatIsRefused",
                 [live](Plane& plane) {
                   plane.write(plane.root() + "/config/brokers/<default>", "nonsense");
                   live(plane);
                 },
                 "",
                 [](Plane& plane) {
                   plane.make_the_cluster();
                   plane.write(plane.root() + "/config/brokers/<default>", "nonsense");
                 }});
  out.push_back(
      {"LiveConfiguration", with(fails("put", 2, has("message.max.bytes", "2000000")), live), "The disk is full."});
  out.push_back({"RollingConfiguration", with(fails("start", 2, has("num.partitions", "7")), roll), ended});
  out.push_back({"RollingConfigurationFirst", with(fails("start", 1, has("num.partitions", "7")), roll), ended});
  out.push_back(
      {"RollingConfigurationFiles", with(fails("put", 3, has("num.partitions", "7")), roll), "The disk is full."});
  out.push_back({"MoreBrokers", with(fails("start", 5, any), grow), ended});
  out.push_back({"MoreBrokersFiles", with(fails("put", 6, any), grow), "The disk is full."});
  out.push_back(
      {"BrokerStorage",
       with(fails("put", 2, larger), asks("UpdateBrokerStorage", {{"targetBrokerEBSVolumeInfo", volumes(300)}})),
       "The disk is full."});
  out.push_back(
      {"Storage", with(fails("put", 3, larger), asks("UpdateStorage", {{"volumeSizeGB", 300}})), "The disk is full."});
  out.push_back(
      {"Type", with(fails("start", 2, xlarge), asks("UpdateBrokerType", {{"targetInstanceType", "kafka.m5.4xlarge"}})),
       ended});
  out.push_back({"Monitoring",
                 with(fails("start", 2, has("weir.metrics.listener", "127.0.1.2:11001")),
                      asks("UpdateMonitoring", {{"openMonitoring", jmx}})),
                 ended});
  out.push_back(
      {"Security",
       with(fails("start", 2, [](const auto& spec) { return !spec.properties.at("listeners").contains(":9092"); }),
            asks("UpdateSecurity", {{"encryptionInfo", tls}})),
       ended});
  out.push_back({"VersionDown",
                 with(fails("start", 2, has("inter.broker.protocol.version", "2.2")),
                      asks("UpdateClusterKafkaVersion", {{"targetKafkaVersion", "2.2.1"}})),
                 ended, [upgrade](Plane& plane) {
                   plane.make_the_cluster();
                   upgrade(plane);
                   EXPECT_TRUE(plane.ends());
                 }});
  return out;
}

INSTANTIATE_TEST_SUITE_P(Updates, Failures, testing::ValuesIn(failing()),
                         [](const testing::TestParamInfo<Failing>& info) { return info.param.name; });

TEST(Failure, ABrokerThatDoesNotComeBackFromARebootIsShownAsDown) {
  Plane plane;
  plane.make_the_cluster();
  plane.bad = fails("start", 2, [](const auto&) { return true; });
  plane.said = plane.on("RebootBroker", plane.arn, {{"brokerIds", json::array{"2"}}});
  ASSERT_TRUE(plane.ends());
  const auto record = plane.over(plane.said);
  EXPECT_EQ(Plane::text(record, "operationState"), "REBOOT_FAILED");
  EXPECT_NE(json::serialize(record).find("Broker 2 does not start"), std::string::npos);
  EXPECT_TRUE(plane.becomes(plane.arn, "HEALING"));
}

TEST(Failure, BrokersThatCannotBeRemovedStayAndTheNumberIsSaid) {
  Plane plane;
  grown(plane);
  plane.bad = fails("remove", 5, [](const auto&) { return true; });
  plane.change("UpdateBrokerCount", {{"targetNumberOfBrokerNodes", 3}});
  ASSERT_TRUE(plane.ends());
  const auto record = plane.over(plane.said);
  EXPECT_EQ(Plane::text(record, "operationState"), "UPDATE_FAILED");
  EXPECT_NE(json::serialize(record).find("The cluster has 4 brokers now."), std::string::npos)
      << json::serialize(record);
  const auto after = plane.ending();
  EXPECT_EQ(after.brokers.size(), 4U);
  EXPECT_EQ(after.cluster->spec.brokers, 4);
  EXPECT_EQ(after.down, std::vector<std::string>{});  // the one that could not be removed runs again
}

TEST(Failure, AClusterThatDidNotComeUpCanBeDeletedAndLeavesNothing) {
  Plane plane;
  const auto before = plane.ending().kept;
  plane.bad = fails("start", 2, [](const auto&) { return true; });
  plane.arn = Plane::text(plane.call("CreateCluster", Plane::create_body()).body, "clusterArn");
  ASSERT_TRUE(plane.becomes(plane.arn, "FAILED"));
  // Nor does what cannot be removed at once keep a deletion from its end.
  int times = 0;
  plane.bad = [&](const std::string& what, const provision::BrokerSpec&) -> std::optional<provision::Failure> {
    if (what != "remove" || ++times > 4) return std::nullopt;
    return provision::Failure{provision::Failure::Kind::system, "The directory is busy."};
  };
  ASSERT_EQ(plane.on("DeleteCluster", plane.arn).status, 200);
  ASSERT_TRUE(plane.ends());
  EXPECT_TRUE(plane.place.all.empty());
  EXPECT_EQ(plane.ending().kept, before);
  EXPECT_EQ(plane.on("DescribeCluster", plane.arn).status, 404);
}

}  // namespace
}  // namespace weir::msk
