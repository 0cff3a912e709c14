#include "replica/manager.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "log/checkpoint.h"
#include "replica/test_machine.h"

namespace weir::replica {
namespace {

using namespace std::chrono_literals;

Uuid uuid(std::uint8_t n) {
  Uuid id;
  id.bytes[15] = n;
  return id;
}

// Directories below /data that begin so.
std::vector<std::string> entries(Machine& machine, std::string_view begin, const std::string& where = "/data") {
  auto names = machine.world.files().list(where);
  EXPECT_TRUE(names);
  std::erase_if(*names, [&](const auto& name) { return !name.starts_with(begin); });
  return *names;
}

TEST(Manager, TheSecondHolderOfADirectoryIsTurnedAway) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  metrics::Registry registry;
  ReplicaManager other(machine.world.all(), machine.world.pool(), machine.world.files(), machine.world.clock(),
                       machine.world.random(), registry, machine.options);
  const auto opened = other.open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::KAFKA_STORAGE_ERROR);
  EXPECT_NE(opened.error().message.find("/data"), std::string::npos) << opened.error().message;
}

TEST(Manager, ADirectoryRemembersWhoseItIs) {
  Machine machine;
  machine.options.log_dirs = {"/a", "/b"};
  ASSERT_TRUE(machine.open());
  EXPECT_FALSE(machine.manager->meta());
  ASSERT_TRUE(machine.manager->claim(BrokerId{7}, "one"));
  machine.stop();
  ASSERT_TRUE(machine.open());
  ASSERT_TRUE(machine.manager->meta());
  EXPECT_EQ(machine.manager->meta()->broker_id, BrokerId{7});
  EXPECT_EQ(machine.manager->meta()->cluster_id, "one");
  EXPECT_EQ(code(machine.manager->claim(BrokerId{8}, "one")), ErrorCode::INCONSISTENT_CLUSTER_ID);
  EXPECT_EQ(code(machine.manager->claim(BrokerId{7}, "two")), ErrorCode::INCONSISTENT_CLUSTER_ID);
  EXPECT_TRUE(machine.manager->claim(BrokerId{7}, "one"));
}

TEST(Manager, DirectoriesThatDisagreeStopTheStart) {
  Machine machine;
  for (const auto& [path, broker] : {std::pair("/a", 1), std::pair("/b", 2)}) {
    machine.options.log_dirs = {path};
    ASSERT_TRUE(machine.open());
    ASSERT_TRUE(machine.manager->claim(BrokerId{broker}, "one"));
    machine.stop();
  }
  machine.options.log_dirs = {"/a", "/b"};
  const auto opened = machine.open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::INCONSISTENT_CLUSTER_ID);
  EXPECT_NE(opened.error().message.find("/b"), std::string::npos);
}

TEST(Manager, ANewDirectoryBesideAnOldOneIsClaimed) {
  Machine machine;
  machine.options.log_dirs = {"/a"};
  ASSERT_TRUE(machine.start());
  machine.stop();
  machine.options.log_dirs = {"/a", "/b"};
  ASSERT_TRUE(machine.start());
  EXPECT_TRUE(*machine.world.files().exists("/b/meta.properties"));
}

TEST(Manager, ACleanRestartKeepsEverything) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  auto partition = machine.make("t", Machine::lead(3));
  ASSERT_TRUE(machine.append(partition, "a", 2));
  ASSERT_TRUE(machine.append(partition, "b"));
  partition.reset();
  machine.stop();
  EXPECT_TRUE(*machine.world.files().exists("/data/.kafka_cleanshutdown"));

  ASSERT_TRUE(machine.start());
  EXPECT_FALSE(*machine.world.files().exists("/data/.kafka_cleanshutdown")) << "from now on a crash is one";
  EXPECT_TRUE(machine.manager->directories().front()->was_clean());
  partition = machine.find("t");
  ASSERT_TRUE(partition);
  EXPECT_EQ(partition->high_watermark(), Offset{3});
  EXPECT_EQ(partition->role(), Role::none) << "until the controller says so";
  EXPECT_EQ(code(machine.append(partition, "c")), ErrorCode::NOT_LEADER_OR_FOLLOWER);
  EXPECT_EQ(machine.values(partition), (std::vector<std::string>{"a", "a", "b"}));
  ASSERT_TRUE(machine.apply("t", 0, Machine::lead(4)));
  ASSERT_TRUE(machine.append(partition, "c"));
  EXPECT_EQ(partition->high_watermark(), Offset{4});
}

