#include "coordinator/batches.h"

#include <vector>

#include "base/log.h"
#include "bytes/cursor.h"
#include "record/batch.h"
#include "record/builder.h"
#include "record/control.h"
#include "record/legacy.h"

namespace weir::coordinator {
namespace {

// Of old message sets: what one may unpack to. __consumer_offsets of a modern cluster has none.
constexpr std::uint64_t unpacked_bytes_max = 64 * MiB;

// False: stop.
bool each_of(record::BatchView batch, const std::function<bool(const LoadedRecord&)>& each) {
  record::RecordIterator records(batch);
  LoadedRecord loaded;
  loaded.transactional = batch.transactional();
  loaded.producer_id = batch.producer_id().value;
  while (const auto* r = records.next()) {
    if (batch.control()) {
      const auto type = record::control_type(*r);
      if (!type || !*type) continue;
      loaded.kind =
          **type == record::ControlType::commit ? LoadedRecord::Kind::commit_marker : LoadedRecord::Kind::abort_marker;
    } else {
      loaded.key = r->key;
      loaded.value = r->value;
    }
    if (!each(loaded)) return false;
  }
  if (records.failed()) {
    WEIR_LOG_LIMITED(warn, seconds(10), "left out a batch of __consumer_offsets at offset {}: {}",
                     batch.base_offset().value, records.failed()->message);
  }
  return true;
}

}  // namespace

bytes::Shared batch_of(const Append& append) {
  std::vector<record::NewRecord> records;
  records.reserve(append.records.size());
  for (const auto& r : append.records) {
    record::NewRecord made;
    made.timestamp = append.timestamp;
    made.key = r.key.view();
    if (r.value) made.value = r.value->view();
    records.push_back(made);
  }
  return record::batch_of(records);
}

Result<std::optional<Offset>> each_record(bytes::Bytes batches, const std::function<bool(const LoadedRecord&)>& each) {
  std::optional<Offset> next;
  for (;;) {
    const auto frame = record::next_frame(batches);
    if (!frame) return std::unexpected(frame.error());
    if (!*frame) return next;
    const auto bytes = (*frame)->batch;
    batches = batches.subspan(bytes.size());
    if ((*frame)->magic == 2) {
      const record::BatchView batch(bytes);
      next = batch.next_offset();
      if (!each_of(batch, each)) return next;
      continue;
    }
    // The offset of an old message, or of the last one in a compressed wrapper.
    next = Offset{bytes::load_big<std::int64_t>(bytes.data())} + 1;
    const auto converted = record::convert_up(bytes, {}, unpacked_bytes_max);
    if (!converted) {
      WEIR_LOG_LIMITED(warn, seconds(10), "left out old messages of __consumer_offsets before offset {}: {}",
                       next->value, converted.error().message);
      continue;
    }
    if (!each_of(record::BatchView(converted->view()), each)) return next;
  }
}

}  // namespace weir::coordinator
