#include "zkserver/sessions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::zkserver {
namespace {

using std::chrono::hours;
using testing::ElementsAre;
using testing::UnorderedElementsAre;

struct DeadlinesTest : testing::Test {
  DeadlinesTest() { deadlines.advance(nanoseconds(0)); }
  // Looks every half tick, as the engine does or more often.
  std::vector<SessionId> wait(milliseconds time) {
    std::vector<SessionId> out;
    for (const auto end = now + time; now < end;) {
      now += std::min<nanoseconds>(milliseconds(50), end - now);
      deadlines.advance(now);
      for (const auto id : deadlines.expired()) out.push_back(id);
    }
    return out;
  }
  Deadlines deadlines{milliseconds(100)};
  nanoseconds now{0};
};

TEST_F(DeadlinesTest, ASessionLivesItsTimeoutAndAtMostATickMore) {
  deadlines.touch(1, milliseconds(250));
  EXPECT_THAT(wait(milliseconds(250)), ElementsAre());
  EXPECT_THAT(wait(milliseconds(100)), ElementsAre(1));
  EXPECT_EQ(deadlines.size(), 0U);
}

TEST_F(DeadlinesTest, NeverEarlyWhereverInATickItWasTouched) {
  for (int late = 0; late < 100; late += 10) {
    wait(milliseconds(late));
    deadlines.advance(now);
    deadlines.touch(1, milliseconds(250));
    EXPECT_THAT(wait(milliseconds(250)), ElementsAre()) << late;
    EXPECT_THAT(wait(milliseconds(101)), ElementsAre(1)) << late;
  }
}

TEST_F(DeadlinesTest, ATouchGivesTheTimeoutAnew) {
  deadlines.touch(1, milliseconds(300));
  deadlines.touch(2, milliseconds(300));
  EXPECT_THAT(wait(milliseconds(200)), ElementsAre());
  deadlines.touch(1, milliseconds(300));
  EXPECT_THAT(wait(milliseconds(200)), ElementsAre(2));
  EXPECT_THAT(wait(milliseconds(200)), ElementsAre(1));
}

TEST_F(DeadlinesTest, TheForgottenDoNotExpire) {
  deadlines.touch(1, milliseconds(100));
  deadlines.forget(1);
  deadlines.forget(7);
  EXPECT_THAT(wait(milliseconds(1000)), ElementsAre());
}

TEST_F(DeadlinesTest, NobodyExpiresWhileTheProcessStoodStill) {
  deadlines.touch(1, milliseconds(1000));
  deadlines.touch(2, milliseconds(500));
  now += hours(8);  // suspended
  deadlines.advance(now);
  EXPECT_THAT(deadlines.expired(), ElementsAre());
  EXPECT_THAT(wait(milliseconds(2000)), UnorderedElementsAre(1, 2)) << "who stays silent after it does expire";
}

TEST_F(DeadlinesTest, LeftIsWhatDumpShows) {
  deadlines.touch(5, milliseconds(250));
  EXPECT_THAT(deadlines.left(), ElementsAre(testing::Pair(300, ElementsAre(5))));
}

}  // namespace
}  // namespace weir::zkserver
