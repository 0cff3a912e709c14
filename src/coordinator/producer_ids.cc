#include "coordinator/producer_ids.h"

#include <limits>

#include "base/check.h"

namespace weir::coordinator {

Result<ProducerIdBlock> next_block(std::optional<ProducerIdBlock> latest) {
  if (!latest) return ProducerIdBlock{0, producer_id_block_size - 1};
  if (latest->last < 0 || latest->last > std::numeric_limits<std::int64_t>::max() - producer_id_block_size) {
    return fail(ErrorCode::UNKNOWN_SERVER_ERROR, "there is no block of producer ids left");
  }
  return ProducerIdBlock{latest->last + 1, latest->last + producer_id_block_size};
}

std::optional<ProducerId> ProducerIds::next() {
  if (next_ > block_.last) return std::nullopt;
  return ProducerId{next_++};
}

void ProducerIds::claiming() {
  WEIR_CHECK(!claiming_, "one claim at a time");
  claiming_ = true;
}

bool ProducerIds::granted(ProducerIdBlock block) {
  claiming_ = false;
  if (block.first < 0 || block.last < block.first || block.first <= block_.last) return false;
  block_ = block;
  next_ = block.first;
  return true;
}

}  // namespace weir::coordinator
