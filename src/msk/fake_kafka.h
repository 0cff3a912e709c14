// For tests of this room: what a cluster's brokers and their controller do to its znodes. Each look() does what a
// moment would bring: in-sync sets follow who is registered, leaders are elected, replicas move.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/shard.h"
#include "zkclient/memory.h"
#include "zkwire/layout.h"

namespace weir::msk {

class FakeKafka {
 public:
  template <class T = void>
  using Task = runtime::Task<T>;
  using Ids = std::vector<std::int32_t>;

  FakeKafka(zkclient::MemoryTree& tree, zkclient::Zk& zk, std::string chroot)
      : tree_(tree), zk_(zk), chroot_(std::move(chroot)) {}

  struct Partition {
    Ids replicas;
    Ids adding;
    Ids removing;
    Ids isr;
    std::int32_t leader = -1;
    std::int32_t epoch = 0;
  };
  std::map<std::pair<std::string, std::int32_t>, Partition> partitions;
  std::set<std::int32_t> never_in_sync;  // replicas on these do not catch up
  int reassignments = 0;                 // how often one was asked for
  int elections = 0;

  void add(const std::string& topic, std::int32_t number, Ids replicas) {
    Partition p;
    p.isr = replicas;
    p.leader = replicas.front();
    p.replicas = std::move(replicas);
    partitions[{topic, number}] = std::move(p);
    changed_ = true;
  }

  Task<void> look() {
    std::set<std::int32_t> live;
    auto ids = co_await zk_.children(path("/brokers/ids"));
    if (!ids) co_return;  // there is no cluster
    for (const auto& id : *ids) live.insert(std::stoi(id));
    for (auto& [at, p] : partitions) keep_in_sync(p, live);
    co_await reassign();
    co_await elect(live);
    settle();
    co_await write();
  }

 private:
  static bool has(const Ids& list, std::int32_t id) { return std::ranges::find(list, id) != list.end(); }
  static void erase_all(Ids& from, const Ids& what) {
    std::erase_if(from, [&](std::int32_t id) { return has(what, id); });
  }
  std::string path(std::string_view rest) const { return chroot_ + std::string(rest); }

  void keep_in_sync(Partition& p, const std::set<std::int32_t>& live) {
    const auto before = std::pair(p.isr, p.leader);
    if (std::ranges::any_of(p.isr, [&](std::int32_t id) { return live.contains(id); })) {
      std::erase_if(p.isr, [&](std::int32_t id) { return !live.contains(id); });
    }
    for (const auto id : p.replicas) {
      if (live.contains(id) && !has(p.isr, id) && !(has(p.adding, id) && never_in_sync.contains(id)))
        p.isr.push_back(id);
    }
    if (!live.contains(p.leader) || !has(p.isr, p.leader)) p.leader = live.contains(p.isr.front()) ? p.isr.front() : -1;
    if (before != std::pair(p.isr, p.leader)) changed_ = true;
    if (before.second != p.leader) ++p.epoch;
  }

  Task<void> reassign() {
    const auto at = path(zkwire::layout::reassign_partitions_path);
    const auto text = tree_.data(at);
    if (!text) {
      if (!asked_.empty()) asked_.clear();
      co_return;
    }
    if (*text != asked_) {
      asked_ = *text;
      ++reassignments;
      const auto wanted = zkwire::layout::decode_reassignment(at, *text);
      for (const auto& [where, target] : *wanted) begin(partitions[{where.topic, where.partition.value}], target);
    }
    const auto wanted = zkwire::layout::decode_reassignment(at, asked_);
    for (const auto& [where, target] : *wanted) {
      const auto& p = partitions[{where.topic, where.partition.value}];
      if (!p.adding.empty() || !p.removing.empty()) co_return;
    }
    (void)co_await zk_.remove(at);
    asked_.clear();
  }

  void begin(Partition& p, const std::vector<BrokerId>& target) {
    Ids origin = p.replicas;
    erase_all(origin, p.adding);
    Ids next;
    for (const auto id : target) next.push_back(id.value);
    p.adding = next;
    erase_all(p.adding, origin);
    p.removing = origin;
    erase_all(p.removing, next);
    p.replicas = next;
    p.replicas.insert(p.replicas.end(), p.removing.begin(), p.removing.end());
    std::erase_if(p.isr, [&](std::int32_t id) { return !has(p.replicas, id); });
    changed_ = true;
  }

  void settle() {
    for (auto& [at, p] : partitions) {
      if (p.adding.empty() && p.removing.empty()) continue;
      Ids target = p.replicas;
      erase_all(target, p.removing);
      if (!std::ranges::all_of(target, [&](std::int32_t id) { return has(p.isr, id); })) continue;
      p.replicas = target;
      p.adding.clear();
      p.removing.clear();
      std::erase_if(p.isr, [&](std::int32_t id) { return !has(p.replicas, id); });
      if (!has(p.isr, p.leader)) p.leader = p.isr.front();
      ++p.epoch;
      changed_ = true;
    }
  }

  Task<void> elect(std::set<std::int32_t> live) {
    const auto at = path(zkwire::layout::preferred_replica_election_path);
    const auto text = tree_.data(at);
    if (!text) co_return;
    ++elections;
    const auto set = zkwire::layout::decode_partition_set(at, *text);
    for (const auto& where : *set) {
      auto& p = partitions[{where.topic, where.partition.value}];
      const auto preferred = p.replicas.front();
      if (!live.contains(preferred) || !has(p.isr, preferred) || p.leader == preferred) continue;
      p.leader = preferred;
      ++p.epoch;
      changed_ = true;
    }
    (void)co_await zk_.remove(at);
  }

  static std::vector<BrokerId> ids_of(const Ids& list) {
    std::vector<BrokerId> out;
    for (const auto id : list) out.push_back(BrokerId{id});
    return out;
  }

  Task<void> write() {
    if (!std::exchange(changed_, false)) co_return;
    std::map<std::string, zkwire::layout::TopicAssignment> topics;
    for (const auto& [at, p] : partitions) {
      topics[at.first].partitions[PartitionId{at.second}] = {ids_of(p.replicas), ids_of(p.adding), ids_of(p.removing)};
    }
    for (const auto& [name, assignment] : topics) {
      co_await put(path(zkwire::layout::path_of_topic(name)), zkwire::layout::encode(assignment));
    }
    for (const auto& [at, p] : partitions) {
      zkwire::layout::PartitionState state;
      state.leader = BrokerId{p.leader};
      state.leader_epoch = LeaderEpoch{p.epoch};
      state.isr = ids_of(p.isr);
      co_await put(path(zkwire::layout::path_of_partition_state(at.first, PartitionId{at.second})),
                   zkwire::layout::encode(state));
    }
  }

  Task<void> put(std::string at, std::string data) {
    if (tree_.data(at) == data) co_return;
    auto made = co_await zkclient::create_with_parents(zk_, at, data);
    if (!made) (void)co_await zk_.set(at, data);
  }

  zkclient::MemoryTree& tree_;
  zkclient::Zk& zk_;
  const std::string chroot_;
  std::string asked_;
  bool changed_ = false;
};

}  // namespace weir::msk
