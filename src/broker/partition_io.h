// Reading a partition without ever waiting for a disk on a shard: what is not in the page cache is brought there by
// the pool first.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "log/log.h"
#include "replica/partition.h"
#include "runtime/pool.h"
#include "runtime/sockets.h"
#include "runtime/task.h"

namespace weir::broker {

// A read that finds nothing cached this many times lets the log itself wait.
inline constexpr int cold_tries_max = 3;

// Runs `read` (a function of log::ReadMode that gives a log::Read<T>), warming what is cold in between.
template <class Fn>
auto read_warm(runtime::Pool& pool, Fn read) -> runtime::Task<decltype(read(log::ReadMode::cached_only))> {
  for (int i = 0; i < cold_tries_max; ++i) {
    auto result = read(log::ReadMode::cached_only);
    if (result || !result.error().cold) co_return result;
    auto warm = [cold = *result.error().cold] { return cold.warm(); };
    auto warmed = co_await pool.run(std::move(warm));
    if (!warmed) co_return log::fault(ErrorCode::KAFKA_STORAGE_ERROR, warmed.error().message);
  }
  co_return read(log::ReadMode::may_block);
}

// What a fetch gets of one partition.
struct PartitionRead {
  ErrorCode error = ErrorCode::NONE;
  Offset high_watermark{-1};
  Offset last_stable{-1};
  Offset log_start{-1};
  std::int64_t diverging_epoch = -1;  // KIP-595; -1: none
  Offset diverging_end{-1};
  std::int32_t preferred_read_replica = -1;      // KIP-392: ask there; -1: here
  runtime::Chunk records;                        // memory for small reads, a range of the file for large ones
  std::vector<log::AbortedTransaction> aborted;  // for read_committed
  std::shared_ptr<metrics::Counter> counters;    // of the topic's bytes out, for when the records are sent
};

// On the partition's shard. Up to `copied_bytes_max` are copied into memory, more is given as a range of the file.
// `min_one`: the first batch is given whole even when it is larger than `max_bytes`.
runtime::Task<PartitionRead> read_partition(runtime::Pool& pool, std::shared_ptr<replica::Partition> partition,
                                            Offset from, std::uint64_t max_bytes, log::Isolation isolation,
                                            bool min_one, std::uint64_t copied_bytes_max);

}  // namespace weir::broker
