// What commands print for people, and the server.properties that `weir up` writes.
#pragma once

#include <cstdint>
#include <string>

#include "base/units.h"
#include "cli/place.h"
#include "cli/state.h"

namespace weir::cli {

// "broker 1", "zookeeper".
std::string display_name(const ProcessState& process);

// After all is ready: what runs, where, and what to type next.
std::string up_text(const State& state, milliseconds took, bool detached);

// A line a process. `running`: the supervisor lives.
std::string status_text(const State& state, bool running);

// Where clients connect: each broker's plaintext listener, or its first; "127.0.0.1:9092,127.0.0.2:9092".
std::string bootstrap(const State& state);

// Lines for a shell's eval; values are quoted.
std::string env_text(const State& state);

// A word that a shell takes as it is.
std::string shell_quoted(const std::string& word);

// The file of a broker that is one of `brokers`. `log_dir` is where its data lies; `cores` are this machine's.
std::string server_properties(const Place& place, int brokers, const std::string& zookeeper,
                              const std::string& kafka_version, const std::string& log_dir, unsigned cores);

}  // namespace weir::cli
