// What is told of in-sync sets that changed: when a broker goes, or comes back, thousands do at once. One line a second
// for each direction, with how many and a few of them; each change is in the log at debug level. Pure; one a shard.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/topic.h"
#include "base/units.h"

namespace weir::replica {

class IsrNotes {
 public:
  static constexpr nanoseconds gather{seconds(1)};  // from the first change until the line that has it
  static constexpr std::size_t named_max = 3;
  static constexpr nanoseconds never = nanoseconds::max();

  // True: nothing was waiting to be told, so due() is new.
  bool add(const TopicPartition& partition, const std::vector<BrokerId>& isr, bool expanded, nanoseconds now);
  // When what waits is to be told; `never` when nothing does.
  nanoseconds due() const { return due_; }
  // The lines; nothing waits any more.
  std::vector<std::string> take();

 private:
  struct Direction {
    std::size_t count = 0;
    std::vector<std::string> named;
  };
  std::array<Direction, 2> directions_;  // shrunk, expanded
  nanoseconds due_ = never;
};

}  // namespace weir::replica
