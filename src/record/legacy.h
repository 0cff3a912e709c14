// The message sets before magic 2 (magic 0 without, magic 1 with timestamps, KIP-32), for clients that speak old
// versions of Produce and Fetch: converted up when they arrive and down when they leave.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "record/batch.h"
#include "record/builder.h"

namespace weir::record {

// The magic of the first message or batch; nothing when the buffer does not even hold that much.
std::optional<std::int8_t> first_magic(Bytes records);

// A message set of magic 0 or 1, wrapped compressed messages included, as one batch of magic 2 (offsets from
// options.base_offset; compression: `compression`, or that of the messages). Checks every message's CRC-32.
// CORRUPT_MESSAGE, INVALID_RECORD; MESSAGE_TOO_LARGE for a message over `message_bytes_max` or a set that unpacks to
// more than `unpacked_bytes_max`.
Result<bytes::Shared> convert_up(Bytes message_set, BatchOptions options, std::uint64_t unpacked_bytes_max,
                                 std::int32_t message_bytes_max = INT32_MAX,
                                 std::optional<Compression> compression = std::nullopt);

// Batches of magic 2 as a message set of magic `to_magic` (0 or 1) for a reader that wants records from `from` on:
// control batches and records before `from` are left out, headers are dropped. A cut-off batch at the end is left
// out. The compression of each batch is kept (zstd, which old clients do not know, is UNSUPPORTED_COMPRESSION_TYPE).
Result<bytes::Shared> convert_down(Bytes batches, std::int8_t to_magic, Offset from);

}  // namespace weir::record
