#include "coordinator/group/api.h"

#include <fmt/format.h>

#include "base/check.h"

namespace weir::coordinator::group {
namespace {

std::optional<std::string> text(const std::optional<std::string_view>& from) {
  if (!from) return std::nullopt;
  return std::string(*from);
}

std::optional<std::string_view> view(const std::optional<std::string>& from) {
  if (!from) return std::nullopt;
  return std::string_view(*from);
}

std::int16_t code(ErrorCode error) { return static_cast<std::int16_t>(error); }

template <class Wire, class Partition>
Wire fetched(const Partition& p) {
  Wire to;
  to.partition_index = p.partition;
  to.committed_offset = p.offset;
  to.committed_leader_epoch = p.leader_epoch;
  to.metadata = p.metadata;
  to.error_code = code(p.error);
  return to;
}

}  // namespace

JoinRequest from_wire(const protocol::JoinGroupRequest& request, std::int16_t version, std::string_view client_id,
                      std::string_view client_host, const Uuid& fresh) {
  JoinRequest to;
  to.group = request.group_id;
  to.member_id = request.member_id;
  to.instance_id = text(request.group_instance_id);
  to.client_id = client_id;
  to.client_host = client_host;
  to.protocol_type = request.protocol_type;
  to.protocols.reserve(request.protocols.size());
  for (const auto& p : request.protocols)
    to.protocols.push_back({std::string(p.name), bytes::Shared::copy(p.metadata)});
  to.session_timeout_ms = request.session_timeout_ms;
  to.rebalance_timeout_ms = version == 0 ? request.session_timeout_ms : request.rebalance_timeout_ms;
  to.member_id_required = version >= 4 && !request.group_instance_id;
  to.may_skip_assignment = version >= 9;
  to.fresh = fresh;
  return to;
}

SyncRequest from_wire(const protocol::SyncGroupRequest& request) {
  SyncRequest to;
  to.group = request.group_id;
  to.generation = request.generation_id;
  to.member_id = request.member_id;
  to.instance_id = text(request.group_instance_id);
  to.protocol_type = text(request.protocol_type);
  to.protocol_name = text(request.protocol_name);
  to.assignments.reserve(request.assignments.size());
  for (const auto& a : request.assignments) {
    to.assignments.push_back({std::string(a.member_id), bytes::Shared::copy(a.assignment)});
  }
  return to;
}

HeartbeatRequest from_wire(const protocol::HeartbeatRequest& request) {
  return {std::string(request.group_id), request.generation_id, std::string(request.member_id),
          text(request.group_instance_id)};
}

LeaveRequest from_wire(const protocol::LeaveGroupRequest& request, std::int16_t version) {
  LeaveRequest to;
  to.group = request.group_id;
  if (version < 3) {
    to.members.push_back({std::string(request.member_id), std::nullopt});
    return to;
  }
  for (const auto& m : request.members) to.members.push_back({std::string(m.member_id), text(m.group_instance_id)});
  return to;
}

CommitRequest from_wire(const protocol::OffsetCommitRequest& request) {
  CommitRequest to;
  to.group = request.group_id;
  to.generation = request.generation_id_or_member_epoch;
  to.member_id = request.member_id;
  to.instance_id = text(request.group_instance_id);
  to.retention_ms = request.retention_time_ms;
  to.topics.reserve(request.topics.size());
  for (const auto& t : request.topics) {
    auto& topic = to.topics.emplace_back();
    topic.name = t.name;
    topic.partitions.reserve(t.partitions.size());
    for (const auto& p : t.partitions) {
      topic.partitions.push_back({p.partition_index, p.committed_offset, p.committed_leader_epoch,
                                  text(p.committed_metadata), p.commit_timestamp});
    }
  }
  return to;
}

DeleteOffsetsRequest from_wire(const protocol::OffsetDeleteRequest& request) {
  DeleteOffsetsRequest to;
  to.group = request.group_id;
  for (const auto& t : request.topics) {
    auto& topic = to.topics.emplace_back();
    topic.name = t.name;
    for (const auto& p : t.partitions) topic.partitions.push_back(p.partition_index);
  }
  return to;
}

ListRequest from_wire(const protocol::ListGroupsRequest& request) {
  ListRequest to;
  to.states.assign(request.states_filter.begin(), request.states_filter.end());
  to.types.assign(request.types_filter.begin(), request.types_filter.end());
  return to;
}

std::vector<FetchOffsetsRequest> from_wire(const protocol::OffsetFetchRequest& request, std::int16_t version) {
  std::vector<FetchOffsetsRequest> all;
  const auto add = [&](std::string_view group, const auto& topics) {
    auto& to = all.emplace_back();
    to.group = group;
    to.require_stable = request.require_stable;
    if (!topics) return;
    to.topics.emplace();
    to.topics->reserve(topics->size());
    for (const auto& t : *topics) to.topics->push_back({std::string(t.name), t.partition_indexes});
  };
  if (version < 8) {
    add(request.group_id, request.topics);
  } else {
    for (const auto& g : request.groups) add(g.group_id, g.topics);
  }
  return all;
}

protocol::JoinGroupResponse to_wire(const JoinResponse& response, std::int16_t version) {
  protocol::JoinGroupResponse to;
  to.error_code = code(response.error);
  to.generation_id = response.generation;
  to.protocol_type = view(response.protocol_type);
  to.protocol_name = view(response.protocol_name);
  if (!to.protocol_name && version < 7) to.protocol_name = std::string_view();
  to.leader = response.leader;
  to.skip_assignment = response.skip_assignment;
  to.member_id = response.member_id;
  to.members.reserve(response.members.size());
  for (const auto& m : response.members) {
    auto& member = to.members.emplace_back();
    member.member_id = m.member_id;
    member.group_instance_id = view(m.instance_id);
    member.metadata = m.metadata.view();
  }
  return to;
}

protocol::SyncGroupResponse to_wire(const SyncResponse& response) {
  protocol::SyncGroupResponse to;
  to.error_code = code(response.error);
  to.protocol_type = view(response.protocol_type);
  to.protocol_name = view(response.protocol_name);
  to.assignment = response.assignment.view();
  return to;
}

protocol::HeartbeatResponse to_wire(const HeartbeatResponse& response) {
  protocol::HeartbeatResponse to;
  to.error_code = code(response.error);
  return to;
}

protocol::LeaveGroupResponse to_wire(const LeaveResponse& response, std::int16_t version) {
  protocol::LeaveGroupResponse to;
  to.error_code = code(response.error);
  if (version < 3) {
    if (response.error == ErrorCode::NONE && !response.members.empty()) {
      to.error_code = code(response.members.front().error);
    }
    return to;
  }
  to.members.reserve(response.members.size());
  for (const auto& m : response.members) {
    auto& member = to.members.emplace_back();
    member.member_id = m.member_id;
    member.group_instance_id = view(m.instance_id);
    member.error_code = code(m.error);
  }
  return to;
}

protocol::OffsetCommitResponse to_wire(const CommitResponse& response) {
  protocol::OffsetCommitResponse to;
  to.topics.reserve(response.topics.size());
  for (const auto& t : response.topics) {
    auto& topic = to.topics.emplace_back();
    topic.name = t.name;
    topic.partitions.reserve(t.partitions.size());
    for (const auto& p : t.partitions) {
      auto& partition = topic.partitions.emplace_back();
      partition.partition_index = p.partition;
      partition.error_code = code(p.error);
    }
  }
  return to;
}

protocol::OffsetDeleteResponse to_wire(const DeleteOffsetsResponse& response) {
  protocol::OffsetDeleteResponse to;
  to.error_code = code(response.error);
  for (const auto& t : response.topics) {
    auto& topic = to.topics.emplace_back();
    topic.name = t.name;
    for (const auto& p : t.partitions) topic.partitions.push_back({p.partition, code(p.error)});
  }
  return to;
}

protocol::ListGroupsResponse to_wire(const ListResponse& response) {
  protocol::ListGroupsResponse to;
  to.error_code = code(response.error);
  to.groups.reserve(response.groups.size());
  for (const auto& g : response.groups) {
    auto& group = to.groups.emplace_back();
    group.group_id = g.group;
    group.protocol_type = g.protocol_type;
    group.group_state = g.state;
    group.group_type = g.type;
  }
  return to;
}

protocol::describe_groups_response::DescribedGroup to_wire(const DescribeResponse& response, std::int16_t version,
                                                           std::string& message) {
  protocol::describe_groups_response::DescribedGroup to;
  to.error_code = code(response.error);
  if (version >= 6 && response.error == ErrorCode::NONE && response.state == "Dead") {
    message = fmt::format("Group {} not found.", response.group);
    to.error_code = code(ErrorCode::GROUP_ID_NOT_FOUND);
    to.error_message = message;
  }
  to.group_id = response.group;
  to.group_state = response.state;
  to.protocol_type = response.protocol_type;
  to.protocol_data = response.protocol;
  to.members.reserve(response.members.size());
  for (const auto& m : response.members) {
    auto& member = to.members.emplace_back();
    member.member_id = m.member_id;
    member.group_instance_id = view(m.instance_id);
    member.client_id = m.client_id;
    member.client_host = m.client_host;
    member.member_metadata = m.metadata.view();
    member.member_assignment = m.assignment.view();
  }
  return to;
}

protocol::OffsetFetchResponse to_wire(std::span<const FetchOffsetsRequest> requests,
                                      std::span<const FetchOffsetsResponse> responses, std::int16_t version) {
  using Wire = protocol::OffsetFetchResponse;
  WEIR_CHECK(requests.size() == responses.size(), "each request has its response");
  Wire to;
  if (version >= 8) {
    to.groups.reserve(responses.size());
    for (std::size_t i = 0; i < responses.size(); ++i) {
      auto& group = to.groups.emplace_back();
      group.group_id = requests[i].group;
      group.error_code = code(responses[i].error);
      for (const auto& t : responses[i].topics) {
        auto& topic = group.topics.emplace_back();
        topic.name = t.name;
        for (const auto& p : t.partitions) {
          topic.partitions.push_back(fetched<Wire::OffsetFetchResponsePartitions>(p));
        }
      }
    }
    return to;
  }
  WEIR_CHECK(responses.size() == 1, "before v8 a request asks for one group");
  const auto& response = responses.front();
  to.error_code = code(response.error);
  if (response.error != ErrorCode::NONE) {
    if (version >= 2 || !requests.front().topics) return to;
    for (const auto& t : *requests.front().topics) {
      auto& topic = to.topics.emplace_back();
      topic.name = t.name;
      for (const auto p : t.partitions) {
        FetchOffsetsResponse::Partition refused;
        refused.partition = p;
        refused.error = response.error;
        topic.partitions.push_back(fetched<Wire::OffsetFetchResponsePartition>(refused));
        topic.partitions.back().metadata = std::string_view();
      }
    }
    return to;
  }
  for (const auto& t : response.topics) {
    auto& topic = to.topics.emplace_back();
    topic.name = t.name;
    for (const auto& p : t.partitions) topic.partitions.push_back(fetched<Wire::OffsetFetchResponsePartition>(p));
  }
  return to;
}

protocol::delete_groups_response::DeletableGroupResult to_wire(std::string_view group, const DeleteResponse& response) {
  protocol::delete_groups_response::DeletableGroupResult to;
  to.group_id = group;
  to.error_code = code(response.error);
  return to;
}

}  // namespace weir::coordinator::group
