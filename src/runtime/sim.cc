#include "runtime/sim.h"

#include <algorithm>
#include <unordered_map>

namespace weir::runtime {

struct SimWorld::Timer {
  SimShard* shard;  // null: outside any
  Job job;
};

class SimShard final : public Shard {
 public:
  SimShard(SimWorld& world, std::size_t index) : world_(world), index_(index) {}

  std::size_t index() const override { return index_; }
  Clock& clock() override { return world_.clock_; }
  void post(Job job) override {
    if (jobs_.empty()) world_.ready_.push_back(this);
    jobs_.push_back(std::move(job));
  }
  TimerId schedule(nanoseconds when, Job job) override {
    const auto id = ++world_.last_timer_;
    world_.timers_.emplace(std::pair(when, id), SimWorld::Timer{this, std::move(job)});
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

 protected:
  void drive_until(const std::atomic<bool>& done) override {
    const bool ended = world_.run_until([&] { return done.load(); });
    WEIR_CHECK(ended, "the simulated world came to rest (or a day passed) and the task still waits");
  }

 private:
  friend class SimWorld;
  SimWorld& world_;
  const std::size_t index_;
  std::deque<Job> jobs_;
  std::unordered_map<TimerId, nanoseconds> when_;
};

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
  for (std::size_t i = 0; i < shards; ++i) shards_.push_back(std::make_unique<SimShard>(*this, i));
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

void SimWorld::after(nanoseconds time, Job job) {
  timers_.emplace(std::pair(clock_.now_ + time, ++last_timer_), Timer{nullptr, std::move(job)});
}

bool SimWorld::run_one() {
  if (ready_.empty()) return false;
  const auto which = ready_.size() == 1 ? 0 : random_->below(ready_.size());
  auto* shard = ready_[which];
  auto job = shard->take();
  if (shard->jobs_.empty()) ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(which));
  shard->run(std::move(job));
  return true;
}

bool SimWorld::next_timer(nanoseconds deadline) {
  if (timers_.empty() || timers_.begin()->first.first > deadline) return false;
  auto node = timers_.extract(timers_.begin());
  clock_.now_ = std::max(clock_.now_, node.key().first);
  auto& timer = node.mapped();
  if (timer.shard != nullptr) {
    timer.shard->forget(node.key().second);
    timer.shard->run(std::move(timer.job));
  } else {
    SimShard::run_outside(std::move(timer.job));
  }
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
