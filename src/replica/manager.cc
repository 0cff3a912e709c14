#include "replica/manager.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace weir::replica {

using runtime::call;
using runtime::Task;

namespace {

log::TopicPartition log_name(const TopicPartition& tp) { return {tp.topic, tp.partition}; }

}  // namespace

ReplicaManager::ReplicaManager(std::vector<runtime::Shard*> shards, runtime::Pool& pool, runtime::Files& files,
                               runtime::Clock& clock, runtime::Random& random, metrics::Registry& metrics,
                               ManagerOptions options)
    : shards_(std::move(shards)),
      pool_(pool),
      files_(files),
      clock_(clock),
      random_(random),
      options_(std::move(options)),
      cache_(files, options_.open_files_max),
      messages_in_(metrics.counters("weir_topic_messages_in_total", "Records appended by producers", {"topic"},
                                    options_.topics_counted_max)),
      bytes_in_(metrics.counters("weir_topic_bytes_in_total", "Bytes of record batches appended by producers",
                                 {"topic"}, options_.topics_counted_max)),
      bytes_out_(metrics.counters("weir_topic_bytes_out_total", "Bytes of record batches sent to consumers", {"topic"},
                                  options_.topics_counted_max)) {
  for (auto* shard : shards_) parts_.push_back(std::make_unique<Part>(*shard));
}

ReplicaManager::~ReplicaManager() = default;

TopicCounters ReplicaManager::counters_of(std::string_view topic) {
  return {messages_in_.with({topic}), bytes_in_.with({topic}), bytes_out_.with({topic})};
}

void ReplicaManager::forget_counters(std::string_view topic) {
  messages_in_.remove({topic});
  bytes_in_.remove({topic});
  bytes_out_.remove({topic});
}

ReplicaManager::Part& ReplicaManager::here() {
  auto* shard = runtime::Shard::current();
  for (auto& part : parts_) {
    if (&part->shard == shard) return *part;
  }
  WEIR_CHECK(false, "called on one of the manager's shards");
}

Result<> ReplicaManager::open() {
  for (const auto& path : options_.log_dirs) {
    log::DirectoryOptions options{.path = path,
                                  .recovery_threads = options_.recovery_threads,
                                  .config = [this](std::string_view topic) { return options_.settings(topic).log; }};
    auto directory = log::Directory::open(cache_, clock_, std::move(options));
    if (!directory) return std::unexpected(directory.error());
    const auto& meta = (*directory)->meta();
    if (meta) {
      if (meta_ && (meta_->broker_id != meta->broker_id || meta_->cluster_id != meta->cluster_id)) {
        return fail(
            ErrorCode::INCONSISTENT_CLUSTER_ID,
            fmt::format("log.dirs disagree: {} belongs to broker {} of cluster {}, another one to broker {} "
                        "of cluster {}",
                        path, meta->broker_id.value, meta->cluster_id, meta_->broker_id.value, meta_->cluster_id));
      }
      meta_ = meta;
    }
    directories_.push_back(std::move(*directory));
    directory_logs_.push_back(std::make_unique<std::atomic<std::size_t>>(0));
  }
  return {};
}

Result<> ReplicaManager::claim(BrokerId self, const std::string& cluster_id) {
  self_ = self;
  for (auto& directory : directories_) {
    if (auto done = directory->claim(self, cluster_id); !done) return done;
  }
  return {};
}

void ReplicaManager::adopt(Part& part, std::unique_ptr<log::Log> log, log::Directory& directory) {
  const TopicPartition id{log->partition().topic, log->partition().partition};
  for (std::size_t i = 0; i < directories_.size(); ++i) {
    if (directories_[i].get() == &directory) directory_logs_[i]->fetch_add(1, std::memory_order_relaxed);
  }
  part.partitions[id] =
      std::make_shared<Partition>(part.shard, pool_, part.scope, self_, std::move(log), directory,
                                  counters_of(id.topic), options_.settings(id.topic).min_insync_replicas);
}

