#include "replica/partition.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "replica/test_machine.h"

namespace weir::replica {
namespace {

using namespace std::chrono_literals;

struct PartitionTest : testing::Test {
  PartitionTest() {
    machine.settings["flushed"].log.flush_messages = 1;
    machine.settings["strict"].min_insync_replicas = 2;
    EXPECT_TRUE(machine.start());
  }
  // A flush of the first batch, which also makes names durable, is behind us.
  std::shared_ptr<Partition> flushed() {
    auto partition = machine.make("flushed");
    EXPECT_TRUE(machine.append(partition, "first"));
    machine.world.settle();
    EXPECT_EQ(partition->high_watermark(), Offset{1});
    return partition;
  }

  Machine machine;
};

TEST_F(PartitionTest, LeaderEpochsFenceOldAndUnknownOnes) {
  auto partition = machine.make("t", Machine::lead(5));
  EXPECT_EQ(code(partition->check_leader()), ErrorCode::NONE);
  EXPECT_EQ(code(partition->check_leader(LeaderEpoch{5})), ErrorCode::NONE);
  EXPECT_EQ(code(partition->check_leader(no_leader_epoch)), ErrorCode::NONE) << "-1 is: not given";
  EXPECT_EQ(code(partition->check_leader(LeaderEpoch{4})), ErrorCode::FENCED_LEADER_EPOCH);
  EXPECT_EQ(code(partition->check_leader(LeaderEpoch{6})), ErrorCode::UNKNOWN_LEADER_EPOCH);

  // An order that was overtaken takes nothing back.
  EXPECT_EQ(code(machine.apply("t", 0, Machine::lead(4, {BrokerId{2}}, BrokerId{2}))),
            ErrorCode::STALE_CONTROLLER_EPOCH);
  EXPECT_TRUE(partition->leads());
  EXPECT_EQ(partition->leader_epoch(), LeaderEpoch{5});

  EXPECT_TRUE(machine.apply("t", 0, Machine::lead(6, {BrokerId{2}, self}, BrokerId{2})));
  EXPECT_EQ(partition->role(), Role::follower);
  EXPECT_EQ(code(partition->check_leader(LeaderEpoch{6})), ErrorCode::NOT_LEADER_OR_FOLLOWER);
  EXPECT_EQ(code(machine.append(partition, "x")), ErrorCode::NOT_LEADER_OR_FOLLOWER);
}

TEST_F(PartitionTest, EachNewEpochBeginsWhereTheLogEnds) {
  auto partition = machine.make("t", Machine::lead(5));
  ASSERT_TRUE(machine.append(partition, "a", 3));
  ASSERT_TRUE(machine.apply("t", 0, Machine::lead(5, {self, BrokerId{2}})));  // only the ISR changed
  ASSERT_TRUE(machine.append(partition, "b", 2));
  ASSERT_TRUE(machine.apply("t", 0, Machine::lead(8)));
  ASSERT_TRUE(machine.append(partition, "c", 1));
  const auto& entries = partition->log().epochs().entries();
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0], (log::EpochEntry{LeaderEpoch{5}, Offset{0}}));
  EXPECT_EQ(entries[1], (log::EpochEntry{LeaderEpoch{8}, Offset{5}}));
  EXPECT_EQ(partition->log().end_of_epoch(LeaderEpoch{7}).end, Offset{5});
}

TEST_F(PartitionTest, AppendsOfALeaderAloneAreCommittedAtOnce) {
  auto partition = machine.make("t");
  const auto appended = machine.append(partition, "a", 3);
  ASSERT_TRUE(appended);
  EXPECT_EQ(appended->first_offset, Offset{0});
  EXPECT_EQ(appended->last_offset, Offset{2});
  EXPECT_EQ(partition->high_watermark(), Offset{3});
  const auto answer = machine.commit(partition, Offset{2}, 1s);
  ASSERT_TRUE(answer->has_value()) << "nothing to wait for";
  EXPECT_TRUE(**answer);
  EXPECT_EQ(partition->counters().messages_in->value(), 3U);
  EXPECT_EQ(partition->counters().bytes_in->value(), appended->size);
}

TEST_F(PartitionTest, AHighWatermarkWaitsForTheOtherReplicas) {
  auto partition = machine.make("t", Machine::lead(1, {self, BrokerId{2}}));
  ASSERT_TRUE(machine.append(partition, "a"));
  EXPECT_EQ(partition->high_watermark(), Offset{0});
  const auto answer = machine.commit(partition, Offset{0}, 10s);
  machine.world.run_for(5s);
  EXPECT_FALSE(answer->has_value());
  // The controller takes the other one out of the ISR.
  ASSERT_TRUE(machine.apply("t", 0, Machine::lead(1)));
  machine.world.settle();
  ASSERT_TRUE(answer->has_value());
  EXPECT_TRUE(**answer);
  EXPECT_EQ(partition->high_watermark(), Offset{1});
}

