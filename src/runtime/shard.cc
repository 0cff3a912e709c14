#include "runtime/shard.h"

#include <pthread.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <mutex>
#include <semaphore>
#include <string>
#include <thread>
#include <unordered_map>

#include "base/log.h"
#include "runtime/asio_shard.h"

namespace weir::runtime {

namespace asio = boost::asio;

namespace {

thread_local Shard* current_shard = nullptr;

// Longer waits than this are taken as "for ever": adding them to the clock could overflow.
constexpr nanoseconds time_max = std::chrono::hours(24 * 365 * 100);

}  // namespace

Shard* Shard::current() { return current_shard; }
void Shard::set_current(Shard* shard) { current_shard = shard; }
void Shard::drive_until(const std::atomic<bool>& done) { done.wait(false, std::memory_order_acquire); }

// ---- Waiter ----

struct Waiter::Awaiter {
  Waiter& waiter;
  nanoseconds timeout;

  bool await_ready() const noexcept { return waiter.woken_; }
  void await_suspend(std::coroutine_handle<> handle) const {
    WEIR_CHECK(waiter.shard_.here(), "a waiter is used on its shard");
    WEIR_CHECK(!waiter.waiting_, "one waits at a time");
    waiter.waiting_ = handle;
    if (timeout < time_max) {
      auto* w = &waiter;
      waiter.timer_ = waiter.shard_.schedule(waiter.shard_.clock().mono() + timeout, [w] {
        w->timer_ = 0;
        w->resume();
      });
    }
  }
  bool await_resume() const noexcept { return std::exchange(waiter.woken_, false); }
};

Waiter::~Waiter() {
  if (timer_ != 0) shard_.cancel(timer_);
  if (alive_) *alive_ = false;
}

Task<bool> Waiter::wait(nanoseconds timeout) {
  Awaiter awaiter{*this, timeout};
  co_return co_await awaiter;
}

Task<void> Waiter::wait() {
  Awaiter awaiter{*this, time_max};
  co_await awaiter;
}

void Waiter::wake() {
  if (std::exchange(woken_, true) || !waiting_) return;
  if (timer_ != 0) shard_.cancel(std::exchange(timer_, 0));
  if (!alive_) alive_ = std::make_shared<bool>(true);
  shard_.post([this, alive = alive_] {
    if (*alive) resume();
  });
}

void Waiter::resume() {
  if (waiting_) std::exchange(waiting_, nullptr).resume();
}

Task<void> sleep(Shard& shard, nanoseconds time) {
  Waiter waiter(shard);
  co_await waiter.wait(time);
}

// ---- Scope ----

// A coroutine that owns itself.
struct Scope::Runner {
  struct promise_type {
    Runner get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { WEIR_CHECK(false, "the runner of a scope catches everything"); }
  };
};

Scope::~Scope() { WEIR_CHECK(running_ == 0, "a scope is stopped before it goes"); }

Scope::Runner Scope::run(Scope& scope, Task<void> task) {
  try {
    Task<void> own = std::move(task);
    co_await std::move(own);
  } catch (const std::exception& e) {
    WEIR_LOG(error, "a task ended with an exception: {}", e.what());
  } catch (...) {
    WEIR_LOG(error, "a task ended with an exception of an unknown kind");
  }
  WEIR_CHECK(scope.shard_.here(), "a task ends on the shard of its scope");
  // Whoever waits in stop() goes on from the loop, when this frame is gone.
  if (--scope.running_ == 0) {
    for (auto handle : std::exchange(scope.stopping_, {})) {
      scope.shard_.post([handle] { handle.resume(); });
    }
  }
}

void Scope::spawn(Task<void> task) {
  ++running_;
  run(*this, std::move(task));
}

Task<void> Scope::stop() {
  struct Awaiter {
    Scope& scope;
    bool await_ready() const noexcept { return scope.running_ == 0; }
    void await_suspend(std::coroutine_handle<> handle) const { scope.stopping_.push_back(handle); }
    void await_resume() const noexcept {}
  };
  while (running_ > 0) {
    Awaiter awaiter{*this};
    co_await awaiter;
  }
}

// ---- the real shard ----

namespace {

class Loop final : public AsioShard {
 public:
  explicit Loop(std::size_t index) : index_(index), context_(1), guard_(context_.get_executor()), timer_(context_) {
    thread_ = std::thread([this] {
      ::pthread_setname_np(::pthread_self(), ("shard-" + std::to_string(index_)).c_str());
      set_current(this);
      context_.run();
      set_current(nullptr);
    });
  }
  ~Loop() override {
    WEIR_CHECK(!thread_.joinable(), "shards are stopped before they go");
    timers_.clear();
  }

  std::size_t index() const override { return index_; }
  Clock& clock() override { return system_clock(); }
  asio::io_context& context() override { return context_; }

  void post(Job job) override {
    queued_.fetch_add(1, std::memory_order_relaxed);
    if (here()) {
      local_.push_back(std::move(job));
      if (!std::exchange(local_posted_, true)) asio::post(context_, [this] { run_local(); });
      return;
    }
    bool first = false;
    {
      const std::lock_guard lock(mutex_);
      first = remote_.empty();
      remote_.push_back(std::move(job));
    }
    // The one who finds the queue empty wakes the loop; all others ride along.
    if (first) asio::post(context_, [this] { run_remote(); });
  }

