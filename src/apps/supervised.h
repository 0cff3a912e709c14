// The brokers of `weir up` itself, as the control plane sees them: the cluster `local`. They are children of `weir up`,
// whose supervisor is asked by its socket (control_socket.h) to start, stop, add and remove them; their state is read
// from its state.json. What they are to be is written where `weir up` finds it at their next start (local_spec.h).
//
// One shard. The calls are those of provision::Place, for one cluster. Where no `weir up` runs on the folder all are
// refused as closed, and no broker is known.
#pragma once

#include <map>
#include <optional>
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
  // What was put for each broker is read anew: another control plane may have put it.
  runtime::Task<void> learn();
  // As it was last read: at most `look_every` ago. Empty: no `weir up` runs here.
  const cli::State& state() const { return state_; }

  // The host that broker `id` has, or would have; empty: not known.
  std::string host_of(std::int32_t broker) const;
  // host:port of its plaintext listener.
  std::string listener_of(std::int32_t broker) const;

  std::optional<provision::BrokerStatus> status(std::int32_t broker) const;
  std::optional<provision::BrokerSpec> spec(std::int32_t broker) const;
  std::vector<provision::BrokerKey> brokers() const;
  runtime::Task<provision::Outcome<provision::Volume>> volume(std::int32_t broker);
  runtime::Task<provision::Outcome<>> put(provision::BrokerSpec spec);
  runtime::Task<provision::Outcome<>> start(std::int32_t broker, milliseconds wait);
  runtime::Task<provision::Outcome<>> restart(std::int32_t broker, milliseconds wait);
  runtime::Task<provision::Outcome<>> down(std::int32_t broker, milliseconds wait);
  runtime::Task<provision::Outcome<>> kill(std::int32_t broker);
  runtime::Task<provision::Outcome<>> remove(std::int32_t broker, bool with_data);

 private:
  struct Asked {
    provision::BrokerSpec spec;
    std::uint32_t number = 0;
  };
  static constexpr milliseconds look_every{250};
  static constexpr milliseconds at_once{30'000};  // for what takes the supervisor a moment
  runtime::Task<void> look();
  runtime::Task<void> run();
  runtime::Task<provision::Outcome<>> order(std::string line, milliseconds wait);

  runtime::Shard& shard_;
  runtime::Pool& pool_;
  const DataDir dir_;
  runtime::Scope scope_;
  runtime::Waiter waiter_;
  cli::State state_;
  std::map<std::int32_t, Asked> asked_;
  bool stopping_ = false;
};

}  // namespace weir::apps
