#include "controller/decide/elect.h"

#include <algorithm>
#include <utility>

namespace weir::controller::decide {
namespace {

bool contains(const std::vector<BrokerId>& list, BrokerId id) {
  return std::find(list.begin(), list.end(), id) != list.end();
}

cluster::Partition next(const State& state, cluster::Partition partition, BrokerId leader, std::vector<BrokerId> isr) {
  partition.leader = leader;
  partition.isr = std::move(isr);
  partition.leader_epoch = LeaderEpoch{partition.leader_epoch.value + 1};
  partition.controller_epoch = state.epoch;
  return partition;
}

template <class Keep>
std::vector<BrokerId> filtered(const std::vector<BrokerId>& from, Keep keep) {
  std::vector<BrokerId> out;
  std::copy_if(from.begin(), from.end(), std::back_inserter(out), keep);
  return out;
}

template <class Fits>
std::optional<BrokerId> first_that(const std::vector<BrokerId>& from, Fits fits) {
  const auto found = std::find_if(from.begin(), from.end(), fits);
  return found == from.end() ? std::nullopt : std::optional(*found);
}

std::optional<cluster::Partition> elect_offline(const State& state, cluster::Partition p, bool unclean,
                                                const Doubt* doubt) {
  const auto up = [&](BrokerId id) { return online(state, p, id); };
  if (doubt != nullptr) {
    const auto lived_on = [&](BrokerId id) { return up(id) && contains(p.isr, id) && !doubt->reborn.contains(id); };
    if (const auto leader = first_that(p.replicas, lived_on)) {
      auto isr = filtered(p.isr, lived_on);
      return next(state, std::move(p), *leader, std::move(isr));
    }
    // Nobody to choose from: then there is nothing to wait for, and an unclean election may be what is wanted.
    const bool away = std::any_of(p.isr.begin(), p.isr.end(), up) && !std::all_of(p.isr.begin(), p.isr.end(), up);
    if (away && !doubt->over) return std::nullopt;
  }
  if (const auto leader = first_that(p.replicas, [&](BrokerId id) { return up(id) && contains(p.isr, id); })) {
    auto isr = filtered(p.isr, up);
    return next(state, std::move(p), *leader, std::move(isr));
  }
  const auto leader = unclean ? first_that(p.replicas, up) : std::nullopt;
  if (!leader) return std::nullopt;
  if (state.leader_recovery) p.leader_recovery_state = 1;
  return next(state, std::move(p), *leader, {*leader});
}

std::optional<cluster::Partition> elect_preferred(const State& state, cluster::Partition p) {
  if (p.replicas.empty()) return std::nullopt;
  const auto preferred = p.replicas.front();
  if (!online(state, p, preferred) || !contains(p.isr, preferred)) return std::nullopt;
  auto isr = p.isr;
  return next(state, std::move(p), preferred, std::move(isr));
}

std::optional<cluster::Partition> elect_for_shutdown(const State& state, cluster::Partition p) {
  const auto leaving = [&](BrokerId id) { return state.shutting_down.contains(id); };
  const auto leader = first_that(
      p.replicas, [&](BrokerId id) { return online(state, p, id, true) && contains(p.isr, id) && !leaving(id); });
  if (!leader) return std::nullopt;
  auto isr = filtered(p.isr, [&](BrokerId id) { return !leaving(id); });
  return next(state, std::move(p), *leader, std::move(isr));
}

}  // namespace

std::optional<cluster::Partition> first_state(const State& state, cluster::Partition partition) {
  auto alive = online_replicas(state, partition);
  if (alive.empty()) return std::nullopt;
  partition.leader = alive.front();
  partition.isr = std::move(alive);
  partition.leader_epoch = LeaderEpoch{0};
  partition.controller_epoch = state.epoch;
  partition.leader_recovery_state = 0;
  partition.version = 0;
  return partition;
}

std::optional<cluster::Partition> elect(const State& state, cluster::Partition partition, Election how, bool unclean,
                                        const Doubt* doubt) {
  if (doubt != nullptr && how != Election::offline) return std::nullopt;
  switch (how) {
    case Election::offline: return elect_offline(state, std::move(partition), unclean, doubt);
    case Election::preferred: return elect_preferred(state, std::move(partition));
    case Election::controlled_shutdown: return elect_for_shutdown(state, std::move(partition));
  }
  return std::nullopt;
}

std::optional<cluster::Partition> without_replicas(const State& state, cluster::Partition partition,
                                                   const std::set<BrokerId>& gone) {
  const auto leader = gone.contains(partition.leader) ? no_broker : partition.leader;
  auto isr = filtered(partition.isr, [&](BrokerId id) { return !gone.contains(id); });
  if (isr.empty()) isr = partition.isr;
  if (leader == partition.leader && isr == partition.isr) return std::nullopt;
  return next(state, std::move(partition), leader, std::move(isr));
}

std::set<BrokerId> lost_replicas(const State& state, const cluster::Partition& partition) {
  std::set<BrokerId> out;
  for (const auto id : partition.isr) {
    if (!online(state, partition, id, true)) out.insert(id);
  }
  return out;
}

bool clean_election_possible(const State& state, const cluster::Partition& partition) {
  return std::any_of(partition.isr.begin(), partition.isr.end(),
                     [&](BrokerId id) { return online(state, partition, id); });
}

}  // namespace weir::controller::decide
