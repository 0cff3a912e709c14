// A partition on this broker: a log and a role (Kafka's Partition).
//
// Owner: one shard; everything here is called there, but for what says "from any thread". A leader takes appends,
// follows what its followers fetch, decides the high watermark and has the in-sync set changed; a follower takes what
// its fetcher brings. What is committed is what every replica of the in-sync set has (and those that are joining it:
// the maximal set); a set of this broker alone commits with the append itself, or with the flush where flush.messages
// asks for one: what is not on the disk is then neither acknowledged nor shown.
//
// At the minimum: when the in-sync set has shrunk to min.insync.replicas or below (but never for a partition of one
// replica), its members count only as far as they have flushed: the leader by the high watermark, a follower by
// flushing before its next fetch (the last replicas standing, the case of KIP-966).
// ReplicationOptions::flush_at_min_isr.
//
// Shared pointers to a Partition may outlive its place in the ReplicaManager: `gone()` then is true and every call
// answers NOT_LEADER_OR_FOLLOWER.
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "base/topic.h"
#include "log/directory.h"
#include "log/log.h"
#include "metrics/metric.h"
#include "replica/isr.h"
#include "replica/selector.h"
#include "replica/throttle.h"
#include "replica/wait.h"
#include "runtime/pool.h"
#include "runtime/shard.h"

namespace weir::replica {

enum class Role : std::uint8_t { none, leader, follower };

// What a topic's configuration says to its partitions.
struct Settings {
  log::LogConfig log;
  std::int32_t min_insync_replicas = 1;  // min.insync.replicas
  ThrottledReplicas leader_throttled;    // leader.replication.throttled.replicas
  ThrottledReplicas follower_throttled;  // follower.replication.throttled.replicas
};

// Counters of one topic; several partitions share them.
struct TopicCounters {
  std::shared_ptr<metrics::Counter> messages_in;
  std::shared_ptr<metrics::Counter> bytes_in;
  std::shared_ptr<metrics::Counter> bytes_out;
};

// What all partitions of a broker share. Lives as long as they do.
struct ReplicationOptions {
  IsrChanger* isr_changer = nullptr;    // null: the in-sync set changes by the controller's word only
  std::function<bool(BrokerId)> alive;  // whether a broker is up, as UpdateMetadata says; null: all are
  milliseconds lag_time_max{30'000};    // replica.lag.time.max.ms
  milliseconds alter_retry{50};         // before an ISR change that failed is tried again
  bool flush_at_min_isr = true;         // weir.flush.at.min.isr
  // The disk of this directory failed a write. On the partition's shard; null: nobody wants to know.
  std::function<void(log::Directory& directory, const std::string& why)> storage_failed;
  const metrics::Counter* isr_shrinks = nullptr;
  const metrics::Counter* isr_expands = nullptr;
  const metrics::Counter* isr_failures = nullptr;
  // The in-sync set was changed as this leader proposed. On the partition's shard; null: nobody wants to know.
  std::function<void(const TopicPartition& partition, const std::vector<BrokerId>& isr, bool expanded)> isr_changed;
};

class Partition : public std::enable_shared_from_this<Partition> {
 public:
  Partition(runtime::Shard& shard, runtime::Pool& pool, runtime::Scope& scope, BrokerId self,
            const ReplicationOptions& options, std::unique_ptr<log::Log> log, log::Directory& directory,
            TopicCounters counters, const Settings& settings);

  const TopicPartition& id() const { return id_; }
  std::optional<Uuid> topic_id() const { return log_->topic_id(); }
  log::Log& log() { return *log_; }
  const log::Log& log() const { return *log_; }
  log::Directory& directory() { return directory_; }
  TopicCounters& counters() { return counters_; }
  void set(const Settings& settings);

  Role role() const { return role_; }
  bool leads() const { return role_ == Role::leader; }
  bool gone() const { return gone_; }
  LeaderEpoch leader_epoch() const { return leadership_.leader_epoch; }
  // The isr of a leader is the committed one.
  const Leadership& leadership() const { return leadership_; }

