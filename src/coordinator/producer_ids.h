// Producer ids for InitProducerId (KIP-98), handed out of blocks of 1,000 that the cluster gives to a broker: in
// ZooKeeper mode by a conditional write of /latest_producer_id_block, which the broker makes when asked here.
//
// Pure: next() gives an id, or says that a block is needed; the owner then claims one, once, and grants it.
#pragma once

#include <cstdint>
#include <optional>

#include "base/error.h"
#include "base/id.h"

namespace weir::coordinator {

// Ids first to last, both included.
struct ProducerIdBlock {
  std::int64_t first = 0;
  std::int64_t last = -1;

  friend bool operator==(const ProducerIdBlock&, const ProducerIdBlock&) = default;
};

inline constexpr std::int64_t producer_id_block_size = 1000;

// The block that follows the latest one given out to anybody (none: nobody ever had one). An error when producer
// ids are used up.
Result<ProducerIdBlock> next_block(std::optional<ProducerIdBlock> latest);

class ProducerIds {
 public:
  // The next id; none when the block is used up (see wants_block).
  std::optional<ProducerId> next();
  // True when there is no id left and no claim is under way.
  bool wants_block() const { return next_ > block_.last && !claiming_; }
  // The owner starts to claim a block. Between this and granted() or refused() nothing else is claimed.
  void claiming();
  // The block is ours. An empty one, or one that goes back behind ids given out before, is refused: false.
  bool granted(ProducerIdBlock block);
  // The claim failed; wants_block() is true again.
  void refused() { claiming_ = false; }

 private:
  ProducerIdBlock block_;
  std::int64_t next_ = 0;
  bool claiming_ = false;
};

}  // namespace weir::coordinator
