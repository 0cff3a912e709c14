// Processes of this machine: who one is, whether it still runs, how it is made so that it outlives its maker.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "base/units.h"

namespace weir::provision {

// A process id with what tells it from a later process of the same number.
struct ProcessId {
  std::int32_t pid = 0;       // 0: none
  std::uint64_t started = 0;  // clock ticks since boot, /proc/PID/stat
  friend bool operator==(const ProcessId&, const ProcessId&) = default;
};

// The identity of a running process; pid 0 when there is none of this number.
ProcessId identify(std::int32_t pid);
// Whether just this process still runs (a zombie does not).
bool alive(const ProcessId& process);
// A new value at each boot of the machine.
std::string boot_id();

// A descriptor that can be read once just this process has ended; -1 when it is gone.
int open_process(const ProcessId& process);
// False when it does not run any more.
bool signal_process(const ProcessId& process, int signal);
// Waits until it has ended; false when `timeout` is over before. Blocks.
bool wait_for_end(const ProcessId& process, milliseconds timeout);

// "was killed by signal 9 (Killed)", "ended with exit code 1", of waitpid's status.
std::string how_it_ended(int status);

struct Spawn {
  std::string program;            // the file to execute
  std::vector<std::string> argv;  // with the name that the process goes by first
  std::string log_path;           // stdout and stderr are appended to it
  int ready_fd = -1;              // becomes descriptor 3: where it says that it is ready
};
// A process in a session of its own, that reads nothing and has no signal blocked. The error is a sentence.
std::expected<ProcessId, std::string> spawn(const Spawn& how);

// The process, if any, among whose arguments `first` is followed by `second`.
ProcessId find_by_arguments(const std::string& first, const std::string& second);

// What a process of weir said last of why it ends: the text behind "weir broker: " (or "weir zookeeper: ", ...) of the
// last such line in its log, from byte `from` on; empty: nothing. Blocks.
std::string last_words(const std::string& path, std::int64_t from);

}  // namespace weir::provision
