// Leaders on demand: preferred elections by znode, by call and by the clock; unclean ones.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "controller/decide/balance.h"
#include "controller/drive/impl.h"

namespace weir::controller {

namespace layout = zkwire::layout;
using decide::Batch;
using zkclient::Op;
using zkclient::ZkCode;

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

// Kafka's automatic balance of leaders.
Task<ZkResult<>> Controller::Impl::rebalance() {
  auto at = decide::unbalanced(state, options.rebalance_percent);
  if (at.empty()) co_return ZkResult<>();
  WEIR_LOG(info, "{} partitions go back to their preferred leaders", at.size());
  Batch batch;
  auto done = co_await elect(std::move(at), decide::Election::preferred, false, batch);
  send(batch);
  co_return done;
}

Task<ZkResult<>> Controller::Impl::unclean_enabled(std::string topic) {
  Batch batch;
  auto at = decide::without_leader(state);
  if (!topic.empty()) std::erase_if(at, [&](const PartitionRef& p) { return p.topic != topic; });
  auto done = co_await give_leaders(std::move(at), batch);
  send(batch);
  co_return done;
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
