#include "zkclient/hub.h"

#include <algorithm>
#include <utility>

namespace weir::zkclient {

void tell(runtime::Shard& shard, Watch watcher, WatchEvent event) {
  shard.post([watcher = std::move(watcher), event = std::move(event)] {
    if (const auto alive = watcher.lock()) alive->on_watch(event);
  });
}

void Hub::listen(Watch watcher) {
  auto* shard = runtime::Shard::current();
  WEIR_CHECK(shard != nullptr, "a listener is told on its shard");
  const std::lock_guard lock(mutex_);
  std::erase_if(listeners_, [](const Listener& l) { return l.watcher.expired(); });
  listeners_.push_back({std::move(watcher), shard});
}

State Hub::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

void Hub::wake_all() {
  for (auto& waiting : waiting_) {
    waiting->shard->post([waiting] {
      if (waiting->waiter != nullptr) waiting->waiter->wake();
    });
  }
  waiting_.clear();
}

void Hub::change(State state, SessionEvent event) {
  const std::lock_guard lock(mutex_);
  if (state_ == State::closed) return;
  state_ = state;
  for (const auto& listener : listeners_) {
    listener.shard->post([watcher = listener.watcher, event] {
      if (const auto alive = watcher.lock()) alive->on_session(event);
    });
  }
  if (state != State::connecting) wake_all();
}

void Hub::close() {
  const std::lock_guard lock(mutex_);
  state_ = State::closed;
  listeners_.clear();
  wake_all();
}

Task<bool> Hub::wait_connected(nanoseconds timeout) {
  auto& shard = *runtime::Shard::current();
  const auto until = shard.clock().mono() + std::min<nanoseconds>(timeout, std::chrono::hours(24 * 365));
  for (;;) {
    runtime::Waiter waiter(shard);
    auto waiting = std::make_shared<Waiting>();
    waiting->shard = &shard;
    waiting->waiter = &waiter;
    {
      const std::lock_guard lock(mutex_);
      if (state_ == State::connected) co_return true;
      if (state_ != State::connecting) co_return false;
      waiting_.push_back(waiting);
    }
    const auto left = until - shard.clock().mono();
    const bool woken = left > nanoseconds(0) && co_await waiter.wait(left);
    waiting->waiter = nullptr;
    if (!woken) {
      const std::lock_guard lock(mutex_);
      std::erase(waiting_, waiting);
      co_return state_ == State::connected;
    }
  }
}

}  // namespace weir::zkclient
