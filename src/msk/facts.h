// A Kafka cluster as its znodes say: who is registered, every partition's replicas, leader and in-sync set; and the
// changes that Kafka's own tools make there. What they write any controller takes up, Weir's or Apache Kafka's.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "msk/store.h"
#include "msk/workflow.h"
#include "zkclient/zk.h"

namespace weir::msk {

// What one call needs: the shard that it runs on, the session, and the cluster's chroot. By value into coroutines.
struct KafkaView {
  runtime::Shard* shard;
  zkclient::Zk* zk;
  std::string chroot;
  std::int32_t isr_min = 1;  // min.insync.replicas of topics that do not say
};

struct TopicDescription {
  std::string name;
  std::vector<PartitionFact> partitions;  // in order
  std::map<std::string, std::string> configs;
  bool deleting = false;
};

// Registered brokers: id and life (czxid).
Task<Stored<std::map<std::int32_t, std::int64_t>>> registered_brokers(KafkaView view);
// Partitions of all topics that are not being deleted, and what is under way. The brokers' part stays empty.
Task<Stored<Facts>> partition_facts(KafkaView view);
Task<Stored<std::vector<std::string>>> topic_names(KafkaView view);
// missing: no such topic.
Task<Stored<TopicDescription>> topic(KafkaView view, std::string name);

// Writes /admin/preferred_replica_election; exists: one is under way.
Task<Stored<>> elect(KafkaView view, std::vector<Partition> partitions);
// Writes /admin/reassign_partitions; exists: one is under way.
Task<Stored<>> reassign(KafkaView view, std::map<Partition, std::vector<std::int32_t>> assignment);
// Those under way go back to where they began: to `origin`, the replicas of each; empty: none has begun.
Task<Stored<>> cancel_reassignments(KafkaView view, std::map<Partition, std::vector<std::int32_t>> origin);
// Changes /config/TYPE/NAME and tells the brokers. A value of nothing removes the key.
Task<Stored<>> set_config(KafkaView view, std::string type, std::string name,
                          std::map<std::string, std::optional<std::string>> changes);
// The keys of /config/TYPE/NAME; none when it is not there. corrupt: it cannot be read.
Task<Stored<std::map<std::string, std::string>>> config_of(KafkaView view, std::string type, std::string name);
// As set_config, where the entity is still there and the keys are not so already; what cannot be read stays.
Task<Stored<>> put_back_config(KafkaView view, std::string type, std::string name,
                               std::map<std::string, std::optional<std::string>> keys);
// exists: there is such a topic.
Task<Stored<>> create_topic(KafkaView view, std::string name, std::vector<std::vector<std::int32_t>> replicas,
                            std::map<std::string, std::string> configs);
// Partitions behind those that are there. conflict: changed meanwhile.
Task<Stored<>> add_partitions(KafkaView view, std::string name, std::vector<std::vector<std::int32_t>> replicas);
Task<Stored<>> delete_topic(KafkaView view, std::string name);
// Brokers and their racks, for assignments.
Task<Stored<std::map<std::int32_t, std::optional<std::string>>>> racks(KafkaView view);

}  // namespace weir::msk
