#include "msk/params.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace weir::msk {
namespace {

namespace json = boost::json;

using Items = std::vector<std::size_t>;

Page page(const std::string& max, const std::string& token, const std::vector<std::string>& keys) {
  auto got = page_of(max, token, "list", keys);
  EXPECT_TRUE(got.has_value()) << got.error().message;
  return got.value_or(Page{});
}

TEST(Pages, AListIsInTheOrderOfItsKeys) {
  const auto all = page("", "", {"c", "a", "b"});
  EXPECT_EQ(all.items, (Items{1, 2, 0}));
  EXPECT_TRUE(all.next.empty());
  const auto first = page("2", "", {"c", "a", "b"});
  EXPECT_EQ(first.items, (Items{1, 2}));
  const auto second = page("2", first.next, {"c", "a", "b"});
  EXPECT_EQ(second.items, (Items{0}));
  EXPECT_TRUE(second.next.empty());
}

TEST(Pages, WhatComesAndGoesBetweenTwoPagesDoublesAndHidesNothing) {
  const auto first = page("2", "", {"b", "d", "f", "h"});
  EXPECT_EQ(first.items, (Items{0, 1}));
  // The last that was shown is gone, and so is the one before; there are new ones on both sides.
  EXPECT_EQ(page("9", first.next, {"a", "c", "e", "f", "h"}).items, (Items{2, 3, 4}));
  EXPECT_EQ(page("9", first.next, {"a"}).items, Items{});
  EXPECT_EQ(page("9", first.next, {}).items, Items{});
}

TEST(Pages, ATokenIsThatOfThisListAndAsItWasGiven) {
  const std::vector<std::string> keys{"a", "b", "c"};
  const auto token = page("1", "", keys).next;
  EXPECT_FALSE(page_of("1", token, "another", keys));
  for (std::size_t i = 0; i < token.size(); ++i) {
    auto spoilt = token;
    spoilt[i] = spoilt[i] == 'A' ? 'B' : 'A';
    auto got = page_of("1", spoilt, "list", keys);
    ASSERT_FALSE(got) << i;
    EXPECT_EQ(got.error().type, FaultType::bad_request);
    EXPECT_EQ(got.error().invalid_parameter, "nextToken");
  }
  for (const std::string& bad :
       std::vector<std::string>{"x", "AAAA", "d2VpcjoxMA==", "////////////", token.substr(4), "é"}) {
    EXPECT_FALSE(page_of("1", bad, "list", keys)) << bad;
  }
}

TEST(Pages, ThereAreOneToAHundredOnOne) {
  std::vector<std::string> keys;
  for (int i = 0; i < 150; ++i) keys.push_back(number_key(i));
  const auto first = page("", "", keys);
  EXPECT_EQ(first.items.size(), 100U);
  EXPECT_EQ(page("", first.next, keys).items.size(), 50U);
  for (const std::string bad : {"0", "101", "-1", "x", "1.0", "99999999999999999999", " 1", "1 "}) {
    auto got = page_of(bad, "", "list", keys);
    ASSERT_FALSE(got) << bad;
    EXPECT_EQ(got.error().invalid_parameter, "maxResults");
  }
}

TEST(Pages, KeysSortAsWhatTheyStandFor) {
  EXPECT_LT(number_key(9), number_key(10));
  EXPECT_LT(time_key(milliseconds(9), "z"), time_key(milliseconds(1'700'000'000'000), "a"));
  EXPECT_LT(time_key(milliseconds(9), "a"), time_key(milliseconds(9), "b"));
  EXPECT_LT(latest_first_key(milliseconds(10), "z"), latest_first_key(milliseconds(9), "a"));
}

TEST(Params, TheFirstThatIsWrongIsToldWithItsRange) {
  const auto body = json::parse(R"({"n":31,"t":"","f":"yes","l":["a",1],"o":[],"big":18446744073709551615,
                                    "half":2.5,"whole":3.0,"null":null,"b":"a"})")
                        .as_object();
  const auto says = [&](auto read) {
    Params params(body);
    read(params);
    return params.fault() ? params.fault()->invalid_parameter + ": " + params.fault()->message : std::string("nothing");
  };
  EXPECT_EQ(says([](Params& p) { p.number("n", {.min = 1, .max = 30}); }),
            "n: Invalid value for parameter n: 31. It must be from 1 to 30.");
  EXPECT_EQ(says([](Params& p) { p.text("t", {.min = 1, .max = 4}); }),
            "t: Invalid value for parameter t: '' has 0 characters. It must have 1 to 4.");
  EXPECT_EQ(says([](Params& p) { p.flag("f"); }), "f: The parameter f must be true or false.");
  EXPECT_EQ(says([](Params& p) { p.texts("l"); }), "l: The parameter l must be a list of strings.");
  EXPECT_EQ(says([](Params& p) { p.object("o"); }), "o: The parameter o must be a structure.");
  EXPECT_EQ(says([](Params& p) { p.number("big", {.max = 9}); }).substr(0, 4), "big:");
  EXPECT_EQ(says([](Params& p) { p.number("half"); }), "half: The parameter half must be a whole number.");
  EXPECT_EQ(says([](Params& p) { EXPECT_EQ(p.number("whole"), 3); }), "nothing");
  EXPECT_EQ(says([](Params& p) { EXPECT_FALSE(p.text("null")); }), "nothing");
  EXPECT_EQ(says([](Params& p) { p.text("null", {.required = true}); }), "null: The parameter null is required.");
  EXPECT_EQ(says([](Params& p) { p.blob("b", 10); }), "b: The parameter b must be base64.");
  EXPECT_EQ(says([](Params& p) {
              p.number("n", {.max = 30});
              p.flag("f");
            }).substr(0, 2),
            "n:");
}

TEST(Base64, ThereIsOneTextForTheSameBytes) {
  for (const std::string bytes : {"", "a", "ab", "abc", "abcd", "\xff\xfe"}) {
    EXPECT_EQ(from_base64(to_base64(bytes)), bytes);
  }
  for (const std::string bad : {"a", "ab=c", "====", "a===", "YR==", "YWJ=", "Y Q=", "YQ=", "YQ", "é==="}) {
    EXPECT_FALSE(from_base64(bad)) << bad;
  }
}

}  // namespace
}  // namespace weir::msk
