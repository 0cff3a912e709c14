// All partitions of this broker (Kafka's ReplicaManager and LogManager): the log directories, which shard owns which
// partition, how partitions come and go, and their upkeep.
//
// Lifecycle: open() (locks the directories), claim() (who we are), start() (loads every log, recovers after a crash,
// starts upkeep), then the rest; stop() closes the logs and writes the marks of a clean stop. `find` is called on
// the owning shard; what gives a Task is called on any shard.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/topic.h"
#include "log/directory.h"
#include "metrics/registry.h"
#include "replica/partition.h"
#include "runtime/clock.h"
#include "runtime/files.h"
#include "runtime/pool.h"
#include "runtime/random.h"
#include "runtime/shard.h"

namespace weir::replica {

struct ManagerOptions {
  std::vector<std::string> log_dirs;
  int recovery_threads = 1;                       // num.recovery.threads.per.data.dir
  std::size_t open_files_max = 1000;              // weir.log.open.files.max
  milliseconds retention_check{300'000};          // log.retention.check.interval.ms
  milliseconds initial_delay{30'000};             // log.initial.task.delay.ms
  milliseconds checkpoint{60'000};                // log.flush.offset.checkpoint.interval.ms
  milliseconds high_watermark_checkpoint{5'000};  // replica.high.watermark.checkpoint.interval.ms
  milliseconds flush_check{0};                    // log.flush.scheduler.interval.ms; 0: never
  milliseconds producer_expiry_check{600'000};    // producer.id.expiration.check.interval.ms
  std::size_t topics_counted_max = 2000;          // topics that have metrics of their own
  // What a topic is configured with now. From any thread.
  std::function<Settings(std::string_view topic)> settings;
};

// A partition's role as the controller wants it.
struct Change {
  TopicPartition partition;
  Uuid topic_id;
  Leadership leadership;
};

// What metrics and DescribeLogDirs show of a partition.
struct PartitionView {
  TopicPartition partition;
  std::string directory;
  std::uint64_t size = 0;
  Offset log_start;
  Offset log_end;
  Offset high_watermark;
  std::size_t segments = 0;
  bool leader = false;
};

class ReplicaManager {
 public:
  ReplicaManager(std::vector<runtime::Shard*> shards, runtime::Pool& pool, runtime::Files& files, runtime::Clock& clock,
                 runtime::Random& random, metrics::Registry& metrics, ManagerOptions options);
  ~ReplicaManager();

  // Blocks. The error names the directory and says why.
  Result<> open();
  // Of the first directory that has one; all that have one agree (INCONSISTENT_CLUSTER_ID).
  const std::optional<log::MetaProperties>& meta() const { return meta_; }
  // Blocks. Writes meta.properties where it is missing.
  Result<> claim(BrokerId self, const std::string& cluster_id);
  // Loads all logs (in the pool) and starts upkeep. On a shard.
  runtime::Task<Result<>> start();
  // No partition leads any more: everyone who waits for records or commits is answered. Before stop(). On a shard.
  runtime::Task<void> resign();
  // Ends upkeep, closes the logs, writes checkpoints and clean-shutdown marks. On a shard. No calls after it.
  runtime::Task<void> stop();

  runtime::Shard& shard_of(std::string_view topic, PartitionId partition) const {
    return *shards_[hash_of(topic, partition) % shards_.size()];
  }
  // On the owning shard. Null: not here.
  std::shared_ptr<Partition> find(std::string_view topic, PartitionId partition);

  // Makes the log when it is missing and takes the role; an error for each that failed, in the order of `changes`.
  runtime::Task<std::vector<Result<>>> apply(std::vector<Change> changes);
  // Stops the replica; with `remove` its log goes after file.delete.delay.ms. Missing is fine.
  runtime::Task<Result<>> stop_replica(TopicPartition partition, bool remove);
  // The topic's configuration changed: for all its partitions here.
  runtime::Task<void> set_topic_settings(std::string topic, Settings settings);

  runtime::Task<std::vector<PartitionView>> view();
  const std::vector<std::unique_ptr<log::Directory>>& directories() const { return directories_; }

  TopicCounters counters_of(std::string_view topic);
  // The topic is deleted: its metrics are shown no longer.
  void forget_counters(std::string_view topic);

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(const TopicPartition& tp) const noexcept { return hash_of(tp.topic, tp.partition); }
    std::size_t operator()(std::pair<std::string_view, PartitionId> key) const noexcept {
      return hash_of(key.first, key.second);
    }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const TopicPartition& a, const TopicPartition& b) const noexcept { return a == b; }
    bool operator()(std::pair<std::string_view, PartitionId> a, const TopicPartition& b) const noexcept {
      return a.second == b.partition && a.first == b.topic;
    }
    bool operator()(const TopicPartition& b, std::pair<std::string_view, PartitionId> a) const noexcept {
      return a.second == b.partition && a.first == b.topic;
    }
  };
  // One shard's share.
  struct Part {
    explicit Part(runtime::Shard& s) : shard(s), scope(s), bell(s) {}
    runtime::Shard& shard;
    runtime::Scope scope;  // flushes and upkeep
    runtime::Waiter bell;  // ends the upkeep's sleep
    bool stopping = false;
    std::unordered_map<TopicPartition, std::shared_ptr<Partition>, Hash, Equal> partitions;
    std::vector<log::Removal> removals;
  };

  Part& part_of(std::string_view topic, PartitionId partition) {
    return *parts_[hash_of(topic, partition) % parts_.size()];
  }
  Part& here();
  log::Directory& emptiest();
  void adopt(Part& part, std::unique_ptr<log::Log> log, log::Directory& directory);
  runtime::Task<Result<>> apply_one(Part& part, const Change& change);
  runtime::Task<Result<>> stop_here(Part& part, TopicPartition partition, bool remove);
  runtime::Task<void> upkeep(Part& part);
  runtime::Task<void> checkpoint_loop();
  runtime::Task<void> checkpoint();
  runtime::Task<void> run_removals(Part& part, bool all);
  runtime::Task<void> close_part(Part& part);
  TimestampMs now() { return clock_.wall().count(); }

  std::vector<runtime::Shard*> shards_;
  runtime::Pool& pool_;
  runtime::Files& files_;
  runtime::Clock& clock_;
  runtime::Random& random_;
  ManagerOptions options_;
  log::FileCache cache_;
  std::vector<std::unique_ptr<log::Directory>> directories_;
  std::vector<std::unique_ptr<std::atomic<std::size_t>>> directory_logs_;  // how many logs each holds
  std::optional<log::MetaProperties> meta_;
  BrokerId self_ = no_broker;
  std::vector<std::unique_ptr<Part>> parts_;
  std::unique_ptr<runtime::Scope> scope_;  // the checkpoint loop, on the shard of start()
  std::unique_ptr<runtime::Waiter> checkpoint_bell_;
  bool stopping_ = false;
  std::vector<std::pair<TopicPartition, Offset>> checkpointed_;  // what was written last, to write only changes

  metrics::Family<metrics::Counter>& messages_in_;
  metrics::Family<metrics::Counter>& bytes_in_;
  metrics::Family<metrics::Counter>& bytes_out_;
};

}  // namespace weir::replica
