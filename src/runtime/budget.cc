#include "runtime/budget.h"

#include <algorithm>

namespace weir::runtime {

void Lease::give_back() {
  if (budget_ != nullptr) std::exchange(budget_, nullptr)->release(std::exchange(bytes_, 0));
}

Budget::~Budget() {
  WEIR_CHECK(queue_.empty(), "nobody waits for a budget that goes");
  WEIR_CHECK(used_ == 0, "all leases are given back before the budget goes");
}

bool Budget::fits(std::uint64_t bytes) const {
  if (limit_ < 0 || used_ == 0) return true;
  const auto limit = static_cast<std::uint64_t>(limit_);
  return used_ <= limit && bytes <= limit - used_;
}

std::optional<Lease> Budget::try_take(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (!queue_.empty() || !fits(bytes)) return std::nullopt;
  used_ += bytes;
  return Lease(*this, bytes);
}

// Joins the queue under the mutex; what is granted between that and the suspension resumes from the shard's loop,
// which runs only after this has returned.
struct Budget::Awaiter {
  Budget& budget;
  Waiting& waiting;
  Wait* wait;

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> handle) const {
    const std::lock_guard lock(budget.mutex_);
    if (budget.queue_.empty() && budget.fits(waiting.bytes)) {
      budget.used_ += waiting.bytes;
      waiting.granted = true;
      return false;
    }
    waiting.handle = handle;
    budget.queue_.push_back(&waiting);
    if (wait != nullptr) {
      wait->budget_ = &budget;
      wait->waiting_ = &waiting;
    }
    return true;
  }
  void await_resume() const noexcept {}
};

Task<Lease> Budget::take(std::uint64_t bytes, Wait* wait) {
  if (auto lease = try_take(bytes)) co_return std::move(*lease);
  WEIR_CHECK(Shard::current() != nullptr, "who waits for a budget is on a shard");
  Waiting waiting{.bytes = bytes, .shard = Shard::current(), .handle = nullptr, .granted = false};
  Awaiter awaiter{*this, waiting, wait};
  co_await awaiter;
  if (wait != nullptr) wait->waiting_ = nullptr;
  if (!waiting.granted) co_return Lease{};
  co_return Lease(*this, bytes);
}

std::vector<Budget::Waiting*> Budget::grant() {
  std::vector<Waiting*> granted;
  while (!queue_.empty() && fits(queue_.front()->bytes)) {
    auto* next = queue_.front();
    queue_.pop_front();
    used_ += next->bytes;
    next->granted = true;
    granted.push_back(next);
  }
  return granted;
}

// What was taken out of the queue lives until its coroutine is resumed, and only this resumes it.
void Budget::resume(const std::vector<Waiting*>& granted) {
  for (auto* one : granted) {
    one->shard->post([handle = one->handle] { handle.resume(); });
  }
}

void Budget::release(std::uint64_t bytes) {
  std::vector<Waiting*> granted;
  {
    const std::lock_guard lock(mutex_);
    WEIR_CHECK(bytes <= used_, "what is given back was taken");
    used_ -= bytes;
    if (!queue_.empty()) granted = grant();
  }
  resume(granted);
}

void Budget::Wait::cancel() {
  if (waiting_ == nullptr) return;
  std::vector<Waiting*> granted;
  {
    const std::lock_guard lock(budget_->mutex_);
    const auto found = std::find(budget_->queue_.begin(), budget_->queue_.end(), waiting_);
    if (found == budget_->queue_.end()) return;  // granted already: its resumption is on the way
    budget_->queue_.erase(found);
    granted = budget_->grant();  // a smaller one may have stood behind it
    granted.push_back(waiting_);
  }
  waiting_ = nullptr;
  resume(granted);
}

std::uint64_t Budget::used() const {
  const std::lock_guard lock(mutex_);
  return used_;
}
std::size_t Budget::waiting() const {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}

}  // namespace weir::runtime
