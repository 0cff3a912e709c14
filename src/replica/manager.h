// All partitions of this broker (Kafka's ReplicaManager and LogManager): the log directories, which shard owns which
// partition, how partitions come and go, and their upkeep.
//
// Lifecycle: open() (locks the directories), claim() (who we are), start() (loads every log, recovers after a crash,
// starts upkeep), then the rest; stop() closes the logs and writes the marks of a clean stop. `find` is called on
// the owning shard; what gives a Task is called on any shard.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/topic.h"
#include "client/connection.h"
#include "log/directory.h"
#include "metrics/registry.h"
#include "replica/fetcher.h"
#include "replica/isr_notes.h"
#include "replica/key.h"
#include "replica/partition.h"
#include "replica/space.h"
#include "replica/throttle.h"
#include "runtime/clock.h"
#include "runtime/files.h"
#include "runtime/pool.h"
#include "runtime/random.h"
#include "runtime/shard.h"
#include "runtime/sockets.h"

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

  // Replication. Without sockets nothing is fetched (a cluster of one).
  FetchOptions fetch;                         // replica.fetch.*, num.replica.fetchers and what a fetcher needs
  milliseconds replica_lag_time_max{30'000};  // replica.lag.time.max.ms
  bool flush_at_min_isr = true;               // weir.flush.at.min.isr
  IsrChanger* isr_changer = nullptr;          // outlives the manager
  // Whether a broker is up, as UpdateMetadata says. On any shard. Null: all are.
  std::function<bool(BrokerId)> alive;
  // A log directory failed a write. Whether it is given up: then no partition in it takes or gives anything until the
  // broker is started again. From any shard, until it says yes. Null: no directory is given up.
  std::function<bool(const std::string& path, const std::string& why)> give_up;
  std::size_t quota_samples = 11;  // replication.quota.window.num
  seconds quota_sample{1};         // replication.quota.window.size.seconds
};

// A partition's role as the controller wants it.
struct Change {
  TopicPartition partition;
  Uuid topic_id;
  Leadership leadership;
};

// StopReplica for one partition.
struct Stop {
  TopicPartition partition;
  bool remove = false;  // its log goes, after file.delete.delay.ms
  // no_leader_epoch and -2 (the topic is being deleted): whatever the epoch; else it must be newer than the known one,
  // FENCED_LEADER_EPOCH.
  LeaderEpoch leader_epoch = no_leader_epoch;
  // Word that is heard in passing: only a replica with a role in an older epoch is stopped, and nothing else is wrong.
  bool stray = false;
};

// What UpdateMetadata says of a partition that others lead.
struct LearnedIsr {
  TopicPartition partition;
  LeaderEpoch leader_epoch = no_leader_epoch;
  std::int32_t partition_epoch = 0;
  std::vector<BrokerId> isr;
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
  bool under_replicated = false;  // these three of a leader only
  bool under_min_isr = false;
  bool at_min_isr = false;
  bool assigned = false;                                // it has a role, and its log has not failed
  std::vector<std::pair<BrokerId, std::int64_t>> lags;  // of a leader: messages that each follower lacks
  std::int64_t lag = -1;  // of a follower: messages it lacks, as of its last fetch; -1 unknown
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
  // This broker is about to go (controlled shutdown): what it is to follow from now on is not fetched. It would only
  // come back into the ISR that it was just taken out of, and hold its acknowledgements up when it is gone. From any
  // thread.
  void leave() { leaving_.store(true, std::memory_order_relaxed); }
  // No partition leads any more: everyone who waits for records or commits is answered. Before stop(). On a shard.
  runtime::Task<void> resign();
  // Ends upkeep, closes the logs, writes checkpoints and clean-shutdown marks. On a shard. No calls after it.
  runtime::Task<void> stop();

  runtime::Shard& shard_of(std::string_view topic, PartitionId partition) const {
    return *shards_[hash_of(topic, partition) % shards_.size()];
  }
  // On the owning shard. Null: not here.
  std::shared_ptr<Partition> find(std::string_view topic, PartitionId partition);

  // LeaderAndIsr: makes logs where they are missing, takes the roles, sends the fetchers after the new leaders; a
  // result for each, in the order of `changes` (which names each partition once). All shards work side by side. Errors
  // are those of Partition::become, and INCONSISTENT_TOPIC_ID when the log here is of another topic of that name.
  runtime::Task<std::vector<Result<>>> apply(std::vector<Change> changes);
  // StopReplica, a result for each. Missing is fine.
  runtime::Task<std::vector<Result<>>> stop_replicas(std::vector<Stop> stops);
  // One of them, whatever the epoch.
  runtime::Task<Result<>> stop_replica(TopicPartition partition, bool remove);
  // UpdateMetadata: the in-sync sets of partitions; those that are not here, or led by this broker, are passed over.
  runtime::Task<void> learn_isrs(std::vector<LearnedIsr> all);
  // A broker came, went, or has another address: fetchers that wait for it try at once. From any shard.
  void brokers_changed();
  // num.replica.fetchers from now on: what is followed is spread anew over so many connections to each leader (at
  // least one, at most 256, whatever is asked for).
  runtime::Task<void> set_fetchers(int count);
  // The topic's configuration changed: for all its partitions here.
  runtime::Task<void> set_topic_settings(std::string topic, Settings settings);

