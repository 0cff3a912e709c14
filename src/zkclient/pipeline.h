// Many calls at once, without one coroutine waiting for the other.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "runtime/shard.h"
#include "runtime/task.h"
#include "zkclient/zk.h"

namespace weir::zkclient {

// Calls fn(0) .. fn(count - 1), at most `in_flight_max` of them unfinished at a time, and waits for all. On `shard`.
// `fn` must not throw and outlives the call.
runtime::Task<void> pipeline(runtime::Shard& shard, std::size_t count, std::size_t in_flight_max,
                             std::function<runtime::Task<void>(std::size_t)> fn);

// As the one without a shard, for trees of many nodes: level by level, `in_flight_max` calls at a time.
runtime::Task<ZkResult<>> remove_tree(runtime::Shard& shard, Zk& zk, std::string path, std::size_t in_flight_max = 128);

}  // namespace weir::zkclient
