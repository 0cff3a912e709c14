#include "broker/image_board.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace weir::broker {

using runtime::Task;

ImageBoard::ImageBoard(std::vector<runtime::Shard*> shards)
    : shards_(std::move(shards)), places_(shards_.size()), latest_(cluster::empty_image()), shared_(latest_) {
  for (auto& place : places_) place.image = latest_;
}

ImageBoard::Place& ImageBoard::here() {
  auto* shard = runtime::Shard::current();
  WEIR_CHECK(shard != nullptr, "the image is read on a shard");
  return places_.at(shard->index());
}

const cluster::ImagePtr& ImageBoard::current() const { return const_cast<ImageBoard*>(this)->here().image; }

Task<void> ImageBoard::change(std::function<void(cluster::ImageBuilder&)> edit) {
  WEIR_CHECK(shards_.front()->here(), "the image is changed on the shard that owns it");
  cluster::ImageBuilder builder(latest_);
  edit(builder);
  latest_ = builder.build();
  std::atomic_store_explicit(&shared_, latest_, std::memory_order_release);
  const auto image = latest_;  // a later change may come while this one is on its way: posts keep their order
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    auto place = [this, i, image] {
      places_[i].image = image;
      for (auto* waiter : places_[i].waiting) waiter->wake();
    };
    co_await runtime::call(*shards_[i], std::move(place));
  }
}

Task<void> ImageBoard::stop() {
  stopped_ = true;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    auto wake = [this, i] {
      for (auto* waiter : places_[i].waiting) waiter->wake();
    };
    co_await runtime::call(*shards_[i], std::move(wake));
  }
}

Task<bool> ImageBoard::wait_until(std::function<bool(const cluster::Image&)> holds, nanoseconds timeout) {
  auto& place = here();
  auto& shard = *runtime::Shard::current();
  const auto deadline = shard.clock().mono() + timeout;
  while (!holds(*place.image)) {
    const auto left = deadline - shard.clock().mono();
    if (left <= nanoseconds(0) || stopped_) co_return false;
    runtime::Waiter waiter(shard);
    place.waiting.push_back(&waiter);
    co_await waiter.wait(left);
    std::erase(place.waiting, &waiter);
  }
  co_return true;
}

}  // namespace weir::broker
