// The image of the cluster: brokers, topics, partitions, configs, as of one moment. Immutable: whoever holds an
// ImagePtr reads it on any thread without a lock; a change makes the next image, which shares all that is alike
// (a partition's change copies about 64 partitions and two small tables).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/uuid.h"
#include "cluster/persistent_map.h"

namespace weir::cluster {

struct Endpoint {
  std::string listener;  // "PLAINTEXT"
  std::string protocol;  // "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"
  std::string host;
  std::int32_t port = 0;
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};
struct FeatureRange {
  std::int16_t min = 0;
  std::int16_t max = 0;
  friend bool operator==(const FeatureRange&, const FeatureRange&) = default;
};

// A broker that is alive.
struct Broker {
  BrokerId id = no_broker;
  BrokerEpoch epoch{-1};
  std::optional<std::string> rack;
  std::vector<Endpoint> endpoints;
  std::map<std::string, FeatureRange> features;

  // Null when the broker does not have that listener.
  const Endpoint* endpoint(std::string_view listener) const;
  friend bool operator==(const Broker&, const Broker&) = default;
};

struct Partition {
  std::vector<BrokerId> replicas;
  std::vector<BrokerId> adding;  // KIP-455
  std::vector<BrokerId> removing;
  BrokerId leader = no_broker;                 // -1: none now; -2: the topic is being deleted
  LeaderEpoch leader_epoch = no_leader_epoch;  // -1: has no state yet
  std::vector<BrokerId> isr;
  std::vector<BrokerId> offline;         // replicas the controller called offline
  std::int32_t version = -1;             // of its znode; "partition epoch" of LeaderAndIsr
  ControllerEpoch controller_epoch{-1};  // that wrote it
  std::int8_t leader_recovery_state = 0;

  bool has_state() const { return leader_epoch.value >= 0; }
  friend bool operator==(const Partition&, const Partition&) = default;
};

// Partitions 0 to size() - 1, shared in groups.
class Partitions {
 public:
  std::size_t size() const { return size_; }
  // Null when there is no such partition.
  const Partition* find(PartitionId id) const;
  void set(PartitionId id, Partition partition);  // id may be size(): appends; above: those between are empty
  template <class Fn>
  void each(Fn&& fn) const {  // fn(PartitionId, const Partition&), ascending
    for (std::size_t i = 0; i < size_; ++i) {
      const PartitionId id{static_cast<std::int32_t>(i)};
      fn(id, *find(id));
    }
  }

 private:
  static constexpr std::size_t group_size = 64;
  using Group = std::vector<Partition>;
  std::vector<std::shared_ptr<Group>> groups_;  // never changed while shared
  std::size_t size_ = 0;
};

struct Topic {
  std::string name;
  Uuid id;  // zero: has none
  Partitions partitions;
};
using TopicPtr = std::shared_ptr<const Topic>;

enum class ConfigType : std::uint8_t { topic, broker, client, user, ip };
struct ConfigKey {
  ConfigType type = ConfigType::topic;
  std::string name;  // "" is the default entity ("<default>"); a user's client: "alice/clients/app", sanitized
  friend auto operator<=>(const ConfigKey&, const ConfigKey&) = default;
};
using ConfigMap = std::map<std::string, std::string>;

struct NameHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view name) const { return std::hash<std::string_view>{}(name); }
};
struct ConfigKeyHash {
  std::size_t operator()(const ConfigKey& key) const {
    return std::hash<std::string>{}(key.name) * 31 + static_cast<std::size_t>(key.type);
  }
};

class Image {
 public:
  const std::string& cluster_id() const { return cluster_id_; }
  BrokerId controller() const { return controller_; }
  ControllerEpoch controller_epoch() const { return controller_epoch_; }

  const std::map<BrokerId, std::shared_ptr<const Broker>>& brokers() const { return *brokers_; }
  const Broker* broker(BrokerId id) const;  // null: not alive
  bool alive(BrokerId id) const { return broker(id) != nullptr; }

