// What happens to a cluster: brokers come and go, topics are made, grow and go, people ask.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "controller/decide/deletion.h"
#include "controller/drive/impl.h"

namespace weir::controller {

namespace layout = zkwire::layout;
using decide::Batch;
using zkclient::Op;
using zkclient::ZkCode;

// --- brokers ----------------------------------------------------------------------------------------------------

Task<ZkResult<>> Controller::Impl::brokers_changed() {
  auto read = co_await store.brokers(self(), self());
  if (!read) co_return std::unexpected(read.error());
  std::vector<BrokerId> gone;
  std::vector<BrokerId> came;
  std::map<BrokerId, const cluster::Broker*> now;
  for (const auto& broker : *read) now[broker.id] = &broker;
  for (const auto& [id, broker] : state.image->brokers()) {
    const auto found = now.find(id);
    // The same id with a later epoch died and came back between two looks.
    if (found == now.end() || found->second->epoch > broker->epoch) gone.push_back(id);
  }
  for (const auto& [id, broker] : now) {
    const auto* known = state.image->broker(id);
    if (known == nullptr || broker->epoch > known->epoch) came.push_back(id);
  }
  if (gone.empty() && came.empty()) co_return ZkResult<>();

  Batch batch;
  batch.tell_brokers();
  if (!gone.empty()) {
    cluster::ImageBuilder without(state.image);
    for (const auto id : gone) without.remove_broker(id);
    state.image = without.build();
    auto done = co_await brokers_gone(gone, batch);
    if (!done) co_return done;
  }
  cluster::ImageBuilder with(state.image);
  with.set_brokers(std::move(*read));
  state.image = with.build();
  auto done = co_await brokers_came(came, batch);
  if (!done) co_return done;
  send(batch);
  co_return co_await carry_deletions_on();
}

Task<ZkResult<>> Controller::Impl::brokers_gone(std::vector<BrokerId> ids, Batch& batch) {
  for (const auto id : ids) {
    WEIR_LOG(info, "broker {} is gone", id.value);
    state.shutting_down.erase(id);
    senders.drop(id);
    decide::broker_gone(state, id);
  }
  auto led_now = co_await give_leaders(decide::without_leader(state), batch);
  if (!led_now) co_return led_now;
  for (const auto id : ids) {
    auto at = decide::on_broker(state, id);
    std::erase_if(at, [&](const PartitionRef& p) {
      const auto& partition = *state.image->partition(p.topic, p.partition);
      return !partition.has_state() || state.image->deleting(p.topic) ||
             std::find(partition.isr.begin(), partition.isr.end(), id) == partition.isr.end();
    });
    auto shrunk = co_await shrink(std::move(at), id, batch);
    if (!shrunk) co_return shrunk;
  }
  co_return ZkResult<>();
}

Task<ZkResult<>> Controller::Impl::brokers_came(std::vector<BrokerId> ids, Batch& batch) {
  if (ids.empty()) co_return ZkResult<>();
  std::map<PartitionRef, cluster::Partition> changed;
  for (const auto id : ids) {
    WEIR_LOG(info, "broker {} is there", id.value);
    decide::broker_back(state, id);
    batch.tell_everything(id);
    for (const auto& p : decide::on_broker(state, id)) {
      const auto& partition = *state.image->partition(p.topic, p.partition);
      if (std::find(partition.offline.begin(), partition.offline.end(), id) != partition.offline.end()) {
        auto next = partition;
        std::erase(next.offline, id);
        changed.insert_or_assign(p, std::move(next));
      }
      if (partition.has_state()) batch.lead_and_follow({id}, p, false);
    }
  }
  put(changed);
  co_return co_await give_leaders(decide::without_leader(state), batch);
}

// Its listeners or features changed while it lives.
Task<ZkResult<>> Controller::Impl::broker_changed(std::string) {
  auto read = co_await store.brokers(self(), self());
  if (!read) co_return std::unexpected(read.error());
  bool changed = false;
  cluster::ImageBuilder building(state.image);
  for (auto& broker : *read) {
    const auto* known = state.image->broker(broker.id);
    if (known == nullptr || known->epoch != broker.epoch || *known == broker) continue;
    building.put_broker(std::move(broker));
    changed = true;
  }
  if (changed) {
    state.image = building.build();
    Batch batch;
    batch.tell_brokers();
    send(batch);
  }
  co_return ZkResult<>();
}

// --- topics -----------------------------------------------------------------------------------------------------

Task<ZkResult<>> Controller::Impl::topics_changed() {
  auto names = co_await store.children(std::string(layout::topics_path), self());
  if (!names) co_return std::unexpected(names.error());
  const std::set<std::string> now(names->begin(), names->end());
  std::vector<std::string> fresh;
  for (const auto& name : now) {
    if (!state.image->topic(name)) fresh.push_back(name);
  }
  cluster::ImageBuilder without(state.image);
  state.image->each_topic([&](const cluster::TopicPtr& topic) {
    if (now.contains(topic->name)) return;
    without.remove_topic(topic->name);
    state.deletions.erase(topic->name);
  });
  state.image = without.build();
  auto topics = co_await store.topics(std::move(fresh), self());
  if (!topics) co_return std::unexpected(topics.error());
  auto added = co_await adopt_topics(std::move(*topics));
  if (!added) co_return std::unexpected(added.error());
  Batch batch;
  auto done = co_await give_leaders(std::move(*added), batch);
  send(batch);
  co_return done;
}

// Its node changed: it grew, or it is another topic of that name, or it is gone (then the list says so).
Task<ZkResult<>> Controller::Impl::topic_changed(std::string name) {
  const auto known = state.image->topic(name);
  if (!known) co_return ZkResult<>();
  std::vector<std::string> names{name};
  auto topics = co_await store.topics(std::move(names), self());
  if (!topics) co_return std::unexpected(topics.error());
  if (topics->empty()) co_return ZkResult<>();
  const auto& read = topics->front().assignment;
  const bool another = read.id && !known->id.is_zero() && *read.id != known->id;
  if (another) state.deletions.erase(name);
  if (!another && state.image->deleting(name)) {
    if (read.partitions.size() <= known->partitions.size()) co_return ZkResult<>();
    // A topic on its way out does not grow: its node is set back.
    WEIR_LOG(warn, "topic {} does not grow: it is being deleted", name);
    auto back = read;
    std::erase_if(back.partitions, [&](const auto& p) { return known->partitions.find(p.first) == nullptr; });
    auto op = Op::set(layout::path_of_topic(name), layout::encode(back), topics->front().version);
    auto done = co_await store.write(std::move(op));
    if (!done && (office_lost(done.error()) ||
                  (done.error().code != ZkCode::bad_version && done.error().code != ZkCode::no_node))) {
      co_return std::unexpected(done.error());
    }
    co_return ZkResult<>();
  }
  auto added = co_await adopt_topics(std::move(*topics));
  if (!added) co_return std::unexpected(added.error());
  Batch batch;
  auto done = co_await give_leaders(std::move(*added), batch);
  send(batch);
  co_return done;
}

Task<ZkResult<>> Controller::Impl::deletions_changed() {
  auto names = co_await store.children(std::string(layout::delete_topics_path), self());
  if (!names) co_return std::unexpected(names.error());
  // A topic may have been made and marked between two looks at the list.
  if (std::any_of(names->begin(), names->end(), [&](const auto& name) { return !state.image->topic(name); })) {
    auto looked = co_await topics_changed();
    if (!looked) co_return looked;
  }
  cluster::ImageBuilder building(state.image);
  std::vector<std::string> refused;
  for (const auto& name : *names) {
    if (!options.delete_topics || !state.image->topic(name)) {
      WEIR_LOG(warn, "topic {} is not deleted: {}", name,
               options.delete_topics ? "there is none of that name" : "delete.topic.enable is false");
      refused.push_back(name);
    } else if (!state.image->deleting(name)) {
      WEIR_LOG(info, "deleting topic {}", name);
      building.mark_deleting(name);
      state.deletions[name];
    }
  }
  state.image = building.build();
  auto cleared = co_await store.remove_children(std::string(layout::delete_topics_path), std::move(refused));
  if (!cleared) co_return cleared;
  co_return co_await carry_deletions_on();
}

Task<ZkResult<>> Controller::Impl::carry_deletions_on() {
  if (state.deletions.empty()) co_return ZkResult<>();
  Batch batch;
  const auto gone = decide::next_deletions(state, batch);
  send(batch);
  for (const auto& name : gone) {
    auto removed = co_await store.remove_topic(name);
    if (!removed) co_return removed;
    state.deletions.erase(name);
    cluster::ImageBuilder building(state.image);
    building.remove_topic(name);
    state.image = building.build();
    WEIR_LOG(info, "topic {} is deleted", name);
    // One of that name may be there again already, hidden from the list's watch by the old one.
    push({Event::Kind::topics});
  }
  co_return ZkResult<>();
}

// --- notifications ----------------------------------------------------------------------------------------------

Task<ZkResult<>> Controller::Impl::preferred_asked() {
  const std::string path(layout::preferred_replica_election_path);
  auto watched = co_await zk.exists(path, self());
  if (!watched) co_return std::unexpected(watched.error());
  if (!*watched) co_return ZkResult<>();
  auto there = co_await zk.get(path, Watch{});
  if (!there && there.error().code == ZkCode::no_node) co_return ZkResult<>();
  if (!there) co_return std::unexpected(there.error());
  const auto asked = layout::decode_partition_set(path, there->data);
  if (!asked) WEIR_LOG(error, "no preferred election: {}", asked.error().message);
  std::vector<PartitionRef> at;
  if (asked) {
    for (const auto& p : *asked) {
      const auto* partition = state.image->partition(p.topic, p.partition);
      if (partition == nullptr || !partition->has_state() || state.image->deleting(p.topic)) continue;
      if (!partition->replicas.empty() && partition->leader != partition->replicas.front()) {
        at.push_back({p.topic, p.partition});
      }
    }
  }
  Batch batch;
  auto done = co_await elect(std::move(at), decide::Election::preferred, false, batch);
  send(batch);
  if (!done) co_return done;
  co_return co_await store.remove(path);
}

// Leaders of brokers before 2.7 write their ISR themselves, and say so here.
Task<ZkResult<>> Controller::Impl::isr_changed() {
  const std::string path(layout::isr_change_notification_path);
  auto names = co_await store.children(path, self());
  if (!names) co_return std::unexpected(names.error());
  if (names->empty()) co_return ZkResult<>();
  auto at = co_await store.isr_changes(*names);
  if (!at) co_return std::unexpected(at.error());
  auto states = co_await store.states(std::move(*at));
  if (!states) co_return std::unexpected(states.error());
  put(*states);
  Batch batch;
  for (const auto& [p, partition] : *states) batch.tell(p);
  send(batch);
  co_return co_await store.remove_children(path, std::move(*names));
}

// A broker lost a directory: asked about all its partitions, it answers which are gone.
Task<ZkResult<>> Controller::Impl::log_dirs_failed() {
  const std::string path(layout::log_dir_event_notification_path);
  auto names = co_await store.children(path, self());
  if (!names) co_return std::unexpected(names.error());
  Batch batch;
  for (const auto& name : *names) {
    const auto node = path + "/" + name;
    auto there = co_await zk.get(node, Watch{});
    if (!there && there.error().code == ZkCode::no_node) continue;
    if (!there) co_return std::unexpected(there.error());
    const auto broker = layout::decode_log_dir_event(node, there->data);
    if (!broker) {
      WEIR_LOG(error, "a notification is left out: {}", broker.error().message);
      continue;
    }
    for (const auto& p : decide::on_broker(state, *broker)) {
      if (state.image->partition(p.topic, p.partition)->has_state()) batch.lead_and_follow({*broker}, p, false);
    }
  }
  send(batch);
  co_return co_await store.remove_children(path, std::move(*names));
}

Task<ZkResult<>> Controller::Impl::led(BrokerId broker, OrderAnswer answers) {
  std::map<PartitionRef, cluster::Partition> changed;
  for (const auto& answer : answers) {
    const auto* partition = state.image->partition(answer.at.topic, answer.at.partition);
    if (partition == nullptr) continue;
    auto next = *partition;
    const bool was = std::find(next.offline.begin(), next.offline.end(), broker) != next.offline.end();
    const bool is = answer.error == ErrorCode::KAFKA_STORAGE_ERROR;
    if (answer.error != ErrorCode::NONE && !is) {
      WEIR_LOG_LIMITED(warn, std::chrono::seconds(5), "broker {} does not serve {}-{}: {}", broker.value,
                       answer.at.topic, answer.at.partition.value, name(answer.error));
    }
    if (was == is) continue;
    if (is) {
      next.offline.push_back(broker);
    } else {
      std::erase(next.offline, broker);
    }
    changed.insert_or_assign(answer.at, std::move(next));
  }
  if (changed.empty()) co_return ZkResult<>();
  put(changed);
  Batch batch;
  std::vector<PartitionRef> at;
  for (const auto& [p, partition] : changed) {
    batch.tell(p);
    if (state.image->deleting(p.topic)) continue;
    const auto& isr = partition.isr;
    const bool offline = !decide::online(state, partition, broker, true);
    if (offline && std::find(isr.begin(), isr.end(), broker) != isr.end()) at.push_back(p);
  }
  auto done = co_await give_leaders(decide::without_leader(state), batch);
  if (done) done = co_await shrink(std::move(at), broker, batch);
  send(batch);
  co_return done;
}

void Controller::Impl::stopped(BrokerId broker, OrderAnswer answers) {
  for (const auto& answer : answers) decide::replica_removed(state, answer.at, broker, answer.error);
}

// --- what people ask --------------------------------------------------------------------------------------------

Task<ZkResult<>> Controller::Impl::shut_down(Event::Ask& ask) {
  const auto* broker = state.image->broker(ask.broker);
  if (broker == nullptr) {
    ask.left = fail(ErrorCode::BROKER_NOT_AVAILABLE, "the broker is not registered");
    co_return ZkResult<>();
  }
  if (ask.epoch.value >= 0 && ask.epoch < broker->epoch) {
    ask.left = fail(ErrorCode::STALE_BROKER_EPOCH, "the broker was registered anew since");
    co_return ZkResult<>();
  }
  WEIR_LOG(info, "broker {} is shutting down", ask.broker.value);
  state.shutting_down.insert(ask.broker);
  std::vector<PartitionRef> leads;
  std::vector<PartitionRef> follows;
  for (auto& p : decide::on_broker(state, ask.broker)) {
    const auto& partition = *state.image->partition(p.topic, p.partition);
    if (partition.replicas.size() < 2 || !partition.has_state() || state.image->deleting(p.topic)) continue;
    (partition.leader == ask.broker ? leads : follows).push_back(std::move(p));
  }
  Batch batch;
  auto done = co_await elect(std::move(leads), decide::Election::controlled_shutdown, false, batch);
  if (done) {
    for (const auto& p : follows) batch.stop(ask.broker, p, false);
    done = co_await shrink(std::move(follows), ask.broker, batch);
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

Task<ZkResult<>> Controller::Impl::elect_asked(Event::Ask& ask) {
  OrderAnswer answers;
  std::vector<PartitionRef> at;
  for (const auto& p : ask.partitions) {
    const auto* partition = state.image->partition(p.topic, p.partition);
    if (partition == nullptr || !partition->has_state()) {
      answers.push_back({p, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION});
    } else if (state.image->deleting(p.topic)) {
      answers.push_back({p, ErrorCode::INVALID_TOPIC_EXCEPTION});
    } else if (ask.unclean ? decide::online(state, *partition, partition->leader, true)
                           : partition->leader == partition->replicas.front()) {
      answers.push_back({p, ErrorCode::ELECTION_NOT_NEEDED});
    } else {
      at.push_back(p);
    }
  }
  Batch batch;
  Outcome outcome;
  const auto how = ask.unclean ? decide::Election::offline : decide::Election::preferred;
  auto done = co_await elect(std::move(at), how, ask.unclean, batch, &outcome);
  send(batch);
  if (!done) co_return done;
  for (const auto& [p, code] : outcome) answers.push_back({p, code});
  ask.answers = std::move(answers);
  co_return ZkResult<>();
}

}  // namespace weir::controller
