// What a peer can cause at will is logged once each interval, and how often it was left out is said when that interval
// ends. For the macros of log.h.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace weir::logging {

enum class Level : std::uint8_t;

// Says when the next line may be written. It lives as long as the process. From any thread.
class Limiter {
 public:
  explicit constexpr Limiter(std::chrono::nanoseconds interval) : interval_(interval.count()) {}
  Limiter(const Limiter&) = delete;
  Limiter& operator=(const Limiter&) = delete;

  // True: write now. False: it is counted, and a line says how many there were when the interval has passed (or the
  // process ends in order).
  bool pass();
  // The line that was written: what is said of those left out after it is said with this.
  void stands_for_more(Level level, std::string_view file, std::string text);

  std::uint64_t take_left_out() { return left_out_.exchange(0, std::memory_order_relaxed); }
  std::chrono::nanoseconds interval() const { return std::chrono::nanoseconds(interval_); }

 private:
  const std::int64_t interval_;
  std::atomic<std::int64_t> next_{0};
  std::atomic<std::uint64_t> left_out_{0};
};

// One for each cause at a place in the code; a place has a bounded number of them, those beyond it share one.
Limiter& limiter_of(const void* place, std::string_view cause, std::chrono::nanoseconds interval);

}  // namespace weir::logging
