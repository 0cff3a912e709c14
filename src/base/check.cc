#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace weir {

void check_failed(const char* file, int line, const char* condition, const char* why) noexcept {
  std::fprintf(stderr, "weir: internal error at %s:%d: %s: %s\n", file, line, why, condition);
  std::abort();
}

}  // namespace weir
