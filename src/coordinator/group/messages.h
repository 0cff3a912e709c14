// The group protocol's requests and responses, without versions and without the wire: what the machine understands.
// group/api.h turns Kafka's messages into these and back. Text is copied out of requests, so that nothing here
// keeps a network buffer alive.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/uuid.h"
#include "bytes/shared.h"
#include "coordinator/types.h"

namespace weir::coordinator::group {

// ---- JoinGroup

struct Protocol {
  std::string name;
  bytes::Shared metadata;
};

struct JoinRequest {
  std::string group;
  std::string member_id;                   // "" for a member that has none yet
  std::optional<std::string> instance_id;  // static membership (KIP-345)
  std::string client_id;
  std::string client_host;
  std::string protocol_type;
  std::vector<Protocol> protocols;  // in the member's order of preference
  std::int32_t session_timeout_ms = 0;
  std::int32_t rebalance_timeout_ms = 0;  // v0 has none: the session timeout
  bool member_id_required = false;        // v4+ and no instance id (KIP-394)
  bool may_skip_assignment = false;       // v9+ (KIP-814)
  Uuid fresh;                             // random; becomes part of the member id if a new one is needed
};

struct JoinedMember {
  std::string member_id;
  std::optional<std::string> instance_id;
  bytes::Shared metadata;
};

struct JoinResponse {
  ErrorCode error = ErrorCode::NONE;
  std::int32_t generation = -1;
  std::optional<std::string> protocol_type;
  std::optional<std::string> protocol_name;
  std::string leader;
  bool skip_assignment = false;
  std::string member_id;
  std::vector<JoinedMember> members;  // for the leader only
};

// ---- SyncGroup

struct Assignment {
  std::string member_id;
  bytes::Shared assignment;
};

struct SyncRequest {
  std::string group;
  std::int32_t generation = -1;
  std::string member_id;
  std::optional<std::string> instance_id;
  std::optional<std::string> protocol_type;  // v5+
  std::optional<std::string> protocol_name;  // v5+
  std::vector<Assignment> assignments;       // from the leader
};

struct SyncResponse {
  ErrorCode error = ErrorCode::NONE;
  std::optional<std::string> protocol_type;
  std::optional<std::string> protocol_name;
  bytes::Shared assignment;
};

// ---- Heartbeat, LeaveGroup

struct HeartbeatRequest {
  std::string group;
  std::int32_t generation = -1;
  std::string member_id;
  std::optional<std::string> instance_id;
};

struct LeavingMember {
  std::string member_id;  // "" with an instance id: whoever holds it (KIP-345, administrators)
  std::optional<std::string> instance_id;
};

struct LeaveRequest {
  std::string group;
  std::vector<LeavingMember> members;
};

struct LeaveResponse {
  struct Member {
    std::string member_id;
    std::optional<std::string> instance_id;
    ErrorCode error = ErrorCode::NONE;
  };
  ErrorCode error = ErrorCode::NONE;
  std::vector<Member> members;  // one for each of the request, in its order, when there is no error above
};

// ---- OffsetCommit, OffsetFetch, OffsetDelete

struct CommitPartition {
  std::int32_t partition = 0;
  std::int64_t offset = -1;
  std::int32_t leader_epoch = -1;
  std::optional<std::string> metadata;
  TimestampMs commit_timestamp = no_timestamp;  // v1 only; otherwise the time of the request
};

struct CommitTopic {
  std::string name;
  std::vector<CommitPartition> partitions;
};

struct CommitRequest {
  std::string group;
  std::int32_t generation = -1;
  std::string member_id;
  std::optional<std::string> instance_id;
  std::int64_t retention_ms = -1;  // v2 to v4; -1: the broker's offsets.retention.minutes
  std::vector<CommitTopic> topics;
};

struct PartitionError {
  std::int32_t partition = 0;
  ErrorCode error = ErrorCode::NONE;
};

struct TopicErrors {
  std::string name;
  std::vector<PartitionError> partitions;
};

// Topics and partitions in the order of the request.
struct CommitResponse {
  std::vector<TopicErrors> topics;
};

struct TopicPartitions {
  std::string name;
  std::vector<std::int32_t> partitions;
};

struct FetchOffsetsRequest {
  std::string group;
  std::optional<std::vector<TopicPartitions>> topics;  // none: all that the group has
  bool require_stable = false;                         // KIP-447
};

struct FetchOffsetsResponse {
  struct Partition {
    std::int32_t partition = 0;
    std::int64_t offset = -1;
    std::int32_t leader_epoch = -1;
    std::string metadata;
    ErrorCode error = ErrorCode::NONE;
  };
  struct Topic {
    std::string name;
    std::vector<Partition> partitions;
  };
  ErrorCode error = ErrorCode::NONE;
  std::vector<Topic> topics;
};

struct DeleteOffsetsRequest {
  std::string group;
  std::vector<TopicPartitions> topics;
};

struct DeleteOffsetsResponse {
  ErrorCode error = ErrorCode::NONE;
  std::vector<TopicErrors> topics;  // empty when there is an error above
};

// ---- DescribeGroups, ListGroups, DeleteGroups (one group at a time)

struct DescribedMember {
  std::string member_id;
  std::optional<std::string> instance_id;
  std::string client_id;
  std::string client_host;
  bytes::Shared metadata;  // of the chosen protocol; empty unless the group is stable
  bytes::Shared assignment;
};

// A group that does not exist is described as "Dead" without an error (before v6 of the API, see api.h).
struct DescribeResponse {
  ErrorCode error = ErrorCode::NONE;
  std::string group;
  std::string state;
  std::string protocol_type;
  std::string protocol;
  std::vector<DescribedMember> members;
};

struct ListRequest {
  std::vector<std::string> states;  // any letter case; empty: all
  std::vector<std::string> types;   // any letter case; empty: all (KIP-848)
};

struct ListedGroup {
  std::string group;
  std::string protocol_type;
  std::string state;
  std::string type;  // "classic"
};

struct ListResponse {
  ErrorCode error = ErrorCode::NONE;  // COORDINATOR_LOAD_IN_PROGRESS when some partition loads: the list is partial
  std::vector<ListedGroup> groups;
};

struct HeartbeatResponse {
  ErrorCode error = ErrorCode::NONE;
};
struct DeleteResponse {
  ErrorCode error = ErrorCode::NONE;
};

// What a Token is answered with: the response of its kind of request.
using Response =
    std::variant<JoinResponse, SyncResponse, LeaveResponse, CommitResponse, DeleteOffsetsResponse, DeleteResponse>;

struct Reply {
  Token token = 0;
  Response response;
};

struct Effects {
  std::vector<Append> appends;  // to be written in this order
  std::vector<Reply> replies;   // may leave at once

  void add(Effects more);
  bool empty() const { return appends.empty() && replies.empty(); }
};

}  // namespace weir::coordinator::group