TEST_F(PartitionTest, ACommitThatDoesNotComeTimesOut) {
  auto partition = machine.make("t", Machine::lead(1, {self, BrokerId{2}}));
  ASSERT_TRUE(machine.append(partition, "a"));
  const auto answer = machine.commit(partition, Offset{0}, 100ms);
  machine.world.run_for(99ms);
  EXPECT_FALSE(answer->has_value());
  machine.world.run_for(1ms);
  ASSERT_TRUE(answer->has_value());
  EXPECT_EQ(code(**answer), ErrorCode::REQUEST_TIMED_OUT);
}

TEST_F(PartitionTest, LostLeadershipWakesCommitsAndReaders) {
  auto partition = machine.make("t", Machine::lead(1, {self, BrokerId{2}}));
  ASSERT_TRUE(machine.append(partition, "a"));
  const auto answer = machine.commit(partition, Offset{0}, 1h);
  auto wait = std::make_shared<DataWait>(machine.world.shard());
  partition->on_data(wait);
  const auto woken = machine.wait_data(wait, 1h);
  machine.world.settle();
  EXPECT_FALSE(answer->has_value());
  EXPECT_FALSE(woken->has_value());
  ASSERT_TRUE(machine.apply("t", 0, Machine::lead(2, {BrokerId{2}}, BrokerId{2})));
  machine.world.settle();
  ASSERT_TRUE(answer->has_value());
  EXPECT_EQ(code(**answer), ErrorCode::NOT_LEADER_OR_FOLLOWER);
  ASSERT_TRUE(woken->has_value());
  EXPECT_TRUE(**woken);
}

// The record may have been cut off in between, and the offset may be another record's.
TEST_F(PartitionTest, WhatAnEarlierLeadershipAppendedIsNotAcknowledgedByALaterOne) {
  auto partition = machine.make("t", Machine::lead(1, {self, BrokerId{2}}));
  ASSERT_TRUE(machine.append(partition, "a"));
  const auto tenure = partition->tenure();
  ASSERT_TRUE(machine.apply("t", 0, Machine::lead(2, {BrokerId{2}, self}, BrokerId{2})));
  ASSERT_TRUE(machine.apply("t", 0, Machine::lead(3)));  // leads again, and alone: all that is there is committed
  EXPECT_EQ(partition->high_watermark(), Offset{1});
  Result<> answer;
  machine.run([&]() -> Task<void> { answer = co_await partition->committed(Offset{0}, 1s, tenure); });
  EXPECT_EQ(code(answer), ErrorCode::NOT_LEADER_OR_FOLLOWER);
  machine.run([&]() -> Task<void> { answer = co_await partition->flushed(Offset{0}, 1s, tenure); });
  EXPECT_EQ(code(answer), ErrorCode::NOT_LEADER_OR_FOLLOWER);
  machine.run([&]() -> Task<void> { answer = co_await partition->committed(Offset{0}, 1s, partition->tenure()); });
  EXPECT_EQ(code(answer), ErrorCode::NONE);
}

TEST_F(PartitionTest, AReplicaTakenAwayWakesCommitsAndReadersAndRefuses) {
  auto partition = machine.make("t", Machine::lead(1, {self, BrokerId{2}}));
  ASSERT_TRUE(machine.append(partition, "a"));
  const auto answer = machine.commit(partition, Offset{0}, 1h);
  auto wait = std::make_shared<DataWait>(machine.world.shard());
  partition->on_data(wait);
  const auto woken = machine.wait_data(wait, 1h);
  machine.run(
      [&]() -> Task<void> { EXPECT_TRUE(co_await machine.manager->stop_replica({"t", PartitionId{0}}, true)); });
  machine.world.settle();
  ASSERT_TRUE(answer->has_value());
  EXPECT_EQ(code(**answer), ErrorCode::NOT_LEADER_OR_FOLLOWER);
  ASSERT_TRUE(woken->has_value());
  EXPECT_TRUE(partition->gone());
  EXPECT_EQ(code(machine.append(partition, "b")), ErrorCode::NOT_LEADER_OR_FOLLOWER);
  EXPECT_EQ(code(partition->check_leader()), ErrorCode::NOT_LEADER_OR_FOLLOWER);
}

