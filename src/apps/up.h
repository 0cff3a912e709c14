// The parts of `weir up`: preparing the folder, the children's command lines, and the ports.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/data_dir.h"
#include "apps/supervisor.h"
#include "apps/up_brokers.h"
#include "cli/options.h"

namespace weir::apps {

// The options that give a child process the same log.
std::vector<std::string> log_flags(const cli::LogOptions& log);

// Why this address cannot be listened on, with the option that changes it ("127.0.0.1:9092 is taken by another
// program: choose another port with --port"); nothing when it can.
std::optional<std::string> listen_problem(const std::string& host, std::uint16_t port, const std::string& option);

struct Plan {
  std::string kafka_version;
  std::unique_ptr<UpBrokers> brokers;  // outlives the children
  std::vector<ChildSpec> children;     // in the order they start
  std::vector<std::string> warnings;   // what the brokers will say of their configuration, each once
};

// How many brokers there are to be: as many as lived in the folder, or more. The error says what to do about fewer.
std::expected<int, std::string> broker_count(const cli::UpOptions& options, const DataDir& dir);

// What each of several brokers must have of its own cannot be said for all by --override.
std::expected<void, std::string> check_overrides(const cli::UpOptions& options, int brokers);

// Writes each broker's server.properties and says what is to be started by `program` (this very program). Checks the
// configuration as the brokers will, and that the ports are free.
std::expected<Plan, std::string> prepare(const cli::UpOptions& options, const DataDir& dir, const std::string& program);

// Where the words of the supervisor go.
struct Voice {
  std::function<void(const std::string&)> ready;     // all runs: the text of cli::up_text
  std::function<void(const std::string&)> failed;    // nothing runs: why
  std::function<void(const std::string&)> progress;  // while it starts
  std::function<void(const std::string&)> say;       // what happens later
};

// Locks the folder, starts all, stays until a signal ends it. The exit code.
int supervise(const cli::UpOptions& options, const DataDir& dir, const Voice& voice);

}  // namespace weir::apps
