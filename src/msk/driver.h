// Carries operations out: one task for each cluster with an operation under way, and a look at the health of the
// others.
//
// Lives on one shard. Only while active(true) it touches anything; a second control plane that is active by mistake
// does no harm: every record is written with compare-and-set, every action may be repeated. stop() ends waits; calls of
// the place that are under way end when the place is closed, which its owner does before or meanwhile.
#pragma once

#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "msk/service.h"
#include "msk/store.h"
#include "msk/workflow.h"
#include "provision/place.h"
#include "runtime/shard.h"

namespace weir::msk {

class Driver {
 public:
  // `options` and all else outlive this.
  Driver(runtime::Shard& shard, runtime::Random& random, zkclient::Zk& zk, provision::Place& place, Store& store,
         const ServiceOptions& options);
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  void start();
  void set_active(bool active);
  // There is something to do: look now.
  void kick();
  Task<void> stop();

  // Why an active cluster is healing: which broker is down, and since when. Nothing: all are up, as far as is known
  // here.
  std::optional<std::string> ailment(const std::string& cluster_id) const;
  // What its operation waits for; empty: nothing, or there is none.
  std::string waiting_for(const std::string& cluster_id) const;

 private:
  enum class Next : std::uint8_t { again, pause, over };

  Task<void> run();
  Task<void> drive(std::string cluster_id);
  Task<Next> one_step(std::string cluster_id);
  Task<Next> step(Versioned<Operation> operation, Versioned<Cluster> cluster, std::size_t index);
  Task<Next> carry_out(Versioned<Operation> operation, Versioned<Cluster> cluster, std::size_t index, Action action);
  Task<Next> done(Versioned<Operation> operation, std::size_t index);
  Task<Next> failed(Versioned<Operation> operation, Versioned<Cluster> cluster, std::string code, std::string text);
  Task<Next> finish(Versioned<Operation> operation, Versioned<Cluster> cluster);
  Task<Stored<Facts>> facts(Cluster cluster, bool partitions);
  Task<provision::Outcome<>> put(Cluster cluster, ClusterSpec spec, std::int32_t broker);
  Task<provision::Outcome<>> start_all(Cluster cluster, std::vector<std::int32_t> brokers);
  Task<provision::Outcome<>> remove_all(Cluster cluster, std::vector<std::int32_t> brokers);
  Task<provision::Outcome<std::string>> take_block(Cluster cluster, std::vector<std::uint16_t> ports);
  Task<void> look_after();
  Task<void> restore(Cluster cluster, std::int32_t broker);
  // False: stopping.
  Task<bool> pause(milliseconds time);
  provision::BrokerKey key(const Cluster& cluster, std::int32_t broker) const;

  runtime::Shard& shard_;
  runtime::Random& random_;
  zkclient::Zk& zk_;
  provision::Place& place_;
  Store& store_;
  const ServiceOptions& options_;
  runtime::Scope scope_;
  bool active_ = false;
  bool stopping_ = false;
  std::list<runtime::Waiter*> pauses_;
  std::set<std::string> driven_;                 // clusters with a task
  std::map<std::string, std::string> ailments_;  // by cluster
  std::map<std::string, std::string> waiting_;
};

}  // namespace weir::msk