TEST_F(PartitionTest, MinInsyncReplicasRefusesAllAcksOnly) {
  auto partition = machine.make("strict", Machine::lead(0, {self}, self, {self, BrokerId{2}}));
  EXPECT_EQ(code(machine.append(partition, "a", 1, true)), ErrorCode::NOT_ENOUGH_REPLICAS);
  EXPECT_EQ(partition->log().log_end(), Offset{0}) << "a refused batch is not written";
  EXPECT_TRUE(machine.append(partition, "a", 1, false));
  machine.world.settle();
  EXPECT_EQ(partition->high_watermark(), Offset{0}) << "too few have it to call it committed";
  ASSERT_TRUE(machine.apply("strict", 0, Machine::lead(0, {self, BrokerId{2}})));
  EXPECT_TRUE(machine.append(partition, "b", 1, true));
}

TEST_F(PartitionTest, MinInsyncReplicasAsksForNoMoreReplicasThanThereAre) {
  auto partition = machine.make("strict");
  EXPECT_TRUE(machine.append(partition, "a", 1, true));
  EXPECT_EQ(partition->high_watermark(), Offset{1});
}

TEST_F(PartitionTest, WithFlushMessagesNothingIsShownBeforeItIsOnTheDisk) {
  auto partition = flushed();
  machine.world.set_pool_latency(10ms);
  ASSERT_TRUE(machine.append(partition, "a"));
  const auto answer = machine.commit(partition, Offset{1}, 1s);
  machine.world.run_for(9ms);
  EXPECT_EQ(partition->high_watermark(), Offset{1});
  EXPECT_FALSE(answer->has_value());
  machine.world.run_for(2ms);
  EXPECT_EQ(partition->high_watermark(), Offset{2});
  ASSERT_TRUE(answer->has_value());
  EXPECT_TRUE(**answer);
  EXPECT_EQ(partition->log().recovery_point(), Offset{2});
}

TEST_F(PartitionTest, WaitingAppendsShareOneSync) {
  auto partition = flushed();
  machine.world.set_pool_latency(10ms);
  const auto before = machine.world.files().syncs();
  std::vector<Machine::Answer> answers;
  for (int i = 0; i < 100; ++i) {
    const auto appended = machine.append(partition, "x");
    ASSERT_TRUE(appended);
    answers.push_back(machine.commit(partition, appended->last_offset, 10s));
  }
  machine.world.run_for(100ms);
  EXPECT_EQ(partition->high_watermark(), Offset{101});
  for (const auto& answer : answers) {
    ASSERT_TRUE(answer->has_value());
    EXPECT_TRUE(**answer);
  }
  // One for the first batch, one for the 99 that came while it ran.
  EXPECT_EQ(machine.world.files().syncs() - before, 2U);
}

TEST_F(PartitionTest, AFlushCoversOnlyWhatWasThereWhenItBegan) {
  auto partition = flushed();
  machine.world.set_pool_latency(10ms);
  ASSERT_TRUE(machine.append(partition, "a"));
  machine.world.run_for(5ms);
  ASSERT_TRUE(machine.append(partition, "b"));
  machine.world.run_for(6ms);
  EXPECT_EQ(partition->high_watermark(), Offset{2}) << "b came after the first flush began";
  machine.world.run_for(10ms);
  EXPECT_EQ(partition->high_watermark(), Offset{3});
}

TEST_F(PartitionTest, AFailedFlushAcknowledgesNothingAndThePartitionRefuses) {
  auto partition = flushed();
  machine.world.set_pool_latency(10ms);
  ASSERT_TRUE(machine.append(partition, "a"));
  const auto answer = machine.commit(partition, Offset{1}, 1h);
  machine.world.files().set_fault([](auto op, const auto&) { return op == runtime::SimFiles::Op::sync ? EIO : 0; });
  machine.world.run_for(20ms);
  machine.world.files().set_fault(nullptr);
  ASSERT_TRUE(answer->has_value()) << "told at once, not at the timeout";
  EXPECT_EQ(code(**answer), ErrorCode::KAFKA_STORAGE_ERROR);
  EXPECT_TRUE(partition->failed());
  EXPECT_EQ(partition->high_watermark(), Offset{1});
  EXPECT_EQ(code(machine.append(partition, "b")), ErrorCode::KAFKA_STORAGE_ERROR);
  // Whoever asks later is told the same, and does not wait.
  const auto late = machine.commit(partition, Offset{1}, 1h);
  ASSERT_TRUE(late->has_value());
  EXPECT_EQ(code(**late), ErrorCode::KAFKA_STORAGE_ERROR);
  machine.world.run_for(1min);
  EXPECT_EQ(partition->high_watermark(), Offset{1});
}

