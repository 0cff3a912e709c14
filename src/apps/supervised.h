// The brokers of `weir up` itself, as the control plane sees them: the cluster `local`. The supervisor keeps them;
// their state is read from its state.json, and it is asked to stop and restart them. One shard.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "apps/data_dir.h"
#include "provision/place.h"
#include "runtime/pool.h"
#include "runtime/shard.h"

namespace weir::apps {

class Supervised {
 public:
  static constexpr const char* cluster = "local";  // in a provision::BrokerKey

  Supervised(runtime::Shard& shard, runtime::Pool& pool, DataDir dir);

  // Reads the state, and goes on reading it.
  runtime::Task<void> start();
  runtime::Task<void> stop();
  // As it was last read: at most `look_every` ago.
  const cli::State& state() const { return state_; }

  std::optional<provision::BrokerStatus> status(std::int32_t broker) const;
  std::vector<provision::BrokerKey> brokers() const;
  runtime::Task<provision::Outcome<>> restart(std::int32_t broker, milliseconds wait);
  runtime::Task<provision::Outcome<>> down(std::int32_t broker, milliseconds wait);
  runtime::Task<provision::Outcome<>> kill(std::int32_t broker);
  // Nobody but `weir up` writes their files.
  static provision::Outcome<> refuse();

 private:
  static constexpr milliseconds look_every{250};
  runtime::Task<void> look();
  runtime::Task<void> run();
  runtime::Task<provision::Outcome<>> order(std::string line, milliseconds wait);

  runtime::Shard& shard_;
  runtime::Pool& pool_;
  const DataDir dir_;
  runtime::Scope scope_;
  runtime::Waiter waiter_;
  cli::State state_;
  bool stopping_ = false;
};

}  // namespace weir::apps
