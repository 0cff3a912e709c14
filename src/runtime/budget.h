// A memory budget that the shards share: who wants bytes takes a Lease first, and waits while none are left.
//
// First come, first served, over all shards: a large request is not overtaken by small ones for ever. A request
// larger than the whole budget is let in when nothing else is out, so that it waits but does not hang; the
// budget is exceeded by at most that one request (as Kafka's queued.max.request.bytes).
// Thread-safe; the one mutex here is held for a few instructions and never while somebody waits.
#pragma once

#include <cstdint>
#include <list>
#include <mutex>

#include "runtime/shard.h"
#include "runtime/task.h"

namespace weir::runtime {

class Budget;

// Bytes taken from a budget, given back at the end. Movable; from any thread. Empty when it holds none.
class Lease {
 public:
  Lease() = default;
  Lease(Lease&& other) noexcept
      : budget_(std::exchange(other.budget_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Lease& operator=(Lease&& other) noexcept {
    if (this != &other) {
      give_back();
      budget_ = std::exchange(other.budget_, nullptr);
      bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() { give_back(); }

  std::uint64_t bytes() const { return bytes_; }
  explicit operator bool() const { return budget_ != nullptr; }
  void give_back();

 private:
  friend class Budget;
  Lease(Budget& budget, std::uint64_t bytes) : budget_(&budget), bytes_(bytes) {}

  Budget* budget_ = nullptr;
  std::uint64_t bytes_ = 0;
};

class Budget {
 public:
  static constexpr std::int64_t unlimited = -1;

  explicit Budget(std::int64_t limit_bytes = unlimited) : limit_(limit_bytes) {}
  ~Budget();  // checks that nobody waits; leases must be gone
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  // At once, or not at all. Never overtakes those who wait.
  std::optional<Lease> try_take(std::uint64_t bytes);

  // One wait that can be ended: the holder of the Wait may cancel it, and then `take` gives an empty lease (false).
  class Wait;
  // On a shard; resumes there. With `wait` (which outlives the call) it can be cancelled.
  Task<Lease> take(std::uint64_t bytes, Wait* wait = nullptr);

  std::int64_t limit() const { return limit_; }
  std::uint64_t used() const;
  std::size_t waiting() const;

 private:
  friend class Lease;
  struct Waiting {
    std::uint64_t bytes;
    Shard* shard;
    std::coroutine_handle<> handle;
    bool granted = false;
  };
  struct Awaiter;
  bool fits(std::uint64_t bytes) const;  // with the mutex held
  std::vector<Waiting*> grant();         // with the mutex held: those to resume after it
  static void resume(const std::vector<Waiting*>& granted);
  void release(std::uint64_t bytes);

  const std::int64_t limit_;
  mutable std::mutex mutex_;
  std::uint64_t used_ = 0;
  std::list<Waiting*> queue_;
};

class Budget::Wait {
 public:
  // On the shard of the take(). Nothing happens when none is under way.
  void cancel();

 private:
  friend class Budget;
  Budget* budget_ = nullptr;
  Waiting* waiting_ = nullptr;
};

}  // namespace weir::runtime
