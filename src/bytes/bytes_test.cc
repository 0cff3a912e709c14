#include <gtest/gtest.h>

#include <array>
#include <limits>

#include "bytes/crc32c.h"
#include "bytes/cursor.h"
#include "bytes/shared.h"

namespace weir::bytes {
namespace {

TEST(Crc32c, is_castagnoli) {
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xE3069283U);
  EXPECT_EQ(crc32c_extend(crc32c(as_bytes("1234")), as_bytes("56789")), 0xE3069283U);
  EXPECT_EQ(crc32c({}), 0U);
}

TEST(Cursor, gives_back_what_was_written) {
  std::array<std::byte, 128> memory{};
  Writer w(memory);
  w.i8(-1);
  w.i16(-2);
  w.i32(0x01020304);
  w.i64(std::numeric_limits<std::int64_t>::min());
  w.f64(1.5);
  w.varint(-1);
  w.varint(std::numeric_limits<std::int32_t>::min());
  w.varlong(std::numeric_limits<std::int64_t>::min());
  w.uvarint(300);
  w.put("text");
  Reader r(Bytes(memory).first(w.written()));
  EXPECT_EQ(r.i8(), -1);
  EXPECT_EQ(r.i16(), -2);
  EXPECT_EQ(r.i32(), 0x01020304);
  EXPECT_EQ(r.i64(), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(r.f64(), 1.5);
  EXPECT_EQ(r.varint(), -1);
  EXPECT_EQ(r.varint(), std::numeric_limits<std::int32_t>::min());
  EXPECT_EQ(r.varlong(), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(r.uvarint(), 300U);
  EXPECT_EQ(r.text(4), "text");
  EXPECT_TRUE(r.ok());
  EXPECT_TRUE(r.done());
}

TEST(Cursor, sizes_are_those_written) {
  for (const std::int64_t v : {std::int64_t{0}, std::int64_t{-64}, std::int64_t{64}, std::int64_t{1} << 40,
                               std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()}) {
    std::array<std::byte, 16> memory{};
    Writer w(memory);
    w.varlong(v);
    EXPECT_EQ(w.written(), varlong_size(v)) << v;
  }
}

TEST(Cursor, reading_past_the_end_fails_for_good) {
  const auto three = Shared::copy("abc");
  Reader r(three.view());
  EXPECT_EQ(r.i32(), 0);
  EXPECT_FALSE(r.ok());
  EXPECT_EQ(r.i8(), 0);
  EXPECT_EQ(r.left(), 0U);
}

TEST(Cursor, varints_that_are_too_long_fail) {
  std::array<std::byte, 11> memory{};
  memory.fill(std::byte{0xff});
  Reader five{Bytes(memory).first(5)};
  five.uvarint();
  EXPECT_FALSE(five.ok());
  Reader eleven{memory};
  eleven.uvarlong();
  EXPECT_FALSE(eleven.ok());
  std::array<std::byte, 5> wide{std::byte{0xff}, std::byte{0xff}, std::byte{0xff}, std::byte{0xff}, std::byte{0x1f}};
  Reader r{wide};
  r.uvarint();
  EXPECT_FALSE(r.ok()) << "33 bits do not fit";
}

TEST(Shared, parts_keep_the_whole_alive) {
  Shared part;
  {
    const auto whole = Shared::copy("hello world");
    part = whole.sub(6, 5);
    EXPECT_EQ(whole.sub(whole.view().subspan(0, 5)).text(), "hello");
  }
  EXPECT_EQ(part.text(), "world");
}

}  // namespace
}  // namespace weir::bytes
