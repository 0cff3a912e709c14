// What a log knows of idempotent producers (KIP-98, KIP-360): for each its epoch, its last batches and its open
// transaction. Pure; the log writes it as `.snapshot` files in Kafka's format (version 1).
//
// The check comes before the append and the update after it, so that a failed write leaves no trace:
//   auto verdict = producers.check(batch, origin);       // duplicate, error, or go on
//   ... assign offsets, write ...
//   producers.update(batch);
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "base/units.h"
#include "record/batch.h"
#include "record/control.h"
#include "record/validate.h"

namespace weir::log {

// One of the batches that a producer wrote last.
struct ProducerBatch {
  std::int32_t last_sequence = record::no_sequence;
  std::int32_t offset_delta = 0;  // last offset minus first, and so of the sequences
  Offset last_offset = no_offset;
  TimestampMs timestamp = no_timestamp;

  std::int32_t first_sequence() const;
  Offset first_offset() const { return last_offset - offset_delta; }
};

struct Producer {
  ProducerEpoch epoch = no_producer_epoch;
  std::int32_t coordinator_epoch = -1;
  TimestampMs last_timestamp = no_timestamp;
  Offset transaction_start = no_offset;  // -1: none is open
  static constexpr std::size_t batches_max = 5;
  std::uint8_t batch_count = 0;
  std::array<ProducerBatch, batches_max> batches{};  // oldest first

  const ProducerBatch* last() const { return batch_count == 0 ? nullptr : &batches[batch_count - 1]; }
};

// A transaction that a marker ended.
struct CompletedTransaction {
  ProducerId producer;
  Offset first;
  Offset last;  // of the marker
  bool aborted = false;
};

class ProducerState {
 public:
  explicit ProducerState(std::int64_t expiration_ms) : expiration_ms_(expiration_ms) {}

  // nullopt: append it. A ProducerBatch: it is in the log already, answer with its offsets. Errors:
  // OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE, TRANSACTION_COORDINATOR_FENCED.
  // Batches without a producer id are always appended.
  Result<std::optional<ProducerBatch>> check(record::BatchView batch, record::Origin origin) const;
  // The batch is in the log, with its final offsets.
  std::optional<CompletedTransaction> update(record::BatchView batch);
  // Offsets below this are in the state.
  Offset end() const { return end_; }
  void set_end(Offset end) { end_ = end; }

  // The start of the oldest open transaction: records from here on are not stable.
  std::optional<Offset> first_open_transaction() const;
  // Where the last stable offset would be once `done` is complete: what an aborted transaction's index entry keeps.
  Offset last_stable_after(const CompletedTransaction& done) const;

  void remove_expired(TimestampMs now);
  void clear();

  const Producer* find(ProducerId id) const;
  std::size_t size() const { return producers_.size(); }
  const std::map<ProducerId, Producer>& all() const { return producers_; }
  void set_expiration(std::int64_t ms) { expiration_ms_ = ms; }

  // A snapshot file's content, and back. Expired producers are left out by load. CORRUPT_MESSAGE for a snapshot
  // that is not one.
  std::string snapshot() const;
  Result<> load(std::string_view snapshot, TimestampMs now);

 private:
  std::int64_t expiration_ms_;
  Offset end_{0};
  std::map<ProducerId, Producer> producers_;
  std::map<Offset, ProducerId> open_;  // transactions by their first offset
};

}  // namespace weir::log
