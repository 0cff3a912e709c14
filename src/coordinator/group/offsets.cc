// Committed offsets: commit, fetch, expiry, and those of open transactions.
#include "coordinator/group/machine_impl.h"

#include <algorithm>
#include <limits>

#include "coordinator/java_text.h"

namespace weir::coordinator::group {
namespace {

TimestampMs later(TimestampMs from, std::int64_t by) {
  constexpr auto most = std::numeric_limits<TimestampMs>::max();
  return by > 0 && from > most - by ? most : from + by;
}

}  // namespace

ErrorCode Machine::Impl::check_commit(const Group& group, const CommitRequest& request) const {
  // Without a generation: an administrator, or a consumer that assigns its partitions itself. Only while the group
  // has no members.
  if (request.generation < 0 && group.is(State::empty)) return ErrorCode::NONE;
  if (request.generation >= 0 || !request.member_id.empty() || request.instance_id) {
    const auto error = check_member(group, request.member_id, request.instance_id);
    if (error != ErrorCode::NONE) return error;
    if (request.generation != group.generation) return ErrorCode::ILLEGAL_GENERATION;
    // It learned this generation from us, but not yet what it is assigned.
    return group.is(State::completing_rebalance) ? ErrorCode::REBALANCE_IN_PROGRESS : ErrorCode::NONE;
  }
  return ErrorCode::UNKNOWN_MEMBER_ID;
}

void Machine::Impl::commit(Token token, CommitRequest request) {
  auto group = find(request.group);
  auto error = ErrorCode::NONE;
  if (request.group.size() > text_bytes_max) {
    error = ErrorCode::INVALID_GROUP_ID;
  } else if (group) {
    error = check_commit(*group, request);
  } else if (request.generation >= 0) {
    error = ErrorCode::ILLEGAL_GENERATION;
  }
  if (error == ErrorCode::NONE && group) {
    if (auto* member = group->find(request.member_id)) watch_session(*group, *member);
  }

  StoreOffsets store;
  store.token = token;
  for (auto& topic : request.topics) {
    auto& answer = store.response.topics.emplace_back();
    answer.name = topic.name;
    for (auto& p : topic.partitions) {
      auto result = error;
      if (result == ErrorCode::NONE && topic.name.size() > text_bytes_max) result = ErrorCode::INVALID_TOPIC_EXCEPTION;
      auto metadata = p.metadata.value_or("");
      if (result == ErrorCode::NONE &&
          (utf16_length(metadata) > config.offset_metadata_bytes_max || metadata.size() > text_bytes_max)) {
        result = ErrorCode::OFFSET_METADATA_TOO_LARGE;
      }
      answer.partitions.push_back({p.partition, result});
      if (result != ErrorCode::NONE) continue;
      OffsetValue value;
      value.offset = p.offset;
      value.leader_epoch = p.leader_epoch;
      value.metadata = std::move(metadata);
      value.commit_timestamp = p.commit_timestamp == no_timestamp ? now.wall : p.commit_timestamp;
      if (request.retention_ms != -1) value.expire_timestamp = later(now.wall, request.retention_ms);
      store.offsets.push_back({{topic.name, p.partition}, std::move(value)});
    }
  }
  if (store.offsets.empty()) return reply(token, std::move(store.response));

  if (!group) group = find_or_make(request.group);
  store.group = group;
  std::vector<Record> records;
  records.reserve(store.offsets.size());
  for (const auto& o : store.offsets) {
    records.push_back({offset_key(group->id, o.at.topic, o.at.partition), offset_value(o.value)});
  }
  const auto id = append(std::move(records));
  for (const auto& o : store.offsets) {
    auto [slot, made] = group->offsets[o.at.topic].try_emplace(o.at.partition);
    if (made) slot->second.since = id;
    slot->second.pending = id;
  }
  under_way.emplace(id, std::move(store));
}

void Machine::Impl::offsets_stored(StoreOffsets stored, AppendId id, ErrorCode error) {
  if (const auto group = stored.group.lock(); group && !group->is(State::dead)) {
    for (auto& o : stored.offsets) {
      auto* slot = group->find_offset(o.at.topic, o.at.partition);
      if (slot == nullptr || slot->since > id) continue;  // deleted since
      if (slot->pending == id) slot->pending = 0;
      if (error == ErrorCode::NONE && slot->committed_at <= id) {
        slot->committed = std::move(o.value);
        slot->committed_at = id;
      }
      if (!slot->committed) group->tidy_offset(o.at.topic, o.at.partition);
    }
  }
  if (error != ErrorCode::NONE) {
    const auto told = offset_store_error(error);
    for (auto& topic : stored.response.topics) {
      for (auto& p : topic.partitions) {
        if (p.error == ErrorCode::NONE) p.error = told;
      }
    }
  }
  reply(stored.token, std::move(stored.response));
}

bool Machine::Impl::unstable(const Group& group, std::string_view topic, std::int32_t partition) const {
  const auto* slot = group.find_offset(topic, partition);
  if (slot != nullptr && slot->pending != 0) return true;
  if (open_transactions.empty()) return false;
  const std::pair key{group.id, TopicPartition{std::string(topic), partition}};
  return std::any_of(open_transactions.begin(), open_transactions.end(),
                     [&](const auto& t) { return t.second.contains(key); });
}

FetchOffsetsResponse Machine::Impl::fetch(const FetchOffsetsRequest& request) const {
  FetchOffsetsResponse response;
  const auto group = find(request.group);
  const auto read = [&](std::string_view topic, std::int32_t partition, const OffsetSlot* slot) {
    FetchOffsetsResponse::Partition p;
    p.partition = partition;
    if (group && request.require_stable && unstable(*group, topic, partition)) {
      p.error = ErrorCode::UNSTABLE_OFFSET_COMMIT;
    } else if (slot != nullptr && slot->committed) {
      p.offset = slot->committed->offset;
      p.leader_epoch = slot->committed->leader_epoch;
      p.metadata = slot->committed->metadata;
    }
    return p;
  };
  if (request.topics) {
    for (const auto& topic : *request.topics) {
      auto& to = response.topics.emplace_back();
      to.name = topic.name;
      for (const auto p : topic.partitions) {
        to.partitions.push_back(read(topic.name, p, group ? group->find_offset(topic.name, p) : nullptr));
      }
    }
  } else if (group) {
    for (const auto& [topic, partitions] : group->offsets) {
      FetchOffsetsResponse::Topic to;
      to.name = topic;
      for (const auto& [index, slot] : partitions) {
        if (slot.committed) to.partitions.push_back(read(topic, index, &slot));
      }
      if (!to.partitions.empty()) response.topics.push_back(std::move(to));
    }
  }
  return response;
}

bool Machine::Impl::has_offsets(const Group& group) const {
  if (!group.offsets.empty()) return true;
  return std::any_of(open_transactions.begin(), open_transactions.end(), [&](const auto& t) {
    const auto it = t.second.lower_bound({group.id, TopicPartition{"", std::numeric_limits<std::int32_t>::min()}});
    return it != t.second.end() && it->first.first == group.id;
  });
}

void Machine::Impl::remove_offset(Group& group, const TopicPartition& at, std::vector<Record>& tombstones) {
  for (auto it = open_transactions.begin(); it != open_transactions.end();) {
    it->second.erase({group.id, at});
    it = it->second.empty() ? open_transactions.erase(it) : std::next(it);
  }
  auto* slot = group.find_offset(at.topic, at.partition);
  if (slot == nullptr) return;
  // Also for one that is only under way: its record may reach the log before the tombstone does.
  tombstones.push_back({offset_key(group.id, at.topic, at.partition), std::nullopt});
  slot->committed.reset();
  slot->pending = 0;
  group.tidy_offset(at.topic, at.partition);
}

// KIP-211: the retention of a group with members concerns topics that nobody subscribes to; that of an empty one
// begins when it became empty; that of offsets without a group when they were committed.
void Machine::Impl::remove_expired(Group& group, std::vector<Record>& tombstones) {
  const bool empty_since = group.protocol_type && group.is(State::empty);
  const bool unsubscribed_only = group.is_consumer_group() && group.subscribed_topics && group.is(State::stable);
  if (!empty_since && !unsubscribed_only && group.protocol_type) return;

  std::vector<TopicPartition> expired;
  for (const auto& [topic, partitions] : group.offsets) {
    if (!empty_since && unsubscribed_only && group.subscribed_topics->contains(topic)) continue;
    for (const auto& [index, slot] : partitions) {
      if (!slot.committed || slot.pending != 0) continue;
      const auto& value = *slot.committed;
      const auto from = empty_since && group.state_since != no_timestamp ? group.state_since : value.commit_timestamp;
      const auto until = value.expire_timestamp != no_timestamp ? value.expire_timestamp
                                                                : later(from, config.offsets_retention.count());
      if (now.wall >= until) expired.push_back({topic, index});
    }
  }
  for (const auto& at : expired) {
    auto* slot = group.find_offset(at.topic, at.partition);
    tombstones.push_back({offset_key(group.id, at.topic, at.partition), std::nullopt});
    slot->committed.reset();
    group.tidy_offset(at.topic, at.partition);
  }
}

void Machine::Impl::complete_transaction(std::int64_t producer_id, bool commit) {
  const auto it = open_transactions.find(producer_id);
  if (it == open_transactions.end()) return;
  auto offsets = std::move(it->second);
  open_transactions.erase(it);
  if (!commit) return;
  for (auto& [key, value] : offsets) {
    auto& slot = find_or_make(key.first)->offsets[key.second.topic][key.second.partition];
    slot.committed = std::move(value);
    slot.committed_at = last_append;
  }
}

}  // namespace weir::coordinator::group
