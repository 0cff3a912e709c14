#include "controller/decide/orders.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

namespace weir::controller::decide {
namespace {

template <class Item>
bool before(const Item& a, const Item& b) {
  return a.at < b.at;
}

template <class Item>
Item* find(std::vector<Item>& items, const PartitionRef& at) {
  const auto found = std::lower_bound(items.begin(), items.end(), at,
                                      [](const Item& item, const PartitionRef& p) { return item.at < p; });
  return found == items.end() || found->at != at ? nullptr : &*found;
}

// `newer` replaces or joins; `combine(old, new)` may keep something of the old one.
template <class Item, class Combine>
void merge_items(std::vector<Item>& into, std::vector<Item> newer, Combine combine) {
  std::vector<Item> added;
  for (auto& item : newer) {
    if (auto* old = find(into, item.at)) {
      combine(*old, item);
      *old = std::move(item);
    } else {
      added.push_back(std::move(item));
    }
  }
  if (added.empty()) return;
  std::vector<Item> all;
  all.reserve(into.size() + added.size());
  std::merge(std::make_move_iterator(into.begin()), std::make_move_iterator(into.end()),
             std::make_move_iterator(added.begin()), std::make_move_iterator(added.end()), std::back_inserter(all),
             before<Item>);
  into = std::move(all);
}

bool stops(const StopReplicaOrder& order, const PartitionRef& at) {
  return std::binary_search(order.partitions.begin(), order.partitions.end(), StopReplicaOrder::Item{at, {}, false},
                            before<StopReplicaOrder::Item>);
}

void merge_into(LeaderAndIsrOrder& into, LeaderAndIsrOrder newer) {
  using Item = LeaderAndIsrOrder::Item;
  merge_items(into.partitions, std::move(newer.partitions),
              [](const Item& old, Item& now) { now.is_new = now.is_new || old.is_new; });
  into.head = newer.head;
  for (auto& [topic, id] : newer.topic_ids) into.topic_ids[topic] = id;
  for (auto& leader : newer.leaders) {
    const auto known = std::find_if(into.leaders.begin(), into.leaders.end(),
                                    [&](const LeaderAndIsrOrder::Leader& l) { return l.id == leader.id; });
    if (known == into.leaders.end()) {
      into.leaders.push_back(std::move(leader));
    } else {
      *known = std::move(leader);
    }
  }
}

void merge_into(UpdateMetadataOrder& into, UpdateMetadataOrder newer) {
  using Item = LeaderAndIsrOrder::Item;
  merge_items(into.partitions, std::move(newer.partitions), [](const Item&, Item&) {});
  into.head = newer.head;
  into.brokers = std::move(newer.brokers);
  for (auto& [topic, id] : newer.topic_ids) into.topic_ids[topic] = id;
}

void merge_into(StopReplicaOrder& into, StopReplicaOrder newer) {
  using Item = StopReplicaOrder::Item;
  merge_items(into.partitions, std::move(newer.partitions),
              [](const Item& old, Item& now) { now.remove = now.remove || old.remove; });
  into.head = newer.head;
}

template <class Order>
void merge_optional(std::optional<Order>& into, std::optional<Order> newer) {
  if (!newer) return;
  if (into) {
    merge_into(*into, std::move(*newer));
  } else {
    into = std::move(newer);
  }
}

template <class Order>
std::vector<Order> split_order(Order order, std::size_t partitions_max) {
  std::vector<Order> out;
  if (order.partitions.size() <= partitions_max) {
    out.push_back(std::move(order));
    return out;
  }
  auto partitions = std::move(order.partitions);
  order.partitions = {};
  auto part_of = order;
  if constexpr (requires { order.topic_ids; }) part_of.topic_ids.clear();
  for (std::size_t from = 0; from < partitions.size(); from += partitions_max) {
    auto& part = out.emplace_back(part_of);
    const auto to = std::min(partitions.size(), from + partitions_max);
    for (std::size_t i = from; i < to; ++i) {
      if constexpr (requires { order.topic_ids; }) {
        const auto id = order.topic_ids.find(partitions[i].at.topic);
        if (id != order.topic_ids.end()) part.topic_ids.insert(*id);
      }
      part.partitions.push_back(std::move(partitions[i]));
    }
  }
  return out;
}

}  // namespace

bool mergeable(const Orders& older, const Orders& newer) {
  if (older.stop_replica && newer.leader_and_isr) {
    for (const auto& item : newer.leader_and_isr->partitions) {
      if (stops(*older.stop_replica, item.at)) return false;
    }
  }
  if (older.update_metadata && newer.update_metadata) {
    std::set<std::string_view> deleted;
    for (const auto& item : older.update_metadata->partitions) {
      if (item.state.leader.value == leader_during_delete) deleted.insert(item.at.topic);
    }
    if (deleted.empty()) return true;
    for (const auto& item : newer.update_metadata->partitions) {
      if (deleted.contains(item.at.topic)) return false;
    }
  }
  return true;
}

void merge(Orders& into, Orders newer) {
  if (newer.brokers_first) into.brokers_first = std::move(newer.brokers_first);
  merge_optional(into.leader_and_isr, std::move(newer.leader_and_isr));
  merge_optional(into.update_metadata, std::move(newer.update_metadata));
  merge_optional(into.stop_replica, std::move(newer.stop_replica));
}

std::vector<LeaderAndIsrOrder> split(LeaderAndIsrOrder order, std::size_t partitions_max) {
  return split_order(std::move(order), partitions_max);
}
std::vector<UpdateMetadataOrder> split(UpdateMetadataOrder order, std::size_t partitions_max) {
  return split_order(std::move(order), partitions_max);
}
std::vector<StopReplicaOrder> split(StopReplicaOrder order, std::size_t partitions_max) {
  return split_order(std::move(order), partitions_max);
}

}  // namespace weir::controller::decide
