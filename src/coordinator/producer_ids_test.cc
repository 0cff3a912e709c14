#include "coordinator/producer_ids.h"

#include <gtest/gtest.h>

#include <limits>

namespace weir::coordinator {
namespace {

TEST(ProducerIds, BlocksFollowEachOther) {
  EXPECT_EQ(*next_block(std::nullopt), (ProducerIdBlock{0, 999}));
  EXPECT_EQ(*next_block(ProducerIdBlock{0, 999}), (ProducerIdBlock{1000, 1999}));
  // A Java broker's block of another size is followed all the same.
  EXPECT_EQ(*next_block(ProducerIdBlock{1000, 1004}), (ProducerIdBlock{1005, 2004}));
  EXPECT_FALSE(next_block(ProducerIdBlock{0, std::numeric_limits<std::int64_t>::max() - 5}));
  EXPECT_FALSE(next_block(ProducerIdBlock{0, -7}));
}

TEST(ProducerIds, GivesEachIdOnceAndAsksForTheNextBlock) {
  ProducerIds ids;
  EXPECT_FALSE(ids.next());
  EXPECT_TRUE(ids.wants_block());
  ids.claiming();
  EXPECT_FALSE(ids.wants_block());
  ids.refused();
  EXPECT_TRUE(ids.wants_block());
  ids.claiming();
  ASSERT_TRUE(ids.granted({5000, 5001}));
  EXPECT_EQ(ids.next(), ProducerId{5000});
  EXPECT_FALSE(ids.wants_block());
  EXPECT_EQ(ids.next(), ProducerId{5001});
  EXPECT_FALSE(ids.next());
  EXPECT_TRUE(ids.wants_block());
}

TEST(ProducerIds, RefusesABlockThatWouldGiveAnIdTwice) {
  ProducerIds ids;
  ids.claiming();
  ASSERT_TRUE(ids.granted({1000, 1999}));
  ids.next();
  ids.claiming();
  EXPECT_FALSE(ids.granted({1000, 1999}));
  EXPECT_EQ(ids.next(), ProducerId{1001});  // what was there goes on
  ids.claiming();
  EXPECT_FALSE(ids.granted({3000, 2999}));
  EXPECT_FALSE(ids.granted({-5, 10}));
}

}  // namespace
}  // namespace weir::coordinator
