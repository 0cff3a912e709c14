#include "coordinator/group/group.h"

#include <algorithm>

#include "base/check.h"
#include "bytes/cursor.h"
#include "coordinator/group/subscription.h"

namespace weir::coordinator::group {

std::string_view name(State state) {
  switch (state) {
    case State::empty: return "Empty";
    case State::preparing_rebalance: return "PreparingRebalance";
    case State::completing_rebalance: return "CompletingRebalance";
    case State::stable: return "Stable";
    case State::dead: return "Dead";
  }
  return "Dead";
}

bool Member::supports(std::string_view protocol) const {
  return std::any_of(protocols.begin(), protocols.end(), [&](const Protocol& p) { return p.name == protocol; });
}

bytes::Shared Member::metadata(std::string_view protocol) const {
  for (const auto& p : protocols) {
    if (p.name == protocol) return p.metadata;
  }
  return {};
}

bool Member::same_protocols(const std::vector<Protocol>& other) const {
  return std::equal(
      protocols.begin(), protocols.end(), other.begin(), other.end(),
      [](const Protocol& a, const Protocol& b) { return a.name == b.name && a.metadata.text() == b.metadata.text(); });
}

Member* Group::find(const std::string& member_id) const {
  const auto it = by_id.find(member_id);
  return it == by_id.end() ? nullptr : it->second;
}

Member* Group::find_instance(const std::string& instance_id) const {
  const auto it = by_instance.find(instance_id);
  return it == by_instance.end() ? nullptr : it->second;
}

milliseconds Group::rebalance_timeout() const {
  std::int32_t most = 0;
  for (const auto& m : members) most = std::max(most, m.rebalance_timeout_ms);
  return milliseconds(most);
}

bool Group::supports(const std::string& type, const std::vector<Protocol>& protocols) const {
  if (is(State::empty)) return !type.empty() && !protocols.empty();
  if (!protocol_type || *protocol_type != type) return false;
  return std::any_of(protocols.begin(), protocols.end(), [&](const Protocol& p) {
    const auto it = support.find(p.name);
    return (it == support.end() ? 0 : it->second) == members.size();
  });
}

std::string Group::select_protocol() const {
  std::unordered_map<std::string_view, std::size_t> votes;
  for (const auto& m : members) {
    for (const auto& p : m.protocols) {
      const auto it = support.find(p.name);
      if (it == support.end() || it->second != members.size()) continue;
      ++votes[p.name];
      break;
    }
  }
  // With as many votes, the one that the earliest member put first.
  std::string_view best;
  std::size_t most = 0;
  for (const auto& m : members) {
    for (const auto& p : m.protocols) {
      const auto it = votes.find(p.name);
      if (it != votes.end() && it->second > most) {
        best = it->first;
        most = it->second;
      }
    }
  }
  return std::string(best);
}

void Group::compute_subscribed_topics() {
  subscribed_topics.reset();
  if (!is_consumer_group()) return;
  if (members.empty()) {
    subscribed_topics.emplace();
    return;
  }
  if (!protocol_name) return;
  std::set<std::string, std::less<>> topics;
  for (const auto& m : members) {
    const auto metadata = m.metadata(*protocol_name);
    if (!add_subscribed_topics(metadata.view(), topics)) return;
  }
  subscribed_topics = std::move(topics);
}

Member& Group::add(std::string member_id, std::optional<std::string> instance_id, const std::string& type,
                   std::vector<Protocol> protocols) {
  WEIR_CHECK(!by_id.contains(member_id), "a member joins once");
  WEIR_CHECK(!instance_id || !by_instance.contains(*instance_id), "an instance id has one member");
  if (members.empty()) protocol_type = type;
  auto& member = members.emplace_back();
  member.self = std::prev(members.end());
  member.id = std::move(member_id);
  member.instance_id = std::move(instance_id);
  by_id.emplace(member.id, &member);
  if (member.instance_id) by_instance.emplace(*member.instance_id, &member);
  set_protocols(member, std::move(protocols));
  if (!leader) leader = member.id;
  pending_members.erase(member.id);
  return member;
}

void Group::remove(Member& member) {
  WEIR_CHECK(!member.waits_join && !member.waits_sync, "who waits is answered before it is removed");
  set_protocols(member, {});
  set_pending_sync(member, false);
  const bool led = is_leader(member);
  by_id.erase(member.id);
  if (member.instance_id) by_instance.erase(*member.instance_id);
  members.erase(member.self);
  if (led) {
    leader.reset();
    if (!members.empty()) leader = members.front().id;
  }
}

void Group::set_protocols(Member& member, std::vector<Protocol> protocols) {
  for (const auto& p : member.protocols) {
    const auto it = support.find(p.name);
    if (--it->second == 0) support.erase(it);
  }
  member.protocols = std::move(protocols);
  for (const auto& p : member.protocols) ++support[p.name];
}

void Group::rename(Member& member, std::string new_id) {
  const bool led = is_leader(member);
  by_id.erase(member.id);
  member.id = std::move(new_id);
  by_id.emplace(member.id, &member);
  if (led) leader = member.id;
}

void Group::wait_join(Member& member, Token token) {
  WEIR_CHECK(!member.waits_join, "an earlier wait was ended");
  member.waits_join = token;
  ++awaiting_join;
}

std::optional<Token> Group::end_join(Member& member) {
  if (member.waits_join) --awaiting_join;
  return std::exchange(member.waits_join, std::nullopt);
}

void Group::set_pending_sync(Member& member, bool pending) {
  if (member.pending_sync == pending) return;
  member.pending_sync = pending;
  if (pending) {
    ++pending_syncs;
  } else {
    --pending_syncs;
  }
}

bool Group::elect_joined_leader() {
  if (!leader) return false;
  const auto* current = find(*leader);
  if (current != nullptr && current->waits_join) return true;
  const auto it =
      std::find_if(members.begin(), members.end(), [](const Member& m) { return m.waits_join.has_value(); });
  if (it == members.end()) return false;
  leader = it->id;
  return true;
}

const OffsetSlot* Group::find_offset(std::string_view topic, std::int32_t partition) const {
  const auto t = offsets.find(topic);
  if (t == offsets.end()) return nullptr;
  const auto p = t->second.find(partition);
  return p == t->second.end() ? nullptr : &p->second;
}

OffsetSlot* Group::find_offset(std::string_view topic, std::int32_t partition) {
  return const_cast<OffsetSlot*>(std::as_const(*this).find_offset(topic, partition));
}

void Group::tidy_offset(std::string_view topic, std::int32_t partition) {
  const auto t = offsets.find(topic);
  if (t == offsets.end()) return;
  const auto p = t->second.find(partition);
  if (p != t->second.end() && !p->second.committed && p->second.pending == 0) t->second.erase(p);
  if (t->second.empty()) offsets.erase(t);
}

}  // namespace weir::coordinator::group
