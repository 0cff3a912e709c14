// Control records (KIP-98): the markers that end a transaction. A control batch holds exactly one, uncompressed.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "base/id.h"
#include "record/batch.h"

namespace weir::record {

enum class ControlType : std::int16_t { abort = 0, commit = 1 };

struct EndTransactionMarker {
  ControlType type = ControlType::abort;
  std::int32_t coordinator_epoch = 0;
};

// The whole control batch; base offset and leader epoch are assigned by the log.
bytes::Shared end_transaction_batch(EndTransactionMarker marker, ProducerId id, ProducerEpoch epoch, TimestampMs now,
                                    LeaderEpoch leader_epoch = no_leader_epoch);
// The type of a control record by its key; nothing for types that this version does not know (leader change,
// snapshot headers), which a reader passes over.
Result<std::optional<ControlType>> control_type(const Record& record);
Result<EndTransactionMarker> end_transaction_marker(const Record& record);

}  // namespace weir::record
