#include "msk/facts.h"

#include <algorithm>
#include <set>
#include <utility>

#include "config/key.h"
#include "zkclient/pipeline.h"
#include "zkwire/layout.h"

namespace weir::msk {
namespace {

namespace layout = zkwire::layout;
using zkclient::ZkCode;
using zkclient::ZkError;

constexpr std::size_t reads_at_once = 64;
constexpr int tries_max = 5;  // of a compare-and-set

std::unexpected<StoreError> failed(const ZkError& error) {
  using Kind = StoreError::Kind;
  Kind kind = Kind::unavailable;
  if (error.code == ZkCode::no_node) kind = Kind::missing;
  if (error.code == ZkCode::node_exists) kind = Kind::exists;
  if (error.code == ZkCode::bad_version || error.code == ZkCode::rolled_back) kind = Kind::conflict;
  return std::unexpected(StoreError{kind, error.text()});
}
std::unexpected<StoreError> corrupt(const Error& error) {
  return std::unexpected(StoreError{StoreError::Kind::corrupt, error.message});
}

std::vector<std::int32_t> numbers(const std::vector<BrokerId>& ids) {
  std::vector<std::int32_t> out;
  for (const auto id : ids) out.push_back(id.value);
  return out;
}

std::vector<std::int32_t> without(const std::vector<BrokerId>& ids, const std::vector<BrokerId>& those) {
  std::vector<std::int32_t> out;
  for (const auto id : ids) {
    if (std::ranges::find(those, id) == those.end()) out.push_back(id.value);
  }
  return out;
}

// Children of a path; none when there is no such path.
Task<Stored<std::vector<std::string>>> children(zkclient::Zk* zk, std::string path) {
  auto found = co_await zk->children(std::move(path));
  if (found) co_return std::move(*found);
  if (found.error().code == ZkCode::no_node) co_return std::vector<std::string>{};
  co_return failed(found.error());
}

Task<Stored<bool>> there(zkclient::Zk* zk, std::string path) {
  auto found = co_await zk->exists(std::move(path));
  if (!found) co_return failed(found.error());
  co_return found->has_value();
}

}  // namespace

Task<Stored<std::map<std::int32_t, std::int64_t>>> registered_brokers(KafkaView view) {
  std::map<std::int32_t, std::int64_t> out;
  const std::string folder = view.chroot + std::string(layout::broker_ids_path);
  auto names = co_await children(view.zk, folder);
  if (!names) co_return std::unexpected(names.error());
  for (const auto& name : *names) {
    const auto id = layout::broker_of_child(name);
    if (!id) continue;
    auto stat = co_await view.zk->exists(folder + "/" + name);
    if (!stat) co_return failed(stat.error());
    if (*stat) out.emplace(id->value, (*stat)->czxid);
  }
  co_return out;
}

Task<Stored<std::vector<std::string>>> topic_names(KafkaView view) {
  auto names = co_await children(view.zk, view.chroot + std::string(layout::topics_path));
  if (names) std::ranges::sort(*names);
  co_return names;
}

Task<Stored<TopicDescription>> topic(KafkaView view, std::string name) {
  TopicDescription out;
  out.name = name;
  const auto path = view.chroot + layout::path_of_topic(name);
  auto data = co_await view.zk->get(path);
  if (!data) co_return failed(data.error());
  auto assignment = layout::decode_topic(path, data->data);
  if (!assignment) co_return corrupt(assignment.error());
  const auto config_path = view.chroot + layout::path_of_config(layout::topics_type, name);
  auto config = co_await view.zk->get(config_path);
  if (config) {
    if (auto decoded = layout::decode_config(config_path, config->data)) out.configs = *decoded;
  } else if (config.error().code != ZkCode::no_node) {
    co_return failed(config.error());
  }
  auto deleting = co_await there(view.zk, view.chroot + layout::path_of_deletion(name));
  if (!deleting) co_return std::unexpected(deleting.error());
  out.deleting = *deleting;
  auto isr_min = view.isr_min;
  if (const auto own = out.configs.find("min.insync.replicas"); own != out.configs.end()) {
    if (const auto n = config::parse_int(own->second))
      isr_min = static_cast<std::int32_t>(std::clamp<std::int64_t>(*n, 1, 1000));
  }
  for (const auto& [number, replicas] : assignment->partitions) {
    PartitionFact p;
    p.topic = name;
    p.partition = number.value;
    p.replicas = numbers(replicas.replicas);
    p.isr_min = isr_min;
    p.moving = replicas.being_reassigned();
    if (p.moving) p.origin = without(replicas.replicas, replicas.adding);
    p.target = without(replicas.replicas, replicas.removing);
    const auto state_path = view.chroot + layout::path_of_partition_state(name, number);
    auto state = co_await view.zk->get(state_path);
    if (!state && state.error().code != ZkCode::no_node) co_return failed(state.error());
    std::optional<layout::PartitionState> read;
    if (state) {
      if (auto decoded = layout::decode_partition_state(state_path, state->data)) read = *decoded;
    }
    p.known = read.has_value();
    if (read) {
      p.isr = numbers(read->isr);
      p.leader = read->leader.value;
    }
    out.partitions.push_back(std::move(p));
  }
  co_return out;
}

Task<Stored<Facts>> partition_facts(KafkaView view) {
  Facts facts;
  auto names = co_await topic_names(view);
  if (!names) co_return std::unexpected(names.error());
  std::vector<std::optional<TopicDescription>> found(names->size());
  std::optional<StoreError> error;
  auto one = [&view, &names, &found, &error](std::size_t i) -> Task<void> {
    auto read = co_await topic(view, (*names)[i]);
    if (read) {
      found[i] = std::move(*read);
    } else if (read.error().kind != StoreError::Kind::missing) {
      error = read.error();
    }
  };
  std::function<Task<void>(std::size_t)> each = one;
  co_await zkclient::pipeline(*view.shard, names->size(), reads_at_once, std::move(each));
  if (error) co_return std::unexpected(*error);
  for (auto& read : found) {
    if (!read || read->deleting) continue;
    for (auto& p : read->partitions) facts.partitions.push_back(std::move(p));
  }
  auto reassigning = co_await there(view.zk, view.chroot + std::string(layout::reassign_partitions_path));
  if (!reassigning) co_return std::unexpected(reassigning.error());
  facts.reassignment_asked = *reassigning;
  auto electing = co_await there(view.zk, view.chroot + std::string(layout::preferred_replica_election_path));
  if (!electing) co_return std::unexpected(electing.error());
  facts.election_asked = *electing;
  co_return facts;
}

Task<Stored<>> elect(KafkaView view, std::vector<Partition> partitions) {
  std::vector<layout::TopicPartition> set;
  for (const auto& [name, number] : partitions) set.push_back({name, PartitionId{number}});
  auto made = co_await zkclient::create_with_parents(
      *view.zk, view.chroot + std::string(layout::preferred_replica_election_path), layout::encode_partition_set(set));
  if (!made) co_return failed(made.error());
  co_return Stored<>{};
}

namespace {
std::string reassignment_text(const std::map<Partition, std::vector<std::int32_t>>& assignment) {
  std::map<layout::TopicPartition, std::vector<BrokerId>> target;
  for (const auto& [partition, replicas] : assignment) {
    auto& list = target[{partition.first, PartitionId{partition.second}}];
    for (const auto id : replicas) list.push_back(BrokerId{id});
  }
  return layout::encode_reassignment(target);
}
}  // namespace

Task<Stored<>> reassign(KafkaView view, std::map<Partition, std::vector<std::int32_t>> assignment) {
  auto made = co_await zkclient::create_with_parents(
      *view.zk, view.chroot + std::string(layout::reassign_partitions_path), reassignment_text(assignment));
  if (!made) co_return failed(made.error());
  co_return Stored<>{};
}

Task<Stored<>> cancel_reassignments(KafkaView view, std::map<Partition, std::vector<std::int32_t>> origin) {
  const auto path = view.chroot + std::string(layout::reassign_partitions_path);
  if (origin.empty()) {
    auto gone = co_await view.zk->remove(path);
    if (!gone && gone.error().code != ZkCode::no_node) co_return failed(gone.error());
    co_return Stored<>{};
  }
  // Weir's controller looks when it is made and when it is changed.
  auto set = co_await view.zk->set(path, reassignment_text(origin));
  if (set) co_return Stored<>{};
  if (set.error().code != ZkCode::no_node) co_return failed(set.error());
  co_return co_await reassign(view, std::move(origin));
}

Task<Stored<>> set_config(KafkaView view, std::string type, std::string name,
                          std::map<std::string, std::optional<std::string>> changes) {
  const auto path = view.chroot + layout::path_of_config(type, name);
  for (int attempt = 0; attempt < tries_max; ++attempt) {
    layout::Config config;
    auto now = co_await view.zk->get(path);
    if (now) {
      auto decoded = layout::decode_config(path, now->data);
      if (!decoded) co_return corrupt(decoded.error());
      config = *decoded;
    } else if (now.error().code != ZkCode::no_node) {
      co_return failed(now.error());
    }
    for (const auto& [key, value] : changes) {
      if (value) {
        config.insert_or_assign(key, *value);
      } else {
        config.erase(key);
      }
    }
    const auto text = layout::encode_config(config);
    Stored<> written;
    if (now) {
      auto set = co_await view.zk->set(path, text, now->stat.version);
      if (!set) written = failed(set.error());
    } else {
      auto made = co_await zkclient::create_with_parents(*view.zk, path, text);
      if (!made) written = failed(made.error());
    }
    if (written) {
      // Which entity: brokers read it when they see this.
      auto told = co_await zkclient::create_with_parents(*view.zk, view.chroot + layout::path_of_new_config_change(),
                                                         layout::encode(layout::ConfigChange{type, name}),
                                                         zkclient::CreateMode::persistent_sequential);
      if (!told) co_return failed(told.error());
      co_return Stored<>{};
    }
    using Kind = StoreError::Kind;
    if (written.error().kind != Kind::conflict && written.error().kind != Kind::exists) co_return written;
  }
  co_return std::unexpected(StoreError{StoreError::Kind::conflict, path + " is being changed by others"});
}

Task<Stored<std::map<std::string, std::string>>> config_of(KafkaView view, std::string type, std::string name) {
  const auto path = view.chroot + layout::path_of_config(type, name);
  auto now = co_await view.zk->get(path);
  if (!now && now.error().code == ZkCode::no_node) co_return layout::Config{};
  if (!now) co_return failed(now.error());
  auto decoded = layout::decode_config(path, now->data);
  if (!decoded) co_return corrupt(decoded.error());
  co_return std::move(*decoded);
}

Task<Stored<>> put_back_config(KafkaView view, std::string type, std::string name,
                               std::map<std::string, std::optional<std::string>> keys) {
  const auto now = co_await config_of(view, type, name);
  if (!now && now.error().kind == StoreError::Kind::corrupt) co_return Stored<>{};
  if (!now) co_return std::unexpected(now.error());
  // Where there is no entity any more there is nothing to take away either.
  std::erase_if(keys, [&now](const auto& entry) {
    const auto found = now->find(entry.first);
    return found == now->end() ? now->empty() || !entry.second : entry.second == found->second;
  });
  if (keys.empty()) co_return Stored<>{};
  co_return co_await set_config(view, std::move(type), std::move(name), std::move(keys));
}

Task<Stored<>> create_topic(KafkaView view, std::string name, std::vector<std::vector<std::int32_t>> replicas,
                            std::map<std::string, std::string> configs) {
  layout::TopicAssignment assignment;
  std::int32_t number = 0;
  for (const auto& list : replicas) {
    auto& partition = assignment.partitions[PartitionId{number++}];
    for (const auto id : list) partition.replicas.push_back(BrokerId{id});
  }
  // As Kafka's tools do: the configuration first, then the assignment, at which the controller wakes.
  const auto config_path = view.chroot + layout::path_of_config(layout::topics_type, name);
  const auto topic_path = view.chroot + layout::path_of_topic(name);
  auto exists = co_await there(view.zk, topic_path);
  if (!exists) co_return std::unexpected(exists.error());
  if (*exists) co_return std::unexpected(StoreError{StoreError::Kind::exists, topic_path});
  auto written = co_await zkclient::create_with_parents(*view.zk, config_path, layout::encode_config(configs));
  if (!written && written.error().code == ZkCode::node_exists) {
    auto set = co_await view.zk->set(config_path, layout::encode_config(configs));
    if (!set) co_return failed(set.error());
  } else if (!written) {
    co_return failed(written.error());
  }
  auto made = co_await zkclient::create_with_parents(*view.zk, topic_path, layout::encode(assignment));
  if (!made) co_return failed(made.error());
  co_return Stored<>{};
}

Task<Stored<>> add_partitions(KafkaView view, std::string name, std::vector<std::vector<std::int32_t>> replicas) {
  const auto path = view.chroot + layout::path_of_topic(name);
  auto now = co_await view.zk->get(path);
  if (!now) co_return failed(now.error());
  auto assignment = layout::decode_topic(path, now->data);
  if (!assignment) co_return corrupt(assignment.error());
  std::int32_t next = static_cast<std::int32_t>(assignment->partitions.size());
  for (const auto& list : replicas) {
    auto& partition = assignment->partitions[PartitionId{next++}];
    for (const auto id : list) partition.replicas.push_back(BrokerId{id});
  }
  auto set = co_await view.zk->set(path, layout::encode(*assignment), now->stat.version);
  if (!set) co_return failed(set.error());
  co_return Stored<>{};
}

Task<Stored<>> delete_topic(KafkaView view, std::string name) {
  auto made = co_await zkclient::create_with_parents(*view.zk, view.chroot + layout::path_of_deletion(name), {});
  if (!made && made.error().code != ZkCode::node_exists) co_return failed(made.error());
  co_return Stored<>{};
}

Task<Stored<std::map<std::int32_t, std::optional<std::string>>>> racks(KafkaView view) {
  std::map<std::int32_t, std::optional<std::string>> out;
  const std::string folder = view.chroot + std::string(layout::broker_ids_path);
  auto names = co_await children(view.zk, folder);
  if (!names) co_return std::unexpected(names.error());
  for (const auto& name : *names) {
    const auto id = layout::broker_of_child(name);
    if (!id) continue;
    const auto path = folder + "/" + name;
    auto data = co_await view.zk->get(path);
    if (!data) continue;
    if (auto broker = layout::decode_broker(path, data->data)) out.emplace(id->value, broker->rack);
  }
  co_return out;
}

}  // namespace weir::msk
