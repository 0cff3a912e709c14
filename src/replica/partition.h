// A partition on this broker: a log and a role.
//
// Owner: one shard; everything here is called there. A leader takes appends, decides the high watermark and answers
// reads. The in-sync set is what the controller said; a set of this broker alone commits with the append itself (or
// with the flush, where flush.messages asks for one: what is not on the disk is then neither acknowledged nor shown).
//
// Shared pointers to a Partition may outlive its place in the ReplicaManager: `gone()` then is true and every call
// answers NOT_LEADER_OR_FOLLOWER.
#pragma once

#include <cstdint>
#include <expected>
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
#include "replica/wait.h"
#include "runtime/pool.h"
#include "runtime/shard.h"

namespace weir::replica {

enum class Role : std::uint8_t { none, leader, follower };

// What the controller says of a partition (LeaderAndIsr).
struct Leadership {
  BrokerId leader = no_broker;
  LeaderEpoch leader_epoch = no_leader_epoch;
  std::vector<BrokerId> isr;
  std::vector<BrokerId> replicas;
  std::int32_t partition_epoch = 0;  // version of the state znode
};

// What a topic's configuration says to its partitions.
struct Settings {
  log::LogConfig log;
  std::int32_t min_insync_replicas = 1;  // min.insync.replicas
};

// Counters of one topic; several partitions share them.
struct TopicCounters {
  std::shared_ptr<metrics::Counter> messages_in;
  std::shared_ptr<metrics::Counter> bytes_in;
  std::shared_ptr<metrics::Counter> bytes_out;
};

class Partition : public std::enable_shared_from_this<Partition> {
 public:
  Partition(runtime::Shard& shard, runtime::Pool& pool, runtime::Scope& scope, BrokerId self,
            std::unique_ptr<log::Log> log, log::Directory& directory, TopicCounters counters,
            std::int32_t min_insync_replicas);

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
  const Leadership& leadership() const { return leadership_; }

  // Takes the role that `to` gives this broker. An older epoch than the one known is refused: STALE_CONTROLLER_EPOCH
  // is the controller's affair, this is FENCED_LEADER_EPOCH. The same epoch again changes nothing but the ISR.
  Result<> become(const Leadership& to);
  // The replica is being taken away: everyone who waits is woken.
  void leave();

  // NOT_LEADER_OR_FOLLOWER unless leading; FENCED_LEADER_EPOCH and UNKNOWN_LEADER_EPOCH (KIP-320) when `epoch` is
  // given and not the current one.
  Result<> check_leader(std::optional<LeaderEpoch> epoch = std::nullopt) const;

  struct AppendOptions {
    bool all_acks = false;  // then min.insync.replicas must be in sync
    record::Origin origin = record::Origin::client;
  };
  // One batch. Moves the high watermark when the in-sync set is this broker alone.
  std::expected<log::Appended, record::Rejection> append(bytes::Shared records, const AppendOptions& options);

  // Until everything up to `last` (inclusive) is committed. REQUEST_TIMED_OUT after `timeout`;
  // NOT_LEADER_OR_FOLLOWER when leadership ends meanwhile.
  runtime::Task<Result<>> committed(Offset last, nanoseconds timeout);

  // Until `last` is on the disk, where flush.messages says that nothing is acknowledged before (acks=1). At once when
  // it does not.
  runtime::Task<Result<>> flushed(Offset last, nanoseconds timeout);

  Offset high_watermark() const { return log_->high_watermark(); }

  // Signals `wait` once when records become visible, or the role changes.
  void on_data(std::weak_ptr<DataWait> wait);
  // How many are remembered; those that died are forgotten now and then.
  std::size_t data_waits() const { return data_waits_.size(); }

  // Starts a flush when flush.messages or flush.ms asks for one.
  void flush_if_due();
  // Until everything appended so far is on the disk. When that fails the partition has failed.
  runtime::Task<Result<>> flush();
  // A failed disk: the log takes no more appends; says so once in the log.
  bool failed() const { return log_->failed(); }

 private:
  struct Commit {
    Offset last;
    bool flush_only;
    runtime::Waiter* waiter;
  };
  bool met(const Commit& commit) const;
  runtime::Task<Result<>> wait_for(Commit commit, nanoseconds timeout);
  runtime::Task<void> flush_loop();
  void advance();
  void wake_commits();
  void signal_data();
  TimestampMs now() { return shard_.clock().wall().count(); }

  runtime::Shard& shard_;
  runtime::Pool& pool_;
  runtime::Scope& scope_;
  const BrokerId self_;
  TopicPartition id_;
  std::unique_ptr<log::Log> log_;
  log::Directory& directory_;
  TopicCounters counters_;

  std::int32_t min_insync_replicas_;
  Role role_ = Role::none;
  Leadership leadership_;
  bool gone_ = false;

  bool flushing_ = false;
  Offset flush_wanted_{0};  // up to here a flush was asked for
  Offset hold_until_{0};    // and up to here nothing is acknowledged or shown before it is flushed (flush.messages)
  std::vector<Commit> commits_;
  std::vector<std::weak_ptr<DataWait>> data_waits_;
  std::size_t prune_at_ = 16;
};

}  // namespace weir::replica
