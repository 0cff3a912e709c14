#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "log/directory.h"
#include "log/log.h"
#include "record/builder.h"
#include "record/control.h"
#include "runtime/sim.h"

namespace weir::log {
namespace {

using bytes::as_bytes;
using bytes::as_text;
using bytes::Shared;
using record::Builder;
using record::Compression;
using testing::ElementsAre;

const TopicPartition tp{"t-with-dash", PartitionId{3}};

Shared batch_of(const std::vector<std::string>& values, record::BatchOptions options = {},
                TimestampMs timestamp = 1000) {
  Builder builder(options);
  for (const auto& value : values) {
    builder.append({.timestamp = timestamp++, .key = as_bytes("k"), .value = as_bytes(value), .headers = {}});
  }
  return *builder.build();
}
Shared from_producer(std::int64_t id, std::int16_t epoch, std::int32_t sequence, int count, bool transactional = false,
                     TimestampMs timestamp = 1000) {
  return batch_of(std::vector<std::string>(static_cast<std::size_t>(count), "p"),
                  {.producer_id = ProducerId{id},
                   .producer_epoch = ProducerEpoch{epoch},
                   .base_sequence = sequence,
                   .transactional = transactional},
                  timestamp);
}

// Asks again after warming, as a broker does.
template <class Fn>
auto warmed(Fn ask) {
  while (true) {
    auto answer = ask();
    if (answer || !answer.error().cold) return answer;
    EXPECT_TRUE(answer.error().cold->warm());
  }
}

std::string bytes_of(const FileSlice& slice) {
  std::string out(slice.length, '\0');
  if (slice.length > 0) {
    EXPECT_EQ(slice.file->read_at(slice.position, std::as_writable_bytes(std::span(out))), slice.length);
  }
  return out;
}

class LogTest : public testing::Test {
 protected:
  std::unique_ptr<runtime::SimFiles> disk = std::make_unique<runtime::SimFiles>(7);
  std::unique_ptr<FileCache> cache = std::make_unique<FileCache>(*disk, 50);
  LogConfig config;
  std::unique_ptr<Log> log;
  TimestampMs now = 5000;

