#include "log/segment.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/log.h"
#include "bytes/crc32c.h"
#include "log/checkpoint.h"
#include "log/names.h"

namespace weir::log {
namespace {

constexpr std::size_t scan_window = 4 * KiB;  // about what stands between two index entries
constexpr std::size_t recover_window = 1 * MiB;
constexpr std::size_t batch_in_memory_max = 8 * MiB;  // larger ones are checked piece by piece
constexpr std::uint64_t warm_ahead = 64 * KiB;

std::unexpected<Fault> io_fault(const runtime::IoError& error) {
  return fault(ErrorCode::KAFKA_STORAGE_ERROR, error.message);
}

// What a header says, in any magic. `at` holds header_size bytes, or what there is of a smaller message.
BatchInfo info_of(bytes::Bytes header, std::uint64_t position) {
  const record::BatchView view(header);
  BatchInfo out;
  out.base_offset = view.base_offset();
  out.position = position;
  out.size = static_cast<std::uint32_t>(view.size());
  out.magic = view.magic();
  if (out.magic >= 2) {
    out.last_offset = view.last_offset();
    out.max_timestamp = view.max_timestamp();
    out.leader_epoch = view.leader_epoch();
  } else {
    out.last_offset = out.base_offset;
    if (out.magic == 1) out.max_timestamp = bytes::load_big<std::int64_t>(header.data() + 18);
  }
  return out;
}

// Why the bytes at the head of a batch cannot be one; nothing when they can. `left` is what the file has from there.
std::optional<std::string> implausible(bytes::Bytes header, std::uint64_t left) {
  if (left < record::header_to_magic) return "it ends within a header";
  const record::BatchView view(header);
  const auto magic = view.magic();
  if (magic < 0 || magic > 2) return fmt::format("magic {} does not exist", magic);
  if (view.length() < record::length_min_any || (magic == 2 && view.size() < record::header_size)) {
    return fmt::format("a length of {} is too small", view.length());
  }
  if (view.size() > left) return fmt::format("a batch of {} bytes goes beyond the end", view.size());
  if (magic == 2 && (view.last_offset_delta() < 0 || view.base_offset() < Offset{0}))
    return "its offsets are impossible";
  return std::nullopt;
}

}  // namespace

// Reads headers through a window of one segment.
class Segment::Headers {
 public:
  Headers(const Segment& segment, FileCache& cache, ReadMode mode) : segment_(segment), cache_(cache), mode_(mode) {}

  Read<std::optional<BatchInfo>> at(std::uint64_t position) {
    if (position >= segment_.size_) return std::nullopt;
    const auto left = segment_.size_ - position;
    const auto need = static_cast<std::size_t>(std::min<std::uint64_t>(left, record::header_size));
    if (position < begin_ || position + need > begin_ + held_) {
      if (auto filled = fill(position, need); !filled) return std::unexpected(filled.error());
    }
    const auto header = bytes::Bytes(window_).subspan(static_cast<std::size_t>(position - begin_), need);
    if (auto why = implausible(header, left)) {
      return fault(ErrorCode::CORRUPT_MESSAGE,
                   fmt::format("{}: no batch at position {}: {}", segment_.path(log_suffix), position, *why));
    }
    return info_of(header, position);
  }

 private:
  Read<> fill(std::uint64_t position, std::size_t need) {
    if (!file_) {
      auto file = segment_.file(cache_);
      if (!file) return io_fault(file.error());
      file_ = std::move(*file);
    }
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(segment_.size_ - position, window_.size()));
    auto out = bytes::MutableBytes(window_).first(want);
    auto got = mode_ == ReadMode::may_block ? file_->read_at(position, out) : file_->read_cached_at(position, out);
    if (!got) return io_fault(got.error());
    begin_ = position;
    held_ = *got;
    if (held_ >= need) return {};
    if (mode_ == ReadMode::cached_only) {
      return std::unexpected(
          Fault{Cold{file_, position, std::min<std::uint64_t>(segment_.size_ - position, warm_ahead)}, {}});
    }
    return fault(ErrorCode::KAFKA_STORAGE_ERROR, segment_.path(log_suffix) + " is shorter than it was");
  }

