// DIR/run/state.json: what `weir up` runs, for status, down and env. The supervisor writes it at each change.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::cli {

// A process id with what tells it from a later process of the same number.
struct ProcessId {
  std::int32_t pid = 0;       // 0: none
  std::uint64_t started = 0;  // clock ticks since boot, /proc/PID/stat
  friend bool operator==(const ProcessId&, const ProcessId&) = default;
};

// starting, running, waiting (ended by itself, to be started again), stopping, stopped.
struct ProcessState {
  std::string role;                // "supervisor", "zookeeper", "broker"
  std::optional<std::int32_t> id;  // a broker's broker.id
  ProcessId process;
  std::string state;
  std::map<std::string, std::string> addresses;  // by listener's name: "PLAINTEXT" -> "127.0.0.1:9092"
  std::uint32_t restarts = 0;                    // after it had died
  std::string rack;                              // a broker's zone; empty: none
  std::uint32_t given = 0;  // which of what the API asked for it was started with; 0: nothing was asked
  friend bool operator==(const ProcessState&, const ProcessState&) = default;
};

struct State {
  std::string version;        // of weir
  std::string kafka_version;  // the compatibility level
  std::string data_dir;
  std::string boot_id;                             // of the machine: pids of an earlier boot mean nothing
  std::vector<ProcessState> processes;             // the supervisor first, then in the order they start
  std::map<std::string, std::string> overrides{};  // --override, of keys that the API can set, too

  // The first of this role; with an id, the one that has it.
  const ProcessState* find(std::string_view role, std::optional<std::int32_t> id = {}) const;
  friend bool operator==(const State&, const State&) = default;
};

std::string to_json(const State& state);
// The error is a sentence. Fields it does not know are left out, so that a newer weir's file can be read.
std::expected<State, std::string> parse_state(std::string_view json);

// For `weir status --json`: the state with "running" (whether the supervisor lives) for people's scripts.
std::string status_json(const State& state, bool running);

}  // namespace weir::cli