TEST_F(PartitionTest, AFlushThatWasAskedForFailsThePartitionToo) {
  auto partition = machine.make("t");
  ASSERT_TRUE(machine.append(partition, "a"));
  machine.run([&]() -> Task<void> {
    machine.world.files().set_fault([](auto op, const auto&) { return op == runtime::SimFiles::Op::sync ? EIO : 0; });
    EXPECT_EQ(code(co_await partition->flush()), ErrorCode::KAFKA_STORAGE_ERROR);
    machine.world.files().set_fault(nullptr);
  });
  EXPECT_EQ(code(machine.append(partition, "b")), ErrorCode::KAFKA_STORAGE_ERROR);
}

TEST_F(PartitionTest, AFlushThatWasAskedForMovesTheRecoveryPoint) {
  auto partition = machine.make("t");
  ASSERT_TRUE(machine.append(partition, "a", 4));
  EXPECT_EQ(partition->log().recovery_point(), Offset{0});
  machine.run([&]() -> Task<void> { EXPECT_TRUE(co_await partition->flush()); });
  EXPECT_EQ(partition->log().recovery_point(), Offset{4});
}

TEST_F(PartitionTest, FlushMessagesCountsMessages) {
  machine.settings["tens"].log.flush_messages = 10;
  auto partition = machine.make("tens");
  ASSERT_TRUE(machine.append(partition, "a", 9));
  machine.world.settle();
  EXPECT_EQ(partition->log().recovery_point(), Offset{0});
  EXPECT_EQ(partition->high_watermark(), Offset{9}) << "no flush was asked for";
  ASSERT_TRUE(machine.append(partition, "b", 1));
  machine.world.settle();
  EXPECT_EQ(partition->log().recovery_point(), Offset{10});
  EXPECT_EQ(partition->high_watermark(), Offset{10});
}

// With no flush setting at all: what a power failure can take is never more than the segment that is being written.
TEST_F(PartitionTest, AFullSegmentGoesToTheDisk) {
  machine.settings["rolled"].log.segment_bytes = 400;
  auto partition = machine.make("rolled");
  const std::string value(150, 'v');
  ASSERT_TRUE(machine.append(partition, value));
  machine.world.settle();
  EXPECT_EQ(partition->log().recovery_point(), Offset{0}) << "it is not full";
  while (partition->log().segment_count() < 3) ASSERT_TRUE(machine.append(partition, value));
  machine.world.settle();
  const auto flushed = partition->log().active_base_offset();
  EXPECT_EQ(partition->log().recovery_point(), flushed);
  EXPECT_LT(flushed, partition->log().log_end());
  partition.reset();
  machine.crash();
  ASSERT_TRUE(machine.start());
  EXPECT_GE(machine.find("rolled")->log().log_end(), flushed);
}

TEST_F(PartitionTest, DataIsSignalledOnceUntilRearmed) {
  auto partition = machine.make("t");
  auto wait = std::make_shared<DataWait>(machine.world.shard());
  partition->on_data(wait);
  auto woken = machine.wait_data(wait, 1h);
  EXPECT_FALSE(woken->has_value());
  ASSERT_TRUE(machine.append(partition, "a"));
  machine.world.settle();
  ASSERT_TRUE(woken->has_value());
  EXPECT_TRUE(**woken);

  // Registered again, rearmed: the next append counts again, and only then.
  wait->rearm();
  partition->on_data(wait);
  woken = machine.wait_data(wait, 1h);
  machine.world.settle();
  EXPECT_FALSE(woken->has_value()) << "the first signal is spent";
  ASSERT_TRUE(machine.append(partition, "b"));
  machine.world.settle();
  ASSERT_TRUE(woken->has_value());
}

TEST_F(PartitionTest, ASignalBetweenTheLookAndTheWaitIsNotLost) {
  auto partition = machine.make("t");
  auto wait = std::make_shared<DataWait>(machine.world.shard());
  partition->on_data(wait);                     // registered, then looked: nothing there
  ASSERT_TRUE(machine.append(partition, "a"));  // comes before the wait
  ASSERT_TRUE(machine.append(partition, "b"));
  const auto woken = machine.wait_data(wait, 1h);
  machine.world.settle();
  ASSERT_TRUE(woken->has_value());
  EXPECT_TRUE(**woken);
}