  const Segment& segment_;
  FileCache& cache_;
  ReadMode mode_;
  std::shared_ptr<runtime::File> file_;
  std::array<std::byte, scan_window> window_;
  std::uint64_t begin_ = 0;
  std::size_t held_ = 0;
};

Segment::Segment(std::string directory, Offset base, std::int64_t created_ms)
    : directory_(std::move(directory)),
      base_(base),
      created_ms_(created_ms),
      max_timestamp_{no_timestamp, base},
      offsets_(path(index_suffix), base),
      times_(path(time_index_suffix), base) {}

std::string Segment::path(std::string_view suffix) const { return directory_ + "/" + segment_file(base_, suffix); }

runtime::Io<std::shared_ptr<runtime::File>> Segment::file(FileCache& cache) const {
  return cache.get(path(log_suffix));
}

runtime::Io<> Segment::open(FileCache& cache, bool trim) {
  auto opened = file(cache);
  if (!opened) return std::unexpected(opened.error());
  auto size = (*opened)->size();
  if (!size) return std::unexpected(size.error());
  size_ = *size;
  if (auto done = offsets_.open(cache, trim); !done) return done;
  if (auto done = times_.open(cache, trim); !done) return done;
  max_timestamp_ = times_.last().value_or(TimeEntry{no_timestamp, base_});
  return {};
}

runtime::Io<> Segment::create(FileCache& cache) {
  auto made = cache.get(path(log_suffix), true);
  if (!made) return std::unexpected(made.error());
  if (auto done = (*made)->truncate(0); !done) return done;
  if (auto done = offsets_.discard(cache); !done) return done;
  if (auto done = times_.discard(cache); !done) return done;
  size_ = since_index_entry_ = 0;
  max_timestamp_ = {no_timestamp, base_};
  first_timestamp_.reset();
  first_timestamp_known_ = true;
  return {};
}

void Segment::note(const BatchInfo& batch) {
  if (batch.position == 0) {
    first_timestamp_ = batch.max_timestamp;
    first_timestamp_known_ = true;
  }
  if (batch.max_timestamp > max_timestamp_.timestamp) max_timestamp_ = {batch.max_timestamp, batch.last_offset};
}

void Segment::index(const BatchInfo& batch, std::int32_t index_interval_bytes) {
  note(batch);
  if (since_index_entry_ > static_cast<std::uint64_t>(index_interval_bytes)) {
    offsets_.append({batch.last_offset, static_cast<std::uint32_t>(batch.position)});
    if (max_timestamp_.timestamp > times_.last().value_or(TimeEntry{}).timestamp) times_.append(max_timestamp_);
    since_index_entry_ = 0;
  }
  since_index_entry_ += batch.size;
}

runtime::Io<> Segment::append(FileCache& cache, bytes::Bytes records, std::int32_t index_interval_bytes) {
  auto opened = file(cache);
  if (!opened) return std::unexpected(opened.error());
  if (auto done = (*opened)->write_at(size_, records); !done) return done;
  const auto begin = size_;
  size_ += records.size();
  for (std::size_t at = 0; at < records.size();) {
    const auto batch = info_of(records.subspan(at), begin + at);
    index(batch, index_interval_bytes);
    at += batch.size;
  }
  if (offsets_.tail_full() || times_.tail_full()) {
    // An index that cannot be written now is written with the next block, or rebuilt after a crash.
    if (auto done = write_indexes(cache); !done) {
      WEIR_LOG_LIMITED(warn, std::chrono::seconds(10), "{}", done.error().message);
    }
  }
  return {};
}

runtime::Io<> Segment::cut_tail(FileCache& cache) {
  auto opened = file(cache);
  if (!opened) return std::unexpected(opened.error());
  return (*opened)->truncate(size_);
}

Read<std::optional<BatchInfo>> Segment::batch_at(FileCache& cache, std::uint64_t position, ReadMode mode) const {
  return Headers(*this, cache, mode).at(position);
}

