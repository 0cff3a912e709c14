#include "broker/fetch_session.h"

#include <algorithm>
#include <set>
#include <utility>

namespace weir::broker {
namespace {

// A session that was used within this time is not thrown out for a new one (Kafka's
// min.incremental.fetch.session.eviction.ms).
constexpr seconds evict_after{120};
// Partitions that all sessions of a shard remember together; beyond that clients fetch without a session.
constexpr std::size_t items_max = 200'000;
constexpr std::int32_t initial_epoch = 0;
constexpr std::int32_t final_epoch = -1;

FetchItem item_of(const protocol::FetchRequest::FetchTopic& topic,
                  const protocol::FetchRequest::FetchPartition& partition) {
  FetchItem item;
  item.topic = std::string(topic.topic);
  item.topic_id = topic.topic_id;
  item.partition = PartitionId{partition.partition};
  item.offset = Offset{partition.fetch_offset};
  item.max_bytes = partition.partition_max_bytes;
  item.current_epoch = LeaderEpoch{partition.current_leader_epoch};
  item.last_fetched_epoch = LeaderEpoch{partition.last_fetched_epoch};
  item.log_start = partition.log_start_offset;
  return item;
}

}  // namespace

FetchSessions::Key FetchSessions::key_of(std::string_view topic, const Uuid& id, std::int32_t partition) {
  return {id.is_zero() ? std::string(topic) : "/" + id.text(), partition};
}

void FetchSessions::put(Session& session, FetchItem item) {
  auto key = key_of(item.topic, item.topic_id, item.partition.value);
  const auto it = session.index.find(key);
  if (it == session.index.end()) {
    session.items.push_back(std::move(item));
    ++items_;
    session.index.emplace(std::move(key), std::prev(session.items.end()));
    return;
  }
  item.told_high_watermark = it->second->told_high_watermark;
  item.told_log_start = it->second->told_log_start;
  *it->second = std::move(item);
}

void FetchSessions::erase(std::int32_t id) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  items_ -= found->second->items.size();
  sessions_.erase(found);
}

bool FetchSessions::make_room(nanoseconds now) {
  if (sessions_.size() < slots_) return true;
  auto oldest = sessions_.end();
  for (auto it = sessions_.begin(); it != sessions_.end(); ++it) {
    if (oldest == sessions_.end() || it->second->used < oldest->second->used) oldest = it;
  }
  if (oldest == sessions_.end() || now - oldest->second->used < evict_after) return false;
  erase(oldest->first);
  return true;
}

FetchContext FetchSessions::begin(const protocol::FetchRequest& request, std::int16_t version, nanoseconds now) {
  FetchContext context;
  const bool by_id = version >= 13;
  if (version < 7 || request.session_epoch == final_epoch || request.session_epoch == initial_epoch) {
    if (version >= 7 && request.session_id != 0) erase(request.session_id);
    std::set<Key> named;
    for (const auto& topic : request.topics) {
      for (const auto& partition : topic.partitions) {
        // Named twice is read once: else a small request could ask for any amount of the same.
        if (!named.insert(key_of(topic.topic, topic.topic_id, partition.partition)).second) continue;
        context.items.push_back(item_of(topic, partition));
      }
    }
    const bool wants_session = version >= 7 && request.session_epoch == initial_epoch && !context.items.empty();
    if (!wants_session || !make_room(now) || items_ + context.items.size() > items_max) return context;
    auto session = std::make_unique<Session>();
    do {
      session->id = static_cast<std::int32_t>(random_.next() & 0x7fffffff);
    } while (session->id == 0 || sessions_.contains(session->id));
    session->epoch = 1;
    session->by_id = by_id;
    session->used = now;
    for (const auto& item : context.items) put(*session, item);
    context.session_id = session->id;
    sessions_.emplace(context.session_id, std::move(session));
    return context;
  }

  const auto found = sessions_.find(request.session_id);
  if (found == sessions_.end()) {
    context.error = ErrorCode::FETCH_SESSION_ID_NOT_FOUND;
    return context;
  }
  auto& session = *found->second;
  if (session.by_id != by_id) {
    context.error = ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR;
    return context;
  }
  if (request.session_epoch != session.epoch) {
    context.error = ErrorCode::INVALID_FETCH_SESSION_EPOCH;
    return context;
  }
  session.epoch = session.epoch == 0x7fffffff ? 1 : session.epoch + 1;
  session.used = now;
  for (const auto& topic : request.forgotten_topics_data) {
    for (const auto partition : topic.partitions) {
      const auto it = session.index.find(key_of(topic.topic, topic.topic_id, partition));
      if (it == session.index.end()) continue;
      session.items.erase(it->second);
      --items_;
      session.index.erase(it);
    }
  }
  for (const auto& topic : request.topics) {
    for (const auto& partition : topic.partitions) put(session, item_of(topic, partition));
  }
  if (items_ > items_max) {
    erase(request.session_id);
    context.error = ErrorCode::FETCH_SESSION_ID_NOT_FOUND;
    return context;
  }
  context.items.assign(session.items.begin(), session.items.end());
  if (session.items.empty()) {
    erase(request.session_id);  // an empty session is none
    return context;
  }
  context.session_id = session.id;
  context.incremental = true;
  return context;
}

bool FetchSessions::tell(std::int32_t session_id, const FetchItem& item, ErrorCode error, std::int64_t high_watermark,
                         std::int64_t log_start, bool has_records) {
  const auto found = sessions_.find(session_id);
  if (found == sessions_.end()) return true;
  auto& session = *found->second;
  const auto it = session.index.find(key_of(item.topic, item.topic_id, item.partition.value));
  if (it == session.index.end()) return true;
  auto& known = *it->second;
  bool tells = has_records || error != ErrorCode::NONE;
  if (known.told_high_watermark != high_watermark || known.told_log_start != log_start) tells = true;
  known.told_high_watermark = high_watermark;
  known.told_log_start = log_start;
  // An error is told again until it is over: the next answer without one differs from what was told.
  if (error != ErrorCode::NONE) known.told_high_watermark = -1;
  if (has_records) session.items.splice(session.items.end(), session.items, it->second);
  return tells;
}

}  // namespace weir::broker
