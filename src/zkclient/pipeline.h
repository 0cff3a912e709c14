// Many calls at once, without one coroutine waiting for the other.
#pragma once

#include <cstddef>
#include <functional>

#include "runtime/shard.h"
#include "runtime/task.h"

namespace weir::zkclient {

// Calls fn(0) .. fn(count - 1), at most `in_flight_max` of them unfinished at a time, and waits for all. On `shard`.
// `fn` must not throw and outlives the call.
runtime::Task<void> pipeline(runtime::Shard& shard, std::size_t count, std::size_t in_flight_max,
                             std::function<runtime::Task<void>(std::size_t)> fn);

}  // namespace weir::zkclient
