#include "log/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "bytes/cursor.h"
#include "log/checkpoint.h"

namespace weir::log {
namespace {

record::Rejection rejection(Error error) { return {std::move(error), {}}; }

constexpr std::size_t aborted_entry_size = 34;

}  // namespace

runtime::Io<> FlushWork::run() {
  for (const auto& file : files_) {
    if (auto done = file->sync(); !done) return done;
  }
  for (const auto& path : paths_) {
    auto file = system_->open(path, runtime::Open::write);
    if (!file) {
      if (file.error().number == ENOENT) continue;
      return std::unexpected(file.error());
    }
    if (auto done = (*file)->sync(); !done) return done;
  }
  for (const auto& directory : directories_) {
    auto done = system_->sync_directory(directory);
    if (!done && done.error().number != ENOENT) return done;
  }
  return {};
}

runtime::Io<> Removal::run(runtime::Files& files) const {
  for (const auto& path : paths_) {
    if (auto done = files.remove_all(path); !done) return done;
  }
  return {};
}

Log::Log(FileCache& cache, Start start)
    : cache_(cache),
      partition_(std::move(start.partition)),
      directory_(std::move(start.directory)),
      config_(start.config),
      log_start_(start.log_start),
      recovery_point_(start.recovery_point),
      producers_(start.config.producer_expiration_ms),
      last_flush_ms_(start.now),
      jitter_seed_(start.jitter_seed) {}

Log::~Log() = default;

// ---- appending

namespace {

// A compressed batch is walked on the event loop: what one may unpack to is bounded, so that a small batch of much
// cannot hold it up for seconds.
std::uint64_t unpacked_bytes_max(std::int32_t message_bytes_max) {
  return std::max<std::uint64_t>(128 * MiB, 128 * static_cast<std::uint64_t>(std::max(message_bytes_max, 0)));
}

}  // namespace

std::expected<Appended, record::Rejection> Log::append_as_leader(bytes::Shared records, LeaderEpoch epoch,
                                                                 TimestampMs now, record::Origin origin) {
  if (auto fine = usable(); !fine) return std::unexpected(rejection(fine.error()));
  const bool append_time = config_.timestamp_type == record::TimestampType::log_append_time;
  const record::ValidateOptions options{.first_offset = log_end_,
                                        .leader_epoch = epoch,
                                        .now = now,
                                        .origin = origin,
                                        .timestamp_type = config_.timestamp_type,
                                        .timestamp_before_max_ms = config_.timestamp_before_max_ms,
                                        .timestamp_after_max_ms = config_.timestamp_after_max_ms,
                                        .compacted = config_.cleanup_compact,
                                        .compression = config_.compression,
                                        .compression_level = config_.compression_level,
                                        .batch_bytes_max = config_.max_message_bytes,
                                        .unpacked_bytes_max = unpacked_bytes_max(config_.max_message_bytes)};
  auto valid = record::validate(std::move(records), options);
  if (!valid) return std::unexpected(std::move(valid.error()));

  const auto batches = valid->records.view();
  if (batches.size() > static_cast<std::size_t>(config_.segment_bytes)) {
    return std::unexpected(
        rejection({ErrorCode::RECORD_LIST_TOO_LARGE,
                   fmt::format("{} bytes do not fit a segment of {}", batches.size(), config_.segment_bytes)}));
  }
  auto duplicate = producers_.check(record::BatchView(batches), origin);
  if (!duplicate) return std::unexpected(rejection(duplicate.error()));
  Appended out;
  out.log_start = log_start_;
  out.count = valid->count;
  if (*duplicate) {
    out.duplicate = true;
    out.first_offset = (*duplicate)->first_offset();
    out.last_offset = (*duplicate)->last_offset;
    if (append_time) out.log_append_time = (*duplicate)->timestamp;
    return out;
  }
  auto done = write(batches, valid->first_offset, valid->last_offset, valid->max_timestamp, now);
  if (!done) return std::unexpected(rejection(done.error()));
  out.first_offset = valid->first_offset;
  out.last_offset = valid->last_offset;
  out.size = static_cast<std::uint32_t>(batches.size());
  if (append_time) out.log_append_time = now;
  return out;
}

Result<Appended> Log::append_as_follower(bytes::Shared records, TimestampMs now, std::optional<LeaderEpoch> epoch_max) {
  if (auto fine = usable(); !fine) return std::unexpected(fine.error());
  if (epoch_max) {
    record::Batches batches(records.view());
    std::size_t keep = 0;
    while (auto batch = batches.next()) {
      if (batch->leader_epoch() > *epoch_max) {
        records = records.sub(0, keep);
        break;
      }
      keep += batch->size();
    }
  }
  auto checked = record::check_replicated(std::move(records));
  if (!checked) return std::unexpected(checked.error());
  Appended out;
  out.log_start = log_start_;
  out.first_offset = log_end_;
  out.last_offset = log_end_ - 1;
  if (!*checked) return out;
  const auto& batches = **checked;
  if (batches.first_offset < log_end_) {
    return fail(ErrorCode::OFFSET_OUT_OF_RANGE,
                fmt::format("{}: the leader sends offset {}, the log ends at {}", directory_name(partition_),
                            batches.first_offset.value, log_end_.value));
  }
  const bool whole = batches.records.size() <= static_cast<std::size_t>(config_.segment_bytes) &&
                     batches.last_offset - batches.first_offset <= INT32_MAX;
  auto done = whole
                  ? write(batches.records.view(), batches.first_offset, batches.last_offset, batches.max_timestamp, now)
                  : write_in_pieces(batches.records.view(), now);
  if (!done) return std::unexpected(done.error());
  out.first_offset = batches.first_offset;
  out.last_offset = batches.last_offset;
  out.count =
      static_cast<std::int32_t>(std::min<std::int64_t>(batches.last_offset - batches.first_offset + 1, INT32_MAX));
  out.size = static_cast<std::uint32_t>(batches.records.size());
  return out;
}

// As many batches at a time as a segment takes, and at least one: what a leader took, a follower takes, whatever its
// own segment.bytes.
Result<> Log::write_in_pieces(bytes::Bytes records, TimestampMs now) {
  record::Batches batches(records);
  const auto room = static_cast<std::size_t>(config_.segment_bytes);
  std::size_t begin = 0;
  std::size_t end = 0;
  Offset first;
  Offset last;
  TimestampMs newest = no_timestamp;
  while (auto batch = batches.next()) {
    if (end > begin && (end - begin + batch->size() > room || batch->last_offset() - first > INT32_MAX)) {
      if (auto done = write(records.subspan(begin, end - begin), first, last, newest, now); !done) return done;
      begin = end;
    }
    if (begin == end) {
      first = batch->base_offset();
      newest = no_timestamp;
    }
    last = batch->last_offset();
    newest = std::max(newest, batch->max_timestamp());
    end += batch->size();
  }
  return end > begin ? write(records.subspan(begin, end - begin), first, last, newest, now) : Result<>{};
}

Result<> Log::write(bytes::Bytes records, Offset first, Offset last, TimestampMs max_timestamp, TimestampMs now) {
  if (roll_needed(records.size(), last, max_timestamp, now)) {
    // A gap that the leader's cleaner left is inside a segment, not between two: there it would look like a lost end.
    constexpr std::int64_t gap_max = 1LL << 30;
    const auto base = last - log_end_ <= gap_max ? log_end_ : std::max(first, log_end_);
    if (auto done = roll_to(base, now); !done) return done;
  }
  if (!active().fits(last)) {
    return fail(ErrorCode::CORRUPT_MESSAGE, "a batch spans more offsets than a segment can hold");
  }
  // Opened apart, so that a failure to open is not taken for a torn write.
  if (auto file = active().file(cache_); !file) return storage_error(file.error());
  const auto position = active().size();
  if (auto done = active().append(cache_, records, config_.index_interval_bytes); !done) {
    return write_failed(done.error());
  }
  took(records, position, true);
  return {};
}

void Log::took(bytes::Bytes records, std::uint64_t position, bool learn_epochs) {
  record::Batches batches(records);
  bool epochs_changed = false;
  while (auto batch = batches.next()) {
    const Spot spot{batch->base_offset(), batch->last_offset(), position, static_cast<std::uint32_t>(batch->size())};
    if (recent_.size() < recent_max) {
      recent_.push_back(spot);
    } else {
      recent_[recent_next_] = spot;
      recent_next_ = (recent_next_ + 1) % recent_max;
    }
    position += batch->size();
    if (auto done = producers_.update(*batch); done && done->aborted) append_aborted(*done);
    if (learn_epochs) epochs_changed |= epochs_.assign(batch->leader_epoch(), batch->base_offset());
    log_end_ = batch->next_offset();
  }
  producers_.set_end(log_end_);
  if (epochs_changed) {
    if (auto done = write_epochs(); !done) WEIR_LOG(warn, "{}: {}", directory_, done.error().message);
  }
}

std::unexpected<Error> Log::write_failed(const runtime::IoError& error) {
  if (auto cut = active().cut_tail(cache_); !cut) {
    fail_with(fmt::format("{}; then its tail could not be cut: {}", error.message, cut.error().message));
  }
  WEIR_LOG_LIMITED(error, std::chrono::seconds(5), "append to {} failed: {}", directory_name(partition_),
                   error.message);
  return storage_error(error);
}

void Log::append_aborted(const CompletedTransaction& done) {
  std::vector<std::byte> entry(aborted_entry_size);
  bytes::Writer w(entry);
  w.i16(0);  // version
  w.i64(done.producer.value);
  w.i64(done.first.value);
  w.i64(done.last.value);
  w.i64(producers_.last_stable_after(done).value);
  // The segment that holds the marker holds the entry.
  const auto& segment = *segments_[segment_index(done.last)];
  auto file = cache_.get(segment.path(txn_index_suffix), true);
  runtime::Io<> written;
  if (!file) {
    written = std::unexpected(file.error());
  } else if (auto size = (*file)->size(); !size) {
    written = std::unexpected(size.error());
  } else {
    written = (*file)->write_at(*size - *size % aborted_entry_size, bytes::Bytes(entry));
  }
  if (!written) fail_with(written.error().message);
  unsynced_files_[segment.path(txn_index_suffix)] = ++changes_;
}

// ---- rolling

bool Log::roll_needed(std::size_t size, Offset last, TimestampMs max_timestamp, TimestampMs now) const {
  const auto& segment = active();
  if (!segment.fits(last)) return true;
  if (segment.size() == 0) return false;
  if (segment.size() + size > static_cast<std::uint64_t>(config_.segment_bytes)) return true;
  if (segment.index_full(config_.segment_index_bytes)) return true;
  const auto first = segment.first_timestamp();
  const auto waited = first && *first >= 0 ? max_timestamp - *first : now - segment.created_ms();
  std::int64_t jitter = 0;
  if (config_.segment_jitter_ms > 0) {
    // The same for one segment each time it is asked, another for the next.
    const auto mixed = (jitter_seed_ ^ static_cast<std::uint64_t>(segment.base_offset().value)) * 0x9e3779b97f4a7c15ULL;
    jitter = static_cast<std::int64_t>(
        (mixed >> 11) % static_cast<std::uint64_t>(std::min(config_.segment_jitter_ms, config_.segment_ms) + 1));
  }
  return waited > config_.segment_ms - jitter;
}

Result<> Log::roll_to(Offset base, TimestampMs now) {
  if (active().size() == 0 && active().base_offset() == base) return {};
  if (auto done = active().close(cache_); !done) return storage_error(done.error());
  auto next = std::make_unique<Segment>(directory_, base, now);
  if (auto done = next->create(cache_); !done) {
    for (auto suffix : {log_suffix, index_suffix, time_index_suffix}) {
      cache_.forget(next->path(suffix));
      (void)cache_.files().remove(next->path(suffix));  // as far as it was made
    }
    return storage_error(done.error());
  }
  ++changes_;
  if (active().size() == 0) {
    // Nothing was ever written to it: it gives way.
    for (auto suffix : {log_suffix, index_suffix, time_index_suffix}) {
      cache_.forget(active().path(suffix));
      (void)cache_.files().remove(active().path(suffix));
    }
    segments_.pop_back();
  } else {
    closed_bytes_ += active().size();
  }
  segments_.push_back(std::move(next));
  recent_.clear();
  recent_next_ = 0;
  producers_.remove_expired(now);
  // It only saves time after a crash: without it more is replayed.
  if (auto done = write_snapshot(base); !done) WEIR_LOG(warn, "{}: {}", directory_, done.error().message);
  return {};
}

Result<> Log::roll(TimestampMs now) {
  if (auto fine = usable(); !fine) return fine;
  if (active().size() == 0) return {};
  return roll_to(log_end_, now);
}

Result<bool> Log::roll_if_due(TimestampMs now) {
  if (auto fine = usable(); !fine) return std::unexpected(fine.error());
  if (active().size() == 0 || !roll_needed(0, log_end_ - 1, now, now)) return false;
  if (auto done = roll_to(log_end_, now); !done) return std::unexpected(done.error());
  return true;
}

// ---- small files

Result<> Log::put_file(std::string_view name, std::string_view content) {
  const auto path = fmt::format("{}/{}", directory_, name);
  const auto temporary = path + ".tmp";
  auto& files = cache_.files();
  auto file = files.open(temporary, runtime::Open::create);
  if (!file) return storage_error(file.error());
  if (auto done = (*file)->truncate(0); !done) return storage_error(done.error());
  if (auto done = (*file)->write_at(0, bytes::as_bytes(content)); !done) return storage_error(done.error());
  if (auto done = files.rename(temporary, path); !done) return storage_error(done.error());
  unsynced_files_[path] = ++changes_;
  return {};
}

Result<> Log::write_epochs() {
  epochs_unwritten_ = true;
  if (auto done = put_file(epoch_checkpoint_name, to_text(epochs_.entries())); !done) return done;
  epochs_unwritten_ = false;
  return {};
}

Result<> Log::write_snapshot(Offset at) {
  if (at <= last_snapshot_) return {};
  if (auto done = put_file(segment_file(at, snapshot_suffix), producers_.snapshot()); !done) return done;
  last_snapshot_ = at;
  return {};
}

Result<> Log::set_topic_id(const Uuid& id) {
  if (id.is_zero() || topic_id_ == id) return {};  // zero is what says that there is none
  if (topic_id_) {
    return fail(
        ErrorCode::INCONSISTENT_TOPIC_ID,
        fmt::format("{} belongs to topic {}, not {}", directory_name(partition_), topic_id_->text(), id.text()));
  }
  if (auto done = put_file(partition_metadata_name, partition_metadata_text(id)); !done) return done;
  topic_id_ = id;
  return {};
}

Result<> Log::assign_epoch(LeaderEpoch epoch, Offset start) {
  if (auto fine = usable(); !fine) return fine;
  if (!epochs_.assign(epoch, start)) return {};
  return write_epochs();
}

// ---- offsets

std::size_t Log::segment_index(Offset offset) const {
  const auto after = std::ranges::upper_bound(segments_, offset, {}, [](const auto& s) { return s->base_offset(); });
  return after == segments_.begin() ? 0 : static_cast<std::size_t>(after - segments_.begin()) - 1;
}

Offset Log::last_stable_offset() const {
  const auto open = producers_.first_open_transaction();
  return open ? std::min(*open, high_watermark_) : high_watermark_;
}

Offset Log::bound(Isolation isolation) const {
  switch (isolation) {
    case Isolation::log_end: return log_end_;
    case Isolation::high_watermark: return high_watermark_;
    case Isolation::read_committed: return last_stable_offset();
  }
  return high_watermark_;
}

bool Log::advance_high_watermark(Offset to) {
  to = std::min(to, log_end_);
  if (to <= high_watermark_) return false;
  high_watermark_ = to;
  return true;
}

void Log::set_high_watermark(Offset to) { high_watermark_ = std::clamp(to, log_start_, log_end_); }

Result<bool> Log::advance_log_start(Offset to) {
  if (auto fine = usable(); !fine) return std::unexpected(fine.error());
  if (to > high_watermark_) {
    return fail(ErrorCode::OFFSET_OUT_OF_RANGE,
                fmt::format("{}: the log cannot start at {}, after the high watermark {}", directory_name(partition_),
                            to.value, high_watermark_.value));
  }
  if (to <= log_start_) return false;
  log_start_ = to;
  if (epochs_.truncate_from_start(to)) {
    if (auto done = write_epochs(); !done) return std::unexpected(done.error());
  }
  return true;
}

// ---- retention

Result<std::vector<std::string>> Log::drop_segment(std::size_t index) {
  auto paths = segments_[index]->mark_deleted(cache_);
  if (!paths) return storage_error(paths.error());
  const bool was_active = index + 1 == segments_.size();
  if (!was_active) closed_bytes_ -= segments_[index]->size();
  segments_.erase(segments_.begin() + static_cast<std::ptrdiff_t>(index));
  if (was_active && !segments_.empty()) closed_bytes_ -= active().size();
  ++changes_;
  return std::move(*paths);
}

Result<Removal> Log::retain(TimestampMs now) {
  if (auto fine = usable(); !fine) return std::unexpected(fine.error());
  Removal removal;
  removal.not_before_ = now + config_.file_delete_delay_ms;
  const bool by_policy = config_.cleanup_delete;
  auto too_much = config_.retention_bytes < 0 || !by_policy
                      ? std::int64_t{-1}
                      : static_cast<std::int64_t>(size()) - config_.retention_bytes;
  // The first ones, as many as each rule takes; never beyond the high watermark.
  std::size_t count = 0;
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    const auto& segment = *segments_[i];
    const bool last = i + 1 == segments_.size();
    if (last && segment.size() == 0) break;
    const auto end = last ? log_end_ : segments_[i + 1]->base_offset();
    if (end > high_watermark_) break;
    const auto size = static_cast<std::int64_t>(segment.size());
    const auto newest = segment.max_timestamp() >= 0 ? segment.max_timestamp() : segment.created_ms();
    const bool before_start = !last && end <= log_start_;
    const bool by_size = too_much - size >= 0;
    const bool by_time = by_policy && config_.retention_ms >= 0 && now - newest > config_.retention_ms;
    if (!before_start && !by_size && !by_time) break;
    if (too_much >= 0) too_much -= size;
    ++count;
  }
  if (count == 0) return removal;
  if (count == segments_.size()) {
    if (auto done = roll_to(log_end_, now); !done) return std::unexpected(done.error());
  }
  for (std::size_t i = 0; i < count; ++i) {
    auto paths = drop_segment(0);
    if (!paths) return std::unexpected(paths.error());
    std::ranges::move(*paths, std::back_inserter(removal.paths_));
  }
  const auto first = segments_.front()->base_offset();
  if (first > log_start_) {
    log_start_ = first;
    if (epochs_.truncate_from_start(first)) {
      if (auto done = write_epochs(); !done) WEIR_LOG(warn, "{}: {}", directory_, done.error().message);
    }
  }
  WEIR_LOG(info, "{}: {} segments are over, the log starts at {}", directory_name(partition_), count, log_start_.value);
  return removal;
}