  Log::Start start(bool clean, Offset recovery_point = Offset{0}, Offset log_start = Offset{0}) const {
    return {.partition = tp,
            .directory = "/d/t-with-dash-3",
            .config = config,
            .log_start = log_start,
            .recovery_point = recovery_point,
            .clean = clean,
            .now = now};
  }
  void open(bool clean = false, Offset recovery_point = Offset{0}, Offset log_start = Offset{0}) {
    log.reset();
    cache = std::make_unique<FileCache>(*disk, 50);
    auto loaded = Log::load(*cache, start(clean, recovery_point, log_start));
    ASSERT_TRUE(loaded) << loaded.error().message;
    log = std::move(*loaded);
  }
  // The process ends without a word; with `power` the machine too.
  void crash(bool power = false) {
    log.reset();
    cache.reset();
    disk->crash(!power);
    cache = std::make_unique<FileCache>(*disk, 50);
  }
  Appended append(Shared batch) {
    auto done = log->append_as_leader(std::move(batch), LeaderEpoch{1}, now);
    EXPECT_TRUE(done) << done.error().error.message;
    return done ? *done : Appended{};
  }
  ErrorCode refused(Shared batch, record::Origin origin = record::Origin::client) {
    auto done = log->append_as_leader(std::move(batch), LeaderEpoch{1}, now, origin);
    return done ? ErrorCode::NONE : done.error().error.code;
  }
  void append_numbered(int from, int to) {
    for (int i = from; i < to; ++i) append(batch_of({"v" + std::to_string(i)}, {}, 1000 + i));
  }
  // All values from `from` to the end, read slice by slice.
  std::vector<std::string> values(Offset from, std::uint64_t max_bytes = 1000,
                                  Isolation isolation = Isolation::log_end) {
    std::vector<std::string> out;
    while (true) {
      auto slice = warmed([&] { return log->read(from, max_bytes, isolation, true); });
      if (!slice) {
        ADD_FAILURE() << slice.error().error.message;
        return out;
      }
      if (slice->length == 0) return out;
      const auto text = bytes_of(*slice);
      record::Batches batches(as_bytes(text));
      const auto before = from;
      while (auto batch = batches.next()) {
        EXPECT_TRUE(batch->crc_matches());
        record::RecordIterator records(*batch);
        while (const auto* record = records.next()) {
          if (record->offset < from) continue;
          out.emplace_back(as_text(*record->value));
        }
        from = batch->next_offset();
      }
      EXPECT_FALSE(batches.failed());
      if (from == before) return out;
    }
  }
  static std::vector<std::string> numbered(int from, int to) {
    std::vector<std::string> out;
    for (int i = from; i < to; ++i) out.push_back("v" + std::to_string(i));
    return out;
  }
  std::vector<std::string> names() { return *disk->list("/d/t-with-dash-3"); }
  std::string whole(const std::string& name) { return *disk->read_whole("/d/t-with-dash-3/" + name); }
};

TEST_F(LogTest, WhatIsAppendedIsReadFromAnyOffsetWithAnyLimit) {
  config.segment_bytes = 600;
  config.index_interval_bytes = 100;
  open();
  append_numbered(0, 60);
  EXPECT_EQ(log->log_end(), Offset{60});
  EXPECT_GT(log->segment_count(), 5U);
  for (int from = 0; from <= 60; ++from) {
    for (std::uint64_t max : {0, 1, 80, 300, 5000}) EXPECT_EQ(values(Offset{from}, max), numbered(from, 60));
  }
  EXPECT_EQ(log->read(Offset{61}, 100, Isolation::log_end, true).error().error.code, ErrorCode::OFFSET_OUT_OF_RANGE);
  EXPECT_EQ(log->read(Offset{-1}, 100, Isolation::log_end, true).error().error.code, ErrorCode::OFFSET_OUT_OF_RANGE);
}

TEST_F(LogTest, ColdReadsAskToBeWarmedAndThenAnswer) {
  config.segment_bytes = 3000;
  config.index_interval_bytes = 100;
  open();
  append_numbered(0, 100);
  disk->drop_cache();
  auto cold = log->read(Offset{5}, 1000, Isolation::log_end, true);
  ASSERT_FALSE(cold);
  EXPECT_TRUE(cold.error().cold);
  EXPECT_EQ(values(Offset{5}), numbered(5, 100));
  // The tail is known without a look at the disk.
  disk->drop_cache();
  EXPECT_TRUE(log->read(Offset{99}, 1000, Isolation::log_end, true));
  EXPECT_TRUE(log->read(Offset{100}, 1000, Isolation::log_end, true));
  EXPECT_TRUE(log->read(Offset{5}, 1000, Isolation::log_end, true, ReadMode::may_block));
}

TEST_F(LogTest, AReadEndsAtTheHighWatermarkAndTheFirstBatchIsWholeOnlyWhenAsked) {
  open();
  append(batch_of({"a", "b"}));
  const auto second = append(batch_of({"c"}));
  append(batch_of({"d"}));
  EXPECT_EQ(log->read(Offset{0}, 9999, Isolation::high_watermark, true)->length, 0U);
  EXPECT_TRUE(log->advance_high_watermark(Offset{3}));
  EXPECT_FALSE(log->advance_high_watermark(Offset{2}));
  EXPECT_EQ(values(Offset{0}, 9999, Isolation::high_watermark), (std::vector<std::string>{"a", "b", "c"}));
  auto slice = log->read(Offset{2}, 10, Isolation::log_end, false);
  EXPECT_EQ(slice->length, 10U);
  EXPECT_EQ(slice->first_batch_size, second.size);
  EXPECT_EQ(log->read(Offset{2}, 10, Isolation::log_end, true)->length, second.size);
  // An offset inside a batch gives the batch.
  EXPECT_EQ(log->read(Offset{1}, 9999, Isolation::log_end, true)->first_batch_offset, Offset{0});
}

TEST_F(LogTest, ASliceOutlivesItsSegment) {
  config.segment_bytes = 200;
  config.retention_ms = 0;
  open();
  append_numbered(0, 10);
  log->set_high_watermark(log->log_end());
  auto slice = log->read(Offset{0}, 1000, Isolation::log_end, true);
  auto removal = log->retain(now + 100000);
  ASSERT_TRUE(removal);
  ASSERT_TRUE(removal->run(*disk));
  EXPECT_EQ(log->log_start(), Offset{10});
  const auto text = bytes_of(*slice);
  record::Batches batches(as_bytes(text));
  EXPECT_TRUE(batches.next()->crc_matches());
}

TEST_F(LogTest, RollsBySizeTimeIndexAndOffsetDistance) {
  config.segment_bytes = 10'000;
  config.segment_ms = 500;
  open();
  append(batch_of({"a"}, {}, 1000));
  append(batch_of({"b"}, {}, 1500));
  EXPECT_EQ(log->segment_count(), 1U);
  append(batch_of({"c"}, {}, 1501));
  EXPECT_EQ(log->segment_count(), 2U);
  EXPECT_EQ(log->active_base_offset(), Offset{2});
  const auto far = batch_of({"d"}, {.base_offset = Offset{2 + (std::int64_t{1} << 31)}}, 1501);
  ASSERT_TRUE(log->append_as_follower(far, now));
  EXPECT_EQ(log->segment_count(), 3U);
  EXPECT_EQ(log->active_base_offset(), Offset{2 + (std::int64_t{1} << 31)});
  EXPECT_EQ(values(Offset{0}), (std::vector<std::string>{"a", "b", "c", "d"}));

  config = {};
  config.segment_index_bytes = 16;
  config.index_interval_bytes = 0;
  log->set_config(config);
  const auto before = log->segment_count();
  for (int i = 0; i < 10; ++i) append(batch_of({"e"}, {}, 2000 + i));
  EXPECT_GT(log->segment_count(), before + 2);
  EXPECT_EQ(refused(batch_of({std::string(2000, 'x')}, {}, 1)), ErrorCode::NONE);
  config.segment_bytes = 1000;
  log->set_config(config);
  EXPECT_EQ(refused(batch_of({std::string(2000, 'x')}, {}, 1)), ErrorCode::RECORD_LIST_TOO_LARGE);
}

TEST_F(LogTest, RetentionTakesTheOldestNeverBeyondTheHighWatermark) {
  config.segment_bytes = 200;
  config.file_delete_delay_ms = 70;
  open();
  append_numbered(0, 20);
  const auto all = log->size();
  const auto segments = log->segment_count();
  config.retention_bytes = static_cast<std::int64_t>(all / 2);
  config.retention_ms = -1;
  log->set_config(config);
  EXPECT_TRUE(log->retain(now)->empty());  // nothing is committed yet
  log->set_high_watermark(log->log_end());
  auto removal = log->retain(now);
  ASSERT_TRUE(removal);
  EXPECT_FALSE(removal->empty());
  EXPECT_EQ(removal->not_before(), now + 70);
  EXPECT_LT(log->segment_count(), segments);
  EXPECT_GE(log->size(), all / 2);
  const auto first = log->log_start();
  EXPECT_GT(first, Offset{0});
  EXPECT_EQ(values(first), numbered(static_cast<int>(first.value), 20));
  int deleted = 0;
  for (const auto& name : names()) deleted += name.ends_with(".deleted") ? 1 : 0;
  EXPECT_GT(deleted, 0);
  ASSERT_TRUE(removal->run(*disk));
  for (const auto& name : names()) EXPECT_FALSE(name.ends_with(".deleted")) << name;

  // By time: also the active segment, which gives way to an empty one.
  config.retention_bytes = -1;
  config.retention_ms = 100;
  log->set_config(config);
  ASSERT_TRUE(log->retain(1019 + 101));
  EXPECT_EQ(log->log_start(), Offset{20});
  EXPECT_EQ(log->segment_count(), 1U);
  append(batch_of({"next"}));
  EXPECT_THAT(values(Offset{20}), ElementsAre("next"));
}

// The size is kept, not added up anew each time it is asked for: it must stay that of the files.
TEST_F(LogTest, ItsSizeIsThatOfItsFilesWhateverHappensToIt) {
  const auto right = [&] {
    std::uint64_t sum = 0;
    for (const auto& name : names()) sum += name.ends_with(".log") ? whole(name).size() : 0;
    return log->size() == sum;
  };
  config.segment_bytes = 200;
  config.retention_bytes = 500;
  config.retention_ms = -1;
  open();
  EXPECT_EQ(log->size(), 0U);
  for (int i = 0; i < 20; ++i) {
    append_numbered(i, i + 1);
    ASSERT_TRUE(right()) << i;
  }
  ASSERT_TRUE(log->roll(now));
  EXPECT_TRUE(right()) << "the active segment is empty";
  ASSERT_TRUE(log->truncate_to(Offset{16}));
  EXPECT_TRUE(right()) << "after a truncation";
  log->set_high_watermark(log->log_end());
  ASSERT_FALSE(log->retain(now)->empty());
  EXPECT_TRUE(right()) << "after retention";
  append_numbered(16, 18);
  open();
  EXPECT_TRUE(right()) << "after a restart";
  ASSERT_TRUE(log->truncate_to(log->active_base_offset()));
  append_numbered(18, 20);
  EXPECT_TRUE(right()) << "the last segment was cut to nothing";
  ASSERT_TRUE(log->truncate_fully_and_start_at(Offset{100}, now));
  append_numbered(20, 30);
  EXPECT_TRUE(right()) << "it was emptied";
}

TEST_F(LogTest, CompactedLogsAreNotDeletedByAgeButByTheirStart) {
  config.segment_bytes = 200;
  config.retention_ms = 1;
  config.cleanup_delete = false;
  config.cleanup_compact = true;
  open();
  append_numbered(0, 20);
  log->set_high_watermark(log->log_end());
  EXPECT_TRUE(log->retain(now + 1'000'000)->empty());
  EXPECT_TRUE(*log->advance_log_start(Offset{10}));
  EXPECT_FALSE(*log->advance_log_start(Offset{9}));
  EXPECT_EQ(log->advance_log_start(Offset{21}).error().code, ErrorCode::OFFSET_OUT_OF_RANGE);
  EXPECT_FALSE(log->retain(now)->empty());
  EXPECT_EQ(log->log_start(), Offset{10});
  EXPECT_EQ(values(Offset{10}), numbered(10, 20));
  EXPECT_EQ(log->read(Offset{9}, 1, Isolation::log_end, true).error().error.code, ErrorCode::OFFSET_OUT_OF_RANGE);
}

TEST_F(LogTest, OffsetsAreFoundByTimestamp) {
  config.segment_bytes = 400;
  config.index_interval_bytes = 50;
  open();
  for (int i = 0; i < 40; ++i) append(batch_of({"a", "b"}, {}, 1000 + 10 * i));
  log->set_high_watermark(Offset{70});
  const auto find = [&](TimestampMs t) { return warmed([&] { return log->offset_for_timestamp(t); })->offset.value; };
  EXPECT_EQ(find(0), 0);
  EXPECT_EQ(find(1000), 0);
  EXPECT_EQ(find(1001), 1);
  EXPECT_EQ(find(1002), 2);
  EXPECT_EQ(find(1105), 22);
  EXPECT_EQ(find(1340), 68);
  EXPECT_EQ(find(1350), -1);  // beyond the high watermark
  EXPECT_EQ(find(99999), -1);
  EXPECT_EQ(find(earliest_timestamp), 0);
  EXPECT_EQ(find(latest_timestamp), 70);
  auto last = log->offset_for_timestamp(largest_timestamp, Isolation::log_end);
  EXPECT_EQ(last->offset, Offset{79});
  EXPECT_EQ(last->timestamp, 1391);
  EXPECT_EQ(last->epoch, LeaderEpoch{1});
  EXPECT_EQ(log->offset_for_timestamp(latest_timestamp, Isolation::log_end)->offset, Offset{80});
  disk->drop_cache();
  EXPECT_EQ(find(1105), 22);
}

TEST_F(LogTest, LogAppendTimeIsTheBrokers) {
  config.timestamp_type = record::TimestampType::log_append_time;
  open();
  const auto done = append(batch_of({"a"}));
  EXPECT_EQ(done.log_append_time, now);
  EXPECT_EQ(log->offset_for_timestamp(now, Isolation::log_end)->offset, Offset{0});
}

TEST_F(LogTest, EpochsAreLearnedAndTruncated) {
  open();
  ASSERT_TRUE(log->append_as_leader(batch_of({"a", "b"}), LeaderEpoch{1}, now));
  ASSERT_TRUE(log->append_as_leader(batch_of({"c"}), LeaderEpoch{4}, now));
  ASSERT_TRUE(log->assign_epoch(LeaderEpoch{6}, log->log_end()));
  EXPECT_EQ(log->end_of_epoch(LeaderEpoch{1}).end, Offset{2});
  EXPECT_EQ(log->end_of_epoch(LeaderEpoch{3}).epoch, LeaderEpoch{1});
  EXPECT_EQ(log->end_of_epoch(LeaderEpoch{3}).end, Offset{2});
  EXPECT_EQ(log->end_of_epoch(LeaderEpoch{5}).end, Offset{3});
  EXPECT_EQ(log->end_of_epoch(LeaderEpoch{6}).end, Offset{3});
  EXPECT_EQ(log->end_of_epoch(LeaderEpoch{7}).end, no_offset);
  EXPECT_EQ(log->end_of_epoch(LeaderEpoch{0}).end, Offset{0});
  EXPECT_EQ(whole("leader-epoch-checkpoint"), "0\n3\n1 0\n4 2\n6 3\n");
  EXPECT_TRUE(*log->truncate_to(Offset{2}));
  EXPECT_EQ(whole("leader-epoch-checkpoint"), "0\n1\n1 0\n");
  EXPECT_EQ(log->latest_epoch(), LeaderEpoch{1});
}

TEST_F(LogTest, AFollowerTakesOffsetsAsGivenAndRefusesToGoBack) {
  open();
  const auto lead = batch_of({"a", "b"}, {.base_offset = Offset{10}, .leader_epoch = LeaderEpoch{3}});
  auto done = log->append_as_follower(lead, now);
  ASSERT_TRUE(done);
  EXPECT_EQ(done->first_offset, Offset{10});
  EXPECT_EQ(log->log_end(), Offset{12});
  EXPECT_EQ(log->latest_epoch(), LeaderEpoch{3});
  EXPECT_EQ(log->append_as_follower(lead, now).error().code, ErrorCode::OFFSET_OUT_OF_RANGE);
  auto torn = batch_of({"c"}, {.base_offset = Offset{12}});
  EXPECT_TRUE(log->append_as_follower(torn.sub(0, torn.size() - 1), now));
  EXPECT_EQ(log->log_end(), Offset{12});
  torn.mutable_view()[torn.size() - 1] ^= std::byte{1};
  EXPECT_EQ(log->append_as_follower(torn, now).error().code, ErrorCode::CORRUPT_MESSAGE);
}

TEST_F(LogTest, AFollowerTakesMoreThanASegmentHolds) {
  config.segment_bytes = 200;
  open();
  std::string all;
  for (int i = 0; i < 10; ++i) {
    all += bytes::as_text(
        batch_of({"v" + std::to_string(i)}, {.base_offset = Offset{i * 3}, .leader_epoch = LeaderEpoch{1}}).view());
  }
  // A batch that is larger than a segment all alone.
  all += bytes::as_text(
      batch_of({std::string(500, 'x')}, {.base_offset = Offset{40}, .leader_epoch = LeaderEpoch{1}}).view());
  auto done = log->append_as_follower(Shared::copy(all), now);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->first_offset, Offset{0});
  EXPECT_EQ(done->last_offset, Offset{40});
  EXPECT_EQ(done->size, all.size());
  EXPECT_GT(log->segment_count(), 4U);
  EXPECT_EQ(values(Offset{0}).size(), 11U);
  crash();
  open();
  EXPECT_EQ(log->log_end(), Offset{41});
  EXPECT_EQ(values(Offset{0}).size(), 11U);
}

TEST_F(LogTest, AFollowerTakesNothingOfALaterLeader) {
  open();
  auto all =
      std::string(bytes::as_text(batch_of({"a"}, {.base_offset = Offset{0}, .leader_epoch = LeaderEpoch{3}}).view()));
  all += bytes::as_text(batch_of({"b"}, {.base_offset = Offset{1}, .leader_epoch = LeaderEpoch{4}}).view());
  all += bytes::as_text(batch_of({"c"}, {.base_offset = Offset{2}, .leader_epoch = LeaderEpoch{3}}).view());
  ASSERT_TRUE(log->append_as_follower(Shared::copy(all), now, LeaderEpoch{3}));
  EXPECT_EQ(log->log_end(), Offset{1});
  EXPECT_EQ(log->latest_epoch(), LeaderEpoch{3});
}

TEST_F(LogTest, AnEpochInWhichNothingWasWrittenGoesWithATruncationToTheEnd) {
  open();
  ASSERT_TRUE(log->append_as_leader(batch_of({"a", "b"}), LeaderEpoch{1}, now));
  ASSERT_TRUE(log->assign_epoch(LeaderEpoch{2}, log->log_end()));
  EXPECT_FALSE(*log->truncate_to(Offset{2}));
  EXPECT_EQ(log->latest_epoch(), LeaderEpoch{1});
  EXPECT_EQ(whole("leader-epoch-checkpoint"), "0\n1\n1 0\n");
}

TEST_F(LogTest, TruncationCutsAtTheBatchAndForgetsProducers) {
  config.segment_bytes = 300;
  config.index_interval_bytes = 50;
  open();
  for (int i = 0; i < 20; ++i) append(from_producer(9, 0, 2 * i, 2, false, 1000 + i));
  ASSERT_TRUE(log->flush(now));
  EXPECT_EQ(log->recovery_point(), Offset{40});
  EXPECT_FALSE(*log->truncate_to(Offset{40}));
  EXPECT_TRUE(*log->truncate_to(Offset{14}));
  EXPECT_EQ(log->log_end(), Offset{14});
  EXPECT_EQ(log->recovery_point(), Offset{14});
  ASSERT_NE(log->producers().find(ProducerId{9}), nullptr);
  EXPECT_EQ(log->producers().find(ProducerId{9})->last()->last_sequence, 13);
  EXPECT_EQ(refused(from_producer(9, 0, 16, 2)), ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
  EXPECT_EQ(append(from_producer(9, 0, 14, 2)).first_offset, Offset{14});
  EXPECT_EQ(values(Offset{0}).size(), 16U);
  auto removal = log->truncate_fully_and_start_at(Offset{100}, now);
  ASSERT_TRUE(removal);
  ASSERT_TRUE(removal->run(*disk));
  EXPECT_EQ(log->log_start(), Offset{100});
  EXPECT_EQ(append(batch_of({"x"})).first_offset, Offset{100});
  EXPECT_EQ(log->producers().size(), 0U);
}

// ---- producers

TEST_F(LogTest, DuplicatesAreAnsweredWithTheFirstOffsetsAlsoAfterRestarts) {
  open();
  append(batch_of({"x"}));
  for (int i = 0; i < 6; ++i) append(from_producer(5, 0, 3 * i, 3));
  const auto check = [&] {
    for (int i = 1; i < 6; ++i) {
      const auto again = append(from_producer(5, 0, 3 * i, 3));
      EXPECT_TRUE(again.duplicate);
      EXPECT_EQ(again.first_offset, Offset{1 + 3 * i});
      EXPECT_EQ(again.last_offset, Offset{3 + 3 * i});
    }
  };
  check();
  // Older than the five that are remembered, a gap, an old epoch.
  EXPECT_EQ(refused(from_producer(5, 0, 0, 3)), ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
  EXPECT_EQ(refused(from_producer(5, 0, 19, 1)), ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
  EXPECT_EQ(log->log_end(), Offset{19});
  crash();
  open(false);
  check();
  EXPECT_EQ(log->log_end(), Offset{19});

  ASSERT_TRUE(log->close(now));
  open(true);
  const auto again = append(from_producer(5, 0, 15, 3));  // a snapshot keeps the last batch
  EXPECT_TRUE(again.duplicate);
  EXPECT_EQ(again.first_offset, Offset{16});

  EXPECT_EQ(refused(from_producer(5, 1, 5, 1)), ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
  EXPECT_FALSE(append(from_producer(5, 1, 0, 1)).duplicate);
  EXPECT_EQ(refused(from_producer(5, 0, 18, 1)), ErrorCode::INVALID_PRODUCER_EPOCH);
  // One that is not known may begin anywhere: its past may have been deleted.
  EXPECT_EQ(refused(from_producer(6, 3, 77, 1)), ErrorCode::NONE);
  EXPECT_EQ(refused(from_producer(7, 0, INT32_MAX, 1)), ErrorCode::NONE);
  EXPECT_EQ(refused(from_producer(7, 0, 0, 1)), ErrorCode::NONE);
}

TEST_F(LogTest, ProducersExpire) {
  config.producer_expiration_ms = 1000;
  open();
  append(from_producer(5, 0, 0, 1));
  log->remove_expired_producers(1999);
  EXPECT_EQ(log->producers().size(), 1U);
  log->remove_expired_producers(2000);
  EXPECT_EQ(log->producers().size(), 0U);
}

TEST_F(LogTest, OpenTransactionsHoldTheStableOffsetAndAbortedOnesAreIndexed) {
  open();
  append(batch_of({"x"}));
  append(from_producer(1, 0, 0, 2, true));
  append(from_producer(2, 0, 0, 1, true));
  log->set_high_watermark(log->log_end());
  EXPECT_EQ(log->last_stable_offset(), Offset{1});
  EXPECT_EQ(refused(from_producer(1, 0, 2, 1, false)), ErrorCode::INVALID_TXN_STATE);
  const auto end = [&](std::int64_t id, record::ControlType type, std::int32_t coordinator = 1) {
    return refused(record::end_transaction_batch({type, coordinator}, ProducerId{id}, ProducerEpoch{0}, now),
                   record::Origin::coordinator);
  };
  EXPECT_EQ(end(1, record::ControlType::abort), ErrorCode::NONE);
  EXPECT_EQ(end(2, record::ControlType::commit, 5), ErrorCode::NONE);
  EXPECT_EQ(end(2, record::ControlType::commit, 4), ErrorCode::TRANSACTION_COORDINATOR_FENCED);
  EXPECT_EQ(refused(record::end_transaction_batch({}, ProducerId{1}, ProducerEpoch{0}, now)),
            ErrorCode::INVALID_RECORD);
  log->set_high_watermark(log->log_end());
  EXPECT_EQ(log->last_stable_offset(), log->log_end());
  const auto check = [&] {
    EXPECT_THAT(*warmed([&] { return log->aborted(Offset{0}, log->log_end()); }),
                ElementsAre(AbortedTransaction{ProducerId{1}, Offset{1}}));
    EXPECT_TRUE(warmed([&] { return log->aborted(Offset{5}, log->log_end()); })->empty());
  };
  check();
  crash();
  open(false);
  check();
  ASSERT_TRUE(log->close(now));
  open(true);
  check();
}

// ---- crashes

TEST_F(LogTest, ATornLastBatchGoesWhereverItIsTorn) {
  config.index_interval_bytes = 100;
  open();
  append_numbered(0, 5);
  const auto good = log->size();
  append(batch_of({"the last one, of some length"}));
  const auto full = log->size();
  crash();
  const auto content = whole("00000000000000000000.log");
  ASSERT_EQ(content.size(), full);
  for (std::uint64_t size = good; size <= full; ++size) {
    {
      auto file = disk->open("/d/t-with-dash-3/00000000000000000000.log", runtime::Open::write);
      ASSERT_TRUE((*file)->truncate(size));
    }
    open(false, Offset{0});
    EXPECT_EQ(log->log_end(), Offset{size == full ? 6 : 5}) << size;
    EXPECT_EQ(log->size(), size == full ? full : good);
    append(batch_of({"again"}));
    EXPECT_EQ(values(Offset{0}).back(), "again");
    crash();
    auto file = disk->open("/d/t-with-dash-3/00000000000000000000.log", runtime::Open::write);
    ASSERT_TRUE((*file)->truncate(0));
    ASSERT_TRUE((*file)->write_at(0, as_bytes(content)));
  }
}

TEST_F(LogTest, AFlippedBitCutsTheLogThereAndNeverBefore) {
  config.segment_bytes = 300;
  config.index_interval_bytes = 60;
  open();
  append_numbered(0, 12);
  crash();
  std::map<std::string, std::string> files;
  for (const auto& name : names()) files[name] = whole(name);
  const auto log_name = segment_file(Offset{0}, ".log");
  const auto& first = files[log_name];
  const auto batch_size = record::BatchView(as_bytes(first)).size();
  for (std::size_t at = 0; at < first.size(); at += 5) {
    for (const auto& name : names()) ASSERT_TRUE(disk->remove("/d/t-with-dash-3/" + name));
    for (const auto& [name, content] : files) ASSERT_TRUE(disk->write_whole("/d/t-with-dash-3/" + name, content));
    auto broken = first;
    broken[at] = static_cast<char>(broken[at] ^ 0x04);
    ASSERT_TRUE(disk->write_whole("/d/t-with-dash-3/" + log_name, broken));
    open(false);
    const auto hit = static_cast<int>(at / batch_size);
    const auto inside = at % batch_size;
    // What is before the checksum's reach may be harmless: the leader epoch, an offset that still goes up.
    if (inside >= record::crc_at) EXPECT_EQ(log->log_end(), Offset{hit}) << at;
    const auto kept = values(log->log_start());
    EXPECT_GE(kept.size(), static_cast<std::size_t>(hit)) << at;
    for (int i = 0; i < hit; ++i) EXPECT_EQ(kept[static_cast<std::size_t>(i)], "v" + std::to_string(i));
    crash();
  }
}

TEST_F(LogTest, PowerLossKeepsAllThatWasFlushedAndAPrefixOfTheRest) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    log.reset();
    cache.reset();
    disk = std::make_unique<runtime::SimFiles>(seed);
    ASSERT_TRUE(disk->make_directories("/d"));
    ASSERT_TRUE(disk->sync_directory("/"));
    config.segment_bytes = 400;
    config.index_interval_bytes = 80;
    open();
    append_numbered(0, 11);
    ASSERT_TRUE(log->flush(now));
    const auto recovery_point = log->recovery_point();
    append_numbered(11, 30);
    crash(true);
    open(false, recovery_point);
    ASSERT_GE(log->log_end(), Offset{11}) << seed;
    EXPECT_EQ(values(Offset{0}), numbered(0, static_cast<int>(log->log_end().value))) << seed;
    EXPECT_EQ(log->epochs().epoch_at(Offset{10}), LeaderEpoch{1});
    const auto end = static_cast<int>(log->log_end().value);
    append_numbered(end, end + 5);
    EXPECT_EQ(values(Offset{0}), numbered(0, end + 5)) << seed;
    crash(false);
    open(false, recovery_point);
    EXPECT_EQ(values(Offset{0}), numbered(0, end + 5)) << seed;
  }
}

// What a follower has cut off and written anew: each record after a power failure is the new one, or none is there.
TEST_F(LogTest, PowerLossAfterATruncationBringsNothingBackThatWasCut) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    log.reset();
    cache.reset();
    disk = std::make_unique<runtime::SimFiles>(seed);
    ASSERT_TRUE(disk->make_directories("/d"));
    ASSERT_TRUE(disk->sync_directory("/"));
    config.segment_bytes = 400;
    config.index_interval_bytes = 80;
    open();
    append_numbered(0, 7);
    ASSERT_TRUE(log->flush(now));
    const auto recovery_point = log->recovery_point();
    append_numbered(7, 20);
    ASSERT_TRUE(*log->truncate_to(Offset{8}));
    std::vector<std::string> expected = numbered(0, 8);
    for (int i = 8; i < 20; ++i) {
      expected.push_back("w" + std::to_string(i));  // as long as what was there
      ASSERT_TRUE(log->append_as_leader(batch_of({expected.back()}, {}, 1000 + i), LeaderEpoch{2}, now));
    }
    crash(true);
    open(false, recovery_point);
    ASSERT_GE(log->log_end(), Offset{7}) << seed;
    expected.resize(std::min(expected.size(), static_cast<std::size_t>(log->log_end().value)));
    EXPECT_EQ(values(Offset{0}), expected) << seed;
  }
}

TEST_F(LogTest, AFlushBegunBeforeATruncationMovesNothing) {
  open();
  append_numbered(0, 10);
  auto work = log->begin_flush();
  ASSERT_TRUE(work);
  ASSERT_TRUE(*log->truncate_to(Offset{5}));
  append_numbered(5, 12);
  ASSERT_TRUE(work->run());
  log->finish_flush(*work, now);
  EXPECT_EQ(log->recovery_point(), Offset{0});
  ASSERT_TRUE(log->flush(now));
  EXPECT_EQ(log->recovery_point(), Offset{12});
  const auto syncs = disk->syncs();
  ASSERT_TRUE(log->flush(now));
  EXPECT_EQ(disk->syncs(), syncs);  // nothing to do
}

TEST_F(LogTest, FlushIsDueByMessagesTimeAndRoll) {
  config.flush_messages = 3;
  open();
  append_numbered(0, 2);
  EXPECT_FALSE(log->flush_due(now));
  append_numbered(2, 3);
  EXPECT_TRUE(log->flush_due(now));
  ASSERT_TRUE(log->flush(now));
  EXPECT_FALSE(log->flush_due(now));
  config = {};
  config.flush_ms = 100;
  log->set_config(config);
  append_numbered(3, 4);
  EXPECT_FALSE(log->flush_due(now + 99));
  EXPECT_TRUE(log->flush_due(now + 100));
  config = {};
  log->set_config(config);
  EXPECT_FALSE(log->flush_due(now + 100));
  ASSERT_TRUE(log->roll(now));
  EXPECT_TRUE(log->flush_due(now));
}

TEST_F(LogTest, AFullDiskLeavesTheLogAsItWasAndLaterAppendsGoOn) {
  config.index_interval_bytes = 60;
  open();
  append_numbered(0, 5);
  const auto size = log->size();
  const auto big = batch_of({std::string(5000, 'x')});
  disk->set_capacity(8000);
  EXPECT_EQ(refused(Shared::copy(big.view())), ErrorCode::NONE);
  EXPECT_EQ(refused(Shared::copy(big.view())), ErrorCode::KAFKA_STORAGE_ERROR);
  EXPECT_FALSE(log->failed());
  EXPECT_EQ(log->log_end(), Offset{6});
  disk->set_capacity(1 << 20);
  append(batch_of({"after"}));
  EXPECT_EQ(log->log_end(), Offset{7});
  EXPECT_GT(log->size(), size);
  EXPECT_THAT(values(Offset{6}), ElementsAre("after"));
  crash();
  open(false);
  EXPECT_EQ(log->log_end(), Offset{7});
}

TEST_F(LogTest, ATornWriteThatCannotBeCutFailsTheLog) {
  open();
  append_numbered(0, 3);
  disk->set_fault([](runtime::SimFiles::Op op, const std::string&) {
    return op == runtime::SimFiles::Op::write || op == runtime::SimFiles::Op::truncate ? EIO : 0;
  });
  EXPECT_EQ(refused(batch_of({"x"})), ErrorCode::KAFKA_STORAGE_ERROR);
  EXPECT_TRUE(log->failed());
  disk->set_fault(nullptr);
  EXPECT_EQ(refused(batch_of({"x"})), ErrorCode::KAFKA_STORAGE_ERROR);
  crash();
  open(false);
  EXPECT_EQ(values(Offset{0}), numbered(0, 3));
}

TEST_F(LogTest, AFailedSyncFailsTheLogAndARollThatFailsDoesNot) {
  config.segment_bytes = 200;
  open();
  append_numbered(0, 2);
  disk->set_fault([](runtime::SimFiles::Op op, const std::string& path) {
    return op == runtime::SimFiles::Op::open && path.ends_with("2.log") ? EMFILE : 0;
  });
  EXPECT_EQ(refused(batch_of({"x"})), ErrorCode::KAFKA_STORAGE_ERROR);
  EXPECT_FALSE(log->failed());
  disk->set_fault(nullptr);
  append_numbered(2, 8);
  EXPECT_EQ(values(Offset{0}), numbered(0, 8));
  disk->set_fault([](runtime::SimFiles::Op op, const std::string&) {
    return op == runtime::SimFiles::Op::sync_directory ? EIO : 0;
  });
  EXPECT_EQ(log->flush(now).error().code, ErrorCode::KAFKA_STORAGE_ERROR);
  EXPECT_TRUE(log->failed());
}

TEST_F(LogTest, ACleanStartScansNoDataAndMissingIndexesAreRebuilt) {
  config.segment_bytes = 500;
  config.index_interval_bytes = 60;
  open();
  append_numbered(0, 40);
  ASSERT_TRUE(log->close(now));
  EXPECT_FALSE(log->append_as_leader(batch_of({"x"}), LeaderEpoch{1}, now));
  // A broken byte in the first segment is not looked at by a clean start.
  {
    auto file = disk->open("/d/t-with-dash-3/00000000000000000000.log", runtime::Open::write);
    ASSERT_TRUE((*file)->write_at(100, as_bytes("?")));
  }
  open(true);
  EXPECT_EQ(log->log_end(), Offset{40});
  EXPECT_EQ(log->recovery_point(), Offset{40});
  const auto last = segment_file(log->active_base_offset(), ".index");
  const auto before = whole(last);
  EXPECT_GT(before.size(), 0U);
  ASSERT_TRUE(log->close(now));
  ASSERT_TRUE(disk->remove("/d/t-with-dash-3/" + last));
  open(true);
  EXPECT_EQ(whole(last), before);
}

// A Java broker that takes the directory back says an ERROR for each segment without them.
TEST_F(LogTest, AfterACleanStopEachSegmentHasItsIndexFiles) {
  const auto both = [this] {
    const auto base = log->active_base_offset();
    return *disk->exists("/d/t-with-dash-3/" + segment_file(base, ".index")) &&
           *disk->exists("/d/t-with-dash-3/" + segment_file(base, ".timeindex"));
  };
  open(false);
  ASSERT_TRUE(log->close(now));
  EXPECT_TRUE(both()) << "of a log that never took a record";
  open(true);
  append_numbered(0, 40);
  ASSERT_TRUE(log->roll(now));
  ASSERT_TRUE(log->close(now));
  EXPECT_TRUE(both()) << "of an empty segment behind others";
  open(true);
  EXPECT_EQ(log->log_end(), Offset{40});
}

// A power failure leaves a file that was just written empty, cut short, or with zeros where the disk had nothing yet.
TEST_F(LogTest, ATornTopicIdIsNoneAfterAPowerFailureAndDamageOtherwise) {
  const std::string whole_text = partition_metadata_text(Uuid::parse("AAAAAAAAAAAAAAAAAAAAAQ").value());
  for (std::size_t size = 0; size < whole_text.size(); ++size) {
    EXPECT_TRUE(is_torn_partition_metadata(whole_text.substr(0, size))) << size;
    EXPECT_TRUE(is_torn_partition_metadata(whole_text.substr(0, size) + std::string(whole_text.size() - size, '\0')))
        << size;
  }
  EXPECT_FALSE(is_torn_partition_metadata(whole_text)) << "whole";
  EXPECT_FALSE(is_torn_partition_metadata("version: 1\n"));
  EXPECT_FALSE(is_torn_partition_metadata("version: 0\ntopic_id: ?"));
  EXPECT_FALSE(is_torn_partition_metadata("rubbish"));

  open(false);
  append_numbered(0, 3);
  ASSERT_TRUE(log->close(now));
  ASSERT_TRUE(disk->write_whole("/d/t-with-dash-3/partition.metadata", std::string(45, '\0')));
  open(false);
  EXPECT_FALSE(log->topic_id());
  EXPECT_EQ(log->log_end(), Offset{3});
  // Also where nobody gave it one until the next clean stop (simulation, seed 2178).
  ASSERT_TRUE(log->close(now));
  open(true);
  EXPECT_FALSE(log->topic_id());
}

// The process is killed, and what it left to the system reaches the disk with the clean stop of the next one at the
// latest: a power failure then finds all that the mark of that stop speaks of (simulation, seeds 2078 and 2210).
TEST_F(LogTest, ACleanStopAfterAKilledProcessBringsItsSmallFilesToTheDisk) {
  const auto id = Uuid::parse("AAAAAAAAAAAAAAAAAAAAAQ").value();
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    log.reset();
    cache.reset();
    disk = std::make_unique<runtime::SimFiles>(seed);
    open();
    ASSERT_TRUE(disk->sync_directory("/"));
    ASSERT_TRUE(disk->sync_directory("/d"));
    ASSERT_TRUE(log->set_topic_id(id));
    append_numbered(0, 3);
    crash();
    open();
    ASSERT_TRUE(log->close(now));
    crash(true);
    open(true);
    EXPECT_EQ(log->topic_id(), id) << seed;
    EXPECT_EQ(log->log_end(), Offset{3}) << seed;
    EXPECT_EQ(log->epochs().entries(), (std::vector<EpochEntry>{{LeaderEpoch{1}, Offset{0}}})) << seed;
  }
}

