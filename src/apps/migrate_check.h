// Whether Weir can take a broker's place in a running Apache Kafka cluster: what was read about it (evidence), and what
// that means. Judging is pure; migrate_read.h reads.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apps/cluster_view.h"
#include "base/id.h"
#include "cli/findings.h"
#include "config/broker_config.h"
#include "config/properties.h"
#include "zkwire/layout.h"

namespace weir::apps {

// One of the broker's log directories, as it lies on this machine.
struct LogDirEvidence {
  std::string path;
  std::string problem;                     // it cannot be read: a sentence
  std::optional<config::Properties> meta;  // meta.properties
  bool clean = false;                      // .kafka_cleanshutdown
  std::vector<std::string> replicas;       // folders of partitions
  std::vector<std::string> old_format;     // of these, whose oldest records are of before Kafka 0.11
  std::vector<std::string> moving;         // NAME-future: a move between directories that has not ended
  std::vector<std::string> stray;          // NAME-stray: of topics that are gone
};

struct FileEvidence {
  std::vector<std::string> errors;  // with any, `config` is not to be used
  std::vector<std::string> warnings;
  config::BrokerConfig config;
};

struct MigrateEvidence {
  BrokerId broker = no_broker;
  std::string zookeeper;                // as zookeeper.connect
  bool zookeeper_tls = false;           // how it was reached
  bool zookeeper_login = false;         // by SASL
  std::vector<std::string> unreadable;  // nodes that these credentials may not read
  ClusterView cluster;
  std::string cluster_id;  // empty: none
  std::optional<zkwire::layout::Features> features;
  bool kraft_migration = false;  // a migration to KRaft has begun
  zkwire::layout::Config brokers_default;
  zkwire::layout::Config broker_own;
  std::map<std::string, zkwire::layout::Config> topic_configs;
  std::vector<std::string> reassigning;  // partitions in /admin/reassign_partitions
  std::vector<std::string> deleting;     // topics in /admin/delete_topics
  std::size_t acls = 0;                  // resources that have some
  std::size_t quotas = 0;                // users, clients and addresses that have some
  std::size_t scram_users = 0;
  std::size_t tokens = 0;
  std::optional<FileEvidence> file;
  std::vector<LogDirEvidence> log_dirs;
};

std::vector<cli::Finding> judge(const MigrateEvidence& evidence);

}  // namespace weir::apps
