// Shards: one thread, one event loop each, that own connections and partitions.
//
// What a shard owns is touched on that shard only; others ask by `call`. Nothing on the hot path is locked.
//
//   auto n = co_await call(shards[owner], [=, &table] { return table.size(); });
//
// Handlers are Tasks. A Task that is awaited on a shard is resumed on that shard, whatever it waited for.
#pragma once

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/units.h"
#include "runtime/clock.h"
#include "runtime/task.h"

namespace weir::runtime {

using Job = std::move_only_function<void()>;

// An event loop. Real ones run on a thread of their own; the simulated one runs where a test drives it.
class Shard {
 public:
  virtual ~Shard() = default;

  // The shard whose thread is calling; null outside any.
  static Shard* current();

  virtual std::size_t index() const = 0;
  virtual Clock& clock() = 0;
  // Runs `job` on this shard, later, in the order of the posts of one poster. From any thread.
  virtual void post(Job job) = 0;

  // Runs `job` on this shard at `when` (of clock().mono()), unless cancelled before. On this shard only.
  // The id is never 0 and never used again.
  using TimerId = std::uint64_t;
  virtual TimerId schedule(nanoseconds when, Job job) = 0;
  // True: it had not run and will not. On this shard only.
  virtual bool cancel(TimerId id) = 0;

  // Jobs waiting to run, for the metrics; a glance from any thread.
  virtual std::size_t queued() const = 0;

  bool here() const { return current() == this; }

 protected:
  static void set_current(Shard* shard);
  // How block_on waits for `done` to become true: real shards run by themselves, the simulated one is run here.
  virtual void drive_until(const std::atomic<bool>& done);
  friend void block_on(Shard& shard, std::move_only_function<Task<void>()> fn);
};

// Waits of one coroutine that something else can end early: an event with a timeout. On one shard only.
//   Waiter waiter(shard);  list.push_back(&waiter);  bool woken = co_await waiter.wait(500ms);
class Waiter {
 public:
  explicit Waiter(Shard& shard) : shard_(shard) {}
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  ~Waiter();

  // True when woken (also when wake() came before the wait: it is remembered once), false when time ran out.
  // One waiter at a time.
  Task<bool> wait(nanoseconds timeout);
  // Waits without a limit.
  Task<void> wait();
  // Ends the wait; it resumes from the shard's loop, not inside this call. On the shard only.
  void wake();

 private:
  struct Awaiter;
  void resume();

  Shard& shard_;
  std::coroutine_handle<> waiting_ = nullptr;
  Shard::TimerId timer_ = 0;
  bool woken_ = false;
  std::shared_ptr<bool> alive_;  // guards the resume that wake() posts
};

Task<void> sleep(Shard& shard, nanoseconds time);

// Tasks that run on their own, on one shard. `stop()` waits for all of them: end what they wait for first.
// A task that ends with an exception is a bug and is logged as an error. On that shard only.
class Scope {
 public:
  explicit Scope(Shard& shard) : shard_(shard) {}
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  ~Scope();  // checks that no task is left

  // Starts `task` at once, inside this call.
  void spawn(Task<void> task);
  std::size_t running() const { return running_; }
  Task<void> stop();

 private:
  struct Runner;
  static Runner run(Scope& scope, Task<void> task);

  Shard& shard_;
  std::size_t running_ = 0;
  std::vector<std::coroutine_handle<>> stopping_;
};

// The shards of the process: `count` threads.
class Shards {
 public:
  // Starts the threads, named "shard-0" and so on.
  explicit Shards(std::size_t count);
  ~Shards();  // stop() must have been called
  Shards(const Shards&) = delete;
  Shards& operator=(const Shards&) = delete;

  std::size_t size() const;
  Shard& operator[](std::size_t index);
  std::vector<Shard*> all();
  // Ends the loops once their queues are empty, and joins the threads. Not from a shard.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

namespace detail {

template <class T>
struct IsTask : std::false_type {};
template <class T>
struct IsTask<Task<T>> : std::true_type {
  using value_type = T;
};

template <class Fn>
struct CallResult {
  using Raw = std::invoke_result_t<Fn&>;
  using type = Raw;
};
template <class Fn>
  requires(IsTask<std::invoke_result_t<Fn&>>::value)
struct CallResult<Fn> {
  using type = typename IsTask<std::invoke_result_t<Fn&>>::value_type;
};

// Suspends the awaiting coroutine and continues it on `to`.
struct Hop {
  Shard& to;
  bool await_ready() const noexcept { return to.here(); }
  void await_suspend(std::coroutine_handle<> handle) const {
    to.post([handle] { handle.resume(); });
  }
  void await_resume() const noexcept {}
};

}  // namespace detail

// Runs `fn` (a plain function, or one that gives a Task) on `owner`, and comes back to the calling shard with
// its result. On the same shard it runs at once, inside the call. Calls from one shard to another start in the
// order they were made. Must be called on a shard.
template <class Fn>
auto call(Shard& owner, Fn fn) -> Task<typename detail::CallResult<Fn>::type> {
  using R = typename detail::CallResult<Fn>::type;
  constexpr bool task = detail::IsTask<std::invoke_result_t<Fn&>>::value;
  Shard* home = Shard::current();
  WEIR_CHECK(home != nullptr, "a call starts on a shard");
  co_await detail::Hop{owner};
  std::exception_ptr error;
  if constexpr (std::is_void_v<R>) {
    try {
      if constexpr (task) {
        co_await fn();
      } else {
        fn();
      }
    } catch (...) {
      error = std::current_exception();
    }
    co_await detail::Hop{*home};
    if (error) std::rethrow_exception(error);
  } else {
    std::optional<R> result;
    try {
      if constexpr (task) {
        result.emplace(co_await fn());
      } else {
        result.emplace(fn());
      }
    } catch (...) {
      error = std::current_exception();
    }
    co_await detail::Hop{*home};
    if (error) std::rethrow_exception(error);
    co_return std::move(*result);
  }
}

// Runs a Task on a shard from a thread that is none (main, tests) and waits for it. `fn` gives the Task, is called
// on the shard and lives until the Task has ended. An exception of the Task is thrown again here.
void block_on(Shard& shard, std::move_only_function<Task<void>()> fn);

}  // namespace weir::runtime