// Power fails at a different moment for each seed: what was acknowledged after a flush is there, in order, and what
// is there besides is what was written after it.
TEST(Manager, ACrashKeepsWhatWasCommittedAfterAFlush) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    Machine machine(seed);
    machine.settings["t"].log.flush_messages = 1;
    machine.settings["t"].log.segment_bytes = 400;
    ASSERT_TRUE(machine.start());
    auto partition = machine.make("t");
    machine.world.set_pool_latency(3ms);
    int sent = 0;
    const auto rounds = 1 + machine.world.random().below(20);
    for (std::uint64_t i = 0; i < rounds; ++i) {
      ASSERT_TRUE(machine.append(partition, std::to_string(sent++)));
      machine.world.run_for(milliseconds(machine.world.random().below(5)));
    }
    const auto acknowledged = partition->high_watermark();
    partition.reset();
    machine.crash();

    ASSERT_TRUE(machine.start());
    partition = machine.find("t");
    if (acknowledged.value == 0 && !partition) continue;
    ASSERT_TRUE(partition);
    const auto values = machine.values(partition);
    ASSERT_GE(static_cast<std::int64_t>(values.size()), acknowledged.value);
    for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], std::to_string(i));
    // And it goes on.
    ASSERT_TRUE(machine.apply("t", 0, Machine::lead(1)));
    ASSERT_TRUE(machine.append(partition, "after"));
    machine.world.run_for(1s);
    EXPECT_EQ(partition->high_watermark().value, static_cast<std::int64_t>(values.size()) + 1);
  }
}

TEST(Manager, AKilledProcessLosesNothingThatWasWritten) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  auto partition = machine.make("t");
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(machine.append(partition, std::to_string(i)));
  partition.reset();
  machine.crash(true);
  ASSERT_TRUE(machine.start());
  EXPECT_FALSE(machine.manager->directories().front()->was_clean());
  partition = machine.find("t");
  ASSERT_TRUE(partition);
  EXPECT_EQ(machine.values(partition).size(), 10U);
  ASSERT_TRUE(machine.apply("t", 0, Machine::lead(1)));
  EXPECT_EQ(partition->high_watermark(), Offset{10});
}

TEST(Manager, ApplyMakesLogsAndAnswersInOrder) {
  Machine machine(1, 3);
  machine.options.log_dirs = {"/a", "/b"};
  ASSERT_TRUE(machine.start());
  ASSERT_TRUE(machine.apply("t", 3, Machine::lead(9)));
  std::vector<Result<>> results;
  machine.run([&]() -> Task<void> {
    std::vector<Change> changes;
    for (int i = 0; i < 20; ++i) changes.push_back({{"t", PartitionId{i}}, uuid(1), Machine::lead(5)});
    results = co_await machine.manager->apply(std::move(changes));
  });
  ASSERT_EQ(results.size(), 20U);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(code(results[static_cast<std::size_t>(i)]), i == 3 ? ErrorCode::STALE_CONTROLLER_EPOCH : ErrorCode::NONE);
  }
  std::vector<PartitionView> view;
  machine.run([&]() -> Task<void> { view = co_await machine.manager->view(); });
  ASSERT_EQ(view.size(), 20U);
  EXPECT_TRUE(std::ranges::all_of(view, [](const auto& v) { return v.leader; }));
  EXPECT_EQ(std::ranges::count(view, "/a", &PartitionView::directory), 10) << "new logs go where there are fewest";
  EXPECT_EQ(std::ranges::count(view, "/b", &PartitionView::directory), 10);
}

TEST(Manager, APartitionLivesOnItsShardOnly) {
  Machine machine(7, 4);
  ASSERT_TRUE(machine.start());
  std::set<std::size_t> used;
  machine.run([&]() -> Task<void> {
    std::vector<Change> changes;
    for (int i = 0; i < 40; ++i) changes.push_back({{"t", PartitionId{i}}, {}, Machine::lead(0)});
    co_await machine.manager->apply(std::move(changes));
    for (int i = 0; i < 40; ++i) {
      auto& shard = machine.manager->shard_of("t", PartitionId{i});
      used.insert(shard.index());
      auto append = [&machine, i] {
        auto partition = machine.manager->find("t", PartitionId{i});
        EXPECT_TRUE(partition);
        if (partition) EXPECT_TRUE(partition->append(machine.batch(std::to_string(i)), {}));
      };
      co_await runtime::call(shard, std::move(append));
    }
  });
  EXPECT_EQ(used.size(), 4U);
  machine.stop();
  ASSERT_TRUE(machine.start());
  for (int i = 0; i < 40; ++i) {
    auto partition = machine.find("t", i);
    ASSERT_TRUE(partition);
    EXPECT_EQ(machine.values(partition), std::vector{std::to_string(i)});
  }
}

