// Walking over the records of a batch without keeping them: what validation needs to know, as fast as it goes.
#pragma once

#include <cstdint>
#include <expected>

#include "base/error.h"
#include "record/batch.h"
#include "record/validate.h"

namespace weir::record {

struct Walked {
  TimestampMs max_timestamp = no_timestamp;  // of the records, whatever the header says
  bool consecutive = true;                   // the offset deltas are 0, 1, 2, ...
};

// What every record is held against.
struct RecordRules {
  bool keys_needed = false;
  bool timestamps_checked = false;  // those that are not -1 lie within [first, last]
  TimestampMs timestamp_first = 0;
  TimestampMs timestamp_last = 0;
  bool refuse_append_time = false;  // the batch says LogAppendTime, which is not a producer's to say
};

// All records of a whole batch. INVALID_RECORD and INVALID_TIMESTAMP with the records that broke a rule;
// INVALID_RECORD for records that do not add up, counts and lengths that lie; UNSUPPORTED_COMPRESSION_TYPE;
// MESSAGE_TOO_LARGE when it unpacks to more than `unpacked_bytes_max`.
std::expected<Walked, Rejection> walk(BatchView batch, const RecordRules& rules, std::uint64_t unpacked_bytes_max);

}  // namespace weir::record
