#include "replica/manager.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "base/log.h"

namespace weir::replica {

using runtime::call;
using runtime::Task;

namespace {

log::TopicPartition log_name(const TopicPartition& tp) { return {tp.topic, tp.partition}; }

// So many partitions are made, or change their roles, before a shard looks after others.
constexpr std::size_t logs_at_once = 256;
constexpr std::size_t roles_at_once = 64;
constexpr std::size_t follow_at_once = 1024;
// Connections to one leader: more bring nothing, each has its answer in memory, and the leader has as many followers
// as there are brokers. ZooKeeper may hold whatever number somebody wrote there.
constexpr int fetchers_max = 256;

int bounded(int fetchers) { return std::clamp(fetchers, 1, fetchers_max); }

}  // namespace

// What the metrics show, as of the last view().
struct ReplicaManager::Totals {
  struct Lag {
    std::string topic;
    std::string partition;
    std::string replica;
    std::int64_t messages;
  };
  std::mutex mutex;  // the thread that asks for metrics is any
  std::int64_t under_replicated = 0;
  std::int64_t under_min_isr = 0;
  std::int64_t at_min_isr = 0;
  std::int64_t lag_max = 0;
  std::int64_t failed_fetches = 0;
  std::vector<Lag> lags;
};

// Changes of one shard's partitions come one after the other: an order and a stop of the same partition must not meet
// while its log is being made in the pool.
class ReplicaManager::Turn {
 public:
  explicit Turn(Part& part) : part_(part) {}
  ~Turn() {
    part_.changing = false;
    if (!part_.turns.empty()) part_.turns.front()->wake();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  static Task<void> take(Part& part) {
    if (part.changing || !part.turns.empty()) {
      runtime::Waiter waiter(part.shard);
      const auto at = part.turns.insert(part.turns.end(), &waiter);
      while (part.changing || part.turns.front() != &waiter) co_await waiter.wait();
      part.turns.erase(at);
    }
    part.changing = true;
  }

 private:
  Part& part_;
};

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
      fetchers_(bounded(options_.fetch.fetchers)),
      leader_throttle_(options_.quota_samples, options_.quota_sample),
      follower_throttle_(options_.quota_samples, options_.quota_sample),
      totals_(std::make_shared<Totals>()),
      messages_in_(metrics.counters("weir_topic_messages_in_total", "Records appended by producers", {"topic"},
                                    options_.topics_counted_max)),
      bytes_in_(metrics.counters("weir_topic_bytes_in_total", "Bytes of record batches appended by producers",
                                 {"topic"}, options_.topics_counted_max)),
      bytes_out_(metrics.counters("weir_topic_bytes_out_total", "Bytes of record batches sent to consumers", {"topic"},
                                  options_.topics_counted_max)) {
  for (auto* shard : shards_) parts_.push_back(std::make_unique<Part>(*shard));
  replication_.isr_changer = options_.isr_changer;
  replication_.alive = options_.alive;
  replication_.lag_time_max = options_.replica_lag_time_max;
  replication_.flush_at_min_isr = options_.flush_at_min_isr;
  if (options_.give_up) {
    replication_.storage_failed = [this](log::Directory& directory, const std::string& why) {
      storage_failed(directory, why);
    };
  }
  replication_.isr_changed = [this](const TopicPartition& id, const std::vector<BrokerId>& isr, bool expanded) {
    auto& part = part_of(id.topic, id.partition);
    if (part.isr_notes.add(id, isr, expanded, part.shard.clock().mono())) part.isr_bell.wake();
  };
  show(metrics);
}

void ReplicaManager::show(metrics::Registry& metrics) {
  replication_.isr_shrinks = &metrics.counter("weir_isr_shrinks_total", "In-sync sets that lost a replica");
  replication_.isr_expands = &metrics.counter("weir_isr_expands_total", "In-sync sets that gained a replica");
  replication_.isr_failures =
      &metrics.counter("weir_isr_failed_updates_total", "Changes of an in-sync set that were refused or failed");
  auto gauge = [this, &metrics](std::string_view name, std::string_view help, std::int64_t Totals::* value) {
    auto read = [totals = totals_, value] {
      const std::scoped_lock lock(totals->mutex);
      return static_cast<double>((*totals).*value);
    };
    shown_.push_back(metrics.gauge_callback(name, help, std::move(read)));
  };
  const auto of_space = [this, &metrics](std::string_view name, std::string_view help,
                                         std::int64_t (Space::*value)() const) {
    shown_.push_back(
        metrics.gauge_callback(name, help, [this, value] { return static_cast<double>((space_.*value)()); }));
  };
  of_space("weir_storage_used_bytes", "What the logs take, of weir.storage.quota.bytes; 0 where there is no quota",
           &Space::used);
  of_space("weir_storage_quota_bytes", "What the logs may take (weir.storage.quota.bytes); 0: no limit", &Space::quota);
  gauge("weir_under_replicated_partitions", "Partitions led here with fewer in-sync replicas than replicas",
        &Totals::under_replicated);
  gauge("weir_under_min_isr_partitions", "Partitions led here with fewer in-sync replicas than min.insync.replicas",
        &Totals::under_min_isr);
  gauge("weir_at_min_isr_partitions", "Partitions led here with just min.insync.replicas in sync", &Totals::at_min_isr);
  gauge("weir_replica_lag_max", "The most messages that a partition followed here lacks", &Totals::lag_max);
  gauge("weir_failed_fetch_partitions", "Partitions that follow no leader until the controller speaks again",
        &Totals::failed_fetches);
  auto lags = [totals = totals_](metrics::Emit& out) {
    const std::scoped_lock lock(totals->mutex);
    for (const auto& lag : totals->lags) {
      out.sample({lag.topic, lag.partition, lag.replica}, static_cast<double>(lag.messages));
    }
  };
  shown_.push_back(metrics.collector("weir_follower_lag", "Messages that a follower of a partition led here lacks",
                                     metrics::Kind::gauge, {"topic", "partition", "replica"}, std::move(lags)));
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
    given_up_.push_back(std::make_unique<std::atomic<GivenUp>>(GivenUp::no));
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
  part.partitions[id] = std::make_shared<Partition>(part.shard, pool_, part.scope, self_, replication_, std::move(log),
                                                    directory, counters_of(id.topic), options_.settings(id.topic));
}

Task<Result<>> ReplicaManager::start() {
  std::size_t loaded = 0;
  bool clean = true;
  const auto began = clock_.mono();
  std::vector<std::vector<std::unique_ptr<log::Log>>> all;
  for (auto& directory : directories_) {
    auto load = [&directory] { return directory->load(); };
    auto logs = co_await pool_.run(std::move(load));
    if (!logs) co_return std::unexpected(logs.error());
    clean = clean && directory->was_clean();
    all.push_back(std::move(*logs));
  }
  auto settle = [this, &all] { return settle_twins(all); };
  if (auto settled = co_await pool_.run(std::move(settle)); !settled) co_return settled;
  for (std::size_t d = 0; d < directories_.size(); ++d) {
    auto& directory = directories_[d];
    auto& logs = all[d];
    loaded += logs.size();
    auto& marks = on_disk_.emplace_back();
    for (const auto& log : logs) marks.push_back(log::Directory::marks(*log));
    std::vector<std::vector<std::unique_ptr<log::Log>>> by_part(parts_.size());
    for (auto& log : logs) {
      by_part[hash_of(log->partition().topic, log->partition().partition) % parts_.size()].push_back(std::move(log));
    }
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      auto place = [this, &part = *parts_[i], &mine = by_part[i], &directory] {
        for (auto& log : mine) adopt(part, std::move(log), *directory);
      };
      co_await call(*shards_[i], std::move(place));
    }
  }
  if (loaded > 0) {
    WEIR_LOG(info, "loaded {} partitions in {} ms after {} stop", loaded,
             std::chrono::duration_cast<milliseconds>(clock_.mono() - began).count(), clean ? "a clean" : "an unclean");
  }
  for (auto& part : parts_) {
    auto begin = [this, &part] {
      part->scope.spawn(upkeep(*part));
      if (options_.isr_changer != nullptr) part->scope.spawn(isr_upkeep(*part));
      if (options_.fetch.sockets != nullptr) {
        auto checkpoint = [this] { return checkpoint_now(); };
        part->fetchers = std::make_shared<Fetchers>(part->shard, self_, options_.fetch, follower_throttle_, space_,
                                                    std::move(checkpoint));
      }
    };
    co_await call(part->shard, std::move(begin));
  }
  auto* shard = runtime::Shard::current();
  home_ = shard;
  scope_ = std::make_unique<runtime::Scope>(*shard);
  checkpoint_bell_ = std::make_unique<runtime::Waiter>(*shard);
  scope_->spawn(checkpoint_loop());
  for (const auto& directory : directories_) {
    auto left = directory->leftovers();
    if (left.empty()) continue;
    auto look = [&directory] { return directory->space(); };
    const auto space = co_await pool_.run(std::move(look));
    // Where there is little room it is needed for what is written next.
    const bool tight = !space || space->usable < space->total / 20;
    if (!tight) scope_->spawn(sweep(std::move(left)));
    if (tight) co_await sweep(std::move(left));
  }
  co_return Result<>{};
}

std::shared_ptr<Partition> ReplicaManager::find(std::string_view topic, PartitionId partition) {
  auto& part = part_of(topic, partition);
  WEIR_CHECK(part.shard.here(), "a partition is found on the shard that owns it");
  const auto it = part.partitions.find(std::pair(topic, partition));
  return it == part.partitions.end() ? nullptr : it->second;
}

std::size_t ReplicaManager::directories_left() const {
  std::size_t left = 0;
  for (std::size_t i = 0; i < given_up_.size(); ++i) left += goes(i) ? 0 : 1;
  return left;
}

void ReplicaManager::storage_failed(log::Directory& directory, const std::string& why) {
  for (std::size_t i = 0; i < directories_.size(); ++i) {
    if (directories_[i].get() != &directory) continue;
    // Counted before it is asked: what give_up() sets going elsewhere looks at directories_left().
    auto was = GivenUp::no;
    if (!given_up_[i]->compare_exchange_strong(was, GivenUp::asked, std::memory_order_acq_rel)) return;
    const bool is = options_.give_up(directory.path(), why);
    given_up_[i]->store(is ? GivenUp::yes : GivenUp::no, std::memory_order_release);
    if (!is) return;
    WEIR_LOG(error, "the log directory {} is given up until the broker is started again: {}", directory.path(), why);
    for (auto& part : parts_) {
      part->shard.post([&part = *part, &directory, why] {
        for (auto& [id, partition] : part.partitions) {
          if (&partition->directory() == &directory) partition->give_up(why);
        }
      });
    }
  }
}

log::Directory& ReplicaManager::emptiest() {
  std::size_t best = 0;
  for (std::size_t i = 1; i < directories_.size(); ++i) {
    if (goes(i)) continue;
    if (goes(best)) {
      best = i;
      continue;
    }
    if (directory_logs_[i]->load(std::memory_order_relaxed) < directory_logs_[best]->load(std::memory_order_relaxed)) {
      best = i;
    }
  }
  return *directories_[best];
}

// ---- orders of the controller

Task<void> ReplicaManager::on_each_part(std::function<Task<void>(std::size_t)> work) {
  runtime::Scope scope(*runtime::Shard::current());
  for (std::size_t i = 0; i < parts_.size(); ++i) scope.spawn(on_part(*shards_[i], work, i));
  co_await scope.stop();
}

Task<void> ReplicaManager::on_part(runtime::Shard& shard, std::function<Task<void>(std::size_t)> work, std::size_t i) {
  auto run = [&work, i] { return work(i); };
  co_await call(shard, std::move(run));
}

// Zero is what says that there is none.
Result<> ReplicaManager::check_topic_id(Partition& partition, const Uuid& id) {
  if (id.is_zero()) return {};
  const auto had = partition.topic_id();
  if (!had) {
    auto done = partition.log().set_topic_id(id);
    if (!done) partition.tell_failure(done.error());
    return done;
  }
  if (*had == id) return {};
  return fail(ErrorCode::INCONSISTENT_TOPIC_ID,
              fmt::format("the log in {} is of the topic with id {}, the cluster's {} has id {}; move the directory "
                          "away when it is not needed",
                          partition.log().directory(), had->text(), partition.id().topic, id.text()));
}

Task<void> ReplicaManager::make_logs(Part& part, const std::vector<Change>& changes,
                                     const std::vector<std::size_t>& mine, std::vector<Result<>>& results) {
  struct Making {
    std::size_t index;
    log::Directory* directory;
    Result<std::unique_ptr<log::Log>> log;
  };
  std::vector<Making> missing;
  for (const auto i : mine) {
    const auto& change = changes[i];
    if (!results[i] || part.partitions.contains(change.partition)) continue;
    if (std::ranges::find(change.leadership.replicas, self_) == change.leadership.replicas.end()) continue;
    auto& directory = emptiest();
    // Counted at once, so that the next one goes to another directory.
    count_log(directory, 1);
    missing.push_back({i, &directory, nullptr});
  }
  for (std::size_t from = 0; from < missing.size(); from += logs_at_once) {
    const auto to = std::min(from + logs_at_once, missing.size());
    auto create = [&] {
      for (auto k = from; k < to; ++k) {
        const auto& change = changes[missing[k].index];
        std::optional<Uuid> topic_id;
        if (!change.topic_id.is_zero()) topic_id = change.topic_id;
        missing[k].log = missing[k].directory->create(log_name(change.partition),
                                                      options_.settings(change.partition.topic).log, topic_id, now());
      }
    };
    co_await pool_.run(std::move(create));
    for (auto k = from; k < to; ++k) {
      auto& made = missing[k];
      count_log(*made.directory, -1);
      if (made.log) {
        adopt(part, std::move(*made.log), *made.directory);
      } else {
        results[made.index] = std::unexpected(made.log.error());
      }
    }
  }
}

Task<void> ReplicaManager::apply_part(Part& part, const std::vector<Change>& changes, std::vector<std::size_t> mine,
                                      std::vector<Result<>>& results) {
  co_await Turn::take(part);
  const Turn turn(part);
  co_await set_strays_aside(part, changes, mine, results);
  co_await make_logs(part, changes, mine, results);
  FetcherUpdates updates(parts_.size());
  std::size_t done = 0;
  for (const auto i : mine) {
    if (!results[i]) continue;
    const auto& change = changes[i];
    const auto it = part.partitions.find(change.partition);
    if (it == part.partitions.end()) {
      results[i] = fail(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                        fmt::format("{}: this broker is not among the replicas", change.partition.text()));
      continue;
    }
    const auto partition = it->second;
    results[i] = check_topic_id(*partition, change.topic_id);
    if (results[i]) results[i] = partition->become(change.leadership);
    if (results[i]) follow(part, partition, updates);
    ++done;
    // In large pieces: each makes a fetcher give up what it waits for.
    if (done % follow_at_once == 0) send(std::exchange(updates, FetcherUpdates(parts_.size())));
    if (done % roles_at_once == 0) {
      co_await runtime::sleep(part.shard, nanoseconds(0));
    }
  }
  send(std::move(updates));
}

Task<std::vector<Result<>>> ReplicaManager::apply(std::vector<Change> changes) {
  std::vector<Result<>> results(changes.size());
  std::vector<std::vector<std::size_t>> by_part(parts_.size());
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const auto& id = changes[i].partition;
    by_part[hash_of(id.topic, id.partition) % parts_.size()].push_back(i);
  }
  auto work = [this, &by_part, &changes, &results](std::size_t p) -> Task<void> {
    if (by_part[p].empty()) return nothing();
    return apply_part(*parts_[p], changes, std::move(by_part[p]), results);
  };
  co_await on_each_part(std::move(work));
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (results[i]) continue;
    const auto& error = results[i].error();
    if (error.code == ErrorCode::STALE_CONTROLLER_EPOCH) {
      WEIR_LOG(info, "passed over an order: {}", error.message);
    } else {
      WEIR_LOG(error, "{}: cannot take the role the controller gave: {}: {}", changes[i].partition.text(),
               name(error.code), error.message);
    }
  }
  co_return results;
}

