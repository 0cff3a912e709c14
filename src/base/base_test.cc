#include <gtest/gtest.h>

#include "base/error.h"
#include "base/id.h"
#include "base/log.h"
#include "base/uuid.h"

namespace weir {
namespace {

TEST(Error, names_are_those_of_kafka) {
  EXPECT_EQ(name(ErrorCode::NONE), "NONE");
  EXPECT_EQ(static_cast<int>(ErrorCode::COORDINATOR_NOT_AVAILABLE), 15);
  EXPECT_TRUE(retriable(ErrorCode::NOT_LEADER_OR_FOLLOWER));
  EXPECT_FALSE(retriable(ErrorCode::INVALID_TOPIC_EXCEPTION));
  EXPECT_EQ(name(static_cast<ErrorCode>(12345)), "UNKNOWN_SERVER_ERROR");
}

TEST(Uuid, text_is_kafkas_base64) {
  Uuid id;
  for (std::size_t i = 0; i < 16; ++i) id.bytes[i] = static_cast<std::uint8_t>(i * 16 + i);
  EXPECT_EQ(id.text(), "ABEiM0RVZneImaq7zN3u_w");
  EXPECT_EQ(Uuid::parse(id.text()), id);
  EXPECT_EQ(Uuid{}.text(), "AAAAAAAAAAAAAAAAAAAAAA");
  EXPECT_FALSE(Uuid::parse("short"));
  EXPECT_FALSE(Uuid::parse("ABEiM0RVZneImaq7zN3u_!"));
  EXPECT_FALSE(Uuid::parse("ABEiM0RVZneImaq7zN3u_x")) << "the last character carries two bits only";
}

TEST(Offset, distances_and_positions_do_not_mix) {
  EXPECT_EQ(Offset{7} - Offset{3}, 4);
  EXPECT_EQ(Offset{7} + 3, Offset{10});
  EXPECT_LT(Offset{1}, Offset{2});
}

TEST(Limiter, refused_lines_are_counted) {
  logging::Limiter limiter(std::chrono::hours(1));
  std::uint64_t left_out = 9;
  EXPECT_TRUE(limiter.pass(left_out));
  EXPECT_EQ(left_out, 0U);
  EXPECT_FALSE(limiter.pass(left_out));
  EXPECT_FALSE(limiter.pass(left_out));
}

}  // namespace
}  // namespace weir
