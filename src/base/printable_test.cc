#include "base/printable.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(Printable, CharactersStayAndAllElseIsSpelledOut) {
  EXPECT_EQ(printable(""), "");
  EXPECT_EQ(printable("plain \"text\" \\"), "plain \"text\" \\");
  EXPECT_EQ(printable("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  EXPECT_EQ(printable("a\nb\rc\x1b[2J\x7f"), "a\\nb\\x0dc\\x1b[2J\\x7f");
  EXPECT_EQ(printable("\xc2\x9b\xc2\xa0"), "\\u009b\xc2\xa0") << "a terminal takes U+009B for an escape";
  EXPECT_EQ(printable("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(printable("\xe2\x82"), "\\xe2\\x82") << "cut off";
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf") << "a longer form than needed";
  EXPECT_EQ(printable("\xed\xa0\x80\xf4\x90\x80\x80"), "\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80");
}

}  // namespace
}  // namespace weir