  // How many fetchers there are now, of all leaders. On a shard.
  runtime::Task<std::size_t> fetchers_running();

  runtime::Task<std::vector<PartitionView>> view();
  const std::vector<std::unique_ptr<log::Directory>>& directories() const { return directories_; }
  // Given up until the broker is started again; an index of directories(). From any thread.
  bool given_up(std::size_t directory) const {
    return given_up_[directory]->load(std::memory_order_acquire) == GivenUp::yes;
  }
  // How many directories have not been given up. From any thread.
  std::size_t directories_left() const;

  // What the logs take, and may take. From any thread.
  Space& space() { return space_; }
  const Space& space() const { return space_; }
  // Adds up what the logs take, for space(). On any shard.
  runtime::Task<void> measure_space();

  // The replication quotas of this broker as a leader and as a follower. From any thread.
  Throttle& leader_throttle() { return leader_throttle_; }
  Throttle& follower_throttle() { return follower_throttle_; }
  // Whether a fetch of `replica` gets nothing of this partition now (KIP-73). On the partition's shard.
  bool leader_throttles(const Partition& partition, BrokerId replica);
  // What went to a follower of a partition: counts for the quota when it is throttled. On the partition's shard.
  void sent_to_follower(const Partition& partition, std::uint64_t bytes);

  TopicCounters counters_of(std::string_view topic);
  // The topic is deleted: its metrics are shown no longer.
  void forget_counters(std::string_view topic);

 private:
  // One shard's share.
  struct Source {
    BrokerId leader = no_broker;
    int index = 0;  // of its fetchers
    friend bool operator==(const Source&, const Source&) = default;
  };
  struct Part {
    explicit Part(runtime::Shard& s) : shard(s), scope(s), bell(s), isr_bell(s) {}
    runtime::Shard& shard;
    runtime::Scope scope;  // flushes and upkeep
    runtime::Waiter bell;  // ends the upkeep's sleep
    bool stopping = false;
    std::unordered_map<TopicPartition, std::shared_ptr<Partition>, KeyHash, KeyEqual> partitions;
    std::vector<log::Removal> removals;
    // Taken away, but a power failure may bring them back: their directories' names could not be synced.
    std::unordered_map<TopicPartition, log::Directory*, KeyHash, KeyEqual> unsure;
    runtime::Waiter isr_bell;  // ends the sleep of the ISR's upkeep
    IsrNotes isr_notes;        // what it is to log
    bool changing = false;     // orders of the controller come one after the other
    std::list<runtime::Waiter*> turns;
    std::shared_ptr<Fetchers> fetchers;  // made by start(); null without sockets
    // Which fetcher has each partition.
    std::unordered_map<TopicPartition, Source, KeyHash, KeyEqual> followed;
  };

  class Turn;

