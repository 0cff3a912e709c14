#include "msk/empty_start.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "zkwire/layout.h"

namespace weir::msk {
namespace {

constexpr auto unclean_key = "unclean.leader.election.enable";

bool has(const std::vector<std::int32_t>& list, std::int32_t id) { return std::ranges::find(list, id) != list.end(); }

std::string some_of(const std::set<Partition>& partitions) {
  const auto& [topic, number] = *partitions.begin();
  if (partitions.size() == 1) return fmt::format("{}-{}", topic, number);
  return fmt::format("{} partitions, such as {}-{}", partitions.size(), topic, number);
}

}  // namespace

EmptyStartCheck check_empty_start(std::int32_t id, bool unusable, const std::set<std::int32_t>& registered,
                                  const std::vector<PartitionFact>& partitions) {
  if (registered.contains(id)) return {"its last session at ZooKeeper is not over yet", {}};
  // A ZooKeeper that lost its own data makes every directory one of another cluster.
  if (unusable && registered.empty()) return {"no other broker is up that could have what lies there", {}};
  std::set<Partition> counted;
  std::set<Partition> lone;
  std::set<Partition> nobody;
  for (const auto& p : partitions) {
    // Of what has no other replica nothing is to be had elsewhere.
    if (!p.known || p.replicas.size() < 2 || !has(p.replicas, id) || !has(p.isr, id)) continue;
    const Partition at{p.topic, p.partition};
    if (p.isr.size() > 1) {
      counted.insert(at);
      continue;
    }
    const bool any = std::ranges::any_of(p.replicas, [&](std::int32_t r) { return registered.contains(r); });
    (any ? lone : nobody).insert(at);
  }
  if (!counted.empty()) return {fmt::format("it counts as in sync still, for {}", some_of(counted)), {}};
  if (!nobody.empty()) {
    return {fmt::format("it alone was in sync for {}, and no other replica is up", some_of(nobody)), {}};
  }
  if (!lone.empty() && unusable) {
    return {
        fmt::format("it alone was in sync for {}: mend its data, or remove it, and others are elected", some_of(lone)),
        {}};
  }
  return {"", std::move(lone)};
}

Task<std::string> EmptyStarts::ask(KafkaView view, std::int32_t id, bool unusable) {
  const auto registered = co_await registered_brokers(view);
  if (!registered) co_return registered.error().text;
  const auto facts = co_await partition_facts(view);
  if (!facts) co_return facts.error().text;
  std::set<std::int32_t> up;
  for (const auto& [broker, life] : *registered) up.insert(broker);
  auto check = check_empty_start(id, unusable, up, facts->partitions);
  std::set<std::string> topics;
  for (const auto& [topic, number] : check.lone) topics.insert(topic);

  const std::string type(zkwire::layout::topics_type);
  // Elections that are over: the topics are what they were.
  for (auto it = elections_.begin(); it != elections_.end();) {
    const auto [key, before] = *it;
    if (key.first != view.chroot || topics.contains(key.second)) {
      ++it;
      continue;
    }
    auto back = co_await set_config(view, type, key.second, {{unclean_key, before}});
    if (!back) co_return back.error().text;
    it = elections_.erase(elections_.find(key));
  }
  for (const auto& name : topics) {
    const std::pair key{view.chroot, name};
    if (elections_.contains(key)) continue;
    const auto described = co_await topic(view, name);
    if (!described) co_return described.error().text;
    std::optional<std::string> before;
    if (const auto own = described->configs.find(unclean_key); own != described->configs.end()) before = own->second;
    WEIR_LOG(warn, "broker {} has lost its data and was the only one in sync for topic {}: another replica is elected",
             id, name);
    elections_.emplace(key, std::move(before));
    auto set = co_await set_config(view, type, name, {{unclean_key, "true"}});
    if (!set) co_return set.error().text;
  }
  if (!topics.empty()) co_return fmt::format("it alone was in sync for {}; another is elected", some_of(check.lone));
  co_return check.why;
}

}  // namespace weir::msk
