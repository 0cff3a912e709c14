// The logging front: what every room logs with. Where the lines go, and how they look, is the process's choice
// (init_logging), not the room's.
//
//   WEIR_LOG(info, "created topic {} with {} partitions", name, n);
//   WEIR_LOG_LIMITED(warn, 5s, "closed {}: request of {} bytes is larger than {}", peer, size, limit);
//
// The limited form is for what a peer can cause at will: one line each interval from one place in the code; the
// next line says how many were left out.
#pragma once

#include <fmt/core.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace weir::logging {

enum class Level : std::uint8_t { trace, debug, info, warn, error, off };
enum class Format : std::uint8_t { text, json };

struct Options {
  Level level = Level::info;
  Format format = Format::text;
  std::string file;  // empty: stderr
};

// Once, before other threads start; may be called again by tests.
void init(const Options& options);
// Level by name ("info", "WARN"); false for none of them.
bool parse(std::string_view text, Level& level);

bool enabled(Level level);
void write(Level level, std::string_view file, fmt::string_view format, fmt::format_args args);

// One per place in the code: says when the next line may be written.
class Limiter {
 public:
  explicit constexpr Limiter(std::chrono::nanoseconds interval) : interval_(interval.count()) {}
  // True: write now; `left_out` is how many were refused since the last one.
  bool pass(std::uint64_t& left_out);

 private:
  std::int64_t interval_;
  std::atomic<std::int64_t> next_{0};
  std::atomic<std::uint64_t> refused_{0};
};

template <class... T>
void write_formatted(Level level, std::string_view file, fmt::format_string<T...> format, T&&... args) {
  write(level, file, format, fmt::make_format_args(args...));
}

}  // namespace weir::logging

#define WEIR_LOG(level_, ...)                                                                  \
  do {                                                                                         \
    if (::weir::logging::enabled(::weir::logging::Level::level_)) {                            \
      ::weir::logging::write_formatted(::weir::logging::Level::level_, __FILE__, __VA_ARGS__); \
    }                                                                                          \
  } while (false)

#define WEIR_LOG_LIMITED(level_, interval_, ...)                                                          \
  do {                                                                                                    \
    static constinit ::weir::logging::Limiter weir_limiter_{interval_};                                   \
    std::uint64_t weir_left_out_ = 0;                                                                     \
    if (::weir::logging::enabled(::weir::logging::Level::level_) && weir_limiter_.pass(weir_left_out_)) { \
      if (weir_left_out_ > 0) {                                                                           \
        ::weir::logging::write_formatted(::weir::logging::Level::level_, __FILE__,                        \
                                         "{} (and {} like it left out before)", fmt::format(__VA_ARGS__), \
                                         weir_left_out_);                                                 \
      } else {                                                                                            \
        ::weir::logging::write_formatted(::weir::logging::Level::level_, __FILE__, __VA_ARGS__);          \
      }                                                                                                   \
    }                                                                                                     \
  } while (false)
