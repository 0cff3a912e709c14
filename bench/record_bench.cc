// What a leader does with a produced batch, without network and log: all of validate (checksum, unpacking, the walk
// over the records, offsets in place), and its parts. Time is per batch; "record" is the same per record, "unpacked"
// bytes per second of records as they are uncompressed.
//
//   cmake --preset release -B build/bench-record -DWEIR_ROOMS=record -DWEIR_BENCH=ON
//   ninja -C build/bench-record record_bench && build/bench-record/bench/record_bench
#include <benchmark/benchmark.h>

#include <array>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "record/batch.h"
#include "record/builder.h"
#include "record/validate.h"
#include "record/walk.h"

namespace weir::record {
namespace {

// Letters with four bits of chance each, as bench/rdkafka_perf.c sends them: they pack to about 60 %, and the many
// short matches are the slow case for lz4 and snappy.
std::string text(std::size_t size, std::mt19937& random) {
  std::string out(size, 'a');
  for (auto& c : out) c = static_cast<char>('a' + random() % 16);
  return out;
}

const bytes::Shared& batch_for(Compression codec, std::int64_t record_size, std::int64_t batch_size, bool spread) {
  static std::map<std::tuple<Compression, std::int64_t, std::int64_t, bool>, bytes::Shared> made;
  auto& batch = made[{codec, record_size, batch_size, spread}];
  if (batch.empty()) {
    std::mt19937 random(7);  // NOLINT: the same data each time
    Builder builder({.compression = codec});
    for (std::int64_t i = 0; i < batch_size / record_size; ++i) {
      const auto size = spread ? record_size / 2 + static_cast<std::int64_t>(random()) % record_size : record_size;
      const auto value = text(static_cast<std::size_t>(size), random);
      builder.append({.timestamp = 1'700'000'000'000 + i / 8,
                      .key = std::nullopt,
                      .value = bytes::as_bytes(value),
                      .headers = {}});
    }
    batch = *builder.build();
  }
  return batch;
}

void count(benchmark::State& state, BatchView batch, std::int64_t unpacked) {
  using benchmark::Counter;
  state.counters["record"] =
      Counter(static_cast<double>(batch.count()), Counter::kIsIterationInvariantRate | Counter::kInvert);
  state.counters["unpacked"] =
      Counter(static_cast<double>(unpacked), Counter::kIsIterationInvariantRate, Counter::OneK::kIs1024);
}

void validating(benchmark::State& state, Compression codec, std::int64_t record_size, std::int64_t batch_size,
                bool spread) {
  auto batch = bytes::Shared::copy(batch_for(codec, record_size, batch_size, spread).view());
  for (auto _ : state) {
    auto made = validate(batch, {.unpacked_bytes_max = 128 * MiB});
    if (!made) state.SkipWithError(made.error().error.message.c_str());
    benchmark::DoNotOptimize(made);
  }
  count(state, BatchView(batch.view()), batch_size);
}

void walking(benchmark::State& state, std::int64_t record_size, std::int64_t batch_size, bool spread) {
  const BatchView batch(batch_for(Compression::none, record_size, batch_size, spread).view());
  const RecordRules rules{.timestamps_checked = true, .timestamp_first = 0, .timestamp_last = INT64_MAX};
  for (auto _ : state) {
    auto walked = walk(batch, rules, 128 * MiB);
    benchmark::DoNotOptimize(walked);
  }
  count(state, batch, batch_size);
}

void unpacking(benchmark::State& state, Compression codec, std::int64_t record_size, std::int64_t batch_size) {
  const BatchView batch(batch_for(codec, record_size, batch_size, false).view());
  std::vector<std::byte> window(static_cast<std::size_t>(2 * batch_size));
  for (auto _ : state) {
    auto stream = decompressor(codec, batch.payload());
    while (true) {
      auto got = (*stream)->pull(window);
      if (!got || *got == 0) break;
    }
    benchmark::DoNotOptimize(window.data());
  }
  count(state, batch, batch_size);
}

void register_all() {
  constexpr std::array codecs = {Compression::none, Compression::lz4, Compression::zstd, Compression::snappy,
                                 Compression::gzip};
  for (const std::int64_t batch_size : {16 * 1024, 900 * 1000}) {
    const std::string of = batch_size < 100'000 ? " of 16 KiB" : " of 900 KB";
    for (const std::int64_t record_size : {100, 1024}) {
      const auto what = of + ", " + std::to_string(record_size) + " B";
      for (const bool spread : {false, true}) {
        const std::string tail = spread ? " and more or less" : "";
        benchmark::RegisterBenchmark(("walk, plain" + what + tail).c_str(), walking, record_size, batch_size, spread);
      }
      for (const auto codec : codecs) {
        benchmark::RegisterBenchmark(("validate, " + std::string(name(codec)) + what).c_str(), validating, codec,
                                     record_size, batch_size, false);
      }
      for (const auto codec : codecs) {
        benchmark::RegisterBenchmark(("unpack, " + std::string(name(codec)) + what).c_str(), unpacking, codec,
                                     record_size, batch_size);
      }
    }
  }
}

}  // namespace
}  // namespace weir::record

int main(int argc, char** argv) {
  weir::record::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
