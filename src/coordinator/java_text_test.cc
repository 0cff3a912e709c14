#include "coordinator/java_text.h"

#include <gtest/gtest.h>

namespace weir::coordinator {
namespace {

struct Known {
  std::string_view text;
  std::int32_t hash;
  std::int32_t of_50;
};

// Printed by Java: s.hashCode() and Utils.abs(s.hashCode()) % 50 of Kafka.
constexpr Known known[] = {
    {"", 0, 0},
    {"abc", 96354, 4},
    {"my-group", -1906497762, 12},
    {"polygenelubricants", -2147483647 - 1, 0},  // the smallest int, which has no absolute value
    {"\u00fcber-gr\u00fcppe", -646359986, 36},
    {"\u65e5\u672c", 835047, 47},
    {"\U0001f600-emoji", -1200436388, 38},  // outside the basic plane: two UTF-16 units
    {"console-consumer-12345", 158455506, 6},
};

TEST(JavaText, HashesAndPartitionsAsJavaDoes) {
  for (const auto& k : known) {
    EXPECT_EQ(java_hash(k.text), k.hash) << k.text;
    EXPECT_EQ(partition_for(k.text, 50), k.of_50) << k.text;
  }
}

TEST(JavaText, BrokenTextCountsAsJavaDecodesIt) {
  using namespace std::string_view_literals;
  EXPECT_EQ(java_hash("a\xff"
                      "b"sv),
            2124838);
  EXPECT_EQ(java_hash("\xe2\x82x"sv), 2031643);
  EXPECT_EQ(java_hash("\xf0\x9f\x98"sv), 65533);
  EXPECT_EQ(java_hash("\xc0\x80"sv), 2097056);
  EXPECT_EQ(java_hash("\xed\xa0\x80"sv), 65533);
  EXPECT_EQ(utf16_length("\xc0\x80"sv), 2u);
  EXPECT_EQ(utf16_length("\xed\xa0\x80"sv), 1u);
}

TEST(JavaText, LengthIsInUtf16Units) {
  EXPECT_EQ(utf16_length("abc"), 3u);
  EXPECT_EQ(utf16_length("\u00fc"), 1u);
  EXPECT_EQ(utf16_length("\U0001f600"), 2u);
}

}  // namespace
}  // namespace weir::coordinator
