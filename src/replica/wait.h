// Who waits for data: a fetch that found too little sleeps on its own shard until a partition, on any shard, has more.
#pragma once

#include <atomic>
#include <memory>

#include "runtime/shard.h"

namespace weir::replica {

// Made by the fetch, held by it; partitions hold it weakly and signal it once each time they have more.
class DataWait : public std::enable_shared_from_this<DataWait> {
 public:
  explicit DataWait(runtime::Shard& home) : home_(home), waiter_(home) {}

  // From any shard. Signals that come before the wait has ended are one.
  void signal() {
    if (signalled_.exchange(true, std::memory_order_acq_rel)) return;
    if (home_.here()) {
      waiter_.wake();
    } else {
      home_.post([self = shared_from_this()] { self->waiter_.wake(); });
    }
  }
  // True: signalled; false: time ran out. On the home shard.
  runtime::Task<bool> wait(nanoseconds timeout) { return waiter_.wait(timeout); }
  // The next signal counts again. On the home shard, after wait() has ended.
  void rearm() { signalled_.store(false, std::memory_order_release); }

 private:
  runtime::Shard& home_;
  runtime::Waiter waiter_;
  std::atomic<bool> signalled_{false};
};

}  // namespace weir::replica
