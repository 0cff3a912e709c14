// The group coordinators of one shard: which partitions of __consumer_offsets it leads, in which state each is, and
// which one a group belongs to.
//
// Pure, as the machines are. The broker tells it of elections, feeds it the log in pieces while it loads, carries
// out the Effects (types.h) and reports the end of each append. A partition is gone, loading or active; requests for
// a group of one that is not active are answered here, as Kafka does.
//
// Owner: the shard it lives on; one instance a shard, holding the partitions of that shard.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "coordinator/group/config.h"
#include "coordinator/group/machine.h"
#include "coordinator/group/messages.h"
#include "coordinator/java_text.h"
#include "coordinator/types.h"

namespace weir::coordinator {

class CoordinatorRuntime {
 public:
  // `partitions`: of __consumer_offsets; offsets.topic.num.partitions while it does not exist yet.
  CoordinatorRuntime(const group::Config& config, std::int32_t partitions);
  ~CoordinatorRuntime();

  std::int32_t partition_of(std::string_view group) const { return partition_for(group, partitions_); }
  // When the topic turns out to have another count than configured. Only while no partition is loading or active.
  void set_partitions(std::int32_t partitions);

  // ---- elections and loading. An epoch older than the one known is ignored (false).

  // This broker leads the partition. True: read its log from the start and feed it; false also when it was active
  // already (elected again, nobody wrote in between).
  bool begin_load(std::int32_t partition, LeaderEpoch epoch);
  // Records in the order of the log. False: stop reading, the load was overtaken.
  bool load(std::int32_t partition, LeaderEpoch epoch, std::span<const LoadedRecord> records);
  // The log was read up to its end as of begin_load.
  group::Effects finish_load(std::int32_t partition, LeaderEpoch epoch, Now now);
  // Reading failed: the partition is gone until it is elected again.
  void fail_load(std::int32_t partition, LeaderEpoch epoch);
  // Another broker leads, or the replica is gone. No epoch: whatever epoch is known.
  group::Effects resign(std::int32_t partition, std::optional<LeaderEpoch> epoch);
  // The broker stops: all partitions are resigned, requests are answered COORDINATOR_NOT_AVAILABLE from now on.
  group::Effects shut_down();

  // ---- requests: see group::Machine

  group::Effects join(Token token, group::JoinRequest request, Now now);
  group::Effects sync(Token token, group::SyncRequest request, Now now);
  ErrorCode heartbeat(const group::HeartbeatRequest& request, Now now);
  group::Effects leave(Token token, group::LeaveRequest request, Now now);
  group::Effects commit(Token token, group::CommitRequest request, Now now);
  group::FetchOffsetsResponse fetch_offsets(const group::FetchOffsetsRequest& request) const;
  group::Effects delete_offsets(Token token, group::DeleteOffsetsRequest request, Now now);
  group::DescribeResponse describe(const std::string& group) const;
  group::ListResponse list(const group::ListRequest& request) const;
  group::Effects delete_group(Token token, const std::string& group, Now now);
  group::Effects topics_deleted(const std::vector<std::string>& topics, Now now);

  // ---- the end of appends and time. The end of an append from before a resignation is ignored.

  group::Effects committed(std::int32_t partition, AppendId id, Now now);
  group::Effects append_failed(std::int32_t partition, AppendId id, ErrorCode error, Now now);
  std::optional<nanoseconds> next_deadline() const;
  group::Effects tick(Now now);

  // The epoch in which a partition is active; none when it is not.
  std::optional<LeaderEpoch> active_epoch(std::int32_t partition) const;
  bool loading(std::int32_t partition) const;
  // For metrics and tests; null when the partition is neither loading nor active.
  const group::Machine* machine(std::int32_t partition) const;

 private:
  enum class State : std::uint8_t { gone, loading, active };
  struct Slot {
    State state = State::gone;
    std::optional<LeaderEpoch> epoch;
    std::unique_ptr<group::Machine> machine;
  };
  // Which kinds of request may come with an empty group id.
  enum class GroupId : std::uint8_t { may_be_empty, not_empty };

  // The partition of a group when it is active, or what a client is told.
  std::expected<Slot*, ErrorCode> find(std::string_view group, GroupId kind) const;
  template <class Refuse, class Fn>
  group::Effects with(std::string_view group, GroupId kind, Refuse refuse, Fn fn);
  Slot* current(std::int32_t partition, LeaderEpoch epoch, State state);
  Slot* active(std::int32_t partition);

  group::Config config_;
  std::int32_t partitions_;
  bool stopped_ = false;
  AppendId machines_ = 0;  // made so far; each has append ids of its own
  std::map<std::int32_t, Slot> slots_;
};

}  // namespace weir::coordinator
