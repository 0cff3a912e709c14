#include "record/walk.h"

#include <gtest/gtest.h>
#include <lz4frame.h>
#include <snappy-c.h>
#include <zstd.h>

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "record/builder.h"

namespace weir::record {
namespace {

using bytes::as_bytes;
using bytes::as_text;
using bytes::Shared;

constexpr std::uint64_t unpacked_max = 128 * MiB;

// What walk must say, found out the slow and plain way: all is unpacked, each number is read by its definition.
struct Verdict {
  ErrorCode code = ErrorCode::NONE;
  TimestampMs max_timestamp = no_timestamp;
  bool consecutive = true;
  std::vector<std::int32_t> faults;

  bool operator==(const Verdict&) const = default;
};

void PrintTo(const Verdict& v, std::ostream* out) {
  *out << name(v.code) << ", max timestamp " << v.max_timestamp << ", consecutive " << v.consecutive << ", faults";
  for (auto i : v.faults) *out << ' ' << i;
}

class Plain {
 public:
  explicit Plain(Bytes from) : from_(from) {}
  bool ok = true;
  bool done() const { return at_ == from_.size(); }
  std::uint8_t byte() {
    if (at_ < from_.size()) return static_cast<std::uint8_t>(from_[at_++]);
    ok = false;
    return 0;
  }
  std::uint64_t number(int bytes_max) {
    std::uint64_t v = 0;
    for (int i = 0; i < bytes_max && ok; ++i) {
      const auto b = byte();
      if (i == bytes_max - 1 && b > (bytes_max == 5 ? 0x0f : 0x01)) break;
      v |= static_cast<std::uint64_t>(b & 0x7f) << (7 * i);
      if (b < 0x80) return v;
    }
    ok = false;
    return 0;
  }
  std::int64_t number64() {
    const auto v = number(10);
    return static_cast<std::int64_t>((v >> 1) ^ (0 - (v & 1)));
  }
  std::int32_t number32() {
    const auto v = static_cast<std::uint32_t>(number(5));
    return static_cast<std::int32_t>((v >> 1) ^ (0 - (v & 1)));
  }
  Bytes take(std::int64_t n) {
    if (n < 0 || static_cast<std::uint64_t>(n) > from_.size() - at_) {
      ok = false;
      return {};
    }
    const auto out = from_.subspan(at_, static_cast<std::size_t>(n));
    at_ += static_cast<std::size_t>(n);
    return out;
  }

