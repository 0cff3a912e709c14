#include "replica/space.h"

#include <gtest/gtest.h>

namespace weir::replica {
namespace {

TEST(Space, ProducersAreRefusedBeforeReplicationIs) {
  using Level = Space::Level;
  EXPECT_EQ(Space::level_of(1'000'000, 0), Level::plenty) << "no quota";
  EXPECT_EQ(Space::level_of(949, 1000), Level::plenty);
  EXPECT_EQ(Space::level_of(950, 1000), Level::no_produce);
  EXPECT_EQ(Space::level_of(999, 1000), Level::no_produce);
  EXPECT_EQ(Space::level_of(1000, 1000), Level::full);
}

}  // namespace
}  // namespace weir::replica