  // Takes the role that `to` gives this broker.
  //   UNKNOWN_TOPIC_OR_PARTITION  this broker is not among the replicas
  //   STALE_CONTROLLER_EPOCH      an older leader epoch, or the same one with an older partition epoch
  //   KAFKA_STORAGE_ERROR         the log has failed
  // The same leader epoch and partition epoch again is fine and changes nothing (Kafka answers STALE_CONTROLLER_EPOCH);
  // the same leader epoch with a newer partition epoch changes the sets. The high watermark stays.
  Result<> become(const Leadership& to);
  // The replica is being taken away: everyone who waits is woken.
  void leave();

  // NOT_LEADER_OR_FOLLOWER unless leading; FENCED_LEADER_EPOCH and UNKNOWN_LEADER_EPOCH (KIP-320) when `epoch` is
  // given and not the current one.
  Result<> check_leader(std::optional<LeaderEpoch> epoch = std::nullopt) const;
  // The same for who may be served by a follower, too: consumers from Fetch 11 on (KIP-392), OffsetForLeaderEpoch of
  // consumers. Reads are then bounded by this replica's high watermark.
  Result<> check_reader(std::optional<LeaderEpoch> epoch = std::nullopt) const;
  // For a fetch of a replica: check_leader, and UNKNOWN_LEADER_EPOCH (with an epoch) or NOT_LEADER_OR_FOLLOWER
  // (without) when `replica` is not of the assignment, as Kafka answers.
  Result<> check_follower(BrokerId replica, std::optional<LeaderEpoch> epoch = std::nullopt) const;

  // Before a fetch that says which epoch it has last (KIP-595): where the reader's log parts from this one; nothing
  // when it does not. OFFSET_OUT_OF_RANGE below the log's start, or when the epoch is unknown here.
  Result<std::optional<log::Epochs::End>> divergence(LeaderEpoch last_fetched, Offset fetch_offset) const;

  struct AppendOptions {
    bool all_acks = false;  // then min.insync.replicas must be in sync
    record::Origin origin = record::Origin::client;
  };
  // One batch. NOT_ENOUGH_REPLICAS with all_acks. Moves the high watermark when the in-sync set is this broker alone.
  std::expected<log::Appended, record::Rejection> append(bytes::Shared records, const AppendOptions& options);

  // Until everything up to `last` (inclusive) is committed. REQUEST_TIMED_OUT after `timeout`;
  // NOT_LEADER_OR_FOLLOWER when leadership ends meanwhile; NOT_ENOUGH_REPLICAS_AFTER_APPEND when it is committed by
  // fewer than min.insync.replicas.
  // `tenure`: the one of the append, when something was awaited since; leadership that was lost and won again meanwhile
  // is not the one that the record was appended under: it may be cut off.
  runtime::Task<Result<>> committed(Offset last, nanoseconds timeout, std::optional<std::uint64_t> tenure = {});

  // Until `last` is on the disk, where flush.messages says that nothing is acknowledged before (acks=1). At once when
  // it does not.
  runtime::Task<Result<>> flushed(Offset last, nanoseconds timeout, std::optional<std::uint64_t> tenure = {});
  // Which uninterrupted leadership this is; to be asked right after an append.
  std::uint64_t tenure() const { return tenure_; }

  Offset high_watermark() const { return log_->high_watermark(); }

  // Signals `wait` once when there is more to read, or the role changes. Replicas wait for appends
  // (Isolation::log_end), all others for the high watermark.
  void on_data(std::weak_ptr<DataWait> wait, log::Isolation isolation = log::Isolation::high_watermark);
  // How many are remembered; those that died are forgotten now and then.
  std::size_t data_waits() const { return data_waits_.size() + append_waits_.size(); }

  // ---- as leader, about followers

