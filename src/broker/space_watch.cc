#include "broker/space_watch.h"

#include "base/log.h"

namespace weir::broker {

using Level = replica::Space::Level;

runtime::Task<void> SpaceWatch::run() {
  auto& space = replicas_.space();
  auto before = Level::plenty;
  while (!stopping_) {
    if (space.quota() > 0) co_await replicas_.measure_space();
    const auto now = space.level();
    if (now != before && now == Level::plenty) {
      WEIR_LOG(info, "there is room on the volume again: {} of {} bytes", space.used(), space.quota());
    } else if (now != before) {
      WEIR_LOG(error, "the volume is full: {} of {} bytes (weir.storage.quota.bytes); {}", space.used(), space.quota(),
               now == Level::full ? "nothing is replicated to this broker" : "producers are refused");
    }
    before = now;
    if (stopping_) co_return;
    runtime::Waiter look(control_);
    waiting_ = &look;
    co_await look.wait(space_look_interval);
    waiting_ = nullptr;
  }
}

void SpaceWatch::stop() {
  stopping_ = true;
  if (waiting_ != nullptr) waiting_->wake();
}

}  // namespace weir::broker
