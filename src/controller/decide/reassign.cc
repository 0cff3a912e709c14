#include "controller/decide/reassign.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace weir::controller::decide {
namespace {

using Ids = std::vector<BrokerId>;

bool contains(const Ids& list, BrokerId id) { return std::find(list.begin(), list.end(), id) != list.end(); }

Ids without(const Ids& from, const Ids& those) {
  Ids out;
  std::copy_if(from.begin(), from.end(), std::back_inserter(out), [&](BrokerId id) { return !contains(those, id); });
  return out;
}

std::string text(const Ids& list) {
  std::string out;
  for (const auto id : list) out += fmt::format("{}{}", out.empty() ? "" : ", ", id.value);
  return "[" + out + "]";
}

cluster::Partition next(const State& state, cluster::Partition p, BrokerId leader, Ids isr) {
  p.leader = leader;
  p.isr = std::move(isr);
  p.leader_epoch = LeaderEpoch{p.leader_epoch.value + 1};
  p.controller_epoch = state.epoch;
  return p;
}

// The leader stays if it may; else the first that may.
BrokerId leader_among(const State& state, const cluster::Partition& p, const Ids& isr) {
  const auto may = [&](BrokerId id) { return contains(isr, id) && online(state, p, id); };
  if (contains(p.replicas, p.leader) && contains(isr, p.leader) && online(state, p, p.leader, true)) return p.leader;
  const auto found = std::find_if(p.replicas.begin(), p.replicas.end(), may);
  return found == p.replicas.end() ? no_broker : *found;
}

}  // namespace

Ids origin_replicas(const cluster::Partition& partition) { return without(partition.replicas, partition.adding); }
Ids target_replicas(const cluster::Partition& partition) { return without(partition.replicas, partition.removing); }

cluster::Partition reassigned_to(cluster::Partition partition, const Ids& target) {
  const Ids origin = origin_replicas(partition);
  Ids all = target;
  for (const auto id : origin) {
    if (!contains(all, id)) all.push_back(id);
  }
  partition.adding = without(all, origin);
  partition.removing = without(all, target);
  partition.replicas = std::move(all);
  return partition;
}

Result<> check_target(const State& state, const cluster::Partition& partition, const Ids& target, bool alive) {
  if (target.empty()) return fail(ErrorCode::INVALID_REPLICA_ASSIGNMENT, "the list of replicas is empty");
  auto sorted = target;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    return fail(ErrorCode::INVALID_REPLICA_ASSIGNMENT, fmt::format("a replica is listed twice in {}", text(target)));
  }
  if (sorted.front().value < 0) {
    return fail(ErrorCode::INVALID_REPLICA_ASSIGNMENT, fmt::format("there is no such broker id in {}", text(target)));
  }
  if (!alive) return {};
  Ids missing;
  for (const auto id : reassigned_to(partition, target).adding) {
    if (!state.image->alive(id) || state.shutting_down.contains(id)) missing.push_back(id);
  }
  if (missing.empty()) return {};
  return fail(ErrorCode::INVALID_REPLICA_ASSIGNMENT,
              fmt::format("brokers {} of {} are not alive", text(missing), text(target)));
}

Result<> check_isr_stays(const cluster::Partition& now, const cluster::Partition& next) {
  if (now.isr.empty()) return {};
  const bool some =
      std::any_of(now.isr.begin(), now.isr.end(), [&](BrokerId id) { return contains(next.replicas, id); });
  if (some) return {};
  return fail(ErrorCode::INVALID_REPLICA_ASSIGNMENT,
              fmt::format("none of the replicas {} is in sync: the ISR is {}", text(next.replicas), text(now.isr)));
}

bool caught_up(const cluster::Partition& partition) {
  const auto target = target_replicas(partition);
  return !being_reassigned(partition) ||
         std::all_of(target.begin(), target.end(), [&](BrokerId id) { return contains(partition.isr, id); });
}

cluster::Partition under_way(const State& state, cluster::Partition partition, const Ids& leaving) {
  auto isr = without(partition.isr, leaving);
  if (isr.empty()) isr = partition.isr;
  const bool moves = contains(leaving, partition.leader);
  const auto leader = moves ? leader_among(state, partition, isr) : partition.leader;
  return next(state, std::move(partition), leader, std::move(isr));
}

std::optional<cluster::Partition> settled(const State& state, cluster::Partition partition) {
  partition.replicas = target_replicas(partition);
  partition.adding.clear();
  partition.removing.clear();
  std::erase_if(partition.offline, [&](BrokerId id) { return !contains(partition.replicas, id); });
  Ids isr;
  for (const auto id : partition.isr) {
    if (contains(partition.replicas, id)) isr.push_back(id);
  }
  if (isr.empty()) return std::nullopt;
  const auto leader = leader_among(state, partition, isr);
  if (leader == no_broker) return std::nullopt;
  return next(state, std::move(partition), leader, std::move(isr));
}

}  // namespace weir::controller::decide
