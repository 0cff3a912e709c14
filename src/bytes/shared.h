// Memory that is owned, and memory that is shared.
//
// Bytes is a view: it owns nothing. Shared is a view with its owner: copies share the memory, `sub` narrows
// without copying, the memory is freed with the last copy. The reference count may be touched by any thread; the
// content is written by one owner before it is shared (or by the log in place, which says so).
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

#include "base/check.h"

namespace weir::bytes {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

inline Bytes as_bytes(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }
inline std::string_view as_text(Bytes view) { return {reinterpret_cast<const char*>(view.data()), view.size()}; }

class Shared {
 public:
  Shared() = default;

  // `size` bytes, not initialised.
  static Shared allocate(std::size_t size) {
    auto memory = std::make_shared_for_overwrite<std::byte[]>(size);
    auto* data = memory.get();
    return Shared(std::move(memory), data, size);
  }
  static Shared copy(Bytes from) {
    auto made = allocate(from.size());
    if (!from.empty()) std::memcpy(made.data_, from.data(), from.size());
    return made;
  }
  static Shared copy(std::string_view from) { return copy(as_bytes(from)); }
  // A view of memory that `owner` keeps alive.
  static Shared adopt(std::shared_ptr<const void> owner, std::byte* data, std::size_t size) {
    return Shared(std::move(owner), data, size);
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const std::byte* data() const { return data_; }
  Bytes view() const { return {data_, size_}; }
  MutableBytes mutable_view() { return {data_, size_}; }
  std::string_view text() const { return as_text(view()); }

  Shared sub(std::size_t from, std::size_t size) const {
    WEIR_CHECK(from <= size_ && size <= size_ - from, "a part lies inside its whole");
    return Shared(owner_, data_ + from, size);
  }
  // The Shared of a view that points into this memory.
  Shared sub(Bytes inside) const {
    if (inside.empty()) return {};
    WEIR_CHECK(inside.data() >= data_ && inside.data() + inside.size() <= data_ + size_,
               "the view points into this memory");
    return Shared(owner_, data_ + (inside.data() - data_), inside.size());
  }

 private:
  Shared(std::shared_ptr<const void> owner, std::byte* data, std::size_t size)
      : owner_(std::move(owner)), data_(data), size_(size) {}

  std::shared_ptr<const void> owner_;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace weir::bytes
