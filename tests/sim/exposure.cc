#include "exposure.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "zkwire/layout.h"

namespace weir::sim {
namespace {

constexpr milliseconds look_every{5};

}  // namespace

Exposure::Exposure(Cluster& cluster, History& history, std::vector<TopicPartition> partitions)
    : cluster_(cluster), history_(history) {
  for (auto& where : partitions) all_.push_back({std::move(where), {}});
}

std::set<BrokerId> Exposure::in_sync(const TopicPartition& where) const {
  const auto path = zkwire::layout::path_of_partition_state(where.topic, where.partition);
  const auto data = cluster_.tree().data(path);
  if (!data) return {};
  const auto state = zkwire::layout::decode_partition_state(path, *data);
  if (!state) return {};
  return {state->isr.begin(), state->isr.end()};
}

void Exposure::ended(BrokerId broker, bool power) {
  for (auto& one : all_) {
    if (in_sync(one.where).contains(broker)) one.away[broker] |= power;
  }
  if (!check() || std::exchange(looking_, true)) return;
  cluster_.world().after(look_every, [this] { look(); });
}

void Exposure::look() {
  looking_ = check();
  if (looking_) cluster_.world().after(look_every, [this] { look(); });
}

bool Exposure::check() {
  bool any = false;
  for (auto& one : all_) {
    if (one.away.empty()) continue;
    const auto now = in_sync(one.where);
    std::erase_if(one.away, [&](const auto& member) { return !now.contains(member.first); });
    const bool power = std::ranges::any_of(one.away, [](const auto& member) { return member.second; });
    if (power && one.away.size() == now.size() && !history_.excused(one.where)) {
      cluster_.tell(fmt::format("all that are in sync of {} were away, some without power", one.where.text()));
      history_.excuse(one.where);
    }
    any = any || !one.away.empty();
  }
  return any;
}

}  // namespace weir::sim
