#include "log/producer_state.h"

#include <fmt/format.h>

#include <algorithm>

#include "bytes/crc32c.h"
#include "bytes/cursor.h"

namespace weir::log {
namespace {

constexpr std::int16_t snapshot_version = 1;
constexpr std::size_t snapshot_entries_at = 6;  // after version and checksum
constexpr std::size_t snapshot_entry_size = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8;

bool follows(std::int32_t last, std::int32_t next) {
  return next == std::int64_t{last} + 1 || (next == 0 && last == INT32_MAX);
}

// The marker of a control batch; nothing for control batches that hold another kind or none.
std::optional<record::EndTransactionMarker> marker_of(record::BatchView batch) {
  record::RecordIterator records(batch);
  const auto* record = records.next();
  if (record == nullptr) return std::nullopt;
  auto marker = record::end_transaction_marker(*record);
  if (!marker) return std::nullopt;
  return *marker;
}

}  // namespace

std::int32_t ProducerBatch::first_sequence() const {
  if (last_sequence == record::no_sequence) return record::no_sequence;
  const auto first = std::int64_t{last_sequence} - offset_delta;
  return static_cast<std::int32_t>(first < 0 ? first + INT32_MAX + 1 : first);
}

Result<std::optional<ProducerBatch>> ProducerState::check(record::BatchView batch, record::Origin origin) const {
  if (!batch.has_producer_id()) return std::nullopt;
  const auto* known = find(batch.producer_id());
  const auto epoch = batch.producer_epoch();
  const auto id = batch.producer_id().value;

  if (known != nullptr && origin == record::Origin::client && known->epoch == epoch) {
    for (std::uint8_t i = 0; i < known->batch_count; ++i) {
      const auto& b = known->batches[i];
      if (b.first_sequence() == batch.base_sequence() && b.last_sequence == batch.last_sequence()) return b;
    }
  }
  if (known != nullptr && epoch < known->epoch && origin != record::Origin::replication) {
    return fail(ErrorCode::INVALID_PRODUCER_EPOCH,
                fmt::format("producer {} comes with epoch {}, but has had {}", id, epoch.value, known->epoch.value));
  }
  if (batch.control()) {
    const auto marker = marker_of(batch);
    if (marker && known != nullptr && origin != record::Origin::replication &&
        known->coordinator_epoch > marker->coordinator_epoch) {
      return fail(ErrorCode::TRANSACTION_COORDINATOR_FENCED,
                  fmt::format("a marker of coordinator epoch {} for producer {}, after one of {}",
                              marker->coordinator_epoch, id, known->coordinator_epoch));
    }
    return std::nullopt;
  }
  if (known == nullptr) return std::nullopt;  // its records may have been deleted: any sequence begins anew

  if (origin == record::Origin::client) {
    if (known->epoch != epoch) {
      if (batch.base_sequence() != 0 && known->epoch != no_producer_epoch) {
        return fail(
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
            fmt::format("producer {} begins epoch {} with sequence {}, not 0", id, epoch.value, batch.base_sequence()));
      }
    } else {
      const auto last = known->last() == nullptr ? record::no_sequence : known->last()->last_sequence;
      if (!follows(last, batch.base_sequence())) {
        return fail(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
                    fmt::format("producer {} sends sequence {} after {}", id, batch.base_sequence(), last));
      }
    }
  }
  if (known->transaction_start != no_offset && !batch.transactional() && origin != record::Origin::replication) {
    return fail(ErrorCode::INVALID_TXN_STATE, fmt::format("producer {} writes outside of its open transaction", id));
  }
  return std::nullopt;
}

std::optional<CompletedTransaction> ProducerState::update(record::BatchView batch) {
  end_ = std::max(end_, batch.next_offset());
  if (!batch.has_producer_id()) return std::nullopt;
  const auto id = batch.producer_id();
  std::optional<record::EndTransactionMarker> marker;
  if (batch.control()) {
    marker = marker_of(batch);
    if (!marker) return std::nullopt;
  }
  auto& producer = producers_[id];
  if (producer.epoch != batch.producer_epoch()) {
    producer.epoch = batch.producer_epoch();
    producer.batch_count = 0;
  }
  producer.last_timestamp = batch.max_timestamp();

  if (marker) {
    producer.coordinator_epoch = marker->coordinator_epoch;
    if (producer.transaction_start == no_offset) return std::nullopt;
    CompletedTransaction done{id, producer.transaction_start, batch.last_offset(),
                              marker->type == record::ControlType::abort};
    producer.transaction_start = no_offset;
    open_.erase(done.first);
    return done;
  }

  if (producer.batch_count == Producer::batches_max) {
    std::ranges::copy(producer.batches.begin() + 1, producer.batches.end(), producer.batches.begin());
    --producer.batch_count;
  }
  producer.batches[producer.batch_count++] = {.last_sequence = batch.last_sequence(),
                                              .offset_delta = batch.last_offset_delta(),
                                              .last_offset = batch.last_offset(),
                                              .timestamp = batch.max_timestamp()};
  if (batch.transactional() && producer.transaction_start == no_offset) {
    producer.transaction_start = batch.base_offset();
    open_[batch.base_offset()] = id;
  }
  return std::nullopt;
}

std::optional<Offset> ProducerState::first_open_transaction() const {
  if (open_.empty()) return std::nullopt;
  return open_.begin()->first;
}

Offset ProducerState::last_stable_after(const CompletedTransaction& done) const {
  for (const auto& [first, id] : open_) {
    if (id != done.producer) return first;
  }
  return done.last + 1;
}

void ProducerState::remove_expired(TimestampMs now) {
  std::erase_if(producers_, [&](const auto& entry) {
    const auto& producer = entry.second;
    return producer.transaction_start == no_offset && now - producer.last_timestamp >= expiration_ms_;
  });
}

void ProducerState::clear() {
  producers_.clear();
  open_.clear();
}

const Producer* ProducerState::find(ProducerId id) const {
  const auto found = producers_.find(id);
  return found == producers_.end() ? nullptr : &found->second;
}

std::string ProducerState::snapshot() const {
  std::string out(snapshot_entries_at + 4 + snapshot_entry_size * producers_.size(), '\0');
  bytes::Writer w(std::as_writable_bytes(std::span(out)));
  w.i16(snapshot_version);
  w.u32(0);
  w.i32(static_cast<std::int32_t>(producers_.size()));
  for (const auto& [id, producer] : producers_) {
    const auto* last = producer.last();
    w.i64(id.value);
    w.i16(producer.epoch.value);
    w.i32(last == nullptr ? record::no_sequence : last->last_sequence);
    w.i64(last == nullptr ? -1 : last->last_offset.value);
    w.i32(last == nullptr ? 0 : last->offset_delta);
    w.i64(producer.last_timestamp);
    w.i32(producer.coordinator_epoch);
    w.i64(producer.transaction_start.value);
  }
  const auto crc = bytes::crc32c(bytes::as_bytes(out).subspan(snapshot_entries_at));
  bytes::store_big(reinterpret_cast<std::byte*>(out.data()) + 2, crc);
  return out;
}

Result<> ProducerState::load(std::string_view snapshot, TimestampMs now) {
  bytes::Reader in(bytes::as_bytes(snapshot));
  const auto version = in.i16();
  const auto crc = in.u32();
  const auto content = in.rest();
  const auto count = in.i32();
  if (!in.ok() || version != snapshot_version || bytes::crc32c(content) != crc || count < 0 ||
      in.left() != snapshot_entry_size * static_cast<std::size_t>(count)) {
    return fail(ErrorCode::CORRUPT_MESSAGE, "a producer snapshot is broken");
  }
  clear();
  for (std::int32_t i = 0; i < count; ++i) {
    const ProducerId id{in.i64()};
    Producer producer;
    producer.epoch = ProducerEpoch{in.i16()};
    ProducerBatch last;
    last.last_sequence = in.i32();
    last.last_offset = Offset{in.i64()};
    last.offset_delta = in.i32();
    last.timestamp = producer.last_timestamp = in.i64();
    producer.coordinator_epoch = in.i32();
    producer.transaction_start = Offset{in.i64()};
    if (last.last_offset >= Offset{0}) producer.batches[producer.batch_count++] = last;
    if (producer.transaction_start < Offset{0}) {
      producer.transaction_start = no_offset;
      if (now - producer.last_timestamp >= expiration_ms_) continue;
    } else {
      open_[producer.transaction_start] = id;
    }
    producers_[id] = producer;
  }
  return {};
}

}  // namespace weir::log
