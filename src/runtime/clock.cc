#include "runtime/clock.h"

#include <chrono>

namespace weir::runtime {
namespace {

class SystemClock final : public Clock {
 public:
  nanoseconds mono() const override {
    return std::chrono::duration_cast<nanoseconds>(std::chrono::steady_clock::now().time_since_epoch());
  }
  milliseconds wall() const override {
    return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch());
  }
};

}  // namespace

Clock& system_clock() {
  static SystemClock clock;
  return clock;
}

}  // namespace weir::runtime