Read<std::optional<BatchInfo>> Segment::find(FileCache& cache, Offset offset, ReadMode mode) const {
  auto entry = offsets_.lookup(cache, offset.value, mode);
  if (!entry) return std::unexpected(entry.error());
  Headers headers(*this, cache, mode);
  std::uint64_t position = *entry ? (*entry)->position : 0;
  while (true) {
    auto batch = headers.at(position);
    if (!batch || !*batch || (*batch)->last_offset >= offset) return batch;
    position += (*batch)->size;
  }
}

Read<std::optional<BatchInfo>> Segment::find_timestamp(FileCache& cache, TimestampMs timestamp, Offset from,
                                                       ReadMode mode) const {
  auto time = times_.lookup(cache, timestamp, mode);
  if (!time) return std::unexpected(time.error());
  const auto start = std::max(*time ? (*time)->offset : base_, from);
  auto entry = offsets_.lookup(cache, start.value, mode);
  if (!entry) return std::unexpected(entry.error());
  Headers headers(*this, cache, mode);
  std::uint64_t position = *entry ? (*entry)->position : 0;
  while (true) {
    auto batch = headers.at(position);
    if (!batch || !*batch) return batch;
    if ((*batch)->max_timestamp >= timestamp && (*batch)->last_offset >= from) return batch;
    position += (*batch)->size;
  }
}

Read<bytes::Shared> Segment::read_batch(FileCache& cache, const BatchInfo& batch, ReadMode mode) const {
  auto opened = file(cache);
  if (!opened) return io_fault(opened.error());
  auto out = bytes::Shared::allocate(batch.size);
  auto got = mode == ReadMode::may_block ? (*opened)->read_at(batch.position, out.mutable_view())
                                         : (*opened)->read_cached_at(batch.position, out.mutable_view());
  if (!got) return io_fault(got.error());
  if (*got < batch.size) {
    if (mode == ReadMode::cached_only) return std::unexpected(Fault{Cold{*opened, batch.position, batch.size}, {}});
    return fault(ErrorCode::KAFKA_STORAGE_ERROR, path(log_suffix) + " is shorter than it was");
  }
  return out;
}

Read<Offset> Segment::next_offset(FileCache& cache, ReadMode mode) const {
  Headers headers(*this, cache, mode);
  std::uint64_t position = offsets_.last() ? offsets_.last()->position : 0;
  auto next = base_;
  while (true) {
    auto batch = headers.at(position);
    if (!batch) return std::unexpected(batch.error());
    if (!*batch) return next;
    next = (*batch)->last_offset + 1;
    position += (*batch)->size;
  }
}

namespace {

// Reads a segment from front to end, batch by batch, through a window of bounded size.
class Walker {
 public:
  Walker(runtime::File& file, std::uint64_t size, std::uint64_t position)
      : file_(file), size_(size), position_(position), window_(recover_window) {}

  std::uint64_t position() const { return position_; }

  // The next batch: as much of it as fits the window. Nothing at the end, or where no batch is (`why()`).
  runtime::Io<std::optional<bytes::Bytes>> next() {
    why_.clear();
    if (position_ >= size_) return std::nullopt;
    const auto left = size_ - position_;
    if (auto held = hold(std::min<std::uint64_t>(left, record::header_size)); !held) {
      return std::unexpected(held.error());
    }
    if (auto bad = implausible(view(), left)) {
      why_ = std::move(*bad);
      return std::nullopt;
    }
    const auto size = record::BatchView(view()).size();
    if (auto held = hold(std::min<std::uint64_t>(size, batch_in_memory_max)); !held) {
      return std::unexpected(held.error());
    }
    return view().first(std::min(size, view().size()));
  }
  const std::string& why() const { return why_; }

