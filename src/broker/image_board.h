// The cluster image this broker serves from. One copy of the pointer a shard, so that reading it is free; a new
// image is posted to all shards, and publish() ends when each has it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "cluster/image.h"
#include "runtime/shard.h"

namespace weir::broker {

class ImageBoard {
 public:
  explicit ImageBoard(std::vector<runtime::Shard*> shards);

  // On a shard.
  const cluster::ImagePtr& current() const;
  // The next image from the last one published; one after the other. On the shard that owns the board (the first).
  runtime::Task<void> change(std::function<void(cluster::ImageBuilder&)> edit);
  // What the last publish made it; on the owning shard.
  const cluster::ImagePtr& latest() const { return latest_; }
  // The same from any thread.
  cluster::ImagePtr latest_anywhere() const { return std::atomic_load_explicit(&shared_, std::memory_order_acquire); }
  // Until `holds` is true of the image or time runs out: whether it was. On any shard.
  // False at once after stop().
  runtime::Task<bool> wait_until(std::function<bool(const cluster::Image&)> holds, nanoseconds timeout);
  bool stopped() const { return stopped_; }
  // Those who wait are told that it will not come. On the owning shard.
  runtime::Task<void> stop();

 private:
  struct Place {
    cluster::ImagePtr image;
    std::vector<runtime::Waiter*> waiting;
  };
  Place& here();

  std::vector<runtime::Shard*> shards_;
  std::vector<Place> places_;
  std::atomic<bool> stopped_{false};
  cluster::ImagePtr latest_;
  cluster::ImagePtr shared_;  // latest_, for threads that are no shard
};

}  // namespace weir::broker
