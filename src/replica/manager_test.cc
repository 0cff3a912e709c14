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

TEST(Manager, ALogOfAnotherTopicOfThatNameIsKeptUnderAnotherName) {
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
  EXPECT_EQ(code(results.at(0)), ErrorCode::NONE);
  EXPECT_EQ(code(results.at(1)), ErrorCode::NONE);
  auto fresh = machine.find("t");
  EXPECT_TRUE(fresh->leads()) << "its epochs have nothing to do with those of the old topic";
  EXPECT_EQ(fresh->topic_id(), uuid(2));
  EXPECT_TRUE(machine.values(fresh).empty());
  ASSERT_TRUE(machine.append(fresh, "new"));
  const auto stray = [&]() -> std::string {
    std::string found;
    for (const auto& name : entries(machine, "t-0")) {
      if (name.ends_with("-stray")) found = "/data/" + name;
    }
    return found;
  };
  ASSERT_FALSE(stray().empty());
  const auto kept = machine.world.files().read_whole(stray() + "/00000000000000000000.log");
  ASSERT_TRUE(kept);
  EXPECT_NE(kept->find("old"), std::string::npos) << "nothing is lost that could be wanted";
  // At once after that power fails: the new topic has its place all the same.
  fresh.reset();
  machine.crash();
  ASSERT_TRUE(machine.start());
  EXPECT_FALSE(stray().empty());
  ASSERT_TRUE(machine.apply("t", 0, Machine::lead(1), uuid(2)));
  EXPECT_EQ(machine.find("t")->topic_id(), uuid(2));
}

// A tool older than 2.8 rewrote the topic's znode without its id, and a controller drew another.
TEST(Manager, ALogWhoseEpochsGoOnIsNotSetAside) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  ASSERT_TRUE(machine.apply("t", 0, Machine::lead(5), uuid(1)));
  auto old = machine.find("t");
  ASSERT_TRUE(machine.append(old, "old"));
  const auto refused = [&](std::int32_t epoch) {
    std::vector<Result<>> results;
    machine.run([&]() -> Task<void> {
      std::vector<Change> changes;
      changes.push_back({{"t", PartitionId{0}}, uuid(2), Machine::lead(epoch)});
      results = co_await machine.manager->apply(std::move(changes));
    });
    return code(results.at(0)) == ErrorCode::INCONSISTENT_TOPIC_ID;
  };
  EXPECT_TRUE(refused(6)) << "while it leads";
  EXPECT_TRUE(refused(0)) << "while it leads";
  old.reset();
  machine.stop();
  ASSERT_TRUE(machine.start());
  EXPECT_TRUE(refused(6)) << "after a restart";
  ASSERT_TRUE(machine.apply("t", 0, Machine::lead(7), uuid(1)));
  EXPECT_EQ(machine.values(machine.find("t")).size(), 1U) << "the records are where they were";
}

// A disk failed, the partition was made on another, and the first is back: which of the two is the right one is no
// guess to make.
TEST(Manager, APartitionInTwoDirectoriesStopsTheStart) {
  Machine machine;
  machine.options.log_dirs = {"/a"};
  ASSERT_TRUE(machine.start());
  auto partition = machine.make("t");
  ASSERT_TRUE(machine.append(partition, "one"));
  partition.reset();
  machine.stop();
  machine.options.log_dirs = {"/b"};
  ASSERT_TRUE(machine.start());
  partition = machine.make("t");
  partition.reset();
  machine.stop();
  // What has no records is the rest of a log that could not be made: in whichever directory it is, it goes.
  for (const auto& dirs : {std::vector<std::string>{"/a", "/b"}, std::vector<std::string>{"/b", "/a"}}) {
    machine.options.log_dirs = dirs;
    ASSERT_TRUE(machine.start());
    EXPECT_EQ(machine.values(machine.find("t")), std::vector<std::string>{"one"});
    EXPECT_TRUE(entries(machine, "t-0", "/b").empty());
    machine.stop();
    machine.options.log_dirs = {"/b"};
    ASSERT_TRUE(machine.start());
    partition = machine.make("t");
    partition.reset();
    machine.stop();
  }
  ASSERT_TRUE(machine.start());
  partition = machine.make("t");
  ASSERT_TRUE(machine.append(partition, "two"));
  partition.reset();
  machine.stop();
  machine.options.log_dirs = {"/a", "/b"};
  const auto refused = machine.start();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::KAFKA_STORAGE_ERROR);
  EXPECT_NE(refused.error().message.find("/a/t-0"), std::string::npos) << refused.error().message;
  EXPECT_NE(refused.error().message.find("/b/t-0"), std::string::npos) << refused.error().message;
  machine.stop();
  ASSERT_TRUE(machine.world.files().remove_all("/b/t-0"));
  ASSERT_TRUE(machine.start());
  EXPECT_EQ(machine.values(machine.find("t")), std::vector<std::string>{"one"});
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