  // Whether the checksum of the batch that next() gave is right; reads what was not held.
  runtime::Io<bool> sound(bytes::Bytes held) {
    const record::BatchView batch(held);
    if (batch.magic() < 2) return true;
    auto crc = bytes::crc32c(held.subspan(record::attributes_at));
    std::vector<std::byte> piece;
    for (std::uint64_t at = held.size(); at < batch.size(); at += piece.size()) {
      piece.resize(static_cast<std::size_t>(std::min<std::uint64_t>(batch.size() - at, recover_window)));
      auto got = file_.read_at(position_ + at, piece);
      if (!got) return std::unexpected(got.error());
      if (*got < piece.size()) return false;
      crc = bytes::crc32c_extend(crc, piece);
    }
    return crc == batch.crc();
  }
  void advance(std::uint64_t bytes) {
    position_ += bytes;
    const auto step = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, end_ - begin_));
    begin_ += step;
    if (step < bytes) begin_ = end_ = 0;
  }

 private:
  bytes::Bytes view() const { return bytes::Bytes(window_).subspan(begin_, end_ - begin_); }

  runtime::Io<> hold(std::uint64_t need) {
    if (end_ - begin_ >= need) return {};
    std::memmove(window_.data(), window_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    if (need > window_.size()) window_.resize(static_cast<std::size_t>(need));
    const auto from = position_ + end_;
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(window_.size() - end_, size_ - from));
    auto got = file_.read_at(from, bytes::MutableBytes(window_).subspan(end_, want));
    if (!got) return std::unexpected(got.error());
    end_ += *got;
    if (end_ < need) return std::unexpected(runtime::IoError{EIO, "a segment is shorter than it was"});
    return {};
  }

  runtime::File& file_;
  std::uint64_t size_;
  std::uint64_t position_;
  std::vector<std::byte> window_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::string why_;
};

}  // namespace

Result<std::uint64_t> Segment::recover(FileCache& cache, std::int32_t index_interval_bytes, const Seen& seen) {
  auto opened = file(cache);
  if (!opened) return storage_error(opened.error());
  auto size = (*opened)->size();
  if (!size) return storage_error(size.error());
  if (auto done = offsets_.reset(cache); !done) return storage_error(done.error());
  if (auto done = times_.reset(cache); !done) return storage_error(done.error());
  max_timestamp_ = {no_timestamp, base_};
  since_index_entry_ = 0;
  first_timestamp_.reset();
  first_timestamp_known_ = true;

  Walker walker(**opened, *size, 0);
  auto next = base_;
  std::string why;
  while (true) {
    auto held = walker.next();
    if (!held) return storage_error(held.error());
    if (!*held) {
      why = walker.why();
      break;
    }
    const record::BatchView batch(**held);
    const auto info = info_of(**held, walker.position());
    auto sound = walker.sound(**held);
    if (!sound) return storage_error(sound.error());
    if (!*sound || info.base_offset < next || !fits(info.last_offset)) {
      why = *sound ? "its offsets do not follow" : "its checksum is wrong";
      break;
    }
    next = info.last_offset + 1;
    index(info, index_interval_bytes);
    if (offsets_.tail_full() || times_.tail_full()) {
      if (auto done = write_indexes(cache); !done) return storage_error(done.error());
    }
    if (seen) seen(batch);
    walker.advance(info.size);
  }
  size_ = walker.position();
  const auto cut = *size - size_;
  if (cut > 0) {
    WEIR_LOG(warn, "{}: cut {} bytes from position {} on: {}", path(log_suffix), cut, size_, why);
    if (auto done = (*opened)->truncate(size_); !done) return storage_error(done.error());
    // As after truncate(): a clean stop may follow that has nothing more to flush here.
    if (auto done = (*opened)->sync(); !done) return storage_error(done.error());
  }
  if (max_timestamp_.timestamp > times_.last().value_or(TimeEntry{}).timestamp) times_.append(max_timestamp_);
  if (auto done = write_indexes(cache); !done) return storage_error(done.error());
  return cut;
}

Result<> Segment::scan(FileCache& cache, Offset from, const Seen& seen) const {
  auto first = find(cache, from, ReadMode::may_block);
  if (!first) return std::unexpected(first.error().error);
  if (!*first) return {};
  auto opened = file(cache);
  if (!opened) return storage_error(opened.error());
  Walker walker(**opened, size_, (*first)->position);
  while (true) {
    auto held = walker.next();
    if (!held) return storage_error(held.error());
    if (!*held) {
      if (walker.why().empty()) return {};
      return fail(ErrorCode::CORRUPT_MESSAGE,
                  fmt::format("{}: no batch at position {}: {}", path(log_suffix), walker.position(), walker.why()));
    }
    const record::BatchView batch(**held);
    seen(batch);
    walker.advance(batch.size());
  }
}

