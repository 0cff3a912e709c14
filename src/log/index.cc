#include "log/index.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <type_traits>

#include "bytes/cursor.h"

namespace weir::log {
namespace {

template <class Entry>
constexpr std::size_t entry_size = std::is_same_v<Entry, OffsetEntry> ? offset_entry_size : time_entry_size;

std::int64_t key_of(const OffsetEntry& entry) { return entry.offset.value; }
std::int64_t key_of(const TimeEntry& entry) { return entry.timestamp; }

// Offsets stand relative to the base.
void encode(const OffsetEntry& entry, Offset base, std::byte* to) {
  bytes::store_big(to, static_cast<std::int32_t>(entry.offset - base));
  bytes::store_big(to + 4, static_cast<std::int32_t>(entry.position));
}
void encode(const TimeEntry& entry, Offset base, std::byte* to) {
  bytes::store_big(to, entry.timestamp);
  bytes::store_big(to + 8, static_cast<std::int32_t>(entry.offset - base));
}
void decode(const std::byte* from, Offset base, OffsetEntry& entry) {
  entry.offset = base + bytes::load_big<std::int32_t>(from);
  entry.position = bytes::load_big<std::uint32_t>(from + 4);
}
void decode(const std::byte* from, Offset base, TimeEntry& entry) {
  entry.timestamp = bytes::load_big<std::int64_t>(from);
  entry.offset = base + bytes::load_big<std::int32_t>(from + 8);
}
// Not an entry but a part that was preallocated and never written.
bool blank(const OffsetEntry& entry, Offset base) { return entry.offset == base && entry.position == 0; }
bool blank(const TimeEntry& entry, Offset base) { return entry.timestamp == 0 && entry.offset == base; }

std::unexpected<Fault> io_fault(const runtime::IoError& error) {
  return fault(ErrorCode::KAFKA_STORAGE_ERROR, error.message);
}
runtime::IoError as_io(const Fault& f) { return {EIO, f.error.message}; }

}  // namespace

template <class Entry>
runtime::Io<> SparseIndex<Entry>::open(FileCache& cache, bool trim) {
  written_ = 0;
  tail_.clear();
  last_.reset();
  auto file = cache.get(path_);
  if (!file) {
    if (file.error().number == ENOENT) return {};
    return std::unexpected(file.error());
  }
  auto size = (*file)->size();
  if (!size) return std::unexpected(size.error());
  written_ = *size / entry_size<Entry>;
  if (written_ > 0) {
    auto last = entry_at(cache, written_ - 1, ReadMode::may_block);
    if (!last) return std::unexpected(as_io(last.error()));
    if (blank(*last, base_)) {
      auto count = count_before(cache, ReadMode::may_block, [&](const Entry& e) { return !blank(e, base_); });
      if (!count) return std::unexpected(as_io(count.error()));
      written_ = *count;
      if (written_ > 0) {
        last = entry_at(cache, written_ - 1, ReadMode::may_block);
        if (!last) return std::unexpected(as_io(last.error()));
      }
    }
    if (written_ > 0) last_ = *last;
  }
  if (trim && *size != written_ * entry_size<Entry>) return (*file)->truncate(written_ * entry_size<Entry>);
  return {};
}

template <class Entry>
void SparseIndex<Entry>::append(Entry entry) {
  tail_.push_back(entry);
  last_ = entry;
}

template <class Entry>
runtime::Io<> SparseIndex<Entry>::write_tail(FileCache& cache) {
  if (tail_.empty()) return {};
  std::vector<std::byte> block(tail_.size() * entry_size<Entry>);
  for (std::size_t i = 0; i < tail_.size(); ++i) encode(tail_[i], base_, block.data() + i * entry_size<Entry>);
  auto file = cache.get(path_, true);
  if (!file) return std::unexpected(file.error());
  auto done = (*file)->write_at(written_ * entry_size<Entry>, bytes::Bytes(block));
  if (!done) return done;
  written_ += tail_.size();
  tail_.clear();
  tail_.shrink_to_fit();
  return {};
}

template <class Entry>
Read<Entry> SparseIndex<Entry>::entry_at(FileCache& cache, std::uint64_t n, ReadMode mode) const {
  auto file = cache.get(path_);
  if (!file) return io_fault(file.error());
  std::array<std::byte, entry_size<Entry>> raw;
  const auto position = n * raw.size();
  auto got = mode == ReadMode::may_block ? (*file)->read_at(position, raw) : (*file)->read_cached_at(position, raw);
  if (!got) return io_fault(got.error());
  if (*got < raw.size()) {
    if (mode == ReadMode::cached_only) {
      return std::unexpected(Fault{Cold{*file, 0, written_ * raw.size()}, {}});
    }
    return fault(ErrorCode::KAFKA_STORAGE_ERROR, path_ + " is shorter than it was");
  }
  Entry entry;
  decode(raw.data(), base_, entry);
  return entry;
}

template <class Entry>
template <class Fn>
Read<std::uint64_t> SparseIndex<Entry>::count_before(FileCache& cache, ReadMode mode, Fn before) const {
  std::uint64_t low = 0;
  std::uint64_t high = written_;
  while (low < high) {
    const auto middle = low + (high - low) / 2;
    auto entry = entry_at(cache, middle, mode);
    if (!entry) return std::unexpected(entry.error());
    if (before(*entry)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

template <class Entry>
Read<std::optional<Entry>> SparseIndex<Entry>::lookup(FileCache& cache, std::int64_t key, ReadMode mode) const {
  if (last_ && key_of(*last_) <= key) return last_;
  const auto after = std::ranges::find_if(tail_, [&](const Entry& e) { return key_of(e) > key; });
  if (after != tail_.begin()) return *std::prev(after);
  auto count = count_before(cache, mode, [&](const Entry& e) { return key_of(e) <= key; });
  if (!count) return std::unexpected(count.error());
  if (*count == 0) return std::nullopt;
  auto entry = entry_at(cache, *count - 1, mode);
  if (!entry) return std::unexpected(entry.error());
  return *entry;
}

template <class Entry>
runtime::Io<> SparseIndex<Entry>::truncate(FileCache& cache, Offset offset) {
  std::erase_if(tail_, [&](const Entry& e) { return e.offset >= offset; });
  if (!tail_.empty()) {
    last_ = tail_.back();
    return {};
  }
  auto count = count_before(cache, ReadMode::may_block, [&](const Entry& e) { return e.offset < offset; });
  if (!count) return std::unexpected(as_io(count.error()));
  if (*count < written_) {
    auto file = cache.get(path_);
    if (!file) return std::unexpected(file.error());
    if (auto done = (*file)->truncate(*count * entry_size<Entry>); !done) return done;
  }
  written_ = *count;
  last_.reset();
  if (written_ > 0) {
    auto entry = entry_at(cache, written_ - 1, ReadMode::may_block);
    if (!entry) return std::unexpected(as_io(entry.error()));
    last_ = *entry;
  }
  return {};
}

template <class Entry>
runtime::Io<> SparseIndex<Entry>::reset(FileCache& cache) {
  written_ = 0;
  tail_.clear();
  last_.reset();
  auto file = cache.get(path_, true);
  if (!file) return std::unexpected(file.error());
  return (*file)->truncate(0);
}

template <class Entry>
runtime::Io<> SparseIndex<Entry>::discard(FileCache& cache) {
  written_ = 0;
  tail_.clear();
  last_.reset();
  cache.forget(path_);
  auto done = cache.files().remove(path_);
  if (!done && done.error().number != ENOENT) return done;
  return {};
}

template <class Entry>
runtime::Io<> SparseIndex<Entry>::ensure_file(FileCache& cache) {
  if (auto file = cache.get(path_, true); !file) return std::unexpected(file.error());
  return {};
}

template class SparseIndex<OffsetEntry>;
template class SparseIndex<TimeEntry>;

}  // namespace weir::log
