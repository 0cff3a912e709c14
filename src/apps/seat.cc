#include "apps/seat.h"

#include <utility>

#include "base/log.h"

namespace weir::apps {

using runtime::Task;

namespace {

// A watch may be lost with its session: now and then the znode is looked at without one.
constexpr nanoseconds look_again = std::chrono::seconds(2);

}  // namespace

struct Seat::Events final : zkclient::Watcher {
  explicit Events(runtime::Shard& shard) : waiter(shard) {}
  void on_watch(const zkclient::WatchEvent&) override { waiter.wake(); }
  void on_session(zkclient::SessionEvent) override { waiter.wake(); }
  runtime::Waiter waiter;
};

Seat::Seat(runtime::Shard& shard, zkclient::Zk& zk, std::string path, std::string data, SeatHooks hooks)
    : shard_(shard),
      zk_(zk),
      path_(std::move(path)),
      data_(std::move(data)),
      hooks_(std::move(hooks)),
      scope_(shard),
      events_(std::make_shared<Events>(shard)) {}

Seat::~Seat() = default;

bool Seat::mine() const { return mine_; }

Task<bool> Seat::confirm() {
  auto there = co_await zk_.get(path_);
  co_return there && there->stat.ephemeral_owner == zk_.session_id();
}

void Seat::start() {
  zk_.listen(events_);
  scope_.spawn(run());
}

Task<void> Seat::stop() {
  stopping_ = true;
  events_->waiter.wake();
  co_await scope_.stop();
  if (!mine_) co_return;
  co_await set_mine(false);
  co_await give_up();
}

Task<void> Seat::give_up() {
  if (auto removed = co_await zk_.remove(path_); !removed) {
    WEIR_LOG(info, "the seat stays until the session ends: {}", removed.error().text());
  }
}

Task<void> Seat::set_mine(bool mine) {
  if (mine_ == mine) co_return;
  if (!mine) {
    mine_ = false;
    WEIR_LOG(info, "this control plane is no longer the active one");
    co_await hooks_.lost();
    co_return;
  }
  mine_ = co_await hooks_.gained();
  if (mine_) {
    WEIR_LOG(info, "this control plane is the active one");
  } else {
    not_before_ = shard_.clock().mono() + look_again;  // another's turn
    co_await give_up();
  }
}

Task<void> Seat::run() {
  while (!stopping_) {
    co_await try_once();
    if (!stopping_) co_await events_->waiter.wait(look_again);
  }
}

Task<void> Seat::try_once() {
  if (zk_.state() != zkclient::State::connected) {  // what is mine stays so while the session may live
    const auto now = shard_.clock().mono();
    if (cut_off_ == nanoseconds(0)) cut_off_ = now;
    if (now - cut_off_ > zk_.session_timeout()) co_await set_mine(false);
    co_return;
  }
  cut_off_ = nanoseconds(0);
  for (int tries = 0; tries < 3 && !stopping_ && shard_.clock().mono() >= not_before_; ++tries) {
    auto there = co_await zk_.get(path_, events_);
    if (there) {
      const bool ours = there->stat.ephemeral_owner == zk_.session_id();
      co_await set_mine(ours);
      if (ours || !co_await hooks_.occupied(there->data)) co_return;  // given up again: another's turn
      continue;
    }
    if (there.error().code != zkclient::ZkCode::no_node) {
      if (there.error().code == zkclient::ZkCode::session_expired) co_await set_mine(false);
      co_return;
    }
    co_await set_mine(false);
    auto made = co_await zkclient::create_with_parents(zk_, path_, data_, zkclient::CreateMode::ephemeral);
    if (!made && made.error().code != zkclient::ZkCode::node_exists) {
      WEIR_LOG(warn, "the seat of the active control plane cannot be taken: {}", made.error().text());
      co_return;
    }
  }
}

}  // namespace weir::apps