// ---- truncation

Result<bool> Log::truncate_to(Offset offset) {
  if (auto fine = usable(); !fine) return std::unexpected(fine.error());
  if (offset >= log_end_) {
    // This broker may have led, and written nothing: the epoch that began at its end is none of the new leader's.
    if (epochs_.truncate_from_end(log_end_)) {
      if (auto done = write_epochs(); !done) return std::unexpected(done.error());
    }
    return false;
  }
  ++generation_;
  if (offset < segments_.front()->base_offset()) {
    auto removal = truncate_fully_and_start_at(offset, last_flush_ms_);
    if (!removal) return std::unexpected(removal.error());
    if (auto done = removal->run(cache_.files()); !done) return storage_error(done.error());
    return true;
  }
  const auto segments = segments_.size();
  while (segments_.size() > 1 && active().base_offset() > offset) {
    auto paths = drop_segment(segments_.size() - 1);
    if (!paths) return std::unexpected(paths.error());
    for (const auto& path : *paths) (void)cache_.files().remove_all(path);  // found again at the next start
  }
  if (segments_.size() < segments) {
    if (auto done = cache_.files().sync_directory(directory_); !done) {
      fail_with(done.error().message);
      return storage_error(done.error());
    }
  }
  if (auto done = active().truncate(cache_, offset); !done) {
    fail_with(done.error().message);
    return std::unexpected(done.error());
  }
  recent_.clear();
  recent_next_ = 0;
  auto end = active().next_offset(cache_, ReadMode::may_block);
  if (!end) {
    fail_with(end.error().error.message);
    return std::unexpected(end.error().error);
  }
  log_end_ = std::min(offset, *end);
  recovery_point_ = std::min(recovery_point_, log_end_);
  high_watermark_ = std::min(high_watermark_, log_end_);
  log_start_ = std::min(log_start_, log_end_);
  indexes_synced_ = std::min(indexes_synced_, active().base_offset());
  if (epochs_.truncate_from_end(log_end_)) {
    if (auto done = write_epochs(); !done) return std::unexpected(done.error());
  }
  if (auto done = reload_producers(log_end_, true, last_flush_ms_); !done) return std::unexpected(done.error());
  WEIR_LOG(info, "{}: truncated to {}", directory_name(partition_), log_end_.value);
  return true;
}

