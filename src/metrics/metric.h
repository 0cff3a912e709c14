// Counter, gauge, histogram. Any thread may write and read any of them.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdint>

#include "metrics/cells.h"

namespace weir::metrics {

// Only grows. add() costs about a nanosecond.
class Counter {
 public:
  Counter() : cells_(1) {}
  void add(std::uint64_t n = 1) const { cells_.add(0, n); }
  std::uint64_t value() const { return cells_.read(0); }

 private:
  Cells cells_;
};

// Goes up and down. One atomic number: for what changes less often than once a request, or on one shard.
class Gauge {
 public:
  void set(std::int64_t v) { value_.store(v, std::memory_order_relaxed); }
  void add(std::int64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  void sub(std::int64_t n = 1) { value_.fetch_sub(n, std::memory_order_relaxed); }
  std::int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_{0};
};

// How values are spread: four buckets for each doubling (an error of at most 25 % of the value), from 0 to 2^27;
// what is larger lies in the last. Times are kept in microseconds (2^27 us = 134 s) and shown in seconds.
// observe() is two additions to cells of the calling thread.
class Histogram {
 public:
  static constexpr std::uint32_t octaves = 27;
  static constexpr std::uint32_t buckets = 4 * (octaves - 1) + 1;  // the last: 2^27 and more

  Histogram() : cells_(buckets + 1) {}

  void observe(std::chrono::nanoseconds d) const {
    observe_value(d.count() < 0 ? 0 : static_cast<std::uint64_t>(d.count()) / 1000);
  }
  // For what is not a time: bytes, records.
  void observe_value(std::uint64_t v) const {
    cells_.add(bucket_of(v), 1);
    cells_.add(buckets, v);
  }

  struct Snapshot {
    std::array<std::uint64_t, buckets> counts{};
    std::uint64_t sum = 0;
    std::uint64_t count() const;
    // How many are below 2^octave.
    std::uint64_t below(std::uint32_t octave) const;
    // The value that the share q (0 to 1) of all lies at or below; the upper edge of its bucket. 0 without values.
    std::uint64_t quantile(double q) const;
  };
  Snapshot snapshot() const;

  static constexpr std::uint32_t bucket_of(std::uint64_t v) {
    if (v < 4) return static_cast<std::uint32_t>(v);
    auto e = static_cast<std::uint32_t>(std::bit_width(v)) - 1;
    if (e >= octaves) return buckets - 1;
    return (e - 1) * 4 + static_cast<std::uint32_t>((v >> (e - 2)) & 3);
  }
  // The smallest value that lies in the bucket after this one.
  static constexpr std::uint64_t upper_edge(std::uint32_t bucket) {
    std::uint32_t next = bucket + 1;
    if (next < 4) return next;
    return (4ULL + next % 4) << (next / 4 - 1);
  }

 private:
  Cells cells_;
};

}  // namespace weir::metrics