TEST_F(LogTest, WhatDeletionsAndSwapsLeftIsPutInOrder) {
  config.segment_bytes = 400;
  open();
  append_numbered(0, 20);
  const auto segments = log->segment_count();
  ASSERT_GT(segments, 2U);
  ASSERT_TRUE(log->close(now));
  const std::string d = "/d/t-with-dash-3/";
  // A swap that was to replace the first segment: its compacted form, one record.
  const auto compacted = batch_of({"compacted"}, {.base_offset = Offset{1}});
  ASSERT_TRUE(disk->write_whole(d + "00000000000000000000.log.swap", compacted.text()));
  ASSERT_TRUE(disk->write_whole(d + "00000000000000000000.index.swap", ""));
  ASSERT_TRUE(disk->write_whole(d + "00000000000000000000.timeindex.swap", ""));
  ASSERT_TRUE(disk->write_whole(d + "00000000000000000900.log.cleaned", "rubbish"));
  ASSERT_TRUE(disk->write_whole(d + "00000000000000000900.log.deleted", "rubbish"));
  ASSERT_TRUE(disk->write_whole(d + "00000000000000000901.index", "rubbish!"));
  config.cleanup_compact = true;
  open(true);
  EXPECT_EQ(values(Offset{0})[0], "compacted");
  for (const auto& name : names()) {
    EXPECT_FALSE(name.ends_with(".swap") || name.ends_with(".cleaned") || name.ends_with(".deleted")) << name;
    EXPECT_FALSE(name.starts_with("0000000000000000090")) << name;
  }
}

