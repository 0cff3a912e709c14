#include "msk/throttle.h"

#include <gtest/gtest.h>

#include <utility>

namespace weir::msk {
namespace {

PartitionFact fact(std::int32_t number, std::vector<std::int32_t> replicas) {
  PartitionFact out;
  out.topic = "t";
  out.partition = number;
  out.replicas = std::move(replicas);
  return out;
}

TEST(Throttle, IsForWhatIsCopied) {
  const auto lists =
      throttle_lists({fact(0, {1, 2}), fact(1, {2, 3}), fact(2, {3, 1})}, {{{"t", 0}, {4, 2}}, {{"t", 1}, {3, 2}}});
  ASSERT_EQ(lists.size(), 1U);
  EXPECT_EQ(lists.at("t"), (ThrottleLists{"0:1,0:2", "0:4"})) << "an order that changes copies nothing";
  EXPECT_TRUE(throttle_lists({fact(1, {2, 3})}, {{{"t", 1}, {3, 2}}}).empty());
}

TEST(Throttle, AUsersListIsAddedTo) {
  EXPECT_EQ(joined_lists("", "0:1,0:2"), "0:1,0:2");
  EXPECT_EQ(joined_lists("0:2,10:1", "0:1,0:2,1:1"), "0:2,10:1,0:1,1:1");
  EXPECT_EQ(joined_lists("*", "0:1"), "*");
  EXPECT_EQ(joined_lists("0:1", ""), "0:1");
}

TEST(Throttle, OfAMoveThatRemembersNothingIsKnown) {
  Operation o;
  o.steps = {Step{StepKind::spread, 0, true, true, ""}, Step{StepKind::settled, 0, false, true, ""}};
  EXPECT_FALSE(throttled_unremembered(o)) << "there was nothing to move";
  o.steps[0].note = "1";
  EXPECT_TRUE(throttled_unremembered(o));
  o.settings_before["brokers/<default>"];
  EXPECT_TRUE(throttled_unremembered(o)) << "that is of a configuration";
  o.settings_before["brokers/1"];
  EXPECT_FALSE(throttled_unremembered(o));
  o.settings_before.clear();
  o.steps = {Step{StepKind::cancel, 0, false, true, ""}};
  EXPECT_TRUE(throttled_unremembered(o));
  o.replicas_before["t"][0] = {1, 2};
  EXPECT_FALSE(throttled_unremembered(o)) << "cut off before it set anything";
}

}  // namespace
}  // namespace weir::msk
