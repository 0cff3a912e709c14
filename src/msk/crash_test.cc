// kill -9 of the control plane after every single thing it does in every operation: each write to ZooKeeper and each
// change at the place. Another one takes over; the end must be the one of an operation that nobody cut off.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "msk/crash_fixture.h"

namespace weir::msk {
namespace {

struct Case {
  std::string name;
  std::function<void(Plane&)> begin;
  std::function<void(Plane&)> prepare = [](Plane& plane) { plane.make_the_cluster(); };
  bool fails = false;  // it is taken back
  std::size_t versions = 2;
  bool gives_up = false;  // soon, and a user has settings of his own
  bool refused = false;   // what the place refuses is asked for again by who comes next
};

std::ostream& operator<<(std::ostream& out, const Case& each) { return out << each.name; }

// `cuts`: the control plane dies after so many effects, and its successors after so many of theirs.
Ending run(const Case& each, const std::vector<int>& cuts, Knife& knife) {
  Plane plane;
  if (each.gives_up) plane.gives_up_soon();
  each.prepare(plane);
  if (each.gives_up) plane.users_settings();
  plane.place.log.clear();
  if (plane.kafka) plane.kafka->reassignments = 0;
  plane.knife.versions = {plane.version(plane.arn)};
  // Begun by a control plane that does not drive: what is counted is the driving alone.
  plane.service->set_active(false);
  each.begin(plane);
  plane.knife.arm(cuts.empty() ? -1 : cuts.front());
  plane.service->set_active(true);
  EXPECT_TRUE(plane.ends()) << "it does not end";
  knife = plane.knife;
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    plane.next_control_plane();
    if (i + 1 < cuts.size()) plane.knife.arm(cuts[i + 1]);
    EXPECT_TRUE(plane.ends()) << "it does not end after it was cut off";
  }
  if (plane.knife.dead) plane.next_control_plane();
  plane.knife.put_away();
  for (int i = 0; i < 5; ++i) plane.pass();  // what is left to do behind it
  auto ending = plane.ending();
  if (each.refused) ending.done.clear();
  return ending;
}

class Crash : public testing::TestWithParam<Case> {};

TEST_P(Crash, AnOperationEndsAsIfNobodyHadDied) {
  const auto& each = GetParam();
  Knife knife;
  const auto whole = run(each, {}, knife);
  const int effects = knife.done;
  ASSERT_GT(effects, 3);
  if (each.name != "Delete") {
    ASSERT_TRUE(whole.cluster);
    EXPECT_EQ(whole.cluster->state, each.name == "CreateThatFails" ? ClusterState::failed : ClusterState::active);
    const auto wanted = each.fails ? OperationState::failed : OperationState::complete;
    EXPECT_TRUE(std::ranges::any_of(whole.operations, [&](const Operation& o) { return o.state == wanted; })) << whole;
    EXPECT_EQ(whole.versions, each.versions);
  }
  // Of those that give up: on the way back. The way there is that of others.
  const int first = each.gives_up ? knife.back : 0;
  EXPECT_EQ(knife.back > 0, each.fails);
  for (int cut = first; cut < effects; ++cut) {
    const auto after = run(each, {cut}, knife);
    const auto differs = after.differs(whole);
    ASSERT_EQ(differs, "") << "after " << cut << " of " << effects << "\n" << after << "\nand without:\n" << whole;
  }
  // And those who take over die as well, one after another.
  for (int cut = 1; cut < effects; cut += std::max(1, effects / 8)) {
    const auto after = run(each, {cut, 1 + cut % 5, 2, 1 + cut % 3}, knife);
    ASSERT_EQ(after.differs(whole), "") << "several died, the first after " << cut << "\n"
                                        << after << "\nwithout:\n"
                                        << whole;
  }
}

std::vector<Case> cases() {
  std::vector<Case> out;
  out.push_back({"Create",
                 [](Plane& plane) {
                   plane.arn = Plane::text(plane.call("CreateCluster", Plane::create_body()).body, "clusterArn");
                 },
                 [](Plane&) {}, false, 3});
  out.push_back({"Delete", [](Plane& plane) { EXPECT_EQ(plane.on("DeleteCluster", plane.arn).status, 200); }});
  out.push_back({"LiveConfiguration", [](Plane& plane) { plane.configure("message.max.bytes=2000000\n"); }});
  out.push_back(
      {"RollingConfiguration", [](Plane& plane) { plane.configure("num.partitions=7\nmessage.max.bytes=2000000\n"); }});
  out.push_back({"MoreBrokers", grow});
  out.push_back({"FewerBrokers",
                 [](Plane& plane) { plane.change("UpdateBrokerCount", {{"targetNumberOfBrokerNodes", 3}}); }, grown});
  out.push_back({"BrokerStorage", [](Plane& plane) {
                   plane.change("UpdateBrokerStorage", {{"targetBrokerEBSVolumeInfo", volumes(300)}});
                 }});
  out.push_back({"Storage", [](Plane& plane) { plane.change("UpdateStorage", {{"volumeSizeGB", 300}}); }});
  out.push_back(
      {"Type", [](Plane& plane) { plane.change("UpdateBrokerType", {{"targetInstanceType", "kafka.m5.xlarge"}}); }});
  out.push_back({"Monitoring", [](Plane& plane) {
                   json::object jmx{{"jmxExporter", json::object{{"enabledInBroker", true}}}};
                   plane.change("UpdateMonitoring", {{"enhancedMonitoring", "PER_BROKER"},
                                                     {"openMonitoring", json::object{{"prometheus", jmx}}}});
                 }});
  out.push_back({"Security", [](Plane& plane) {
                   json::object transit{{"clientBroker", "TLS"}};
                   plane.change("UpdateSecurity", {{"encryptionInfo", json::object{{"encryptionInTransit", transit}}}});
                 }});
  const auto upgrade = [](Plane& plane) {
    plane.change("UpdateClusterKafkaVersion", {{"targetKafkaVersion", "3.9.x"}});
  };
  out.push_back({"VersionUp", upgrade});
  out.push_back({"VersionDown",
                 [](Plane& plane) { plane.change("UpdateClusterKafkaVersion", {{"targetKafkaVersion", "2.2.1"}}); },
                 [upgrade](Plane& plane) {
                   plane.make_the_cluster();
                   upgrade(plane);
                   EXPECT_TRUE(plane.ends());
                 }});
  out.push_back({"Connectivity", [](Plane& plane) {
                   plane.change("UpdateConnectivity", {{"zookeeperAccess", json::object{{"enabled", true}}}});
                 }});
  out.push_back(
      {"Rebalancing",
       [](Plane& plane) { plane.change("UpdateRebalancing", {{"rebalancing", json::object{{"status", "ACTIVE"}}}}); },
       crowded});
  out.push_back({"RebalancingPaused", [](Plane& plane) {
                   plane.change("UpdateRebalancing", {{"rebalancing", json::object{{"status", "PAUSED"}}}});
                 }});
  out.push_back({"Reboot", [](Plane& plane) {
                   EXPECT_EQ(plane.on("RebootBroker", plane.arn, {{"brokerIds", json::array{"2"}}}).status, 200);
                 }});
  // Those that fail are taken back, over any death as well.
  out.push_back({"CreateThatFails",
                 [](Plane& plane) {
                   plane.bad = does_not_start(2, "", "");
                   plane.arn = Plane::text(plane.call("CreateCluster", Plane::create_body()).body, "clusterArn");
                 },
                 [](Plane&) {}, true, 2});
  out.push_back({"RollingThatFails",
                 [](Plane& plane) {
                   plane.bad = does_not_start(2, "num.partitions", "7");
                   plane.configure("num.partitions=7\nmessage.max.bytes=2000000\n");
                 },
                 [](Plane& plane) { plane.make_the_cluster(); }, true, 1});
  out.push_back({"MoreBrokersThatFail",
                 [](Plane& plane) {
                   plane.bad = does_not_start(5, "", "");
                   grow(plane);
                 },
                 [](Plane& plane) { plane.make_the_cluster(); }, true, 1});
  const auto made = [](Plane& plane) { plane.make_the_cluster(); };
  out.push_back({"VersionUpThatFails",
                 [upgrade](Plane& plane) {
                   plane.bad = does_not_start(3, "inter.broker.protocol.version", "3.9");
                   upgrade(plane);
                 },
                 made, true, 1, true});
  out.push_back({"MoreBrokersHalfStuck", stuck({6}, grow), crowded, true, 1, true});
  out.push_back({"FewerBrokersHalfStuck", stuck({1}, asks("UpdateBrokerCount", {{"targetNumberOfBrokerNodes", 3}})),
                 grown, true, 1, true});
  out.push_back({"RebalancingHalfStuck",
                 stuck({2}, asks("UpdateRebalancing", {{"rebalancing", json::object{{"status", "ACTIVE"}}}})), crowded,
                 true, 1, true});
  // What is not taken back either is said, whoever dies.
  out.push_back({"DrainThatCannotBeTakenBack",
                 stuck({1, 5}, asks("UpdateBrokerCount", {{"targetNumberOfBrokerNodes", 3}})),
                 [](Plane& plane) {
                   grown(plane);
                   for (int i = 0; i < 6; ++i) plane.kafka->add("v", i, {1 + i, 1 + (i + 1) % 6});
                   plane.pass();
                 },
                 true, 1, true});
  out.push_back({"BrokersThatCannotBeRemoved",
                 [](Plane& plane) {
                   plane.bad = [](const std::string& what,
                                  const provision::BrokerSpec& spec) -> std::optional<provision::Failure> {
                     if (what != "remove" || spec.key.broker != 5) return std::nullopt;
                     return provision::Failure{provision::Failure::Kind::system, "The disk is full."};
                   };
                   plane.change("UpdateBrokerCount", {{"targetNumberOfBrokerNodes", 3}});
                 },
                 grown, true, 1, true, true});
  return out;
}

INSTANTIATE_TEST_SUITE_P(Operations, Crash, testing::ValuesIn(cases()),
                         [](const testing::TestParamInfo<Case>& info) { return info.param.name; });

}  // namespace
}  // namespace weir::msk