TEST_F(LogTest, ATopicIdIsKeptAndAnotherIsRefused) {
  Uuid id;
  id.bytes[0] = 9;
  Uuid other;
  other.bytes[0] = 8;
  open();
  ASSERT_TRUE(log->set_topic_id({}));
  EXPECT_FALSE(log->topic_id());
  ASSERT_TRUE(log->set_topic_id(id));
  EXPECT_EQ(log->set_topic_id(other).error().code, ErrorCode::INCONSISTENT_TOPIC_ID);
  ASSERT_TRUE(log->close(now));
  open(true);
  EXPECT_EQ(log->topic_id(), id);
  log.reset();
  auto wrong = start(true);
  wrong.topic_id = other;
  EXPECT_EQ(Log::load(*cache, wrong).error().code, ErrorCode::INCONSISTENT_TOPIC_ID);
}

TEST_F(LogTest, ALogThatEndsBeforeItsStartBeginsAnewThere) {
  open();
  append_numbered(0, 3);
  crash();
  open(false, Offset{0}, Offset{50});
  EXPECT_EQ(log->log_start(), Offset{50});
  EXPECT_EQ(append(batch_of({"x"})).first_offset, Offset{50});
}

TEST_F(LogTest, ManyLogsShareFewOpenFiles) {
  cache = std::make_unique<FileCache>(*disk, 4);
  std::vector<std::unique_ptr<Log>> logs;
  for (int i = 0; i < 20; ++i) {
    auto one = start(false);
    one.directory = "/d/many-" + std::to_string(i);
    logs.push_back(*Log::load(*cache, one));
  }
  for (int round = 0; round < 3; ++round) {
    for (auto& one : logs) ASSERT_TRUE(one->append_as_leader(batch_of({"x"}), LeaderEpoch{0}, now));
  }
  EXPECT_LE(cache->open(), 4U);
  for (auto& one : logs) EXPECT_EQ(one->log_end(), Offset{3});
  logs.clear();
}

