// Record batches of all formats: validated as a leader does it, walked, unpacked, rebuilt, taken from a leader.
//
// The first byte chooses how (its lowest bit: checksums are put right first, so that what lies behind them is
// reached), the second the topic's codec.
#include "bytes/crc32c.h"
#include "fuzz/fuzz.h"
#include "record/batch.h"
#include "record/builder.h"
#include "record/control.h"
#include "record/legacy.h"
#include "record/validate.h"

namespace weir::fuzz {
namespace {

using namespace record;

constexpr std::uint64_t unpacked_max = 4 * MiB;
constexpr std::uint8_t put_right = 1;
constexpr std::uint8_t compacted = 2;
constexpr std::uint8_t append_time = 4;
constexpr std::uint8_t recompressed = 8;

void repair(bytes::MutableBytes all) {
  while (all.size() >= header_size) {
    const BatchView batch(all);
    if (batch.magic() != 2 || batch.length() < static_cast<std::int32_t>(header_size - log_overhead)) return;
    if (batch.size() > all.size()) return;
    bytes::store_big(all.data() + crc_at, bytes::crc32c(all.subspan(attributes_at, batch.size() - attributes_at)));
    all = all.subspan(batch.size());
  }
}

void read_all(bytes::Bytes records) {
  Batches batches(records);
  while (auto batch = batches.next()) {
    (void)batch->crc_matches();
    (void)batch->last_sequence();
    RecordIterator it(*batch, unpacked_max);
    std::uint64_t read = 0;
    while (const auto* record = it.next()) {
      (void)record->headers.list();
      if (batch->control()) (void)end_transaction_marker(*record);
      read += 1 + (record->value ? record->value->size() : 0);
      if (read > unpacked_max) break;  // a stream without end is somebody else's to bound: validate's
    }
  }
}

void check(std::uint8_t how, std::uint8_t codec, bytes::Bytes records) {
  ValidateOptions options;
  options.first_offset = Offset{1000};
  options.now = 1'700'000'000'000;
  options.compacted = (how & compacted) != 0;
  if ((how & append_time) != 0) options.timestamp_type = TimestampType::log_append_time;
  if ((how & recompressed) != 0) options.compression = static_cast<Compression>(codec % 5);
  options.unpacked_bytes_max = unpacked_max;
  const auto validated = validate(bytes::Shared::copy(records), options);
  if (!validated) {
    WEIR_CHECK(validated.error().error.code != ErrorCode::NONE, "a refusal says why");
    return;
  }
  WEIR_CHECK(validated->first_offset == options.first_offset, "offsets begin where the log ends");
  WEIR_CHECK(validated->last_offset - validated->first_offset + 1 == validated->count, "and have no gaps");
  const auto again = check_replicated(validated->records);
  WEIR_CHECK(again && *again, "what a leader takes, a follower takes");
  WEIR_CHECK((*again)->last_offset == validated->last_offset, "to its end");
  std::int64_t count = 0;
  Batches batches(validated->records.view());
  while (auto batch = batches.next()) {
    RecordIterator it(*batch);
    while (const auto* record = it.next()) {
      WEIR_CHECK(record->offset == validated->first_offset + count, "each record has its offset");
      ++count;
    }
    WEIR_CHECK(!it.failed(), "what was validated can be read");
  }
  WEIR_CHECK(count == validated->count, "all of them are there");
}

}  // namespace

void run(bytes::Bytes input) {
  const auto how = choice(input);
  const auto codec = choice(input);
  auto text = own(input);
  if ((how & put_right) != 0) repair(std::as_writable_bytes(std::span(text)));
  const auto records = bytes::as_bytes(text);
  for (const std::int16_t version : {2, 3, 7, 11}) (void)check_produce(records, version);
  read_all(records);
  check(how, codec, records);
  (void)check_replicated(bytes::Shared::copy(records));
  (void)first_magic(records);
  (void)convert_up(records, {}, unpacked_max);
  (void)convert_down(records, static_cast<std::int8_t>(codec & 1), Offset{0});
  for (const auto each : {Compression::gzip, Compression::snappy, Compression::lz4, Compression::zstd}) {
    (void)decompress(each, records, unpacked_max);
  }
}

std::vector<std::string> seeds() {
  std::vector<std::string> out;
  const Header headers[] = {{"h", bytes::as_bytes("1")}, {"i", std::nullopt}};
  for (const auto codec :
       {Compression::none, Compression::gzip, Compression::snappy, Compression::lz4, Compression::zstd}) {
    BatchOptions options{.compression = codec};
    if (codec == Compression::gzip) options.producer_id = ProducerId{7};
    if (codec == Compression::gzip) options.producer_epoch = ProducerEpoch{1};
    if (codec == Compression::gzip) options.base_sequence = 3;
    Builder builder(options);
    for (int i = 0; i < 4; ++i) {
      builder.append({.timestamp = 1'700'000'000'000 + i,
                      .key = i % 2 == 0 ? std::optional(bytes::as_bytes("key")) : std::nullopt,
                      .value = bytes::as_bytes("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
                      .headers = headers});
    }
    const auto batch = *builder.build();
    for (const std::uint8_t how :
         {put_right, std::uint8_t{put_right | append_time}, std::uint8_t{put_right | recompressed}}) {
      out.push_back(seed(how, seed(3, batch.text())));
    }
    for (const std::int8_t magic : {0, 1}) {
      const auto old = convert_down(batch.view(), magic, Offset{0});
      if (old) out.push_back(seed(recompressed, seed(4, old->text())));
    }
    if (codec != Compression::none) {
      out.push_back(seed(0, seed(0, compress(codec, bytes::as_bytes("some text, some text, some text"))->text())));
    }
  }
  out.push_back(seed(put_right, seed(0, end_transaction_batch({}, ProducerId{1}, ProducerEpoch{0}, 1).text())));
  return out;
}

}  // namespace weir::fuzz
