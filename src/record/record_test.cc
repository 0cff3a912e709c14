#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "bytes/crc32c.h"
#include "record/builder.h"
#include "record/control.h"
#include "record/java_batches.h"
#include "record/legacy.h"
#include "record/validate.h"
#include "record/walk.h"

namespace weir::record {
namespace {

using bytes::as_bytes;
using bytes::as_text;
using bytes::Shared;

Shared unhex(std::string_view hex) {
  auto out = Shared::allocate(hex.size() / 2);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out.mutable_view()[i] = static_cast<std::byte>(std::stoi(std::string(hex.substr(2 * i, 2)), nullptr, 16));
  }
  return out;
}

Shared simple(int count, BatchOptions options = {}, std::string_view key = "key") {
  Builder builder(options);
  for (int i = 0; i < count; ++i) {
    const auto value = "value-" + std::to_string(i);
    builder.append({.timestamp = 1000 + i, .key = as_bytes(key), .value = as_bytes(value), .headers = {}});
  }
  return *builder.build();
}

std::vector<std::string> values(Bytes buffer) {
  std::vector<std::string> out;
  Batches batches(buffer);
  while (auto batch = batches.next()) {
    RecordIterator records(*batch);
    while (const auto* record = records.next()) out.emplace_back(record->value ? as_text(*record->value) : "<null>");
    EXPECT_FALSE(records.failed()) << records.failed()->message;
  }
  EXPECT_FALSE(batches.failed());
  return out;
}

ErrorCode refused(Shared records, const ValidateOptions& options = {}) {
  auto made = validate(std::move(records), options);
  return made ? ErrorCode::NONE : made.error().error.code;
}

// A copy with the integer at `position` replaced and the checksum made right again.
template <class Int>
Shared patched(const Shared& batch, std::size_t position, Int value) {
  auto copy = Shared::copy(batch.view());
  bytes::store_big(copy.mutable_view().data() + position, value);
  bytes::store_big(copy.mutable_view().data() + crc_at, bytes::crc32c(copy.view().subspan(attributes_at)));
  return copy;
}

void expect_java_records(BatchView batch, bool headers) {
  RecordIterator records(batch);
  const auto* r = records.next();
  ASSERT_NE(r, nullptr);
  EXPECT_EQ(r->offset, Offset{42});
  EXPECT_EQ(r->timestamp, 1700000000000);
  EXPECT_EQ(as_text(*r->key), "k0");
  EXPECT_EQ(as_text(*r->value), "v0");
  if (headers) {
    const auto list = r->headers.list();
    ASSERT_EQ(list.size(), 2U);
    EXPECT_EQ(list[0].key, "h1");
    EXPECT_EQ(as_text(*list[0].value), "v1");
    EXPECT_EQ(list[1].key, "h2");
    EXPECT_FALSE(list[1].value.has_value());
  }
  r = records.next();
  ASSERT_NE(r, nullptr);
  EXPECT_FALSE(r->key.has_value());
  EXPECT_EQ(as_text(*r->value), std::string(300, 'x'));
  r = records.next();
  ASSERT_NE(r, nullptr);
  EXPECT_EQ(r->offset, Offset{44});
  EXPECT_EQ(r->timestamp, 1699999999999);
  EXPECT_FALSE(r->value.has_value());
  EXPECT_EQ(records.next(), nullptr);
  EXPECT_FALSE(records.failed());
}

class JavaBatch : public testing::TestWithParam<std::pair<Compression, std::string_view>> {};

TEST_P(JavaBatch, IsReadAndValidated) {
  const auto [codec, hex] = GetParam();
  auto data = unhex(hex);
  Batches batches(data.view());
  auto batch = batches.next();
  ASSERT_TRUE(batch);
  EXPECT_TRUE(batch->crc_matches());
  EXPECT_EQ(batch->compression(), codec);
  EXPECT_EQ(batch->producer_id(), ProducerId{9000});
  EXPECT_EQ(batch->producer_epoch(), ProducerEpoch{3});
  EXPECT_EQ(batch->base_sequence(), INT32_MAX - 1);
  EXPECT_EQ(batch->last_sequence(), 0);  // it wraps
  EXPECT_EQ(batch->leader_epoch(), LeaderEpoch{7});
  EXPECT_EQ(batch->max_timestamp(), 1700000000005);
  expect_java_records(*batch, true);
  EXPECT_FALSE(batches.next());

  set_base_offset(data.mutable_view(), Offset{0});
  auto made = validate(data, {.first_offset = Offset{42}, .leader_epoch = LeaderEpoch{8}});
  ASSERT_TRUE(made) << made.error().error.message;
  EXPECT_FALSE(made->rewritten);
  EXPECT_EQ(made->records.data(), data.data());
  EXPECT_EQ(made->last_offset, Offset{44});
  EXPECT_EQ(made->max_timestamp, 1700000000005);
  EXPECT_EQ(made->count, 3);
  EXPECT_TRUE(BatchView(made->records.view()).crc_matches());
}

// What we pack, we (and so the same libraries elsewhere) unpack; what the topic asks for comes out.
TEST_P(JavaBatch, IsRecompressedWhenTheTopicAsks) {
  const auto [codec, hex] = GetParam();
  for (auto target : {Compression::none, Compression::gzip, Compression::snappy, Compression::lz4, Compression::zstd}) {
    auto data = unhex(hex);
    set_base_offset(data.mutable_view(), Offset{0});
    auto made = validate(data, {.first_offset = Offset{42}, .leader_epoch = LeaderEpoch{8}, .compression = target});
    ASSERT_TRUE(made) << made.error().error.message;
    EXPECT_EQ(made->rewritten, target != codec);
    BatchView batch(made->records.view());
    EXPECT_EQ(batch.compression(), target);
    EXPECT_EQ(batch.producer_id(), ProducerId{9000});
    EXPECT_EQ(batch.base_sequence(), INT32_MAX - 1);
    EXPECT_EQ(batch.max_timestamp(), 1700000000005);
    EXPECT_TRUE(batch.crc_matches());
    expect_java_records(batch, true);
  }
}

INSTANTIATE_TEST_SUITE_P(Codecs, JavaBatch,
                         testing::Values(std::pair{Compression::none, java::v2_none},
                                         std::pair{Compression::gzip, java::v2_gzip},
                                         std::pair{Compression::snappy, java::v2_snappy},
                                         std::pair{Compression::lz4, java::v2_lz4},
                                         std::pair{Compression::zstd, java::v2_zstd}),
                         [](const auto& info) { return std::string(name(info.param.first)); });

TEST(Builder, WritesTheBytesThatJavaWrites) {
  const std::vector<Header> headers = {{"h1", as_bytes("v1")}, {"h2", std::nullopt}};
  const std::string big(300, 'x');
  Builder builder({.base_offset = Offset{42},
                   .leader_epoch = LeaderEpoch{7},
                   .producer_id = ProducerId{9000},
                   .producer_epoch = ProducerEpoch{3},
                   .base_sequence = INT32_MAX - 1});
  builder.append({.timestamp = 1700000000000, .key = as_bytes("k0"), .value = as_bytes("v0"), .headers = headers});
  builder.append({.timestamp = 1700000000005, .key = std::nullopt, .value = as_bytes(big), .headers = {}});
  builder.append({.timestamp = 1699999999999, .key = as_bytes("k2"), .value = std::nullopt, .headers = {}});
  EXPECT_EQ(builder.build()->text(), unhex(java::v2_none).text());
}

TEST(Control, MarkerIsTheOneThatJavaWrites) {
  auto batch = end_transaction_batch({ControlType::commit, 12}, ProducerId{9000}, ProducerEpoch{3}, 1700000000000,
                                     LeaderEpoch{7});
  set_base_offset(batch.mutable_view(), Offset{5});
  EXPECT_EQ(batch.text(), unhex(java::end_transaction_commit).text());
  RecordIterator records((BatchView(batch.view())));
  const auto* record = records.next();
  ASSERT_NE(record, nullptr);
  auto marker = end_transaction_marker(*record);
  ASSERT_TRUE(marker);
  EXPECT_EQ(marker->type, ControlType::commit);
  EXPECT_EQ(marker->coordinator_epoch, 12);
}

TEST(Compression, RoundTripsAnySize) {
  std::mt19937 random(7);  // NOLINT: the same data each time
  for (std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{1000}, std::size_t{32 * 1024}, std::size_t{300'000}}) {
    std::string data(size, 'a');
    for (std::size_t i = 0; i < size; i += 3) data[i] = static_cast<char>(random());
    for (auto codec :
         {Compression::none, Compression::gzip, Compression::snappy, Compression::lz4, Compression::zstd}) {
      auto packed = compress(codec, as_bytes(data));
      ASSERT_TRUE(packed);
      auto unpacked = decompress(codec, packed->view(), size);
      ASSERT_TRUE(unpacked) << name(codec) << " " << size << unpacked.error().message;
      EXPECT_EQ(unpacked->text(), data);
      if (size > 0) EXPECT_FALSE(decompress(codec, packed->view(), size - 1));
      if (size > 1 && codec != Compression::none) {
        EXPECT_FALSE(decompress(codec, packed->view().first(packed->size() / 2), size)) << name(codec);
      }
    }
  }
}

TEST(Compression, RawSnappyWithoutAStreamIsRead) {
  // "abcabcabcabc" as one raw block: length 12, literal abc, copy of 9 bytes at distance 3.
  auto raw = unhex("0c086162631503");
  auto unpacked = decompress(Compression::snappy, raw.view(), 100);
  ASSERT_TRUE(unpacked) << unpacked.error().message;
  EXPECT_EQ(unpacked->text(), "abcabcabcabc");
}

TEST(Compression, NamesAreThoseOfTheConfiguration) {
  EXPECT_EQ(parse_compression("zstd"), Compression::zstd);
  EXPECT_EQ(parse_compression("uncompressed"), Compression::none);
  EXPECT_EQ(parse_compression("producer"), std::nullopt);
  EXPECT_EQ(decompressor(static_cast<Compression>(6), {}).error().code, ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
}

TEST(Validate, AssignsInPlaceWithoutTouchingTheChecksum) {
  auto batch = simple(10);
  const auto crc = BatchView(batch.view()).crc();
  auto made = validate(batch, {.first_offset = Offset{100}, .leader_epoch = LeaderEpoch{5}});
  ASSERT_TRUE(made);
  BatchView view(made->records.view());
  EXPECT_EQ(view.base_offset(), Offset{100});
  EXPECT_EQ(view.last_offset(), Offset{109});
  EXPECT_EQ(view.leader_epoch(), LeaderEpoch{5});
  EXPECT_EQ(view.crc(), crc);
  EXPECT_TRUE(view.crc_matches());
  EXPECT_EQ(made->max_timestamp, 1009);
}

TEST(Validate, LogAppendTimeIsSetAndSealed) {
  auto made = validate(simple(3), {.now = 77'000, .timestamp_type = TimestampType::log_append_time});
  ASSERT_TRUE(made);
  BatchView view(made->records.view());
  EXPECT_EQ(view.timestamp_type(), TimestampType::log_append_time);
  EXPECT_EQ(view.max_timestamp(), 77'000);
  EXPECT_TRUE(view.crc_matches());
  RecordIterator records(view);
  EXPECT_EQ(records.next()->timestamp, 77'000);
  // A producer must not say so itself.
  EXPECT_EQ(refused(simple(3, {.timestamp_type = TimestampType::log_append_time, .log_append_time = 5}),
                    {.timestamp_type = TimestampType::log_append_time}),
            ErrorCode::INVALID_TIMESTAMP);
}

TEST(Validate, AMaxTimestampThatLiesIsMended) {
  auto made = validate(patched(simple(3), max_timestamp_at, std::int64_t{99'999'999}), {});
  ASSERT_TRUE(made);
  EXPECT_EQ(BatchView(made->records.view()).max_timestamp(), 1002);
  EXPECT_TRUE(BatchView(made->records.view()).crc_matches());
}

TEST(Validate, ABatchThatIsDamagedAnywhereIsRefused) {
  const auto good = simple(3);
  for (std::size_t bit = 8 * magic_at; bit < 8 * good.size(); ++bit) {
    auto copy = Shared::copy(good.view());
    copy.mutable_view()[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    EXPECT_NE(refused(copy), ErrorCode::NONE) << bit;
  }
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_NE(refused(Shared::copy(good.view().first(size))), ErrorCode::NONE) << size;
  }
}

TEST(Validate, HeadersThatLieAreRefused) {
  const auto good = simple(3);
  EXPECT_EQ(refused(good), ErrorCode::NONE);
  EXPECT_EQ(refused(patched(good, base_offset_at, std::int64_t{1})), ErrorCode::INVALID_RECORD);
  EXPECT_EQ(refused(patched(good, length_at, std::int32_t{13})), ErrorCode::CORRUPT_MESSAGE);
  EXPECT_EQ(refused(patched(good, length_at, std::int32_t{-1})), ErrorCode::CORRUPT_MESSAGE);
  EXPECT_EQ(refused(patched(good, length_at, std::int32_t{20})), ErrorCode::CORRUPT_MESSAGE);
  EXPECT_EQ(refused(patched(good, length_at, INT32_MAX)), ErrorCode::CORRUPT_MESSAGE);
  EXPECT_EQ(refused(patched(good, magic_at, std::int8_t{3})), ErrorCode::CORRUPT_MESSAGE);
  EXPECT_EQ(refused(patched(good, magic_at, std::int8_t{-1})), ErrorCode::CORRUPT_MESSAGE);
  auto wrong_crc = Shared::copy(good.view());
  wrong_crc.mutable_view()[crc_at] ^= std::byte{1};
  EXPECT_EQ(refused(wrong_crc), ErrorCode::CORRUPT_MESSAGE);
  EXPECT_EQ(refused(patched(good, attributes_at, std::int16_t{5})), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
  EXPECT_EQ(refused(patched(good, attributes_at, std::int16_t{control_bit})), ErrorCode::INVALID_RECORD);
  EXPECT_EQ(refused(patched(good, attributes_at, std::int16_t{timestamp_type_bit}),
                    {.timestamp_type = TimestampType::log_append_time}),
            ErrorCode::INVALID_TIMESTAMP);
  EXPECT_EQ(refused(patched(good, last_offset_delta_at, std::int32_t{5})), ErrorCode::INVALID_RECORD);
  EXPECT_EQ(refused(patched(good, last_offset_delta_at, std::int32_t{-1})), ErrorCode::INVALID_RECORD);
  EXPECT_EQ(refused(patched(good, count_at, std::int32_t{0})), ErrorCode::INVALID_RECORD);
  EXPECT_EQ(refused(patched(good, count_at, INT32_MAX)), ErrorCode::INVALID_RECORD);
  EXPECT_EQ(refused(patched(good, producer_id_at, std::int64_t{5})), ErrorCode::INVALID_RECORD);
  for (int count : {2, 4}) {  // fewer and more than are there, with the offsets to match
    auto lies = patched(good, count_at, std::int32_t{count});
    lies = patched(lies, last_offset_delta_at, std::int32_t{count - 1});
    EXPECT_EQ(refused(lies), ErrorCode::INVALID_RECORD) << count;
  }
}

TEST(Validate, CompressedRecordsAreWalkedToo) {
  for (auto codec : {Compression::gzip, Compression::snappy, Compression::lz4, Compression::zstd}) {
    const auto good = simple(50, {.compression = codec});
    EXPECT_EQ(refused(good), ErrorCode::NONE);
    for (int count : {49, 51}) {
      auto lies = patched(good, count_at, std::int32_t{count});
      lies = patched(lies, last_offset_delta_at, std::int32_t{count - 1});
      EXPECT_EQ(refused(lies), ErrorCode::INVALID_RECORD) << name(codec) << count;
    }
    // A payload that is not of the codec, under a right checksum.
    auto broken = patched(good, header_size, std::int64_t{0x0102030405060708});
    EXPECT_NE(refused(broken), ErrorCode::NONE) << name(codec);
    EXPECT_EQ(refused(simple(5, {.compression = codec}), {.now = 10'000'000, .timestamp_before_max_ms = 1000}),
              ErrorCode::INVALID_TIMESTAMP);
  }
}

TEST(Validate, EachByteOfARecordMattersOrIsHarmless) {
  const auto good = simple(4);
  // Whatever stands in the payload under a right checksum: an answer, not a crash; what is taken is read back.
  for (std::size_t at = header_size; at < good.size(); ++at) {
    for (int value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      auto copy = patched(good, at, static_cast<std::int8_t>(value));
      auto made = validate(copy, {});
      if (made) EXPECT_EQ(values(made->records.view()).size(), 4U);
    }
  }
}

TEST(Validate, OffsetDeltasThatAreNotConsecutiveAreRebuilt) {
  Builder builder;
  builder.append({.timestamp = 1, .key = std::nullopt, .value = as_bytes("a"), .headers = {}});
  builder.append_at(Offset{2}, {.timestamp = 1, .key = std::nullopt, .value = as_bytes("b"), .headers = {}});
  auto gap = patched(*builder.build(), last_offset_delta_at, std::int32_t{1});
  auto made = validate(gap, {.first_offset = Offset{10}});
  ASSERT_TRUE(made);
  EXPECT_TRUE(made->rewritten);
  RecordIterator records((BatchView(made->records.view())));
  EXPECT_EQ(records.next()->offset, Offset{10});
  EXPECT_EQ(records.next()->offset, Offset{11});
}

TEST(Validate, CompactedTopicsNeedKeysAndSayWhichRecordHasNone) {
  Builder builder;
  builder.append({.timestamp = 1, .key = as_bytes("k"), .value = as_bytes("a"), .headers = {}});
  builder.append({.timestamp = 1, .key = std::nullopt, .value = as_bytes("b"), .headers = {}});
  auto made = validate(*builder.build(), {.compacted = true});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().error.code, ErrorCode::INVALID_RECORD);
  ASSERT_EQ(made.error().records.size(), 1U);
  EXPECT_EQ(made.error().records[0].index, 1);
}

TEST(Validate, TimestampsOutOfRangeAreRefused) {
  const ValidateOptions narrow{.now = 5000, .timestamp_before_max_ms = 1000, .timestamp_after_max_ms = 1000};
  const auto at = [](TimestampMs timestamp) {
    Builder builder;
    builder.append({.timestamp = timestamp, .key = std::nullopt, .value = std::nullopt, .headers = {}});
    return *builder.build();
  };
  EXPECT_EQ(refused(at(4000), narrow), ErrorCode::NONE);
  EXPECT_EQ(refused(at(3999), narrow), ErrorCode::INVALID_TIMESTAMP);
  EXPECT_EQ(refused(at(6000), narrow), ErrorCode::NONE);
  EXPECT_EQ(refused(at(6001), narrow), ErrorCode::INVALID_TIMESTAMP);
  EXPECT_EQ(refused(at(no_timestamp), narrow), ErrorCode::NONE);
  EXPECT_EQ(refused(at(INT64_MIN), narrow), ErrorCode::INVALID_TIMESTAMP);
  EXPECT_EQ(refused(at(INT64_MAX), narrow), ErrorCode::INVALID_TIMESTAMP);
  EXPECT_EQ(refused(at(INT64_MAX)), ErrorCode::NONE);
}

TEST(Validate, SizeIsHeldBeforeAndAfterRecompression) {
  auto batch = simple(100);
  EXPECT_EQ(refused(batch, {.batch_bytes_max = static_cast<std::int32_t>(batch.size())}), ErrorCode::NONE);
  set_base_offset(batch.mutable_view(), Offset{0});
  EXPECT_EQ(refused(batch, {.batch_bytes_max = static_cast<std::int32_t>(batch.size()) - 1}),
            ErrorCode::MESSAGE_TOO_LARGE);
  const auto packed = simple(1000, {.compression = Compression::zstd});
  EXPECT_EQ(
      refused(packed, {.compression = Compression::none, .batch_bytes_max = static_cast<std::int32_t>(packed.size())}),
      ErrorCode::MESSAGE_TOO_LARGE);
}

TEST(Validate, ABombStopsAtTheLimitAndIsNeverHeld) {
  // One record of 16 MiB of zeros in a few KiB.
  const std::string zeros(16 * MiB, '\0');
  for (auto codec : {Compression::gzip, Compression::zstd, Compression::lz4}) {
    Builder builder({.compression = codec});
    builder.append({.timestamp = 1, .key = std::nullopt, .value = as_bytes(zeros), .headers = {}});
    auto bomb = *builder.build();
    EXPECT_LT(bomb.size(), 100 * KiB);
    EXPECT_EQ(refused(bomb, {.unpacked_bytes_max = 1 * MiB}), ErrorCode::MESSAGE_TOO_LARGE);
    EXPECT_EQ(refused(Shared::copy(bomb.view()), {.compression = Compression::none}), ErrorCode::INVALID_RECORD);
    RecordIterator small(BatchView(bomb.view()), 1 * MiB);
    EXPECT_EQ(small.next(), nullptr);
    EXPECT_TRUE(small.failed());
  }
}

TEST(Validate, MoreThanOneBatchIsRefusedAndATornTailIsCut) {
  const auto a = simple(1);
  auto two = Shared::allocate(2 * a.size());
  std::ranges::copy(a.view(), two.mutable_view().begin());
  std::ranges::copy(a.view(), two.mutable_view().begin() + static_cast<std::ptrdiff_t>(a.size()));
  EXPECT_EQ(refused(two), ErrorCode::INVALID_RECORD);
  auto made = validate(two.sub(0, two.size() - 1), {});
  ASSERT_TRUE(made);
  EXPECT_EQ(made->records.size(), a.size());
}

TEST(Validate, CoordinatorsWriteControlBatches) {
  auto marker = end_transaction_batch({ControlType::abort, 1}, ProducerId{1}, ProducerEpoch{0}, 5);
  EXPECT_EQ(refused(Shared::copy(marker.view())), ErrorCode::INVALID_RECORD);
  auto made =
      validate(marker, {.first_offset = Offset{9}, .origin = Origin::coordinator, .compression = Compression::lz4});
  ASSERT_TRUE(made);
  EXPECT_FALSE(BatchView(made->records.view()).compressed());
  EXPECT_EQ(made->last_offset, Offset{9});
}

TEST(Produce, VersionsSayWhatMayBeSent) {
  const auto plain = simple(1);
  const auto zstd = simple(1, {.compression = Compression::zstd});
  EXPECT_TRUE(check_produce(plain.view(), 3));
  EXPECT_EQ(check_produce(zstd.view(), 6).error().code, ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
  EXPECT_TRUE(check_produce(zstd.view(), 7));
  EXPECT_EQ(check_produce({}, 3).error().code, ErrorCode::INVALID_RECORD);
  const auto old = unhex(java::v1_none);
  EXPECT_EQ(check_produce(old.view(), 3).error().code, ErrorCode::INVALID_RECORD);
  EXPECT_TRUE(check_produce(old.view(), 2));
}

TEST(Replicated, KeepsOffsetsAndLeavesOutACutTail) {
  const auto a = simple(3, {.base_offset = Offset{10}});
  const auto b = simple(2, {.base_offset = Offset{20}});
  auto both = Shared::allocate(a.size() + b.size());
  std::ranges::copy(a.view(), both.mutable_view().begin());
  std::ranges::copy(b.view(), both.mutable_view().begin() + static_cast<std::ptrdiff_t>(a.size()));
  auto all = check_replicated(both);
  ASSERT_TRUE(all && *all);
  EXPECT_EQ((*all)->first_offset, Offset{10});
  EXPECT_EQ((*all)->last_offset, Offset{21});
  auto cut = check_replicated(both.sub(0, both.size() - 1));
  ASSERT_TRUE(cut && *cut);
  EXPECT_EQ((*cut)->last_offset, Offset{12});
  EXPECT_EQ((*cut)->records.size(), a.size());
  auto none = check_replicated(both.sub(0, a.size() - 1));
  ASSERT_TRUE(none);
  EXPECT_FALSE(*none);
  both.mutable_view()[a.size() + header_size + 3] ^= std::byte{1};
  EXPECT_EQ(check_replicated(both).error().code, ErrorCode::CORRUPT_MESSAGE);
}

TEST(Legacy, MessageSetsOfJavaAreConvertedUp) {
  for (auto [hex, magic, codec] : {std::tuple{java::v0_none, 0, Compression::none},
                                   {java::v0_gzip, 0, Compression::gzip},
                                   {java::v0_snappy, 0, Compression::snappy},
                                   {java::v1_none, 1, Compression::none},
                                   {java::v1_gzip, 1, Compression::gzip},
                                   {java::v1_snappy, 1, Compression::snappy},
                                   {java::v1_lz4, 1, Compression::lz4}}) {
    const auto set = unhex(hex);
    auto made = validate(set, {.first_offset = Offset{42}});
    ASSERT_TRUE(made) << made.error().error.message;
    EXPECT_TRUE(made->rewritten);
    BatchView batch(made->records.view());
    EXPECT_EQ(batch.magic(), 2);
    EXPECT_EQ(batch.compression(), codec);
    EXPECT_EQ(batch.last_offset(), Offset{44});
    if (magic == 1) {
      expect_java_records(batch, false);
    } else {
      EXPECT_THAT(values(made->records.view()), testing::ElementsAre("v0", std::string(300, 'x'), "<null>"));
      EXPECT_EQ(batch.max_timestamp(), no_timestamp);
    }
    // Past the first message there are offsets and lengths, which no checksum covers.
    const auto first = log_overhead + static_cast<std::size_t>(bytes::load_big<std::int32_t>(set.data() + length_at));
    for (std::size_t at = header_to_magic; at < first; ++at) {
      auto broken = Shared::copy(set.view());
      broken.mutable_view()[at] ^= std::byte{0x10};
      EXPECT_NE(refused(broken), ErrorCode::NONE) << at;
    }
  }
}

TEST(Legacy, BatchesAreConvertedDownAsJavaReadsThem) {
  auto batch = unhex(java::v2_none);
  auto one = convert_down(batch.view(), 1, Offset{0});
  ASSERT_TRUE(one);
  EXPECT_EQ(one->text(), unhex(java::v1_none).text());
  auto zero = convert_down(batch.view(), 0, Offset{0});
  ASSERT_TRUE(zero);
  EXPECT_EQ(zero->text(), unhex(java::v0_none).text());
  auto later = convert_down(batch.view(), 1, Offset{44});
  ASSERT_TRUE(later);
  auto up = convert_up(later->view(), {.base_offset = Offset{44}}, 1 * MiB);
  ASSERT_TRUE(up);
  EXPECT_EQ(BatchView(up->view()).count(), 1);
  for (auto hex : {java::v2_gzip, java::v2_snappy, java::v2_lz4}) {
    auto packed = convert_down(unhex(hex).view(), 1, Offset{0});
    ASSERT_TRUE(packed);
    auto back = convert_up(packed->view(), {.base_offset = Offset{42}}, 1 * MiB);
    ASSERT_TRUE(back) << back.error().message;
    expect_java_records(BatchView(back->view()), false);
  }
  EXPECT_EQ(convert_down(unhex(java::v2_zstd).view(), 1, Offset{0}).error().code,
            ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
}

}  // namespace
}  // namespace weir::record