// Data that comes on another shard wakes a fetch on its own.
TEST(Manager, DataWaitsWorkAcrossShards) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Machine machine(seed, 2);
    ASSERT_TRUE(machine.start());
    int far = 0;  // a partition that is not on shard 0
    while (&machine.manager->shard_of("t", PartitionId{far}) == &machine.world.shard(0)) ++far;
    ASSERT_TRUE(machine.apply("t", far, Machine::lead(0)));
    auto partition = machine.find("t", far);
    auto wait = std::make_shared<DataWait>(machine.world.shard(0));
    int rounds = 0;
    machine.run([&]() -> Task<void> {
      auto& shard = machine.manager->shard_of("t", PartitionId{far});
      for (std::int64_t i = 0; i < 10; ++i) {
        auto look = [&] {
          partition->on_data(wait);
          return partition->high_watermark();
        };
        const auto seen = co_await runtime::call(shard, std::move(look));
        EXPECT_EQ(seen, Offset{i});
        shard.post([&] { EXPECT_TRUE(partition->append(machine.batch("x"), {})); });
        EXPECT_TRUE(co_await wait->wait(1h));
        wait->rearm();
        ++rounds;
      }
    });
    EXPECT_EQ(rounds, 10);
  }
}

TEST(Manager, ALogOfAnotherTopicOfThatNameIsNotTouched) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  ASSERT_TRUE(machine.apply("t", 0, Machine::lead(5), uuid(1)));
  auto old = machine.find("t");
  ASSERT_TRUE(machine.append(old, "old"));
  old.reset();
  machine.stop();
  ASSERT_TRUE(machine.start());
  std::vector<Result<>> results;
  machine.run([&]() -> Task<void> {
    std::vector<Change> changes;
    for (int i = 0; i < 2; ++i) changes.push_back({{"t", PartitionId{i}}, uuid(2), Machine::lead(0)});
    results = co_await machine.manager->apply(std::move(changes));
  });
  EXPECT_EQ(code(results.at(0)), ErrorCode::INCONSISTENT_TOPIC_ID);
  EXPECT_NE(results.at(0).error().message.find("/data/t-0"), std::string::npos) << results.at(0).error().message;
  EXPECT_EQ(code(results.at(1)), ErrorCode::NONE) << "the rest goes on";
  EXPECT_EQ(machine.values(machine.find("t")), std::vector<std::string>{"old"});
  EXPECT_FALSE(machine.find("t")->leads());
}

TEST(Manager, ALogWithoutATopicIdTakesTheOneItIsGiven) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  ASSERT_TRUE(machine.apply("t", 0, Machine::lead(0)));
  auto partition = machine.find("t");
  ASSERT_TRUE(machine.append(partition, "a"));
  EXPECT_FALSE(partition->topic_id());
  ASSERT_TRUE(machine.apply("t", 0, Machine::lead(1), uuid(4)));
  EXPECT_EQ(partition->topic_id(), uuid(4));
  EXPECT_EQ(machine.values(partition).size(), 1U) << "the records stay";
}

TEST(Manager, ARemovedReplicaGoesAfterTheDelay) {
  Machine machine;
  machine.settings["t"].log.file_delete_delay_ms = 30'000;
  ASSERT_TRUE(machine.start());
  auto partition = machine.make("t");
  ASSERT_TRUE(machine.append(partition, "a"));
  partition.reset();
  machine.run([&]() -> Task<void> {
    EXPECT_TRUE(co_await machine.manager->stop_replica({"t", PartitionId{0}}, true));
    EXPECT_TRUE(co_await machine.manager->stop_replica({"nowhere", PartitionId{0}}, true)) << "missing is fine";
  });
  EXPECT_FALSE(machine.find("t"));
  auto left = entries(machine, "t-0");
  ASSERT_EQ(left.size(), 1U);
  EXPECT_TRUE(left[0].ends_with("-delete")) << left[0];
  machine.world.run_for(29'900ms);
  EXPECT_EQ(entries(machine, "t-0").size(), 1U);
  machine.world.run_for(200ms);
  EXPECT_EQ(entries(machine, "t-0").size(), 0U);
  // Its name is free at once.
  EXPECT_TRUE(machine.apply("t", 0, Machine::lead(0)));
}

TEST(Manager, WhatAStopLeftToRemoveGoesWithTheNextStart) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  machine.make("t");
  machine.run(
      [&]() -> Task<void> { EXPECT_TRUE(co_await machine.manager->stop_replica({"t", PartitionId{0}}, true)); });
  machine.stop();
  ASSERT_EQ(entries(machine, "t-0").size(), 1U);
  ASSERT_TRUE(machine.start());
  EXPECT_EQ(entries(machine, "t-0").size(), 0U);
  EXPECT_FALSE(machine.find("t"));
}

