#include "config/properties.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

Properties parse(std::string_view text) {
  auto p = parse_properties(text);
  EXPECT_TRUE(p.has_value()) << p.error();
  return p.value_or(Properties{});
}

TEST(Properties, SeparatorsBlanksAndComments) {
  EXPECT_THAT(
      parse("# comment\n"
            "   ! another\n"
            "\n"
            "a=1\n"
            "b : 2\n"
            "c 3\n"
            "  d\t=\t4  \r\n"
            "e\n"
            "f=\n"
            "g==x\n"
            "h = # no comment here\r"
            "i=last line without end"),
      ElementsAre(Pair("a", "1"), Pair("b", "2"), Pair("c", "3"), Pair("d", "4  "), Pair("e", ""), Pair("f", ""),
                  Pair("g", "=x"), Pair("h", "# no comment here"), Pair("i", "last line without end")));
}

TEST(Properties, ContinuedLines) {
  EXPECT_THAT(parse("list=a,\\\n    b,\\\r\n\tc\nnext=1\nslash=x\\\\\nafter=2\n"),
              ElementsAre(Pair("after", "2"), Pair("list", "a,b,c"), Pair("next", "1"), Pair("slash", "x\\")));
  EXPECT_THAT(parse("a=1\\\n#not a comment\n"), ElementsAre(Pair("a", "1#not a comment")));
  EXPECT_THAT(parse("a=1\\"), ElementsAre(Pair("a", "1")));
}

TEST(Properties, Escapes) {
  EXPECT_THAT(parse("a\\=b\\:c\\ d=\\t\\n\\u0041\\q\\\\\nx=\\uD83D\\uDE00\\u00e9\n"),
              ElementsAre(Pair("a=b:c d", "\t\nAq\\"), Pair("x", "\xF0\x9F\x98\x80\xC3\xA9")));
  auto bad = parse_properties("a=1\n\nb=\\u12G4\n");
  ASSERT_FALSE(bad.has_value());
  EXPECT_THAT(bad.error(), HasSubstr("line 3"));
}

TEST(Properties, LatinOneAndUtf8) {
  EXPECT_THAT(parse("a=\xC3\xA9\n"), ElementsAre(Pair("a", "\xC3\xA9")));
  EXPECT_THAT(parse("a=\xE9\n"), ElementsAre(Pair("a", "\xC3\xA9")));
  EXPECT_THAT(parse("\xEF\xBB\xBF"
                    "a=1\n"),
              ElementsAre(Pair("a", "1")));
}

TEST(Properties, TheLaterOfTwoWins) { EXPECT_THAT(parse("a=1\na=2\n"), ElementsAre(Pair("a", "2"))); }

TEST(Properties, NothingInNothingOut) {
  EXPECT_THAT(parse(""), IsEmpty());
  EXPECT_THAT(parse("\n\n# x"), IsEmpty());
}

TEST(Properties, WrittenTextReadsBack) {
  Properties p{{"plain", "value"},   {"with space=:#!", " leading, and trailing "},
               {"tabs", "\t\n\r\f"}, {"back\\slash", "C:\\dir\\"},
               {"utf8", "\xC3\xA9"}, {"empty", ""}};
  EXPECT_EQ(parse(to_text(p)), p);
}

}  // namespace
}  // namespace weir::config
