#include "broker/groups.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "broker/partition_io.h"
#include "broker/request.h"
#include "cluster/topic_name.h"
#include "coordinator/batches.h"

namespace weir::broker {

using coordinator::group::Effects;
using runtime::Task;

namespace {

constexpr auto topic = cluster::group_metadata_topic;
// offsets.commit.timeout.ms in Kafka: how long a record of the coordinator may take to be committed.
constexpr milliseconds commit_timeout{5000};
// How often a load that waits for its records to be committed looks at the in-sync set.
constexpr milliseconds look_again{100};
// One read while loading.
constexpr std::uint64_t load_bytes = 1 * MiB;

}  // namespace

Groups::Groups(std::vector<runtime::Shard*> shards, runtime::Pool& pool, replica::ReplicaManager& replicas,
               coordinator::group::Config config, std::int32_t partitions)
    : pool_(pool), replicas_(replicas), partitions_(partitions) {
  for (auto* shard : shards) parts_.push_back(std::make_unique<Part>(*shard, config, partitions));
}

Groups::~Groups() = default;

coordinator::Now Groups::now(Part& part) {
  auto& clock = part.shard.clock();
  return {clock.mono(), clock.wall().count()};
}

Groups::Part& Groups::part_of(PartitionId partition) {
  auto& shard = replicas_.shard_of(topic, partition);
  return *parts_.at(shard.index());
}

Groups::Part& Groups::part_of(std::string_view group) {
  return part_of(PartitionId{coordinator::partition_for(group, partitions_)});
}

Task<void> Groups::set_partitions(std::int32_t count) {
  if (count == partitions_ || count <= 0) co_return;
  partitions_ = count;
  for (auto& part : parts_) {
    auto set = [&part, count] { part->runtime->set_partitions(count); };
    co_await runtime::call(part->shard, std::move(set));
  }
}

// ---- effects

void Groups::carry_out(Part& part, Effects effects) {
  for (auto& each : effects.replies) reply(part, std::move(each));
  for (auto& each : effects.appends) append(part, std::move(each));
  arm(part);
}

void Groups::reply(Part& part, coordinator::group::Reply reply) {
  const auto it = part.pending.find(reply.token);
  if (it == part.pending.end()) return;
  auto pending = std::move(it->second);
  part.pending.erase(it);
  auto deliver = [pending, response = std::move(reply.response)]() mutable {
    pending->response = std::move(response);
    pending->waiter.wake();
  };
  if (pending->home.here()) {
    deliver();
  } else {
    pending->home.post(std::move(deliver));
  }
}

void Groups::append(Part& part, coordinator::Append append) {
  auto partition = replicas_.find(topic, PartitionId{append.partition});
  auto failed = [&](ErrorCode code) {
    carry_out(part, part.runtime->append_failed(append.partition, append.id, code, now(part)));
  };
  if (!partition || partition->leader_epoch() != append.epoch) return failed(ErrorCode::NOT_LEADER_OR_FOLLOWER);
  auto appended =
      partition->append(coordinator::batch_of(append), {.all_acks = true, .origin = record::Origin::coordinator});
  if (!appended) return failed(appended.error().error.code);
  if (partition->high_watermark() > appended->last_offset) {
    carry_out(part, part.runtime->committed(append.partition, append.id, now(part)));
  } else {
    part.scope.spawn(await_commit(part, partition, appended->last_offset, append.partition, append.id));
  }
}

Task<void> Groups::await_commit(Part& part, std::shared_ptr<replica::Partition> partition, Offset last,
                                std::int32_t index, coordinator::AppendId id) {
  auto done = co_await partition->committed(last, commit_timeout);
  auto effects = done ? part.runtime->committed(index, id, now(part))
                      : part.runtime->append_failed(index, id, done.error().code, now(part));
  carry_out(part, std::move(effects));
}

void Groups::arm(Part& part) {
  const auto at = part.stopped ? std::nullopt : part.runtime->next_deadline();
  if (part.timer != 0) {
    if (at && part.timer_at <= *at) return;  // it fires in time, and looks again
    part.shard.cancel(part.timer);
    part.timer = 0;
  }
  if (!at) return;
  part.timer_at = *at;
  part.timer = part.shard.schedule(*at, [this, &part] {
    part.timer = 0;
    carry_out(part, part.runtime->tick(now(part)));
  });
}

// ---- elections

Task<void> Groups::elected(PartitionId partition, LeaderEpoch epoch) {
  auto& part = part_of(partition);
  auto begin = [this, &part, partition, epoch] {
    if (!part.stopped && part.runtime->begin_load(partition.value, epoch))
      part.scope.spawn(load(part, partition, epoch));
  };
  co_await runtime::call(part.shard, std::move(begin));
}

Task<void> Groups::resigned(PartitionId partition, std::optional<LeaderEpoch> epoch) {
  auto& part = part_of(partition);
  auto end = [this, &part, partition, epoch] { carry_out(part, part.runtime->resign(partition.value, epoch)); };
  co_await runtime::call(part.shard, std::move(end));
}

// What was read may still go when another member of the in-sync set leads next; a generation or an offset that a client
// was told of must not. Kafka answers with it at once. A leader that is alone in its set has lost all others to it;
// with fewer in sync than must be nothing is committed before more come, and it answers as Kafka does.
Task<bool> Groups::all_committed(Part& part, replica::Partition& partition, Offset end) {
  const auto tenure = partition.tenure();
  while (!part.stopped && partition.high_watermark() < end && partition.maximal_isr().size() > 1 &&
         !partition.under_min_isr()) {
    auto done = co_await partition.committed(end - 1, look_again, tenure);
    if (!done && done.error().code != ErrorCode::REQUEST_TIMED_OUT &&
        done.error().code != ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND) {
      co_return false;
    }
  }
  co_return !part.stopped;
}

// Reads the partition from its start to what was its end at the election, waits until the in-sync set has that, and
// hands the records to the runtime.
Task<void> Groups::load(Part& part, PartitionId index, LeaderEpoch epoch) {
  const auto began = part.shard.clock().mono();
  auto partition = replicas_.find(topic, index);
  if (!partition) {
    part.runtime->fail_load(index.value, epoch);
    co_return;
  }
  auto& log = partition->log();
  auto at = log.log_start();
  const auto end = log.log_end();
  std::uint64_t records_read = 0;
  while (at < end && !part.stopped) {
    auto read = [&](log::ReadMode mode) { return log.read(at, load_bytes, log::Isolation::log_end, true, mode); };
    auto slice = co_await read_warm(pool_, std::move(read));
    if (slice && slice->length == 0) break;
    Result<bytes::Shared> data = bytes::Shared{};
    if (slice) {
      auto fetch = [&slice]() -> Result<bytes::Shared> {
        auto memory = bytes::Shared::allocate(slice->length);
        auto got = slice->file->read_at(slice->position, memory.mutable_view());
        if (!got) return fail(ErrorCode::KAFKA_STORAGE_ERROR, got.error().message);
        return memory.sub(0, *got);
      };
      data = co_await pool_.run(std::move(fetch));
    }
    if (!slice || !data || partition->gone()) {
      WEIR_LOG(error, "cannot load the groups of {}: {}", partition->id().text(),
               !slice  ? slice.error().error.message
               : !data ? data.error().message
                       : "it was taken away");
      part.runtime->fail_load(index.value, epoch);
      co_return;
    }
    const auto before = at;
    bool wanted = true;
    auto give = [&](const coordinator::LoadedRecord& record) {
      ++records_read;
      wanted = part.runtime->load(index.value, epoch, std::span(&record, 1));
      return wanted;
    };
    auto next = coordinator::each_record(data->view(), give);
    if (!wanted) co_return;  // another election has overtaken this load
    if (!next) {
      WEIR_LOG(error, "cannot load the groups of {}: {}", partition->id().text(), next.error().message);
      part.runtime->fail_load(index.value, epoch);
      co_return;
    }
    if (*next) at = **next;
    if (at == before) break;  // a first batch larger than was read, or a damaged one
  }
  if (!co_await all_committed(part, *partition, end)) {
    part.runtime->fail_load(index.value, epoch);
    co_return;
  }
  carry_out(part, part.runtime->finish_load(index.value, epoch, now(part)));
  if (records_read > 0) {
    WEIR_LOG(info, "loaded the groups of {}: {} records in {} ms", partition->id().text(), records_read,
             std::chrono::duration_cast<milliseconds>(part.shard.clock().mono() - began).count());
  }
}

Task<void> Groups::topics_deleted(std::vector<std::string> topics) {
  for (auto& part : parts_) {
    auto drop = [this, &part, &topics] { carry_out(*part, part->runtime->topics_deleted(topics, now(*part))); };
    co_await runtime::call(part->shard, std::move(drop));
  }
}

Task<void> Groups::stop() {
  for (auto& part : parts_) {
    auto end = [this, &part]() -> Task<void> {
      part->stopped = true;
      if (part->timer != 0) part->shard.cancel(part->timer);
      part->timer = 0;
      carry_out(*part, part->runtime->shut_down());
      co_await part->scope.stop();
    };
    co_await runtime::call(part->shard, std::move(end));
  }
}

// ---- requests

Task<std::optional<coordinator::group::Response>> Groups::wait(std::string_view group, Interrupts& interrupts,
                                                               Start start) {
  auto& part = part_of(group);
  auto pending = std::make_shared<Pending>(*runtime::Shard::current());
  auto begin = [this, &part, pending, &start] {
    const auto token = part.next_token++;
    part.pending.emplace(token, pending);
    carry_out(part, start(*part.runtime, token, now(part)));
    return token;
  };
  co_await runtime::call(part.shard, std::move(begin));
  if (!pending->response) {
    Interrupts::Handle interrupt(interrupts, [&pending] { pending->waiter.wake(); });
    co_await pending->waiter.wait();
  }
  co_return std::move(pending->response);
}

Task<coordinator::group::ListResponse> Groups::list(coordinator::group::ListRequest request) {
  coordinator::group::ListResponse all;
  for (auto& part : parts_) {
    auto ask = [&part, &request] { return part->runtime->list(request); };
    auto some = co_await runtime::call(part->shard, std::move(ask));
    if (all.error == ErrorCode::NONE) all.error = some.error;
    std::ranges::move(some.groups, std::back_inserter(all.groups));
  }
  co_return all;
}

Task<Groups::Counts> Groups::counts() {
  Counts all;
  for (auto& part : parts_) {
    auto look = [this, &part] {
      Counts mine;
      for (std::int32_t i = 0; i < partitions_; ++i) {
        const auto* machine = part->runtime->machine(i);
        if (machine == nullptr) continue;
        mine.groups += machine->groups();
        mine.offsets += machine->offsets();
        mine.waiting += machine->waiting();
      }
      return mine;
    };
    const auto mine = co_await runtime::call(part->shard, std::move(look));
    all.groups += mine.groups;
    all.offsets += mine.offsets;
    all.waiting += mine.waiting;
  }
  co_return all;
}

}  // namespace weir::broker