// ---- names and checkpoints

TEST(Names, PartitionsWithDashesAndWhatIsNone) {
  EXPECT_EQ(parse_directory_name("a-b-12"), (TopicPartition{"a-b", PartitionId{12}}));
  EXPECT_EQ(parse_directory_name("a-b"), std::nullopt);
  EXPECT_EQ(parse_directory_name("-1"), std::nullopt);
  EXPECT_EQ(parse_directory_name("a-99999999999"), std::nullopt);
  EXPECT_EQ(parse_directory_name("a-1.0123-delete"), std::nullopt);
  const auto deleted = deleted_directory_name({std::string(249, 'x'), PartitionId{12}}, {});
  EXPECT_EQ(deleted.size(), 255U);
  EXPECT_TRUE(is_deleted_directory(deleted));
  EXPECT_EQ(segment_file(Offset{42}, ".log"), "00000000000000000042.log");
  EXPECT_EQ(parse_segment_file("00000000000000000042.log", ".log"), Offset{42});
  EXPECT_EQ(parse_segment_file("0000000000000000042.log", ".log"), std::nullopt);
  EXPECT_EQ(parse_segment_file("99999999999999999999.log", ".log"), std::nullopt);
}

TEST(Checkpoints, RoundTripAndRefuseWhatIsMalformed) {
  const OffsetCheckpoint all{{{"a", PartitionId{0}}, Offset{5}}, {{"b-c", PartitionId{1}}, Offset{7}}};
  EXPECT_EQ(to_text(all), "0\n2\na 0 5\nb-c 1 7\n");
  EXPECT_EQ(*parse_offset_checkpoint(to_text(all)), all);
  EXPECT_TRUE(parse_offset_checkpoint("")->empty());
  for (auto bad : {"1\n0\n", "0\n", "0\nx\n", "0\n2\na 0 5\n", "0\n1\na 0\n", "0\n1\na x 1\n"}) {
    EXPECT_FALSE(parse_offset_checkpoint(bad)) << bad;
  }
  EXPECT_EQ(parse_epoch_checkpoint("0\n2\n0 0\n3 17\n")->at(1), (EpochEntry{LeaderEpoch{3}, Offset{17}}));
  const auto meta = parse_meta_properties("#\n#Mon\nversion=0\nbroker.id=1\ncluster.id=abc\\=\nx=y\n");
  ASSERT_TRUE(meta);
  EXPECT_EQ(meta->broker_id, BrokerId{1});
  EXPECT_EQ(meta->others.at("x"), "y");
  const auto with_directory = parse_meta_properties("version=0\nbroker.id=2\ndirectory.id=0uqrEPSJTEeLB8ZZzQ7fVg\n");
  EXPECT_TRUE(with_directory->directory_id);
  EXPECT_FALSE(parse_meta_properties("broker.id=two\n"));
}

