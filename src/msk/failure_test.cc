// An update that fails: for each operation something goes wrong on the way, and the cluster is what it was.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
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
  bool settings = true;  // a user has some
};

std::ostream& operator<<(std::ostream& out, const Failing& each) { return out << each.name; }

class Failures : public testing::TestWithParam<Failing> {};

TEST_P(Failures, AnUpdateThatFailsLeavesTheClusterAsItWas) {
  const auto& each = GetParam();
  Plane plane;
  plane.gives_up_soon();
  each.prepare(plane);
  if (each.settings) plane.users_settings();
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
  const auto fewer = asks("UpdateBrokerCount", {{"targetNumberOfBrokerNodes", 3}});
  const auto rebalance = asks("UpdateRebalancing", {{"rebalancing", json::object{{"status", "ACTIVE"}}}});
  const std::string moving = "partitions are being reassigned";
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
                 },
                 false});
  out.push_back(
      {"LiveConfiguration", with(fails("put", 2, has("message.max.bytes", "2000000")), live), "The disk is full."});
  out.push_back({"RollingConfiguration", with(fails("start", 2, has("num.partitions", "7")), roll), ended});
  out.push_back({"RollingConfigurationFirst", with(fails("start", 1, has("num.partitions", "7")), roll), ended});
  out.push_back(
      {"RollingConfigurationFiles", with(fails("put", 3, has("num.partitions", "7")), roll), "The disk is full."});
  out.push_back({"MoreBrokers", with(fails("start", 5, any), grow), ended});
  out.push_back({"MoreBrokersFiles", with(fails("put", 6, any), grow), "The disk is full."});
  out.push_back({"MoreBrokersStuck", stuck({4, 5, 6}, grow), moving});
  out.push_back({"MoreBrokersHalfStuck", stuck({6}, grow), moving, crowded});
  out.push_back({"FewerBrokersStuck", stuck({1, 2, 3}, fewer), moving, grown});
  out.push_back({"FewerBrokersHalfStuck", stuck({1}, fewer), moving, [](Plane& plane) {
                   grown(plane);
                   for (int i = 0; i < 6; ++i) plane.kafka->add("v", i, {1 + i, 1 + (i + 1) % 6});
                   plane.pass();
                 }});
  out.push_back({"RebalancingStuck", stuck({2, 3}, rebalance), moving, crowded});
  out.push_back({"RebalancingHalfStuck", stuck({2}, rebalance), moving, crowded});
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
  out.push_back({"VersionUp", with(fails("start", 3, has("inter.broker.protocol.version", "3.9")), upgrade), ended});
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
  EXPECT_NE(json::serialize(record).find("The cluster has 5 brokers now."), std::string::npos)
      << json::serialize(record);
  const auto after = plane.ending();
  EXPECT_EQ(after.brokers.size(), 5U);  // one after another: the last is gone, and no more are
  EXPECT_EQ(after.cluster->spec.brokers, 5);
  EXPECT_EQ(after.down, std::vector<std::string>{});  // the one that could not be removed runs again
}

// What cannot be taken back is said, and all else is taken back.
struct Unmended {
  explicit Unmended(std::function<void(Plane&)> prepare = [](Plane& plane) { plane.make_the_cluster(); }) {
    plane.gives_up_soon();
    prepare(plane);
    plane.users_settings();
    before = plane.ending();
  }
  std::string error(const std::function<void(Plane&)>& begin) {
    begin(plane);
    EXPECT_TRUE(plane.ends());
    const auto record = plane.over(plane.said);
    EXPECT_EQ(Plane::text(record, "operationState"), "UPDATE_FAILED");
    after = plane.ending();
    return Plane::text(record.at("errorInfo").as_object(), "errorString");
  }
  // The cluster's own configurations.
  static std::map<std::string, std::string> configs(const Ending& ending) {
    auto out = ending.znodes;
    std::erase_if(out, [](const auto& node) { return !node.first.starts_with("/config/"); });
    return out;
  }
  Plane plane;
  Ending before;
  Ending after;
};
const auto roll_all = [](Plane& plane) { plane.configure("num.partitions=7\nmessage.max.bytes=2000000\n"); };