Task<void> ReplicaManager::nothing() { co_return; }

void ReplicaManager::count_log(log::Directory& directory, int by) {
  for (std::size_t i = 0; i < directories_.size(); ++i) {
    if (directories_[i].get() == &directory) {
      directory_logs_[i]->fetch_add(static_cast<std::size_t>(by), std::memory_order_relaxed);
    }
  }
}

Task<void> ReplicaManager::stop_part(Part& part, const std::vector<Stop>& stops, std::vector<std::size_t> mine,
                                     std::vector<Result<>>& results) {
  co_await Turn::take(part);
  const Turn turn(part);
  FetcherUpdates updates(parts_.size());
  Removed removed;
  std::vector<std::size_t> absent;
  for (const auto i : mine) {
    const auto& stop = stops[i];
    const auto it = part.partitions.find(stop.partition);
    if (it == part.partitions.end()) {
      if (stop.remove) absent.push_back(i);
      continue;
    }
    const auto partition = it->second;
    if (stop.stray) {
      if (partition->role() == Role::none || stop.leader_epoch <= partition->leader_epoch()) continue;
      WEIR_LOG(warn,
               "{}: this broker is no replica any more (leader epoch {}, here {}); its log stays until the "
               "controller says that it goes",
               stop.partition.text(), stop.leader_epoch.value, partition->leader_epoch().value);
    }
    // In the epoch that it has, too: at a controlled shutdown a follower stops, and nobody is elected for that.
    if (stop.leader_epoch.value >= 0 && stop.leader_epoch < partition->leader_epoch()) {
      results[i] =
          fail(ErrorCode::FENCED_LEADER_EPOCH, fmt::format("{}: epoch {} is older than {}", stop.partition.text(),
                                                           stop.leader_epoch.value, partition->leader_epoch().value));
      continue;
    }
    partition->leave();
    unfollow(part, stop.partition, updates);
    if (!stop.remove) continue;
    auto& directory = partition->directory();
    auto removal = directory.remove(partition->log(), random_.uuid(), now());
    if (!removal) {
      // It stays, stopped: the controller asks again.
      results[i] = std::unexpected(removal.error());
      partition->tell_failure(removal.error());
      continue;
    }
    part.partitions.erase(it);
    count_log(directory, -1);
    part.removals.push_back(std::move(*removal));
    removed[&directory].push_back(i);
  }
  send(std::move(updates));
  part.bell.wake();
  if (!absent.empty()) co_await remove_absent(part, stops, std::move(absent), results, removed);
  for (const auto& directory : directories_) {
    const auto which = removed.find(directory.get());
    if (which == removed.end()) continue;
    auto sync = [&directory] { return directory->sync_names(); };
    auto synced = co_await pool_.run(std::move(sync));
    for (const auto i : which->second) {
      if (synced) {
        part.unsure.erase(stops[i].partition);
      } else {
        // It is not here any more, and may be again after a power failure: who asks again hears of that.
        part.unsure[stops[i].partition] = directory.get();
        results[i] = std::unexpected(synced.error());
      }
    }
    if (!synced && replication_.storage_failed) replication_.storage_failed(*directory, synced.error().message);
  }
}

