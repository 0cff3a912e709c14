// How much of its volume a broker's logs take (weir.storage.quota.bytes), and what follows from it.
//
// Measured a few times a second, what is appended meanwhile added, and compared here. Near the limit producers are
// refused (KAFKA_STORAGE_ERROR, which clients try again): the last twentieth is for what was accepted elsewhere and
// must be replicated here, and for internal topics, so that consumers that catch up can commit. At the limit nothing is
// fetched from leaders either, who are only asked where their logs start. Nothing that is there is lost; retention,
// deletion or a larger quota make room, and all goes on.
#pragma once

#include <atomic>
#include <cstdint>

namespace weir::replica {

class Space {
 public:
  enum class Level : std::uint8_t { plenty, no_produce, full };
  // Pure. A quota of 0 is none.
  static Level level_of(std::int64_t used_bytes, std::int64_t quota_bytes) {
    constexpr std::int64_t reserved_part = 20;
    if (quota_bytes <= 0 || used_bytes < quota_bytes - quota_bytes / reserved_part) return Level::plenty;
    return used_bytes < quota_bytes ? Level::no_produce : Level::full;
  }

  // From any thread, all of them.
  void set_quota(std::int64_t bytes) { quota_.store(bytes, std::memory_order_relaxed); }
  void set_used(std::int64_t bytes) { used_.store(bytes, std::memory_order_relaxed); }
  void add(std::int64_t bytes) {
    if (quota() > 0) used_.fetch_add(bytes, std::memory_order_relaxed);
  }
  std::int64_t quota() const { return quota_.load(std::memory_order_relaxed); }
  std::int64_t used() const { return used_.load(std::memory_order_relaxed); }
  Level level() const { return level_of(used(), quota()); }

 private:
  std::atomic<std::int64_t> quota_{0};
  std::atomic<std::int64_t> used_{0};
};

}  // namespace weir::replica
