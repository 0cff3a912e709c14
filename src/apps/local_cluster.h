// The cluster `local`: that of `weir up`, as the MSK API shows it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cli/state.h"
#include "msk/model.h"
#include "msk/names.h"
#include "provision/place.h"
#include "runtime/random.h"
#include "runtime/shard.h"
#include "zkclient/zk.h"

namespace weir::apps {

// What brokers of `weir up` have without a configuration, when there are so many: a ClusterSpec's defaults.
std::string local_defaults(const cli::State& state, std::int32_t brokers);

// Its record is as `state` says: made where there is none, through the store as any other cluster's, with an operation
// that has nothing to do. What goes wrong is said in the log: `local` is not needed for anything else. False: not now,
// since an operation changes it, or it could not be written.
runtime::Task<bool> record_local_cluster(runtime::Shard& shard, runtime::Random& random, zkclient::Zk& zk,
                                         msk::Realm realm, cli::State state);

// The record when no operation changes it; nothing: not now.
runtime::Task<std::optional<msk::Cluster>> settled_local_cluster(runtime::Shard& shard, zkclient::Zk& zk);

// What a broker at `host` gets for what the API changed of the cluster, all but its certificate; nothing: it changed
// nothing that `weir up` does not say itself.
std::optional<provision::BrokerSpec> changed_by_the_api(const msk::Cluster& cluster, std::int32_t broker,
                                                        const std::string& host);

}  // namespace weir::apps