// None of them is loaded. Gone for good they are when nothing can bring them back: neither a removal that is not on
// the disk yet, nor what is left of a log that could not be made.
Task<void> ReplicaManager::remove_absent(Part& part, const std::vector<Stop>& stops, std::vector<std::size_t> absent,
                                         std::vector<Result<>>& results, Removed& removed) {
  auto clear = [&] {
    for (const auto& directory : directories_) {
      for (const auto i : absent) {
        auto done = directory->remove_half_made(log_name(stops[i].partition));
        if (!done) results[i] = std::unexpected(done.error());
        if (done && *done) removed[directory.get()].push_back(i);
      }
    }
  };
  co_await pool_.run(std::move(clear));
  for (const auto i : absent) {
    const auto unsure = part.unsure.find(stops[i].partition);
    if (unsure != part.unsure.end()) removed[unsure->second].push_back(i);
  }
}

Task<std::vector<Result<>>> ReplicaManager::stop_replicas(std::vector<Stop> stops) {
  std::vector<Result<>> results(stops.size());
  std::vector<std::vector<std::size_t>> by_part(parts_.size());
  for (std::size_t i = 0; i < stops.size(); ++i) {
    const auto& id = stops[i].partition;
    by_part[hash_of(id.topic, id.partition) % parts_.size()].push_back(i);
  }
  auto work = [this, &by_part, &stops, &results](std::size_t p) -> Task<void> {
    if (by_part[p].empty()) return nothing();
    return stop_part(*parts_[p], stops, std::move(by_part[p]), results);
  };
  co_await on_each_part(std::move(work));
  co_return results;
}

