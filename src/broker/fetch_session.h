// Incremental fetch sessions (KIP-227): what a client fetches is remembered, so that its requests name only changes
// and the answers only partitions that have something new.
//
// One cache a shard; a session lives on the shard of the connection that made it. A client that comes back on
// another shard is told FETCH_SESSION_ID_NOT_FOUND and begins a new one, as after a restart.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "base/units.h"
#include "base/uuid.h"
#include "protocol/messages/fetch.h"
#include "runtime/random.h"

namespace weir::broker {

// A partition that a fetch asks for.
struct FetchItem {
  std::string topic;  // empty when only the id is known and no topic has it
  Uuid topic_id;
  PartitionId partition;
  Offset offset;
  std::int32_t max_bytes = 0;
  LeaderEpoch current_epoch = no_leader_epoch;
  LeaderEpoch last_fetched_epoch = no_leader_epoch;
  std::int64_t log_start = -1;  // a follower's

  // What was answered last, in a session.
  std::int64_t told_high_watermark = -1;
  std::int64_t told_log_start = -1;
};

class FetchSessions;

// The partitions of one request, in the order they are to be read.
class FetchContext {
 public:
  ErrorCode error = ErrorCode::NONE;  // of the session: nothing is read
  std::vector<FetchItem> items;
  std::int32_t session_id = 0;  // to be answered
  bool incremental = false;     // answer only what changed

 private:
  friend class FetchSessions;
};

class FetchSessions {
 public:
  // `slots`: max.incremental.fetch.session.cache.slots of this shard.
  FetchSessions(std::size_t slots, runtime::Random& random) : slots_(slots), random_(random) {}

  // The partitions that the request means, by its session.
  FetchContext begin(const protocol::FetchRequest& request, std::int16_t version, nanoseconds now);
  // Whether an incremental answer names this partition; remembers what was told. `item` is the context's.
  bool tell(std::int32_t session_id, const FetchItem& item, ErrorCode error, std::int64_t high_watermark,
            std::int64_t log_start, bool has_records);
  std::size_t size() const { return sessions_.size(); }

 private:
  struct Session {
    std::int32_t id = 0;
    std::int32_t epoch = 0;  // of the next request
    bool by_id = false;
    nanoseconds used{};
    std::list<FetchItem> items;  // those that had records last go to the end: everyone gets a turn
    std::map<std::pair<std::string, std::int32_t>, std::list<FetchItem>::iterator> index;
  };
  using Key = std::pair<std::string, std::int32_t>;
  static Key key_of(std::string_view topic, const Uuid& id, std::int32_t partition);
  void put(Session& session, FetchItem item);
  bool make_room(nanoseconds now);
  void erase(std::int32_t id);

  std::size_t slots_;
  std::size_t items_ = 0;  // of all sessions
  runtime::Random& random_;
  std::unordered_map<std::int32_t, std::unique_ptr<Session>> sessions_;
};

}  // namespace weir::broker
