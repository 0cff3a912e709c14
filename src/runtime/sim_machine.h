// Machines of a simulated world that fail alone: each has a disk, a wall clock, an address and one process at a time.
//
//   SimWorld world(seed);
//   SimMachine machine(world, "127.0.0.1", seed);
//   auto& process = machine.start(2);              // two shards; what runs on it uses nothing else
//   machine.kill();                                // between two jobs, wherever it stands
//   auto& next = machine.start(2);                 // on what is left of the disk
//
// A process that died is frozen: nothing of it runs any more, and nothing of it is destroyed, so that whatever it was
// in the middle of stays as it was. What must live as long (the broker itself) is given to keep(). That memory is
// never given back: run many seeds in a process each.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/sim.h"

namespace weir::runtime {

class SimProcess {
 public:
  std::vector<Shard*> shards();
  SimMachine& machine() { return machine_; }
  SimWorld& world();
  SimFiles& files();
  Sockets& sockets() { return *sockets_; }
  Pool& pool() { return *pool_; }
  Clock& clock();
  Random& random() { return *random_; }
  const std::string& host() const;

  // False from the moment it died, also for the rest of the job in which it did.
  bool alive() const { return !dying_; }
  // Whether it runs now: alive, and not paused.
  bool running() const;
  void keep(std::shared_ptr<void> what) { kept_.push_back(std::move(what)); }

 private:
  friend class SimMachine;
  friend class SimWorld;
  friend class SimMachinePool;
  friend class SimMachineSockets;
  SimProcess(SimMachine& machine, std::size_t shards);
  ~SimProcess();
  void freeze();

  SimMachine& machine_;
  std::vector<std::unique_ptr<SimShard>> shards_;
  std::unique_ptr<Random> random_;
  std::unique_ptr<Sockets> sockets_;
  std::unique_ptr<Pool> pool_;
  std::vector<std::shared_ptr<void>> kept_;
  std::vector<Job> frozen_;
  bool dying_ = false;
};

class SimMachine {
 public:
  // Lives as long as the world. `host` is its address: connections of its processes come from there.
  SimMachine(SimWorld& world, std::string host, std::uint64_t seed);
  ~SimMachine();
  SimMachine(const SimMachine&) = delete;
  SimMachine& operator=(const SimMachine&) = delete;

  const std::string& host() const { return host_; }
  SimFiles& disk() { return disk_; }
  SimClock& clock() { return clock_; }

  // One at a time. The machine is switched on when it was off.
  SimProcess& start(std::size_t shards);
  SimProcess* process() { return process_; }

  // The process ends (kill -9): its connections are reset, what it has written is there. Outside any shard.
  void kill();
  // The machine loses power: its disk keeps what SimFiles::crash leaves, its connections fall silent. start() is its
  // return. Outside any shard.
  void lose_power();
  // The same, in the middle of its `operations`-th operation on files from now, which fails with all after it; then
  // `ended` is called. An end that comes earlier forgets this.
  void end_at_file_operation(std::uint64_t operations, bool power, std::function<void()> ended);
  // The number of the end that is planned so; 0: none.
  std::uint64_t planned_end() const { return operations_left_ > 0 ? planned_ends_ : 0; }
  void forget_planned_end() { operations_left_ = 0; }
  bool on() const { return on_; }

  // While paused nothing of its process runs; timers that fall due meanwhile run when it goes on.
  void pause();
  void resume();
  bool paused() const { return paused_; }

  // How long a job of the pool takes: drawn for each.
  void set_pool_latency(nanoseconds least, nanoseconds most) {
    pool_latency_min_ = least;
    pool_latency_max_ = most;
  }
  // As SimFiles::set_fault (which is this class's own here).
  void set_disk_fault(std::function<int(SimFiles::Op, const std::string&)> fault) { disk_fault_ = std::move(fault); }

 private:
  friend class SimProcess;
  friend class SimWorld;
  friend class SimMachinePool;
  void end(bool power);
  int file_operation(SimFiles::Op op, const std::string& path);

  SimWorld& world_;
  const std::string host_;
  SimFiles disk_;
  SimClock clock_;
  std::unique_ptr<Random> random_;
  SimProcess* process_ = nullptr;
  bool on_ = true;
  bool paused_ = false;
  struct Late;  // timers that fell due while it was paused
  std::unique_ptr<Late> late_;
  nanoseconds pool_latency_min_{0};
  nanoseconds pool_latency_max_{0};
  std::function<int(SimFiles::Op, const std::string&)> disk_fault_;
  std::uint64_t operations_left_ = 0;  // 0: nothing is planned
  std::uint64_t planned_ends_ = 0;
  bool planned_power_ = false;
  std::function<void()> planned_ended_;
};

}  // namespace weir::runtime
