// The Zk that speaks ZooKeeper's protocol itself, over the sockets of runtime/ and the transports of net/: for TLS and
// SASL, which libzookeeper has only where it was built for them (docs/decisions/0008). The contract is that of zk.h and
// real.h; connect() of real.h chooses.
//
// The connection lives on the shard that opened it; calls of other shards hop there. Servers of the list are tried in
// an order drawn once, each for its share of the session timeout. After a lost connection the session goes on with the
// next server, and what it watched is set again from the last zxid seen.
#pragma once

#include <memory>
#include <string_view>

#include "zkclient/real.h"

namespace weir::zkclient {

// On a shard.
Result<std::unique_ptr<Zk>> connect_native(RealOptions options);

// As end_session of real.h. Blocks; not on a shard.
bool end_session_native(const RealOptions& options, std::string_view key, milliseconds timeout);

}  // namespace weir::zkclient
