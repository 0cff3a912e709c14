// AlterPartition (KIP-497, KIP-841, KIP-903): leaders propose ISRs, the controller writes them and tells everybody.
#include <algorithm>
#include <set>
#include <utility>

#include "base/log.h"
#include "controller/drive/impl.h"
#include "zkclient/pipeline.h"

namespace weir::controller {

namespace layout = zkwire::layout;
using zkclient::Op;
using zkclient::ZkCode;

namespace {

bool contains(const std::vector<BrokerId>& list, BrokerId id) {
  return std::find(list.begin(), list.end(), id) != list.end();
}

std::vector<BrokerId> ids_of(const std::vector<AlterPartitionItem::Member>& members) {
  std::vector<BrokerId> out;
  for (const auto& member : members) out.push_back(member.id);
  return out;
}

// Who is not there, on its way out, or was there in an earlier life only, is not taken into an ISR.
bool eligible(const decide::State& state, const cluster::Partition& now, const AlterPartitionItem::Member& member) {
  const auto* broker = state.image->broker(member.id);
  return broker != nullptr && !state.shutting_down.contains(member.id) && contains(now.replicas, member.id) &&
         (member.epoch.value < 0 || member.epoch == broker->epoch);
}

enum class Verdict : std::uint8_t { write, as_it_is };

// What becomes of a proposal of `from` for the partition as it is `now`.
std::expected<Verdict, ErrorCode> judge(const decide::State& state, const cluster::Partition& now, BrokerId from,
                                        const AlterPartitionItem& item) {
  const auto isr = ids_of(item.new_isr);
  if (item.partition_epoch > now.version || item.leader_epoch > now.leader_epoch) {
    return std::unexpected(ErrorCode::NOT_CONTROLLER);
  }
  if (item.leader_epoch < now.leader_epoch) return std::unexpected(ErrorCode::FENCED_LEADER_EPOCH);
  if (from != now.leader) return std::unexpected(ErrorCode::INVALID_REQUEST);
  // Asked again, after the answer was lost.
  if (isr == now.isr && item.recovery_state == now.leader_recovery_state) return Verdict::as_it_is;
  if (item.partition_epoch < now.version) return std::unexpected(ErrorCode::INVALID_UPDATE_VERSION);
  if (!contains(isr, from) || std::set<BrokerId>(isr.begin(), isr.end()).size() != isr.size()) {
    return std::unexpected(ErrorCode::INVALID_REQUEST);
  }
  const bool recovers = item.recovery_state != 0;
  if (recovers && (isr.size() > 1 || now.leader_recovery_state == 0)) {
    return std::unexpected(ErrorCode::INVALID_REQUEST);
  }
  for (const auto& member : item.new_isr) {
    if (!eligible(state, now, member)) return std::unexpected(ErrorCode::INELIGIBLE_REPLICA);
  }
  return Verdict::write;
}

// Those of the proposal that are meant in a certain life: who joins, and who stays, may have died since and come back
// without what it had. The proposer is alive: it asks.
std::vector<AlterPartitionItem::Member> in_a_life(BrokerId proposer, const AlterPartitionItem& item) {
  std::vector<AlterPartitionItem::Member> out;
  for (const auto& member : item.new_isr) {
    if (member.epoch.value >= 0 && member.id != proposer) out.push_back(member);
  }
  return out;
}

}  // namespace

Task<ZkResult<>> Controller::Impl::alter(Event::Ask& ask) {
  const auto* broker = state.image->broker(ask.broker);
  if (broker == nullptr || broker->epoch != ask.epoch) {
    ask.altered = fail(ErrorCode::STALE_BROKER_EPOCH, "the broker is not registered with this epoch");
    co_return ZkResult<>();
  }
  std::vector<AlteredPartition> answers;
  std::vector<std::size_t> to_write;
  std::set<PartitionRef> seen;
  for (const auto& item : ask.proposals) {
    auto& answer = answers.emplace_back(AlteredPartition{item.at, item.topic_id, ErrorCode::NONE, {}});
    const auto topic = item.topic_id.is_zero() ? state.image->topic(item.at.topic) : state.image->topic(item.topic_id);
    if (!topic) {
      answer.error = item.topic_id.is_zero() ? ErrorCode::UNKNOWN_TOPIC_OR_PARTITION : ErrorCode::UNKNOWN_TOPIC_ID;
      continue;
    }
    answer.at.topic = topic->name;
    answer.topic_id = topic->id;
    const auto* now = topic->partitions.find(item.at.partition);
    if (now == nullptr || !now->has_state()) {
      answer.error = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
      continue;
    }
    const auto verdict = judge(state, *now, ask.broker, item);
    answer.state = *now;
    if (!verdict) {
      answer.error = verdict.error();
    } else if (!seen.insert(answer.at).second) {
      answer.error = ErrorCode::INVALID_REQUEST;
    } else if (*verdict == Verdict::write) {
      answer.state.isr = ids_of(item.new_isr);
      answer.state.leader_recovery_state = item.recovery_state;
      answer.state.controller_epoch = state.epoch;
      to_write.push_back(answers.size() - 1);
    }
    if (answer.error != ErrorCode::NONE) {
      WEIR_LOG_LIMITED(info, std::chrono::seconds(5), "the ISR that broker {} proposes for {}-{} is refused: {}",
                       ask.broker.value, answer.at.topic, answer.at.partition.value, name(answer.error));
    }
  }

  // The image may not have seen yet that one died and came back. Were it written as a member after that, the next
  // controller would take it for one that stayed (came_back).
  const auto of_now = [&](std::size_t i) -> const cluster::Partition& {
    return *state.image->partition(answers[i].at.topic, answers[i].at.partition);
  };
  std::set<BrokerId> members;
  for (const auto i : to_write) {
    for (const auto& member : in_a_life(ask.broker, ask.proposals[i])) members.insert(member.id);
  }
  auto lives = co_await store.lives({members.begin(), members.end()});
  if (!lives) co_return std::unexpected(lives.error());
  std::erase_if(to_write, [&](std::size_t i) {
    auto& answer = answers[i];
    const auto& now = of_now(i);
    for (const auto& member : in_a_life(ask.broker, ask.proposals[i])) {
      const auto life = lives->find(member.id);
      if (life != lives->end() && life->second && life->second->epoch == member.epoch) continue;
      WEIR_LOG_LIMITED(info, std::chrono::seconds(5),
                       "broker {} is no member of the ISR proposed for {}-{}: it is in another life, or gone",
                       member.id.value, answer.at.topic, answer.at.partition.value);
      answer.state = now;
      answer.error = ErrorCode::INELIGIBLE_REPLICA;
      return true;
    }
    return false;
  });

  ZkResult<> result;
  std::map<PartitionRef, cluster::Partition> written;
  std::vector<PartitionRef> stale;
  auto one = [&](std::size_t i) -> Task<void> {
    auto& answer = answers[to_write[i]];
    const auto path = layout::path_of_partition_state(answer.at.topic, answer.at.partition);
    auto op = Op::set(path, layout::encode(state_of(answer.state)), answer.state.version);
    auto done = co_await store.write(std::move(op));
    if (done) {
      answer.state.version = done->stat.version;
      written.insert_or_assign(answer.at, answer.state);
    } else if (fatal(done.error())) {
      result = std::unexpected(done.error());
    } else if (done.error().code == ZkCode::bad_version) {
      answer.error = ErrorCode::INVALID_UPDATE_VERSION;
      stale.push_back(answer.at);
    } else {
      WEIR_LOG(error, "an ISR is not written: {}", done.error().text());
      answer.error = done.error().code == ZkCode::no_node ? ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
                                                          : ErrorCode::UNKNOWN_SERVER_ERROR;
    }
  };
  co_await zkclient::pipeline(shard, to_write.size(), writes_in_flight_max, one);
  if (!result) co_return result;
  put(written);
  for (const auto& [p, partition] : written) state.doubts.erase(p);  // it has a leader that was asked to lead
  if (!stale.empty()) {
    auto states = co_await store.states(std::move(stale));
    if (!states) co_return std::unexpected(states.error());
    put(*states);
  }
  decide::Batch batch;
  for (const auto& answer : answers) {
    if (!answer.at.topic.empty() && state.image->partition(answer.at.topic, answer.at.partition) != nullptr) {
      batch.tell(answer.at);
    }
  }
  send(batch);
  ask.altered = std::move(answers);
  co_return ZkResult<>();
}

}  // namespace weir::controller
