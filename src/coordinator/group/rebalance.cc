// A generation of a group: waiting for members to join, choosing protocol and leader, handing out assignments.
#include "coordinator/group/machine_impl.h"

#include <algorithm>

#include "base/log.h"

namespace weir::coordinator::group {
namespace {

// When nobody rejoined in time the wait begins again, until sessions end; not more often than this, whatever
// rebalance timeout the members asked for.
constexpr milliseconds join_wait_again_min{1000};

}  // namespace

void Machine::Impl::maybe_rebalance(Group& group) {
  if (group.can_rebalance()) rebalance(group);
}

void Machine::Impl::rebalance(Group& group) {
  if (group.is(State::completing_rebalance)) {
    for (auto& m : group.members) m.assignment = {};
    assign(group, ErrorCode::REBALANCE_IN_PROGRESS);
  }
  for (auto& m : group.members) group.set_pending_sync(m, false);
  group.sync_wait.clear();

  auto& wait = group.join_wait;
  wait.initial = group.is(State::empty);
  if (wait.initial) {
    wait.delay = config.initial_rebalance_delay;
    wait.remaining = std::max(group.rebalance_timeout() - config.initial_rebalance_delay, milliseconds(0));
  } else {
    wait.delay = group.rebalance_timeout();
  }
  deadlines.set(wait.timer, now.mono + wait.delay, {Deadline::Kind::join, &group, nullptr, nullptr});
  transition(group, State::preparing_rebalance);
  WEIR_LOG(debug, "group {}: rebalance after generation {}", group.id, group.generation);
  try_complete_join(group);
}

void Machine::Impl::try_complete_join(Group& group) {
  if (group.is(State::preparing_rebalance) && !group.join_wait.initial && group.all_joined()) complete_join(group);
}

void Machine::Impl::join_wait_over(Group& group) {
  if (!group.is(State::preparing_rebalance)) return;
  auto& wait = group.join_wait;
  if (wait.initial && group.new_member_added && wait.remaining > milliseconds(0)) {
    // More members came while waiting for the first ones: wait for theirs, too (KIP-134).
    group.new_member_added = false;
    const auto before = wait.delay;
    wait.delay = std::min(config.initial_rebalance_delay, wait.remaining);
    wait.remaining = std::max(wait.remaining - before, milliseconds(0));
    deadlines.set(wait.timer, now.mono + wait.delay, {Deadline::Kind::join, &group, nullptr, nullptr});
    return;
  }
  complete_join(group);
}

void Machine::Impl::complete_join(Group& group) {
  group.join_wait.timer.clear();
  // Dynamic members that did not rejoin are out; static ones stay until their session ends (KIP-345).
  for (auto it = group.members.begin(); it != group.members.end();) {
    auto& member = *it++;
    if (!member.waits_join && !member.instance_id) drop(group, member);
  }
  if (!group.elect_joined_leader() && !group.members.empty()) {
    group.join_wait.initial = false;
    group.join_wait.delay = std::max(group.rebalance_timeout(), join_wait_again_min);
    deadlines.set(group.join_wait.timer, now.mono + group.join_wait.delay,
                  {Deadline::Kind::join, &group, nullptr, nullptr});
    return;
  }

  // A number that comes round again does no harm; one that overflows does.
  group.generation = group.generation == std::numeric_limits<std::int32_t>::max() ? 1 : group.generation + 1;
  group.new_member_added = false;
  if (group.members.empty()) {
    group.protocol_name.reset();
    group.compute_subscribed_topics();
    transition(group, State::empty);
    const auto id = append(group_record(group, nullptr));
    under_way.emplace(id, StoreEmpty{find(group.id)});
    return;
  }
  group.protocol_name = group.select_protocol();
  group.compute_subscribed_topics();
  transition(group, State::completing_rebalance);
  WEIR_LOG(debug, "group {}: generation {} with {} members", group.id, group.generation, group.members.size());
  for (auto& member : group.members) {
    answer_join(group, member, joined(group, member));
    watch_session(group, member);
    member.is_new = false;
    group.set_pending_sync(member, true);
  }
  deadlines.set(group.sync_wait, now.mono + group.rebalance_timeout(),
                {Deadline::Kind::sync, &group, nullptr, nullptr});
}

JoinResponse Machine::Impl::joined(const Group& group, const Member& member) const {
  JoinResponse response;
  response.generation = group.generation;
  response.protocol_type = group.protocol_type;
  response.protocol_name = group.protocol_name;
  response.leader = group.leader.value_or("");
  response.member_id = member.id;
  if (group.is(State::completing_rebalance) && group.is_leader(member)) response.members = members_for_leader(group);
  return response;
}

std::vector<JoinedMember> Machine::Impl::members_for_leader(const Group& group) const {
  std::vector<JoinedMember> members;
  members.reserve(group.members.size());
  for (const auto& m : group.members) {
    members.push_back({m.id, m.instance_id, m.metadata(group.protocol_name.value_or(""))});
  }
  return members;
}

ErrorCode Machine::Impl::check_sync(const Group& group, const SyncRequest& request) const {
  const auto error = check_member(group, request.member_id, request.instance_id);
  if (error != ErrorCode::NONE) return error;
  if (request.generation != group.generation) return ErrorCode::ILLEGAL_GENERATION;
  if (request.protocol_type && request.protocol_type != group.protocol_type) {
    return ErrorCode::INCONSISTENT_GROUP_PROTOCOL;
  }
  if (request.protocol_name && request.protocol_name != group.protocol_name) {
    return ErrorCode::INCONSISTENT_GROUP_PROTOCOL;
  }
  return ErrorCode::NONE;
}

void Machine::Impl::sync(Token token, SyncRequest request) {
  const auto group = find(request.group);
  if (!group) return reply(token, refuse_sync(ErrorCode::UNKNOWN_MEMBER_ID));
  const auto error = check_sync(*group, request);
  if (error != ErrorCode::NONE) return reply(token, refuse_sync(error));
  auto& member = *group->find(request.member_id);

  switch (group->state) {
    case State::empty:
    case State::dead: return reply(token, refuse_sync(ErrorCode::UNKNOWN_MEMBER_ID));
    case State::preparing_rebalance: return reply(token, refuse_sync(ErrorCode::REBALANCE_IN_PROGRESS));
    case State::stable: {
      received_sync(*group, member);
      SyncResponse response;
      response.protocol_type = group->protocol_type;
      response.protocol_name = group->protocol_name;
      response.assignment = member.assignment;
      reply(token, std::move(response));
      return watch_session(*group, member);
    }
    case State::completing_rebalance: break;
  }
  answer_sync(member, refuse_sync(ErrorCode::REBALANCE_IN_PROGRESS));  // an earlier one of its own
  member.waits_sync = token;
  received_sync(*group, member);
  if (!group->is_leader(member)) return;

  StoreAssignments store;
  store.group = group;
  store.generation = group->generation;
  for (auto& a : request.assignments) store.assignments.insert_or_assign(std::move(a.member_id), a.assignment);
  const auto id = append(group_record(*group, &store.assignments));
  under_way.emplace(id, std::move(store));
}

void Machine::Impl::received_sync(Group& group, Member& member) {
  group.set_pending_sync(member, false);
  if (group.pending_syncs == 0) group.sync_wait.clear();
}

void Machine::Impl::sync_wait_over(Group& group) {
  if (group.pending_syncs == 0) return;
  for (auto it = group.members.begin(); it != group.members.end();) {
    auto& member = *it++;
    if (!member.pending_sync) continue;
    WEIR_LOG(info, "group {}: member {} is removed: its SyncGroup did not come", group.id, member.id);
    drop(group, member);
  }
  rebalance(group);
}

void Machine::Impl::assignments_stored(StoreAssignments stored, ErrorCode error) {
  const auto group = stored.group.lock();
  // Somebody joined or left meanwhile: the next generation is on its way, and this one's members were told.
  if (!group || !group->is(State::completing_rebalance) || group->generation != stored.generation) return;
  if (error != ErrorCode::NONE) {
    for (auto& m : group->members) m.assignment = {};
    assign(*group, group_store_error(error));
    return rebalance(*group);
  }
  for (auto& m : group->members) {
    const auto it = stored.assignments.find(m.id);
    m.assignment = it == stored.assignments.end() ? bytes::Shared() : it->second;
  }
  assign(*group, ErrorCode::NONE);
  transition(*group, State::stable);
}

// Answers all who wait for their assignment.
void Machine::Impl::assign(Group& group, ErrorCode error) {
  for (auto& member : group.members) {
    if (!member.waits_sync) continue;
    SyncResponse response;
    response.error = error;
    response.assignment = member.assignment;
    if (error == ErrorCode::NONE) {
      response.protocol_type = group.protocol_type;
      response.protocol_name = group.protocol_name;
    }
    answer_sync(member, std::move(response));
    watch_session(group, member);
  }
}

// With the assignments given, or with those the members have.
std::vector<Record> Machine::Impl::group_record(
    const Group& group, const std::unordered_map<std::string, bytes::Shared>* assignments) const {
  GroupValue value;
  value.protocol_type = group.protocol_type ? std::string_view(*group.protocol_type) : std::string_view();
  value.generation = group.generation;
  if (group.protocol_name) value.protocol = *group.protocol_name;
  if (group.leader) value.leader = *group.leader;
  value.state_timestamp = group.state_since;
  value.members.reserve(group.members.size());
  std::vector<bytes::Shared> alive;  // what the views below point into
  alive.reserve(group.members.size());
  for (const auto& m : group.members) {
    MemberValue member;
    member.member_id = m.id;
    if (m.instance_id) member.instance_id = *m.instance_id;
    member.client_id = m.client_id;
    member.client_host = m.client_host;
    member.rebalance_timeout_ms = m.rebalance_timeout_ms;
    member.session_timeout_ms = m.session_timeout_ms;
    alive.push_back(m.metadata(group.protocol_name.value_or("")));
    member.subscription = alive.back().view();
    member.assignment = m.assignment.view();
    if (assignments != nullptr) {
      const auto it = assignments->find(m.id);
      member.assignment = it == assignments->end() ? bytes::Bytes() : it->second.view();
    }
    value.members.push_back(member);
  }
  std::vector<Record> records;
  records.push_back({group_key(group.id), group_value(value)});
  return records;
}

}  // namespace weir::coordinator::group
