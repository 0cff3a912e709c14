// What lies on disk of each broker of a machine (machine.h has the layout): reading, writing, preparing a start.
// All of it blocks: for the pool.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "provision/place.h"
#include "provision/process.h"

namespace weir::provision {

// spec.json, and run.json beside it.
struct Record {
  BrokerSpec spec;
  std::int64_t number = 0;       // of the spec: each put that changes something has the next one
  bool wanted = false;           // up
  std::string had_data;          // the identity its data had when it last served; empty: none yet
  std::int64_t runs_number = 0;  // the spec's that the process below was started with
  ProcessId process;             // as last started, in this boot
};

class Disk {
 public:
  explicit Disk(std::string directory) : directory_(std::move(directory)) {}

  std::string broker(const BrokerKey& key) const;
  std::string properties(const BrokerKey& key) const { return broker(key) + "/server.properties"; }
  std::string data(const BrokerKey& key) const { return broker(key) + "/data"; }
  std::string ready(const BrokerKey& key) const { return broker(key) + "/ready"; }
  std::string log(const BrokerKey& key) const { return broker(key) + "/broker.log"; }

  // Makes the directory, for its owner alone.
  Outcome<> make() const;
  // Every broker that can be read; what cannot is said in the log and left alone.
  std::vector<Record> load() const;
  // The record, and the files that follow from the spec.
  Outcome<> save_spec(const Record& record) const;
  Outcome<> save_record(const Record& record) const;
  // Everything is there for a start, also when it was lost; the ready file is empty. Its descriptor, to be closed.
  Outcome<int> prepare_start(const Record& record) const;
  Outcome<> save_run(const Record& record) const;
  // What identifies the data of a log directory (meta.properties); empty: there is none.
  std::string identity_of_data(const BrokerKey& key) const;
  // Neither meta.properties nor a partition's directory.
  bool is_empty(const BrokerKey& key) const;
  // There is a meta.properties that says nothing.
  bool is_nameless(const BrokerKey& key) const;
  // data/ becomes data.unusable-TIME; of those that lie there already the newest stays.
  Outcome<> put_data_aside(const BrokerKey& key) const;
  Outcome<> remove(const BrokerKey& key, bool with_data) const;
  Volume volume(const BrokerKey& key) const;

 private:
  std::string directory_;
};

// What lies in a log directory. Blocks.
Volume volume_of(const std::string& data);

// The server.properties of a spec; the error says what a spec may not hold. Pure. `cores` are this machine's.
Outcome<std::string> properties_text(const BrokerSpec& spec, const std::string& directory, unsigned cores);

}  // namespace weir::provision