Task<Result<>> ReplicaManager::start() {
  std::size_t loaded = 0;
  bool clean = true;
  const auto began = clock_.mono();
  for (auto& directory : directories_) {
    auto load = [&directory] { return directory->load(); };
    auto logs = co_await pool_.run(std::move(load));
    if (!logs) co_return std::unexpected(logs.error());
    clean = clean && directory->was_clean();
    loaded += logs->size();
    std::vector<std::vector<std::unique_ptr<log::Log>>> by_part(parts_.size());
    for (auto& log : *logs) {
      by_part[hash_of(log->partition().topic, log->partition().partition) % parts_.size()].push_back(std::move(log));
    }
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      auto place = [this, &part = *parts_[i], &mine = by_part[i], &directory] {
        for (auto& log : mine) adopt(part, std::move(log), *directory);
      };
      co_await call(*shards_[i], std::move(place));
    }
    auto sweep = [this, paths = directory->leftovers()] {
      for (const auto& path : paths) {
        if (auto gone = files_.remove_all(path); !gone) WEIR_LOG(warn, "{}", gone.error().message);
      }
    };
    co_await pool_.run(std::move(sweep));
  }
  if (loaded > 0) {
    WEIR_LOG(info, "loaded {} partitions in {} ms after {} stop", loaded,
             std::chrono::duration_cast<milliseconds>(clock_.mono() - began).count(), clean ? "a clean" : "an unclean");
  }
  for (auto& part : parts_) {
    auto begin = [this, &part] { part->scope.spawn(upkeep(*part)); };
    co_await call(part->shard, std::move(begin));
  }
  auto* shard = runtime::Shard::current();
  scope_ = std::make_unique<runtime::Scope>(*shard);
  checkpoint_bell_ = std::make_unique<runtime::Waiter>(*shard);
  scope_->spawn(checkpoint_loop());
  co_return Result<>{};
}

std::shared_ptr<Partition> ReplicaManager::find(std::string_view topic, PartitionId partition) {
  auto& part = part_of(topic, partition);
  WEIR_CHECK(part.shard.here(), "a partition is found on the shard that owns it");
  const auto it = part.partitions.find(std::pair(topic, partition));
  return it == part.partitions.end() ? nullptr : it->second;
}

log::Directory& ReplicaManager::emptiest() {
  std::size_t best = 0;
  for (std::size_t i = 1; i < directories_.size(); ++i) {
    if (directory_logs_[i]->load(std::memory_order_relaxed) < directory_logs_[best]->load(std::memory_order_relaxed)) {
      best = i;
    }
  }
  return *directories_[best];
}

Task<Result<>> ReplicaManager::apply_one(Part& part, const Change& change) {
  const auto& id = change.partition;
  auto it = part.partitions.find(id);
  if (it != part.partitions.end()) {
    const auto had = it->second->topic_id();
    if (!change.topic_id.is_zero()) {
      if (!had) {
        if (auto done = it->second->log().set_topic_id(change.topic_id); !done) co_return done;
      } else if (*had != change.topic_id) {
        // A topic deleted and made again while this broker was away: the old records are not the new topic's.
        WEIR_LOG(warn, "{}: the log on disk is of topic id {}, the cluster's is {}: removing the old one", id.text(),
                 had->text(), change.topic_id.text());
        if (auto done = co_await stop_here(part, id, true); !done) co_return done;
        it = part.partitions.end();
      }
    }
  }
  if (it == part.partitions.end()) {
    auto& directory = emptiest();
    std::optional<Uuid> topic_id;
    if (!change.topic_id.is_zero()) topic_id = change.topic_id;
    auto create = [this, &directory, id, topic_id, at = now()] {
      return directory.create(log_name(id), options_.settings(id.topic).log, topic_id, at);
    };
    auto made = co_await pool_.run(std::move(create));
    if (!made) co_return std::unexpected(made.error());
    adopt(part, std::move(*made), directory);
    it = part.partitions.find(id);
  }
  co_return it->second->become(change.leadership);
}

Task<std::vector<Result<>>> ReplicaManager::apply(std::vector<Change> changes) {
  std::vector<Result<>> results(changes.size());
  std::vector<std::vector<std::size_t>> by_part(parts_.size());
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const auto& id = changes[i].partition;
    by_part[hash_of(id.topic, id.partition) % parts_.size()].push_back(i);
  }
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    if (by_part[p].empty()) continue;
    auto work = [this, &part = *parts_[p], &mine = by_part[p], &changes, &results]() -> Task<void> {
      for (const auto i : mine) results[i] = co_await apply_one(part, changes[i]);
    };
    co_await call(*shards_[p], std::move(work));
  }
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (!results[i]) {
      WEIR_LOG(error, "{}: cannot take the role the controller gave: {}: {}", changes[i].partition.text(),
               name(results[i].error().code), results[i].error().message);
    }
  }
  co_return results;
}

