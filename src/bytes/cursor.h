// Reading and writing Kafka's and ZooKeeper's primitive types: big-endian integers, varints, zigzag.
//
// A Reader never reads past its end. The first read that would fails the Reader for good: that read and all
// later ones give zero or empty, and `ok()` is false. So a decoder reads straight on and asks once at the end.
// A Writer writes into memory whose size was computed before; writing past it is a bug in that computation.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "base/check.h"
#include "bytes/shared.h"

namespace weir::bytes {

template <class Int>
constexpr Int swap_big(Int v) {
  static_assert(std::is_integral_v<Int>);
  if constexpr (std::endian::native == std::endian::little && sizeof(Int) > 1) {
    return static_cast<Int>(std::byteswap(v));
  } else {
    return v;
  }
}

template <class Int>
Int load_big(const std::byte* at) {
  Int v;
  std::memcpy(&v, at, sizeof v);
  return swap_big(v);
}
template <class Int>
void store_big(std::byte* at, Int v) {
  v = swap_big(v);
  std::memcpy(at, &v, sizeof v);
}

constexpr std::uint32_t zigzag(std::int32_t v) {
  return (static_cast<std::uint32_t>(v) << 1) ^ static_cast<std::uint32_t>(v >> 31);
}
constexpr std::uint64_t zigzag(std::int64_t v) {
  return (static_cast<std::uint64_t>(v) << 1) ^ static_cast<std::uint64_t>(v >> 63);
}
constexpr std::int32_t unzigzag(std::uint32_t v) { return static_cast<std::int32_t>((v >> 1) ^ (~(v & 1) + 1)); }
constexpr std::int64_t unzigzag(std::uint64_t v) { return static_cast<std::int64_t>((v >> 1) ^ (~(v & 1) + 1)); }
// Bytes that an unsigned varint takes (1 to 5, or 1 to 10).
constexpr std::size_t uvarint_size(std::uint64_t v) {
  return v == 0 ? 1 : (static_cast<std::size_t>(std::bit_width(v)) + 6) / 7;
}
constexpr std::size_t varint_size(std::int32_t v) { return uvarint_size(zigzag(v)); }
constexpr std::size_t varlong_size(std::int64_t v) { return uvarint_size(zigzag(v)); }

class Reader {
 public:
  Reader() = default;
  explicit Reader(Bytes from) : at_(from.data()), end_(from.data() + from.size()) {}

  bool ok() const { return ok_; }
  std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }
  bool done() const { return at_ == end_; }
  void fail() {
    ok_ = false;
    at_ = end_;
  }

  std::int8_t i8() { return fixed<std::int8_t>(); }
  std::int16_t i16() { return fixed<std::int16_t>(); }
  std::uint16_t u16() { return fixed<std::uint16_t>(); }
  std::int32_t i32() { return fixed<std::int32_t>(); }
  std::uint32_t u32() { return fixed<std::uint32_t>(); }
  std::int64_t i64() { return fixed<std::int64_t>(); }
  double f64() { return std::bit_cast<double>(fixed<std::uint64_t>()); }
  bool boolean() { return i8() != 0; }

  std::uint32_t uvarint() { return static_cast<std::uint32_t>(unsigned_varint(5, 0xffffffffU)); }
  std::uint64_t uvarlong() { return unsigned_varint(10, ~std::uint64_t{0}); }
  std::int32_t varint() { return unzigzag(uvarint()); }
  std::int64_t varlong() { return unzigzag(uvarlong()); }

  // The next `n` bytes, in place.
  Bytes take(std::size_t n) {
    if (n > left()) [[unlikely]] {
      fail();
      return {};
    }
    Bytes out(at_, n);
    at_ += n;
    return out;
  }
  std::string_view text(std::size_t n) { return as_text(take(n)); }
  void skip(std::size_t n) { take(n); }
  Bytes rest() const { return {at_, left()}; }
  const std::byte* position() const { return at_; }

 private:
  template <class Int>
  Int fixed() {
    if (left() < sizeof(Int)) [[unlikely]] {
      fail();
      return 0;
    }
    const auto v = load_big<Int>(at_);
    at_ += sizeof(Int);
    return v;
  }
  // Fails on more than `bytes_max` bytes and on a value over `most`.
  std::uint64_t unsigned_varint(int bytes_max, std::uint64_t most) {
    std::uint64_t v = 0;
    for (int i = 0; i < bytes_max; ++i) {
      if (at_ == end_) [[unlikely]]
        break;
      const auto b = static_cast<std::uint64_t>(*at_++);
      if (i == 9 && b > 1) [[unlikely]]
        break;  // would not fit 64 bits
      v |= (b & 0x7f) << (7 * i);
      if ((b & 0x80) == 0) {
        if (v > most) [[unlikely]]
          break;
        return v;
      }
    }
    fail();
    return 0;
  }

  const std::byte* at_ = nullptr;
  const std::byte* end_ = nullptr;
  bool ok_ = true;
};

class Writer {
 public:
  explicit Writer(MutableBytes to) : begin_(to.data()), at_(to.data()), end_(to.data() + to.size()) {}

  std::size_t written() const { return static_cast<std::size_t>(at_ - begin_); }
  std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }

  void i8(std::int8_t v) { fixed(v); }
  void i16(std::int16_t v) { fixed(v); }
  void u16(std::uint16_t v) { fixed(v); }
  void i32(std::int32_t v) { fixed(v); }
  void u32(std::uint32_t v) { fixed(v); }
  void i64(std::int64_t v) { fixed(v); }
  void f64(double v) { fixed(std::bit_cast<std::uint64_t>(v)); }
  void boolean(bool v) { fixed<std::int8_t>(v ? 1 : 0); }

  void uvarint(std::uint32_t v) { uvarlong(v); }
  void uvarlong(std::uint64_t v) {
    while (v >= 0x80) {
      fixed(static_cast<std::uint8_t>(v | 0x80));
      v >>= 7;
    }
    fixed(static_cast<std::uint8_t>(v));
  }
  void varint(std::int32_t v) { uvarint(zigzag(v)); }
  void varlong(std::int64_t v) { uvarlong(zigzag(v)); }

  void put(Bytes from) {
    WEIR_CHECK(from.size() <= left(), "the size was computed before writing");
    if (!from.empty()) std::memcpy(at_, from.data(), from.size());
    at_ += from.size();
  }
  void put(std::string_view text) { put(as_bytes(text)); }

 private:
  template <class Int>
  void fixed(Int v) {
    WEIR_CHECK(sizeof v <= left(), "the size was computed before writing");
    store_big(at_, v);
    at_ += sizeof v;
  }

  std::byte* begin_;
  std::byte* at_;
  std::byte* end_;
};

}  // namespace weir::bytes
