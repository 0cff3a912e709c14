// Jute, ZooKeeper's encoding: big-endian integers, strings and buffers with a four-byte length (-1: null), vectors
// with a four-byte count, records field by field without tags.
//
// A message is a struct that names its fields once:
//
//   struct DeleteRequest {
//     std::string_view path;
//     std::int32_t version = 0;
//     WEIR_JUTE(path, version)
//   };
//
// and is read, measured and written by that one list. Strings and buffers of a decoded message are views into the
// frame. Hostile input: a length or count is held against what is left of the frame before anything is allocated.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

#include "bytes/cursor.h"
#include "bytes/shared.h"

#define WEIR_JUTE(...)                            \
  auto fields() { return std::tie(__VA_ARGS__); } \
  auto fields() const { return std::tie(__VA_ARGS__); }

namespace weir::zkwire {

// nullopt is jute's null (-1), which is not the empty buffer.
using Buffer = std::optional<bytes::Bytes>;

namespace jute {

template <class T>
concept Record = requires(T& t) { t.fields(); };

// The fewest bytes a value of T takes on the wire; bounds the count of a vector.
template <class T>
constexpr std::size_t size_min() {
  if constexpr (std::is_same_v<T, bool>) {
    return 1;
  } else if constexpr (std::is_integral_v<T>) {
    return sizeof(T);
  } else {
    return 4;
  }
}

template <class T>
void read_field(bytes::Reader& in, T& v);

inline std::size_t read_length(bytes::Reader& in, bool& null) {
  const std::int32_t n = in.i32();
  null = n == -1;
  if (n < -1 || (n > 0 && static_cast<std::size_t>(n) > in.left())) {
    in.fail();
    return 0;
  }
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

template <class T>
void read_vector(bytes::Reader& in, std::vector<T>& out) {
  const std::int32_t n = in.i32();
  out.clear();
  if (n < -1 || (n > 0 && static_cast<std::size_t>(n) > in.left() / size_min<T>())) {
    in.fail();
    return;
  }
  for (std::int32_t i = 0; i < n && in.ok(); ++i) read_field(in, out.emplace_back());
}

template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};

template <class T>
void read_field(bytes::Reader& in, T& v) {
  bool null = false;
  if constexpr (std::is_same_v<T, bool>) {
    v = in.boolean();
  } else if constexpr (std::is_same_v<T, std::int32_t>) {
    v = in.i32();
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    v = in.i64();
  } else if constexpr (std::is_enum_v<T>) {
    static_assert(sizeof(T) == 4);
    v = static_cast<T>(in.i32());
  } else if constexpr (std::is_same_v<T, std::string_view> || std::is_same_v<T, std::string>) {
    v = in.text(read_length(in, null));
  } else if constexpr (std::is_same_v<T, Buffer>) {
    const auto view = in.take(read_length(in, null));
    v = null ? Buffer() : Buffer(view);
  } else if constexpr (IsVector<T>::value) {
    read_vector(in, v);
  } else {
    static_assert(Record<T>);
    std::apply([&](auto&... field) { (read_field(in, field), ...); }, v.fields());
  }
}

template <class T>
std::size_t size_of(const T& v) {
  if constexpr (std::is_same_v<T, bool>) {
    return 1;
  } else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
    return sizeof(T);
  } else if constexpr (std::is_same_v<T, std::string_view> || std::is_same_v<T, std::string>) {
    return 4 + v.size();
  } else if constexpr (std::is_same_v<T, Buffer>) {
    return 4 + (v ? v->size() : 0);
  } else if constexpr (IsVector<T>::value) {
    std::size_t sum = 4;
    for (const auto& one : v) sum += size_of(one);
    return sum;
  } else {
    static_assert(Record<T>);
    return std::apply([](const auto&... field) { return (std::size_t{0} + ... + size_of(field)); }, v.fields());
  }
}

template <class T>
void write_field(bytes::Writer& out, const T& v) {
  if constexpr (std::is_same_v<T, bool>) {
    out.boolean(v);
  } else if constexpr (std::is_same_v<T, std::int32_t>) {
    out.i32(v);
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    out.i64(v);
  } else if constexpr (std::is_enum_v<T>) {
    out.i32(static_cast<std::int32_t>(v));
  } else if constexpr (std::is_same_v<T, std::string_view> || std::is_same_v<T, std::string>) {
    out.i32(static_cast<std::int32_t>(v.size()));
    out.put(std::string_view(v));
  } else if constexpr (std::is_same_v<T, Buffer>) {
    out.i32(v ? static_cast<std::int32_t>(v->size()) : -1);
    if (v) out.put(*v);
  } else if constexpr (IsVector<T>::value) {
    out.i32(static_cast<std::int32_t>(v.size()));
    for (const auto& one : v) write_field(out, one);
  } else {
    static_assert(Record<T>);
    std::apply([&](const auto&... field) { (write_field(out, field), ...); }, v.fields());
  }
}

}  // namespace jute

// Reads one record; nullopt when the bytes end too early or a length lies. Bytes after it are left in `in`.
template <jute::Record T>
std::optional<T> decode(bytes::Reader& in) {
  std::optional<T> v(std::in_place);
  jute::read_field(in, *v);
  if (!in.ok()) v.reset();
  return v;
}
template <jute::Record T>
std::optional<T> decode(bytes::Bytes from) {
  bytes::Reader in(from);
  return decode<T>(in);
}

// The records one after the other, without a frame length.
template <jute::Record... T>
bytes::Shared encode(const T&... v) {
  auto out = bytes::Shared::allocate((std::size_t{0} + ... + jute::size_of(v)));
  bytes::Writer w(out.mutable_view());
  (jute::write_field(w, v), ...);
  return out;
}
// The same behind its length of four bytes: what goes over the socket.
template <jute::Record... T>
bytes::Shared encode_frame(const T&... v) {
  const std::size_t body = (std::size_t{0} + ... + jute::size_of(v));
  auto out = bytes::Shared::allocate(4 + body);
  bytes::Writer w(out.mutable_view());
  w.i32(static_cast<std::int32_t>(body));
  (jute::write_field(w, v), ...);
  return out;
}

}  // namespace weir::zkwire
