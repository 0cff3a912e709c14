// From the log to the state, and the end of it.
#include "coordinator/group/machine_impl.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"

namespace weir::coordinator::group {

bool Machine::Impl::replay(const LoadedRecord& record) {
  switch (record.kind) {
    case LoadedRecord::Kind::commit_marker: complete_transaction(record.producer_id, true); return true;
    case LoadedRecord::Kind::abort_marker: complete_transaction(record.producer_id, false); return true;
    case LoadedRecord::Kind::data: break;
  }
  if (!record.key) return false;
  const auto key = parse_key(*record.key);
  if (!key) return false;
  if (const auto* offset = std::get_if<OffsetKey>(&*key)) return replay_offset(record, *offset);
  if (const auto* group = std::get_if<GroupKey>(&*key)) return replay_group(record, *group);
  WEIR_LOG_LIMITED(info, seconds(60), "skipped a record of __consumer_offsets with a key of version {}",
                   std::get<UnknownKey>(*key).version);
  return true;
}

bool Machine::Impl::replay_offset(const LoadedRecord& record, const OffsetKey& key) {
  const std::string id(key.group);
  const TopicPartition at{std::string(key.topic), key.partition};
  if (!record.value) {
    if (record.transactional) {
      const auto it = open_transactions.find(record.producer_id);
      if (it != open_transactions.end()) it->second.erase({id, at});
    } else if (const auto group = find(id)) {
      if (auto* slot = group->find_offset(at.topic, at.partition)) slot->committed.reset();
      group->tidy_offset(at.topic, at.partition);
      if (group->offsets.empty()) groups.erase(id);
    }
    return true;
  }
  auto value = parse_offset_value(*record.value);
  if (!value) return false;
  if (record.transactional) {
    open_transactions[record.producer_id].insert_or_assign({id, at}, std::move(*value));
  } else {
    auto& group = groups[id];
    if (!group) group = std::make_shared<Group>(id);
    group->offsets[at.topic][at.partition].committed = std::move(*value);
  }
  return true;
}

// Members are made when all is read: most records of a group are overtaken by a later one.
bool Machine::Impl::replay_group(const LoadedRecord& record, const GroupKey& key) {
  if (!record.value) {
    loaded_groups.erase(std::string(key.group));
    return true;
  }
  if (!parse_group_value(*record.value)) return false;
  loaded_groups.insert_or_assign(std::string(key.group), bytes::Shared::copy(*record.value));
  return true;
}

void Machine::Impl::activate() {
  for (auto& [id, group] : groups) group->state_since = now.wall;
  std::erase_if(open_transactions, [](const auto& t) { return t.second.empty(); });
  for (const auto& [producer, offsets] : open_transactions) {
    for (const auto& [key, value] : offsets) find_or_make(key.first);
  }
  for (const auto& [id, data] : loaded_groups) {
    const auto value = parse_group_value(data.view());
    WEIR_CHECK(value.has_value(), "it was parsed when it was read");
    restore(*find_or_make(id), *value);
  }
  loaded_groups.clear();
  deadlines.set(cleanup, now.mono + config.offsets_retention_check_interval, {});
}

void Machine::Impl::restore(Group& group, const GroupValue& value) {
  group.generation = value.generation;
  if (!value.protocol_type.empty()) group.protocol_type = std::string(value.protocol_type);
  if (value.protocol) group.protocol_name = std::string(*value.protocol);
  group.state_since = value.state_timestamp;
  for (const auto& m : value.members) {
    if (group.by_id.contains(std::string(m.member_id))) continue;
    std::optional<std::string> instance;
    if (m.instance_id) instance = std::string(*m.instance_id);
    if (instance && group.by_instance.contains(*instance)) continue;
    std::vector<Protocol> protocols;
    protocols.push_back({group.protocol_name.value_or(""), bytes::Shared::copy(m.subscription)});
    auto& member = group.add(std::string(m.member_id), std::move(instance), std::string(value.protocol_type),
                             std::move(protocols));
    member.client_id = m.client_id;
    member.client_host = m.client_host;
    member.rebalance_timeout_ms = std::max(m.rebalance_timeout_ms, 0);
    member.session_timeout_ms = std::max(m.session_timeout_ms, 0);
    member.assignment = bytes::Shared::copy(m.assignment);
  }
  if (value.leader && group.by_id.contains(std::string(*value.leader))) group.leader = std::string(*value.leader);
  group.state = group.members.empty() ? State::empty : State::stable;
  group.compute_subscribed_topics();
  // More than are allowed: they rejoin, and commit before, and the last ones are turned away (KIP-389).
  if (group.members.size() > config.members_max) rebalance(group);
  for (auto& member : group.members) watch_session(group, member);
}

Effects Machine::Impl::resign() {
  for (auto& [id, stored] : under_way) {
    if (auto* offsets = std::get_if<StoreOffsets>(&stored)) {
      for (auto& topic : offsets->response.topics) {
        for (auto& p : topic.partitions) {
          if (p.error == ErrorCode::NONE) p.error = ErrorCode::NOT_COORDINATOR;
        }
      }
      reply(offsets->token, std::move(offsets->response));
    } else if (auto* deletion = std::get_if<StoreDeletion>(&stored)) {
      deletion_stored(std::move(*deletion), ErrorCode::NOT_COORDINATOR);
    }
  }
  under_way.clear();
  for (auto& [id, group] : groups) {
    for (auto& member : group->members) {
      answer_join(*group, member, refuse_join(member.id, ErrorCode::NOT_COORDINATOR));
      answer_sync(member, refuse_sync(ErrorCode::NOT_COORDINATOR));
    }
    group->state = State::dead;
  }
  groups.clear();
  open_transactions.clear();
  cleanup.clear();
  return std::exchange(out, {});
}

std::string Machine::Impl::dump() const {
  std::map<std::string, const Group*> sorted;
  for (const auto& [id, group] : groups) sorted.emplace(id, group.get());
  std::string text;
  const auto to = std::back_inserter(text);
  for (const auto& [id, group] : sorted) {
    fmt::format_to(to, "group {} state {} generation {} type {} protocol {} leader {}\n", id, name(group->state),
                   group->generation, group->protocol_type.value_or("-"), group->protocol_name.value_or("-"),
                   group->leader.value_or("-"));
    for (const auto& m : group->members) {
      fmt::format_to(to,
                     "  member {} instance {} client {} host {} rebalance {} session {} metadata {} assignment {}\n",
                     m.id, m.instance_id.value_or("-"), m.client_id, m.client_host, m.rebalance_timeout_ms,
                     m.session_timeout_ms, m.metadata(group->protocol_name.value_or("")).text(), m.assignment.text());
    }
    for (const auto& [topic, partitions] : group->offsets) {
      for (const auto& [index, slot] : partitions) {
        if (!slot.committed) continue;
        const auto& v = *slot.committed;
        fmt::format_to(to, "  offset {}-{} {} epoch {} metadata {} committed {} expires {}\n", topic, index, v.offset,
                       v.leader_epoch, v.metadata, v.commit_timestamp, v.expire_timestamp);
      }
    }
  }
  for (const auto& [producer, offsets] : open_transactions) {
    for (const auto& [key, value] : offsets) {
      fmt::format_to(to, "open {} {} {}-{} {}\n", producer, key.first, key.second.topic, key.second.partition,
                     value.offset);
    }
  }
  return text;
}

}  // namespace weir::coordinator::group
