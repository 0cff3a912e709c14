#include "msk/way_back.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weir::msk {
namespace {

std::string kinds(const std::vector<Step>& steps) {
  std::string out;
  for (const auto& step : steps) {
    out += (out.empty() ? "" : " ") + std::string(name(step.kind));
    if (step.broker != 0) out += "_" + std::to_string(step.broker);
  }
  return out;
}

TEST(WayBack, ABrokerThatCannotGoBackKeepsNoOtherFromIt) {
  std::vector<Step> steps;
  for (const auto id : {2, 1}) {
    for (const auto kind : {StepKind::safe, StepKind::put, StepKind::restart}) steps.push_back(step_of(kind, id));
  }
  steps.push_back(step_of(StepKind::live_config));
  // Without room for its restart it keeps running, with the files it has.
  EXPECT_EQ(kinds(go_on_without(steps, 0)),
            "WAIT_FOR_REPLICAS_1 WRITE_FILES_1 RESTART_BROKER_1 SET_DYNAMIC_CONFIGURATION");
  for (auto i : {0, 1, 2, 3, 4, 5}) steps[static_cast<std::size_t>(i)].done = true;
  EXPECT_EQ(go_on_without(steps, 6).size(), 6U) << "what is done stays in the record";
}

TEST(WayBack, PartitionsThatDoNotMoveAreNotMovedAgain) {
  std::vector<Step> steps;
  for (const auto kind : {StepKind::cancel, StepKind::settled, StepKind::drain, StepKind::settled, StepKind::leave,
                          StepKind::leaders, StepKind::record}) {
    steps.push_back(step_of(kind));
  }
  EXPECT_EQ(kinds(go_on_without(steps, 0)), "REMOVE_BROKERS TAKE_LEADERSHIP FINALIZE_UPDATE");
}

TEST(WayBack, WhoWasStoppedToLeaveAndCannotIsStartedAgain) {
  std::vector<Step> steps;
  for (const auto kind : {StepKind::leave, StepKind::leaders, StepKind::record}) steps.push_back(step_of(kind));
  steps[0].note = "1 4";
  EXPECT_EQ(kinds(go_on_without(steps, 0)), "TAKE_LEADERSHIP FINALIZE_UPDATE") << "it runs";
  steps[0].note = "1 4 stopped";
  const auto then = go_on_without(steps, 0);
  ASSERT_EQ(then.size(), 4U);
  EXPECT_EQ(then[0].kind, StepKind::start);
  EXPECT_EQ(then[1].kind, StepKind::registered);
  EXPECT_EQ(go_on_without(then, 0).size(), 2U) << "nor for ever";
}

class LeftTest : public testing::Test {
 protected:
  LeftTest() {
    operation.from.brokers = operation.to.brokers = 3;
    for (const auto id : {1, 2, 3}) {
      cluster.members[id] = milliseconds(0);
      facts.brokers[id].running = facts.brokers[id].registered = true;
    }
  }
  PartitionFact& partition(std::vector<std::int32_t> before, std::vector<std::int32_t> now) {
    PartitionFact p;
    p.topic = "t";
    p.partition = static_cast<std::int32_t>(facts.partitions.size());
    operation.replicas_before["t"][p.partition] = std::move(before);
    p.target = now;
    p.replicas = std::move(now);
    return facts.partitions.emplace_back(std::move(p));
  }
  std::string left() const { return what_is_left(operation, cluster, facts); }

  Operation operation;
  Cluster cluster;
  Facts facts;
};

TEST_F(LeftTest, NothingIsSaidOfWhatIsAsItWas) {
  partition({1, 2}, {1, 2});
  partition({1, 2}, {3, 2, 1});  // the topic was made anew
  EXPECT_EQ(left(), "");
}

TEST_F(LeftTest, EachKindOfBrokerIsNamed) {
  facts.brokers[1].changed = facts.brokers[3].changed = true;
  facts.brokers[2].stale = true;
  EXPECT_EQ(left(),
            " Brokers 1 and 3 have the new settings. Broker 2 runs with the new settings until it is restarted.");
  facts.brokers[1].stale = true;
  facts.brokers[3].running = false;
  EXPECT_EQ(left(),
            " Broker 3 does not run, and has the new settings. Broker 2 runs with the new settings until it is "
            "restarted. Broker 1 runs with the old settings, and has the new ones from its next restart on.");
}

TEST_F(LeftTest, PartitionsElsewhereAreCounted) {
  partition({1, 2}, {2, 1});
  partition({1, 2}, {1, 3});
  auto& moving = partition({1, 2}, {3, 1, 2});
  moving.moving = true;
  moving.target = {3, 1};
  cluster.members.erase(3);
  EXPECT_EQ(left(),
            " The cluster has 2 brokers now. 2 of its partitions, such as t-0, have other replicas than before, or in "
            "another order. 1 of its partitions, such as t-2, is still being reassigned.");
}

}  // namespace
}  // namespace weir::msk
