// Carries operations out: one task for each cluster with an operation under way, and a look at the health of the
// others.
//
// Lives on one shard. Only while active it touches anything: set_active(true) takes the next epoch (fence.h), and from
// then on a control plane that was active before and does not know better writes nothing and begins nothing. What it
// had begun at the place ends there; its owner lets nobody open the place before. stop() ends waits; calls of the place
// that are under way end when the place is closed, which its owner does before or meanwhile.
//
// While not active it reads what the active one knows of brokers that are down.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "msk/fence.h"
#include "msk/health.h"
#include "msk/service.h"
#include "msk/store.h"
#include "msk/workflow.h"
#include "provision/place.h"
#include "runtime/shard.h"

namespace weir::msk {

class Driver {
 public:
  // `options` and all else outlive this.
  Driver(runtime::Shard& shard, runtime::Random& random, zkclient::Zk& zk, provision::Place& place,
         const ServiceOptions& options);
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  void start();
  void set_active(bool active);
  // There is something to do: look now.
  void kick();
  Task<void> stop();

  // Why an active cluster is healing: which broker is down. Nothing: all are up, as far as is known here; where another
  // is the active one that is about a second old.
  std::optional<std::string> ailment(const std::string& cluster_id) const;
  // Which of its brokers take no more records for want of space; empty: none.
  std::string full(const std::string& cluster_id) const;
  // What its operation waits for; empty: nothing, or there is none.
  std::string waiting_for(const std::string& cluster_id) const;

 private:
  enum class Next : std::uint8_t { again, pause, over };
  struct Events;
  // How long a step has said the same.
  struct Stall {
    std::string operation;
    std::size_t index = 0;
    std::string text;
    nanoseconds since{0};
  };

  struct Absence {
    nanoseconds since{0};
    int kills = 0;
  };

  Task<void> run();
  bool acts() const { return active_ && fence_.held() && !stopping_; }
  Task<bool> hold_epoch();
  Task<void> take_up();
  Task<void> tell_health();
  Task<void> learn_health();
  bool stalled(const Operation& operation, std::size_t index, const std::string& text);
  Task<void> drive(std::string cluster_id);
  Task<Next> one_step(std::string cluster_id);
  Task<Next> step(Versioned<Operation> operation, Versioned<Cluster> cluster, std::size_t index);
  Task<Next> carry_out(Versioned<Operation> operation, Versioned<Cluster> cluster, std::size_t index,
                       Decision decision);
  Task<Next> drain_again(Versioned<Operation> operation, std::size_t index, std::string note);
  Task<Next> done(Versioned<Operation> operation, std::size_t index);
  Task<Next> failed(Versioned<Operation> operation, Versioned<Cluster> cluster, std::string code, std::string text);
  Task<Next> finish(Versioned<Operation> operation, Versioned<Cluster> cluster);
  Task<Stored<Facts>> facts(Cluster cluster, bool partitions);
  // At the end of a way back: what is left of the operation's throttles goes, and what differs is said.
  Task<Stored<std::string>> what_is_left(Operation operation, Cluster cluster);
  // Into the operation's journal, before it is changed: how these are now.
  Task<Stored<>> remember(Versioned<Operation>& operation, Settings settings);
  Task<Stored<>> throttle(Versioned<Operation>& operation, Cluster cluster,
                          std::map<Partition, std::vector<std::int32_t>> assignment);
  Task<Stored<>> set_live(Versioned<Operation>& operation, Cluster cluster);
  provision::BrokerSpec wish(const Cluster& cluster, const ClusterSpec& spec, std::int32_t broker) const;
  Task<provision::Outcome<>> put(Cluster cluster, ClusterSpec spec, std::int32_t broker);
  Task<provision::Outcome<>> start_all(Cluster cluster, std::vector<std::int32_t> brokers);
  Task<void> stop_all(Cluster cluster, std::vector<std::int32_t> brokers);
  // `removed`: those that are, also when others are not.
  Task<provision::Outcome<>> remove_all(Cluster cluster, std::vector<std::int32_t> brokers,
                                        std::vector<std::int32_t>& removed);
  Task<provision::Outcome<std::string>> take_block(Cluster cluster, std::vector<std::uint16_t> ports);
  Task<void> look_after();  // driver_health.cc, with what follows
  Task<std::optional<std::set<std::int32_t>>> registered_ids(Cluster cluster);
  void missing(const provision::BrokerKey& which, const std::optional<provision::BrokerStatus>& status);
  Task<std::string> absence(Cluster cluster, std::int32_t broker, std::set<std::int32_t> registered);
  Task<void> compare_files(Cluster cluster);
  Task<std::string> full_volumes(Cluster cluster);
  Task<void> restore(Cluster cluster, std::int32_t broker);
  // False: stopping.
  Task<bool> pause(milliseconds time);
  provision::BrokerKey key(const Cluster& cluster, std::int32_t broker) const;

  runtime::Shard& shard_;
  runtime::Random& random_;
  Fence fence_;
  zkclient::Zk& zk_;  // the fence: all that is written here goes through it
  provision::Place& place_;
  const ServiceOptions& options_;
  Store store_;
  runtime::Scope scope_;
  std::shared_ptr<Events> events_;
  bool active_ = false;
  bool replaced_ = false;  // another took a later epoch
  bool stopping_ = false;
  std::list<runtime::Waiter*> pauses_;
  std::set<std::string> driven_;  // clusters with a task
  std::map<std::string, Stall> stalls_;
  std::map<provision::BrokerKey, Absence> absent_;  // brokers that are not registered, or were killed for that
  std::set<provision::BrokerKey> new_way_;          // run, and have files with another way to ZooKeeper
  std::set<std::string> compared_;                  // clusters whose brokers' files are those of this control plane
  Health health_;
  std::optional<nanoseconds> volumes_looked_at_;
  std::optional<Health> told_;  // as it was last written
};

}  // namespace weir::msk
