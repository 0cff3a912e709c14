#include "coordinator/runtime.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "coordinator/group/machine_impl.h"

namespace weir::coordinator {

using group::Effects;

namespace {

// Each machine has 2^40 append ids of its own, so that the end of an append finds the machine that made it only.
constexpr int append_ids_bits = 40;

Effects answer(Token token, group::Response response) {
  Effects effects;
  effects.replies.push_back({token, std::move(response)});
  return effects;
}

template <class Topics>
std::vector<group::TopicErrors> everywhere(const Topics& topics, ErrorCode error) {
  std::vector<group::TopicErrors> errors;
  for (const auto& topic : topics) {
    auto& to = errors.emplace_back();
    to.name = topic.name;
    for (const auto& p : topic.partitions) to.partitions.push_back({p.partition, error});
  }
  return errors;
}

Effects owned(Effects effects, std::int32_t partition, LeaderEpoch epoch) {
  for (auto& append : effects.appends) {
    append.partition = partition;
    append.epoch = epoch;
  }
  return effects;
}

}  // namespace

CoordinatorRuntime::CoordinatorRuntime(const group::Config& config, std::int32_t partitions)
    : config_(config), partitions_(partitions) {
  WEIR_CHECK(partitions > 0, "offsets.topic.num.partitions is at least 1");
}
CoordinatorRuntime::~CoordinatorRuntime() = default;

void CoordinatorRuntime::set_partitions(std::int32_t partitions) {
  WEIR_CHECK(partitions > 0, "a topic has partitions");
  WEIR_CHECK(std::all_of(slots_.begin(), slots_.end(), [](const auto& s) { return s.second.state == State::gone; }),
             "groups stay where they are");
  partitions_ = partitions;
}

// ---- elections and loading

bool CoordinatorRuntime::begin_load(std::int32_t partition, LeaderEpoch epoch) {
  if (stopped_) return false;
  auto& slot = slots_[partition];
  if (slot.epoch && *slot.epoch >= epoch && slot.state != State::gone) return false;
  if (slot.epoch && *slot.epoch > epoch) return false;
  slot.epoch = epoch;
  if (slot.state == State::active) {
    // Elected again: nobody wrote in between, what is here holds.
    return false;
  }
  slot.state = State::loading;
  slot.machine = std::make_unique<group::Machine>(config_, ++machines_ << append_ids_bits);
  return true;
}

CoordinatorRuntime::Slot* CoordinatorRuntime::current(std::int32_t partition, LeaderEpoch epoch, State state) {
  const auto it = slots_.find(partition);
  if (it == slots_.end() || it->second.epoch != epoch || it->second.state != state) return nullptr;
  return &it->second;
}

bool CoordinatorRuntime::load(std::int32_t partition, LeaderEpoch epoch, std::span<const LoadedRecord> records) {
  auto* slot = current(partition, epoch, State::loading);
  if (slot == nullptr) return false;
  for (const auto& record : records) {
    if (!slot->machine->replay(record)) {
      WEIR_LOG_LIMITED(warn, seconds(10), "skipped a damaged record of __consumer_offsets-{}", partition);
    }
  }
  return true;
}

CoordinatorRuntime::Slot* CoordinatorRuntime::active(std::int32_t partition) {
  const auto it = slots_.find(partition);
  return it == slots_.end() || it->second.state != State::active ? nullptr : &it->second;
}

Effects CoordinatorRuntime::finish_load(std::int32_t partition, LeaderEpoch epoch, Now now) {
  auto* slot = current(partition, epoch, State::loading);
  if (slot == nullptr) return {};
  slot->state = State::active;
  auto effects = slot->machine->activate(now);
  WEIR_LOG(info, "loaded __consumer_offsets-{} in epoch {}: {} groups, {} offsets", partition, epoch.value,
           slot->machine->groups(), slot->machine->offsets());
  return owned(std::move(effects), partition, epoch);
}

void CoordinatorRuntime::fail_load(std::int32_t partition, LeaderEpoch epoch) {
  if (auto* slot = current(partition, epoch, State::loading)) {
    slot->state = State::gone;
    slot->machine.reset();
  }
}

Effects CoordinatorRuntime::resign(std::int32_t partition, std::optional<LeaderEpoch> epoch) {
  auto& slot = slots_[partition];
  if (epoch && slot.epoch && *slot.epoch > *epoch) return {};
  if (epoch) slot.epoch = epoch;
  Effects effects;
  if (slot.state == State::active) effects = slot.machine->resign();
  slot.state = State::gone;
  slot.machine.reset();
  return effects;
}

Effects CoordinatorRuntime::shut_down() {
  stopped_ = true;
  Effects effects;
  for (const auto& [partition, slot] : slots_) effects.add(resign(partition, std::nullopt));
  return effects;
}

// ---- requests

std::expected<CoordinatorRuntime::Slot*, ErrorCode> CoordinatorRuntime::find(std::string_view group,
                                                                             GroupId kind) const {
  if (group.empty() && kind == GroupId::not_empty) return std::unexpected(ErrorCode::INVALID_GROUP_ID);
  if (stopped_) return std::unexpected(ErrorCode::COORDINATOR_NOT_AVAILABLE);
  const auto it = slots_.find(partition_of(group));
  if (it == slots_.end()) return std::unexpected(ErrorCode::NOT_COORDINATOR);
  switch (it->second.state) {
    case State::gone: return std::unexpected(ErrorCode::NOT_COORDINATOR);
    case State::loading: return std::unexpected(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    case State::active: break;
  }
  return const_cast<Slot*>(&it->second);
}

// Calls `fn` with the machine that has the group; `refuse` with why there is none.
template <class Refuse, class Fn>
Effects CoordinatorRuntime::with(std::string_view group, GroupId kind, Refuse refuse, Fn fn) {
  const auto partition = partition_of(group);
  const auto slot = find(group, kind);
  if (!slot) return refuse(slot.error());
  const auto epoch = *(*slot)->epoch;
  return owned(fn(*(*slot)->machine), partition, epoch);
}

Effects CoordinatorRuntime::join(Token token, group::JoinRequest request, Now now) {
  return with(
      request.group, GroupId::not_empty,
      [&](ErrorCode error) { return answer(token, group::refuse_join(request.member_id, error)); },
      [&](group::Machine& machine) { return machine.join(token, std::move(request), now); });
}

Effects CoordinatorRuntime::sync(Token token, group::SyncRequest request, Now now) {
  return with(
      request.group, GroupId::not_empty,
      [&](ErrorCode error) {
        // The rebalance under way is lost with the load; old clients do not know the loading error here.
        if (error == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS) error = ErrorCode::REBALANCE_IN_PROGRESS;
        return answer(token, group::refuse_sync(error));
      },
      [&](group::Machine& machine) { return machine.sync(token, std::move(request), now); });
}

ErrorCode CoordinatorRuntime::heartbeat(const group::HeartbeatRequest& request, Now now) {
  const auto slot = find(request.group, GroupId::not_empty);
  if (slot) return (*slot)->machine->heartbeat(request, now);
  // While loading nobody's session ends.
  return slot.error() == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS ? ErrorCode::NONE : slot.error();
}

Effects CoordinatorRuntime::leave(Token token, group::LeaveRequest request, Now now) {
  return with(
      request.group, GroupId::not_empty,
      [&](ErrorCode error) {
        group::LeaveResponse response;
        response.error = error;
        return answer(token, std::move(response));
      },
      [&](group::Machine& machine) { return machine.leave(token, std::move(request), now); });
}

Effects CoordinatorRuntime::commit(Token token, group::CommitRequest request, Now now) {
  return with(
      request.group, GroupId::may_be_empty,
      [&](ErrorCode error) { return answer(token, group::CommitResponse{everywhere(request.topics, error)}); },
      [&](group::Machine& machine) { return machine.commit(token, std::move(request), now); });
}

group::FetchOffsetsResponse CoordinatorRuntime::fetch_offsets(const group::FetchOffsetsRequest& request) const {
  const auto slot = find(request.group, GroupId::may_be_empty);
  if (slot) return (*slot)->machine->fetch_offsets(request);
  group::FetchOffsetsResponse response;
  response.error = slot.error();
  return response;
}

Effects CoordinatorRuntime::delete_offsets(Token token, group::DeleteOffsetsRequest request, Now now) {
  return with(
      request.group, GroupId::not_empty,
      [&](ErrorCode error) {
        group::DeleteOffsetsResponse response;
        response.error = error;
        return answer(token, std::move(response));
      },
      [&](group::Machine& machine) { return machine.delete_offsets(token, std::move(request), now); });
}

group::DescribeResponse CoordinatorRuntime::describe(const std::string& group) const {
  const auto slot = find(group, GroupId::may_be_empty);
  if (slot) return (*slot)->machine->describe(group);
  group::DescribeResponse response;
  response.error = slot.error();
  response.group = group;
  return response;
}

group::ListResponse CoordinatorRuntime::list(const group::ListRequest& request) const {
  group::ListResponse response;
  if (stopped_) {
    response.error = ErrorCode::COORDINATOR_NOT_AVAILABLE;
    return response;
  }
  for (const auto& [partition, slot] : slots_) {
    if (slot.state == State::loading) response.error = ErrorCode::COORDINATOR_LOAD_IN_PROGRESS;
    if (slot.state == State::active) slot.machine->list(request, response);
  }
  return response;
}

Effects CoordinatorRuntime::delete_group(Token token, const std::string& group, Now now) {
  return with(
      group, GroupId::may_be_empty, [&](ErrorCode error) { return answer(token, group::DeleteResponse{error}); },
      [&](group::Machine& machine) { return machine.delete_group(token, group, now); });
}

Effects CoordinatorRuntime::topics_deleted(const std::vector<std::string>& topics, Now now) {
  Effects effects;
  for (auto& [partition, slot] : slots_) {
    if (slot.state != State::active) continue;
    effects.add(owned(slot.machine->topics_deleted(topics, now), partition, *slot.epoch));
  }
  return effects;
}

// ---- the end of appends and time

Effects CoordinatorRuntime::committed(std::int32_t partition, AppendId id, Now now) {
  auto* slot = active(partition);
  return slot == nullptr ? Effects() : owned(slot->machine->committed(id, now), partition, *slot->epoch);
}

Effects CoordinatorRuntime::append_failed(std::int32_t partition, AppendId id, ErrorCode error, Now now) {
  auto* slot = active(partition);
  return slot == nullptr ? Effects() : owned(slot->machine->append_failed(id, error, now), partition, *slot->epoch);
}

std::optional<nanoseconds> CoordinatorRuntime::next_deadline() const {
  std::optional<nanoseconds> next;
  for (const auto& [partition, slot] : slots_) {
    if (slot.state != State::active) continue;
    const auto deadline = slot.machine->next_deadline();
    if (deadline && (!next || *deadline < *next)) next = deadline;
  }
  return next;
}

Effects CoordinatorRuntime::tick(Now now) {
  Effects effects;
  for (auto& [partition, slot] : slots_) {
    if (slot.state == State::active) effects.add(owned(slot.machine->tick(now), partition, *slot.epoch));
  }
  return effects;
}

std::optional<LeaderEpoch> CoordinatorRuntime::active_epoch(std::int32_t partition) const {
  const auto it = slots_.find(partition);
  if (it == slots_.end() || it->second.state != State::active) return std::nullopt;
  return it->second.epoch;
}

bool CoordinatorRuntime::loading(std::int32_t partition) const {
  const auto it = slots_.find(partition);
  return it != slots_.end() && it->second.state == State::loading;
}

const group::Machine* CoordinatorRuntime::machine(std::int32_t partition) const {
  const auto it = slots_.find(partition);
  return it == slots_.end() ? nullptr : it->second.machine.get();
}

}  // namespace weir::coordinator