  // A fetch of `replica` at `fetch_offset` was seen at `now` (of the shard's clock().mono()). Called once a request,
  // with the first look and before anything is awaited, after check_follower and when the read neither failed nor
  // diverged. Moves the high watermark and the low watermark, asks for the ISR to grow. Replicas that are not of the
  // assignment are ignored.
  void follower_fetched(BrokerId replica, Offset fetch_offset, Offset follower_log_start,
                        std::optional<BrokerEpoch> epoch, nanoseconds now);
  // In sync, as committed: a throttle does not apply to it.
  bool in_sync(BrokerId replica) const;
  // Those of the committed in-sync set without this broker: what preferred_read_replica chooses from.
  std::vector<ReadReplica> readable_followers() const;
  const std::vector<Follower>& followers() const { return followers_; }
  // The in-sync set with those who are joining.
  std::vector<BrokerId> maximal_isr() const;
  bool isr_change_pending() const { return pending_.has_value(); }
  // Asks for an ISR without those who have not caught up for lag_time_max. Called every half of it.
  void shrink_isr_if_due();

  // OFFSET_NOT_AVAILABLE right after an election, while the high watermark may still lie below what was committed:
  // ListOffsets of clients answers it for "latest" and for timestamps it finds nothing for.
  Result<> check_offsets_available() const;
  // What OffsetForLeaderEpoch answers; `leader_only` for replicas and for debuggers (KIP-320), else a follower may.
  Result<log::Epochs::End> end_of_epoch(LeaderEpoch asked, std::optional<LeaderEpoch> current, bool leader_only) const;
  // The lowest log start of all replicas that are up: what DeleteRecords answers.
  Offset low_watermark() const;
  // Until low_watermark() is at least `offset`. REQUEST_TIMED_OUT, NOT_LEADER_OR_FOLLOWER.
  runtime::Task<Result<>> deleted(Offset before, nanoseconds timeout);

  bool under_replicated() const;
  bool under_min_isr() const;
  bool at_min_isr() const;
  bool reassigning() const { return !leadership_.adding.empty() || !leadership_.removing.empty(); }
  std::int32_t min_insync_replicas() const { return min_insync_replicas_; }

  // From any thread: whether the throttled.replicas lists name this partition.
  bool leader_throttled() const { return leader_throttled_.load(std::memory_order_relaxed); }
  bool follower_throttled() const { return follower_throttled_.load(std::memory_order_relaxed); }

  // ---- as follower (for the fetcher)

  // UpdateMetadata says what the ISR is: a follower that is one of few flushes before it acknowledges. Older ones
  // (by epochs) are ignored; so is all of it by a leader.
  void learn_isr(LeaderEpoch leader_epoch, std::int32_t partition_epoch, std::vector<BrokerId> isr);

  // Another fetcher takes it up: what the one before still brings is refused.
  std::uint64_t fetch_turn() const { return fetch_turn_; }
  void next_fetch_turn() { ++fetch_turn_; }
  // In this epoch the log was cut where it parts from the leader's (or it does as of the leader's next answer): what
  // came since is the leader's, and may be acknowledged. no_leader_epoch: that is to be found out anew.
  bool agrees(LeaderEpoch epoch) const { return epoch != no_leader_epoch && agreed_ == epoch; }
  void set_agrees(LeaderEpoch epoch) { agreed_ = epoch; }

  // NOT_LEADER_OR_FOLLOWER unless following in this very epoch; KAFKA_STORAGE_ERROR when the log has failed.
  Result<> check_following(LeaderEpoch epoch) const;
  // What a leader of `epoch` sent for a fetch at `at`: records (maybe none), its high watermark and log start. Gives
  // the number of bytes appended. OFFSET_OUT_OF_RANGE when the log does not end at `at` (any more).
  Result<std::uint64_t> append_fetched(LeaderEpoch epoch, Offset at, bytes::Shared records,
                                       Offset leader_high_watermark, Offset leader_log_start);
  // Its leader of `epoch` says that its log starts there, outside a fetch: what is before goes here, too. A log that
  // ends before begins anew there; then the answer is true, as of truncate_to.
  Result<bool> learn_log_start(LeaderEpoch epoch, Offset leader_log_start);
  // Whether what is in the log must be on the disk before a fetch acknowledges it.
  bool acknowledges_by_flush() const;
  // Both block for as long as the tail of the log takes: nobody may see a log that is being cut.
  // True: something was cut; the recovery point's checkpoint has to be written before more is appended.
  Result<bool> truncate_to(LeaderEpoch epoch, Offset offset);
  Result<> truncate_fully_and_start_at(LeaderEpoch epoch, Offset offset);

