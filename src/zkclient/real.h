// The Zk that talks to a server, over the C client of the ZooKeeper project (libzookeeper_mt).
#pragma once

#include <memory>
#include <string>
#include <string_view>

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

// Ends a session that a process left behind when it died (Zk::session_key), so that its ephemeral nodes go now and
// not after the session timeout. Blocks, at most `timeout`. True: it is over, by this or before. False: no answer in
// time, or `key` is none. Only for a process that is known to be gone: a live one would lose its session.
bool end_session(const RealOptions& options, std::string_view key, milliseconds timeout);

}  // namespace weir::zkclient
