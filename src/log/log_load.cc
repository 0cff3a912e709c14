// Loading a partition's log from its directory: what a crash or an interrupted swap left is put in order, segments
// that may be torn are recovered, the producers' state is rebuilt.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>

#include "base/log.h"
#include "log/checkpoint.h"
#include "log/log.h"

namespace weir::log {

struct Log::Loader {
  Log& log;
  Start start;
  std::vector<std::string> names;
  Offset recovered_from{INT64_MAX};  // base of the first segment that was scanned

  runtime::Files& files() { return log.cache_.files(); }
  std::string at(std::string_view name) const { return fmt::format("{}/{}", log.directory_, name); }

  Result<> list() {
    auto found = files().list(log.directory_);
    if (!found) return storage_error(found.error());
    names = std::move(*found);
    return {};
  }
  bool has(std::string_view name) const { return std::ranges::find(names, name) != names.end(); }
  Result<> remove(const std::string& name) {
    log.cache_.forget(at(name));
    if (auto done = files().remove(at(name)); !done && done.error().number != ENOENT)
      return storage_error(done.error());
    std::erase(names, name);
    return {};
  }

  Result<> load();
  Result<> put_temporary_in_order();
  Result<> adopt_swaps(const std::vector<std::string>& swaps);
  Result<> load_identity();
  Result<> load_epochs();
  Result<> load_segments();
  Result<> recover(std::size_t index);
  Result<> recover_unflushed();
  Result<> drop_after(std::size_t index, std::string_view why);
  Result<> settle_offsets();
  Result<> learn_epochs_from_scan();
  bool epochs_broken = false;
};

Result<std::unique_ptr<Log>> Log::load(FileCache& cache, Start start) {
  std::unique_ptr<Log> log(new Log(cache, start));
  Loader loader{.log = *log, .start = std::move(start), .names = {}};
  if (auto done = loader.load(); !done) {
    cache.forget_under(log->directory_);
    return std::unexpected(done.error());
  }
  return log;
}

Result<> Log::Loader::load() {
  if (auto done = files().make_directories(log.directory_); !done) return storage_error(done.error());
  if (auto done = list(); !done) return done;
  if (auto done = put_temporary_in_order(); !done) return done;
  if (auto done = load_identity(); !done) return done;
  if (auto done = load_epochs(); !done) return done;
  if (auto done = load_segments(); !done) return done;
  if (!start.clean && log.epochs_.entries().empty()) {
    // A checkpoint that was replaced without a sync may come back empty, and what is before the recovery point is not
    // scanned.
    epochs_broken |= std::ranges::any_of(log.segments_, [](const auto& s) { return s->size() > 0; });
  }
  if (!start.clean) {
    if (auto done = recover_unflushed(); !done) return done;
  }
  if (auto done = settle_offsets(); !done) return done;
  if (epochs_broken) {
    if (auto done = learn_epochs_from_scan(); !done) return done;
  }
  bool epochs_changed = epochs_broken;
  epochs_changed |= log.epochs_.truncate_from_end(log.log_end_);
  epochs_changed |= log.epochs_.truncate_from_start(log.log_start_);
  if (epochs_changed) {
    if (auto done = log.write_epochs(); !done) return done;
  }
  // Entries of the transaction index that a scan wiped are written again by the replay: it begins before them.
  const auto snapshot_max = std::min(log.log_end_, recovered_from);
  return log.reload_producers(snapshot_max, !start.clean || recovered_from != Offset{INT64_MAX}, start.now);
}

// .deleted, .cleaned and what was being written go; .swap files take the place of the segments they were made from.
Result<> Log::Loader::put_temporary_in_order() {
  std::vector<std::string> swaps;
  std::vector<std::string> gone;
  auto cleaned_min = Offset{INT64_MAX};
  const auto base_of = [](std::string_view name) {
    const auto dot = name.find('.');
    return parse_segment_file(name.substr(0, dot), "").value_or(Offset{INT64_MAX});
  };
  for (const auto& name : names) {
    if (name.ends_with(cleaned_suffix)) cleaned_min = std::min(cleaned_min, base_of(name));
  }
  for (const auto& name : names) {
    if (name.ends_with(deleted_suffix) || name.ends_with(cleaned_suffix) || name.ends_with(".tmp")) {
      gone.push_back(name);
    } else if (name.ends_with(swap_suffix)) {
      // Of a split that did not finish.
      (base_of(name) >= cleaned_min ? gone : swaps).push_back(name);
    }
  }
  for (const auto& name : gone) {
    if (auto done = remove(name); !done) return done;
  }
  return swaps.empty() ? Result<>{} : adopt_swaps(swaps);
}

Result<> Log::Loader::adopt_swaps(const std::vector<std::string>& swaps) {
  auto low = Offset{INT64_MAX};
  auto high = Offset{INT64_MIN};
  const auto log_swap = std::string(log_suffix) + std::string(swap_suffix);
  for (const auto& name : swaps) {
    const auto base = parse_segment_file(name, log_swap);
    if (!base) continue;
    // The offsets that the new segment covers: read by its headers, without an index.
    auto text = files().open(at(name), runtime::Open::read);
    if (!text) return storage_error(text.error());
    auto size = (*text)->size();
    if (!size) return storage_error(size.error());
    auto next = *base;
    std::array<std::byte, record::header_size> header;
    for (std::uint64_t position = 0; position + header.size() <= *size;) {
      auto got = (*text)->read_at(position, header);
      if (!got) return storage_error(got.error());
      const record::BatchView batch(header);
      if (*got < header.size() || batch.length() < record::length_min_any || batch.magic() != 2) break;
      next = batch.next_offset();
      position += batch.size();
    }
    low = std::min(low, *base);
    high = std::max(high, next);
  }
  const auto before = names;
  for (const auto& name : before) {
    if (name.ends_with(swap_suffix)) continue;
    const auto base = parse_segment_file(name.substr(0, name.find('.')), "");
    if (base && *base >= low && *base < high) {
      if (auto done = remove(name); !done) return done;
    }
  }
  for (const auto& name : swaps) {
    const auto to = name.substr(0, name.size() - swap_suffix.size());
    if (auto done = files().rename(at(name), at(to)); !done) return storage_error(done.error());
  }
  return list();
}

Result<> Log::Loader::load_identity() {
  if (has(partition_metadata_name)) {
    auto text = files().read_whole(at(partition_metadata_name));
    if (!text) return storage_error(text.error());
    auto id = parse_partition_metadata(*text);
    if (id) {
      log.topic_id_ = *id;
    } else if (start.clean || !is_torn_partition_metadata(*text)) {
      return fail(ErrorCode::CORRUPT_MESSAGE, fmt::format("{}: {}", at(partition_metadata_name), id.error().message));
    } else if (auto done = remove(std::string(partition_metadata_name)); !done) {
      return done;  // what stays would be damage after the next clean stop
    }
  }
  return start.topic_id ? log.set_topic_id(*start.topic_id) : Result<>{};
}

Result<> Log::Loader::load_epochs() {
  if (!has(epoch_checkpoint_name)) return {};
  auto text = files().read_whole(at(epoch_checkpoint_name));
  if (!text) return storage_error(text.error());
  auto entries = parse_epoch_checkpoint(*text);
  if (entries) {
    log.epochs_ = Epochs(std::move(*entries));
  } else {
    WEIR_LOG(warn, "{}: {}; it is rebuilt from the records", at(epoch_checkpoint_name), entries.error().message);
    epochs_broken = true;
  }
  return {};
}

Result<> Log::Loader::load_segments() {
  std::vector<std::string> orphans;
  for (const auto& name : names) {
    for (auto suffix : {index_suffix, time_index_suffix, txn_index_suffix}) {
      const auto base = parse_segment_file(name, suffix);
      if (base && !has(segment_file(*base, log_suffix))) orphans.push_back(name);
    }
    if (const auto base = parse_segment_file(name, log_suffix)) {
      log.segments_.push_back(std::make_unique<Segment>(log.directory_, *base, start.now));
    }
  }
  for (const auto& name : orphans) {
    WEIR_LOG(warn, "{} belongs to no segment and goes", at(name));
    if (auto done = remove(name); !done) return done;
  }
  for (std::size_t i = 0; i < log.segments_.size(); ++i) {
    auto& segment = *log.segments_[i];
    const bool active = i + 1 == log.segments_.size();
    if (auto done = segment.open(log.cache_, active); !done) return storage_error(done.error());
    const bool indexed = has(segment_file(segment.base_offset(), index_suffix)) &&
                         has(segment_file(segment.base_offset(), time_index_suffix));
    const bool scanned_anyway = !start.clean && i >= log.segment_index(start.recovery_point);
    if (!indexed && segment.size() > 0 && !scanned_anyway) {
      WEIR_LOG(warn, "{}: an index is missing and is rebuilt", segment.path(log_suffix));
      if (auto done = recover(i); !done) return done;
    }
  }
  return {};
}

Result<> Log::Loader::recover(std::size_t index) {
  auto& segment = *log.segments_[index];
  recovered_from = std::min(recovered_from, segment.base_offset());
  const auto txn = segment_file(segment.base_offset(), txn_index_suffix);
  if (has(txn)) {
    if (auto done = remove(txn); !done) return done;
  }
  auto cut = segment.recover(log.cache_, log.config_.index_interval_bytes, [&](record::BatchView batch) {
    // The checkpoint may be older than the log, and speak of what is there no more: the batches know better.
    if (batch.magic() == 2) log.epochs_.found(batch.leader_epoch(), batch.base_offset(), batch.last_offset());
  });
  if (!cut) return std::unexpected(cut.error());
  if (*cut > 0) return drop_after(index, "what was before them is torn");
  return {};
}

Result<> Log::Loader::recover_unflushed() {
  const auto before = log.epochs_.entries();
  for (auto i = log.segments_.empty() ? 0 : log.segment_index(start.recovery_point); i < log.segments_.size(); ++i) {
    if (auto done = recover(i); !done) return done;
    const auto& segment = *log.segments_[i];
    if (i + 1 < log.segments_.size() && !log.config_.cleanup_compact) {
      auto end = segment.next_offset(log.cache_, ReadMode::may_block);
      if (!end) return std::unexpected(end.error().error);
      if (*end < log.segments_[i + 1]->base_offset()) {
        if (auto done = drop_after(i, "what was before them is missing"); !done) return done;
      }
    }
  }
  if (!(before == log.epochs_.entries())) return log.write_epochs();
  return {};
}

Result<> Log::Loader::drop_after(std::size_t index, std::string_view why) {
  while (log.segments_.size() > index + 1) {
    auto& segment = *log.segments_.back();
    WEIR_LOG(warn, "{} goes: {}", segment.path(log_suffix), why);
    for (auto suffix : {log_suffix, index_suffix, time_index_suffix, txn_index_suffix, snapshot_suffix}) {
      if (auto done = remove(segment_file(segment.base_offset(), suffix)); !done) return done;
    }
    log.segments_.pop_back();
  }
  return {};
}

Result<> Log::Loader::settle_offsets() {
  auto end = Offset{-1};
  if (!log.segments_.empty()) {
    auto next = log.active().next_offset(log.cache_, ReadMode::may_block);
    if (!next) return std::unexpected(next.error().error);
    end = *next;
    if (end < log.log_start_) {
      WEIR_LOG(warn, "{}: the log ends at {}, before its start {}: all segments go", directory_name(log.partition_),
               end.value, log.log_start_.value);
      if (auto done = drop_after(0, "the log starts later"); !done) return done;
      for (auto suffix : {log_suffix, index_suffix, time_index_suffix, txn_index_suffix, snapshot_suffix}) {
        if (auto done = remove(segment_file(log.segments_[0]->base_offset(), suffix)); !done) return done;
      }
      log.segments_.clear();
      log.epochs_.clear();
      epochs_broken = true;
    }
  }
  if (log.segments_.empty()) {
    auto fresh = std::make_unique<Segment>(log.directory_, log.log_start_, start.now);
    if (auto done = fresh->create(log.cache_); !done) return storage_error(done.error());
    log.segments_.push_back(std::move(fresh));
    end = log.log_start_;
  }
  for (const auto& segment : log.segments_) log.closed_bytes_ += segment->size();
  log.closed_bytes_ -= log.active().size();
  log.log_end_ = end;
  log.log_start_ = std::max(log.log_start_, log.segments_.front()->base_offset());
  log.high_watermark_ = log.log_start_;
  log.indexes_synced_ = std::min(recovered_from, log.active().base_offset());
  if (start.clean) {
    log.recovery_point_ = log.log_end_;
    log.changes_synced_ = log.changes_;
  } else {
    log.recovery_point_ = std::min(start.recovery_point, log.log_end_);
    // A process that was killed left them to the system, which may not have brought them to the disk: the next clean
    // stop must not say that they are there.
    for (const auto& name : names) {
      const bool small = name == partition_metadata_name || name == epoch_checkpoint_name ||
                         name.ends_with(snapshot_suffix) || name.ends_with(txn_index_suffix);
      if (small) log.unsynced_files_[at(name)] = ++log.changes_;
    }
  }
  if (auto done = log.active().load_first_timestamp(log.cache_, ReadMode::may_block); !done) {
    return std::unexpected(done.error().error);
  }
  return {};
}

Result<> Log::Loader::learn_epochs_from_scan() {
  log.epochs_.clear();
  for (const auto& segment : log.segments_) {
    auto done = segment->scan(log.cache_, segment->base_offset(), [&](record::BatchView batch) {
      if (batch.magic() == 2) log.epochs_.assign(batch.leader_epoch(), batch.base_offset());
    });
    if (!done) return done;
  }
  return {};
}

Result<> Log::reload_producers(Offset snapshot_max, bool replay_without_snapshot, TimestampMs now) {
  producers_.clear();
  producers_.set_end(log_start_);
  last_snapshot_ = Offset{0};
  auto names = cache_.files().list(directory_);
  if (!names) return storage_error(names.error());
  std::vector<Offset> snapshots;
  for (const auto& name : *names) {
    if (const auto offset = parse_segment_file(name, snapshot_suffix)) snapshots.push_back(*offset);
  }
  std::ranges::sort(snapshots, std::greater<>());
  const auto path = [&](Offset offset) {
    return fmt::format("{}/{}", directory_, segment_file(offset, snapshot_suffix));
  };
  std::optional<Offset> from;
  for (const auto offset : snapshots) {
    // The one that is loaded stays, and those that stand at the base of a segment: a later truncation may need them.
    bool keep = from && std::ranges::any_of(segments_, [&](const auto& s) { return s->base_offset() == offset; });
    if (!from && offset <= snapshot_max && offset >= log_start_) {
      auto text = cache_.files().read_whole(path(offset));
      if (!text) return storage_error(text.error());
      if (auto loaded = producers_.load(*text, now)) {
        from = offset;
        last_snapshot_ = offset;
        keep = true;
      } else {
        WEIR_LOG(warn, "{}: {}", path(offset), loaded.error().message);
      }
    }
    if (!keep) {
      auto done = cache_.files().remove(path(offset));
      if (!done && done.error().number != ENOENT) return storage_error(done.error());
    }
  }
  if (from || replay_without_snapshot) {
    const auto begin = std::max(from.value_or(log_start_), log_start_);
    for (auto i = segment_index(begin); i < segments_.size(); ++i) {
      auto done =
          segments_[i]->scan(cache_, std::max(begin, segments_[i]->base_offset()), [&](record::BatchView batch) {
            if (batch.magic() < 2 || batch.base_offset() < begin || batch.base_offset() >= log_end_) return;
            if (auto ended = producers_.update(batch); ended && ended->aborted) append_aborted(*ended);
          });
      if (!done) return done;
    }
  }
  producers_.set_end(log_end_);
  return {};
}

}  // namespace weir::log
