// Replication quotas (KIP-73): a rate over the last seconds, and which partitions it is for.
//
// A throttled partition is left out of a fetch, or of its answer, while the rate is exceeded; only when its follower is
// not in sync, so that nobody falls out of the ISR by it. What throttled partitions move always counts.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "base/units.h"

namespace weir::replica {

// Bytes a second over a window of replication.quota.window.num samples. From any thread; a lost count between two
// threads at the turn of a second is of no weight.
class Throttle {
 public:
  static constexpr std::int64_t unlimited = std::numeric_limits<std::int64_t>::max();

  // replication.quota.window.num and .size.seconds.
  explicit Throttle(std::size_t samples = 11, seconds sample = seconds(1));

  // leader.replication.throttled.rate, follower.replication.throttled.rate.
  void set_rate(std::int64_t bytes_per_second) { rate_.store(bytes_per_second, std::memory_order_relaxed); }
  std::int64_t rate() const { return rate_.load(std::memory_order_relaxed); }
  void record(std::uint64_t bytes, nanoseconds now);
  bool exceeded(nanoseconds now) const;
  // Bytes a second, now.
  double current(nanoseconds now) const;

 private:
  static constexpr std::size_t samples_max = 64;
  struct Sample {
    std::atomic<std::int64_t> index{-1};  // which sample of time it holds
    std::atomic<std::uint64_t> bytes{0};
  };
  std::size_t samples_;
  nanoseconds sample_;
  std::atomic<std::int64_t> rate_{unlimited};
  std::array<Sample, samples_max> ring_;
};

// Which partitions of a topic are throttled on this broker.
struct ThrottledReplicas {
  bool all = false;
  std::vector<PartitionId> partitions;

  bool contains(PartitionId partition) const;
  friend bool operator==(const ThrottledReplicas&, const ThrottledReplicas&) = default;
};

// The value of leader.replication.throttled.replicas or follower.replication.throttled.replicas, as it is for broker
// `self`: "*", "none" or "" , or "partition:broker,partition:broker". INVALID_CONFIG for anything else.
Result<ThrottledReplicas> parse_throttled_replicas(std::string_view text, BrokerId self);

}  // namespace weir::replica
