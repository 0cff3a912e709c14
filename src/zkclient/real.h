// The Zk that talks to a server: over the C client of the ZooKeeper project (libzookeeper_mt), or, where TLS, SASL or
// ACLs are asked for, over our own (native.h).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "zkclient/zk.h"

namespace weir::net {
class TlsContext;
}  // namespace weir::net
namespace weir::runtime {
class Sockets;
}  // namespace weir::runtime

namespace weir::zkclient {

// How a session proves who it is and is kept private.
struct Security {
  std::shared_ptr<const net::TlsContext> tls;  // null: no TLS
  std::string sasl_username;                   // DIGEST-MD5; empty: no SASL
  std::string sasl_password;
};

struct RealOptions {
  std::string connect;                       // zookeeper.connect: "a:2181,b:2181/chroot"
  milliseconds session_timeout{18'000};      // zookeeper.session.timeout.ms
  std::string auth_scheme;                   // "digest"; empty: none
  std::string auth_credential;               // "user:password"
  std::shared_ptr<const Security> security;  // null: none
  // The ACL of each node that is created as Acl::open, by its path without the chroot; the chroot itself is "/".
  // Empty: open. Pure: it is called on any shard.
  std::function<Acl(std::string_view path)> acl_of;
  runtime::Sockets* sockets = nullptr;  // for the native body; null: the system's
};

// Opens a session in the background; wait_connected() waits for it (zookeeper.connection.timeout.ms is the caller's).
// The chroot is applied here: paths of calls and events are without it; it is made by create_with_parents("/x").
// The library's threads only post to shards. Lives on any shard; close() before destruction. With `security` or
// `acl_of` it is the native body, whose connection lives on the shard that calls this.
Result<std::unique_ptr<Zk>> connect(RealOptions options);

// Ends a session that a process left behind when it died (Zk::session_key), so that its ephemeral nodes go now and
// not after the session timeout. Blocks, at most `timeout`. True: it is over, by this or before. False: no answer in
// time, or `key` is none. Only for a process that is known to be gone: a live one would lose its session.
bool end_session(const RealOptions& options, std::string_view key, milliseconds timeout);

}  // namespace weir::zkclient
