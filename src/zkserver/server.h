// The embedded coordination service: one listener that speaks ZooKeeper's protocol.
//
// The tree lives on the first of `shards`, its disk in the pool, its connections on all shards. An answer to a
// change leaves only when the change is on the disk; sessions survive a restart and get a fresh timeout by it.
//
//   auto server = co_await ZkServer::start(runtime, options);   // on a shard
//   ...
//   co_await (*server)->stop();
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/error.h"
#include "runtime/sockets.h"
#include "runtime/task.h"
#include "zkserver/options.h"

namespace weir::metrics {
class Registry;
}  // namespace weir::metrics
namespace weir::runtime {
class Files;
class Pool;
class Random;
class Shard;
}  // namespace weir::runtime

namespace weir::zkserver {

// What the service runs on; all of it outlives the service. The database itself is SQLite's and lies on the real
// file system: with simulated files only the lock is simulated.
struct Runtime {
  std::vector<runtime::Shard*> shards;  // at least one
  runtime::Pool& pool;
  runtime::Sockets& sockets;
  runtime::Files& files;
  runtime::Random& random;
  metrics::Registry* metrics = nullptr;  // where it shows its numbers (weir_zk_...); null: nowhere
};

class ZkServer {
 public:
  // Locks the data directory, loads the state, listens. On a shard of `runtime`. Errors: the directory is in use or
  // not writable, the state is damaged or of a newer version, the address is taken.
  static runtime::Task<Result<std::unique_ptr<ZkServer>>> start(Runtime runtime, Options options);
  ~ZkServer();  // stop() must have been awaited

  // Closes all connections and the disk; sessions stay. Once, on a shard.
  runtime::Task<void> stop();

  // Where it listens, with the port the system chose where 0 was asked for.
  const runtime::Address& local() const;

  // Ends a session as if its client had: its ephemeral nodes go, its connection is closed. A supervisor does this
  // for a dead broker, so that nobody waits for the timeout. False: there is no such session. On a shard.
  runtime::Task<Result<bool>> close_session(std::int64_t session_id);
  // The same, when the client should learn that its session expired (kept apart for the log and the metrics).
  runtime::Task<Result<bool>> expire_session(std::int64_t session_id);

 private:
  struct Impl;
  explicit ZkServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace weir::zkserver
