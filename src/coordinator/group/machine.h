// The classic group protocol of one partition of __consumer_offsets, as Apache Kafka 3.9 has it: JoinGroup,
// SyncGroup, Heartbeat, LeaveGroup, offsets, and the administration of groups (KIP-62, 134, 211, 345, 389, 394, 447,
// 559, 814).
//
// Owner: the CoordinatorRuntime. Lifecycle: made empty; replay() for each record of the log, in order; activate();
// then requests, ticks and append results; resign() ends it. Nothing may be called after resign().
//
// What is answered at once is a result; what may wait takes a Token and is answered through Effects, of this call
// or of a later one. State that must be durable changes only when its append was committed: until then the old
// state is served, and a failed append leaves nothing behind. Deleted offsets are the exception: they are gone at
// once, as in Kafka, while the answer waits for the append.
//
// Group ids, member ids and other names longer than 32,767 bytes, which records cannot hold, are refused.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "coordinator/group/config.h"
#include "coordinator/group/messages.h"
#include "coordinator/types.h"

namespace weir::coordinator::group {

struct Group;

class Machine {
 public:
  // Append ids are above `appends_before`.
  explicit Machine(const Config& config, AppendId appends_before = 0);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // ---- loading

  // One record of the log. Offsets of open transactions wait for their marker. A record of a kind that is unknown
  // (newer versions, the consumer protocol of 4.x) is skipped; false for one that is damaged, which is skipped too.
  bool replay(const LoadedRecord& record);
  // The log was read to its end: sessions of the members that were loaded begin now.
  Effects activate(Now now);

  // ---- requests

  Effects join(Token token, JoinRequest request, Now now);
  Effects sync(Token token, SyncRequest request, Now now);
  ErrorCode heartbeat(const HeartbeatRequest& request, Now now);
  Effects leave(Token token, LeaveRequest request, Now now);
  Effects commit(Token token, CommitRequest request, Now now);
  FetchOffsetsResponse fetch_offsets(const FetchOffsetsRequest& request) const;
  Effects delete_offsets(Token token, DeleteOffsetsRequest request, Now now);
  DescribeResponse describe(const std::string& group) const;
  void list(const ListRequest& request, ListResponse& into) const;
  Effects delete_group(Token token, const std::string& group, Now now);
  // The topics are deleted: so are the offsets committed for them.
  Effects topics_deleted(const std::vector<std::string>& topics, Now now);
  // A marker of a transaction was written to the partition: its offsets hold now, or are dropped (KIP-98).
  Effects transaction_ended(std::int64_t producer_id, bool commit, Now now);

  // ---- what came of an append

  Effects committed(AppendId id, Now now);
  // `error` is what the log said; members and committers get what Kafka makes of it.
  Effects append_failed(AppendId id, ErrorCode error, Now now);

  // ---- time

  // The earliest time (of Now::mono) at which tick() may have something to do.
  std::optional<nanoseconds> next_deadline() const;
  Effects tick(Now now);

  // Not the coordinator any more: everyone who waits is answered NOT_COORDINATOR.
  Effects resign();

  // ---- a look inside, for metrics and tests

  std::size_t groups() const;
  std::size_t offsets() const;
  std::size_t waiting() const;  // tokens without an answer
  // A text of all durable state, the same for the same state.
  std::string dump() const;

 private:
  Effects append_ended(AppendId id, ErrorCode error, Now now);

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weir::coordinator::group
