#include "broker/partition_io.h"

#include <utility>

#include "base/log.h"

namespace weir::broker {
runtime::Task<PartitionRead> read_partition(runtime::Pool& pool, std::shared_ptr<replica::Partition> partition,
                                            Offset from, std::uint64_t max_bytes, log::Isolation isolation,
                                            bool min_one, std::uint64_t copied_bytes_max) {
  PartitionRead out;
  auto& log = partition->log();
  auto read = [&](log::ReadMode mode) { return log.read(from, max_bytes, isolation, min_one, mode); };
  auto slice = co_await read_warm(pool, std::move(read));
  out.high_watermark = log.high_watermark();
  out.last_stable = log.last_stable_offset();
  out.log_start = log.log_start();
  if (!slice) {
    out.error = slice.error().error.code;
    if (out.error != ErrorCode::OFFSET_OUT_OF_RANGE) {
      WEIR_LOG_LIMITED(error, seconds(1), "cannot read {} at {}: {}", partition->id().text(), from.value,
                       slice.error().error.message);
    }
    co_return out;
  }
  // A batch that does not fit is left out: a client can make nothing of its beginning.
  if (slice->length == 0 || slice->length < slice->first_batch_size) co_return out;
  if (isolation == log::Isolation::read_committed) {
    auto look = [&](log::ReadMode mode) { return log.aborted(from, out.last_stable, mode); };
    auto aborted = co_await read_warm(pool, std::move(look));
    if (!aborted) {
      out.error = aborted.error().error.code;
      co_return out;
    }
    out.aborted = std::move(*aborted);
  }
  if (slice->length <= copied_bytes_max) {
    auto memory = bytes::Shared::allocate(slice->length);
    auto got = slice->file->read_cached_at(slice->position, memory.mutable_view());
    if (!got || *got < slice->length) {
      auto cold = [&] { return slice->file->read_at(slice->position, memory.mutable_view()); };
      got = co_await pool.run(std::move(cold));
      if (!got || *got < slice->length) {
        out.error = ErrorCode::KAFKA_STORAGE_ERROR;
        WEIR_LOG_LIMITED(error, seconds(1), "cannot read {} at {}: {}", partition->id().text(), from.value,
                         got ? "the file is shorter than the log" : got.error().message);
        co_return out;
      }
    }
    out.records.memory = std::move(memory);
  } else {
    if (!slice->file->cached(slice->position, slice->length)) {
      auto warm = [&] { return slice->file->warm(slice->position, slice->length); };
      if (auto warmed = co_await pool.run(std::move(warm)); !warmed) {
        out.error = ErrorCode::KAFKA_STORAGE_ERROR;
        co_return out;
      }
    }
    out.records.file = slice->file;
    out.records.position = slice->position;
    out.records.length = slice->length;
  }
  co_return out;
}

}  // namespace weir::broker
