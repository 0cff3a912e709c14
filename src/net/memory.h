// The memory for requests that connections share (queued.max.request.bytes): a frame's memory is leased as a whole
// before its body is read, so who has it needs nothing but its peer to end; first come, first served.
//
// While somebody waits, who holds memory for a frame that is still coming must get on: it is closed when nothing came
// for `silence_max`, or when less came than frame_rate_min (and more for a large frame) asks for after that time.
// Without anybody who waits no connection is closed for being slow. Nobody is asked before somebody waits, and then
// once: a holder looks at itself, on its own shard, when it would be due.
//
// docs/decisions/0012-memory-of-requests.md. From all shards; the one mutex is held for a few instructions.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "base/units.h"
#include "runtime/budget.h"
#include "runtime/shard.h"

namespace weir::net {

class Connection;

inline constexpr seconds silence_max{5};
inline constexpr std::uint64_t frame_rate_min = 16 * 1024;  // bytes a second
inline constexpr seconds frame_time_max{60};                // beyond silence_max; a larger frame has to come faster
// A peer that sent so much (or its whole frame) while it waited for memory is as one that begins when it has it.
inline constexpr std::size_t eager_bytes = 4096;

// A frame that has its memory and is not whole. Of its connection, on whose shard it is used, but for what is said.
struct Coming {
  Connection* connection = nullptr;
  std::size_t size = 0;
  nanoseconds leased{};
  nanoseconds begun{};     // since when it could come
  nanoseconds last{};      // when something of it came last
  std::size_t came = 0;    // bytes of it that were read
  std::size_t unread = 0;  // what the transport had besides, at the last look

  // When it is closed if nothing more comes and somebody waits.
  nanoseconds due() const;
  bool silent(nanoseconds now) const { return now - last >= nanoseconds(silence_max); }

 private:
  friend class Memory;  // under its mutex
  std::size_t slot_ = 0;
  bool watched_ = false;
};

class Memory {
 public:
  explicit Memory(std::int64_t limit_bytes) : budget_(limit_bytes) {}

  runtime::Budget& budget() { return budget_; }

  // Who waits for the budget, around its wait. The first one asks those that hold memory to look at themselves.
  void begin_wait();
  void end_wait();

  // A frame that is coming, until it is removed; true: somebody waits, look at it.
  bool add(Coming& coming);
  void remove(Coming& coming);
  // At a look: false when nobody waits, and then it is asked again by the next who does.
  bool watch(Coming& coming);

  std::size_t waiting() const;
  // "1980000 of 2000000 bytes are taken, 1980000 of them by 2 requests that are still coming (990000 for 3 s from
  // 10.0.0.1:5000, ...)".
  std::string text(nanoseconds now) const;

 private:
  runtime::Budget budget_;
  mutable std::mutex mutex_;
  std::vector<Coming*> holders_;
  std::size_t waiting_ = 0;
};

}  // namespace weir::net