TEST(Manager, AStoppedReplicaKeepsItsRecordsAndLeadsAgain) {
  Machine machine;
  machine.settings["t"].log.flush_messages = 1;
  ASSERT_TRUE(machine.start());
  auto partition = machine.make("t");
  ASSERT_TRUE(machine.append(partition, "a"));
  machine.world.settle();
  machine.run(
      [&]() -> Task<void> { EXPECT_TRUE(co_await machine.manager->stop_replica({"t", PartitionId{0}}, false)); });
  EXPECT_EQ(code(machine.append(partition, "b")), ErrorCode::NOT_LEADER_OR_FOLLOWER);
  ASSERT_TRUE(machine.apply("t", 0, Machine::lead(1)));
  partition = machine.find("t");
  ASSERT_TRUE(partition);
  EXPECT_FALSE(partition->gone());
  ASSERT_TRUE(machine.append(partition, "b"));
  EXPECT_EQ(partition->high_watermark(), Offset{1}) << "flush.messages holds for it as before";
  machine.world.settle();
  EXPECT_EQ(partition->high_watermark(), Offset{2});
  EXPECT_EQ(machine.values(partition), (std::vector<std::string>{"a", "b"}));
}

TEST(Manager, RetentionTakesOldSegments) {
  Machine machine;
  machine.options.retention_check = 60s;
  machine.options.initial_delay = 10s;
  auto& settings = machine.settings["t"].log;
  settings.retention_ms = 100'000;
  settings.segment_ms = 20'000;
  settings.file_delete_delay_ms = 5'000;
  ASSERT_TRUE(machine.start());
  auto partition = machine.make("t");
  ASSERT_TRUE(machine.append(partition, "a", 3));
  machine.world.run_for(61s);  // rolled by segment.ms
  ASSERT_TRUE(machine.append(partition, "b"));
  EXPECT_EQ(partition->log().log_start(), Offset{0});
  machine.world.run_for(71s);
  EXPECT_EQ(partition->log().log_start(), Offset{3}) << "a is over, b is not";
  machine.world.run_for(6s);
  EXPECT_EQ(entries(machine, "00000000000000000000.", "/data/t-0").size(), 0U) << "the files went after the delay";
  machine.world.run_for(120s);
  EXPECT_EQ(partition->log().log_start(), Offset{4}) << "the active segment too";
  ASSERT_TRUE(machine.append(partition, "c"));
  EXPECT_EQ(machine.values(partition), std::vector<std::string>{"c"});
}

