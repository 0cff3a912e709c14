#include "log/epochs.h"

#include <algorithm>

namespace weir::log {

bool Epochs::assign(LeaderEpoch epoch, Offset start) {
  if (epoch.value < 0 || start.value < 0) return false;
  if (!entries_.empty() && entries_.back().epoch == epoch && entries_.back().start <= start) return false;
  // An epoch that has begun keeps its start.
  for (const auto& entry : entries_) {
    if (entry.epoch == epoch && entry.start <= start) return false;
  }
  std::erase_if(entries_, [&](const EpochEntry& e) { return e.epoch >= epoch || e.start >= start; });
  entries_.push_back({epoch, start});
  return true;
}

bool Epochs::found(LeaderEpoch epoch, Offset first, Offset last) {
  if (epoch.value < 0 || first.value < 0) return false;
  if (epoch_at(first) == epoch && epoch_at(last) == epoch) return false;
  std::erase_if(entries_, [&](const EpochEntry& e) { return e.epoch > epoch || e.start > first; });
  if (entries_.empty() || entries_.back().epoch != epoch) {
    std::erase_if(entries_, [&](const EpochEntry& e) { return e.start == first; });
    entries_.push_back({epoch, first});
  }
  return true;
}

std::optional<LeaderEpoch> Epochs::latest() const {
  if (entries_.empty()) return std::nullopt;
  return entries_.back().epoch;
}

std::optional<EpochEntry> Epochs::earliest() const {
  if (entries_.empty()) return std::nullopt;
  return entries_.front();
}

std::optional<LeaderEpoch> Epochs::epoch_at(Offset offset) const {
  std::optional<LeaderEpoch> out;
  for (const auto& entry : entries_) {
    if (entry.start <= offset) out = entry.epoch;
  }
  return out;
}

Epochs::End Epochs::end_of(LeaderEpoch epoch, Offset log_end) const {
  if (epoch.value < 0 || entries_.empty()) return {no_leader_epoch, no_offset};
  if (epoch == entries_.back().epoch) return {epoch, log_end};
  const auto higher = std::ranges::find_if(entries_, [&](const EpochEntry& entry) { return entry.epoch > epoch; });
  // Later than all that is known here: nothing can be said.
  if (higher == entries_.end()) return {no_leader_epoch, no_offset};
  // Earlier than all: where the first known one begins is where it ended.
  if (higher == entries_.begin()) return {epoch, higher->start};
  return {std::prev(higher)->epoch, higher->start};
}

bool Epochs::truncate_from_end(Offset end) {
  return std::erase_if(entries_, [&](const EpochEntry& e) { return e.start >= end; }) > 0;
}

bool Epochs::truncate_from_start(Offset start) {
  const auto after = std::ranges::find_if(entries_, [&](const EpochEntry& e) { return e.start > start; });
  if (after == entries_.begin()) return false;
  const auto holder = std::prev(after);
  if (holder == entries_.begin() && holder->start == start) return false;
  const auto epoch = holder->epoch;
  entries_.erase(entries_.begin(), after);
  entries_.insert(entries_.begin(), {epoch, start});
  return true;
}

bool Epochs::clear() {
  const bool had = !entries_.empty();
  entries_.clear();
  return had;
}

}  // namespace weir::log