Task<Result<>> ReplicaManager::stop_replica(TopicPartition id, bool remove) {
  std::vector<Stop> stops;
  stops.push_back({std::move(id), remove, no_leader_epoch});
  auto results = co_await stop_replicas(std::move(stops));
  co_return std::move(results.front());
}

Task<void> ReplicaManager::learn_isrs(std::vector<LearnedIsr> all) {
  std::vector<std::vector<LearnedIsr>> by_part(parts_.size());
  for (auto& each : all) {
    by_part[hash_of(each.partition.topic, each.partition.partition) % parts_.size()].push_back(std::move(each));
  }
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    if (by_part[p].empty()) continue;
    auto work = [&part = *parts_[p], &mine = by_part[p]] {
      for (auto& each : mine) {
        const auto it = part.partitions.find(each.partition);
        if (it == part.partitions.end()) continue;
        it->second->learn_isr(each.leader_epoch, each.partition_epoch, std::move(each.isr));
      }
    };
    co_await call(*shards_[p], std::move(work));
  }
}

// ---- fetchers

void ReplicaManager::follow(Part& part, const std::shared_ptr<Partition>& partition, FetcherUpdates& out) {
  const auto& to = partition->leadership();
  const bool follows = partition->role() == Role::follower && to.leader.value >= 0 && part.fetchers;
  const auto had = part.followed.find(partition->id());
  const Source source{to.leader, fetcher_of(partition->id())};
  if (had != part.followed.end() && (!follows || had->second != source)) unfollow(part, partition->id(), out);
  if (!follows || (leaving_.load(std::memory_order_relaxed) && !part.followed.contains(partition->id()))) return;
  if (part.followed.insert_or_assign(partition->id(), source).second) partition->next_fetch_turn();
  auto& update = update_for(partition->id(), source, out);
  update.follow = Following{partition, &part.shard, to.leader_epoch, partition->topic_id(), partition->fetch_turn()};
}