TEST(Manager, RetentionTakesWhatIsTooMuch) {
  Machine machine;
  auto& settings = machine.settings["t"].log;
  settings.retention_bytes = 4000;
  settings.segment_bytes = 1000;
  ASSERT_TRUE(machine.start());
  auto partition = machine.make("t");
  const std::string value(300, 'x');
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(machine.append(partition, value));
  const auto before = partition->log().size();
  EXPECT_GT(before, 12'000U);
  machine.world.run_for(machine.options.initial_delay + 1s);
  EXPECT_GE(partition->log().size(), 4000U) << "as much as was asked for stays";
  EXPECT_LT(partition->log().size(), 5000U);
  EXPECT_EQ(partition->log().log_end(), Offset{40});
}

TEST(Manager, ASettingsChangeReachesEveryPartitionOfTheTopicAndNoOther) {
  Machine machine(1, 3);
  ASSERT_TRUE(machine.start());
  for (int i = 0; i < 9; ++i) ASSERT_TRUE(machine.apply("t", i, Machine::lead(0)));
  ASSERT_TRUE(machine.apply("other", 0, Machine::lead(0)));
  Settings next;
  next.log.retention_ms = 1234;
  machine.run([&]() -> Task<void> { co_await machine.manager->set_topic_settings("t", next); });
  for (int i = 0; i < 9; ++i) EXPECT_EQ(machine.find("t", i)->log().config().retention_ms, 1234);
  EXPECT_NE(machine.find("other")->log().config().retention_ms, 1234);
}

TEST(Manager, CheckpointsAreWrittenWhenSomethingMovedAndOnlyThen) {
  Machine machine;
  machine.options.high_watermark_checkpoint = 5s;
  ASSERT_TRUE(machine.start());
  auto partition = machine.make("t");
  ASSERT_TRUE(machine.append(partition, "a", 7));
  const auto high = [&] {
    auto read = log::read_offset_checkpoint(machine.world.files(), "/data/replication-offset-checkpoint");
    EXPECT_TRUE(read);
    return (*read)[{"t", PartitionId{0}}];
  };
  machine.world.run_for(6s);
  EXPECT_EQ(high(), Offset{7});
  const auto before = machine.world.files().syncs();
  machine.world.run_for(60s);
  EXPECT_EQ(machine.world.files().syncs(), before) << "an idle broker leaves the disk alone";
  ASSERT_TRUE(machine.append(partition, "b"));
  machine.world.run_for(6s);
  EXPECT_EQ(high(), Offset{8});

  // A checkpoint that could not be written is written later.
  machine.world.files().set_fault(
      [](auto op, const auto&) { return op == runtime::SimFiles::Op::rename ? ENOSPC : 0; });
  ASSERT_TRUE(machine.append(partition, "c"));
  machine.world.run_for(6s);
  EXPECT_EQ(high(), Offset{8});
  machine.world.files().set_fault(nullptr);
  machine.world.run_for(6s);
  EXPECT_EQ(high(), Offset{9});
}

TEST(Manager, ADeletedTopicLeavesTheCheckpoints) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  for (const auto* topic : {"t", "u"}) ASSERT_TRUE(machine.append(machine.make(topic), "a"));
  machine.world.run_for(6s);
  machine.run(
      [&]() -> Task<void> { EXPECT_TRUE(co_await machine.manager->stop_replica({"t", PartitionId{0}}, true)); });
  machine.world.run_for(6s);
  auto read = log::read_offset_checkpoint(machine.world.files(), "/data/replication-offset-checkpoint");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->size(), 1U);
  EXPECT_TRUE(read->contains({"u", PartitionId{0}}));
}

TEST(Manager, ADiskThatFailsAtTheStopIsNotMarkedClean) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  ASSERT_TRUE(machine.append(machine.make("t"), "a"));
  machine.world.files().set_fault([](auto op, const std::string& path) {
    return op == runtime::SimFiles::Op::sync && path.contains("/t-0/") ? EIO : 0;
  });
  machine.stop();
  machine.world.files().set_fault(nullptr);
  EXPECT_FALSE(*machine.world.files().exists("/data/.kafka_cleanshutdown"));
}

TEST(Manager, ALogThatCannotBeMadeIsThatPartitionsErrorOnly) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  machine.world.files().set_fault([](auto op, const std::string& path) {
    return op == runtime::SimFiles::Op::make_directory && path.contains("t-1") ? ENOSPC : 0;
  });
  std::vector<Result<>> results;
  machine.run([&]() -> Task<void> {
    std::vector<Change> changes;
    for (int i = 0; i < 3; ++i) changes.push_back({{"t", PartitionId{i}}, {}, Machine::lead(0)});
    results = co_await machine.manager->apply(std::move(changes));
  });
  machine.world.files().set_fault(nullptr);
  EXPECT_EQ(code(results.at(0)), ErrorCode::NONE);
  EXPECT_EQ(code(results.at(1)), ErrorCode::KAFKA_STORAGE_ERROR);
  EXPECT_EQ(code(results.at(2)), ErrorCode::NONE);
  EXPECT_TRUE(machine.apply("t", 1, Machine::lead(0))) << "the controller asks again";
}

TEST(Manager, AStopWithFlushesUnderWayWaitsForThem) {
  Machine machine;
  machine.settings["t"].log.flush_messages = 1;
  ASSERT_TRUE(machine.start());
  auto partition = machine.make("t");
  machine.world.set_pool_latency(20ms);
  ASSERT_TRUE(machine.append(partition, "a"));
  const auto answer = machine.commit(partition, Offset{0}, 1h);
  machine.stop();
  ASSERT_TRUE(answer->has_value());
  partition.reset();
  ASSERT_TRUE(machine.start());
  EXPECT_EQ(machine.values(machine.find("t")).size(), 1U);
}

}  // namespace
}  // namespace weir::replica
