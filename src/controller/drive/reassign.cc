// Replicas move (KIP-455): what is wanted is written into the topic's node first, so that any controller can go on;
// when all of the target are in the ISR, the state is written with the target alone, who goes is told to, and the
// topic's node is written last, for only it says who has to go.
#include "controller/decide/reassign.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "controller/drive/impl.h"

namespace weir::controller {

namespace layout = zkwire::layout;
using decide::Batch;
using zkclient::Op;
using zkclient::ZkCode;

namespace {

bool contains(const std::vector<BrokerId>& list, BrokerId id) {
  return std::find(list.begin(), list.end(), id) != list.end();
}

bool same_lists(const cluster::Partition& a, const cluster::Partition& b) {
  return a.replicas == b.replicas && a.adding == b.adding && a.removing == b.removing;
}

void take_lists(cluster::Partition& into, const cluster::Partition& from) {
  into.replicas = from.replicas;
  into.adding = from.adding;
  into.removing = from.removing;
  std::erase_if(into.offline, [&](BrokerId id) { return !contains(into.replicas, id); });
}

std::vector<BrokerId> online_among(const decide::State& state, const cluster::Partition& partition,
                                   const std::vector<BrokerId>& ids) {
  std::vector<BrokerId> out;
  for (const auto id : ids) {
    if (decide::online(state, partition, id, true)) out.push_back(id);
  }
  return out;
}

}  // namespace

// Who was to come and is not wanted any more is told to go while the topic's node still names it: the next controller
// could not know of it. (Kafka writes first; a replica is left behind when its controller dies then.)
Task<ZkResult<>> Controller::Impl::stop_unneeded(const Moves& wanted,
                                                 const std::map<PartitionRef, std::vector<BrokerId>>& unneeded) {
  if (unneeded.empty()) co_return ZkResult<>();
  std::vector<PartitionRef> at;
  for (const auto& [p, ids] : unneeded) at.push_back(p);
  auto make = [&](const PartitionRef& p,
                  cluster::Partition current) -> Task<ZkResult<std::optional<cluster::Partition>>> {
    auto without = current;
    take_lists(without, wanted.at(p));
    auto next = decide::under_way(state, std::move(without), unneeded.at(p));
    take_lists(next, current);
    co_return next;
  };
  std::map<PartitionRef, cluster::Partition> written;
  auto done = co_await rewrite(std::move(at), std::move(make), written);
  // What was written is told also when an error ended it; who is unneeded is stopped only where it was.
  Batch batch;
  for (const auto& [p, ids] : unneeded) {
    if (!done && !written.contains(p)) continue;
    for (const auto id : ids) batch.stop(id, p, true);
  }
  for (const auto& [p, partition] : written) {
    auto others = decide::online_replicas(state, partition, true);
    std::erase_if(others, [&](BrokerId id) { return contains(unneeded.at(p), id); });
    batch.lead_and_follow(others, p, false);
  }
  send(batch);
  co_return done;
}

Task<ZkResult<>> Controller::Impl::reassign(Moves wanted, Outcome& outcome) {
  // What is wanted, in ZooKeeper and then here.
  Store::Assignments lists;
  std::map<PartitionRef, std::vector<BrokerId>> unneeded;  // were to come, and are not wanted any more
  for (const auto& [p, next] : wanted) {
    const auto& now = *state.image->partition(p.topic, p.partition);
    if (same_lists(now, next)) continue;
    lists[p.topic][p.partition] = {next.replicas, next.adding, next.removing};
    for (const auto id : now.replicas) {
      if (!contains(next.replicas, id)) unneeded[p].push_back(id);
    }
  }
  auto stopped_early = co_await stop_unneeded(wanted, unneeded);
  if (!stopped_early) co_return stopped_early;
  auto gone = co_await store.assign(std::move(lists));
  if (!gone) co_return std::unexpected(gone.error());
  std::map<PartitionRef, cluster::Partition> taken;
  std::vector<PartitionRef> at;
  for (const auto& [p, next] : wanted) {
    if (gone->contains(p.topic)) {
      outcome[p] = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
      continue;
    }
    auto partition = *state.image->partition(p.topic, p.partition);
    take_lists(partition, next);
    state.reassigning.insert(p);
    taken.emplace(p, std::move(partition));
    at.push_back(p);
  }
  put(taken);

  if (!options.alter_partition) {
    // Leaders write their ISRs themselves: heard of at once.
    auto watched = co_await store.states(at, self());
    if (!watched) co_return std::unexpected(watched.error());
    put(*watched);
  }
  // The next state of each.
  auto make = [&](const PartitionRef& p,
                  cluster::Partition current) -> Task<ZkResult<std::optional<cluster::Partition>>> {
    if (!decide::caught_up(current)) co_return decide::under_way(state, std::move(current), {});
    auto last = decide::settled(state, std::move(current));
    if (!last) {
      WEIR_LOG(warn, "the reassignment of {}-{} waits: none of its replicas may lead now", p.topic, p.partition.value);
    }
    co_return last;
  };
  auto again = at;
  std::map<PartitionRef, cluster::Partition> written;
  auto done = co_await rewrite(std::move(again), std::move(make), written);

  // Whom to tell: of what was written, also when an error ended it.
  Batch batch;
  Store::Assignments last_lists;
  std::set<PartitionRef> settled;
  for (const auto& p : at) {
    const auto found = written.find(p);
    if (done || found != written.end()) batch.tell(p);
    if (found == written.end()) continue;
    const auto& now = found->second;
    const auto& before = taken.at(p);
    if (decide::being_reassigned(now)) {
      batch.lead_and_follow(online_among(state, now, decide::origin_replicas(now)), p, false);
      batch.lead_and_follow(online_among(state, now, now.adding), p, true);
      continue;
    }
    batch.lead_and_follow(decide::online_replicas(state, now, true), p, false);
    for (const auto id : before.removing) batch.stop(id, p, true);
    last_lists[p.topic][p.partition] = {now.replicas, {}, {}};
    settled.insert(p);
  }
  send(batch);
  // Topics' nodes still say that it is under way: the next look, or the next controller, ends it.
  if (!done) co_return done;
  if (settled.empty()) co_return ZkResult<>();

  // It is over: the topic's node says so last.
  gone = co_await store.assign(std::move(last_lists));
  if (!gone) co_return std::unexpected(gone.error());
  for (const auto& p : settled) {
    WEIR_LOG(info, "the reassignment of {}-{} is done", p.topic, p.partition.value);
    state.reassigning.erase(p);
    unsettled.erase(p);
  }
  auto is_over = [&](const Entry& entry) {
    const PartitionRef p{entry.first.topic, entry.first.partition};
    if (!settled.contains(p)) return false;
    const auto* now = state.image->partition(p.topic, p.partition);
    return now == nullptr || now->replicas == entry.second;
  };
  auto dropped = co_await drop_legacy_moves(std::move(is_over));
  if (!dropped) co_return dropped;
  co_return co_await carry_deletions_on();  // of topics that waited for this
}

Task<ZkResult<>> Controller::Impl::settle() {
  Moves ready;
  for (const auto& p : std::exchange(unsettled, {})) {
    const auto* partition = state.image->partition(p.topic, p.partition);
    if (partition == nullptr) {
      state.reassigning.erase(p);
    } else if (state.reassigning.contains(p) && partition->has_state() && decide::caught_up(*partition) &&
               decide::settled(state, *partition)) {
      ready.emplace(p, *partition);
    }
  }
  if (ready.empty()) co_return ZkResult<>();
  Outcome outcome;
  auto done = co_await reassign(ready, outcome);
  // What could not be written waits for the next change: it is not tried again and again.
  for (const auto& [p, partition] : ready) unsettled.erase(p);
  co_return done;
}

Task<ZkResult<>> Controller::Impl::moves_asked(Event::Ask& ask) {
  std::vector<ReassignmentAnswer> answers;
  Moves wanted;
  for (const auto& [p, target] : ask.moves) {
    const auto* partition = state.image->partition(p.topic, p.partition);
    const auto now = partition == nullptr ? cluster::Partition{} : *partition;
    Result<> fine;
    if (target) {
      fine = decide::check_target(state, now, *target, true);
    } else if (!decide::being_reassigned(now)) {
      fine = fail(ErrorCode::NO_REASSIGNMENT_IN_PROGRESS);
    }
    if (fine && (partition == nullptr || state.image->deleting(p.topic))) {
      fine = fail(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "there is no such partition");
    }
    if (fine) {
      auto next = decide::reassigned_to(now, target ? *target : decide::origin_replicas(now));
      fine = decide::check_isr_stays(now, next);
      if (fine) wanted.emplace(p, std::move(next));
    }
    answers.push_back({p, std::move(fine)});
  }
  // What is asked last counts, whatever way it was asked.
  auto replaced = [&](const Entry& entry) {
    return wanted.contains(PartitionRef{entry.first.topic, entry.first.partition});
  };
  auto dropped = co_await drop_legacy_moves(std::move(replaced));
  if (!dropped) co_return dropped;
  Outcome outcome;
  auto done = co_await reassign(std::move(wanted), outcome);
  if (!done) co_return done;
  for (auto& answer : answers) {
    const auto failed = outcome.find(answer.at);
    if (failed != outcome.end()) answer.result = fail(failed->second, "the topic is gone");
  }
  ask.moved = std::move(answers);
  co_return ZkResult<>();
}

void Controller::Impl::list_moves(Event::Ask& ask) {
  std::vector<OngoingReassignment> out;
  const auto add = [&](const PartitionRef& p) {
    const auto* partition = state.image->partition(p.topic, p.partition);
    if (partition != nullptr && decide::being_reassigned(*partition)) {
      out.push_back({p, partition->replicas, partition->adding, partition->removing});
    }
  };
  if (ask.among) {
    for (const auto& p : *ask.among) add(p);
  } else {
    for (const auto& p : state.reassigning) add(p);
  }
  ask.moving = std::move(out);
}

Task<ZkResult<>> Controller::Impl::legacy_moves(bool resume) {
  const std::string path(layout::reassign_partitions_path);
  auto watched = co_await zk.exists(path, self());
  if (!watched) co_return std::unexpected(watched.error());
  Moves wanted;
  Outcome outcome;
  if (*watched) {
    auto there = co_await zk.get(path, Watch{});
    if (!there && there.error().code != ZkCode::no_node) co_return std::unexpected(there.error());
    const auto asked = layout::decode_reassignment(path, there ? there->data : R"({"partitions":[]})");
    if (!asked) WEIR_LOG(error, "no replicas are moved: {}", asked.error().message);
    for (const auto& [tp, target] : asked ? *asked : std::map<layout::TopicPartition, std::vector<BrokerId>>{}) {
      const PartitionRef p{tp.topic, tp.partition};
      const auto* now = state.image->partition(p.topic, p.partition);
      Result<> fine;
      if (now == nullptr || state.image->deleting(p.topic)) {
        fine = fail(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "there is no such partition");
      } else {
        fine = decide::check_target(state, *now, target, false);
      }
      cluster::Partition next;
      if (fine) {
        next = decide::reassigned_to(*now, target);
        fine = decide::check_isr_stays(*now, next);
      }
      if (!fine) {
        WEIR_LOG(error, "{}: {}-{} is not reassigned: {}", path, p.topic, p.partition.value, fine.error().message);
        outcome[p] = fine.error().code;
        continue;
      }
      if (!resume && state.reassigning.contains(p) && same_lists(*now, next)) continue;  // under way
      if (auto alive = decide::check_target(state, *now, target, true); !alive) {
        WEIR_LOG(warn, "{}: the reassignment of {}-{} waits: {}", path, p.topic, p.partition.value,
                 alive.error().message);
      }
      wanted.emplace(p, std::move(next));
    }
  }
  if (resume) {
    for (const auto& p : state.reassigning) {
      if (const auto* now = state.image->partition(p.topic, p.partition)) wanted.emplace(p, *now);
    }
  }
  if (!wanted.empty()) {
    auto done = co_await reassign(std::move(wanted), outcome);
    if (!done) co_return done;
  }
  if (outcome.empty()) co_return ZkResult<>();
  auto refused = [&](const Entry& entry) {
    return outcome.contains(PartitionRef{entry.first.topic, entry.first.partition});
  };
  co_return co_await drop_legacy_moves(std::move(refused));
}

Task<ZkResult<>> Controller::Impl::drop_legacy_moves(std::function<bool(const Entry&)> which) {
  const std::string path(layout::reassign_partitions_path);
  for (;;) {
    auto there = co_await zk.get(path, Watch{});
    if (!there && there.error().code == ZkCode::no_node) co_return ZkResult<>();
    if (!there) co_return std::unexpected(there.error());
    auto entries = layout::decode_reassignment(path, there->data);
    if (!entries) co_return ZkResult<>();  // said when it was first read
    const auto before = entries->size();
    std::erase_if(*entries, which);
    if (entries->size() == before) co_return ZkResult<>();
    auto op = entries->empty() ? Op::remove(path, there->stat.version)
                               : Op::set(path, layout::encode_reassignment(*entries), there->stat.version);
    auto done = co_await store.write(std::move(op));
    if (done) co_return ZkResult<>();
    const auto code = done.error().code;
    if (office_lost(done.error()) || (code != ZkCode::bad_version && code != ZkCode::no_node)) {
      co_return std::unexpected(done.error());
    }
  }
}

}  // namespace weir::controller
