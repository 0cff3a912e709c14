// The simulated shard and what a timer of the world is. Not for other rooms.
#pragma once

#include <deque>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/sim.h"
#include "runtime/sim_machine.h"

namespace weir::runtime {

struct SimWorld::Timer {
  SimShard* shard;      // null: outside any
  SimProcess* process;  // null: the world's own
  Job job;
};

struct SimMachine::Late {
  std::vector<std::map<std::pair<nanoseconds, std::uint64_t>, SimWorld::Timer>::node_type> timers;
};

class SimShard final : public Shard {
 public:
  SimShard(SimWorld& world, std::size_t index, SimProcess* process, Clock& clock)
      : world_(world), index_(index), number_(++world.shards_made_), process_(process), clock_(clock) {}

  std::size_t index() const override { return index_; }
  Clock& clock() override { return clock_; }
  void post(Job job) override {
    jobs_.push_back(std::move(job));
    offer();
  }
  TimerId schedule(nanoseconds when, Job job) override {
    const auto id = ++world_.last_timer_;
    world_.timers_.emplace(std::pair(when, id), SimWorld::Timer{this, process_, std::move(job)});
    when_.emplace(id, when);
    return id;
  }
  bool cancel(TimerId id) override {
    const auto found = when_.find(id);
    if (found == when_.end()) return false;
    world_.timers_.erase(std::pair(found->second, id));
    when_.erase(found);
    return true;
  }
  std::size_t queued() const override { return jobs_.size(); }

  void run(Job job) {
    auto* before = current();
    set_current(this);
    job();
    job = nullptr;
    set_current(before);
  }
  static void run_outside(Job job) {
    auto* before = current();
    set_current(nullptr);
    job();
    job = nullptr;
    set_current(before);
  }
  Job take() {
    auto job = std::move(jobs_.front());
    jobs_.pop_front();
    return job;
  }
  void forget(TimerId id) { when_.erase(id); }
  std::size_t number() const { return number_; }

  // While held, nothing of it runs; what is posted waits.
  void hold() {
    held_ = true;
    if (std::exchange(offered_, false)) std::erase(world_.ready_, this);
  }
  void release() {
    held_ = false;
    offer();
  }

 protected:
  void drive_until(const std::atomic<bool>& done) override {
    const bool ended = world_.run_until([&] { return done.load(); });
    WEIR_CHECK(ended, "the simulated world came to rest (or a day passed) and the task still waits");
  }

 private:
  friend class SimWorld;
  void offer() {
    if (held_ || offered_ || jobs_.empty()) return;
    offered_ = true;
    world_.ready_.push_back(this);
  }

  SimWorld& world_;
  const std::size_t index_;
  const std::size_t number_;
  SimProcess* const process_;
  Clock& clock_;
  bool held_ = false;
  bool offered_ = false;  // stands in the world's ready_
  std::deque<Job> jobs_;
  std::unordered_map<TimerId, nanoseconds> when_;
};

}  // namespace weir::runtime
