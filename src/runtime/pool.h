// The blocking pool: threads for what may wait for a disk (fsync, cold reads, directory work), so that no event
// loop ever does.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "runtime/shard.h"

namespace weir::runtime {

class Pool {
 public:
  virtual ~Pool() = default;
  // Runs `job` on a thread of the pool, first come first served. From any thread.
  virtual void submit(Job job) = 0;
  // Jobs that wait for a thread; a glance from any thread.
  virtual std::size_t queued() const = 0;

  // Runs `fn` in the pool and resumes on the calling shard with its result. `fn` must not throw.
  template <class Fn>
  auto run(Fn fn) -> Task<std::invoke_result_t<Fn&>> {
    using R = std::invoke_result_t<Fn&>;
    Shard* home = Shard::current();
    WEIR_CHECK(home != nullptr, "the pool is used from a shard");
    co_await Leave{*this};
    if constexpr (std::is_void_v<R>) {
      fn();
      co_await detail::Hop{*home};
    } else {
      std::optional<R> result(fn());
      co_await detail::Hop{*home};
      co_return std::move(*result);
    }
  }

 private:
  struct Leave {
    Pool& pool;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) const {
      pool.submit([handle] { handle.resume(); });
    }
    void await_resume() const noexcept {}
  };
};

// `threads` real threads; the destructor runs what was submitted and joins.
std::unique_ptr<Pool> make_pool(std::size_t threads);

}  // namespace weir::runtime
