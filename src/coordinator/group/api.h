// Between Kafka's messages and the machine's own (messages.h), version by version.
//
// from_wire copies what it needs; to_wire gives views into the response it is made from, which must outlive them.
// Left to the caller, who knows the cluster: authorization (filter the request, add the refused to the response),
// throttle_time_ms, authorized_operations, and topic ids (OffsetCommit and OffsetFetch v10, KIP-848): set `name` in
// the decoded request before, `topic_id` in the response after; topics come back in the request's order.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/uuid.h"
#include "coordinator/group/messages.h"
#include "protocol/messages/delete_groups.h"
#include "protocol/messages/describe_groups.h"
#include "protocol/messages/heartbeat.h"
#include "protocol/messages/join_group.h"
#include "protocol/messages/leave_group.h"
#include "protocol/messages/list_groups.h"
#include "protocol/messages/offset_commit.h"
#include "protocol/messages/offset_delete.h"
#include "protocol/messages/offset_fetch.h"
#include "protocol/messages/sync_group.h"

namespace weir::coordinator::group {

// `client_host` as Kafka shows it: "/10.0.0.1". `fresh` is random.
JoinRequest from_wire(const protocol::JoinGroupRequest& request, std::int16_t version, std::string_view client_id,
                      std::string_view client_host, const Uuid& fresh);
SyncRequest from_wire(const protocol::SyncGroupRequest& request);
HeartbeatRequest from_wire(const protocol::HeartbeatRequest& request);
// Before v3 the one member stands in the request itself.
LeaveRequest from_wire(const protocol::LeaveGroupRequest& request, std::int16_t version);
CommitRequest from_wire(const protocol::OffsetCommitRequest& request);
DeleteOffsetsRequest from_wire(const protocol::OffsetDeleteRequest& request);
ListRequest from_wire(const protocol::ListGroupsRequest& request);
// One for each group asked for; before v8 that is one.
std::vector<FetchOffsetsRequest> from_wire(const protocol::OffsetFetchRequest& request, std::int16_t version);

protocol::JoinGroupResponse to_wire(const JoinResponse& response, std::int16_t version);
protocol::SyncGroupResponse to_wire(const SyncResponse& response);
protocol::HeartbeatResponse to_wire(const HeartbeatResponse& response);
// Before v3 the member's own error is that of the response.
protocol::LeaveGroupResponse to_wire(const LeaveResponse& response, std::int16_t version);
protocol::OffsetCommitResponse to_wire(const CommitResponse& response);
protocol::OffsetDeleteResponse to_wire(const DeleteOffsetsResponse& response);
protocol::ListGroupsResponse to_wire(const ListResponse& response);
// `message` holds the text of the error that v6 gives for a group that does not exist (KIP-1043); before, it is
// "Dead" without an error.
protocol::describe_groups_response::DescribedGroup to_wire(const DescribeResponse& response, std::int16_t version,
                                                           std::string& message);
// As many responses as requests, in their order. Before v2 there is no place for the group's error but in the
// partitions.
protocol::OffsetFetchResponse to_wire(std::span<const FetchOffsetsRequest> requests,
                                      std::span<const FetchOffsetsResponse> responses, std::int16_t version);
protocol::delete_groups_response::DeletableGroupResult to_wire(std::string_view group, const DeleteResponse& response);

}  // namespace weir::coordinator::group
