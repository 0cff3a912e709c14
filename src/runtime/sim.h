// A simulated world for tests: time, chance, shards, a disk and a network in one thread, all from one seed.
//
//   SimWorld world(seed, 3);                                   // three shards
//   block_on(world.shard(0), [&]() -> Task<void> { ... });     // as with real shards; runs the world meanwhile
//   world.run_for(10s);                                        // time moves only here, from timer to timer
//
// Which shard runs next is chance; jobs of one poster keep their order. The same seed gives the same run. Nothing
// here is thread-safe but SimFiles. A world of many machines, each of which fails alone: sim_machine.h.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/clock.h"
#include "runtime/files.h"
#include "runtime/pool.h"
#include "runtime/random.h"
#include "runtime/shard.h"
#include "runtime/sockets.h"

namespace weir::runtime {

class SimMachine;
class SimProcess;
class SimShard;
class SimWorld;

class SimClock final : public Clock {
 public:
  SimClock() = default;
  // The time of `world`, with a wall clock of its own.
  explicit SimClock(const SimClock& world) : world_(&world) {}

  nanoseconds mono() const override { return world_ != nullptr ? world_->now_ : now_; }
  milliseconds wall() const override {
    return wall_start_ + std::chrono::duration_cast<milliseconds>(mono()) + wall_jump_;
  }
  // Wall time jumps, as when somebody sets the clock.
  void jump_wall(milliseconds by) { wall_jump_ += by; }
  // For tests that use the clock alone; with a world, run_for() moves it.
  void advance(nanoseconds by) { now_ += by; }

 private:
  friend class SimWorld;
  const SimClock* world_ = nullptr;
  nanoseconds now_{seconds(1000)};
  milliseconds wall_start_{1'700'000'000'000};
  milliseconds wall_jump_{0};
};

// A disk in memory. Without crash() it behaves as a file system does. What crash() leaves is what a file system may
// leave: synced data, and of each write since the last sync all, a part or nothing; directory changes since the
// last sync_directory (of that directory) up to some point. Open files of before a crash give EIO.
// Thread-safe, so that a real pool may use it.
class SimFiles final : public Files {
 public:
  explicit SimFiles(std::uint64_t seed = 1);
  ~SimFiles() override;

  Io<std::unique_ptr<File>> open(const std::string& path, Open how) override;
  Io<bool> exists(const std::string& path) override;
  Io<> rename(const std::string& from, const std::string& to) override;
  Io<> remove(const std::string& path) override;
  Io<> remove_all(const std::string& path) override;
  Io<> make_directories(const std::string& path) override;
  Io<std::vector<std::string>> list(const std::string& directory) override;
  Io<bool> is_directory(const std::string& path) override;
  Io<> sync_directory(const std::string& path) override;
  Io<std::unique_ptr<File>> lock(const std::string& path) override;
  Io<std::uint64_t> free_bytes(const std::string& path) override;
  Io<std::uint64_t> total_bytes(const std::string& path) override;

  // The machine loses power. With `lose_nothing` only the process died: all that was written is there.
  void crash(bool lose_nothing = false);

  // Writes over this many bytes in all files together fail with ENOSPC.
  void set_capacity(std::uint64_t bytes);
  // Asked before each operation: an errno fails it, 0 lets it through. Null: none fails.
  enum class Op { open, read, write, sync, truncate, rename, remove, list, make_directory, sync_directory };
  void set_fault(std::function<int(Op op, const std::string& path)> fault);
  // Everything now in files is out of the page cache until it is read or warmed.
  void drop_cache();
  // The sync calls so far (files and directories): what group commit saves.
  std::uint64_t syncs() const;

 private:
  friend class SimFile;
  struct Inode;
  struct Node;
  struct Change;
  using Tree = std::map<std::string, Node>;

  int fault(Op op, const std::string& path) const;
  void apply(Tree& tree, const Change& change) const;
  void change(Change change);
  const Node* find(const std::string& path) const;

  mutable std::mutex mutex_;
  std::unique_ptr<Random> random_;
  std::unique_ptr<Tree> tree_;
  std::unique_ptr<Tree> durable_;
  std::vector<Change> changes_;  // since durable_
  std::uint64_t generation_ = 0;
  std::uint64_t capacity_ = ~std::uint64_t{0};
  std::uint64_t used_ = 0;
  std::uint64_t syncs_ = 0;
  std::set<const void*> locked_;
  std::function<int(Op, const std::string&)> fault_;
};

// Streams in memory. A listener's address is found by host and port, or by port when it listens on all interfaces.
class SimSockets final : public Sockets {
 public:
  explicit SimSockets(SimWorld& world);
  ~SimSockets() override;

  Io<std::unique_ptr<Listener>> listen(Shard& shard, Address at, SocketOptions options) override;
  Task<Io<std::unique_ptr<Socket>>> connect(Shard& shard, Address to, SocketOptions options) override;

