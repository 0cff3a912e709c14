// A simulated machine with a ReplicaManager on it, for the tests of this room.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "metrics/registry.h"
#include "record/builder.h"
#include "replica/manager.h"
#include "runtime/sim.h"

namespace weir::replica {

using runtime::Task;

inline constexpr BrokerId self{1};

struct Machine {
  explicit Machine(std::uint64_t seed = 1, std::size_t shards = 1) : world(seed, shards), scope(world.shard(0)) {
    options.log_dirs = {"/data"};
    options.settings = [this](std::string_view topic) {
      const auto found = settings.find(std::string(topic));
      return found == settings.end() ? Settings{} : found->second;
    };
  }
  ~Machine() {
    stop();
    run([this]() -> Task<void> { co_await scope.stop(); });
  }

  void run(std::move_only_function<Task<void>()> fn) { runtime::block_on(world.shard(0), std::move(fn)); }

  Result<> open() {
    registry = std::make_unique<metrics::Registry>();
    manager = std::make_unique<ReplicaManager>(world.all(), world.pool(), world.files(), world.clock(), world.random(),
                                               *registry, options);
    return manager->open();
  }
  Result<> start() {
    if (auto done = open(); !done) return done;
    if (auto done = manager->claim(self, "the-cluster"); !done) return done;
    Result<> result;
    run([&]() -> Task<void> { result = co_await manager->start(); });
    started = result.has_value();
    return result;
  }
  void stop() {
    if (started) {
      run([this]() -> Task<void> { co_await manager->stop(); });
    }
    started = false;
    manager.reset();
  }
  // The machine loses power (or, with `lose_nothing`, the process is killed); what the old process would still do
  // reaches no disk.
  void crash(bool lose_nothing = false) {
    world.files().crash(lose_nothing);
    world.files().set_fault([](auto, const auto&) { return EIO; });
    stop();
    world.files().set_fault(nullptr);
  }

  // Each state is newer than the one before, as the znode's version says it. This broker is always a replica.
  static Leadership lead(int epoch, std::vector<BrokerId> isr = {self}, BrokerId leader = self,
                         std::vector<BrokerId> replicas = {}) {
    static int version = 0;
    if (replicas.empty()) {
      replicas = isr;
      if (std::ranges::find(replicas, self) == replicas.end()) replicas.push_back(self);
    }
    return {.leader = leader,
            .leader_epoch = LeaderEpoch{epoch},
            .isr = std::move(isr),
            .replicas = std::move(replicas),
            .partition_epoch = ++version,
            .adding = {},
            .removing = {}};
  }
  Result<> apply(const std::string& topic, int partition, Leadership leadership, Uuid id = {}) {
    Result<> result;
    run([&]() -> Task<void> {
      std::vector<Change> changes{{{topic, PartitionId{partition}}, id, leadership}};
      result = (co_await manager->apply(std::move(changes))).at(0);
    });
    return result;
  }
  // With one shard: the partition is ours to touch.
  std::shared_ptr<Partition> find(const std::string& topic, int partition = 0) {
    std::shared_ptr<Partition> found;
    run([&]() -> Task<void> {
      auto look = [&] { return manager->find(topic, PartitionId{partition}); };
      found = co_await runtime::call(manager->shard_of(topic, PartitionId{partition}), std::move(look));
    });
    return found;
  }
  std::shared_ptr<Partition> make(const std::string& topic, Leadership leadership = lead(0)) {
    EXPECT_TRUE(apply(topic, 0, std::move(leadership)));
    return find(topic);
  }

  bytes::Shared batch(std::string_view value, int count = 1) {
    record::Builder builder;
    for (int i = 0; i < count; ++i) {
      builder.append(
          {.timestamp = world.clock().wall().count(), .key = {}, .value = bytes::as_bytes(value), .headers = {}});
    }
    return *builder.build();
  }
  std::expected<log::Appended, record::Rejection> append(const std::shared_ptr<Partition>& to, std::string_view value,
                                                         int count = 1, bool all_acks = false) {
    std::expected<log::Appended, record::Rejection> result;
    run([&]() -> Task<void> {
      result = to->append(batch(value, count), {.all_acks = all_acks});
      co_return;
    });
    return result;
  }

  // A wait for a commit that goes on by itself.
  using Answer = std::shared_ptr<std::optional<Result<>>>;
  Answer commit(const std::shared_ptr<Partition>& of, Offset last, nanoseconds timeout) {
    auto answer = std::make_shared<std::optional<Result<>>>();
    run([&]() -> Task<void> {
      scope.spawn(wait_commit(of, last, timeout, answer));
      co_return;
    });
    return answer;
  }
  static Task<void> wait_commit(std::shared_ptr<Partition> of, Offset last, nanoseconds timeout, Answer answer) {
    *answer = co_await of->committed(last, timeout);
  }
  // A wait for data that goes on by itself: what wait() gave.
  using Woken = std::shared_ptr<std::optional<bool>>;
  Woken wait_data(const std::shared_ptr<DataWait>& wait, nanoseconds timeout) {
    auto woken = std::make_shared<std::optional<bool>>();
    run([&]() -> Task<void> {
      scope.spawn(wait_data_task(wait, timeout, woken));
      co_return;
    });
    return woken;
  }
  static Task<void> wait_data_task(std::shared_ptr<DataWait> wait, nanoseconds timeout, Woken woken) {
    *woken = co_await wait->wait(timeout);
  }

  // The values of all records up to the log's end.
  std::vector<std::string> values(const std::shared_ptr<Partition>& of) {
    std::vector<std::string> out;
    run([&]() -> Task<void> {
      auto look = [&] { read_into(*of, out); };
      co_await runtime::call(manager->shard_of(of->id().topic, of->id().partition), std::move(look));
    });
    return out;
  }
  static void read_into(Partition& of, std::vector<std::string>& out) {
    auto at = of.log().log_start();
    while (at < of.log().log_end()) {
      auto slice = of.log().read(at, 1 << 20, log::Isolation::log_end, true, log::ReadMode::may_block);
      ASSERT_TRUE(slice);
      ASSERT_GT(slice->length, 0U);
      auto memory = bytes::Shared::allocate(slice->length);
      ASSERT_TRUE(slice->file->read_at(slice->position, memory.mutable_view()));
      record::Batches batches(memory.view());
      while (auto batch = batches.next()) {
        at = batch->next_offset();
        record::RecordIterator records(*batch);
        while (const auto* record = records.next()) out.emplace_back(bytes::as_text(*record->value));
      }
    }
  }

  runtime::SimWorld world;
  std::map<std::string, Settings> settings;
  ManagerOptions options;
  std::unique_ptr<metrics::Registry> registry;
  std::unique_ptr<ReplicaManager> manager;
  bool started = false;
  runtime::Scope scope;
};

// The code of an answer; NONE when it is good.
inline ErrorCode code(const Result<>& result) { return result ? ErrorCode::NONE : result.error().code; }
inline ErrorCode code(const std::expected<log::Appended, record::Rejection>& result) {
  return result ? ErrorCode::NONE : result.error().error.code;
}

}  // namespace weir::replica