TEST_F(PartitionTest, AWaitForDataTimesOut) {
  auto partition = machine.make("t", Machine::lead(0, {self, BrokerId{2}}));
  auto wait = std::make_shared<DataWait>(machine.world.shard());
  partition->on_data(wait);
  const auto woken = machine.wait_data(wait, 500ms);
  ASSERT_TRUE(machine.append(partition, "not committed, so not to be seen"));
  machine.world.run_for(499ms);
  EXPECT_FALSE(woken->has_value());
  machine.world.run_for(1ms);
  ASSERT_TRUE(woken->has_value());
  EXPECT_FALSE(**woken);
}

// Counts the blocks it gave: a dead wait's block lives as long as something points to it weakly.
int blocks = 0;
template <class T>
struct Counting {
  using value_type = T;
  Counting() = default;
  template <class U>
  explicit Counting(const Counting<U>&) {}
  T* allocate(std::size_t n) {
    ++blocks;
    return std::allocator<T>().allocate(n);
  }
  void deallocate(T* p, std::size_t n) {
    --blocks;
    std::allocator<T>().deallocate(p, n);
  }
  friend bool operator==(const Counting&, const Counting&) { return true; }
};

TEST_F(PartitionTest, WaitsThatDiedDoNotPileUp) {
  auto partition = machine.make("t");
  blocks = 0;
  auto alive = std::make_shared<DataWait>(machine.world.shard());
  partition->on_data(alive);
  int most = 0;
  for (int i = 0; i < 10'000; ++i) {
    auto wait = std::allocate_shared<DataWait>(Counting<DataWait>(), machine.world.shard());
    partition->on_data(wait);
    wait.reset();
    most = std::max(most, blocks);
  }
  EXPECT_LE(most, 32);
  const auto woken = machine.wait_data(alive, 1h);
  ASSERT_TRUE(machine.append(partition, "a"));
  machine.world.settle();
  EXPECT_TRUE(woken->has_value()) << "pruning takes the dead only";
  EXPECT_EQ(blocks, 0);
}

TEST_F(PartitionTest, AWaitThatComesAgainAndAgainDoesNotPileUp) {
  auto partition = machine.make("t");
  auto wait = std::make_shared<DataWait>(machine.world.shard());
  std::vector<std::shared_ptr<DataWait>> others;
  for (int i = 0; i < 3; ++i) others.push_back(std::make_shared<DataWait>(machine.world.shard()));
  std::size_t most = 0;
  for (int i = 0; i < 10'000; ++i) {
    partition->on_data(wait);
    partition->on_data(others[static_cast<std::size_t>(i) % 3]);
    most = std::max(most, partition->data_waits());
  }
  EXPECT_LE(most, 32U);
  const auto woken = machine.wait_data(wait, 1h);
  ASSERT_TRUE(machine.append(partition, "a"));
  machine.world.settle();
  EXPECT_TRUE(woken->has_value());
}

TEST_F(PartitionTest, ManyLiveWaitsAreAllSignalled) {
  auto partition = machine.make("t");
  std::vector<std::shared_ptr<DataWait>> waits;
  std::vector<Machine::Woken> woken;
  for (int i = 0; i < 100; ++i) {
    waits.push_back(std::make_shared<DataWait>(machine.world.shard()));
    partition->on_data(waits.back());
    woken.push_back(machine.wait_data(waits.back(), 1h));
  }
  ASSERT_TRUE(machine.append(partition, "a"));
  machine.world.settle();
  EXPECT_TRUE(std::ranges::all_of(woken, [](const auto& w) { return w->has_value() && **w; }));
}

TEST_F(PartitionTest, AChangedMinimumAndFlushHoldFromNowOn) {
  auto partition = machine.make("t", Machine::lead(0, {self, BrokerId{2}}));
  ASSERT_TRUE(machine.append(partition, "a", 2, true));
  EXPECT_EQ(partition->log().recovery_point(), Offset{0});
  ASSERT_TRUE(machine.apply("t", 0, Machine::lead(0, {self}, self, {self, BrokerId{2}})));
  Settings next;
  next.min_insync_replicas = 2;
  next.log.flush_messages = 1;
  machine.run([&]() -> Task<void> { co_await machine.manager->set_topic_settings("t", next); });
  machine.world.settle();
  EXPECT_EQ(partition->log().recovery_point(), Offset{2}) << "what was due under the new setting is flushed";
  EXPECT_EQ(code(machine.append(partition, "b", 1, true)), ErrorCode::NOT_ENOUGH_REPLICAS);
}

}  // namespace
}  // namespace weir::replica