Task<Result<>> ReplicaManager::stop_here(Part& part, TopicPartition id, bool remove) {
  const auto it = part.partitions.find(id);
  if (it == part.partitions.end()) co_return Result<>{};
  const auto partition = it->second;
  partition->leave();
  if (!remove) co_return Result<>{};
  part.partitions.erase(it);
  auto& directory = partition->directory();
  for (std::size_t i = 0; i < directories_.size(); ++i) {
    if (directories_[i].get() == &directory) directory_logs_[i]->fetch_sub(1, std::memory_order_relaxed);
  }
  auto removal = directory.remove(partition->log(), random_.uuid(), now());
  if (!removal) co_return std::unexpected(removal.error());
  part.removals.push_back(std::move(*removal));
  part.bell.wake();
  co_return Result<>{};
}

Task<Result<>> ReplicaManager::stop_replica(TopicPartition id, bool remove) {
  auto& part = part_of(id.topic, id.partition);
  auto work = [this, &part, id, remove] { return stop_here(part, id, remove); };
  co_return co_await call(part.shard, std::move(work));
}

Task<void> ReplicaManager::set_topic_settings(std::string topic, Settings settings) {
  for (auto& part : parts_) {
    auto work = [&part, &topic, &settings] {
      for (auto& [id, partition] : part->partitions) {
        if (id.topic == topic) partition->set(settings);
      }
      part->bell.wake();
    };
    co_await call(part->shard, std::move(work));
  }
}

Task<std::vector<PartitionView>> ReplicaManager::view() {
  std::vector<PartitionView> all;
  for (auto& part : parts_) {
    auto work = [&part, &all] {
      for (const auto& [id, partition] : part->partitions) {
        const auto& log = partition->log();
        all.push_back({id, partition->directory().path(), log.size(), log.log_start(), log.log_end(),
                       log.high_watermark(), log.segment_count(), partition->leads()});
      }
    };
    co_await call(part->shard, std::move(work));
  }
  co_return all;
}

// ---- upkeep

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
          continue;
        }
        auto removal = log.retain(now());
        if (!removal) {
          WEIR_LOG(error, "{}: retention failed: {}", partition->id().text(), removal.error().message);
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
    co_await checkpoint();
  }
}

Task<void> ReplicaManager::checkpoint() {
  std::vector<std::vector<log::Directory::Marks>> marks(directories_.size());
  std::vector<std::pair<TopicPartition, Offset>> now_at;
  for (auto& part : parts_) {
    auto gather = [this, &part, &marks, &now_at] {
      for (const auto& [id, partition] : part->partitions) {
        if (partition->failed()) continue;
        for (std::size_t i = 0; i < directories_.size(); ++i) {
          if (directories_[i].get() == &partition->directory()) {
            marks[i].push_back(log::Directory::marks(partition->log()));
          }
        }
        now_at.emplace_back(id, Offset{partition->log().high_watermark().value + partition->log().log_start().value +
                                       partition->log().recovery_point().value});
      }
    };
    co_await call(part->shard, std::move(gather));
  }
  if (now_at == checkpointed_) co_return;
  bool written = true;
  for (std::size_t i = 0; i < directories_.size(); ++i) {
    auto write = [this, i, &marks] { return directories_[i]->write_checkpoints(marks[i]); };
    auto done = co_await pool_.run(std::move(write));
    if (!done) {
      written = false;
      WEIR_LOG_LIMITED(error, seconds(10), "cannot write the checkpoints of {}: {}", directories_[i]->path(),
                       done.error().message);
    }
  }
  if (written) checkpointed_ = std::move(now_at);
}

Task<void> ReplicaManager::close_part(Part& part) {
  part.stopping = true;
  part.bell.wake();
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

Task<void> ReplicaManager::stop() {
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
  // No shard touches the logs any more: they are closed in the pool.
  for (std::size_t i = 0; i < directories_.size(); ++i) {
    auto close = [this, i, &all] {
      std::vector<log::Directory::Marks> marks;
      bool clean = true;
      for (auto& partition : all[i]) {
        if (auto done = partition->log().close(now()); !done) {
          WEIR_LOG(error, "{}: cannot close the log: {}", partition->id().text(), done.error().message);
          clean = false;
          continue;
        }
        marks.push_back(log::Directory::marks(partition->log()));
      }
      if (!clean) {
        WEIR_LOG(warn, "{} is not marked as cleanly stopped: it will be recovered at the next start",
                 directories_[i]->path());
        return;
      }
      if (auto done = directories_[i]->close(marks); !done) {
        WEIR_LOG(error, "cannot mark {} as cleanly stopped: {}", directories_[i]->path(), done.error().message);
      }
    };
    co_await pool_.run(std::move(close));
  }
  for (auto& part : parts_) {
    auto clear = [&part] { part->partitions.clear(); };
    co_await call(part->shard, std::move(clear));
  }
}

}  // namespace weir::replica
