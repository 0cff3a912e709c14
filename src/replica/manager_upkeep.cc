// The ReplicaManager's upkeep: retention, checkpoints, and how it ends.
#include <algorithm>
#include <map>
#include <utility>

#include "base/log.h"
#include "replica/manager.h"

namespace weir::replica {

using runtime::call;
using runtime::Task;

Task<void> ReplicaManager::run_removals(Part& part, bool all) {
  std::vector<log::Removal> due;
  const auto at = now();
  std::erase_if(part.removals, [&](log::Removal& removal) {
    if (!all && removal.not_before() > at) return false;
    due.push_back(std::move(removal));
    return true;
  });
  if (due.empty()) co_return;
  auto work = [this, &due] {
    for (const auto& removal : due) {
      if (auto done = removal.run(files_); !done) WEIR_LOG(warn, "cannot remove: {}", done.error().message);
    }
  };
  co_await pool_.run(std::move(work));
}

// Retention, time-based flushes, expired producers and removals of one shard's partitions.
Task<void> ReplicaManager::measure_space() {
  std::uint64_t used = 0;
  for (auto& part : parts_) {
    auto add = [&part, &used] {
      for (const auto& [id, partition] : part->partitions) used += partition->log().size();
    };
    co_await call(part->shard, std::move(add));
  }
  space_.set_used(static_cast<std::int64_t>(used));
}

Task<void> ReplicaManager::upkeep(Part& part) {
  auto& clock = part.shard.clock();
  auto next_retention = clock.mono() + std::min(options_.initial_delay, options_.retention_check);
  auto next_flush = clock.mono() + options_.flush_check;
  auto next_expiry = clock.mono() + options_.producer_expiry_check;
  while (!part.stopping) {
    auto wake_at = std::min(next_retention, next_expiry);
    if (options_.flush_check.count() > 0) wake_at = std::min(wake_at, next_flush);
    auto wait = wake_at - clock.mono();
    for (const auto& removal : part.removals) {
      wait = std::min<nanoseconds>(wait, milliseconds(removal.not_before() - now()));
    }
    if (wait > nanoseconds(0)) co_await part.bell.wait(wait);
    if (part.stopping) break;

    co_await run_removals(part, false);
    std::vector<std::shared_ptr<Partition>> all;
    const auto at = clock.mono();
    const bool retain = at >= next_retention;
    const bool flush = options_.flush_check.count() > 0 && at >= next_flush;
    const bool expire = at >= next_expiry;
    if (!retain && !flush && !expire) continue;
    for (auto& [id, partition] : part.partitions) all.push_back(partition);
    for (auto& partition : all) {
      if (part.stopping) break;
      if (partition->gone() || partition->failed()) continue;
      if (flush) partition->flush_if_due();
      if (expire) partition->log().remove_expired_producers(now());
      if (retain) {
        auto& log = partition->log();
        if (auto rolled = log.roll_if_due(now()); !rolled) {
          WEIR_LOG(error, "{}: cannot roll: {}", partition->id().text(), rolled.error().message);
          partition->tell_failure(rolled.error());
          continue;
        }
        auto removal = log.retain(now());
        if (!removal) {
          WEIR_LOG(error, "{}: retention failed: {}", partition->id().text(), removal.error().message);
          partition->tell_failure(removal.error());
        } else if (!removal->empty()) {
          WEIR_LOG(info, "{}: retention takes {} files; the log starts at {} now", partition->id().text(),
                   removal->paths().size(), log.log_start().value);
          part.removals.push_back(std::move(*removal));
        }
      }
    }
    if (retain) next_retention = clock.mono() + options_.retention_check;
    if (flush) next_flush = clock.mono() + options_.flush_check;
    if (expire) next_expiry = clock.mono() + options_.producer_expiry_check;
  }
}

// The checkpoint files are written by one task, from marks gathered on the shards; only when something moved.
Task<void> ReplicaManager::checkpoint_loop() {
  const auto period = std::min(options_.high_watermark_checkpoint, options_.checkpoint);
  while (!stopping_) {
    co_await checkpoint_bell_->wait(period);
    if (stopping_) break;
    co_await checkpoint_once();
  }
}

// What deletions left when this broker was stopped. Nobody waits for it: ten thousand directories take a minute, and
// their names are nobody else's.
Task<void> ReplicaManager::sweep(std::vector<std::string> leftovers) {
  for (const auto& path : leftovers) {
    if (stopping_) co_return;
    auto remove = [this, &path] { return files_.remove_all(path); };
    if (auto gone = co_await pool_.run(std::move(remove)); !gone) WEIR_LOG(warn, "{}", gone.error().message);
  }
}

// A log that was cut may grow again with other records: a recovery point of before would let them pass unchecked after
// a crash. Many ask at once after an election; those that come while one is written share the next.
Task<Result<>> ReplicaManager::checkpoint_now() {
  auto work = [this]() -> Task<bool> { return checkpoint_once(); };
  const bool written = co_await call(*home_, std::move(work));
  if (!written) co_return fail(ErrorCode::KAFKA_STORAGE_ERROR, "the checkpoints cannot be written");
  co_return Result<>{};
}

Task<bool> ReplicaManager::checkpoint_once() {
  const auto ticket = ++checkpoints_asked_;
  while (checkpoints_done_ < ticket) {
    if (checkpointing_) {
      runtime::Waiter waiter(*home_);
      const auto at = checkpoint_waits_.insert(checkpoint_waits_.end(), &waiter);
      co_await waiter.wait();
      checkpoint_waits_.erase(at);
      continue;
    }
    checkpointing_ = true;
    const auto covers = checkpoints_asked_;
    checkpoint_fine_ = co_await checkpoint();
    checkpoints_done_ = covers;
    checkpointing_ = false;
    for (auto* waiter : checkpoint_waits_) waiter->wake();
  }
  co_return checkpoint_fine_;
}

// A log that failed is what its files say, not what this broker knows of it: its marks stay as they were written last,
// or lower where it was cut since.
void ReplicaManager::keep_marks(const std::vector<log::Directory::Marks>& written,
                                const std::vector<log::Directory::Marks>& failed,
                                std::vector<log::Directory::Marks>& out) {
  if (failed.empty()) return;
  std::map<log::TopicPartition, const log::Directory::Marks*> by_name;
  for (const auto& marks : written) by_name[marks.partition] = &marks;
  for (const auto& marks : failed) {
    const auto it = by_name.find(marks.partition);
    if (it == by_name.end()) continue;
    auto kept = *it->second;
    kept.recovery_point = std::min(kept.recovery_point, marks.recovery_point);
    kept.log_start = std::min(kept.log_start, marks.log_start);
    kept.high_watermark = std::min(kept.high_watermark, marks.high_watermark);
    out.push_back(std::move(kept));
  }
}

// A directory that was given up is left as it is.
Task<bool> ReplicaManager::checkpoint() {
  std::vector<std::vector<log::Directory::Marks>> marks(directories_.size());
  std::vector<std::vector<log::Directory::Marks>> failed(directories_.size());
  std::vector<Checkpointed> now_at;
  for (auto& part : parts_) {
    auto gather = [this, &part, &marks, &failed, &now_at] {
      for (const auto& [id, partition] : part->partitions) {
        for (std::size_t i = 0; i < directories_.size(); ++i) {
          if (directories_[i].get() != &partition->directory()) continue;
          (partition->failed() ? failed : marks)[i].push_back(log::Directory::marks(partition->log()));
        }
        if (partition->failed()) continue;
        const auto& log = partition->log();
        now_at.push_back({id, log.high_watermark(), log.log_start(), log.recovery_point()});
      }
    };
    co_await call(part->shard, std::move(gather));
  }
  if (now_at == checkpointed_) co_return true;
  bool written = true;
  for (std::size_t i = 0; i < directories_.size(); ++i) {
    if (given_up(i)) continue;
    keep_marks(on_disk_[i], failed[i], marks[i]);
    auto write = [this, i, &marks] { return directories_[i]->write_checkpoints(marks[i]); };
    auto done = co_await pool_.run(std::move(write));
    if (done) {
      on_disk_[i] = std::move(marks[i]);
    } else if (!given_up(i)) {
      written = false;
      WEIR_LOG_LIMITED(error, seconds(10), "cannot write the checkpoints of {}: {}", directories_[i]->path(),
                       done.error().message);
      if (replication_.storage_failed) replication_.storage_failed(*directories_[i], done.error().message);
    }
  }
  if (written) checkpointed_ = std::move(now_at);
  co_return written;
}

Task<void> ReplicaManager::close_part(Part& part) {
  part.stopping = true;
  part.bell.wake();
  part.isr_bell.wake();
  for (auto& [id, partition] : part.partitions) partition->leave();
  co_await part.scope.stop();
}

Task<void> ReplicaManager::resign() {
  for (auto& part : parts_) {
    auto leave = [&part] {
      for (auto& [id, partition] : part->partitions) partition->leave();
    };
    co_await call(part->shard, std::move(leave));
  }
}

Task<void> ReplicaManager::close_directory(log::Directory& directory, std::vector<std::shared_ptr<Partition>> all) {
  constexpr std::size_t share = 16;
  std::vector<log::Directory::Marks> marks;
  bool clean = true;
  auto close = [&](std::size_t from) -> Task<void> {
    std::vector<log::Directory::Marks> mine;
    auto work = [&] {
      bool good = true;
      for (auto i = from; i < std::min(all.size(), from + share); ++i) {
        if (all[i]->failed()) {
          good = false;
          continue;
        }
        if (auto done = all[i]->log().close(now()); !done) {
          WEIR_LOG(error, "{}: cannot close the log: {}", all[i]->id().text(), done.error().message);
          good = false;
          continue;
        }
        mine.push_back(log::Directory::marks(all[i]->log()));
      }
      return good;
    };
    const bool good = co_await pool_.run(std::move(work));
    clean = clean && good;
    marks.insert(marks.end(), std::make_move_iterator(mine.begin()), std::make_move_iterator(mine.end()));
  };
  runtime::Scope closing(*runtime::Shard::current());
  for (std::size_t from = 0; from < all.size(); from += share) closing.spawn(close(from));
  co_await closing.stop();
  if (!clean) {
    WEIR_LOG(warn, "{} is not marked as cleanly stopped: it will be recovered at the next start", directory.path());
    co_return;
  }
  auto mark = [&directory, &marks] { return directory.close(marks); };
  if (auto done = co_await pool_.run(std::move(mark)); !done) {
    WEIR_LOG(error, "cannot mark {} as cleanly stopped: {}", directory.path(), done.error().message);
  }
}

Task<void> ReplicaManager::stop() {
  // Side by side: each may have a connection to make, or a disk, to wait for.
  auto leave_leaders = [this](std::size_t i) -> Task<void> {
    auto& fetchers = parts_[i]->fetchers;
    return fetchers ? fetchers->stop() : nothing();
  };
  co_await on_each_part(std::move(leave_leaders));
  stopping_ = true;
  if (checkpoint_bell_) {
    checkpoint_bell_->wake();
    co_await scope_->stop();
  }
  std::vector<std::vector<std::shared_ptr<Partition>>> all(directories_.size());
  for (auto& part : parts_) {
    auto work = [this, &part, &all]() -> Task<void> {
      co_await close_part(*part);
      for (auto& [id, partition] : part->partitions) {
        for (std::size_t i = 0; i < directories_.size(); ++i) {
          if (directories_[i].get() == &partition->directory()) all[i].push_back(partition);
        }
      }
    };
    co_await call(part->shard, std::move(work));
  }
  // No shard touches the logs any more: they are closed in the pool, side by side, for each waits for the disk.
  for (std::size_t i = 0; i < directories_.size(); ++i) co_await close_directory(*directories_[i], std::move(all[i]));
  for (auto& part : parts_) {
    auto clear = [&part] { part->partitions.clear(); };
    co_await call(part->shard, std::move(clear));
  }
}

}  // namespace weir::replica
