// What brokers tell the controller: through notification nodes, and by their answers to orders.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "controller/decide/deletion.h"
#include "controller/drive/impl.h"
#include "zkclient/pipeline.h"

namespace weir::controller {

namespace layout = zkwire::layout;
using decide::Batch;
using zkclient::Op;
using zkclient::ZkCode;

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

// The same while its partition is reassigned, without the wait for the notification.
Task<ZkResult<>> Controller::Impl::isr_written(std::string path) {
  const auto read = layout::partition_of_state_path(path);
  if (!read) co_return ZkResult<>();
  const PartitionRef p{read->topic, read->partition};
  if (!state.reassigning.contains(p)) co_return ZkResult<>();
  std::vector<PartitionRef> at{p};
  auto states = co_await store.states(std::move(at), self());
  if (!states) co_return std::unexpected(states.error());
  put(*states);
  co_return ZkResult<>();
}

// A broker lost a directory: asked about all its partitions, it answers which are gone.
Task<ZkResult<>> Controller::Impl::log_dirs_failed() {
  const std::string path(layout::log_dir_event_notification_path);
  auto names = co_await store.children(path, self());
  if (!names) co_return std::unexpected(names.error());
  std::set<BrokerId> brokers;
  ZkResult<> result;
  auto one = [&](std::size_t i) -> Task<void> {
    const auto node = path + "/" + (*names)[i];
    auto there = co_await zk.get(node, Watch{});
    if (!there) {
      if (there.error().code != ZkCode::no_node) result = std::unexpected(there.error());
      co_return;
    }
    const auto broker = layout::decode_log_dir_event(node, there->data);
    if (!broker) {
      WEIR_LOG(error, "a notification is left out: {}", broker.error().message);
      co_return;
    }
    brokers.insert(*broker);
  };
  co_await zkclient::pipeline(shard, names->size(), reads_in_flight_max, one);
  if (!result) co_return result;
  Batch batch;
  for (const auto broker : brokers) {
    WEIR_LOG(warn, "broker {} says that a log directory failed", broker.value);
    for (const auto& p : decide::on_broker(state, broker)) {
      if (state.image->partition(p.topic, p.partition)->has_state()) batch.lead_and_follow({broker}, p, false);
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
  Lost lost;
  for (const auto& [p, partition] : changed) {
    batch.tell(p);
    const bool offline = !decide::online(state, partition, broker, true);
    if (!offline || state.image->deleting(p.topic)) continue;
    WEIR_LOG(warn, "the replica of {}-{} on broker {} is offline: its directory does not work", p.topic,
             p.partition.value, broker.value);
    const auto& isr = partition.isr;
    if (std::find(isr.begin(), isr.end(), broker) != isr.end()) lost[p].insert(broker);
  }
  auto done = co_await give_leaders(decide::without_leader(state), batch);
  if (done) done = co_await shrink(std::move(lost), batch);
  send(batch);
  co_return done;
}

void Controller::Impl::stopped(BrokerId broker, OrderAnswer answers) {
  for (const auto& answer : answers) {
    decide::replica_removed(state, answer.at, broker, answer.error);
    if (answer.error == ErrorCode::INVALID_REQUEST) {
      refused_removals[broker].insert(answer.at);
    } else if (const auto refused = refused_removals.find(broker); refused != refused_removals.end()) {
      refused->second.erase(answer.at);
    }
  }
}

}  // namespace weir::controller
