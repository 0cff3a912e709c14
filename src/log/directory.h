// A log directory of log.dirs: the logs of many partitions, their checkpoints, the lock.
//
// Opened once by the broker; its logs are then handed to their shards. The calls here block and are for start, stop
// and the pool; each says what it touches. Checkpoints are written from plain maps that the caller gathers from the
// shards.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/uuid.h"
#include "log/checkpoint.h"
#include "log/file_cache.h"
#include "log/log.h"
#include "runtime/clock.h"
#include "runtime/files.h"

namespace weir::log {

struct DirectoryOptions {
  std::string path;          // made when missing
  int recovery_threads = 1;  // num.recovery.threads.per.data.dir; 1 runs on the caller
  // What a topic's log is configured with. Called from the recovery threads.
  std::function<LogConfig(std::string_view topic)> config;
};

class Directory {
 public:
  // Takes the lock and reads meta.properties. KAFKA_STORAGE_ERROR with a sentence for people: another process holds
  // the lock, the path is no directory, a file is malformed.
  static Result<std::unique_ptr<Directory>> open(FileCache& cache, runtime::Clock& clock, DirectoryOptions options);
  ~Directory();
  Directory(const Directory&) = delete;

  const std::string& path() const { return options_.path; }
  const std::optional<MetaProperties>& meta() const { return meta_; }
  // Writes meta.properties when it is missing; INCONSISTENT_CLUSTER_ID when it names another cluster or broker.
  Result<> claim(BrokerId broker, const std::string& cluster_id);

  // Loads every partition's log; after an unclean stop each is recovered from its recovery point, on
  // `recovery_threads` threads. The clean-shutdown mark is taken away. A log that cannot be loaded fails the whole
  // directory, as Kafka does it. `high watermarks` of the checkpoint are set.
  Result<std::vector<std::unique_ptr<Log>>> load();
  bool was_clean() const { return was_clean_; }
  // Directories of deleted partitions found by load, to be removed now.
  const std::vector<std::string>& leftovers() const { return leftovers_; }

  // A new empty log for a partition that is not here. What a failure leaves of it is taken away, by the next try at the
  // latest.
  Result<std::unique_ptr<Log>> create(const TopicPartition& partition, const LogConfig& config,
                                      std::optional<Uuid> topic_id, TimestampMs now);
  // Renames the partition's directory to "-delete"; the log is abandoned, unless that fails. Running the result (after
  // file.delete.delay.ms) removes it.
  Result<Removal> remove(Log& log, const Uuid& unique, TimestampMs now);
  // Renames the partition's directory to "-stray" and gives its new path; the log is abandoned, unless that fails. No
  // start loads it any more, and nobody removes it.
  Result<std::string> set_aside(Log& log, const Uuid& unique);
  // What create() could not make and could not take away either: found again by load() after a restart, it would be
  // that partition's log. Gives whether something was taken away. Blocks; from any thread.
  Result<bool> remove_half_made(const TopicPartition& partition);
  // Before anyone is told that logs were removed: a power failure does not bring them back. Blocks; from any thread.
  Result<> sync_names();

  // What the checkpoints say of one log.
  struct Marks {
    TopicPartition partition;
    Offset recovery_point;
    Offset log_start;
    Offset segment_start;  // of the first segment: log start is written only when it is further
    Offset high_watermark;
  };
  static Marks marks(const Log& log);
  // recovery-point-, log-start- and replication-offset-checkpoint of all logs of this directory. Safe from any
  // thread; one at a time.
  Result<> write_checkpoints(const std::vector<Marks>& all);

  // All logs were closed: checkpoints, then the clean-shutdown mark.
  Result<> close(const std::vector<Marks>& all);

  // Of its volume: all of it, and what this process may still write (KIP-827).
  struct Space {
    std::uint64_t total = 0;
    std::uint64_t usable = 0;
  };
  Result<Space> space() const;

 private:
  Directory(FileCache& cache, runtime::Clock& clock, DirectoryOptions options);
  Result<std::unique_ptr<Log>> load_one(const TopicPartition& partition, bool clean, const OffsetCheckpoint& recovery,
                                        const OffsetCheckpoint& starts, const OffsetCheckpoint& marks);

  FileCache& cache_;
  runtime::Clock& clock_;
  DirectoryOptions options_;
  std::unique_ptr<runtime::File> lock_;
  std::optional<MetaProperties> meta_;
  std::vector<std::string> leftovers_;
  bool was_clean_ = false;
  std::mutex checkpoints_;      // one writer of the checkpoint files at a time
  std::mutex half_made_mutex_;  // logs are created from any thread of the pool
  std::set<std::string> half_made_;
};

}  // namespace weir::log
