// Assertions that also hold in release. For what must be true inside the process; never for what a client
// sends (that is answered with an error).
#pragma once

namespace weir {

// Writes where and what to stderr and aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const char* why) noexcept;

}  // namespace weir

// WEIR_CHECK(offset >= start, "an append cannot go back").
#define WEIR_CHECK(condition, why)                               \
  do {                                                           \
    if (!(condition)) [[unlikely]] {                             \
      ::weir::check_failed(__FILE__, __LINE__, #condition, why); \
    }                                                            \
  } while (false)