// Else the next topic of that name would find it in its way.
TEST(Manager, APowerFailureBringsNoRemovedReplicaBack) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Machine machine(seed);
    ASSERT_TRUE(machine.start());
    machine.make("t");
    machine.run(
        [&]() -> Task<void> { EXPECT_TRUE(co_await machine.manager->stop_replica({"t", PartitionId{0}}, true)); });
    machine.crash();
    ASSERT_TRUE(machine.start());
    EXPECT_FALSE(machine.find("t")) << seed;
    EXPECT_FALSE(*machine.world.files().exists("/data/t-0")) << seed;
  }
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
  EXPECT_EQ(entries(machine, "t-0").size(), 1U) << "nobody waits for it";
  machine.world.settle();
  EXPECT_EQ(entries(machine, "t-0").size(), 0U);
  EXPECT_FALSE(machine.find("t"));
}

TEST(Manager, OnANearlyFullVolumeWhatAStopLeftToRemoveGoesFirst) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  machine.make("t");
  ASSERT_TRUE(machine.append(machine.make("filler"), std::string(200'000, 'x')));
  machine.run(
      [&]() -> Task<void> { EXPECT_TRUE(co_await machine.manager->stop_replica({"t", PartitionId{0}}, true)); });
  machine.stop();
  auto& files = machine.world.files();
  const auto used = *files.total_bytes("/") - *files.free_bytes("/");
  files.set_capacity(used + used / 25);
  ASSERT_TRUE(machine.start());
  EXPECT_EQ(entries(machine, "t-0").size(), 0U);
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

TEST(Manager, AReplicaThatCannotBeTakenAwayIsTakenAwayWhenAskedAgain) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  auto partition = machine.make("t");
  ASSERT_TRUE(machine.append(partition, "a"));
  const auto stop = [&] {
    Result<> result;
    machine.run([&]() -> Task<void> { result = co_await machine.manager->stop_replica({"t", PartitionId{0}}, true); });
    return code(result);
  };
  machine.world.files().set_fault([](auto op, const auto&) { return op == runtime::SimFiles::Op::rename ? EIO : 0; });
  EXPECT_EQ(stop(), ErrorCode::KAFKA_STORAGE_ERROR);
  machine.world.files().set_fault(nullptr);
  EXPECT_TRUE(partition->gone()) << "it is stopped all the same";
  EXPECT_EQ(entries(machine, "t-0"), std::vector<std::string>{"t-0"});
  EXPECT_EQ(stop(), ErrorCode::NONE);
  EXPECT_FALSE(machine.find("t"));
  const auto left = entries(machine, "t-0");
  ASSERT_EQ(left.size(), 1U);
  EXPECT_TRUE(left[0].ends_with("-delete")) << left[0];
}

// A controller that asks again must not hear that it is gone while a power failure may bring it back: the next topic of
// that name would find it (simulation, seed 298).
TEST(Manager, ARemovalThatIsNotOnTheDiskIsNotDoneWhenAskedAgain) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    Machine machine(seed);
    ASSERT_TRUE(machine.start());
    machine.make("t");
    const auto stop = [&] {
      Result<> result;
      machine.run(
          [&]() -> Task<void> { result = co_await machine.manager->stop_replica({"t", PartitionId{0}}, true); });
      return code(result);
    };
    machine.world.files().set_fault(
        [](auto op, const auto&) { return op == runtime::SimFiles::Op::sync_directory ? EIO : 0; });
    EXPECT_EQ(stop(), ErrorCode::KAFKA_STORAGE_ERROR);
    EXPECT_EQ(stop(), ErrorCode::KAFKA_STORAGE_ERROR) << "nor is it there, nor is it gone";
    machine.world.files().set_fault(nullptr);
    EXPECT_EQ(stop(), ErrorCode::NONE);
    machine.crash();
    ASSERT_TRUE(machine.start());
    EXPECT_FALSE(machine.find("t"));
  }
}

