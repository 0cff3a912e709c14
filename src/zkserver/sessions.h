// When sessions expire: deadlines rounded up to whole ticks, as ZooKeeper's expiry queue has them, so that thousands
// of sessions cost one look a tick. Pure: the time comes in. What a session is stands in tree/tree.h.
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/units.h"
#include "zkserver/tree/tree.h"

namespace weir::zkserver {

class Deadlines {
 public:
  explicit Deadlines(milliseconds tick) : tick_(tick) {}

  // Time as sessions feel it. It stands still while this process did (stopped, suspended, starved): nobody loses a
  // session because the server slept. `mono` never goes back; call at least once a tick.
  void advance(nanoseconds mono);

  // Gives the session its timeout anew.
  void touch(SessionId id, milliseconds timeout);
  void forget(SessionId id);
  // Those whose time is over; they are forgotten.
  std::vector<SessionId> expired();

  std::size_t size() const { return due_.size(); }
  // Sessions by the milliseconds left until they expire, for the four-letter word dump.
  std::map<std::int64_t, std::vector<SessionId>> left() const;

 private:
  std::int64_t now_ms() const { return felt_ms_; }

  const milliseconds tick_;
  bool started_ = false;
  nanoseconds seen_{0};
  std::int64_t felt_ms_ = 0;
  std::int64_t felt_rest_ns_ = 0;
  std::unordered_map<SessionId, std::int64_t> due_;  // in ms, a whole tick
  std::map<std::int64_t, std::unordered_set<SessionId>> buckets_;
};

}  // namespace weir::zkserver