  // From which host the next connections come (127.0.0.1).
  void set_source(std::string host);
  // Bytes on their way take this long.
  void set_latency(nanoseconds latency);

  // The way from one host to another, besides what is said of all. Streams keep their order, whatever the latency.
  struct Link {
    bool cut = false;            // what is on its way arrives when it is mended; a connection needs both ways
    nanoseconds latency_min{0};  // drawn anew for what is sent next
    nanoseconds latency_max{0};
  };
  void set_link(const std::string& from, const std::string& to, Link link);
  Link link(const std::string& from, const std::string& to) const;
  // Every connection between the two breaks, and what was on its way is lost.
  void reset(const std::string& one, const std::string& other);
  // Bytes that the network and the receiver hold before a writer waits (64 KiB each way).
  void set_window(std::size_t bytes);
  // At most this many bytes are read at once (1: every boundary is met); 0: as many as there are.
  void set_read_max(std::size_t bytes);
  // While cut, nothing arrives and connections are not made (ETIMEDOUT after connect_max); nothing is lost.
  void set_cut(bool cut);
  // Every connection breaks: ECONNRESET on both sides.
  void reset_all();
  // The next accept fails with this errno.
  void fail_accept(int number);

  struct State;  // shared with the sockets

 private:
  friend class SimMachine;
  friend class SimMachinePool;
  friend class SimMachineSockets;
  friend class SimProcess;
  // As `process` sees the network; null: as the world's own shards do.
  Task<Io<std::unique_ptr<Socket>>> connect_as(SimProcess* process, Shard& shard, Address to, SocketOptions options);
  Io<std::unique_ptr<Listener>> listen_as(SimProcess* process, Shard& shard, Address at);
  // Its listeners are gone; its connections are reset, or silent when the whole machine is gone.
  void end_of(SimProcess& process, bool silently);
  // Whoever still sends to an earlier life of this machine hears that it is over.
  void machine_up(const std::string& host);

  std::shared_ptr<State> state_;
};

class SimWorld {
 public:
  explicit SimWorld(std::uint64_t seed = 1, std::size_t shards = 1);
  ~SimWorld();
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  SimClock& clock() { return clock_; }
  Random& random() { return *random_; }
  SimFiles& files() { return files_; }
  SimSockets& sockets() { return *sockets_; }
  // Its jobs take pool_latency (0 at first) of the world's time.
  Pool& pool();
  void set_pool_latency(nanoseconds latency) { pool_latency_ = latency; }

  std::size_t size() const;
  Shard& shard(std::size_t index = 0);
  std::vector<Shard*> all();

  // Runs what can run now, without moving time.
  void settle();
  // Moves time on, running what falls due.
  void run_for(nanoseconds time);
  // Runs until `done` is true; false when `limit` of the world's time has passed before, or nothing is left to run.
  bool run_until(const std::function<bool()>& done, nanoseconds limit = std::chrono::hours(24));
  // Runs until neither jobs nor timers are left. Checks that this is so within `limit` of the world's time.
  void run_until_idle(nanoseconds limit = std::chrono::hours(24));

  // Runs `job` after `time`, outside any shard. For the world's own parts and for faults that tests plan.
  void after(nanoseconds time, Job job);

  // Of everything that ran so far: what ran, and when. Two runs of one seed have the same.
  std::uint64_t fingerprint() const { return fingerprint_; }
  void note(std::uint64_t what);  // goes into it
  std::uint64_t steps() const { return steps_; }
  // Of whom something runs at this moment; null: the world's own, or nothing.
  const SimProcess* running() const { return running_; }

 private:
  friend class SimMachine;
  friend class SimMachinePool;
  friend class SimMachineSockets;
  friend class SimProcess;
  friend class SimShard;
  friend class SimPool;
  bool run_one();                         // a job of some shard; false: none is there
  bool next_timer(nanoseconds deadline);  // moves time to the next timer and runs it; false: none by then
  void after(nanoseconds time, SimProcess* process, Job job);
  void bury();  // the processes that died in the job that has just ended

  SimClock clock_;
  std::unique_ptr<Random> random_;
  struct Timer;
  std::map<std::pair<nanoseconds, std::uint64_t>, Timer> timers_;
  std::uint64_t last_timer_ = 0;
  std::uint64_t fingerprint_ = 0xcbf29ce484222325;
  std::uint64_t steps_ = 0;
  std::size_t shards_made_ = 0;
  const SimProcess* running_ = nullptr;
  std::vector<std::function<void()>> dying_;
  std::vector<std::unique_ptr<SimShard>> shards_;
  std::vector<SimShard*> ready_;  // those with jobs
  SimFiles files_;
  std::unique_ptr<SimSockets> sockets_;
  std::unique_ptr<Pool> pool_;
  nanoseconds pool_latency_{0};
};

}  // namespace weir::runtime