// The same for what could not be made whole and not taken away again.
TEST(Manager, WhatIsLeftOfALogThatCouldNotBeMadeGoesWithItsTopic) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  const auto stop = [&] {
    Result<> result;
    machine.run([&]() -> Task<void> { result = co_await machine.manager->stop_replica({"t", PartitionId{0}}, true); });
    return code(result);
  };
  machine.world.files().set_fault([](auto op, const std::string& path) {
    if (op == runtime::SimFiles::Op::open && path.ends_with(".log")) return EIO;
    return op == runtime::SimFiles::Op::remove ? EIO : 0;
  });
  EXPECT_FALSE(machine.apply("t", 0, Machine::lead(0), uuid(1)));
  ASSERT_EQ(entries(machine, "t-0").size(), 1U);
  EXPECT_EQ(stop(), ErrorCode::KAFKA_STORAGE_ERROR);
  machine.world.files().set_fault(nullptr);
  EXPECT_EQ(stop(), ErrorCode::NONE);
  EXPECT_EQ(entries(machine, "t-0").size(), 0U);
  machine.stop();
  ASSERT_TRUE(machine.start());
  EXPECT_TRUE(machine.apply("t", 0, Machine::lead(0), uuid(2)));
}

// What the checkpoint of high watermarks says of a topic's partition 0.
std::optional<Offset> checkpointed(Machine& machine, const std::string& directory, const std::string& topic) {
  auto read = log::read_offset_checkpoint(machine.world.files(), directory + "/replication-offset-checkpoint");
  EXPECT_TRUE(read);
  const auto found = read->find({topic, PartitionId{0}});
  return found == read->end() ? std::nullopt : std::optional(found->second);
}

TEST(Manager, ADirectoryThatWasGivenUpKeepsItsCheckpoints) {
  Machine machine;
  machine.options.log_dirs = {"/a", "/b"};
  machine.options.give_up = [](const auto&, const auto&) { return true; };
  ASSERT_TRUE(machine.start());
  auto t = machine.make("t");
  auto u = machine.make("u");
  ASSERT_NE(t->directory().path(), u->directory().path());
  ASSERT_TRUE(machine.append(t, "a"));
  ASSERT_TRUE(machine.append(u, "a", 3));
  machine.world.run_for(6s);
  const auto lost = u->directory().path();
  machine.world.files().set_fault([](auto op, const std::string& path) {
    return op == runtime::SimFiles::Op::write && path.contains("/u-0/") ? ENOSPC : 0;
  });
  EXPECT_FALSE(machine.append(u, "b"));
  machine.world.files().set_fault(nullptr);
  ASSERT_EQ(machine.manager->directories_left(), 1U);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(machine.manager->given_up(i), machine.manager->directories()[i]->path() == lost) << i;
  }
  ASSERT_TRUE(machine.append(t, "b"));
  machine.world.run_for(6s);
  EXPECT_EQ(checkpointed(machine, t->directory().path(), "t"), Offset{2});
  EXPECT_EQ(checkpointed(machine, lost, "u"), Offset{3});
}

TEST(Manager, APartitionThatFailedKeepsItsCheckpoints) {
  Machine machine;
  ASSERT_TRUE(machine.start());
  auto t = machine.make("t");
  auto u = machine.make("u");
  ASSERT_TRUE(machine.append(t, "a"));
  ASSERT_TRUE(machine.append(u, "a", 3));
  machine.world.run_for(6s);
  machine.world.files().set_fault([](auto op, const std::string& path) {
    return op == runtime::SimFiles::Op::sync && path.contains("/u-0/") ? EIO : 0;
  });
  machine.run([&]() -> Task<void> { EXPECT_FALSE(co_await u->flush()); });
  machine.world.files().set_fault(nullptr);
  ASSERT_TRUE(u->failed());
  for (int i = 2; i < 4; ++i) {
    ASSERT_TRUE(machine.append(t, "b"));
    machine.world.run_for(6s);
    EXPECT_EQ(checkpointed(machine, "/data", "t"), Offset{i});
    EXPECT_EQ(checkpointed(machine, "/data", "u"), Offset{3});
  }
}

TEST(Manager, ADirectoryIsCountedOutBeforeAnyoneIsTold) {
  Machine machine;
  machine.options.log_dirs = {"/a", "/b"};
  bool gives_up = false;
  std::vector<std::size_t> left;
  machine.options.give_up = [&](const auto&, const auto&) {
    left.push_back(machine.manager->directories_left());
    return gives_up;
  };
  ASSERT_TRUE(machine.start());
  auto partition = machine.make("t");
  machine.world.files().set_fault([](auto op, const auto&) { return op == runtime::SimFiles::Op::write ? ENOSPC : 0; });
  EXPECT_FALSE(machine.append(partition, "a"));
  EXPECT_EQ(left, std::vector<std::size_t>{1});
  EXPECT_EQ(machine.manager->directories_left(), 2U) << "taken back: it was not given up";
  gives_up = true;
  EXPECT_FALSE(machine.append(partition, "a"));
  machine.world.settle();
  EXPECT_FALSE(machine.append(partition, "a"));
  machine.world.files().set_fault(nullptr);
  EXPECT_EQ(left, (std::vector<std::size_t>{1, 1})) << "asked until it says yes, and no more";
  EXPECT_EQ(machine.manager->directories_left(), 1U);
  EXPECT_TRUE(partition->failed());
}

