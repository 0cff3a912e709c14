// Changes that users ask for, as Apache Kafka 3.9's broker writes them to ZooKeeper (AdminZkClient): topics, their
// partitions, configs. Any broker may do this; the controller sees it by its watches. In Kafka CreateTopics,
// CreatePartitions and DeleteTopics are answered by the controller's broker only (NOT_CONTROLLER): that is the
// handler's choice.
//
// Nothing here waits until leaders are elected: the handler waits on the image it serves from.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "base/uuid.h"
#include "cluster/image.h"
#include "runtime/random.h"
#include "runtime/shard.h"
#include "zkclient/zk.h"
#include "zkwire/layout.h"

namespace weir::controller {

using runtime::Task;
using Assignment = std::map<PartitionId, std::vector<BrokerId>>;
// INVALID_CONFIG with the reason. The caller's: this room does not know the keys.
using ConfigCheck = std::function<Result<>(const cluster::ConfigMap&)>;

struct NewTopic {
  std::string name;
  std::int32_t partitions = -1;          // -1: options.default_partitions (KIP-464)
  std::int16_t replication_factor = -1;  // -1: options.default_replication_factor
  Assignment assignment;                 // not empty: used as it is; then the two above must be -1
  cluster::ConfigMap configs;
};
struct CreateOptions {
  bool validate_only = false;
  std::int32_t default_partitions = 1;
  std::int16_t default_replication_factor = 1;
  bool topic_ids = true;  // false below inter.broker.protocol.version 2.8
  ConfigCheck check;      // may be empty
};
struct CreatedTopic {
  std::string name;
  Result<> result;
  Uuid id;  // zero with validate_only
  std::int32_t partitions = 0;
  std::int16_t replication_factor = 0;
};

struct NewPartitions {
  std::string topic;
  std::int32_t count = 0;                                         // the total afterwards
  std::optional<std::vector<std::vector<BrokerId>>> assignments;  // of the new ones
};

class Admin {
 public:
  // All outlive it. `zk` should be a patient one. On one shard.
  Admin(runtime::Shard& shard, zkclient::Zk& zk, runtime::Random& random) : shard_(shard), zk_(zk), random_(random) {}

  // One result a topic, in order; a name given twice is an INVALID_REQUEST for each. `image` gives the brokers
  // that are alive. Errors: TOPIC_ALREADY_EXISTS (also while its deletion runs), INVALID_TOPIC_EXCEPTION,
  // INVALID_PARTITIONS, INVALID_REPLICATION_FACTOR, INVALID_REPLICA_ASSIGNMENT, INVALID_CONFIG, INVALID_REQUEST.
  Task<std::vector<CreatedTopic>> create_topics(std::vector<NewTopic> topics, CreateOptions options,
                                                cluster::ImagePtr image);

  // Marks them for deletion (/admin/delete_topics/T). UNKNOWN_TOPIC_OR_PARTITION. Marked already: fine.
  Task<std::vector<Result<>>> delete_topics(std::vector<std::string> topics);
  // Waits until /brokers/topics/T and its deletion mark are gone, so that the name is free, up to `timeout`:
  // REQUEST_TIMED_OUT (the deletion goes on).
  Task<Result<>> wait_deleted(std::string topic, nanoseconds timeout);

  Task<std::vector<Result<>>> create_partitions(std::vector<NewPartitions> topics, bool validate_only,
                                                cluster::ImagePtr image);

  // Replaces the config of an entity (/config/TYPE/NAME) and tells all brokers (/config/changes). A topic must
  // exist. An empty map removes the node of a client, user or ip. `name` is sanitized already; "" is <default>.
  Task<Result<>> set_config(cluster::ConfigKey key, cluster::ConfigMap config);
  // The same over what was read: INVALID_UPDATE_VERSION when another wrote it meanwhile; nothing is written then.
  Task<Result<>> replace_config(cluster::ConfigKey key, cluster::ConfigMap config, std::int32_t version);
  // As it is in ZooKeeper now; empty when there is none.
  struct Config {
    cluster::ConfigMap values;
    std::int32_t version = absent;
    static constexpr std::int32_t absent = -2;  // there is no node
  };
  Task<Result<Config>> get_config(cluster::ConfigKey key);

 private:
  Task<Result<>> create_topic(NewTopic topic, CreateOptions options, cluster::ImagePtr image, CreatedTopic& out);
  Task<Result<>> check_name_free(std::string name);
  Task<Result<>> write_topic(std::string name, std::string assignment, std::string config);
  Task<Result<>> write_config(cluster::ConfigKey key, cluster::ConfigMap config, std::int32_t version);
  Task<Result<>> grow(NewPartitions topic, bool validate_only, cluster::ImagePtr image);

  runtime::Shard& shard_;
  zkclient::Zk& zk_;
  runtime::Random& random_;
};

// "topics", "brokers", ... and back; nothing for a foreign type.
std::string_view config_type_name(cluster::ConfigType type);
std::optional<cluster::ConfigType> config_type_of(std::string_view name);
// The path element of a key's name: "<default>" for "".
std::string config_entity(const cluster::ConfigKey& key);

}  // namespace weir::controller
