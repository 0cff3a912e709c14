// The inside of group::Machine, shared by the files that carry it: members.cc (who is in), rebalance.cc (from joining
// to assignments), offsets.cc, admin.cc (describe, list, delete), load.cc (replay and resignation).
//
// `out` gathers the effects of the call that is under way; `now` is its time.
#pragma once

#include <compare>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.h"
#include "coordinator/group/group.h"
#include "coordinator/group/machine.h"
#include "coordinator/group/messages.h"
#include "coordinator/group/records.h"

namespace weir::coordinator::group {

// Answers in one word.
JoinResponse refuse_join(std::string member_id, ErrorCode error);
SyncResponse refuse_sync(ErrorCode error);
// What a member is told when the group's record could not be written.
ErrorCode group_store_error(ErrorCode log_error);
// What a committer is told when its offsets could not be written.
ErrorCode offset_store_error(ErrorCode log_error);

struct TopicPartition {
  std::string topic;
  std::int32_t partition = 0;
  auto operator<=>(const TopicPartition&) const = default;
};

struct StagedOffset {
  TopicPartition at;
  OffsetValue value;
};

// ---- appends under way: what to do when they end

// The leader's assignments (SyncGroup).
struct StoreAssignments {
  std::weak_ptr<Group> group;
  std::int32_t generation = 0;
  std::unordered_map<std::string, bytes::Shared> assignments;
};
// A generation without members.
struct StoreEmpty {
  std::weak_ptr<Group> group;
};
// A static member that came back under a new id, without a rebalance.
struct StoreStatic {
  std::weak_ptr<Group> group;
  std::int32_t generation = 0;
  Token token = 0;
  std::string instance_id;
  std::string old_id;
  std::string new_id;
  std::string old_leader;
  std::vector<Protocol> old_protocols;
  std::int32_t old_session_timeout_ms = 0;
  std::int32_t old_rebalance_timeout_ms = 0;
  bool may_skip_assignment = false;
};
struct StoreOffsets {
  std::weak_ptr<Group> group;
  Token token = 0;
  CommitResponse response;  // errors known before; NONE is replaced by how the append ends
  std::vector<StagedOffset> offsets;
};
// Tombstones whose request waits.
struct StoreDeletion {
  Token token = 0;
  std::variant<DeleteResponse, DeleteOffsetsResponse> response;
};
using Stored = std::variant<StoreAssignments, StoreEmpty, StoreStatic, StoreOffsets, StoreDeletion>;

struct Machine::Impl {
  explicit Impl(const Config& c) : config(c) {}

  Config config;
  Now now;
  Effects out;
  AppendId last_append = 0;
  std::map<AppendId, Stored> under_way;

  // Timers outlive the handles in groups: declared first.
  Deadlines deadlines;
  Deadlines::Handle cleanup;
  std::unordered_map<std::string, std::shared_ptr<Group>> groups;
  // Offsets of transactions that have no marker yet, by producer id (KIP-98).
  std::map<std::int64_t, std::map<std::pair<std::string, TopicPartition>, OffsetValue>> open_transactions;
  // While loading: the last record of each group.
  std::unordered_map<std::string, bytes::Shared> loaded_groups;

  // ---- of all files
  void begin(Now at) { now = at; }
  Effects end() {
    run_deadlines();
    return std::exchange(out, {});
  }
  void reply(Token token, Response response) { out.replies.push_back({token, std::move(response)}); }
  AppendId append(std::vector<Record> records);
  std::shared_ptr<Group> find(const std::string& group) const;
  std::shared_ptr<Group> find_or_make(const std::string& group);
  void transition(Group& group, State to);
  void run_deadlines();

  // ---- members.cc
  void join(Token token, JoinRequest request);
  void join_new(const std::shared_ptr<Group>& group, Token token, JoinRequest request);
  void join_known(Group& group, Token token, JoinRequest request);
  void add_member(Group& group, Token token, JoinRequest request, std::string member_id);
  void replace_static(const std::shared_ptr<Group>& group, Member& member, Token token, JoinRequest request,
                      std::string new_id);
  void update_member(Group& group, Member& member, Token token, JoinRequest& request);
  void leave(Token token, LeaveRequest request);
  ErrorCode leave_one(Group& group, const LeavingMember& leaving);
  ErrorCode heartbeat(const HeartbeatRequest& request);
  bool accepts(const Group& group, const std::string& member_id) const;
  ErrorCode check_member(const Group& group, const std::string& member_id,
                         const std::optional<std::string>& instance_id) const;
  void watch_session(Group& group, Member& member);
  void watch_session(Group& group, Member& member, milliseconds timeout);
  // Answers what it waits for and removes it.
  void drop(Group& group, Member& member);
  // The same, and lets the group go on without it.
  void remove_member(Group& group, Member& member);
  void remove_pending(Group& group, const std::string& member_id);
  void answer_join(Group& group, Member& member, JoinResponse response);
  void answer_sync(Member& member, SyncResponse response);
  void session_expired(Group& group, Member& member);
  void static_stored(StoreStatic stored, ErrorCode error);

  // ---- rebalance.cc
  void maybe_rebalance(Group& group);
  void rebalance(Group& group);
  void try_complete_join(Group& group);
  void join_wait_over(Group& group);
  void complete_join(Group& group);
  JoinResponse joined(const Group& group, const Member& member) const;
  std::vector<JoinedMember> members_for_leader(const Group& group) const;
  void sync(Token token, SyncRequest request);
  ErrorCode check_sync(const Group& group, const SyncRequest& request) const;
  void received_sync(Group& group, Member& member);
  void sync_wait_over(Group& group);
  void assign(Group& group, ErrorCode error);
  void assignments_stored(StoreAssignments stored, ErrorCode error);
  std::vector<Record> group_record(const Group& group,
                                   const std::unordered_map<std::string, bytes::Shared>* assignments) const;

  // ---- offsets.cc
  void commit(Token token, CommitRequest request);
  ErrorCode check_commit(const Group& group, const CommitRequest& request) const;
  void offsets_stored(StoreOffsets stored, AppendId id, ErrorCode error);
  FetchOffsetsResponse fetch(const FetchOffsetsRequest& request) const;
  bool unstable(const Group& group, std::string_view topic, std::int32_t partition) const;
  bool has_offsets(const Group& group) const;
  // Removes what is committed and under way; adds a tombstone if something was committed.
  void remove_offset(Group& group, const TopicPartition& at, std::vector<Record>& tombstones);
  void remove_expired(Group& group, std::vector<Record>& tombstones);
  void complete_transaction(std::int64_t producer_id, bool commit);

  // ---- admin.cc
  void delete_offsets(Token token, DeleteOffsetsRequest request);
  void delete_group(Token token, const std::string& group);
  void topics_deleted(const std::vector<std::string>& topics);
  DescribeResponse describe(const std::string& group) const;
  void list(const ListRequest& request, ListResponse& into) const;
  void clean_up();
  // An empty group without offsets goes; adds its tombstone.
  void remove_if_unused(Group& group, std::vector<Record>& tombstones);
  void deletion_stored(StoreDeletion stored, ErrorCode error);

  // ---- load.cc
  bool replay(const LoadedRecord& record);
  bool replay_offset(const LoadedRecord& record, const OffsetKey& key);
  bool replay_group(const LoadedRecord& record, const GroupKey& key);
  void activate();
  void restore(Group& group, const GroupValue& value);
  Effects resign();
  std::string dump() const;
};

}  // namespace weir::coordinator::group
