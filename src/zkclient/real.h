// The Zk that talks to a server, over the C client of the ZooKeeper project (libzookeeper_mt).
#pragma once

#include <memory>
#include <string>

#include "zkclient/zk.h"

namespace weir::zkclient {

struct RealOptions {
  std::string connect;                   // zookeeper.connect: "a:2181,b:2181/chroot"
  milliseconds session_timeout{18'000};  // zookeeper.session.timeout.ms
  std::string auth_scheme;               // "digest"; empty: none
  std::string auth_credential;           // "user:password"
};

// Opens a session in the background; wait_connected() waits for it (zookeeper.connection.timeout.ms is the caller's).
// The chroot is applied here: paths of calls and events are without it; it is made by create_with_parents("/x").
// The library's threads only post to shards. Lives on any shard; close() before destruction.
Result<std::unique_ptr<Zk>> connect(RealOptions options);

}  // namespace weir::zkclient