  Part& part_of(std::string_view topic, PartitionId partition) {
    return *parts_[hash_of(topic, partition) % parts_.size()];
  }
  Part& here();
  log::Directory& emptiest();
  bool goes(std::size_t directory) const {
    return given_up_[directory]->load(std::memory_order_acquire) != GivenUp::no;
  }
  void storage_failed(log::Directory& directory, const std::string& why);
  void adopt(Part& part, std::unique_ptr<log::Log> log, log::Directory& directory);
  runtime::Task<void> apply_part(Part& part, const std::vector<Change>& changes, std::vector<std::size_t> mine,
                                 std::vector<Result<>>& results);
  runtime::Task<void> make_logs(Part& part, const std::vector<Change>& changes, const std::vector<std::size_t>& mine,
                                std::vector<Result<>>& results);
  Result<> check_topic_id(Partition& partition, const Uuid& id);
  runtime::Task<void> set_strays_aside(Part& part, const std::vector<Change>& changes,
                                       const std::vector<std::size_t>& mine, std::vector<Result<>>& results);
  // No partition is in two directories.
  Result<> settle_twins(std::vector<std::vector<std::unique_ptr<log::Log>>>& all);
  runtime::Task<void> stop_part(Part& part, const std::vector<Stop>& stops, std::vector<std::size_t> mine,
                                std::vector<Result<>>& results);
  using Removed = std::unordered_map<log::Directory*, std::vector<std::size_t>>;  // by whose names are to be synced
  runtime::Task<void> remove_absent(Part& part, const std::vector<Stop>& stops, std::vector<std::size_t> absent,
                                    std::vector<Result<>>& results, Removed& removed);
  // Where the partition's fetcher is, as of its role now: what changes is added to `out`, by the fetcher's shard.
  using FetcherUpdates = std::vector<std::vector<Fetchers::Update>>;
  void follow(Part& part, const std::shared_ptr<Partition>& partition, FetcherUpdates& out);
  void unfollow(Part& part, const TopicPartition& id, FetcherUpdates& out);
  void send(FetcherUpdates updates);
  runtime::Task<void> upkeep(Part& part);
  runtime::Task<void> isr_upkeep(Part& part);
  static void log_isr_changes(Part& part);
  runtime::Task<void> on_each_part(std::function<runtime::Task<void>(std::size_t)> work);
  static runtime::Task<void> on_part(runtime::Shard& shard, std::function<runtime::Task<void>(std::size_t)> work,
                                     std::size_t i);
  static runtime::Task<void> nothing();
  int fetcher_of(const TopicPartition& id) const;
  Fetchers::Update& update_for(const TopicPartition& id, Source source, FetcherUpdates& out);
  runtime::Task<void> spread_anew(Part& part);
  void count_log(log::Directory& directory, int by);
  static PartitionView view_of(const Partition& partition);
  void remember(const std::vector<PartitionView>& all, std::size_t failed);
  void show(metrics::Registry& metrics);
  runtime::Task<void> checkpoint_loop();
  runtime::Task<void> sweep(std::vector<std::string> leftovers);
  runtime::Task<bool> checkpoint();
  static void keep_marks(const std::vector<log::Directory::Marks>& written,
                         const std::vector<log::Directory::Marks>& failed, std::vector<log::Directory::Marks>& out);
  runtime::Task<bool> checkpoint_once();
  // All marks as they are now are on the disk when it returns. On any shard.
  runtime::Task<Result<>> checkpoint_now();
  runtime::Task<void> run_removals(Part& part, bool all);
  runtime::Task<void> close_part(Part& part);
  runtime::Task<void> close_directory(log::Directory& directory, std::vector<std::shared_ptr<Partition>> all);
  TimestampMs now() { return clock_.wall().count(); }

  std::vector<runtime::Shard*> shards_;
  runtime::Pool& pool_;
  runtime::Files& files_;
  runtime::Clock& clock_;
  runtime::Random& random_;
  ManagerOptions options_;
  log::FileCache cache_;
  std::vector<std::unique_ptr<log::Directory>> directories_;
  std::atomic<bool> leaving_{false};
  std::atomic<int> fetchers_;                                              // to each leader
  std::vector<std::unique_ptr<std::atomic<std::size_t>>> directory_logs_;  // how many logs each holds
  enum class GivenUp : std::uint8_t { no, asked, yes };                    // asked: give_up() has not answered yet
  std::vector<std::unique_ptr<std::atomic<GivenUp>>> given_up_;            // by directory
  std::optional<log::MetaProperties> meta_;
  BrokerId self_ = no_broker;
  std::vector<std::unique_ptr<Part>> parts_;
  std::unique_ptr<runtime::Scope> scope_;  // the checkpoint loop, on the shard of start()
  std::unique_ptr<runtime::Waiter> checkpoint_bell_;
  bool stopping_ = false;
  struct Checkpointed {
    TopicPartition partition;
    Offset high_watermark;
    Offset log_start;
    Offset recovery_point;
    friend bool operator==(const Checkpointed&, const Checkpointed&) = default;
  };
  std::vector<Checkpointed> checkpointed_;  // what was written last, to write only changes
  // By directory: what its files say (after start(): what they will), kept there for logs that fail.
  std::vector<std::vector<log::Directory::Marks>> on_disk_;
  runtime::Shard* home_ = nullptr;  // where checkpoints are written
  bool checkpointing_ = false;
  bool checkpoint_fine_ = true;
  std::uint64_t checkpoints_asked_ = 0;
  std::uint64_t checkpoints_done_ = 0;
  std::list<runtime::Waiter*> checkpoint_waits_;

  Space space_;
  Throttle leader_throttle_;
  Throttle follower_throttle_;
  ReplicationOptions replication_;
  std::vector<metrics::Registry::Callback> shown_;
  struct Totals;
  std::shared_ptr<Totals> totals_;  // as of the last view()

  metrics::Family<metrics::Counter>& messages_in_;
  metrics::Family<metrics::Counter>& bytes_in_;
  metrics::Family<metrics::Counter>& bytes_out_;
};

}  // namespace weir::replica
