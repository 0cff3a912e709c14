// What the processes of weir have in common: ends by signal, word to a supervisor, the identity of a process.
#pragma once

#include <csignal>
#include <optional>
#include <string>
#include <thread>

#include "base/units.h"
#include "cli/state.h"

namespace weir::apps {

// What a supervisor sends to a broker when all of the cluster stops: nobody is left to hand leadership to.
inline constexpr int stop_with_all_signal = SIGUSR1;

// SIGTERM, SIGINT and stop_with_all_signal, taken by one waiter instead of ending the process; SIGPIPE is ignored.
// Made on the main thread before any other thread starts, so that they inherit it.
class EndSignals {
 public:
  EndSignals();
  // Blocks until one of them comes; gives its number.
  int wait();

 private:
  friend class EndBeforeReady;
  sigset_t set_{};
};

// While it lives, one of these signals ends the process at once, with exit code 0: a start can wait long (for an old
// session to expire, for ZooKeeper to answer), and nobody calls EndSignals::wait() yet. What is on disk by then is
// what a crash may leave as well.
class EndBeforeReady {
 public:
  explicit EndBeforeReady(const EndSignals& signals);
  ~EndBeforeReady();
  EndBeforeReady(const EndBeforeReady&) = delete;
  EndBeforeReady& operator=(const EndBeforeReady&) = delete;

 private:
  int signals_ = -1;
  int done_ = -1;
  std::thread thread_;
};

// Writes "ready\n" to the descriptor of --ready-fd and closes it. -1: nobody asked.
void notify_ready(int ready_fd);

// As provision/process.h has them, for a process as the state file knows it.

// The identity of a running process; pid 0 when there is none of this number.
cli::ProcessId identify(int pid);
// Whether just this process still runs (a zombie does not).
bool alive(const cli::ProcessId& process);
// A new value at each boot of the machine.
std::string boot_id();

// Sends SIGTERM (or another) to just this process; false when it does not run any more.
bool signal_process(const cli::ProcessId& process, int signal);
// Waits until it has ended; false when `timeout` is over before.
bool wait_for_end(const cli::ProcessId& process, milliseconds timeout);

}  // namespace weir::apps
