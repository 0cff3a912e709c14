// The logging front: what every room logs with. Where the lines go, and how they look, is the process's choice
// (init_logging), not the room's.
//
//   WEIR_LOG(info, "created topic {} with {} partitions", name, n);
//   WEIR_LOG_LIMITED(warn, 5s, "closed {}: request of {} bytes is larger than {}", peer, size, limit);
//   WEIR_LOG_LIMITED_BY(warn, 5s, what, "closed {}: {}", peer, what);
//
// The limited forms are for what a peer can cause at will: one line each interval from one place in the code, or for
// each cause at that place, so that one kind of trouble does not hide another; when the interval ends, a line says how
// many were left out. A cause is of a bounded set (a kind, an error's name), never what a peer wrote.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/log_limit.h"

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

#define WEIR_LOG_LIMITED(level_, interval_, ...)                        \
  do {                                                                  \
    static constinit ::weir::logging::Limiter weir_limiter_{interval_}; \
    WEIR_LOG_THROUGH_(weir_limiter_, level_, __VA_ARGS__);              \
  } while (false)

#define WEIR_LOG_LIMITED_BY(level_, interval_, cause_, ...)                             \
  do {                                                                                  \
    static constexpr char weir_place_ = 0;                                              \
    auto& weir_limiter_ = ::weir::logging::limiter_of(&weir_place_, cause_, interval_); \
    WEIR_LOG_THROUGH_(weir_limiter_, level_, __VA_ARGS__);                              \
  } while (false)

#define WEIR_LOG_THROUGH_(limiter_, level_, ...)                                                    \
  do {                                                                                              \
    if (::weir::logging::enabled(::weir::logging::Level::level_) && (limiter_).pass()) {            \
      auto weir_text_ = fmt::format(__VA_ARGS__);                                                   \
      ::weir::logging::write_formatted(::weir::logging::Level::level_, __FILE__, "{}", weir_text_); \
      (limiter_).stands_for_more(::weir::logging::Level::level_, __FILE__, std::move(weir_text_));  \
    }                                                                                               \
  } while (false)
