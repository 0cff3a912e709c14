#include "record/unpacked.h"

#include <algorithm>
#include <cstring>
#include <memory>

namespace weir::record {
namespace {

// A thread's memory for windows. It grows to what the codecs in use want; what was never written is no memory yet.
struct Scratch {
  std::unique_ptr<std::uint8_t[]> memory;
  std::size_t size = 0;

  std::uint8_t* hold(std::size_t wanted) {
    if (size < wanted) {
      memory = std::make_unique_for_overwrite<std::uint8_t[]>(wanted);
      size = wanted;
    }
    return memory.get();
  }
};
thread_local Scratch scratch;

// What more() brings at least, so that what it carries over is moved once for each of as many bytes.
constexpr std::size_t step_bytes_min = Unpacked::carried_bytes_max;

}  // namespace

Unpacked::Unpacked(Decompressor& from, std::uint64_t bytes_max) : from_(from), bytes_max_(bytes_max) {
  const auto room = from.room();
  capacity_ = carried_bytes_max + step_bytes_min + (room <= room_bytes_max ? std::max(room, 64 * KiB) : 64 * KiB);
  memory_ = scratch.hold(capacity_ + zeros);
  at_ = end_ = memory_;
  std::memset(memory_, 0, zeros);
}

bool Unpacked::more() {
  if (error_) return false;
  const auto carried = left();
  WEIR_CHECK(carried <= carried_bytes_max, "little is carried over");
  if (carried > 0) std::memmove(memory_, at_, carried);
  at_ = memory_;
  auto held = carried;
  while (held < carried + step_bytes_min) {
    auto got = from_.pull({reinterpret_cast<std::byte*>(memory_) + held, capacity_ - held});
    if (!got) {
      error_ = Error{ErrorCode::INVALID_RECORD, got.error().message};
      break;
    }
    if (*got == 0) break;
    held += *got;
    unpacked_ += *got;
    if (unpacked_ > bytes_max_) {
      error_ = Error{ErrorCode::MESSAGE_TOO_LARGE, "the batch unpacks to more than may be"};
      break;
    }
  }
  end_ = memory_ + held;
  std::memset(memory_ + held, 0, zeros);
  return !error_ && held > carried;
}

std::uint8_t Unpacked::byte() {
  if (at_ == end_ && !more()) {
    ok_ = false;
    return 0;
  }
  return *at_++;
}

std::uint64_t Unpacked::uvarint(int bytes_max) {
  std::uint64_t v = 0;
  for (int i = 0; i < bytes_max && ok_; ++i) {
    const std::uint64_t b = byte();
    if (i == bytes_max - 1 && b > (bytes_max == 5 ? 0x0f : 0x01)) break;
    v |= (b & 0x7f) << (7 * i);
    if (b < 0x80) return v;
  }
  ok_ = false;
  return 0;
}

void Unpacked::skip(std::uint64_t n) {
  while (n > 0 && ok_) {
    if (at_ == end_ && !more()) {
      ok_ = false;
      return;
    }
    const auto step = std::min<std::uint64_t>(n, left());
    at_ += step;
    n -= step;
  }
}

}  // namespace weir::record
