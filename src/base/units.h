// Sizes and times with their unit in the type or the name.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace weir {

inline constexpr std::size_t KiB = 1024;
inline constexpr std::size_t MiB = 1024 * KiB;
inline constexpr std::size_t GiB = 1024 * MiB;

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

// Milliseconds since the Unix epoch, as Kafka's record timestamps; -1 is "none".
using TimestampMs = std::int64_t;
inline constexpr TimestampMs no_timestamp = -1;

}  // namespace weir
