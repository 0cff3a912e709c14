// One at a time: coroutines of one shard that would get into each other's way take turns, in the order they came.
//
//   const auto turn = co_await turns.take();
//   ...                                        // until `turn` goes
#pragma once

#include <list>

#include "base/check.h"
#include "runtime/shard.h"
#include "runtime/task.h"

namespace weir::broker {

class Turns {
 public:
  explicit Turns(runtime::Shard& shard) : shard_(shard) {}

  class [[nodiscard]] Turn {
   public:
    explicit Turn(Turns& of) : of_(&of) {}
    Turn(Turn&& from) noexcept : of_(std::exchange(from.of_, nullptr)) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn() {
      if (of_ != nullptr) of_->give();
    }

   private:
    Turns* of_;
  };

  // At once: nobody else has asked yet.
  Turn take_first() {
    WEIR_CHECK(!taken_, "the first turn is free");
    taken_ = true;
    return Turn(*this);
  }
  runtime::Task<Turn> take() {
    if (taken_) {
      runtime::Waiter waiter(shard_);
      waiting_.push_back(&waiter);
      co_await waiter.wait();  // give() left the turn to us
    }
    taken_ = true;
    co_return Turn(*this);
  }

 private:
  void give() {
    if (waiting_.empty()) {
      taken_ = false;
      return;
    }
    auto* next = waiting_.front();
    waiting_.pop_front();
    next->wake();
  }

  runtime::Shard& shard_;
  bool taken_ = false;
  std::list<runtime::Waiter*> waiting_;
};

}  // namespace weir::broker
