// The leader epochs of a log: which epoch began at which offset (KIP-101, KIP-279). Pure; the log writes it to
// leader-epoch-checkpoint when it changed.
#pragma once

#include <optional>
#include <vector>

#include "log/checkpoint.h"

namespace weir::log {

class Epochs {
 public:
  Epochs() = default;
  explicit Epochs(std::vector<EpochEntry> entries) : entries_(std::move(entries)) {}

  // `epoch` begins at `start`. Entries that contradict it (a later epoch, or the same offset or later) go away.
  // True when something changed.
  bool assign(LeaderEpoch epoch, Offset start);

  // A batch of `epoch` with these offsets is in the log, as a scan in their order tells: what contradicts it goes away,
  // and where no entry says so, `epoch` begins at `first`. True when something changed.
  bool found(LeaderEpoch epoch, Offset first, Offset last);

  std::optional<LeaderEpoch> latest() const;
  std::optional<EpochEntry> earliest() const;
  // The epoch a record at `offset` was written in.
  std::optional<LeaderEpoch> epoch_at(Offset offset) const;

  struct End {
    LeaderEpoch epoch;
    Offset end;
  };
  // The largest epoch not after `epoch`, and where it ended; (-1, -1) when that is not known. `log_end` ends the
  // latest one. This is what OffsetForLeaderEpoch answers.
  End end_of(LeaderEpoch epoch, Offset log_end) const;

  // Drops what begins at `end` or after. True when something changed.
  bool truncate_from_end(Offset end);
  // Drops what ended before `start`; the one that holds it begins there now.
  bool truncate_from_start(Offset start);
  bool clear();

  const std::vector<EpochEntry>& entries() const { return entries_; }

 private:
  std::vector<EpochEntry> entries_;  // epoch and start both ascending
};

}  // namespace weir::log
