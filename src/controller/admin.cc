#include "controller/admin.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "base/log.h"
#include "cluster/assign.h"
#include "cluster/topic_name.h"
#include "controller/register.h"
#include "zkclient/pipeline.h"

namespace weir::controller {

namespace layout = zkwire::layout;
using zkclient::to_error;
using zkclient::Watch;
using zkclient::ZkCode;

namespace {

constexpr std::size_t topics_in_flight_max = 100;
constexpr int write_tries_max = 5;  // of a topic, while its configuration's node comes and goes

class Alarm : public zkclient::Watcher {
 public:
  explicit Alarm(runtime::Shard& shard) : waiter(shard) {}
  void on_watch(const zkclient::WatchEvent&) override { waiter.wake(); }
  runtime::Waiter waiter;
};

std::vector<cluster::BrokerRack> racks_of(const cluster::Image& image) {
  std::vector<cluster::BrokerRack> out;
  for (const auto& [id, broker] : image.brokers()) out.push_back({id, broker->rack});
  return out;
}

std::string shown(const std::vector<BrokerId>& ids) {
  std::string out;
  for (const auto id : ids) out += fmt::format("{}{}", out.empty() ? "" : ", ", id.value);
  return out;
}

bool has_duplicates(const std::vector<BrokerId>& replicas) {
  return std::set<BrokerId>(replicas.begin(), replicas.end()).size() != replicas.size();
}

// Of a topic made with replicas by hand.
Result<> check_assignment(const Assignment& assignment) {
  const auto bad = [](std::string why) { return fail(ErrorCode::INVALID_REPLICA_ASSIGNMENT, std::move(why)); };
  std::int32_t next = 0;
  for (const auto& [partition, replicas] : assignment) {
    if (partition.value != next++) return bad("partitions should be a consecutive 0-based integer sequence");
    if (replicas.empty()) return bad(fmt::format("partition {} has no replica", partition.value));
    if (has_duplicates(replicas)) {
      return bad(
          fmt::format("Duplicate replica assignment found for partition {}: {}", partition.value, shown(replicas)));
    }
    if (replicas.size() != assignment.begin()->second.size()) {
      return bad("All partitions should have the same number of replicas");
    }
    if (std::any_of(replicas.begin(), replicas.end(), [](BrokerId id) { return id.value < 0; })) {
      return bad(fmt::format("partition {} names a broker below 0", partition.value));
    }
  }
  return {};
}

Result<Assignment> assignment_of(const NewTopic& topic, const CreateOptions& options, const cluster::Image& image,
                                 runtime::Random& random) {
  if (!topic.assignment.empty()) {
    if (topic.partitions != -1 || topic.replication_factor != -1) {
      return fail(ErrorCode::INVALID_REQUEST,
                  "Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot be used at "
                  "the same time.");
    }
    auto fits = check_assignment(topic.assignment);
    if (!fits) return std::unexpected(fits.error());
    return topic.assignment;
  }
  const auto partitions = topic.partitions == -1 ? options.default_partitions : topic.partitions;
  const auto factor = topic.replication_factor == -1 ? options.default_replication_factor : topic.replication_factor;
  const auto brokers = racks_of(image);
  const auto draw = [&] { return brokers.empty() ? 0U : static_cast<std::uint32_t>(random.below(brokers.size())); };
  const auto start = draw();
  const auto shift = draw();
  auto replicas = cluster::assign_replicas(brokers, partitions, factor, {start, shift, 0});
  if (!replicas) return std::unexpected(replicas.error());
  Assignment out;
  for (std::size_t i = 0; i < replicas->size(); ++i) {
    out[PartitionId{static_cast<std::int32_t>(i)}] = std::move((*replicas)[i]);
  }
  return out;
}

// The replicas of the partitions that `topic` is to get.
Result<std::vector<std::vector<BrokerId>>> growth_of(const NewPartitions& topic, const layout::TopicAssignment& now,
                                                     const cluster::Image& image) {
  const auto have = static_cast<std::int32_t>(now.partitions.size());
  const auto first = now.partitions.find(PartitionId{0});
  if (first == now.partitions.end() || first->second.replicas.empty()) {
    return fail(ErrorCode::UNKNOWN_SERVER_ERROR, fmt::format("topic '{}' has no partition 0", topic.topic));
  }
  for (const auto& [partition, replicas] : now.partitions) {
    if (replicas.being_reassigned()) {
      return fail(ErrorCode::REASSIGNMENT_IN_PROGRESS,
                  fmt::format("A partition reassignment is in progress for the topic '{}'.", topic.topic));
    }
  }
  if (topic.count < have) {
    return fail(
        ErrorCode::INVALID_PARTITIONS,
        fmt::format("Topic currently has {} partitions, which is higher than the requested {}.", have, topic.count));
  }
  if (topic.count == have) {
    return fail(ErrorCode::INVALID_PARTITIONS, fmt::format("Topic already has {} partitions.", have));
  }
  const auto brokers = racks_of(image);
  const auto factor = first->second.replicas.size();
  if (!topic.assignments) {
    const auto head = first->second.replicas.front();
    const auto at = std::find_if(brokers.begin(), brokers.end(), [&](const auto& b) { return b.id >= head; });
    const auto start = at == brokers.end() ? 0U : static_cast<std::uint32_t>(at - brokers.begin());
    return cluster::assign_replicas(brokers, topic.count - have, static_cast<std::int32_t>(factor),
                                    {start, start, have});
  }
  const auto bad = [](std::string why) { return fail(ErrorCode::INVALID_REPLICA_ASSIGNMENT, std::move(why)); };
  if (topic.assignments->size() != static_cast<std::size_t>(topic.count - have)) {
    return bad(fmt::format("Increasing the number of partitions by {} but {} assignments provided.", topic.count - have,
                           topic.assignments->size()));
  }
  for (const auto& replicas : *topic.assignments) {
    if (replicas.empty()) return bad("Cannot have replication factor of 0.");
    if (has_duplicates(replicas)) return bad("Duplicate brokers not allowed in replica assignment: " + shown(replicas));
    if (replicas.size() != factor) {
      return bad(
          fmt::format("Inconsistent replication factor between partitions, partition 0 has {} while others have {}.",
                      factor, replicas.size()));
    }
    for (const auto id : replicas) {
      if (!image.alive(id)) return bad(fmt::format("Unknown broker(s) in replica assignment: {}.", id.value));
    }
  }
  return *topic.assignments;
}

}  // namespace

std::string_view config_type_name(cluster::ConfigType type) {
  switch (type) {
    case cluster::ConfigType::topic: return layout::topics_type;
    case cluster::ConfigType::broker: return layout::brokers_type;
    case cluster::ConfigType::client: return layout::clients_type;
    case cluster::ConfigType::user: return layout::users_type;
    case cluster::ConfigType::ip: return layout::ips_type;
  }
  return layout::topics_type;
}

std::optional<cluster::ConfigType> config_type_of(std::string_view name) {
  using cluster::ConfigType;
  for (const auto type :
       {ConfigType::topic, ConfigType::broker, ConfigType::client, ConfigType::user, ConfigType::ip}) {
    if (config_type_name(type) == name) return type;
  }
  return std::nullopt;
}

std::string config_entity(const cluster::ConfigKey& key) {
  return key.name.empty() ? std::string(layout::default_entity) : key.name;
}

// --- create ---------------------------------------------------------------------------------------------------------

Task<std::vector<CreatedTopic>> Admin::create_topics(std::vector<NewTopic> topics, CreateOptions options,
                                                     cluster::ImagePtr image) {
  std::map<std::string, int> times;
  for (const auto& topic : topics) ++times[topic.name];
  std::vector<CreatedTopic> out(topics.size());
  auto one = [&](std::size_t i) -> Task<void> {
    out[i].name = topics[i].name;
    if (times[topics[i].name] > 1) {
      out[i].result =
          fail(ErrorCode::INVALID_REQUEST,
               fmt::format("Create topics request from client contains multiple entries for the topic '{}'.",
                           topics[i].name));
      co_return;
    }
    auto made = co_await create_topic(topics[i], options, image, out[i]);
    out[i].result = std::move(made);
  };
  co_await zkclient::pipeline(shard_, topics.size(), topics_in_flight_max, one);
  co_return out;
}

Task<Result<>> Admin::check_name_free(std::string name) {
  auto deleting = co_await zk_.exists(layout::path_of_deletion(name), Watch{});
  if (!deleting) co_return std::unexpected(to_error(deleting.error()));
  if (*deleting)
    co_return fail(ErrorCode::TOPIC_ALREADY_EXISTS, fmt::format("Topic '{}' is marked for deletion.", name));
  auto there = co_await zk_.exists(layout::path_of_topic(name), Watch{});
  if (!there) co_return std::unexpected(to_error(there.error()));
  if (*there) co_return fail(ErrorCode::TOPIC_ALREADY_EXISTS, fmt::format("Topic '{}' already exists.", name));
  if (!cluster::has_collision_chars(name)) co_return Result<>();
  auto all = co_await zk_.children(std::string(layout::topics_path), Watch{});
  if (!all && all.error().code != ZkCode::no_node) co_return std::unexpected(to_error(all.error()));
  if (!all) co_return Result<>();
  for (const auto& other : *all) {
    if (other == name) co_return fail(ErrorCode::TOPIC_ALREADY_EXISTS, fmt::format("Topic '{}' already exists.", name));
    if (cluster::collides(other, name)) {
      co_return fail(ErrorCode::INVALID_TOPIC_EXCEPTION,
                     fmt::format("Topic '{}' collides with existing topics: {}", name, other));
    }
  }
  co_return Result<>();
}

Task<Result<>> Admin::create_topic(NewTopic topic, CreateOptions options, cluster::ImagePtr image, CreatedTopic& out) {
  auto fits = cluster::validate_topic_name(topic.name);
  if (!fits) co_return fits;
  auto assignment = assignment_of(topic, options, *image, random_);
  if (!assignment) co_return std::unexpected(assignment.error());
  auto free = co_await check_name_free(topic.name);
  if (!free) co_return free;
  if (options.check) {
    auto valid = options.check(topic.configs);
    if (!valid) co_return valid;
  }
  out.partitions = static_cast<std::int32_t>(assignment->size());
  out.replication_factor = static_cast<std::int16_t>(assignment->begin()->second.size());
  if (options.validate_only) co_return Result<>();

  layout::TopicAssignment content;
  if (options.topic_ids) content.id = random_.uuid();
  for (auto& [partition, replicas] : *assignment) content.partitions[partition].replicas = std::move(replicas);
  auto made = co_await write_topic(topic.name, layout::encode(content), layout::encode_config(topic.configs));
  if (!made) co_return made;
  out.id = content.id.value_or(Uuid{});
  WEIR_LOG(info, "created topic {} with {} partitions, replication factor {}", topic.name, out.partitions,
           out.replication_factor);
  co_return Result<>();
}

// The topic and its configuration in one step: the controller may see the topic the moment its node is there, and of
// two that make it at the same time one makes all of it.
Task<Result<>> Admin::write_topic(std::string name, std::string assignment, std::string config) {
  const auto topic_path = layout::path_of_topic(name);
  const auto config_path = layout::path_of_config(layout::topics_type, name);
  bool config_there = false;  // an earlier topic of that name may have left one
  for (int tries = 0;; ++tries) {
    std::vector<zkclient::Op> ops;
    ops.push_back(config_there ? zkclient::Op::set(config_path, config) : zkclient::Op::create(config_path, config));
    ops.push_back(zkclient::Op::create(topic_path, assignment));
    auto made = co_await zk_.multi(std::move(ops));
    if (made) co_return Result<>();
    const auto& error = made.error();
    const bool of_config = error.path == config_path;
    if (error.code == ZkCode::node_exists && !of_config) {
      co_return fail(ErrorCode::TOPIC_ALREADY_EXISTS, fmt::format("Topic '{}' already exists.", name));
    }
    const bool other = error.code == ZkCode::node_exists || error.code == ZkCode::no_node;
    if (!other || tries == write_tries_max) co_return std::unexpected(to_error(error));
    if (error.code == ZkCode::no_node && !(of_config && config_there)) {
      // A service that no broker has seen yet.
      auto ready = co_await ensure_root_paths(zk_);
      if (!ready) co_return ready;
    }
    if (of_config) config_there = error.code == ZkCode::node_exists;
  }
}

// --- delete ---------------------------------------------------------------------------------------------------------

Task<std::vector<Result<>>> Admin::delete_topics(std::vector<std::string> topics) {
  std::vector<Result<>> out(topics.size());
  auto one = [&](std::size_t i) -> Task<void> {
    const auto& name = topics[i];
    auto fits = cluster::validate_name_of_existing(name);
    if (!fits) {
      out[i] = fail(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, fmt::format("Topic `{}` to delete does not exist", name));
      co_return;
    }
    auto there = co_await zk_.exists(layout::path_of_topic(name), Watch{});
    if (!there) {
      out[i] = std::unexpected(to_error(there.error()));
    } else if (!*there) {
      out[i] = fail(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, fmt::format("Topic `{}` to delete does not exist", name));
    } else {
      auto marked = co_await zkclient::create_with_parents(zk_, layout::path_of_deletion(name), "");
      if (!marked && marked.error().code != ZkCode::node_exists) out[i] = std::unexpected(to_error(marked.error()));
    }
  };
  co_await zkclient::pipeline(shard_, topics.size(), topics_in_flight_max, one);
  co_return out;
}

Task<Result<>> Admin::wait_deleted(std::string topic, nanoseconds timeout) {
  const auto path = layout::path_of_topic(topic);
  const auto mark = layout::path_of_deletion(topic);
  const auto until = shard_.clock().mono() + timeout;
  for (;;) {
    auto alarm = std::make_shared<Alarm>(shard_);
    auto there = co_await zk_.exists(path, alarm);
    if (there && !*there) there = co_await zk_.exists(mark, alarm);  // goes last: until then the name is not free
    if (!there) co_return std::unexpected(to_error(there.error()));
    if (!*there) co_return Result<>();
    const auto left = until - shard_.clock().mono();
    if (left <= nanoseconds(0)) {
      co_return fail(ErrorCode::REQUEST_TIMED_OUT, fmt::format("Topic '{}' is not deleted yet.", topic));
    }
    (void)co_await alarm->waiter.wait(std::min<nanoseconds>(left, std::chrono::seconds(5)));
  }
}

// --- grow -----------------------------------------------------------------------------------------------------------

Task<std::vector<Result<>>> Admin::create_partitions(std::vector<NewPartitions> topics, bool validate_only,
                                                     cluster::ImagePtr image) {
  std::map<std::string, int> times;
  for (const auto& topic : topics) ++times[topic.topic];
  std::vector<Result<>> out(topics.size());
  auto one = [&](std::size_t i) -> Task<void> {
    if (times[topics[i].topic] > 1) {
      out[i] = fail(ErrorCode::INVALID_REQUEST, "Duplicate topic in request.");
      co_return;
    }
    auto grown = co_await grow(topics[i], validate_only, image);
    out[i] = std::move(grown);
  };
  co_await zkclient::pipeline(shard_, topics.size(), topics_in_flight_max, one);
  co_return out;
}

Task<Result<>> Admin::grow(NewPartitions topic, bool validate_only, cluster::ImagePtr image) {
  const auto unknown = [&] {
    return fail(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, fmt::format("The topic '{}' does not exist.", topic.topic));
  };
  if (!cluster::validate_name_of_existing(topic.topic)) co_return unknown();
  auto deleting = co_await zk_.exists(layout::path_of_deletion(topic.topic), Watch{});
  if (!deleting) co_return std::unexpected(to_error(deleting.error()));
  if (*deleting) co_return fail(ErrorCode::INVALID_TOPIC_EXCEPTION, "The topic is queued for deletion.");
  const auto path = layout::path_of_topic(topic.topic);
  for (;;) {
    auto there = co_await zk_.get(path, Watch{});
    if (!there && there.error().code == ZkCode::no_node) co_return unknown();
    if (!there) co_return std::unexpected(to_error(there.error()));
    auto now = layout::decode_topic(path, there->data);
    if (!now) co_return std::unexpected(now.error());
    auto more = growth_of(topic, *now, *image);
    if (!more) co_return std::unexpected(more.error());
    const auto last = static_cast<std::int32_t>(now->partitions.size() + more->size()) - 1;
    if (!cluster::folder_fits(topic.topic, last)) {
      co_return fail(ErrorCode::INVALID_PARTITIONS,
                     fmt::format("With a name of that length there can be no partition {}.", last));
    }
    if (validate_only) co_return Result<>();
    auto next = static_cast<std::int32_t>(now->partitions.size());
    for (auto& replicas : *more) now->partitions[PartitionId{next++}].replicas = std::move(replicas);
    auto data = layout::encode(*now);
    auto stat = co_await zk_.set(path, std::move(data), there->stat.version);
    if (stat) co_return Result<>();
    // Somebody else changed the topic meanwhile: look again.
    if (stat.error().code != ZkCode::bad_version && stat.error().code != ZkCode::no_node) {
      co_return std::unexpected(to_error(stat.error()));
    }
  }
}

// --- configs --------------------------------------------------------------------------------------------------------

namespace {

Result<> config_error(const zkclient::ZkError& error) {
  if (error.code == ZkCode::bad_version || error.code == ZkCode::node_exists || error.code == ZkCode::no_node) {
    return fail(ErrorCode::INVALID_UPDATE_VERSION, fmt::format("{} was written by another", error.path));
  }
  return std::unexpected(to_error(error));
}

}  // namespace

Task<Result<>> Admin::write_config(cluster::ConfigKey key, cluster::ConfigMap config, std::int32_t version) {
  const auto path = layout::path_of_config(config_type_name(key.type), config_entity(key));
  const auto data = layout::encode_config(config);
  for (;;) {
    if (version != Config::absent) {
      auto stat = co_await zk_.set(path, data, version);
      if (stat) co_return Result<>();
      const bool any = version == zkclient::any_version && stat.error().code == ZkCode::no_node;
      if (!any) co_return config_error(stat.error());
    }
    auto made = co_await zkclient::create_with_parents(zk_, path, data);
    if (made) co_return Result<>();
    const bool any = version == zkclient::any_version && made.error().code == ZkCode::node_exists;
    if (!any) co_return config_error(made.error());
  }
}

Task<Result<>> Admin::set_config(cluster::ConfigKey key, cluster::ConfigMap config) {
  return replace_config(std::move(key), std::move(config), zkclient::any_version);
}

Task<Result<>> Admin::replace_config(cluster::ConfigKey key, cluster::ConfigMap config, std::int32_t version) {
  using cluster::ConfigType;
  const auto path = layout::path_of_config(config_type_name(key.type), config_entity(key));
  if (key.type == ConfigType::topic) {
    auto fits = cluster::validate_name_of_existing(key.name);
    if (!fits) co_return fits;
    auto there = co_await zk_.exists(layout::path_of_topic(key.name), Watch{});
    if (!there) co_return std::unexpected(to_error(there.error()));
    if (!*there) {
      co_return fail(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, fmt::format("The topic '{}' does not exist.", key.name));
    }
  }
  bool write = true;
  if (config.empty() && key.type != ConfigType::topic && key.type != ConfigType::broker) {
    // The node of a user may carry those of its clients: then it stays, empty.
    if (version == Config::absent) co_return Result<>();
    auto removed = co_await zk_.remove(path, version);
    write = !removed && removed.error().code == ZkCode::not_empty;
    const bool gone = !removed && removed.error().code == ZkCode::no_node && version == zkclient::any_version;
    if (!removed && !write && !gone) co_return config_error(removed.error());
  }
  if (write) {
    auto written = co_await write_config(key, std::move(config), version);
    if (!written) co_return written;
  }
  auto note = layout::encode(layout::ConfigChange{std::string(config_type_name(key.type)), config_entity(key)});
  auto told = co_await zkclient::create_with_parents(zk_, layout::path_of_new_config_change(), std::move(note),
                                                     zkclient::CreateMode::persistent_sequential);
  if (!told) co_return std::unexpected(to_error(told.error()));
  co_return Result<>();
}

Task<Result<Admin::Config>> Admin::get_config(cluster::ConfigKey key) {
  const auto path = layout::path_of_config(config_type_name(key.type), config_entity(key));
  auto there = co_await zk_.get(path, Watch{});
  if (!there && there.error().code == ZkCode::no_node) co_return Config{};
  if (!there) co_return std::unexpected(to_error(there.error()));
  auto values = layout::decode_config(path, there->data);
  if (!values) co_return std::unexpected(values.error());
  co_return Config{std::move(*values), there->stat.version};
}

}  // namespace weir::controller