  std::size_t topic_count() const { return topics_.size(); }
  std::size_t partition_count() const { return partition_count_; }
  TopicPtr topic(std::string_view name) const;  // null: no such topic
  TopicPtr topic(const Uuid& id) const;
  const Partition* partition(std::string_view topic, PartitionId id) const;
  template <class Fn>
  void each_topic(Fn&& fn) const {  // fn(const TopicPtr&), in no order
    topics_.each([&](const std::string&, const TopicPtr& topic) { fn(topic); });
  }

  bool deleting(std::string_view topic) const { return deleting_->contains(topic); }
  const std::set<std::string, std::less<>>& topics_deleting() const { return *deleting_; }

  // Only what is set for that entity; empty when nothing is.
  const ConfigMap& config(const ConfigKey& key) const;
  template <class Fn>
  void each_config(Fn&& fn) const {  // fn(const ConfigKey&, const ConfigMap&)
    configs_.each([&](const ConfigKey& key, const std::shared_ptr<const ConfigMap>& map) { fn(key, *map); });
  }

  // For a Metadata answer on `listener`: the leader's endpoint there. Null when there is no leader, it is not
  // alive, or has no such listener (LEADER_NOT_AVAILABLE, LISTENER_NOT_FOUND; partition->leader and alive() tell).
  const Endpoint* leader_endpoint(const Partition& partition, std::string_view listener) const;
  // Replicas that are not alive, and those the controller called offline.
  std::vector<BrokerId> offline_replicas(const Partition& partition) const;

 private:
  friend class ImageBuilder;
  std::string cluster_id_;
  BrokerId controller_ = no_broker;
  ControllerEpoch controller_epoch_{-1};
  std::shared_ptr<const std::map<BrokerId, std::shared_ptr<const Broker>>> brokers_ =
      std::make_shared<std::map<BrokerId, std::shared_ptr<const Broker>>>();
  PersistentMap<std::string, TopicPtr, NameHash> topics_;
  PersistentMap<Uuid, std::string> topics_by_id_;
  std::size_t partition_count_ = 0;
  std::shared_ptr<const std::set<std::string, std::less<>>> deleting_ =
      std::make_shared<std::set<std::string, std::less<>>>();
  PersistentMap<ConfigKey, std::shared_ptr<const ConfigMap>, ConfigKeyHash> configs_;
};
using ImagePtr = std::shared_ptr<const Image>;

ImagePtr empty_image();

// The changes from one image to the next. Cheap to make; build() may be called once.
class ImageBuilder {
 public:
  explicit ImageBuilder(ImagePtr base) : base_(std::move(base)), next_(std::make_shared<Image>(*base_)) {}

  ImageBuilder& set_cluster_id(std::string id);
  ImageBuilder& set_controller(BrokerId id, ControllerEpoch epoch);
  ImageBuilder& put_broker(Broker broker);
  ImageBuilder& remove_broker(BrokerId id);
  ImageBuilder& set_brokers(std::vector<Broker> all);  // replaces all
  // Makes the topic when it is missing; gives it an id when it had none. Another id: the old topic is replaced.
  ImageBuilder& put_topic(std::string_view name, const Uuid& id);
  ImageBuilder& remove_topic(std::string_view name);  // with its deletion mark; its config stays
  // The topic is made when it is missing (without an id).
  ImageBuilder& put_partition(std::string_view topic, PartitionId id, Partition partition);
  ImageBuilder& mark_deleting(std::string_view topic);
  ImageBuilder& unmark_deleting(std::string_view topic);
  ImageBuilder& set_config(ConfigKey key, ConfigMap config);  // empty: removed

  // What the image would be; for reading while building.
  const Image& now() const { return *next_; }
  ImagePtr build();

 private:
  Topic& writable(std::string_view name);

  ImagePtr base_;  // kept until build(): see PersistentMap::writable
  std::shared_ptr<Image> next_;
  std::map<std::string, std::shared_ptr<Topic>, std::less<>> fresh_;  // topics of `next_` that nobody else has
};

}  // namespace weir::cluster
