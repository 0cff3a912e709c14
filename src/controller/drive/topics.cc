// Topics are made, grow, and go.
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

namespace {

constexpr std::size_t topics_removed_at_once_max = 20;  // each removes many nodes at once

}  // namespace

Task<ZkResult<>> Controller::Impl::topics_changed() {
  auto names = co_await store.children(std::string(layout::topics_path), self());
  if (!names) co_return std::unexpected(names.error());
  const std::set<std::string> now(names->begin(), names->end());
  std::vector<std::string> fresh;
  for (const auto& name : now) {
    if (!state.image->topic(name)) fresh.push_back(name);
  }
  cluster::ImageBuilder without(state.image);
  std::vector<std::string> gone;
  state.image->each_topic([&](const cluster::TopicPtr& topic) {
    if (now.contains(topic->name)) return;
    without.remove_topic(topic->name);
    gone.push_back(topic->name);
  });
  state.image = without.build();
  for (const auto& name : gone) decide::forget_topic(state, name);
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
  if (!known) co_return co_await topics_changed();  // it could not be read before
  std::vector<std::string> names{name};
  auto topics = co_await store.topics(std::move(names), self());
  if (!topics) co_return std::unexpected(topics.error());
  if (topics->empty()) co_return ZkResult<>();
  const auto& read = topics->front().assignment;
  const bool another = read.id && !known->id.is_zero() && *read.id != known->id;
  if (another) decide::forget_topic(state, name);
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
    if (options.delete_topics && !state.image->topic(name)) {
      // One whose node nobody can read has no replicas that we know of, and can go.
      auto there = co_await zk.exists(layout::path_of_topic(name), Watch{});
      if (!there) co_return std::unexpected(there.error());
      if (*there) building.put_topic(name, Uuid{});
    }
    if (!options.delete_topics || !building.now().topic(name)) {
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
  if (gone.empty()) co_return ZkResult<>();
  ZkResult<> result;
  std::vector<std::string> removed;
  auto one = [&](std::size_t i) -> Task<void> {
    auto done = co_await store.remove_topic(gone[i]);
    if (done) {
      removed.push_back(gone[i]);
    } else {
      result = std::move(done);
    }
  };
  co_await zkclient::pipeline(shard, gone.size(), topics_removed_at_once_max, one);
  cluster::ImageBuilder building(state.image);
  for (const auto& name : removed) {
    decide::forget_topic(state, name);
    building.remove_topic(name);
    WEIR_LOG(info, "topic {} is deleted", name);
  }
  state.image = building.build();
  // One of that name may be there again already, hidden from the list's watch by the old one.
  push({Event::Kind::topics});
  co_return result;
}

}  // namespace weir::controller