Result<Removal> Log::truncate_fully_and_start_at(Offset offset, TimestampMs now) {
  if (auto fine = usable(); !fine) return std::unexpected(fine.error());
  ++generation_;
  Removal removal;
  removal.not_before_ = now + config_.file_delete_delay_ms;
  while (!segments_.empty()) {
    auto paths = drop_segment(segments_.size() - 1);
    if (!paths) {
      fail_with(paths.error().message);
      return std::unexpected(paths.error());
    }
    std::ranges::move(*paths, std::back_inserter(removal.paths_));
  }
  auto fresh = std::make_unique<Segment>(directory_, offset, now);
  auto made = fresh->create(cache_);
  segments_.push_back(std::move(fresh));
  if (!made) {
    fail_with(made.error().message);
    return storage_error(made.error());
  }
  log_start_ = log_end_ = high_watermark_ = recovery_point_ = indexes_synced_ = offset;
  recent_.clear();
  recent_next_ = 0;
  producers_.clear();
  producers_.set_end(offset);
  if (auto done = reload_producers(Offset{-1}, false, now); !done) return std::unexpected(done.error());
  if (epochs_.clear()) {
    if (auto done = write_epochs(); !done) return std::unexpected(done.error());
  }
  return removal;
}

// ---- flushing

Result<FlushWork> Log::begin_flush() {
  if (auto fine = usable(); !fine) return std::unexpected(fine.error());
  // What is before the recovery point is not scanned after a crash: the epochs of it must be written by then.
  if (epochs_unwritten_) {
    if (auto done = write_epochs(); !done) return std::unexpected(done.error());
  }
  FlushWork work;
  work.system_ = &cache_.files();
  work.up_to_ = log_end_;
  work.active_base_ = active().base_offset();
  work.generation_ = generation_;
  work.changes_ = changes_;
  const bool data = recovery_point_ < log_end_;
  for (std::size_t i = segment_index(std::min(recovery_point_, indexes_synced_)); i < segments_.size(); ++i) {
    auto& segment = *segments_[i];
    const bool closed = i + 1 < segments_.size();
    if (data && (!closed || segments_[i + 1]->base_offset() > recovery_point_)) {
      auto file = segment.file(cache_);
      if (!file) return storage_error(file.error());
      work.files_.push_back(std::move(*file));
    }
    if (closed && segment.base_offset() >= indexes_synced_) {
      if (auto done = segment.write_indexes(cache_); !done) return storage_error(done.error());
      for (auto suffix : {index_suffix, time_index_suffix}) work.paths_.push_back(segment.path(suffix));
    }
  }
  for (const auto& [path, change] : unsynced_files_) work.paths_.push_back(path);
  if (changes_synced_ < changes_) work.directories_.push_back(directory_);
  // The first time also the directory's own name.
  if (changes_synced_ == 0) work.directories_.push_back(directory_.substr(0, directory_.rfind('/')));
  return work;
}