// ---- the directory

class DirectoryTest : public testing::Test {
 protected:
  runtime::SimFiles disk{3};
  runtime::SimClock clock;
  std::unique_ptr<FileCache> cache = std::make_unique<FileCache>(disk, 100);

  Result<std::unique_ptr<Directory>> open(int threads = 1) {
    cache = std::make_unique<FileCache>(disk, 100);
    return Directory::open(*cache, clock, {.path = "/logs", .recovery_threads = threads, .config = nullptr});
  }
  static std::vector<Directory::Marks> marks(const std::vector<std::unique_ptr<Log>>& logs) {
    std::vector<Directory::Marks> out;
    for (const auto& log : logs) out.push_back(Directory::marks(*log));
    return out;
  }
};

// A start that took the mark away and failed then, one that went well, a power failure: that is no clean stop.
TEST_F(DirectoryTest, TheMarkOfACleanStopStaysAwayOnceAStartHasTakenIt) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    runtime::SimFiles files(seed);
    const auto opened = [&](FileCache& of) {
      return *Directory::open(of, clock, {.path = "/logs", .recovery_threads = 1, .config = nullptr});
    };
    FileCache first(files, 100);
    auto directory = opened(first);
    ASSERT_TRUE(directory->load());
    ASSERT_TRUE(directory->close({}));
    directory.reset();
    ASSERT_TRUE(files.sync_directory("/logs"));
    files.set_fault([](auto op, const std::string&) { return op == runtime::SimFiles::Op::sync_directory ? EIO : 0; });
    FileCache second(files, 100);
    directory = opened(second);
    EXPECT_FALSE(directory->load());
    directory.reset();
    files.set_fault(nullptr);
    FileCache third(files, 100);
    directory = opened(third);
    ASSERT_TRUE(directory->load());
    EXPECT_FALSE(directory->was_clean());
    directory.reset();
    files.crash();
    FileCache fourth(files, 100);
    directory = opened(fourth);
    ASSERT_TRUE(directory->load());
    EXPECT_FALSE(directory->was_clean()) << "seed " << seed;
  }
}