 private:
  Bytes from_;
  std::size_t at_ = 0;
};

Verdict reference(BatchView batch, const RecordRules& rules) {
  auto unpacked = decompress(batch.compression(), batch.payload(), unpacked_max);
  if (!unpacked) {
    return {.code = unpacked.error().code == ErrorCode::CORRUPT_MESSAGE ? ErrorCode::INVALID_RECORD
                                                                        : unpacked.error().code};
  }
  const Verdict broken{.code = ErrorCode::INVALID_RECORD};
  Verdict out;
  bool timestamps = false;
  Plain in(unpacked->view());
  for (std::int32_t i = 0; i < batch.count(); ++i) {
    const auto size = in.number32();
    Plain record(in.take(size));
    if (!in.ok) return broken;
    record.byte();
    const auto delta = record.number64();
    const auto offset = record.number32();
    const auto key = record.number32();
    if (key >= 0) record.take(key);
    if (const auto value = record.number32(); value >= 0) record.take(value);
    const auto headers = record.number32();
    if (headers < 0) record.ok = false;
    for (std::int32_t h = 0; h < headers && record.ok; ++h) {
      record.take(record.number32());
      if (const auto value = record.number32(); value >= 0) record.take(value);
    }
    if (!record.ok || !record.done()) return broken;
    const auto timestamp = batch.timestamp_type() == TimestampType::log_append_time
                               ? batch.max_timestamp()
                               : static_cast<TimestampMs>(static_cast<std::uint64_t>(batch.base_timestamp()) +
                                                          static_cast<std::uint64_t>(delta));
    out.max_timestamp = std::max(out.max_timestamp, timestamp);
    out.consecutive = out.consecutive && offset == i;
    if (rules.keys_needed && key < 0) {
      out.faults.push_back(i);
    } else if (rules.timestamps_checked && timestamp != no_timestamp) {
      if (timestamp < rules.timestamp_first || timestamp > rules.timestamp_last) {
        out.faults.push_back(i);
        timestamps = true;
      }
    } else if (rules.refuse_append_time) {
      out.faults.push_back(i);
      timestamps = true;
    }
  }
  if (!in.done()) return broken;
  if (!out.faults.empty()) {
    out.faults.resize(std::min(out.faults.size(), record_errors_max));
    return {.code = timestamps ? ErrorCode::INVALID_TIMESTAMP : ErrorCode::INVALID_RECORD, .faults = out.faults};
  }
  return out;
}

Verdict walked(BatchView batch, const RecordRules& rules) {
  auto got = walk(batch, rules, unpacked_max);
  if (got) return {.max_timestamp = got->max_timestamp, .consecutive = got->consecutive};
  Verdict out{.code = got.error().error.code};
  for (const auto& fault : got.error().records) out.faults.push_back(fault.index);
  return out;
}

class Chance {
 public:
  explicit Chance(unsigned seed) : random_(seed) {}
  std::uint64_t below(std::uint64_t n) { return random_() % n; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  std::string text(std::size_t size) {
    std::string out(size, 'a');
    const auto letters = one_in(3) ? 1 : 1 + below(20);
    for (auto& c : out) c = static_cast<char>('a' + below(letters));
    return out;
  }

 private:
  std::mt19937_64 random_;
};

// Records of every shape: null and empty fields, headers, timestamps that need any number of bytes, and sizes around
// those where a window, a block of a codec, or a number's length ends.
Shared some_batch(Chance& chance) {
  Builder builder;
  std::size_t total = 0;
  const auto count = 1 + chance.below(chance.one_in(8) ? 3000 : 40);
  const auto size_max = std::size_t{1} << chance.below(chance.one_in(20) ? 23 : 12);
  auto offset = Offset{0};
  for (std::uint64_t i = 0; i < count && total < 6 * MiB; ++i) {
    NewRecord record;
    record.timestamp = 1000;
    if (chance.one_in(3))
      record.timestamp += static_cast<std::int64_t>(chance.below(std::uint64_t{1} << chance.below(62)));
    if (chance.one_in(50)) record.timestamp = no_timestamp;
    const auto key = chance.text(chance.below(40));
    const auto value = chance.text(chance.below(size_max));
    if (!chance.one_in(3)) record.key = as_bytes(key);
    if (!chance.one_in(10)) record.value = as_bytes(value);
    std::vector<Header> headers;
    if (chance.one_in(4)) {
      headers.resize(chance.below(4), {.key = "header", .value = as_bytes(key)});
      if (!headers.empty() && chance.one_in(2)) headers.back().value.reset();
    }
    record.headers = headers;
    builder.append_at(offset, record);
    offset = offset + (chance.one_in(2000) ? 2 : 1);
    total += value.size();
  }
  auto batch = *builder.build();
  return batch;
}

// The batch with other records, or with what is to stand for packed ones.
Shared with_payload(BatchView like, Compression codec, Bytes payload) {
  auto made = Shared::allocate(header_size + payload.size());
  auto to = made.mutable_view();
  std::ranges::copy(like.bytes().first(header_size), to.begin());
  std::ranges::copy(payload, to.begin() + header_size);
  bytes::store_big(to.data() + attributes_at,
                   static_cast<std::int16_t>((like.attributes() & ~compression_mask) | static_cast<int>(codec)));
  seal(to);
  return made;
}

// Some bytes are others, a piece is missing, or there is more.
Shared spoilt(Bytes from, Chance& chance) {
  std::vector<std::byte> out(from.begin(), from.end());
  const auto place = [&] { return static_cast<std::ptrdiff_t>(chance.below(out.size() + 1)); };
  switch (chance.below(4)) {
    case 0: out.resize(static_cast<std::size_t>(place())); break;
    case 1:
      out.insert(out.begin() + place(), 1 + chance.below(40), std::byte{static_cast<unsigned char>(chance.below(256))});
      break;
    default:
      for (auto n = 1 + chance.below(3); n > 0 && !out.empty(); --n) {
        auto& b = out[chance.below(out.size())];
        b = chance.one_in(2) ? static_cast<std::byte>(chance.below(256))
                             : b ^ static_cast<std::byte>(1U << chance.below(8));
      }
  }
  return Shared::copy(Bytes(out));
}

// The frames of other writers: blocks that look back into those before, with sums; blocks of 4 MiB; frames without
// their size; two frames; one raw block.
struct Framing {
  const char* name;
  Compression codec;
  std::function<Shared(Bytes)> pack;
};

Shared lz4_framed(Bytes from, LZ4F_blockSizeID_t block, LZ4F_blockMode_t mode, bool sums) {
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.blockSizeID = block;
  preferences.frameInfo.blockMode = mode;
  if (sums) {
    preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
    preferences.frameInfo.blockChecksumFlag = LZ4F_blockChecksumEnabled;
  }
  auto out = Shared::allocate(LZ4F_compressFrameBound(from.size(), &preferences));
  const auto size = LZ4F_compressFrame(out.mutable_view().data(), out.size(), from.data(), from.size(), &preferences);
  EXPECT_EQ(LZ4F_isError(size), 0U);
  return out.sub(0, size);
}

// As a writer does that does not know what is to come.
Shared zstd_streamed(Bytes from) {
  auto out = Shared::allocate(ZSTD_compressBound(from.size()) + 64);
  auto* const context = ZSTD_createCCtx();
  ZSTD_outBuffer to{out.mutable_view().data(), out.size(), 0};
  ZSTD_inBuffer half{from.data(), from.size() / 2, 0};
  ZSTD_compressStream2(context, &to, &half, ZSTD_e_continue);
  ZSTD_inBuffer rest{from.data() + half.size, from.size() - half.size, 0};
  EXPECT_EQ(ZSTD_compressStream2(context, &to, &rest, ZSTD_e_end), 0U);
  ZSTD_freeCCtx(context);
  return out.sub(0, to.pos);
}

Shared twice(Compression codec, Bytes from) {
  const auto a = *compress(codec, from.first(from.size() / 2));
  const auto b = *compress(codec, from.subspan(from.size() / 2));
  return Shared::copy(std::string(a.text()) + std::string(b.text()));
}

Shared snappy_raw(Bytes from) {
  auto size = snappy_max_compressed_length(from.size());
  auto out = Shared::allocate(size);
  EXPECT_EQ(
      snappy_compress(as_text(from).data(), from.size(), reinterpret_cast<char*>(out.mutable_view().data()), &size),
      SNAPPY_OK);
  return out.sub(0, size);
}

const std::vector<Framing>& framings() {
  const auto usual = [](Compression codec) { return [codec](Bytes from) { return *compress(codec, from); }; };
  static const std::vector<Framing> all = {
      {"none", Compression::none, usual(Compression::none)},
      {"gzip", Compression::gzip, usual(Compression::gzip)},
      {"snappy", Compression::snappy, usual(Compression::snappy)},
      {"lz4", Compression::lz4, usual(Compression::lz4)},
      {"zstd", Compression::zstd, usual(Compression::zstd)},
      {"gzip, two members", Compression::gzip, [](Bytes from) { return twice(Compression::gzip, from); }},
      {"snappy, two streams", Compression::snappy, [](Bytes from) { return twice(Compression::snappy, from); }},
      {"snappy, one raw block", Compression::snappy, snappy_raw},
      {"lz4, linked blocks, sums", Compression::lz4,
       [](Bytes from) { return lz4_framed(from, LZ4F_max64KB, LZ4F_blockLinked, true); }},
      {"lz4, blocks of 1 MiB", Compression::lz4,
       [](Bytes from) { return lz4_framed(from, LZ4F_max1MB, LZ4F_blockIndependent, false); }},
      {"lz4, linked blocks of 4 MiB", Compression::lz4,
       [](Bytes from) { return lz4_framed(from, LZ4F_max4MB, LZ4F_blockLinked, false); }},
      {"zstd, streamed", Compression::zstd, zstd_streamed},
      {"zstd, two frames", Compression::zstd, [](Bytes from) { return twice(Compression::zstd, from); }},
  };
  return all;
}

RecordRules some_rules(Chance& chance) {
  RecordRules rules{.timestamps_checked = true, .timestamp_first = INT64_MIN, .timestamp_last = INT64_MAX};
  if (chance.one_in(4)) rules.keys_needed = true;
  if (chance.one_in(4)) rules.timestamp_last = 1000 + static_cast<TimestampMs>(chance.below(1ULL << chance.below(50)));
  if (chance.one_in(8)) rules.timestamps_checked = false;
  if (chance.one_in(8)) rules.refuse_append_time = true;
  return rules;
}

class Walk : public testing::TestWithParam<std::size_t> {
 protected:
  const Framing& framing() const { return framings()[GetParam()]; }
};
INSTANTIATE_TEST_SUITE_P(Framings, Walk, testing::Range<std::size_t>(0, 13));

TEST_P(Walk, SaysOfAnyBatchWhatThePlainWaySays) {
  int taken = 0;
  for (unsigned seed = 1; seed <= 24; ++seed) {
    Chance chance(seed);
    const auto made = some_batch(chance);
    const BatchView like(made.view());
    const auto records = like.payload();
    const auto rules = some_rules(chance);
    const auto packed = framing().pack(records);
    const auto judge = [&](const Shared& batch, const char* what) {
      const BatchView view(batch.view());
      const auto expected = reference(view, rules);
      EXPECT_EQ(walked(view, rules), expected) << framing().name << ", seed " << seed << ", " << what;
      taken += expected.code == ErrorCode::NONE ? 1 : 0;
    };
    const auto whole = with_payload(like, framing().codec, packed.view());
    judge(whole, "whole");
    auto appended = Shared::copy(whole.view());
    set_max_timestamp(appended.mutable_view(), TimestampType::log_append_time, 5000);
    judge(appended, "LogAppendTime");
    for (std::int32_t count : {like.count() - 1, like.count() + 1}) {
      auto lies = Shared::copy(whole.view());
      bytes::store_big(lies.mutable_view().data() + count_at, count);
      judge(lies, "a count that lies");
    }
    for (int i = 0; i < 8; ++i) {
      judge(with_payload(like, framing().codec, framing().pack(spoilt(records, chance).view()).view()),
            "spoilt records");
      judge(with_payload(like, framing().codec, spoilt(packed.view(), chance).view()), "spoilt packing");
    }
  }
  EXPECT_GT(taken, 10);  // the comparison was not one of refusals alone
}

// A batch of one record whose body is `body`.
Shared of_body(std::string_view body, Compression codec, std::size_t before = 0) {
  Builder builder;
  const std::string filler(before, 'x');
  if (before > 0) builder.append({.timestamp = 1, .key = std::nullopt, .value = as_bytes(filler), .headers = {}});
  builder.append({.timestamp = 1, .key = std::nullopt, .value = std::nullopt, .headers = {}});
  const auto like = *builder.build();
  const BatchView view(like.view());
  std::string records(as_text(view.payload()));
  records.resize(records.size() - 7);  // the last record: its length and a body of 6 bytes
  records += static_cast<char>(2 * body.size());
  records += body;
  return with_payload(view, codec, compress(codec, as_bytes(records))->view());
}

TEST(WalkEdge, ARecordThatReadsBeyondItsEndIsRefusedAtTheEndOfTheMemoryToo) {
  using namespace std::string_literals;
  // Fields that are cut at every place, and numbers that do not end: each the last of its batch.
  const std::string good = "\0\0\0\x02k\x02v\x02\x02h\x02v"s;
  const std::string endless(40, '\xff');
  for (auto codec : {Compression::none, Compression::lz4, Compression::snappy, Compression::zstd, Compression::gzip}) {
    for (std::size_t before : {std::size_t{0}, 16 * KiB - 10, 64 * KiB - 20}) {
      const auto whole = of_body(good, codec, before);
      EXPECT_EQ(walked(BatchView(whole.view()), {}).code, ErrorCode::NONE) << name(codec);
      for (std::size_t cut = 0; cut < good.size(); ++cut) {
        for (const auto& body :
             {good.substr(0, cut), good.substr(0, cut) + endless, good.substr(0, cut) + (cut < 11 ? "\x7e" : "")}) {
          const auto batch = of_body(body, codec, before);
          EXPECT_EQ(walked(BatchView(batch.view()), {}).code, ErrorCode::INVALID_RECORD) << name(codec) << ' ' << cut;
        }
      }
    }
  }
}

TEST(WalkEdge, WhatOneStreamSpoiltDoesNotReachTheNext) {
  Chance chance(3);
  for (const auto& framing : framings()) {
    Builder builder;
    for (int i = 0; i < 300; ++i) {
      const auto value = chance.text(1000);
      builder.append({.timestamp = 1, .key = std::nullopt, .value = as_bytes(value), .headers = {}});
    }
    const auto made = *builder.build();
    const BatchView like(made.view());
    const auto packed = framing.pack(like.payload());
    const auto good = with_payload(like, framing.codec, packed.view());
    const auto cut = with_payload(like, framing.codec, packed.view().first(packed.size() / 2));
    for (int i = 0; i < 3; ++i) {
      EXPECT_NE(walked(BatchView(cut.view()), {}).code, ErrorCode::NONE) << framing.name;
      EXPECT_EQ(walked(BatchView(good.view()), {}).code, ErrorCode::NONE) << framing.name;
      // Two streams of a codec at a time, taking turns.
      auto a = *decompressor(framing.codec, packed.view());
      auto b = *decompressor(framing.codec, packed.view());
      std::string from_a;
      std::string from_b;
      std::vector<std::byte> window(10'000);
      for (bool more = true; more;) {
        more = false;
        for (auto* side : {&a, &b}) {
          auto got = (*side)->pull(window);
          ASSERT_TRUE(got) << framing.name << got.error().message;
          (side == &a ? from_a : from_b) += as_text(Bytes(window).first(*got));
          more |= *got > 0;
        }
      }
      // lz4 of other frames than the first is not read, as Kafka does it.
      EXPECT_EQ(from_a, as_text(like.payload())) << framing.name;
      EXPECT_EQ(from_b, from_a) << framing.name;
    }
  }
}

TEST(WalkEdge, ManySmallBlocksAreOneStream) {
  // 3,000 blocks of 5 bytes in a snappy stream, an empty one after each: records lie across them.
  Builder builder;
  for (int i = 0; i < 1000; ++i) {
    builder.append({.timestamp = 1, .key = std::nullopt, .value = as_bytes("12345678"), .headers = {}});
  }
  const auto made = *builder.build();
  const BatchView like(made.view());
  std::string stream("\x82SNAPPY\0\0\0\0\1\0\0\0\1", 16);
  const auto add = [&](Bytes piece) {
    const auto block = snappy_raw(piece);
    std::string length(4, '\0');
    bytes::store_big(reinterpret_cast<std::byte*>(length.data()), static_cast<std::int32_t>(block.size()));
    stream += length + std::string(block.text());
  };
  auto rest = like.payload();
  while (!rest.empty()) {
    const auto n = std::min<std::size_t>(5, rest.size());
    add(rest.first(n));
    add({});
    rest = rest.subspan(n);
  }
  const auto batch = with_payload(like, Compression::snappy, as_bytes(stream));
  EXPECT_EQ(walked(BatchView(batch.view()), {}), (Verdict{.max_timestamp = 1}));
}

}  // namespace
}  // namespace weir::record