void ReplicaManager::unfollow(Part& part, const TopicPartition& id, FetcherUpdates& out) {
  const auto had = part.followed.find(id);
  if (had == part.followed.end()) return;
  update_for(id, had->second, out);
  part.followed.erase(had);
}

int ReplicaManager::fetcher_of(const TopicPartition& id) const {
  const auto fetchers = static_cast<std::size_t>(fetchers_.load(std::memory_order_relaxed));
  return static_cast<int>(hash_of(id.topic, id.partition) / parts_.size() % fetchers);
}

Fetchers::Update& ReplicaManager::update_for(const TopicPartition& id, Source source, FetcherUpdates& out) {
  const auto [leader, index] = source;
  auto& updates = out[(static_cast<std::size_t>(leader.value) + static_cast<std::size_t>(index)) % parts_.size()];
  auto& update = updates.emplace_back();
  update.leader = leader;
  update.index = index;
  update.partition = id;
  return update;
}

Task<void> ReplicaManager::set_fetchers(int count) {
  if (leaving_.load(std::memory_order_relaxed)) co_return;  // what stops being fetched now is not taken up again
  const int wanted = std::exchange(count, bounded(count));
  if (fetchers_.exchange(count, std::memory_order_relaxed) == count) co_return;
  if (wanted != count) {
    WEIR_LOG(warn, "num.replica.fetchers={} is not taken, but {}: it is from 1 to {}", wanted, count, fetchers_max);
  }
  WEIR_LOG(info, "replicas are fetched by {} connections to each leader", count);
  auto spread = [this](std::size_t p) { return spread_anew(*parts_[p]); };
  co_await on_each_part(std::move(spread));
}

