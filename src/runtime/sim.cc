#include "runtime/sim.h"

#include <algorithm>

#include "runtime/sim_machine.h"
#include "runtime/sim_shard.h"

namespace weir::runtime {

class SimPool final : public Pool {
 public:
  explicit SimPool(SimWorld& world) : world_(world) {}
  void submit(Job job) override {
    ++queued_;
    world_.after(world_.pool_latency_, [this, job = std::move(job)]() mutable {
      --queued_;
      job();
    });
  }
  std::size_t queued() const override { return queued_; }

 private:
  SimWorld& world_;
  std::size_t queued_ = 0;
};

SimWorld::SimWorld(std::uint64_t seed, std::size_t shards)
    : random_(seeded_random(seed)), files_(seed), pool_(std::make_unique<SimPool>(*this)) {
  WEIR_CHECK(shards > 0, "there is at least one shard");
  for (std::size_t i = 0; i < shards; ++i) shards_.push_back(std::make_unique<SimShard>(*this, i, nullptr, clock_));
  sockets_ = std::make_unique<SimSockets>(*this);
}
SimWorld::~SimWorld() = default;

Pool& SimWorld::pool() { return *pool_; }
std::size_t SimWorld::size() const { return shards_.size(); }
Shard& SimWorld::shard(std::size_t index) { return *shards_.at(index); }
std::vector<Shard*> SimWorld::all() {
  std::vector<Shard*> all;
  all.reserve(shards_.size());
  for (auto& shard : shards_) all.push_back(shard.get());
  return all;
}

void SimWorld::after(nanoseconds time, Job job) { after(time, nullptr, std::move(job)); }
void SimWorld::after(nanoseconds time, SimProcess* process, Job job) {
  timers_.emplace(std::pair(clock_.now_ + time, ++last_timer_), Timer{nullptr, process, std::move(job)});
}

void SimWorld::note(std::uint64_t what) {
  fingerprint_ = (fingerprint_ ^ what) * 0x100000001b3;
  fingerprint_ ^= fingerprint_ >> 29U;
}

void SimWorld::bury() {
  for (auto& end : std::exchange(dying_, {})) end();
}

bool SimWorld::run_one() {
  if (ready_.empty()) return false;
  const auto which = ready_.size() == 1 ? 0 : random_->below(ready_.size());
  auto* shard = ready_[which];
  auto job = shard->take();
  if (shard->jobs_.empty()) {
    shard->offered_ = false;
    ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(which));
  }
  ++steps_;
  note(shard->number());
  running_ = shard->process_;
  shard->run(std::move(job));
  running_ = nullptr;
  if (!dying_.empty()) bury();
  return true;
}

bool SimWorld::next_timer(nanoseconds deadline) {
  if (timers_.empty() || timers_.begin()->first.first > deadline) return false;
  auto node = timers_.extract(timers_.begin());
  clock_.now_ = std::max(clock_.now_, node.key().first);
  auto& timer = node.mapped();
  if (auto* process = timer.process; process != nullptr && !process->running()) {
    if (process->alive()) {
      process->machine().late_->timers.push_back(std::move(node));
    } else {
      process->frozen_.push_back(std::move(timer.job));
    }
    return true;
  }
  ++steps_;
  note(static_cast<std::uint64_t>(node.key().first.count()));
  running_ = timer.process;
  if (timer.shard != nullptr) {
    timer.shard->forget(node.key().second);
    timer.shard->run(std::move(timer.job));
  } else {
    SimShard::run_outside(std::move(timer.job));
  }
  running_ = nullptr;
  if (!dying_.empty()) bury();
  return true;
}

void SimWorld::settle() {
  while (run_one() || next_timer(clock_.now_)) {
  }
}

void SimWorld::run_for(nanoseconds time) {
  const auto end = clock_.now_ + time;
  while (run_one() || next_timer(end)) {
  }
  clock_.now_ = end;
}

bool SimWorld::run_until(const std::function<bool()>& done, nanoseconds limit) {
  const auto end = clock_.now_ + limit;
  while (!done()) {
    if (!run_one() && !next_timer(end)) return false;
  }
  return true;
}

void SimWorld::run_until_idle(nanoseconds limit) {
  const auto end = clock_.now_ + limit;
  while (run_one() || next_timer(end)) {
  }
  WEIR_CHECK(timers_.empty(), "the world comes to rest within the limit");
}

}  // namespace weir::runtime