// Who decides on the directory hears of every write that fails, not of appends only.
TEST(Manager, FailuresOfCutsAndOfRolesAreTold) {
  using Op = runtime::SimFiles::Op;
  Machine machine;
  int told = 0;
  machine.options.give_up = [&](const auto&, const auto&) {
    ++told;
    return false;
  };
  ASSERT_TRUE(machine.start());
  const auto failing = [&](Op which, std::string_view where, const std::function<ErrorCode()>& what) {
    machine.world.files().set_fault(
        [=](auto op, const std::string& path) { return op == which && path.contains(where) ? EIO : 0; });
    told = 0;
    EXPECT_EQ(what(), ErrorCode::KAFKA_STORAGE_ERROR);
    EXPECT_EQ(told, 1);
    machine.world.files().set_fault(nullptr);
  };
  const auto follower = [&](const std::string& topic) {
    auto partition = machine.make(topic);
    EXPECT_TRUE(machine.append(partition, "a", 3));
    EXPECT_TRUE(machine.append(partition, "b", 3));
    EXPECT_TRUE(machine.apply(topic, 0, Machine::lead(1, {BrokerId{2}, self}, BrokerId{2})));
    return partition;
  };
  const auto code_of = [](const auto& result) { return result ? ErrorCode::NONE : result.error().code; };
  const LeaderEpoch epoch{1};
  {
    SCOPED_TRACE("a new epoch");
    failing(Op::open, "leader-epoch", [&] { return code(machine.apply("new", 0, Machine::lead(0))); });
  }
  {
    SCOPED_TRACE("a cut");
    auto partition = follower("cut");
    failing(Op::truncate, "/cut-0/", [&] { return code_of(partition->truncate_to(epoch, Offset{3})); });
  }
  {
    SCOPED_TRACE("a cut of all");
    auto partition = follower("all");
    failing(Op::rename, "/all-0/", [&] { return code_of(partition->truncate_fully_and_start_at(epoch, Offset{9})); });
  }
  {
    SCOPED_TRACE("a start that moves");
    auto partition = follower("start");
    failing(Op::open, "leader-epoch",
            [&] { return code_of(partition->append_fetched(epoch, Offset{6}, {}, Offset{6}, Offset{3})); });
  }
  {
    SCOPED_TRACE("a log that is empty and starts inside a batch");
    auto partition = follower("empty");
    machine.run([&]() -> Task<void> {
      EXPECT_TRUE(partition->truncate_fully_and_start_at(epoch, Offset{1}));
      co_return;
    });
    failing(Op::rename, "/empty-0/", [&] {
      return code_of(partition->append_fetched(epoch, Offset{1}, machine.batch("x", 3), Offset{3}, Offset{1}));
    });
  }
}

TEST(Manager, FailuresOfCheckpointsAndTopicIdsAreTold) {
  using Op = runtime::SimFiles::Op;
  Machine machine;
  int told = 0;
  machine.options.give_up = [&](const auto&, const auto&) {
    ++told;
    return false;
  };
  ASSERT_TRUE(machine.start());
  ASSERT_TRUE(machine.append(machine.make("t"), "a"));
  machine.world.files().set_fault([](auto, const std::string& path) { return path.contains("checkpoint") ? EIO : 0; });
  machine.world.run_for(6s);
  machine.world.files().set_fault(nullptr);
  EXPECT_GE(told, 1) << "a checkpoint";
  told = 0;
  machine.world.files().set_fault(
      [](auto op, const std::string& path) { return op == Op::open && path.contains("metadata") ? EIO : 0; });
  machine.run([&]() -> Task<void> {
    std::vector<Change> changes;
    changes.push_back({{"t", PartitionId{0}}, uuid(1), Machine::lead(1)});
    const auto results = co_await machine.manager->apply(std::move(changes));
    EXPECT_EQ(code(results.at(0)), ErrorCode::KAFKA_STORAGE_ERROR);
  });
  machine.world.files().set_fault(nullptr);
  EXPECT_EQ(told, 1) << "a topic's id";
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