TEST(Failure, ABrokerThatDoesNotComeUpWithItsOldSettingsEitherIsSaid) {
  Unmended u;
  u.plane.bad = [](const std::string& what, const provision::BrokerSpec& spec) -> std::optional<provision::Failure> {
    const bool old = !has("num.partitions", "7")(spec);
    if (what != "start" || spec.key.broker != (old ? 1 : 2)) return std::nullopt;
    return provision::Failure{provision::Failure::Kind::not_ready, "it ended."};
  };
  EXPECT_EQ(u.error(roll_all),
            "Broker 2 does not start: it ended. Taking it back failed as well: Broker 1 does not start: it ended. "
            "Broker 1 does not run.");
  EXPECT_EQ(u.after.brokers, u.before.brokers) << "their files";
  EXPECT_EQ(u.after.down, std::vector<std::string>{"1"});
  EXPECT_EQ(Unmended::configs(u.after), Unmended::configs(u.before));
}

TEST(Failure, WhoKeepsTheNewSettingsIsSaid) {
  Unmended u;
  u.plane.bad = [](const std::string& what, const provision::BrokerSpec& spec) -> std::optional<provision::Failure> {
    const bool old = !has("num.partitions", "7")(spec);
    if (spec.key.broker == 3 && what == "start" && !old) {
      return provision::Failure{provision::Failure::Kind::not_ready, "it ended."};
    }
    if (spec.key.broker == 1 && what == "put" && old) {
      return provision::Failure{provision::Failure::Kind::system, "The disk is full."};
    }
    return std::nullopt;
  };
  EXPECT_EQ(u.error(roll_all),
            "Broker 3 does not start: it ended. Taking it back failed as well: The disk is full. Broker 1 has the new "
            "settings.");
  EXPECT_EQ(u.after.down, std::vector<std::string>{});
  EXPECT_EQ(u.after.stale, std::vector<std::string>{});
  EXPECT_EQ(u.after.brokers.at("2"), u.before.brokers.at("2"));
  EXPECT_EQ(Unmended::configs(u.after), Unmended::configs(u.before));
}

TEST(Failure, ABrokerThatWasAddedAndCannotBeRemovedRunsOn) {
  Unmended u;
  u.plane.bad = fails("remove", 6, [](const auto&) { return true; });
  const auto error = u.error(stuck({4}, grow));
  EXPECT_NE(error.find("Taking it back failed as well: The disk is full. The cluster has 6 brokers now."),
            std::string::npos)
      << error;
  EXPECT_EQ(error.find("does not run"), std::string::npos) << error;
  EXPECT_EQ(u.after.down, std::vector<std::string>{});
}

TEST(Failure, PartitionsThatDoNotGoBackAreCounted) {
  Unmended u([](Plane& plane) {
    grown(plane);
    for (int i = 0; i < 6; ++i) plane.kafka->add("v", i, {1 + i, 1 + (i + 1) % 6});
    plane.pass();
  });
  const auto error = u.error(stuck({1, 5}, asks("UpdateBrokerCount", {{"targetNumberOfBrokerNodes", 3}})));
  EXPECT_NE(error.find("partitions are being reassigned"), std::string::npos) << error;
  EXPECT_NE(error.find(" Taking it back failed as well: For too long "), std::string::npos) << error;
  std::size_t moving = 0;
  for (const auto& [at, p] : u.plane.kafka->partitions) moving += p.adding.empty() ? 0 : 1;
  ASSERT_GT(moving, 0U);
  const auto is = moving == 1 ? "is" : "are";
  EXPECT_NE(error.find(fmt::format(" {} of its partitions, such as ", moving)), std::string::npos) << error;
  EXPECT_TRUE(error.ends_with(fmt::format(" {} still being reassigned.", is))) << error;
  EXPECT_EQ(error.find("other replicas than before"), std::string::npos) << error;
  EXPECT_EQ(u.after.cluster, u.before.cluster);
  EXPECT_EQ(u.after.brokers, u.before.brokers);
  EXPECT_EQ(Unmended::configs(u.after), Unmended::configs(u.before)) << "nothing goes at a rate any more";
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
