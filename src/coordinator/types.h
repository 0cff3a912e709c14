// What goes in and out of the coordinators: time, records, appends, answers.
//
// The coordinators are pure. The caller gives the time with each call and carries out the Effects it gets back:
// it writes every Append to its partition, in order, and reports each one's end (committed or failed); it sends
// every Reply at once: a reply that must wait for an append is kept inside until the append's end is reported.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/id.h"
#include "base/units.h"
#include "bytes/shared.h"

namespace weir::coordinator {

struct Now {
  nanoseconds mono{};    // for timeouts; never goes back
  TimestampMs wall = 0;  // for timestamps in records
};

// Names a request that waits for its answer. Chosen by the caller; opaque here; each gets exactly one answer.
using Token = std::uint64_t;

// Names an append; grows with each of a partition, and is not used again after the partition was loaded anew.
using AppendId = std::uint64_t;

// A record to be written; without a value it is a tombstone.
struct Record {
  bytes::Shared key;
  std::optional<bytes::Shared> value;
};

// Records to be written as one batch (all or none), with required acks "all". The partition is that of the machine
// which made it, in the epoch it was elected in (CoordinatorRuntime fills both in).
struct Append {
  std::int32_t partition = -1;
  LeaderEpoch epoch = no_leader_epoch;
  AppendId id = 0;
  TimestampMs timestamp = no_timestamp;
  std::vector<Record> records;
};

// A record as it is read back when a partition is loaded. The views are only used during the call.
struct LoadedRecord {
  enum class Kind : std::uint8_t { data, commit_marker, abort_marker };
  Kind kind = Kind::data;
  bool transactional = false;
  std::int64_t producer_id = -1;  // of its batch
  std::optional<bytes::Bytes> key;
  std::optional<bytes::Bytes> value;
};

}  // namespace weir::coordinator
