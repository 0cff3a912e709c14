// Who listens to a session, and who waits for it to be connected: common to the bodies of Zk.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "runtime/shard.h"
#include "zkclient/zk.h"

namespace weir::zkclient {

// Tells a watcher on its shard, if it is still there.
void tell(runtime::Shard& shard, Watch watcher, WatchEvent event);

// From any thread; the mutex guards against the threads of libzookeeper and other shards.
class Hub {
 public:
  void listen(Watch watcher);
  Task<bool> wait_connected(nanoseconds timeout);

  State state() const;
  // Sets the state and tells all listeners.
  void change(State state, SessionEvent event);
  void close();  // no event

 private:
  struct Listener {
    Watch watcher;
    runtime::Shard* shard;
  };
  // Of one wait_connected; `waiter` is touched on its shard only.
  struct Waiting {
    runtime::Shard* shard;
    runtime::Waiter* waiter;
  };
  void wake_all();

  mutable std::mutex mutex_;
  State state_ = State::connecting;
  std::vector<Listener> listeners_;
  std::vector<std::shared_ptr<Waiting>> waiting_;
};

// An operation that something else completes: start it, and be resumed on the own shard with its result.
template <class T>
struct Reply {
  runtime::Shard* home = nullptr;
  std::coroutine_handle<> waiting;
  std::optional<ZkResult<T>> result;
};

// Awaits `start(reply)`. `start` gives false when `reply->result` is there already; else somebody calls
// complete(reply, result) once, from any thread.
template <class T, class Start>
struct Asking {
  std::shared_ptr<Reply<T>> reply;
  Start start;

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> handle) {
    reply->home = runtime::Shard::current();
    WEIR_CHECK(reply->home != nullptr, "ZooKeeper is asked from a shard");
    reply->waiting = handle;
    // The answer comes as a job of this shard, so this frame stands still until we return.
    return start(reply);
  }
  ZkResult<T> await_resume() { return std::move(*reply->result); }
};

template <class T>
void complete(const std::shared_ptr<Reply<T>>& reply, ZkResult<T> result) {
  reply->result.emplace(std::move(result));
  reply->home->post([reply] { reply->waiting.resume(); });
}

}  // namespace weir::zkclient
