// A Zk that does not leave its caller with "perhaps": after connection_loss it waits for the connection and tries
// again, and finds out by reading whether the lost write had happened.
//
// What it resolves: create (the node is there with our data and, if ephemeral, our session), set with a version
// (one version further with our data), remove (gone), multi (by its first such part). A sequential create is
// repeated, so it may be made twice, as in Kafka. session_expired and closed go to the caller. It gives up with
// the last error when the connection did not come back in `give_up`.
#pragma once

#include <memory>

#include "zkclient/zk.h"

namespace weir::zkclient {

// `inner` outlives it. For any shard, as `inner` is.
std::unique_ptr<Zk> make_patient(Zk& inner, nanoseconds give_up = std::chrono::hours(1));

}  // namespace weir::zkclient
