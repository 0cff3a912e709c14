// Reading: the part of Log that answers fetches and ListOffsets.
#include <fmt/format.h>

#include <algorithm>

#include "bytes/cursor.h"
#include "log/log.h"

namespace weir::log {
namespace {

constexpr std::size_t aborted_entry_size = 34;

}  // namespace

const Log::Spot* Log::recent(Offset offset) const {
  // Oldest to newest; the first that ends at or after `offset`, when the ring reaches back to it.
  const auto n = recent_.size();
  for (std::size_t i = 0; i < n; ++i) {
    const auto& spot = recent_[(recent_next_ + i) % n];
    if (i == 0 && offset < spot.base) return nullptr;
    if (spot.last >= offset) return &spot;
  }
  return nullptr;
}

Read<std::optional<Log::Place>> Log::locate(Offset offset, ReadMode mode) const {
  if (const auto* spot = recent(offset)) {
    return Place{
        segments_.size() - 1,
        {.base_offset = spot->base, .last_offset = spot->last, .position = spot->position, .size = spot->size}};
  }
  for (auto i = segment_index(offset); i < segments_.size(); ++i) {
    auto batch = segments_[i]->find(cache_, offset, mode);
    if (!batch) return std::unexpected(batch.error());
    if (*batch) return Place{i, **batch};
  }
  return std::nullopt;
}

Read<FileSlice> Log::read(Offset from, std::uint64_t max_bytes, Isolation isolation, bool min_one, ReadMode mode) {
  if (auto fine = usable(); !fine) return std::unexpected(Fault{std::nullopt, fine.error()});
  if (from < log_start_ || from > log_end_) {
    return fault(ErrorCode::OFFSET_OUT_OF_RANGE,
                 fmt::format("{}: offset {} is not within [{}, {}]", directory_name(partition_), from.value,
                             log_start_.value, log_end_.value));
  }
  FileSlice out;
  out.high_watermark = high_watermark_;
  out.last_stable_offset = last_stable_offset();
  out.log_start = log_start_;
  out.log_end = log_end_;
  out.first_batch_offset = from;
  const auto end = bound(isolation);
  if (from >= end) return out;
  auto place = locate(from, mode);
  if (!place) return std::unexpected(place.error());
  if (!*place || (*place)->batch.base_offset >= end) return out;
  const auto& batch = (*place)->batch;
  const auto& segment = *segments_[(*place)->segment];

  // Where the segment's readable part ends: at its end, unless the bound lies inside.
  auto limit = segment.size();
  const bool last = (*place)->segment + 1 == segments_.size();
  if (end < (last ? log_end_ : segments_[(*place)->segment + 1]->base_offset())) {
    auto at = locate(end, mode);
    if (!at) return std::unexpected(at.error());
    if (*at && (*at)->segment == (*place)->segment) limit = (*at)->batch.position;
  }
  const auto readable = limit > batch.position ? limit - batch.position : 0;
  const auto wanted = min_one ? std::max<std::uint64_t>(max_bytes, batch.size) : max_bytes;
  out.first_batch_offset = batch.base_offset;
  out.first_batch_size = batch.size;
  out.first_batch_magic = batch.magic;
  out.position = batch.position;
  out.length = std::min(readable, wanted);
  if (out.length == 0) return out;
  auto file = segment.file(cache_);
  if (!file) return fault(ErrorCode::KAFKA_STORAGE_ERROR, file.error().message);
  out.file = std::move(*file);
  return out;
}

Read<std::vector<AbortedTransaction>> Log::aborted(Offset from, Offset to, ReadMode mode) {
  std::vector<AbortedTransaction> out;
  for (auto i = segment_index(from); i < segments_.size(); ++i) {
    auto file = cache_.get(segments_[i]->path(txn_index_suffix));
    if (!file) continue;  // no transaction was aborted here
    auto size = (*file)->size();
    if (!size) return fault(ErrorCode::KAFKA_STORAGE_ERROR, size.error().message);
    std::vector<std::byte> all(static_cast<std::size_t>(*size - *size % aborted_entry_size));
    auto got = mode == ReadMode::may_block ? (*file)->read_at(0, all) : (*file)->read_cached_at(0, all);
    if (!got) return fault(ErrorCode::KAFKA_STORAGE_ERROR, got.error().message);
    if (*got < all.size()) {
      if (mode == ReadMode::cached_only) return std::unexpected(Fault{Cold{*file, 0, *size}, {}});
      return fault(ErrorCode::KAFKA_STORAGE_ERROR, "a transaction index is shorter than it was");
    }
    bytes::Reader in(all);
    while (!in.done()) {
      in.i16();
      const ProducerId producer{in.i64()};
      const Offset first{in.i64()};
      const Offset last{in.i64()};
      const Offset last_stable{in.i64()};
      if (last >= from && first < to) out.push_back({producer, first});
      if (last_stable >= to) return out;
    }
  }
  return out;
}

Read<TimestampOffset> Log::first_record_at(std::size_t segment, const BatchInfo& batch, TimestampMs timestamp,
                                           Offset from, ReadMode mode) const {
  TimestampOffset out;
  if (batch.magic < 2) return TimestampOffset{batch.base_offset, batch.max_timestamp, no_leader_epoch};
  auto whole = segments_[segment]->read_batch(cache_, batch, mode);
  if (!whole) return std::unexpected(whole.error());
  record::RecordIterator records((record::BatchView(whole->view())));
  while (const auto* record = records.next()) {
    if (record->timestamp >= timestamp && record->offset >= from) {
      return TimestampOffset{record->offset, record->timestamp, batch.leader_epoch};
    }
  }
  if (records.failed()) return fault(records.failed()->code, records.failed()->message);
  return out;
}

Read<TimestampOffset> Log::offset_for_timestamp(TimestampMs timestamp, Isolation isolation, ReadMode mode) {
  if (auto fine = usable(); !fine) return std::unexpected(Fault{std::nullopt, fine.error()});
  const auto end = bound(isolation);
  if (timestamp == earliest_timestamp || timestamp == earliest_local_timestamp) {
    return TimestampOffset{log_start_, no_timestamp, epochs_.epoch_at(log_start_).value_or(no_leader_epoch)};
  }
  if (timestamp == latest_timestamp) {
    return TimestampOffset{end, no_timestamp, epochs_.latest().value_or(no_leader_epoch)};
  }
  if (timestamp == largest_timestamp) {
    timestamp = no_timestamp;
    for (const auto& segment : segments_) timestamp = std::max(timestamp, segment->max_timestamp());
    if (timestamp < 0) return TimestampOffset{};
  }
  if (timestamp < 0) return TimestampOffset{};
  for (std::size_t i = segment_index(log_start_); i < segments_.size(); ++i) {
    if (segments_[i]->max_timestamp() < timestamp) continue;
    auto from = log_start_;
    while (true) {
      auto batch = segments_[i]->find_timestamp(cache_, timestamp, from, mode);
      if (!batch) return std::unexpected(batch.error());
      if (!*batch) break;
      auto found = first_record_at(i, **batch, timestamp, log_start_, mode);
      if (!found) return found;
      if (found->offset != no_offset) return found->offset < end ? *found : TimestampOffset{};
      from = (*batch)->last_offset + 1;  // its header promised more than its records hold
    }
  }
  return TimestampOffset{};
}

}  // namespace weir::log