  TimerId schedule(nanoseconds when, Job job) override {
    WEIR_CHECK(here(), "timers are set on their shard");
    const auto id = ++last_timer_;
    timers_.emplace(std::pair(when, id), std::move(job));
    when_.emplace(id, when);
    if (when < armed_) arm(when);
    return id;
  }
  bool cancel(TimerId id) override {
    WEIR_CHECK(here(), "timers are cancelled on their shard");
    const auto found = when_.find(id);
    if (found == when_.end()) return false;
    timers_.erase(std::pair(found->second, id));
    when_.erase(found);
    return true;  // the Asio timer may still fire, find nothing due, and look for the next one
  }

  std::size_t queued() const override { return queued_.load(std::memory_order_relaxed); }

  void end() {
    context_.stop();
    thread_.join();
  }

 private:
  static constexpr nanoseconds never = nanoseconds::max();
  // Rounds of local jobs before sockets and other shards get their turn.
  static constexpr int rounds_max = 16;

  void run(std::vector<Job>& jobs) {
    for (auto& job : jobs) {
      job();
      job = nullptr;
    }
    queued_.fetch_sub(jobs.size(), std::memory_order_relaxed);
    jobs.clear();
  }
  void run_local() {
    for (int i = 0; i < rounds_max && !local_.empty(); ++i) {
      running_local_.swap(local_);
      run(running_local_);
    }
    local_posted_ = false;
    if (!local_.empty()) {
      local_posted_ = true;
      asio::post(context_, [this] { run_local(); });
    }
  }
  void run_remote() {
    {
      const std::lock_guard lock(mutex_);
      running_remote_.swap(remote_);
    }
    run(running_remote_);
  }

  void arm(nanoseconds when) {
    armed_ = when;
    timer_.expires_at(std::chrono::steady_clock::time_point(when));
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (!error) run_timers();
    });
  }
  void run_timers() {
    armed_ = never;
    const auto now = clock().mono();
    // Timers set meanwhile wait for the next turn, even when they are due: a timer cannot keep the loop for itself.
    const auto last = last_timer_;
    for (auto next = timers_.begin(); next != timers_.end() && next->first.first <= now;) {
      if (next->first.second > last) {
        ++next;
        continue;
      }
      auto job = std::move(next->second);
      when_.erase(next->first.second);
      timers_.erase(next);
      job();
      next = timers_.begin();
    }
    if (!timers_.empty() && timers_.begin()->first.first < armed_) arm(timers_.begin()->first.first);
  }

  const std::size_t index_;
  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> guard_;

  std::mutex mutex_;
  std::vector<Job> remote_;
  std::vector<Job> running_remote_;
  std::vector<Job> local_;
  std::vector<Job> running_local_;
  bool local_posted_ = false;
  std::atomic<std::size_t> queued_{0};

  std::map<std::pair<nanoseconds, TimerId>, Job> timers_;
  std::unordered_map<TimerId, nanoseconds> when_;
  TimerId last_timer_ = 0;
  nanoseconds armed_ = never;
  asio::steady_timer timer_;

  std::thread thread_;
};

}  // namespace

struct Shards::Impl {
  std::vector<std::unique_ptr<Loop>> loops;
  bool stopped = false;
};

Shards::Shards(std::size_t count) : impl_(std::make_unique<Impl>()) {
  WEIR_CHECK(count > 0, "there is at least one shard");
  for (std::size_t i = 0; i < count; ++i) impl_->loops.push_back(std::make_unique<Loop>(i));
}

Shards::~Shards() { WEIR_CHECK(impl_->stopped, "shards are stopped before they go"); }

std::size_t Shards::size() const { return impl_->loops.size(); }
Shard& Shards::operator[](std::size_t index) { return *impl_->loops.at(index); }

std::vector<Shard*> Shards::all() {
  std::vector<Shard*> all;
  for (auto& loop : impl_->loops) all.push_back(loop.get());
  return all;
}

void Shards::stop() {
  WEIR_CHECK(Shard::current() == nullptr, "shards are stopped from outside");
  if (std::exchange(impl_->stopped, true)) return;
  // One job through each queue, again and again, until all were found empty in one pass.
  for (bool busy = true; busy;) {
    busy = false;
    for (auto& loop : impl_->loops) {
      std::binary_semaphore passed(0);
      std::size_t behind = 0;
      loop->post([&, shard = loop.get()] {
        behind = shard->queued();
        passed.release();
      });
      passed.acquire();
      if (behind > 1) busy = true;
    }
  }
  for (auto& loop : impl_->loops) loop->end();
}

// ---- block_on ----

namespace {

struct Detached {
  struct promise_type {
    Detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { WEIR_CHECK(false, "block_on catches everything"); }
  };
};

struct Blocked {
  std::move_only_function<Task<void>()> fn;
  std::exception_ptr error;
  std::atomic<bool> done{false};
};

Detached run_blocked(std::shared_ptr<Blocked> state) {
  try {
    Task<void> task = state->fn();
    co_await std::move(task);
  } catch (...) {
    state->error = std::current_exception();
  }
  state->fn = nullptr;
  state->done.store(true, std::memory_order_release);
  state->done.notify_all();
}

}  // namespace

void block_on(Shard& shard, std::move_only_function<Task<void>()> fn) {
  WEIR_CHECK(Shard::current() == nullptr, "a shard must not block");
  auto state = std::make_shared<Blocked>();
  state->fn = std::move(fn);
  shard.post([state] { run_blocked(state); });
  shard.drive_until(state->done);
  if (state->error) std::rethrow_exception(state->error);
}

}  // namespace weir::runtime
