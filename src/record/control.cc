#include "record/control.h"

#include <array>

#include "bytes/cursor.h"
#include "record/builder.h"

namespace weir::record {

bytes::Shared end_transaction_batch(EndTransactionMarker marker, ProducerId id, ProducerEpoch epoch, TimestampMs now,
                                    LeaderEpoch leader_epoch) {
  std::array<std::byte, 4> key{};
  bytes::Writer k(key);
  k.i16(0);  // version
  k.i16(static_cast<std::int16_t>(marker.type));
  std::array<std::byte, 6> value{};
  bytes::Writer v(value);
  v.i16(0);  // version
  v.i32(marker.coordinator_epoch);
  const NewRecord record{.timestamp = now, .key = Bytes(key), .value = Bytes(value), .headers = {}};
  return batch_of(std::span(&record, 1), {.leader_epoch = leader_epoch,
                                          .producer_id = id,
                                          .producer_epoch = epoch,
                                          .transactional = true,
                                          .control = true});
}

Result<std::optional<ControlType>> control_type(const Record& record) {
  if (!record.key) return fail(ErrorCode::INVALID_RECORD, "a control record has no key");
  bytes::Reader in(*record.key);
  const auto version = in.i16();
  const auto type = in.i16();
  if (!in.ok() || version < 0) return fail(ErrorCode::INVALID_RECORD, "the key of a control record is broken");
  if (type == 0) return ControlType::abort;
  if (type == 1) return ControlType::commit;
  return std::nullopt;
}

Result<EndTransactionMarker> end_transaction_marker(const Record& record) {
  auto type = control_type(record);
  if (!type) return std::unexpected(type.error());
  if (!*type) return fail(ErrorCode::INVALID_RECORD, "a control record that ends no transaction");
  if (!record.value) return fail(ErrorCode::INVALID_RECORD, "a control record has no value");
  bytes::Reader in(*record.value);
  const auto version = in.i16();
  const auto epoch = in.i32();
  if (!in.ok() || version < 0) return fail(ErrorCode::INVALID_RECORD, "the value of a control record is broken");
  return EndTransactionMarker{**type, epoch};
}

}  // namespace weir::record