Task<void> ReplicaManager::spread_anew(Part& part) {
  co_await Turn::take(part);
  const Turn turn(part);
  FetcherUpdates updates(parts_.size());
  for (const auto& [id, partition] : part.partitions) {
    const auto had = part.followed.find(id);
    if (had != part.followed.end() && had->second.index != fetcher_of(id)) follow(part, partition, updates);
  }
  send(std::move(updates));
}

Task<std::size_t> ReplicaManager::fetchers_running() {
  std::size_t all = 0;
  for (auto& part : parts_) {
    auto work = [&part, &all] { all += part->fetchers ? part->fetchers->count() : 0; };
    co_await call(part->shard, std::move(work));
  }
  co_return all;
}

void ReplicaManager::send(FetcherUpdates updates) {
  for (std::size_t i = 0; i < updates.size(); ++i) {
    if (updates[i].empty()) continue;
    auto job = [fetchers = parts_[i]->fetchers, all = std::move(updates[i])]() mutable {
      if (fetchers) fetchers->update(std::move(all));
    };
    shards_[i]->post(std::move(job));
  }
}

void ReplicaManager::brokers_changed() {
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    shards_[i]->post([fetchers = parts_[i]->fetchers] {
      if (fetchers) fetchers->retry();
    });
  }
}