void Log::finish_flush(const FlushWork& work, TimestampMs now) {
  last_flush_ms_ = now;
  changes_synced_ = std::max(changes_synced_, work.changes_);
  std::erase_if(unsynced_files_, [&](const auto& entry) { return entry.second <= work.changes_; });
  if (work.generation_ != generation_) return;
  recovery_point_ = std::max(recovery_point_, work.up_to_);
  indexes_synced_ = std::max(indexes_synced_, work.active_base_);
}

void Log::flush_failed(const runtime::IoError& error) { fail_with(error.message); }

Result<> Log::flush(TimestampMs now) {
  auto work = begin_flush();
  if (!work) return std::unexpected(work.error());
  if (auto done = work->run(); !done) {
    flush_failed(done.error());
    return storage_error(done.error());
  }
  finish_flush(*work, now);
  return {};
}

bool Log::flush_due(TimestampMs now) const {
  if (failed_ || closed_) return false;
  const auto unflushed = unflushed_messages();
  if (recovery_point_ < active().base_offset()) return true;
  if (unflushed <= 0) return false;
  return unflushed >= config_.flush_messages || now - last_flush_ms_ >= config_.flush_ms;
}

// ---- the end

Result<> Log::close(TimestampMs now) {
  if (auto fine = usable(); !fine) return fine;
  if (segments_.size() == 1 && active().size() == 0 && unsynced_files_.empty()) {
    // Nothing was written since it was made or emptied: there is nothing to bring to the disk. A Java broker that takes
    // the directory over wants the indexes' files all the same, and says so as an error, segment by segment.
    const auto closed = active().close(cache_);
    abandon();
    if (!closed) return storage_error(closed.error());
    return {};
  }
  if (auto done = active().close(cache_); !done) return storage_error(done.error());
  if (auto done = write_snapshot(log_end_); !done) return done;
  for (auto suffix : {index_suffix, time_index_suffix}) unsynced_files_[active().path(suffix)] = ++changes_;
  if (auto done = flush(now); !done) return done;
  closed_ = true;
  cache_.forget_under(directory_);
  return {};
}

void Log::abandon() {
  closed_ = true;
  cache_.forget_under(directory_);
}

void Log::set_config(const LogConfig& config) {
  config_ = config;
  producers_.set_expiration(config.producer_expiration_ms);
}

Result<> Log::usable() const {
  if (failed_) {
    return fail(ErrorCode::KAFKA_STORAGE_ERROR,
                fmt::format("the log of {} has failed: {}", directory_name(partition_), failed_why_));
  }
  if (closed_) {
    return fail(ErrorCode::KAFKA_STORAGE_ERROR, fmt::format("the log of {} is closed", directory_name(partition_)));
  }
  return {};
}

void Log::fail_with(std::string why) {
  if (failed_) return;
  failed_ = true;
  failed_why_ = std::move(why);
  WEIR_LOG(error, "the log of {} has failed: {}", directory_name(partition_), failed_why_);
}

}  // namespace weir::log
