// What lies where in the folder of `weir up` (--data DIR).
//
//   run/lock  run/state.json  log/NAME.log  zookeeper/  broker-1/server.properties  broker-1/data/
#pragma once

#include <expected>
#include <memory>
#include <string>

#include "cli/state.h"
#include "runtime/files.h"

namespace weir::apps {

class DataDir {
 public:
  // As given by --data, or ~/.weir when that is empty; made absolute. The error is a sentence.
  static std::expected<DataDir, std::string> find(const std::string& given);

  const std::string& path() const { return path_; }
  std::string lock() const { return path_ + "/run/lock"; }
  std::string state() const { return path_ + "/run/state.json"; }
  std::string log(const std::string& name) const { return path_ + "/log/" + name + ".log"; }
  std::string zookeeper() const { return path_ + "/zookeeper"; }
  std::string broker() const { return path_ + "/broker-1"; }

  // Makes the folders that are missing.
  std::expected<void, std::string> make() const;

  // The state as it was last written; nothing when there is none that can be read.
  std::expected<cli::State, std::string> read_state() const;
  std::expected<void, std::string> write_state(const cli::State& state) const;

 private:
  explicit DataDir(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// Whether the supervisor that wrote this state still runs.
bool supervisor_runs(const cli::State& state);

// The state as it is now: processes that are gone are "stopped", without a pid.
cli::State as_of_now(cli::State state);

}  // namespace weir::apps