TEST_F(DirectoryTest, CleanAndUncleanStopsBringEverythingBack) {
  auto directory = *open();
  EXPECT_FALSE(directory->meta());
  ASSERT_TRUE(directory->claim(BrokerId{1}, "cluster"));
  std::vector<std::unique_ptr<Log>> logs = *directory->load();
  EXPECT_TRUE(logs.empty());
  for (int i = 0; i < 8; ++i) {
    auto made = directory->create({"topic-x", PartitionId{i}}, {}, std::nullopt, 1);
    ASSERT_TRUE(made) << made.error().message;
    logs.push_back(std::move(*made));
    for (int n = 0; n <= i; ++n) ASSERT_TRUE(logs.back()->append_as_leader(batch_of({"v"}), LeaderEpoch{0}, 1));
    logs.back()->set_high_watermark(logs.back()->log_end());
  }
  EXPECT_FALSE(directory->create({"topic-x", PartitionId{0}}, {}, std::nullopt, 1));
  for (auto& log : logs) ASSERT_TRUE(log->close(2));
  ASSERT_TRUE(directory->close(marks(logs)));
  logs.clear();
  directory.reset();

  directory = *open(3);
  ASSERT_TRUE(directory->meta());
  EXPECT_EQ(directory->meta()->cluster_id, "cluster");
  EXPECT_EQ(directory->claim(BrokerId{1}, "other").error().code, ErrorCode::INCONSISTENT_CLUSTER_ID);
  EXPECT_EQ(directory->claim(BrokerId{2}, "cluster").error().code, ErrorCode::INCONSISTENT_CLUSTER_ID);
  auto loaded = directory->load();
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_TRUE(directory->was_clean());
  ASSERT_EQ(loaded->size(), 8U);
  for (auto& log : *loaded) {
    EXPECT_EQ(log->log_end().value, log->partition().partition.value + 1);
    EXPECT_EQ(log->high_watermark(), log->log_end());
  }
  ASSERT_TRUE(directory->write_checkpoints(marks(*loaded)));
  ASSERT_TRUE((*loaded)[0]->append_as_leader(batch_of({"more"}), LeaderEpoch{0}, 1));
  loaded->clear();
  directory.reset();
  disk.crash(true);

  directory = *open(2);
  loaded = directory->load();
  ASSERT_TRUE(loaded);
  EXPECT_FALSE(directory->was_clean());
  ASSERT_EQ(loaded->size(), 8U);
  EXPECT_GE((*loaded)[0]->log_end(), Offset{1});
  EXPECT_EQ((*loaded)[7]->log_end(), Offset{8});
  loaded->clear();
}

