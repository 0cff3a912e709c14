#include "broker/inter/isr_changes.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/log.h"
#include "broker/inter/controller_channel.h"
#include "controller/register.h"
#include "protocol/messages/alter_partition.h"

namespace weir::broker {

using replica::Leadership;
using runtime::Task;

namespace {

// More wait for the next request.
constexpr std::size_t changes_in_a_request_max = 5'000;

Leadership leadership_of(Leadership proposed, const cluster::Partition& state) {
  proposed.leader = state.leader;
  proposed.leader_epoch = state.leader_epoch;
  proposed.isr = state.isr;
  proposed.partition_epoch = state.version;
  proposed.leader_recovery_state = state.leader_recovery_state;
  return proposed;
}

}  // namespace

Task<Result<Leadership>> IsrChanges::alter(TopicPartition partition, Uuid topic_id, Leadership proposed) {
  auto change = std::make_shared<Change>(*node_.control);
  auto& item = change->item;
  item.at = {partition.topic, partition.partition};
  item.topic_id = topic_id;
  item.leader_epoch = proposed.leader_epoch;
  item.partition_epoch = proposed.partition_epoch;
  item.recovery_state = proposed.leader_recovery_state;
  for (std::size_t i = 0; i < proposed.isr.size(); ++i) {
    // The life of the follower that caught up; the controller refuses a later one, which may have lost its disk.
    auto epoch = proposed.isr[i] == node_.id ? node_.epoch() : BrokerEpoch{-1};
    if (i < proposed.isr_epochs.size() && proposed.isr_epochs[i]) epoch = *proposed.isr_epochs[i];
    item.new_isr.push_back({proposed.isr[i], epoch});
  }
  change->proposed = std::move(proposed);
  auto work = [this, &change] { return wait(std::move(change)); };
  co_return co_await runtime::call(*node_.control, std::move(work));
}

Task<Result<Leadership>> IsrChanges::wait(std::shared_ptr<Change> change) {
  if (stopping_) co_return std::move(change->result);
  waiting_.push_back(change);
  if (!sending_) {
    sending_ = true;
    scope_.spawn(send_all());
  }
  co_await change->done.wait();
  co_return std::move(change->result);
}

Task<void> IsrChanges::send_all() {
  while (!waiting_.empty() && !stopping_) {
    Changes changes;
    const auto count = std::min(waiting_.size(), changes_in_a_request_max);
    changes.assign(std::make_move_iterator(waiting_.begin()),
                   std::make_move_iterator(waiting_.begin() + static_cast<std::ptrdiff_t>(count)));
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(count));
    if (node_.config()->config.inter_broker_protocol >= config::KafkaVersion{2, 7}) {
      co_await ask_controller(changes);
    } else {
      co_await write(changes);
    }
    for (const auto& change : changes) change->done.wake();
  }
  sending_ = false;
}

Task<void> IsrChanges::ask_controller(const Changes& changes) {
  Result<std::vector<controller::AlteredPartition>> answers;
  if (node_.controller->active()) {
    std::vector<controller::AlterPartitionItem> items;
    for (const auto& change : changes) items.push_back(change->item);
    answers = co_await node_.controller->alter_partition(node_.id, node_.epoch(), std::move(items));
  } else {
    answers = co_await ask_remote(changes);
  }
  if (!answers) {
    WEIR_LOG_LIMITED(warn, seconds(1), "the controller took no change of in-sync replicas ({} wait): {} {}",
                     changes.size(), name(answers.error().code), answers.error().message);
    for (const auto& change : changes) change->result = std::unexpected(answers.error());
    co_return;
  }
  std::map<controller::PartitionRef, const controller::AlteredPartition*> by_partition;
  for (const auto& answer : *answers) by_partition[answer.at] = &answer;
  for (const auto& change : changes) {
    const auto found = by_partition.find(change->item.at);
    if (found == by_partition.end()) {
      change->result = fail(ErrorCode::UNKNOWN_SERVER_ERROR, "the controller's answer does not speak of it");
    } else if (found->second->error != ErrorCode::NONE) {
      change->result = fail(found->second->error, std::string(name(found->second->error)));
    } else {
      change->result = leadership_of(std::move(change->proposed), found->second->state);
    }
  }
}

