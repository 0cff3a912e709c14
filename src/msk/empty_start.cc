#include "msk/empty_start.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "cluster/flag.h"
#include "zkclient/pipeline.h"
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

constexpr auto kept_value = '=';  // before a value in the journal: an empty one is a value, too

using Journal = std::map<std::string, std::optional<std::string>>;  // by topic: its own setting

std::string folder_of(const std::string& root, const std::string& chroot) {
  const auto name = chroot.substr(chroot.rfind('/') + 1);
  return fmt::format("{}/elections/{}", root, name.empty() ? "local" : name);
}

StoreError error_of(const zkclient::ZkError& error) {
  const bool missing = error.code == zkclient::ZkCode::no_node;
  return {missing ? StoreError::Kind::missing : StoreError::Kind::unavailable, error.text()};
}

Task<Stored<std::vector<std::string>>> names_in(zkclient::Zk* zk, std::string folder) {
  auto names = co_await zk->children(std::move(folder));
  if (names) co_return std::move(*names);
  if (names.error().code == zkclient::ZkCode::no_node) co_return std::vector<std::string>{};
  co_return std::unexpected(error_of(names.error()));
}

Task<Stored<Journal>> journal_in(zkclient::Zk* zk, std::string folder) {
  Journal out;
  const auto names = co_await names_in(zk, folder);
  if (!names) co_return std::unexpected(names.error());
  for (const auto& name : *names) {
    auto data = co_await zk->get(folder + "/" + name);
    if (!data) co_return std::unexpected(error_of(data.error()));
    out.emplace(name, data->data.starts_with(kept_value) ? std::optional(data->data.substr(1)) : std::nullopt);
  }
  co_return out;
}

Task<Stored<>> end_election(KafkaView view, std::string folder, std::string name, std::optional<std::string> before) {
  auto back = co_await put_back_config(view, std::string(zkwire::layout::topics_type), name,
                                       {{unclean_key, std::move(before)}});
  if (!back) co_return back;
  auto gone = co_await view.zk->remove(folder + "/" + name);
  if (!gone && gone.error().code != zkclient::ZkCode::no_node) co_return std::unexpected(error_of(gone.error()));
  co_return Stored<>{};
}

// Some partition that others could lead is led by nobody who is up.
Task<Stored<bool>> waits_for_a_leader(KafkaView view, std::string name) {
  const auto up = co_await registered_brokers(view);
  if (!up) co_return std::unexpected(up.error());
  const auto described = co_await topic(view, std::move(name));
  if (!described && described.error().kind == StoreError::Kind::missing) co_return false;
  if (!described) co_return std::unexpected(described.error());
  co_return std::ranges::any_of(described->partitions, [&up](const PartitionFact& p) {
    return p.known && p.replicas.size() > 1 && !up->contains(p.leader);
  });
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

  const auto folder = folder_of(root_, view.chroot);
  const auto open = co_await journal_in(view.zk, folder);
  if (!open) co_return open.error().text;
  for (const auto& [name, before] : *open) {
    if (topics.contains(name)) continue;
    auto ended = co_await end_election(view, folder, name, before);
    if (!ended) co_return ended.error().text;
  }
  for (const auto& name : topics) {
    auto begun = co_await begin_election(view, id, name, open->contains(name));
    if (!begun) co_return begun.error().text;
  }
  if (!topics.empty()) co_return fmt::format("it alone was in sync for {}; another is elected", some_of(check.lone));
  co_return check.why;
}

Task<Stored<>> EmptyStarts::begin_election(KafkaView view, std::int32_t id, std::string name, bool written_down) {
  const auto described = co_await topic(view, name);
  if (!described) co_return std::unexpected(described.error());
  const auto own = described->configs.find(unclean_key);
  const bool set = own != described->configs.end();
  if (!written_down) {
    WEIR_LOG(warn, "broker {} has lost its data and was the only one in sync for topic {}: another replica is elected",
             id, name);
    const auto before = set ? kept_value + own->second : std::string();
    const auto path = folder_of(root_, view.chroot) + "/" + name;
    auto kept = co_await zkclient::create_with_parents(*view.zk, path, before);
    if (!kept && kept.error().code != zkclient::ZkCode::node_exists) {
      co_return std::unexpected(error_of(kept.error()));
    }
  }
  if (set && cluster::is_on(own->second)) co_return Stored<>{};
  const std::string type(zkwire::layout::topics_type);
  co_return co_await set_config(view, type, name, {{unclean_key, "true"}});
}

Task<Stored<>> end_elections(KafkaView view, std::string root, std::vector<Cluster> clusters) {
  const auto places = co_await names_in(view.zk, root + "/elections");
  if (!places) co_return std::unexpected(places.error());
  for (const auto& place : *places) {
    const auto folder = fmt::format("{}/elections/{}", root, place);
    const auto of =
        std::ranges::find(clusters, folder, [&root](const Cluster& c) { return folder_of(root, c.chroot()); });
    const auto open = co_await journal_in(view.zk, folder);
    if (!open) co_return std::unexpected(open.error());
    if (of == clusters.end()) {
      auto gone = co_await zkclient::remove_tree(*view.zk, folder);
      if (!gone) co_return std::unexpected(error_of(gone.error()));
      continue;
    }
    if (open->empty()) (void)co_await view.zk->remove(folder);  // stays where one has just begun
    view.chroot = of->chroot();
    for (const auto& [name, before] : *open) {
      const auto waits = co_await waits_for_a_leader(view, name);
      if (!waits) co_return std::unexpected(waits.error());
      if (*waits) continue;
      auto ended = co_await end_election(view, folder, name, before);
      if (!ended) co_return ended;
    }
  }
  co_return Stored<>{};
}

}  // namespace weir::msk
