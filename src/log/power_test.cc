// What a power failure leaves of a log, and what the next start makes of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "log/directory.h"
#include "log/log.h"
#include "record/builder.h"
#include "runtime/sim.h"

namespace weir::log {
namespace {

using runtime::SimFiles;
using testing::ElementsAre;

const TopicPartition tp{"t", PartitionId{0}};
constexpr TimestampMs now = 5000;

bytes::Shared batch_of(int count) {
  record::Builder builder({});
  for (int i = 0; i < count; ++i) {
    builder.append({.timestamp = 1000, .key = {}, .value = bytes::as_bytes("some value"), .headers = {}});
  }
  return *builder.build();
}

// Processes on one machine, one after the other.
struct Disk {
  SimFiles files;
  runtime::SimClock clock;
  std::unique_ptr<FileCache> cache;
  std::unique_ptr<Directory> directory;
  std::vector<std::unique_ptr<Log>> logs;

  explicit Disk(std::uint64_t seed) : files(seed) {}
  Result<> start() {
    cache = std::make_unique<FileCache>(files, 50);
    auto opened = Directory::open(*cache, clock, {.path = "/logs", .recovery_threads = 1, .config = nullptr});
    if (!opened) return std::unexpected(opened.error());
    directory = std::move(*opened);
    auto loaded = directory->load();
    if (!loaded) return std::unexpected(loaded.error());
    logs = std::move(*loaded);
    return {};
  }
  void end(bool power) {
    logs.clear();
    directory.reset();
    cache.reset();
    files.crash(!power);
  }
  void checkpoint() { EXPECT_TRUE(directory->write_checkpoints({Directory::marks(*logs.front())})); }
  void stop_cleanly() {
    EXPECT_TRUE(logs.front()->close(now));
    EXPECT_TRUE(directory->close({Directory::marks(*logs.front())}));
    logs.clear();
    directory.reset();
    cache.reset();
    EXPECT_TRUE(files.sync_directory("/logs"));  // whenever the system did it
  }
  Log& log() { return *logs.front(); }
  void append(int epoch, int count = 1) {
    EXPECT_TRUE(log().append_as_leader(batch_of(count), LeaderEpoch{epoch}, now));
  }
};

// What recovery cut stays cut, also where nothing was left to flush for the clean stop that followed (simulation,
// seed 189).
TEST(PowerTest, WhatRecoveryCutDoesNotComeBackBehindTheMarkOfACleanStop) {
  int cut = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Disk disk(seed);
    ASSERT_TRUE(disk.start());
    disk.logs.push_back(*disk.directory->create(tp, {}, std::nullopt, now));
    disk.append(1);
    ASSERT_TRUE(disk.log().flush(now));
    disk.checkpoint();
    for (int i = 0; i < 30; ++i) disk.append(1);
    disk.end(true);
    ASSERT_TRUE(disk.start());
    if (disk.logs.empty()) continue;
    const auto end = disk.log().log_end();
    if (end > Offset{1} || disk.log().recovery_point() < end) continue;
    ++cut;
    disk.stop_cleanly();
    disk.end(true);
    const auto started = disk.start();
    ASSERT_TRUE(started) << "seed " << seed << ": " << started.error().message;
    EXPECT_EQ(disk.log().log_end(), end) << "seed " << seed;
  }
  EXPECT_GT(cut, 3);
}

// The checkpoint is replaced with each new epoch, and synced with the next flush only: it may come back empty, while
// what is before the recovery point is not scanned (simulation, seed 29: a follower kept what its leader never had).
TEST(PowerTest, EpochsOfBeforeTheRecoveryPointAreNotForgotten) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Disk disk(seed);
    ASSERT_TRUE(disk.start());
    disk.logs.push_back(*disk.directory->create(tp, {}, std::nullopt, now));
    disk.append(1);
    disk.append(2);
    ASSERT_TRUE(disk.log().roll(now));
    disk.append(3);
    ASSERT_TRUE(disk.log().flush(now));
    disk.checkpoint();
    disk.append(4);
    disk.end(true);
    ASSERT_TRUE(disk.start());
    if (disk.logs.empty()) continue;
    std::vector<EpochEntry> expected;
    for (int i = 0; i < disk.log().log_end().value; ++i) expected.push_back({LeaderEpoch{i + 1}, Offset{i}});
    EXPECT_GE(expected.size(), 3U);
    EXPECT_EQ(disk.log().epochs().entries(), expected) << "seed " << seed;
  }
}

// The same where the checkpoint could not be written: the flush that moves the recovery point writes it, or fails.
TEST(PowerTest, EpochsThatCouldNotBeWrittenAreWrittenWithTheNextFlush) {
  Disk disk(1);
  ASSERT_TRUE(disk.start());
  disk.logs.push_back(*disk.directory->create(tp, {}, std::nullopt, now));
  disk.append(1);
  const auto fault = [](SimFiles::Op op, const std::string& path) {
    return op == SimFiles::Op::write && path.contains("leader-epoch") ? ENOSPC : 0;
  };
  disk.files.set_fault(fault);
  disk.append(2);
  EXPECT_FALSE(disk.log().flush(now));
  disk.files.set_fault(nullptr);
  ASSERT_TRUE(disk.log().roll(now));
  disk.append(2);
  ASSERT_TRUE(disk.log().flush(now));
  disk.checkpoint();
  disk.end(true);
  ASSERT_TRUE(disk.start());
  EXPECT_THAT(disk.log().epochs().entries(),
              ElementsAre(EpochEntry{LeaderEpoch{1}, Offset{0}}, EpochEntry{LeaderEpoch{2}, Offset{1}}));
}

// A checkpoint of leader epochs that is older than the log: as it came back after a power failure, while the log was
// emptied and filled anew (simulation, seed 342: followers cut all of it off, again and again).
TEST(PowerTest, AfterACrashTheEpochsAreThoseOfTheRecords) {
  Disk disk(1);
  ASSERT_TRUE(disk.start());
  disk.logs.push_back(*disk.directory->create(tp, {}, std::nullopt, now));
  disk.append(3, 2);
  disk.append(3, 3);
  disk.append(5);
  disk.append(5);
  for (const std::string text : {"0\n2\n0 0\n5 20\n", "0\n2\n0 0\n3 4\n", "0\n1\n7 0\n", "0\n3\n0 0\n4 2\n5 3\n",
                                 "0\n3\n3 0\n4 3\n5 5\n", "0\n2\n3 0\n5 4\n", "0\n0\n", "0\n2\n3 0\n5 5\n"}) {
    disk.end(false);
    ASSERT_TRUE(disk.files.write_whole("/logs/t-0/leader-epoch-checkpoint", text));
    ASSERT_TRUE(disk.start());
    EXPECT_THAT(disk.log().epochs().entries(),
                ElementsAre(EpochEntry{LeaderEpoch{3}, Offset{0}}, EpochEntry{LeaderEpoch{5}, Offset{5}}))
        << text;
  }
}

}  // namespace
}  // namespace weir::log
