// The sparse indexes beside a segment: `.index` (offset to position) and `.timeindex` (timestamp to offset).
//
// Entries are appended to a small tail in memory and written out in blocks; lookups search the tail, then the file
// by reads. Nothing else is kept in memory, so an index at rest costs its tail only. Offsets are relative to the
// segment's base (4 bytes). An entry lost in a crash costs a longer scan: recovery rebuilds the indexes of what was
// not flushed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/units.h"
#include "log/fault.h"
#include "log/file_cache.h"

namespace weir::log {

struct OffsetEntry {
  Offset offset;               // last offset of the batch at `position`
  std::uint32_t position = 0;  // in the .log
};
struct TimeEntry {
  TimestampMs timestamp = no_timestamp;
  Offset offset;
};

// An entry of the index file, and what both indexes do alike.
template <class Entry>
class SparseIndex {
 public:
  SparseIndex(std::string path, Offset base) : path_(std::move(path)), base_(base) {}

  // Learns the number of entries from the file (missing: none), drops a broken tail (part of an entry, zeros that a
  // Java broker preallocated and did not trim) when `trim`.
  runtime::Io<> open(FileCache& cache, bool trim);
  void append(Entry entry);
  // Writes the tail to the file; it is kept when that fails.
  runtime::Io<> write_tail(FileCache& cache);
  bool tail_full() const { return tail_.size() >= tail_max; }
  // The last entry whose key (offset, timestamp) is not after `key`; nothing when all are.
  Read<std::optional<Entry>> lookup(FileCache& cache, std::int64_t key, ReadMode mode) const;
  std::optional<Entry> last() const { return last_; }
  std::uint64_t entries() const { return written_ + tail_.size(); }
  // Drops entries for offsets from `offset` on.
  runtime::Io<> truncate(FileCache& cache, Offset offset);
  // Empty, with an empty file.
  runtime::Io<> reset(FileCache& cache);
  // Empty, without a file: the first entries make it, or the clean stop.
  runtime::Io<> discard(FileCache& cache);
  // The file is there, if only empty: a closed segment without one is taken for damaged.
  runtime::Io<> ensure_file(FileCache& cache);
  const std::string& path() const { return path_; }
  void move_to(std::string path) { path_ = std::move(path); }

  static constexpr std::size_t tail_max = 32;

 private:
  Read<Entry> entry_at(FileCache& cache, std::uint64_t n, ReadMode mode) const;
  // The entries of the file for which `before(entry)`; they come first.
  template <class Fn>
  Read<std::uint64_t> count_before(FileCache& cache, ReadMode mode, Fn before) const;

  std::string path_;
  Offset base_;
  std::uint64_t written_ = 0;  // entries in the file
  std::vector<Entry> tail_;
  std::optional<Entry> last_;
};

using OffsetIndex = SparseIndex<OffsetEntry>;
using TimeIndex = SparseIndex<TimeEntry>;
extern template class SparseIndex<OffsetEntry>;
extern template class SparseIndex<TimeEntry>;

inline constexpr std::size_t offset_entry_size = 8;
inline constexpr std::size_t time_entry_size = 12;

}  // namespace weir::log
