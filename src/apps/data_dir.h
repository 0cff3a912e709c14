// What lies where in the folder of `weir up` (--data DIR).
//
//   run/lock  run/state.json  run/control  log/NAME.log  zookeeper/  broker-N/server.properties  broker-N/data/
//   broker-N/api.json  what the API asks of a broker (local_spec.h), beside certificates
#pragma once

#include <expected>
#include <memory>
#include <string>

#include "base/units.h"
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
  std::string control_folder() const { return path_ + "/run"; }  // of control_socket.h
  std::string log(const std::string& name) const { return path_ + "/log/" + name + ".log"; }
  std::string zookeeper() const { return path_ + "/zookeeper"; }
  std::string broker(int id) const { return path_ + "/broker-" + std::to_string(id); }
  std::string broker_data(int id) const { return broker(id) + "/data"; }
  std::string broker_asked(int id) const { return broker(id) + "/api.json"; }
  std::string broker_name(int id) const { return "broker-" + std::to_string(id); }

  // How many brokers have lived here: the highest id whose data says whose it is, or that the API made. 0: none yet.
  int brokers() const;

  // Makes the folders that are missing, of this many brokers.
  std::expected<void, std::string> make(int brokers) const;

  // The state as it was last written; nothing when there is none that can be read.
  std::expected<cli::State, std::string> read_state() const;
  std::expected<void, std::string> write_state(const cli::State& state) const;

 private:
  explicit DataDir(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// Whether the supervisor that wrote this state still runs.
bool supervisor_runs(const cli::State& state);

// Ends what of these processes still runs, brokers first and all of them together: SIGTERM, and SIGKILL when they have
// not ended after `timeout`. Not the supervisor.
void end_processes(const cli::State& state, milliseconds timeout);

// The state as it is now: processes that are gone are "stopped", without a pid.
cli::State as_of_now(cli::State state);

}  // namespace weir::apps
