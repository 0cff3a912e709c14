#include "runtime/sim_machine.h"

#include <cerrno>

#include "runtime/sim_shard.h"

namespace weir::runtime {
namespace {

// What died stays as it was, for ever.
std::vector<SimProcess*>& graves() {
  static auto* all = new std::vector<SimProcess*>;
  return *all;
}

nanoseconds between(Random& random, nanoseconds least, nanoseconds most) {
  if (most <= least) return least;
  return least + nanoseconds(random.below(static_cast<std::uint64_t>((most - least).count())));
}

}  // namespace

class SimMachinePool final : public Pool {
 public:
  explicit SimMachinePool(SimProcess& process) : process_(process) {}
  void submit(Job job) override {
    ++queued_;
    auto& machine = process_.machine();
    const auto time = between(*machine.random_, machine.pool_latency_min_, machine.pool_latency_max_);
    process_.world().after(time, &process_, [this, job = std::move(job)]() mutable {
      --queued_;
      job();
    });
  }
  std::size_t queued() const override { return queued_; }

 private:
  SimProcess& process_;
  std::size_t queued_ = 0;
};

class SimMachineSockets final : public Sockets {
 public:
  explicit SimMachineSockets(SimProcess& process) : process_(process) {}
  Io<std::unique_ptr<Listener>> listen(Shard& shard, Address at, SocketOptions) override {
    return process_.world().sockets().listen_as(&process_, shard, std::move(at));
  }
  Task<Io<std::unique_ptr<Socket>>> connect(Shard& shard, Address to, SocketOptions options) override {
    return process_.world().sockets().connect_as(&process_, shard, std::move(to), options);
  }

 private:
  SimProcess& process_;
};

// ---- a process

SimProcess::SimProcess(SimMachine& machine, std::size_t shards)
    : machine_(machine), random_(seeded_random(machine.random_->next())) {
  WEIR_CHECK(shards > 0, "there is at least one shard");
  for (std::size_t i = 0; i < shards; ++i) {
    shards_.push_back(std::make_unique<SimShard>(world(), i, this, machine.clock_));
  }
  sockets_ = std::make_unique<SimMachineSockets>(*this);
  pool_ = std::make_unique<SimMachinePool>(*this);
}
SimProcess::~SimProcess() = default;

std::vector<Shard*> SimProcess::shards() {
  std::vector<Shard*> all;
  all.reserve(shards_.size());
  for (auto& shard : shards_) all.push_back(shard.get());
  return all;
}
SimWorld& SimProcess::world() { return machine_.world_; }
SimFiles& SimProcess::files() { return machine_.disk_; }
Clock& SimProcess::clock() { return machine_.clock_; }
const std::string& SimProcess::host() const { return machine_.host_; }
bool SimProcess::running() const { return !dying_ && !machine_.paused_; }

void SimProcess::freeze() {
  for (auto& shard : shards_) shard->hold();
}

// ---- a machine

SimMachine::SimMachine(SimWorld& world, std::string host, std::uint64_t seed)
    : world_(world),
      host_(std::move(host)),
      disk_(seed),
      clock_(world.clock()),
      random_(seeded_random(seed ^ 0x9e3779b97f4a7c15)),
      late_(std::make_unique<Late>()) {
  disk_.set_fault([this](SimFiles::Op op, const std::string& path) { return file_operation(op, path); });
}
SimMachine::~SimMachine() {
  if (process_ != nullptr) end(false);
}

SimProcess& SimMachine::start(std::size_t shards) {
  WEIR_CHECK(process_ == nullptr, "a machine runs one process at a time");
  if (!std::exchange(on_, true)) world_.sockets().machine_up(host_);
  process_ = new SimProcess(*this, shards);
  graves().push_back(process_);
  return *process_;
}

void SimMachine::kill() {
  WEIR_CHECK(Shard::current() == nullptr, "a process ends between two jobs");
  if (process_ != nullptr) end(false);
}
void SimMachine::lose_power() {
  WEIR_CHECK(Shard::current() == nullptr, "a machine loses power between two jobs");
  if (process_ != nullptr) end(true);
}
void SimMachine::end_at_file_operation(std::uint64_t operations, bool power, std::function<void()> ended) {
  operations_left_ = operations;
  ++planned_ends_;
  planned_power_ = power;
  planned_ended_ = std::move(ended);
}

void SimMachine::end(bool power) {
  auto* process = std::exchange(process_, nullptr);
  process->dying_ = true;
  process->freeze();
  operations_left_ = 0;
  if (power) on_ = false;
  world_.sockets().end_of(*process, power);
  disk_.crash(!power);
  if (std::exchange(paused_, false)) {
    for (auto& node : std::exchange(late_->timers, {})) process->frozen_.push_back(std::move(node.mapped().job));
  }
}

int SimMachine::file_operation(SimFiles::Op op, const std::string& path) {
  if (process_ != nullptr && process_->dying_) return EIO;
  const bool last = operations_left_ == 1;
  if (operations_left_ > 0) --operations_left_;
  if (last && process_ != nullptr) {
    process_->dying_ = true;
    world_.dying_.push_back([this, dead = process_, power = planned_power_] {
      if (process_ != dead) return;
      const auto ended = std::exchange(planned_ended_, nullptr);
      end(power);
      if (ended) ended();
    });
    return EIO;
  }
  return disk_fault_ ? disk_fault_(op, path) : 0;
}

void SimMachine::pause() {
  if (process_ == nullptr || std::exchange(paused_, true)) return;
  for (auto& shard : process_->shards_) shard->hold();
}
void SimMachine::resume() {
  if (!std::exchange(paused_, false) || process_ == nullptr) return;
  for (auto& shard : process_->shards_) shard->release();
  for (auto& node : std::exchange(late_->timers, {})) world_.timers_.insert(std::move(node));
}

}  // namespace weir::runtime