Task<Result<std::vector<controller::AlteredPartition>>> IsrChanges::ask_remote(const Changes& changes) {
  using Message = protocol::AlterPartitionRequest;
  auto version = co_await node_.controller_channel->version_of<Message>();
  if (!version) co_return std::unexpected(version.error());
  const bool ids = std::ranges::none_of(changes, [](const auto& change) { return change->item.topic_id.is_zero(); });
  if (!ids) *version = std::min<std::int16_t>(*version, 1);  // by name
  Message message;
  message.broker_id = node_.id.value;
  message.broker_epoch = node_.epoch().value;
  std::map<std::string_view, std::size_t> topics;
  std::map<Uuid, std::string_view> names;
  for (const auto& change : changes) {
    const auto& item = change->item;
    names[item.topic_id] = item.at.topic;
    const auto [at, fresh] = topics.emplace(item.at.topic, message.topics.size());
    if (fresh) {
      auto& topic = message.topics.emplace_back();
      topic.topic_name = item.at.topic;
      topic.topic_id = item.topic_id;
    }
    auto& to = message.topics[at->second].partitions.emplace_back();
    to.partition_index = item.at.partition.value;
    to.leader_epoch = item.leader_epoch.value;
    to.leader_recovery_state = item.recovery_state;
    to.partition_epoch = item.partition_epoch;
    for (const auto& member : item.new_isr) {
      if (*version >= 3) {
        auto& state = to.new_isr_with_epochs.emplace_back();
        state.broker_id = member.id.value;
        state.broker_epoch = member.epoch.value;
      } else {
        to.new_isr.push_back(member.id.value);
      }
    }
  }
  auto answer = co_await node_.controller_channel->call<protocol::AlterPartitionResponse>(std::move(message),
                                                                                          {*version, *version});
  if (!answer) co_return std::unexpected(answer.error());
  const auto code = static_cast<ErrorCode>(answer->message.error_code);
  if (code != ErrorCode::NONE) co_return fail(code, std::string(name(code)));
  std::vector<controller::AlteredPartition> out;
  for (const auto& topic : answer->message.topics) {
    std::string_view topic_name = topic.topic_name;
    if (*version >= 2) {
      const auto known = names.find(topic.topic_id);
      if (known == names.end()) continue;
      topic_name = known->second;
    }
    for (const auto& from : topic.partitions) {
      auto& to = out.emplace_back();
      to.at = {std::string(topic_name), PartitionId{from.partition_index}};
      to.topic_id = topic.topic_id;
      to.error = static_cast<ErrorCode>(from.error_code);
      to.state.leader = BrokerId{from.leader_id};
      to.state.leader_epoch = LeaderEpoch{from.leader_epoch};
      for (const auto id : from.isr) to.state.isr.emplace_back(id);
      to.state.leader_recovery_state = from.leader_recovery_state;
      to.state.version = from.partition_epoch;
    }
  }
  co_return out;
}

Task<void> IsrChanges::write(const Changes& changes) {
  std::vector<controller::PartitionRef> changed;
  for (const auto& change : changes) {
    const auto& proposed = change->proposed;
    cluster::Partition from;
    from.version = proposed.partition_epoch;
    cluster::Partition to;
    to.replicas = proposed.replicas;
    to.leader = proposed.leader;
    to.leader_epoch = proposed.leader_epoch;
    to.isr = proposed.isr;
    to.controller_epoch = proposed.controller_epoch;
    to.leader_recovery_state = proposed.leader_recovery_state;
    auto version = co_await controller::propose_isr(*node_.zk, change->item.at, std::move(from), std::move(to));
    if (!version) {
      change->result = std::unexpected(version.error());
      continue;
    }
    auto now = std::move(change->proposed);
    now.partition_epoch = *version;
    change->result = std::move(now);
    changed.push_back(change->item.at);
  }
  if (changed.empty()) co_return;
  if (auto told = co_await controller::announce_isr_changes(*node_.zk, std::move(changed)); !told) {
    WEIR_LOG(warn, "in-sync sets were written, but the controller could not be told: {}", told.error().message);
  }
}

Task<void> IsrChanges::stop() {
  stopping_ = true;
  for (const auto& change : std::exchange(waiting_, {})) change->done.wake();
  co_await scope_.stop();
}

}  // namespace weir::broker