Result<std::uint64_t> Segment::truncate(FileCache& cache, Offset offset) {
  auto from = find(cache, offset, ReadMode::may_block);
  if (!from) return std::unexpected(from.error().error);
  if (auto done = offsets_.truncate(cache, offset); !done) return storage_error(done.error());
  if (auto done = times_.truncate(cache, offset); !done) return storage_error(done.error());
  if (!*from) return 0;
  auto opened = file(cache);
  if (!opened) return storage_error(opened.error());
  const auto cut = size_ - (*from)->position;
  if (auto done = (*opened)->truncate((*from)->position); !done) return storage_error(done.error());
  size_ = (*from)->position;
  // On the disk before anything is written over it: what comes back after a power failure must not be old and new
  // batches one behind the other, each with a right checksum.
  if (auto done = (*opened)->sync(); !done) return storage_error(done.error());
  since_index_entry_ = 0;

  // The batch that holds `offset` went whole, so an entry for it may name what is no longer there: both are by the
  // last offset of a batch, and those of batches cut are at `offset` or after. What is left is searched for the
  // largest timestamp after the last entry.
  max_timestamp_ = times_.last().value_or(TimeEntry{no_timestamp, base_});
  first_timestamp_.reset();
  first_timestamp_known_ = size_ == 0;
  Headers headers(*this, cache, ReadMode::may_block);
  std::uint64_t position = 0;
  if (size_ > 0) {
    auto first = headers.at(0);
    if (!first) return std::unexpected(first.error().error);
    note(**first);
    auto near = offsets_.lookup(cache, max_timestamp_.offset.value, ReadMode::may_block);
    if (!near) return std::unexpected(near.error().error);
    position = *near ? (*near)->position : 0;
  }
  while (position < size_) {
    auto batch = headers.at(position);
    if (!batch) return std::unexpected(batch.error().error);
    note(**batch);
    position += (*batch)->size;
  }
  return cut;
}

runtime::Io<> Segment::write_indexes(FileCache& cache) {
  if (auto done = offsets_.write_tail(cache); !done) return done;
  return times_.write_tail(cache);
}

runtime::Io<> Segment::close(FileCache& cache) {
  if (size_ > 0 && max_timestamp_.timestamp > times_.last().value_or(TimeEntry{}).timestamp)
    times_.append(max_timestamp_);
  if (auto done = write_indexes(cache); !done) return done;
  if (auto done = offsets_.ensure_file(cache); !done) return done;
  return times_.ensure_file(cache);
}

Read<> Segment::load_first_timestamp(FileCache& cache, ReadMode mode) {
  if (first_timestamp_known_) return {};
  auto batch = batch_at(cache, 0, mode);
  if (!batch) return std::unexpected(batch.error());
  if (*batch) first_timestamp_ = (*batch)->max_timestamp;
  first_timestamp_known_ = true;
  return {};
}

bool Segment::index_full(std::int32_t segment_index_bytes) const {
  const auto room = static_cast<std::uint64_t>(std::max(segment_index_bytes, 0));
  return offsets_.entries() >= std::max<std::uint64_t>(room / offset_entry_size, 1) ||
         times_.entries() + 1 >= std::max<std::uint64_t>(room / time_entry_size, 2);
}

runtime::Io<std::vector<std::string>> Segment::mark_deleted(FileCache& cache) {
  std::vector<std::string> out;
  for (auto suffix : {log_suffix, index_suffix, time_index_suffix, txn_index_suffix, snapshot_suffix}) {
    const auto from = path(suffix);
    const auto to = from + std::string(deleted_suffix);
    cache.forget(from);
    auto done = cache.files().rename(from, to);
    if (done) {
      out.push_back(to);
    } else if (done.error().number != ENOENT) {
      return std::unexpected(done.error());
    }
  }
  return out;
}

void Segment::move_to(FileCache& cache, std::string directory) {
  for (auto suffix : {log_suffix, index_suffix, time_index_suffix}) cache.forget(path(suffix));
  directory_ = std::move(directory);
  offsets_.move_to(path(index_suffix));
  times_.move_to(path(time_index_suffix));
}

}  // namespace weir::log
