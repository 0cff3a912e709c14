// A segment: one `.log` file with its indexes. The last one of a log takes appends, the others are closed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "log/config.h"
#include "log/fault.h"
#include "log/file_cache.h"
#include "log/index.h"
#include "record/batch.h"

namespace weir::log {

// What a scan sees of a batch: its header's facts and where it stands.
struct BatchInfo {
  Offset base_offset;
  Offset last_offset;
  TimestampMs max_timestamp = no_timestamp;
  LeaderEpoch leader_epoch = no_leader_epoch;
  std::uint64_t position = 0;
  std::uint32_t size = 0;
  std::int8_t magic = 2;
};

class Segment {
 public:
  // For the segment with this base in `directory`; touches no disk.
  Segment(std::string directory, Offset base, std::int64_t created_ms);

  // The sizes of the files. `trim` repairs the tails of the indexes (the active segment).
  runtime::Io<> open(FileCache& cache, bool trim);
  // Makes the new, empty .log; the indexes' files come with their first entries or with close().
  runtime::Io<> create(FileCache& cache);

  Offset base_offset() const { return base_; }
  std::uint64_t size() const { return size_; }
  std::int64_t created_ms() const { return created_ms_; }
  TimestampMs max_timestamp() const { return max_timestamp_.timestamp; }
  Offset offset_of_max_timestamp() const { return max_timestamp_.offset; }
  std::string path(std::string_view suffix) const;
  runtime::Io<std::shared_ptr<runtime::File>> file(FileCache& cache) const;

  // The bytes hold whole batches that begin at size(). One write. On failure nothing is changed here, and the file
  // may hold a torn tail beyond size(): see cut_tail.
  runtime::Io<> append(FileCache& cache, bytes::Bytes records, std::int32_t index_interval_bytes);
  // Cuts the file to size() after a failed write.
  runtime::Io<> cut_tail(FileCache& cache);

  // The first batch that ends at or after `offset`, from index and headers; nothing when all end before.
  Read<std::optional<BatchInfo>> find(FileCache& cache, Offset offset, ReadMode mode) const;
  // The batch at `position`, nothing at the end of the segment. CORRUPT_MESSAGE for what is not a batch.
  Read<std::optional<BatchInfo>> batch_at(FileCache& cache, std::uint64_t position, ReadMode mode) const;
  // The first batch with a max timestamp of at least `timestamp` that ends at or after `from`.
  Read<std::optional<BatchInfo>> find_timestamp(FileCache& cache, TimestampMs timestamp, Offset from,
                                                ReadMode mode) const;
  // A whole batch.
  Read<bytes::Shared> read_batch(FileCache& cache, const BatchInfo& batch, ReadMode mode) const;
  // The offset after the last record; the base when empty.
  Read<Offset> next_offset(FileCache& cache, ReadMode mode) const;

  // Reads everything, keeps whole batches with the right checksum, cuts the rest, rebuilds both indexes. `seen` is
  // told of each batch kept, with the whole bytes. Gives the bytes cut. Blocks.
  using Seen = std::function<void(record::BatchView batch)>;
  Result<std::uint64_t> recover(FileCache& cache, std::int32_t index_interval_bytes, const Seen& seen);
  // Tells `seen` of each batch from `from` on. Blocks.
  Result<> scan(FileCache& cache, Offset from, const Seen& seen) const;

  // Drops what is at `offset` and after. Gives the bytes cut. Blocks.
  Result<std::uint64_t> truncate(FileCache& cache, Offset offset);
  // No more appends: the last time index entry, the tails written.
  runtime::Io<> close(FileCache& cache);
  runtime::Io<> write_indexes(FileCache& cache);
  // The timestamp by which segment.ms counts: the first batch's, when it has one.
  std::optional<TimestampMs> first_timestamp() const { return first_timestamp_; }
  bool first_timestamp_known() const { return first_timestamp_known_; }
  Read<> load_first_timestamp(FileCache& cache, ReadMode mode);

  bool index_full(std::int32_t segment_index_bytes) const;
  // Whether the offset can be written relative to the base in the index.
  bool fits(Offset offset) const { return offset >= base_ && offset - base_ <= INT32_MAX; }

  // Renames the files to `.deleted`; gives their new paths.
  runtime::Io<std::vector<std::string>> mark_deleted(FileCache& cache);
  void move_to(FileCache& cache, std::string directory);

 private:
  class Headers;
  void note(const BatchInfo& batch);
  void index(const BatchInfo& batch, std::int32_t index_interval_bytes);

  std::string directory_;
  Offset base_;
  std::int64_t created_ms_;
  std::uint64_t size_ = 0;
  std::uint64_t since_index_entry_ = 0;
  TimeEntry max_timestamp_;
  std::optional<TimestampMs> first_timestamp_;
  bool first_timestamp_known_ = false;
  OffsetIndex offsets_;
  TimeIndex times_;
};

}  // namespace weir::log
