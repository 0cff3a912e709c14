// Who is in a group: joining, leaving, sessions.
#include "coordinator/group/machine_impl.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "base/log.h"

namespace weir::coordinator::group {
namespace {

// Until its first JoinGroup is answered a new member cannot heartbeat; it is given up after this, as Kafka does.
constexpr milliseconds new_member_join_timeout{5 * 60 * 1000};
// "-" and a UUID.
constexpr std::size_t member_id_suffix_bytes = 37;

// As java.util.UUID prints it.
std::string dashed(const Uuid& id) {
  std::string text;
  for (std::size_t i = 0; i < id.bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    fmt::format_to(std::back_inserter(text), "{:02x}", id.bytes[i]);
  }
  return text;
}

bool fits(const JoinRequest& r) {
  constexpr auto most = text_bytes_max - member_id_suffix_bytes;
  return r.client_id.size() <= most && r.client_host.size() <= most && r.protocol_type.size() <= most &&
         (!r.instance_id || r.instance_id->size() <= most) &&
         std::all_of(r.protocols.begin(), r.protocols.end(), [&](const Protocol& p) { return p.name.size() <= most; });
}

// The first of each name.
void drop_repeated(std::vector<Protocol>& protocols) {
  std::unordered_set<std::string> seen;
  std::erase_if(protocols, [&](const Protocol& p) { return !seen.insert(p.name).second; });
}

}  // namespace

bool Machine::Impl::accepts(const Group& group, const std::string& member_id) const {
  switch (group.state) {
    case State::empty:
    case State::dead: return true;
    case State::preparing_rebalance: {
      const auto* member = group.find(member_id);
      return (member != nullptr && member->waits_join) || group.awaiting_join < config.members_max;
    }
    case State::completing_rebalance:
    case State::stable: return group.find(member_id) != nullptr || group.members.size() < config.members_max;
  }
  return false;
}

ErrorCode Machine::Impl::check_member(const Group& group, const std::string& member_id,
                                      const std::optional<std::string>& instance_id) const {
  if (instance_id) {
    const auto* holder = group.find_instance(*instance_id);
    if (holder == nullptr) return ErrorCode::UNKNOWN_MEMBER_ID;
    if (holder->id != member_id) return ErrorCode::FENCED_INSTANCE_ID;
  }
  return group.find(member_id) == nullptr ? ErrorCode::UNKNOWN_MEMBER_ID : ErrorCode::NONE;
}

void Machine::Impl::join(Token token, JoinRequest request) {
  if (request.group.size() > text_bytes_max) {
    return reply(token, refuse_join(request.member_id, ErrorCode::INVALID_GROUP_ID));
  }
  if (!fits(request)) return reply(token, refuse_join(request.member_id, ErrorCode::INVALID_REQUEST));
  const milliseconds session{request.session_timeout_ms};
  if (session < config.session_timeout_min || session > config.session_timeout_max) {
    return reply(token, refuse_join(request.member_id, ErrorCode::INVALID_SESSION_TIMEOUT));
  }
  drop_repeated(request.protocols);
  request.rebalance_timeout_ms = std::max(request.rebalance_timeout_ms, 0);

  auto group = find(request.group);
  if (!group) {
    if (!request.member_id.empty()) {
      return reply(token, refuse_join(request.member_id, ErrorCode::UNKNOWN_MEMBER_ID));
    }
    if (request.protocol_type.empty() || request.protocols.empty()) {
      return reply(token, refuse_join("", ErrorCode::INCONSISTENT_GROUP_PROTOCOL));
    }
    group = find_or_make(request.group);
  }
  if (!accepts(*group, request.member_id)) {
    if (auto* member = group->find(request.member_id)) drop(*group, *member);
    group->pending_members.erase(request.member_id);
    reply(token, refuse_join("", ErrorCode::GROUP_MAX_SIZE_REACHED));
  } else if (request.member_id.empty()) {
    join_new(group, token, std::move(request));
  } else {
    join_known(*group, token, std::move(request));
  }
  try_complete_join(*group);
}

void Machine::Impl::join_new(const std::shared_ptr<Group>& group, Token token, JoinRequest request) {
  if (!group->supports(request.protocol_type, request.protocols)) {
    return reply(token, refuse_join("", ErrorCode::INCONSISTENT_GROUP_PROTOCOL));
  }
  auto new_id = fmt::format("{}-{}", request.instance_id.value_or(request.client_id), dashed(request.fresh));
  if (group->find(new_id) != nullptr || group->pending_members.contains(new_id)) {
    // Only an edge that draws the same number twice gets here.
    return reply(token, refuse_join("", ErrorCode::UNKNOWN_SERVER_ERROR));
  }
  if (request.instance_id) {
    if (auto* member = group->find_instance(*request.instance_id)) {
      return replace_static(group, *member, token, std::move(request), std::move(new_id));
    }
    return add_member(*group, token, std::move(request), std::move(new_id));
  }
  if (!request.member_id_required) return add_member(*group, token, std::move(request), std::move(new_id));

  if (group->pending_members.size() >= config.pending_members_max) {
    return reply(token, refuse_join("", ErrorCode::GROUP_MAX_SIZE_REACHED));
  }
  const auto [it, made] = group->pending_members.try_emplace(new_id);
  deadlines.set(it->second, now.mono + milliseconds(request.session_timeout_ms),
                {Deadline::Kind::pending_member, group.get(), nullptr, &it->first});
  reply(token, refuse_join(std::move(new_id), ErrorCode::MEMBER_ID_REQUIRED));
}

void Machine::Impl::join_known(Group& group, Token token, JoinRequest request) {
  if (!group.supports(request.protocol_type, request.protocols)) {
    return reply(token, refuse_join(request.member_id, ErrorCode::INCONSISTENT_GROUP_PROTOCOL));
  }
  if (group.pending_members.contains(request.member_id)) {
    if (request.instance_id) {
      // Ids are given out beforehand to dynamic members only.
      return reply(token, refuse_join(request.member_id, ErrorCode::UNKNOWN_MEMBER_ID));
    }
    auto id = request.member_id;
    return add_member(group, token, std::move(request), std::move(id));
  }
  const auto error = check_member(group, request.member_id, request.instance_id);
  if (error != ErrorCode::NONE) return reply(token, refuse_join(request.member_id, error));

  auto& member = *group.find(request.member_id);
  const bool same = member.same_protocols(request.protocols);
  switch (group.state) {
    case State::preparing_rebalance: return update_member(group, member, token, request);
    case State::completing_rebalance:
      // The same again: its answer was lost on the way, most likely.
      if (same) return reply(token, joined(group, member));
      return update_member(group, member, token, request);
    case State::stable:
      // A leader that joins wants a rebalance: it saw topics change, for example.
      if (same && !group.is_leader(member)) return reply(token, joined(group, member));
      return update_member(group, member, token, request);
    case State::empty:
    case State::dead: return reply(token, refuse_join(request.member_id, ErrorCode::UNKNOWN_MEMBER_ID));
  }
}

void Machine::Impl::add_member(Group& group, Token token, JoinRequest request, std::string member_id) {
  if (group.is(State::preparing_rebalance) && group.generation == 0) group.new_member_added = true;
  auto& member = group.add(std::move(member_id), std::move(request.instance_id), request.protocol_type,
                           std::move(request.protocols));
  member.client_id = std::move(request.client_id);
  member.client_host = std::move(request.client_host);
  member.rebalance_timeout_ms = request.rebalance_timeout_ms;
  member.session_timeout_ms = request.session_timeout_ms;
  member.is_new = true;
  group.wait_join(member, token);
  watch_session(group, member, new_member_join_timeout);
  maybe_rebalance(group);
}

void Machine::Impl::update_member(Group& group, Member& member, Token token, JoinRequest& request) {
  answer_join(group, member, refuse_join(member.id, ErrorCode::REBALANCE_IN_PROGRESS));  // an earlier one of its own
  group.set_protocols(member, std::move(request.protocols));
  member.rebalance_timeout_ms = request.rebalance_timeout_ms;
  member.session_timeout_ms = request.session_timeout_ms;
  group.wait_join(member, token);
  maybe_rebalance(group);
}

void Machine::Impl::replace_static(const std::shared_ptr<Group>& group, Member& member, Token token,
                                   JoinRequest request, std::string new_id) {
  StoreStatic store;
  store.group = group;
  store.generation = group->generation;
  store.token = token;
  store.instance_id = *request.instance_id;
  store.old_id = member.id;
  store.new_id = new_id;
  store.old_leader = group->leader.value_or("");
  store.old_protocols = member.protocols;
  store.old_session_timeout_ms = member.session_timeout_ms;
  store.old_rebalance_timeout_ms = member.rebalance_timeout_ms;
  store.may_skip_assignment = request.may_skip_assignment;

  // Whoever still waits under the old id is not this member any more.
  answer_join(*group, member, refuse_join(member.id, ErrorCode::FENCED_INSTANCE_ID));
  answer_sync(member, refuse_sync(ErrorCode::FENCED_INSTANCE_ID));
  group->rename(member, std::move(new_id));
  group->set_protocols(member, std::move(request.protocols));
  member.rebalance_timeout_ms = request.rebalance_timeout_ms;
  member.session_timeout_ms = request.session_timeout_ms;
  watch_session(*group, member);
  group->wait_join(member, token);

  switch (group->state) {
    case State::stable:
      if (group->protocol_name && *group->protocol_name == group->select_protocol()) {
        // Nothing changes for the others: only the new id is written down (KIP-345).
        const auto id = append(group_record(*group, nullptr));
        under_way.emplace(id, std::move(store));
      } else {
        maybe_rebalance(*group);
      }
      return;
    case State::completing_rebalance:
      // The leader may already assign to the old id.
      rebalance(*group);
      return;
    case State::preparing_rebalance: return;
    case State::empty:
    case State::dead: WEIR_CHECK(false, "a group with members is not empty");
  }
}

void Machine::Impl::static_stored(StoreStatic stored, ErrorCode error) {
  const auto group = stored.group.lock();
  if (!group || group->is(State::dead)) return;
  auto* member = group->find(stored.new_id);
  // It left, came back again, or a rebalance will answer it.
  if (member == nullptr || member->waits_join != stored.token) return;
  if (!group->is(State::stable) || group->generation != stored.generation) return;

  if (error != ErrorCode::NONE) {
    group->end_join(*member);
    group->set_protocols(*member, std::move(stored.old_protocols));
    member->session_timeout_ms = stored.old_session_timeout_ms;
    member->rebalance_timeout_ms = stored.old_rebalance_timeout_ms;
    group->rename(*member, stored.old_id);
    watch_session(*group, *member);
    auto response = refuse_join("", group_store_error(error));
    response.generation = group->generation;
    response.protocol_type = group->protocol_type;
    response.protocol_name = group->protocol_name;
    response.leader = stored.old_leader;
    return reply(stored.token, std::move(response));
  }
  auto response = joined(*group, *member);
  if (stored.may_skip_assignment) {
    response.skip_assignment = group->is_leader(*member);
    if (response.skip_assignment) response.members = members_for_leader(*group);
  } else {
    // Old clients would assign when told that they lead, and nobody would see it: they are told the old leader.
    response.leader = stored.old_leader;
    response.members.clear();
  }
  answer_join(*group, *member, std::move(response));
}

void Machine::Impl::leave(Token token, LeaveRequest request) {
  LeaveResponse response;
  const auto group = find(request.group);
  for (auto& leaving : request.members) {
    const auto error = group ? leave_one(*group, leaving) : ErrorCode::UNKNOWN_MEMBER_ID;
    response.members.push_back({std::move(leaving.member_id), std::move(leaving.instance_id), error});
  }
  reply(token, std::move(response));
}

ErrorCode Machine::Impl::leave_one(Group& group, const LeavingMember& leaving) {
  if (leaving.member_id.empty()) {
    auto* member = leaving.instance_id ? group.find_instance(*leaving.instance_id) : nullptr;
    if (member == nullptr) return ErrorCode::UNKNOWN_MEMBER_ID;
    remove_member(group, *member);
    return ErrorCode::NONE;
  }
  if (group.pending_members.contains(leaving.member_id)) {
    remove_pending(group, leaving.member_id);
    return ErrorCode::NONE;
  }
  const auto error = check_member(group, leaving.member_id, leaving.instance_id);
  if (error == ErrorCode::NONE) remove_member(group, *group.find(leaving.member_id));
  return error;
}

ErrorCode Machine::Impl::heartbeat(const HeartbeatRequest& request) {
  const auto it = groups.find(request.group);
  if (it == groups.end()) return ErrorCode::UNKNOWN_MEMBER_ID;
  auto& group = *it->second;
  const auto error = check_member(group, request.member_id, request.instance_id);
  if (error != ErrorCode::NONE) return error;
  if (request.generation != group.generation) return ErrorCode::ILLEGAL_GENERATION;
  watch_session(group, *group.find(request.member_id));
  return group.is(State::preparing_rebalance) ? ErrorCode::REBALANCE_IN_PROGRESS : ErrorCode::NONE;
}

void Machine::Impl::watch_session(Group& group, Member& member) {
  watch_session(group, member, milliseconds(member.session_timeout_ms));
}

void Machine::Impl::watch_session(Group& group, Member& member, milliseconds timeout) {
  deadlines.set(member.session, now.mono + timeout, {Deadline::Kind::session, &group, &member, nullptr});
}

void Machine::Impl::session_expired(Group& group, Member& member) {
  // Who waits for an answer of ours cannot heartbeat meanwhile; the answer starts the session again. A new member
  // is given up even so.
  if (!member.is_new && (member.waits_join || member.waits_sync)) return;
  WEIR_LOG(info, "group {}: member {} is gone: nothing was heard of it in its session timeout", group.id, member.id);
  remove_member(group, member);
}

void Machine::Impl::drop(Group& group, Member& member) {
  answer_join(group, member, refuse_join("", ErrorCode::UNKNOWN_MEMBER_ID));
  answer_sync(member, refuse_sync(ErrorCode::UNKNOWN_MEMBER_ID));
  const bool was_pending_sync = member.pending_sync;
  group.remove(member);
  if (was_pending_sync && group.pending_syncs == 0) group.sync_wait.clear();
}

void Machine::Impl::remove_member(Group& group, Member& member) {
  drop(group, member);
  switch (group.state) {
    case State::stable:
    case State::completing_rebalance: return rebalance(group);
    case State::preparing_rebalance: return try_complete_join(group);
    case State::empty:
    case State::dead: return;
  }
}

void Machine::Impl::remove_pending(Group& group, const std::string& member_id) {
  group.pending_members.erase(member_id);
  try_complete_join(group);
}

void Machine::Impl::answer_join(Group& group, Member& member, JoinResponse response) {
  if (const auto token = group.end_join(member)) reply(*token, std::move(response));
}

void Machine::Impl::answer_sync(Member& member, SyncResponse response) {
  if (const auto token = std::exchange(member.waits_sync, std::nullopt)) reply(*token, std::move(response));
}

}  // namespace weir::coordinator::group
