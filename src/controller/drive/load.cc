// Taking office: everything is read once, with the watches set before the reads, and every broker is told all.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "controller/drive/impl.h"
#include "zkclient/pipeline.h"

namespace weir::controller {

namespace layout = zkwire::layout;
using zkclient::Op;
using zkclient::ZkCode;

Task<ZkResult<>> Controller::Impl::load() {
  auto features = co_await set_up_features();
  if (!features) co_return features;
  auto dropped = co_await drop_old_notifications();
  if (!dropped) co_return dropped;

  auto brokers = co_await store.brokers(self(), self(), state.lives);
  if (!brokers) co_return std::unexpected(brokers.error());
  cluster::ImageBuilder building(state.image);
  building.set_controller(options.broker, state.epoch).set_brokers(std::move(*brokers));
  state.image = building.build();
  know_brokers();
  auto partitions = co_await load_partitions();
  if (!partitions) co_return std::unexpected(partitions.error());

  // Everybody hears of everything, then leaders are given where there are none, and who is lost leaves the ISRs. So
  // does who died and came back while nobody was in office: it may have lost what it had not flushed, and joins again
  // once it has caught up.
  decide::Batch batch;
  auto returned = co_await shrink(came_back(*partitions), batch);
  if (!returned) co_return returned;
  batch.tell_brokers();
  for (const auto& [id, broker] : state.image->brokers()) batch.tell_everything(id);
  for (const auto& at : decide::all_partitions(state)) {
    const auto& partition = *state.image->partition(at.topic, at.partition);
    if (partition.has_state()) batch.lead_and_follow(decide::online_replicas(state, partition), at, false);
  }
  auto made_up = co_await make_up_for_losses(batch);
  if (!made_up) co_return made_up;
  send(batch);

  auto deletions = co_await deletions_changed();
  if (!deletions) co_return deletions;
  auto moves = co_await legacy_moves(true);
  if (!moves) co_return moves;
  co_return co_await preferred_asked();
}

Task<ZkResult<std::map<PartitionRef, std::int64_t>>> Controller::Impl::load_partitions() {
  std::map<PartitionRef, std::int64_t> written;
  auto names = co_await store.children(std::string(layout::topics_path), self());
  if (!names) co_return std::unexpected(names.error());
  auto topics = co_await store.topics(std::move(*names), self());
  if (!topics) co_return std::unexpected(topics.error());
  auto at = co_await adopt_topics(std::move(*topics));
  if (!at) co_return std::unexpected(at.error());
  auto states = co_await store.states(std::move(*at), Watch{}, &written);
  if (!states) co_return std::unexpected(states.error());
  put(*states);
  co_return written;
}

// KIP-584: from 2.7 on the controller says which features are final; there are none for brokers. Before, that there
// are no features.
Task<ZkResult<>> Controller::Impl::set_up_features() {
  const std::string path(layout::feature_path);
  layout::Features wanted;
  wanted.version = std::max(options.feature_version, 1);
  wanted.enabled = options.feature_version > 0;
  auto there = co_await zk.get(path, Watch{});
  if (!there && there.error().code == ZkCode::no_node) {
    auto made = co_await store.write(Op::create(path, layout::encode(wanted)));
    if (!made && (fatal(made.error()) || made.error().code != ZkCode::node_exists)) {
      co_return std::unexpected(made.error());
    }
    co_return ZkResult<>();
  }
  if (!there) co_return std::unexpected(there.error());
  const auto now = layout::decode_features(path, there->data);
  if (!now) {
    WEIR_LOG(error, "the finalized features stay as they are: {}", now.error().message);
    co_return ZkResult<>();
  }
  if (now->enabled && wanted.enabled) wanted.levels = now->levels;
  if (*now == wanted || (!now->enabled && !wanted.enabled)) co_return ZkResult<>();
  auto set = co_await store.write(Op::set(path, layout::encode(wanted), there->stat.version));
  if (!set) co_return std::unexpected(set.error());
  co_return ZkResult<>();
}

// What they would tell is read anyway.
Task<ZkResult<>> Controller::Impl::drop_old_notifications() {
  for (const auto known : {layout::log_dir_event_notification_path, layout::isr_change_notification_path}) {
    const std::string path(known);
    auto names = co_await store.children(path, self());
    if (!names) co_return std::unexpected(names.error());
    auto removed = co_await store.remove_children(path, std::move(*names));
    if (!removed) co_return removed;
  }
  co_return ZkResult<>();
}

Task<ZkResult<std::vector<PartitionRef>>> Controller::Impl::adopt_topics(std::vector<TopicRead> topics) {
  // Topics made by tools older than 2.8 have no id: the controller gives them one, as Kafka's does (KIP-516).
  ZkResult<> result;
  auto give_id = [&](std::size_t i) -> Task<void> {
    auto& topic = topics[i];
    if (topic.assignment.id || !options.topic_ids) co_return;
    // A tool older than 2.8 that changed the topic left its id out: it is the same topic still.
    const auto known = state.image->topic(topic.name);
    topic.assignment.id = known != nullptr && !known->id.is_zero() ? known->id : random.uuid();
    auto op = Op::set(layout::path_of_topic(topic.name), layout::encode(topic.assignment), topic.version);
    auto done = co_await store.write(std::move(op));
    if (done) co_return;
    topic.assignment.id.reset();
    // Changed or removed meanwhile: its watch says so, and it is looked at again.
    if (fatal(done.error())) result = std::unexpected(done.error());
  };
  co_await zkclient::pipeline(shard, topics.size(), writes_in_flight_max, give_id);
  if (!result) co_return std::unexpected(result.error());

  std::vector<PartitionRef> added;
  cluster::ImageBuilder building(state.image);
  for (const auto& topic : topics) {
    building.put_topic(topic.name, topic.assignment.id.value_or(Uuid{}));
    for (const auto& [id, replicas] : topic.assignment.partitions) {
      if (building.now().partition(topic.name, id) != nullptr) continue;
      cluster::Partition partition;
      partition.replicas = replicas.replicas;
      partition.adding = replicas.adding;
      partition.removing = replicas.removing;
      if (replicas.being_reassigned()) state.reassigning.insert({topic.name, id});
      building.put_partition(topic.name, id, std::move(partition));
      added.push_back({topic.name, id});
    }
  }
  state.image = building.build();
  co_return added;
}

}  // namespace weir::controller
