// The control plane's state in ZooKeeper, below one path (/weir/msk):
//
//   clusters/ID                 a cluster; its znode's version is the compare-and-set of every change
//   names/NAME                  which id has the name: names are unique among clusters that are
//   operations/CLUSTER/ID       an operation: the journal of its steps
//   pending/CLUSTER             the operation that is under way: what the driver watches
//   configurations/ID           a configuration with its revisions; configuration-names/NAME
//   vpc-connections/ID
//   blocks/BLOCK                which cluster has that block of addresses
//   elections/CLUSTER/TOPIC     a topic's own setting before it was changed for an election (empty_start.h)
//   health                      what the active control plane knows of brokers that are down (health.h)
//   epoch                       its version: how often a control plane became the active one (fence.h)
//
// Every change that belongs together is one multi. Nothing here decides; nothing is cached. On any shard. Several
// control planes may use the same state: who comes second with the same version gets `conflict`.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "msk/health.h"
#include "msk/model.h"
#include "runtime/shard.h"
#include "zkclient/zk.h"

namespace weir::msk {

using runtime::Task;

struct StoreError {
  enum class Kind : std::uint8_t {
    missing,      // there is no such thing
    exists,       // the name or block is taken
    conflict,     // somebody else changed it meanwhile: read again
    unavailable,  // the coordination service does not answer, or refuses
    corrupt,      // a record cannot be read
  };
  Kind kind = Kind::unavailable;
  std::string text;
};
template <class T = void>
using Stored = std::expected<T, StoreError>;

// A record and the version it was read at.
template <class T>
struct Versioned {
  T value;
  std::int32_t version = 0;
};

class Store {
 public:
  // `shard` of the caller: many reads run at once there. Both outlive the store.
  Store(runtime::Shard& shard, zkclient::Zk& zk, std::string root = "/weir/msk");

  // Makes the folders. Before all else.
  Task<Stored<>> open();

  // --- clusters
  Task<Stored<Versioned<Cluster>>> cluster(std::string id);
  Task<Stored<std::vector<Cluster>>> clusters();  // by time of creation
  // With its first operation, in one. exists: the name is taken.
  Task<Stored<>> create_cluster(Cluster cluster, Operation operation);
  Task<Stored<>> set_cluster(Versioned<Cluster> cluster);
  // The cluster as changed and the operation that begins. conflict: changed meanwhile; exists: one is under way.
  Task<Stored<>> begin(Versioned<Cluster> cluster, Operation operation);
  // Removes the cluster, its name, its block and its operations; what is gone already is fine.
  Task<Stored<>> remove_cluster(Cluster cluster);

  // --- operations
  Task<Stored<Versioned<Operation>>> operation(std::string cluster_id, std::string id);
  Task<Stored<std::vector<Operation>>> operations(std::string cluster_id);  // the latest first
  // Those that are over and not among the latest operations_max are forgotten.
  Task<Stored<>> forget_old_operations(std::string cluster_id);
  Task<Stored<>> set_operation(Versioned<Operation> operation);
  // The end: operation and cluster as they are now, and nothing is pending.
  Task<Stored<>> finish(Versioned<Operation> operation, Versioned<Cluster> cluster);
  // Both, while it goes on.
  Task<Stored<>> set_both(Versioned<Operation> operation, Versioned<Cluster> cluster);
  // Ids of clusters with an operation under way; `watch` hears of the next change.
  Task<Stored<std::vector<std::string>>> pending(zkclient::Watch watch = {});

  // --- addresses
  // Who has which: a cluster's id by block.
  Task<Stored<std::map<std::string, std::string>>> blocks();
  // exists: it was taken, and not by this cluster.
  Task<Stored<>> take_block(std::string block, std::string cluster_id);

  // --- health: written by the active control plane, read by the others
  Task<Stored<Health>> health();
  Task<Stored<>> set_health(Health health);

  // --- configurations
  Task<Stored<Versioned<Configuration>>> configuration(std::string id);
  Task<Stored<std::vector<Configuration>>> configurations();
  Task<Stored<>> create_configuration(Configuration configuration);
  Task<Stored<>> set_configuration(Versioned<Configuration> configuration);
  Task<Stored<>> remove_configuration(Versioned<Configuration> configuration);

  // --- VPC connections
  Task<Stored<Versioned<VpcConnection>>> vpc_connection(std::string id);
  Task<Stored<std::vector<VpcConnection>>> vpc_connections();
  Task<Stored<>> create_vpc_connection(VpcConnection connection);
  Task<Stored<>> set_vpc_connection(Versioned<VpcConnection> connection);
  Task<Stored<>> remove_vpc_connection(std::string id);

 private:
  std::string path(std::string_view folder, std::string_view name) const;
  template <class T>
  Task<Stored<Versioned<T>>> read(std::string path);
  template <class T>
  Task<Stored<std::vector<T>>> read_all(std::string folder);
  Task<Stored<>> write(std::vector<zkclient::Op> ops);

  runtime::Shard& shard_;
  zkclient::Zk& zk_;
  const std::string root_;
};

}  // namespace weir::msk
