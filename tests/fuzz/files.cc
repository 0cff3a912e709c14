// The small files of a log directory, as a crash, another program or an older broker may have left them. The first
// byte chooses the kind.
#include "fuzz/fuzz.h"
#include "log/checkpoint.h"
#include "log/index.h"
#include "log/producer_state.h"
#include "record/builder.h"
#include "runtime/sim.h"

namespace weir::fuzz {
namespace {

using namespace log;

template <class Parse, class Write>
void turn(std::string_view text, Parse parse, Write write) {
  const auto first = parse(text);
  if (!first) return;
  const auto written = write(*first);
  const auto again = parse(written);
  WEIR_CHECK(again, "what was written is read again");
  WEIR_CHECK(write(*again) == written, "and is the same");
}
constexpr auto write_text = [](const auto& value) { return to_text(value); };

// An index as it lies there: opened, searched, extended, cut. Wrong entries cost time, never more.
template <class Index, class Entry>
void use_index(bytes::Bytes content, Entry entry) {
  runtime::SimFiles files;
  FileCache cache(files, 4);
  WEIR_CHECK(files.make_directories("/d").has_value() && files.write_whole("/d/i", bytes::as_text(content)).has_value(),
             "the disk takes it");
  Index index("/d/i", Offset{100});
  if (!index.open(cache, true)) return;
  const auto entries = index.entries();
  for (const std::int64_t key :
       {std::int64_t{-1}, std::int64_t{0}, std::int64_t{100}, std::int64_t{1} << 31, INT64_MAX}) {
    (void)index.lookup(cache, key, ReadMode::may_block);
  }
  index.append(entry);
  WEIR_CHECK(index.entries() == entries + 1, "an entry is one more");
  (void)index.write_tail(cache);
  (void)index.truncate(cache, Offset{150});
  WEIR_CHECK(index.reset(cache).has_value() && index.entries() == 0, "a reset index is empty");
}

void use_snapshot(std::string_view text) {
  ProducerState state(1000);
  if (!state.load(text, 0)) return;
  (void)state.first_open_transaction();
  for (const auto& [id, producer] : state.all()) {
    for (int i = 0; i < producer.batch_count; ++i) (void)producer.batches[static_cast<std::size_t>(i)].first_sequence();
  }
  const auto written = state.snapshot();
  ProducerState again(1000);
  WEIR_CHECK(again.load(written, 0).has_value(), "what was written is read again");
  WEIR_CHECK(again.snapshot() == written, "and is the same");
}

constexpr std::uint8_t kinds = 7;

}  // namespace

void run(bytes::Bytes input) {
  const auto kind = choice(input);
  const auto text = own(input);
  switch (kind % kinds) {
    case 0: return turn(text, parse_offset_checkpoint, write_text);
    case 1: return turn(text, parse_epoch_checkpoint, write_text);
    case 2: return turn(text, parse_partition_metadata, partition_metadata_text);
    case 3: return turn(text, parse_meta_properties, write_text);
    case 4: return use_snapshot(text);
    case 5: return use_index<OffsetIndex>(bytes::as_bytes(text), OffsetEntry{Offset{200}, 5000});
    case 6: return use_index<TimeIndex>(bytes::as_bytes(text), TimeEntry{2000, Offset{200}});
    default: return;
  }
}

std::vector<std::string> seeds() {
  ProducerState producers(1'000'000);
  record::Builder builder(
      {.producer_id = ProducerId{1}, .producer_epoch = ProducerEpoch{0}, .base_sequence = 0, .transactional = true});
  builder.append({.timestamp = 5, .key = {}, .value = bytes::as_bytes("v"), .headers = {}});
  const auto batch = *builder.build();
  (void)producers.update(record::BatchView(batch.view()));
  MetaProperties meta;
  meta.broker_id = BrokerId{1};
  meta.cluster_id = "abc";
  std::string offsets;
  std::string times;
  for (char i = 0; i < 4; ++i) {
    offsets += std::string("\0\0\0", 3) + i + std::string("\0\0\1", 3) + i;
    times += std::string("\0\0\0\0\0\0\1", 7) + i + std::string("\0\0\0", 3) + i;
  }
  return {
      seed(0, to_text(OffsetCheckpoint{{{"t", PartitionId{0}}, Offset{5}}, {{"u", PartitionId{1}}, Offset{0}}})),
      seed(1, to_text(std::vector<EpochEntry>{{LeaderEpoch{0}, Offset{0}}, {LeaderEpoch{3}, Offset{9}}})),
      seed(2, partition_metadata_text(Uuid{})),
      seed(3, to_text(meta)),
      seed(4, producers.snapshot()),
      seed(5, offsets),
      seed(6, times),
  };
}

}  // namespace weir::fuzz
