// Brokers come and go, change, and ask to leave.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "controller/decide/deletion.h"
#include "controller/drive/impl.h"

namespace weir::controller {

using decide::Batch;

namespace {

bool contains(const std::vector<BrokerId>& list, BrokerId id) {
  return std::find(list.begin(), list.end(), id) != list.end();
}

}  // namespace

void Controller::Impl::know_brokers() {
  std::vector<std::shared_ptr<const cluster::Broker>> alive;
  for (const auto& [id, broker] : state.image->brokers()) alive.push_back(broker);
  told_link = true;
  link.know_brokers(std::move(alive));
}

// Also for one whose node changed, and for one whose node could not be read before.
Task<ZkResult<>> Controller::Impl::brokers_changed() {
  std::map<BrokerId, BrokerEpoch> lives;
  auto read = co_await store.brokers(self(), self(), lives);
  if (!read) co_return std::unexpected(read.error());
  std::vector<BrokerId> gone;
  std::vector<BrokerId> again;  // only their sessions ended
  std::vector<BrokerId> came;
  bool changed = false;
  std::map<BrokerId, const cluster::Broker*> now;
  for (const auto& broker : *read) now[broker.id] = &broker;
  for (const auto& [id, broker] : state.image->brokers()) {
    const auto found = now.find(id);
    // The same id with a later epoch died and came back between two looks, or registered again.
    if (found == now.end() || found->second->epoch > broker->epoch) {
      (found != now.end() && lives[id] == state.lives[id] ? again : gone).push_back(id);
    }
  }
  for (const auto& [id, broker] : now) {
    const auto* known = state.image->broker(id);
    if (known == nullptr || broker->epoch > known->epoch) {
      came.push_back(id);
    } else if (*known != *broker) {
      WEIR_LOG(info, "broker {} has other endpoints, rack or features", id.value);
      changed = true;
    }
  }
  std::set<BrokerId> reborn;  // here before, in an earlier life
  for (const auto id : came) {
    const auto before = state.lives.find(id);
    if (before != state.lives.end() && before->second != lives[id]) reborn.insert(id);
  }
  // Who comes for the first time in this office: looked at where somebody waits for it.
  for (auto& [at, known] : state.doubts) {
    const auto* partition = state.image->partition(at.topic, at.partition);
    for (const auto id : came) {
      const bool later = !state.lives.contains(id) && lives[id].value > known.written;
      if (later && partition != nullptr && contains(partition->isr, id)) doubt(at, id, known.written);
    }
  }
  for (const auto& [id, life] : lives) state.lives[id] = life;
  state.vanished.clear();
  if (gone.empty() && came.empty() && !changed) co_return ZkResult<>();

  Batch batch;
  batch.tell_brokers();
  ZkResult<> done;
  // Who lived on has all that it had: where the others of an ISR died, it is to stay in there as the last.
  for (const auto& ids : {gone, again}) {
    if (ids.empty() || (!done && fatal(done.error()))) continue;
    for (const auto id : ids) senders.drop(id);
    cluster::ImageBuilder without(state.image);
    for (const auto id : ids) without.remove_broker(id);
    state.image = without.build();
    auto left = co_await brokers_gone(ids, batch);
    if (!left) done = left;
  }
  // Who is there is read once: what one node's error left undone does not hold up the rest.
  if (!done && fatal(done.error())) {
    send(batch);
    co_return done;
  }
  cluster::ImageBuilder with(state.image);
  with.set_brokers(std::move(*read));
  state.image = with.build();
  know_brokers();
  if (!came.empty()) {
    auto led_now = co_await brokers_came(came, reborn, batch);
    if (!led_now) done = led_now;
  }
  send(batch);
  if (!done) co_return done;
  co_return co_await carry_deletions_on();
}

Task<ZkResult<>> Controller::Impl::brokers_gone(std::vector<BrokerId> ids, Batch& batch) {
  for (const auto id : ids) {
    WEIR_LOG(info, "broker {} is gone", id.value);
    state.shutting_down.erase(id);
    decide::broker_gone(state, id);
  }
  co_return co_await make_up_for_losses(batch);
}

std::map<PartitionRef, cluster::Partition> Controller::Impl::tell_all(BrokerId id, Batch& batch) {
  std::map<PartitionRef, cluster::Partition> changed;
  batch.tell_everything(id);
  for (const auto& p : decide::on_broker(state, id)) {
    const auto& partition = *state.image->partition(p.topic, p.partition);
    if (contains(partition.offline, id)) {
      auto next = partition;
      std::erase(next.offline, id);
      changed.insert_or_assign(p, std::move(next));
    }
    // One that is being added may be made in any directory that works.
    if (partition.has_state()) batch.lead_and_follow({id}, p, contains(partition.adding, id));
  }
  if (const auto refused = refused_removals.find(id); refused != refused_removals.end()) {
    // Back among the replicas: it is to keep it, or the topic is going, and that has a memory of its own.
    std::erase_if(refused->second, [&](const PartitionRef& p) {
      const auto* partition = state.image->partition(p.topic, p.partition);
      return partition != nullptr && contains(partition->replicas, id);
    });
    for (const auto& p : refused->second) batch.stop(id, p, true);
    if (refused->second.empty()) refused_removals.erase(refused);
  }
  return changed;
}

Task<ZkResult<>> Controller::Impl::brokers_came(std::vector<BrokerId> ids, const std::set<BrokerId>& reborn,
                                                Batch& batch) {
  for (const auto id : ids) {
    WEIR_LOG(info, "broker {} is there", id.value);
    decide::broker_back(state, id);
    if (!reborn.contains(id)) continue;
    // Still in an ISR: with all others of it, it was the last, or went at the same time.
    for (const auto& p : decide::on_broker(state, id)) {
      const auto& partition = *state.image->partition(p.topic, p.partition);
      if (partition.has_state() && contains(partition.isr, id)) doubt(p, id, 0);
    }
  }
  for (const auto id : ids) {
    put(tell_all(id, batch));
  }
  unsettled.insert(state.reassigning.begin(), state.reassigning.end());  // one may have waited for its leader
  co_return co_await give_leaders(decide::without_leader(state), batch);
}

Task<ZkResult<>> Controller::Impl::waited_for_members() {
  const auto now = shard.clock().mono();
  std::vector<PartitionRef> over;
  for (auto& [at, doubt] : state.doubts) {
    if (doubt.over || doubt.until > now) continue;
    doubt.over = true;
    over.push_back(at);
  }
  doubted.wake();
  WEIR_LOG(warn, "{} partitions waited long enough for members of their ISRs that are away", over.size());
  Batch batch;
  auto done = co_await give_leaders(std::move(over), batch);
  send(batch);
  co_return done;
}

Task<ZkResult<>> Controller::Impl::resend(BrokerId broker) {
  if (!state.image->alive(broker)) co_return ZkResult<>();
  decide::broker_gone(state, broker);
  decide::broker_back(state, broker);
  Batch batch;
  put(tell_all(broker, batch));
  send(batch);
  co_return co_await carry_deletions_on();
}

Task<ZkResult<>> Controller::Impl::shut_down(Event::Ask& ask) {
  const auto* broker = state.image->broker(ask.broker);
  if (broker == nullptr) {
    ask.left = fail(ErrorCode::BROKER_NOT_AVAILABLE, "the broker is not registered");
    co_return ZkResult<>();
  }
  // Versions 0 and 1 name no epoch.
  if (ask.epoch != BrokerEpoch{-1} && ask.epoch != broker->epoch) {
    ask.left = fail(ErrorCode::STALE_BROKER_EPOCH, "the broker is not registered with this epoch");
    co_return ZkResult<>();
  }
  WEIR_LOG(info, "broker {} is shutting down", ask.broker.value);
  state.shutting_down.insert(ask.broker);
  std::vector<PartitionRef> leads;
  Lost follows;
  Batch batch;
  for (auto& p : decide::on_broker(state, ask.broker)) {
    const auto& partition = *state.image->partition(p.topic, p.partition);
    if (partition.replicas.size() < 2 || !partition.has_state() || state.image->deleting(p.topic)) continue;
    if (partition.leader == ask.broker) {
      leads.push_back(std::move(p));
    } else {
      follows[std::move(p)].insert(ask.broker);
    }
  }
  auto done = co_await elect(std::move(leads), decide::Election::controlled_shutdown, false, batch);
  if (done) done = co_await shrink(follows, batch);
  // Whose leader still waits for it goes on following.
  for (const auto& [p, ids] : follows) {
    const auto* partition = state.image->partition(p.topic, p.partition);
    if (partition != nullptr && !contains(partition->isr, ask.broker)) batch.stop(ask.broker, p, false);
  }
  send(batch);
  if (!done) co_return done;
  std::vector<PartitionRef> left;
  for (auto& p : decide::on_broker(state, ask.broker)) {
    const auto& partition = *state.image->partition(p.topic, p.partition);
    if (partition.leader == ask.broker && partition.replicas.size() > 1 && !state.image->deleting(p.topic)) {
      left.push_back(std::move(p));
    }
  }
  ask.left = std::move(left);
  co_return ZkResult<>();
}

}  // namespace weir::controller