  // ---- flushing

  // Starts a flush when flush.messages or flush.ms asks for one, or a segment is full.
  void flush_if_due();
  // Until everything appended so far is on the disk. When that fails the partition has failed.
  runtime::Task<Result<>> flush();
  // Its log directory has failed: no more appends, and who waits is answered.
  void give_up(const std::string& why);
  // A failed disk: the log takes no more appends; says so once in the log.
  bool failed() const { return log_->failed(); }
  // Something was done to its log that gave `error`: if that was the disk's, its directory has failed.
  void tell_failure(const Error& error) const;

 private:
  enum class Goal : std::uint8_t { committed, flushed, deleted };
  struct Commit {
    Offset last;
    Goal goal;
    std::uint64_t tenure;
    runtime::Waiter* waiter;
  };
  struct PendingIsr {
    std::vector<BrokerId> isr;                       // proposed
    std::vector<std::optional<BrokerEpoch>> epochs;  // of its members, when they were seen in sync
    bool expands = false;
    std::uint64_t number = 0;
  };
  bool met(const Commit& commit) const;
  bool stands(const Commit& commit) const;  // leadership has not ended since the wait began
  runtime::Task<Result<>> wait_for(Commit commit, nanoseconds timeout);
  runtime::Task<void> flush_loop();
  void want_flush();
  void discard(log::Removal files);
  Offset own_end() const;
  bool flushes_at_minimum() const;
  void lead(const Leadership& to, bool new_epoch);
  void set_followers(const Leadership& to);
  void stop_leading();
  void advance();
  void wake_commits();
  static void signal(std::vector<std::weak_ptr<DataWait>>& waits, std::size_t& prune_at);
  void signal_data();
  void signal_appends();
  Follower* follower(BrokerId id);
  bool eligible(BrokerId id) const { return !options_.alive || options_.alive(id); }
  std::size_t replication_factor() const;
  std::int32_t effective_min_isr() const;
  void expand_isr_if_due(const Follower& follower);
  void propose(std::vector<BrokerId> isr, bool expands);
  runtime::Task<void> alter(std::uint64_t number);
  void altered(const Leadership& answer);
  bool alter_failed(const Error& error);
  TimestampMs now() { return shard_.clock().wall().count(); }

  runtime::Shard& shard_;
  runtime::Pool& pool_;
  runtime::Scope& scope_;
  const BrokerId self_;
  const ReplicationOptions& options_;
  TopicPartition id_;
  std::unique_ptr<log::Log> log_;
  log::Directory& directory_;
  TopicCounters counters_;

  std::int32_t min_insync_replicas_;
  std::atomic<bool> leader_throttled_{false};
  std::atomic<bool> follower_throttled_{false};
  Role role_ = Role::none;
  Leadership leadership_;
  bool gone_ = false;

  std::uint64_t tenure_ = 0;  // grows when leadership ends
  Offset epoch_start_{0};     // where the log ended when leadership of this epoch began
  std::vector<Follower> followers_;
  std::optional<PendingIsr> pending_;
  std::uint64_t proposals_ = 0;
  std::uint64_t fetch_turn_ = 0;          // how many times a fetcher took it up
  LeaderEpoch agreed_ = no_leader_epoch;  // of a follower: the epoch in which its log is a beginning of its leader's
  Offset leader_high_watermark_{0};       // of a follower: what its leader said last

  bool flushing_ = false;
  Offset flush_wanted_{0};  // up to here a flush was asked for
  Offset hold_until_{0};    // and up to here nothing is acknowledged or shown before it is flushed (flush.messages)
  std::vector<Commit> commits_;
  std::vector<std::weak_ptr<DataWait>> data_waits_;
  std::vector<std::weak_ptr<DataWait>> append_waits_;
  std::size_t prune_at_ = 16;
  std::size_t append_prune_at_ = 16;
};

}  // namespace weir::replica