bool ReplicaManager::leader_throttles(const Partition& partition, BrokerId replica) {
  return partition.leader_throttled() && !partition.in_sync(replica) && leader_throttle_.exceeded(clock_.mono());
}

void ReplicaManager::sent_to_follower(const Partition& partition, std::uint64_t bytes) {
  if (bytes > 0 && partition.leader_throttled()) leader_throttle_.record(bytes, clock_.mono());
}

Task<void> ReplicaManager::isr_upkeep(Part& part) {
  const auto period = std::max<nanoseconds>(options_.replica_lag_time_max / 2, milliseconds(1));
  auto& clock = part.shard.clock();
  auto next_check = clock.mono() + period;
  while (!part.stopping) {
    const auto wait = std::min(next_check, part.isr_notes.due()) - clock.mono();
    if (wait > nanoseconds(0)) co_await part.isr_bell.wait(wait);
    if (part.stopping) break;
    if (clock.mono() >= part.isr_notes.due()) log_isr_changes(part);
    if (clock.mono() < next_check) continue;
    for (auto& [id, partition] : part.partitions) partition->shrink_isr_if_due();
    next_check = clock.mono() + period;
  }
  log_isr_changes(part);
}

void ReplicaManager::log_isr_changes(Part& part) {
  for (const auto& line : part.isr_notes.take()) WEIR_LOG(info, "{}", line);
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
  std::vector<Fetchers::Lag> lags;
  std::size_t failed = 0;
  for (auto& part : parts_) {
    auto work = [&part, &all, &lags, &failed] {
      for (const auto& [id, partition] : part->partitions) all.push_back(view_of(*partition));
      if (!part->fetchers) return;
      part->fetchers->lags(lags);
      failed += part->fetchers->failed();
    };
    co_await call(part->shard, std::move(work));
  }
  if (!lags.empty()) {
    std::unordered_map<TopicPartition, std::int64_t> by_name;
    for (auto& lag : lags) by_name[std::move(lag.partition)] = lag.messages;
    for (auto& each : all) {
      const auto it = by_name.find(each.partition);
      if (it != by_name.end() && !each.leader) each.lag = it->second;
    }
  }
  remember(all, failed);
  co_return all;
}

PartitionView ReplicaManager::view_of(const Partition& partition) {
  const auto& log = partition.log();
  PartitionView out{.partition = partition.id(),
                    .directory = {},
                    .size = log.size(),
                    .log_start = log.log_start(),
                    .log_end = log.log_end(),
                    .high_watermark = log.high_watermark(),
                    .segments = log.segment_count(),
                    .leader = partition.leads(),
                    .under_replicated = partition.under_replicated(),
                    .under_min_isr = partition.under_min_isr(),
                    .at_min_isr = partition.at_min_isr(),
                    .assigned = partition.role() != Role::none && !partition.failed(),
                    .lags = {},
                    .lag = -1};
  out.directory = log.directory().substr(0, log.directory().rfind('/'));
  for (const auto& each : partition.followers()) {
    const auto from = std::max(each.log_end, log.log_start());
    out.lags.emplace_back(each.id, std::max<std::int64_t>(0, log.log_end() - from));
  }
  return out;
}

void ReplicaManager::remember(const std::vector<PartitionView>& all, std::size_t failed) {
  const std::scoped_lock lock(totals_->mutex);
  auto& to = *totals_;
  to.under_replicated = to.under_min_isr = to.at_min_isr = to.lag_max = 0;
  to.failed_fetches = static_cast<std::int64_t>(failed);
  to.lags.clear();
  for (const auto& each : all) {
    to.under_replicated += each.under_replicated ? 1 : 0;
    to.under_min_isr += each.under_min_isr ? 1 : 0;
    to.at_min_isr += each.at_min_isr ? 1 : 0;
    to.lag_max = std::max(to.lag_max, each.lag);
    for (const auto& [replica, lag] : each.lags) {
      to.lags.push_back(
          {each.partition.topic, std::to_string(each.partition.partition.value), std::to_string(replica.value), lag});
    }
  }
}

}  // namespace weir::replica
