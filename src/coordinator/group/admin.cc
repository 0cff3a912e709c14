// Looking at groups and deleting them.
#include "coordinator/group/machine_impl.h"

#include <algorithm>

#include "base/log.h"

namespace weir::coordinator::group {
namespace {

bool same_letters(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

bool among(const std::vector<std::string>& names, std::string_view name) {
  return names.empty() ||
         std::any_of(names.begin(), names.end(), [&](const std::string& n) { return same_letters(n, name); });
}

constexpr std::string_view classic = "classic";

}  // namespace

DescribeResponse Machine::Impl::describe(const std::string& id) const {
  DescribeResponse response;
  response.group = id;
  response.state = name(State::dead);
  const auto group = find(id);
  if (!group) return response;
  const bool stable = group->is(State::stable);
  response.state = name(group->state);
  response.protocol_type = group->protocol_type.value_or("");
  if (stable) response.protocol = group->protocol_name.value_or("");
  response.members.reserve(group->members.size());
  for (const auto& m : group->members) {
    DescribedMember member;
    member.member_id = m.id;
    member.instance_id = m.instance_id;
    member.client_id = m.client_id;
    member.client_host = m.client_host;
    if (stable) {
      member.metadata = m.metadata(response.protocol);
      member.assignment = m.assignment;
    }
    response.members.push_back(std::move(member));
  }
  return response;
}

void Machine::Impl::list(const ListRequest& request, ListResponse& into) const {
  if (!among(request.types, classic)) return;
  for (const auto& [id, group] : groups) {
    if (!among(request.states, name(group->state))) continue;
    into.groups.push_back(
        {id, group->protocol_type.value_or(""), std::string(name(group->state)), std::string(classic)});
  }
}

void Machine::Impl::delete_group(Token token, const std::string& id) {
  const auto group = find(id);
  if (!group) return reply(token, DeleteResponse{ErrorCode::GROUP_ID_NOT_FOUND});
  if (!group->is(State::empty)) return reply(token, DeleteResponse{ErrorCode::NON_EMPTY_GROUP});

  std::vector<Record> tombstones;
  std::vector<TopicPartition> all;
  for (const auto& [topic, partitions] : group->offsets) {
    for (const auto& [index, slot] : partitions) all.push_back({topic, index});
  }
  for (const auto& at : all) remove_offset(*group, at, tombstones);
  for (auto it = open_transactions.begin(); it != open_transactions.end();) {
    std::erase_if(it->second, [&](const auto& o) { return o.first.first == id; });
    it = it->second.empty() ? open_transactions.erase(it) : std::next(it);
  }
  group->pending_members.clear();
  remove_if_unused(*group, tombstones);
  WEIR_LOG(info, "group {} was deleted", id);
  if (tombstones.empty()) return reply(token, DeleteResponse{});
  under_way.emplace(append(std::move(tombstones)), StoreDeletion{token, DeleteResponse{}});
}

void Machine::Impl::delete_offsets(Token token, DeleteOffsetsRequest request) {
  DeleteOffsetsResponse response;
  const auto group = find(request.group);
  if (!group) {
    response.error = ErrorCode::GROUP_ID_NOT_FOUND;
    return reply(token, std::move(response));
  }
  if (!group->is(State::empty) && !group->is_consumer_group()) {
    response.error = ErrorCode::NON_EMPTY_GROUP;
    return reply(token, std::move(response));
  }
  std::vector<Record> tombstones;
  for (auto& topic : request.topics) {
    auto& answer = response.topics.emplace_back();
    const bool in_use = !group->is(State::empty) && group->subscribed(topic.name);
    for (const auto p : topic.partitions) {
      answer.partitions.push_back({p, in_use ? ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC : ErrorCode::NONE});
      if (!in_use) remove_offset(*group, {topic.name, p}, tombstones);
    }
    answer.name = std::move(topic.name);
  }
  remove_if_unused(*group, tombstones);
  if (tombstones.empty()) return reply(token, std::move(response));
  under_way.emplace(append(std::move(tombstones)), StoreDeletion{token, std::move(response)});
}

void Machine::Impl::deletion_stored(StoreDeletion stored, ErrorCode error) {
  const auto told = error == ErrorCode::NONE ? error : offset_store_error(error);
  if (auto* deleted = std::get_if<DeleteResponse>(&stored.response)) {
    deleted->error = told;
    return reply(stored.token, *deleted);
  }
  auto& offsets = std::get<DeleteOffsetsResponse>(stored.response);
  offsets.error = told;
  if (told != ErrorCode::NONE) offsets.topics.clear();
  reply(stored.token, std::move(offsets));
}

void Machine::Impl::topics_deleted(const std::vector<std::string>& topics) {
  std::vector<std::shared_ptr<Group>> all;
  for (const auto& [id, group] : groups) all.push_back(group);
  for (const auto& group : all) {
    std::vector<Record> tombstones;
    for (const auto& topic : topics) {
      const auto it = group->offsets.find(topic);
      if (it == group->offsets.end()) continue;
      std::vector<TopicPartition> partitions;
      for (const auto& [index, slot] : it->second) partitions.push_back({topic, index});
      for (const auto& at : partitions) remove_offset(*group, at, tombstones);
    }
    if (tombstones.empty()) continue;
    remove_if_unused(*group, tombstones);
    append(std::move(tombstones));
  }
}

void Machine::Impl::clean_up() {
  deadlines.set(cleanup, now.mono + config.offsets_retention_check_interval, {});
  std::vector<std::shared_ptr<Group>> all;
  all.reserve(groups.size());
  for (const auto& [id, group] : groups) all.push_back(group);
  for (const auto& group : all) {
    std::vector<Record> tombstones;
    remove_expired(*group, tombstones);
    remove_if_unused(*group, tombstones);
    if (!tombstones.empty()) append(std::move(tombstones));
  }
}

void Machine::Impl::remove_if_unused(Group& group, std::vector<Record>& tombstones) {
  // Kafka forgets a group even while somebody was just given an id for it; here that one may still come.
  if (!group.is(State::empty) || has_offsets(group) || !group.pending_members.empty()) return;
  if (group.generation > 0) tombstones.push_back({group_key(group.id), std::nullopt});
  const auto kept = find(group.id);  // the caller still looks at it
  group.state = State::dead;
  const std::string id = group.id;
  groups.erase(id);
}

}  // namespace weir::coordinator::group
