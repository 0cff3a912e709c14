#include "broker/registered.h"

#include <utility>

#include "base/log.h"

namespace weir::broker {

struct Registered::Bell : zkclient::Watcher {
  explicit Bell(runtime::Shard& shard) : waiter(shard) {}
  void on_watch(const zkclient::WatchEvent&) override { waiter.wake(); }
  runtime::Waiter waiter;
};

Registered::Registered(runtime::Shard& control, zkclient::Zk& zk, std::string path,
                       std::function<runtime::Task<void>()> again)
    : zk_(zk), path_(std::move(path)), again_(std::move(again)), bell_(std::make_shared<Bell>(control)) {}

runtime::Task<void> Registered::run() {
  for (;;) {
    co_await bell_->waiter.wait();
    if (!stopping_ && std::exchange(pause_, false)) co_await bell_->waiter.wait(std::chrono::seconds(1));
    if (stopping_) co_return;
    const auto session = zk_.session_id();
    auto there = co_await zk_.exists(path_, bell_);
    // A session that ended takes the node with it, and the next one makes it: seen() follows.
    if (stopping_ || !there || *there || zk_.session_id() != session) continue;
    WEIR_LOG(warn, "{} is not there while this broker lives: registering again", path_);
    co_await again_();
  }
}

void Registered::seen() { bell_->waiter.wake(); }

void Registered::failed() {
  pause_ = true;
  bell_->waiter.wake();
}

void Registered::stop() {
  stopping_ = true;
  bell_->waiter.wake();
}

}  // namespace weir::broker