TEST_F(DirectoryTest, TwoProcessesDoNotShareADirectory) {
  auto directory = open();
  ASSERT_TRUE(directory);
  FileCache other(disk, 10);
  auto second = Directory::open(other, clock, {.path = "/logs", .config = nullptr});
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, testing::HasSubstr("already in use"));
  directory->reset();
  EXPECT_TRUE(Directory::open(other, clock, {.path = "/logs", .config = nullptr}));
}

TEST_F(DirectoryTest, ADeletedPartitionIsGoneAndItsNameFree) {
  auto directory = *open();
  auto logs = *directory->load();
  const TopicPartition partition{"gone", PartitionId{0}};
  auto log = *directory->create(partition, {}, std::nullopt, 1);
  ASSERT_TRUE(log->append_as_leader(batch_of({"v"}), LeaderEpoch{0}, 1));
  Uuid unique;
  unique.bytes[3] = 1;
  auto removal = directory->remove(*log, unique, 10);
  ASSERT_TRUE(removal);
  EXPECT_FALSE(log->append_as_leader(batch_of({"v"}), LeaderEpoch{0}, 1));
  auto again = directory->create(partition, {}, std::nullopt, 1);
  ASSERT_TRUE(again);
  EXPECT_EQ((*again)->log_end(), Offset{0});
  directory.reset();
  directory = *open();
  ASSERT_TRUE(directory->load());
  ASSERT_EQ(directory->leftovers().size(), 1U);
  ASSERT_TRUE(removal->run(disk));
  EXPECT_FALSE(*disk.exists(directory->leftovers()[0]));
}

// No descriptor is left, the disk is full: the controller asks again, and then it is made.
TEST_F(DirectoryTest, ALogThatCouldNotBeMadeIsNotInTheWayOfTheNextTry) {
  auto directory = *open();
  ASSERT_TRUE(directory->load());
  const TopicPartition partition{"t", PartitionId{0}};
  for (const bool cleaning_fails : {false, true}) {
    SCOPED_TRACE(cleaning_fails);
    disk.set_fault([&](auto op, const std::string& path) {
      if (op == runtime::SimFiles::Op::open && path.ends_with(".log")) return EMFILE;
      return op == runtime::SimFiles::Op::remove && cleaning_fails ? EMFILE : 0;
    });
    EXPECT_FALSE(directory->create(partition, {}, std::nullopt, 1));
    EXPECT_EQ(*disk.exists("/logs/t-0"), cleaning_fails);
    disk.set_fault(nullptr);
    auto log = directory->create(partition, {}, std::nullopt, 1);
    ASSERT_TRUE(log) << log.error().message;
    EXPECT_TRUE((*log)->append_as_leader(batch_of({"v"}), LeaderEpoch{0}, 1));
    auto again = directory->create(partition, {}, std::nullopt, 1);
    ASSERT_FALSE(again) << "one that was made is in the way";
    EXPECT_THAT(again.error().message, testing::HasSubstr("is there already"));
    EXPECT_EQ((*log)->log_end(), Offset{1});
    ASSERT_TRUE(directory->remove(**log, Uuid{}, 1));
    ASSERT_TRUE(disk.remove_all("/logs/" + deleted_directory_name(partition, Uuid{})));
  }
}

TEST_F(DirectoryTest, ALogThatCannotBeTakenAwayGoesOn) {
  auto directory = *open();
  ASSERT_TRUE(directory->load());
  auto log = *directory->create({"t", PartitionId{0}}, {}, std::nullopt, 1);
  disk.set_fault([](auto op, const auto&) { return op == runtime::SimFiles::Op::rename ? EIO : 0; });
  EXPECT_FALSE(directory->remove(*log, Uuid{}, 1));
  disk.set_fault(nullptr);
  EXPECT_TRUE(log->append_as_leader(batch_of({"v"}), LeaderEpoch{0}, 1));
  EXPECT_TRUE(directory->remove(*log, Uuid{}, 1));
}

// ---- real files

class RealFiles : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "weir-log-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    path = name;
  }
  void TearDown() override { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

// A directory of Apache Kafka 3.9.1, stopped cleanly: 120 records of ten console producers, each codec twice.
TEST_F(RealFiles, ADirectoryOfKafkaIsReadAndGoneOnWith) {
  const std::string topic = "tiny-topic-0";
  for (const bool clean : {true, false}) {
    const auto data = path / (clean ? "clean" : "unclean");
    std::filesystem::create_directories(data);
    std::filesystem::copy(std::filesystem::path(WEIR_LOG_TESTDATA) / "kafka-3.9.1", data,
                          std::filesystem::copy_options::recursive);
    const auto index = data / topic / "00000000000000000047.index";
    std::string index_before;
    std::getline(std::ifstream(index, std::ios::binary), index_before, '\0');
    FileCache cache(runtime::system_files(), 20);
    LogConfig config;
    config.segment_bytes = 1500;
    config.index_interval_bytes = 200;
    config.producer_expiration_ms = INT64_MAX;
    auto loaded = Log::load(cache, {.partition = {"tiny-topic", PartitionId{0}},
                                    .directory = (data / topic).string(),
                                    .config = config,
                                    .clean = clean,
                                    .now = 1});
    ASSERT_TRUE(loaded) << loaded.error().message;
    auto& log = **loaded;
    EXPECT_EQ(log.log_end(), Offset{120});
    EXPECT_EQ(log.segment_count(), 3U);
    EXPECT_EQ(log.latest_epoch(), LeaderEpoch{0});
    EXPECT_TRUE(log.topic_id());
    EXPECT_EQ(log.producers().size(), 10U);
    std::vector<std::string> seen;
    for (auto from = Offset{0}; from < log.log_end();) {
      auto slice = log.read(from, 1 << 20, Isolation::log_end, true, ReadMode::may_block);
      ASSERT_TRUE(slice) << slice.error().error.message;
      const auto text = bytes_of(*slice);
      record::Batches batches(as_bytes(text));
      while (auto batch = batches.next()) {
        record::RecordIterator records(*batch);
        while (const auto* record = records.next()) seen.emplace_back(as_text(*record->value));
        EXPECT_FALSE(records.failed());
        from = batch->next_offset();
      }
    }
    ASSERT_EQ(seen.size(), 120U);
    EXPECT_EQ(seen[0], "none-1-record-1");
    EXPECT_EQ(seen[119], "zstd-2-record-12");
    // Their producers' batches are known: the same sequences again are a duplicate.
    const auto& [id, producer] = *log.producers().all().begin();
    const auto last = *producer.last();
    auto again = log.append_as_leader(
        from_producer(id.value, producer.epoch.value, last.first_sequence(), last.offset_delta + 1), LeaderEpoch{0}, 1);
    ASSERT_TRUE(again) << again.error().error.message;
    EXPECT_TRUE(again->duplicate);
    EXPECT_EQ(again->last_offset, last.last_offset);
    ASSERT_TRUE(log.append_as_leader(batch_of({"ours"}), LeaderEpoch{1}, 1));
    EXPECT_EQ(log.log_end(), Offset{121});
    ASSERT_TRUE(log.close(2));
    // Recovery builds the very index that Kafka built.
    std::string index_after;
    std::getline(std::ifstream(index, std::ios::binary), index_after, '\0');
    EXPECT_EQ(index_after, index_before);
  }
}

}  // namespace
}  // namespace weir::log
