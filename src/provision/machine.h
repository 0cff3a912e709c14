// The place that is this machine: each broker is a process (`weir broker`), with a directory of its own.
//
//   DIR/CLUSTER/broker-N/   spec.json           what was put, and whether it is wanted up
//                           server.properties   written out of it at each put
//                           run.json            the process: pid, start time, boot, ready or not, spec's number
//                           data/               log.dirs
//                           data.unusable-TIME/ log.dirs that the broker could not start with, put aside; the last two
//                           broker.log          its words; put aside at 16 MiB
//
// Brokers are no one's children in the end: they run on when the process that started them ends or is killed, and who
// opens the same directory next finds them by run.json (a pid counts only with its start time and the machine's boot).
// One process at a time opens a directory (DIR/lock).
//
// A thread of its own watches the processes' ends (pidfd) and their word that they serve; all else is on the shard,
// and what blocks is in the pool.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/units.h"
#include "provision/place.h"
#include "runtime/task.h"

namespace weir::runtime {
class Pool;
class Shard;
}  // namespace weir::runtime

namespace weir::provision {

// What a broker exits with when what lies in its log directory is of no use to it: of another cluster or broker, or
// garbage. Another start would not help; another directory would.
inline constexpr int exit_data_unusable = 3;

struct EmptyStart {
  BrokerSpec spec;
  bool unusable = false;  // there is data, and the broker cannot start with it; else there is none
};

struct MachineOptions {
  std::string directory;               // DIR
  std::string program;                 // the file to execute as `PROGRAM broker --config FILE --ready-fd 3`
  std::vector<std::string> arguments;  // further ones, such as --log-level
  std::string pool = "127.0";          // address.h
  milliseconds backoff_min{500};
  milliseconds backoff_max{30'000};
  milliseconds settled_after{60'000};  // what lived so long starts again with backoff_min
  milliseconds ready_max{600'000};     // what does not serve by then is killed: recovery after a crash may take long
  // Clears up behind a broker that ended by itself or was killed, before it is started again: ends its ZooKeeper
  // session, so that others lead at once. Runs in the pool, may block; nothing: there is nothing to do.
  std::function<void(const std::string& log_dir)> clear_up;
  // Asked before a broker is started without data: one that still counts as in sync would lead, and its peers would
  // throw away what it lacks. On the place's shard. A sentence: not now; it is asked again. Empty, or nothing to ask:
  // it may.
  std::function<Task<std::string>(EmptyStart start)> may_begin_empty;
  milliseconds ask_interval{250};
  milliseconds look_interval{2'000};  // at the directories of brokers that run
};

class Machine : public Place {
 public:
  // Stops every process, side by side; what does not end in time is killed. What was wanted up is so still: who opens
  // the directory next starts it again. For the end of everything on this machine; then close().
  virtual Task<void> stop_all(milliseconds deadline) = 0;
};

// Finds what runs, starts what is wanted up and does not run. On `shard`, which the place then belongs to.
Task<Outcome<std::unique_ptr<Machine>>> open_machine(runtime::Shard& shard, runtime::Pool& pool,
                                                     MachineOptions options);

}  // namespace weir::provision
