#include "apps/migrate_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "config/key.h"

namespace weir::apps {

namespace layout = zkwire::layout;
using cli::Finding;
using cli::Level;
using cli::some_of;

namespace {

constexpr config::KafkaVersion oldest{1, 1};
constexpr config::KafkaVersion oldest_tried{2, 2};
constexpr config::KafkaVersion newest{3, 9};
constexpr auto npos = std::string::npos;

// Whether Weir has listeners of this security protocol.
bool served(std::string_view protocol) { return protocol == "PLAINTEXT" || protocol == "SSL"; }

// Classes of Java that a broker may be given, which Weir cannot run.
constexpr std::string_view class_keys[] = {
    "alter.config.policy.class.name",
    "client.quota.callback.class",
    "create.topic.policy.class.name",
    "kafka.metrics.reporters",
    "metric.reporters",
    "replica.selector.class",
};

std::string plural(std::size_t n, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", n, n == 1 ? one : many);
}

class Judge {
 public:
  explicit Judge(const MigrateEvidence& evidence) : e_(evidence), me_(evidence.broker) {}

  std::vector<Finding> all() {
    if (!zookeeper()) return std::move(out_);
    controller();
    registration();
    other_brokers();
    version();
    file();
    log_dirs();
    partitions();
    changes();
    topics();
    dynamic_config();
    security();
    for (const auto& problem : e_.cluster.problems) {
      warn("znode", problem, "this node is left out by Weir too; mend or remove it");
    }
    return std::move(out_);
  }

 private:
  void ok(std::string subject, std::string text) {
    out_.push_back({Level::ok, std::move(subject), std::move(text), {}});
  }
  void warn(std::string subject, std::string text, std::string advice) {
    out_.push_back({Level::warning, std::move(subject), std::move(text), std::move(advice)});
  }
  void block(std::string subject, std::string text, std::string advice) {
    out_.push_back({Level::blocks, std::move(subject), std::move(text), std::move(advice)});
  }

  // The value in force of a key, as far as it is known: dynamic, from the file, or nothing.
  std::optional<std::string> in_force(const std::string& key) const {
    for (const auto* layer : {&e_.broker_own, &e_.brokers_default}) {
      if (auto it = layer->find(key); it != layer->end()) return it->second;
    }
    if (e_.file && e_.file->errors.empty()) {
      if (auto it = e_.file->config.values.find(key); it != e_.file->config.values.end()) return it->second;
    }
    return std::nullopt;
  }
  std::string of_topic(const std::string& topic, const std::string& key, const std::string& broker_key,
                       const std::string& initial) const {
    if (auto config = e_.topic_configs.find(topic); config != e_.topic_configs.end()) {
      if (auto it = config->second.find(key); it != config->second.end()) return it->second;
    }
    return in_force(broker_key).value_or(initial);
  }

  const config::BrokerConfig* config() const { return e_.file && e_.file->errors.empty() ? &e_.file->config : nullptr; }

  // False: too little could be read to judge.
  bool zookeeper() {
    if (!e_.unreadable.empty()) {
      block("ZooKeeper", "these nodes may be read by the brokers only: " + some_of(e_.unreadable),
            "look with the brokers' credentials: --zk-jaas-config-file, --zk-tls-config-file, or the keys of "
            "server.properties");
      return false;
    }
    const auto before = out_.size();
    if (const auto* file = config()) {
      const auto chroot = [](const std::string& connect) {
        const auto slash = connect.find('/');
        return slash == std::string::npos || slash + 1 == connect.size() ? std::string("/") : connect.substr(slash);
      };
      if (chroot(file->zookeeper_connect) != chroot(e_.zookeeper)) {
        block("ZooKeeper", fmt::format("zookeeper.connect={}, but looked at {}", file->zookeeper_connect, e_.zookeeper),
              "check --zookeeper and its chroot");
      }
      if (e_.zookeeper_login && file->weir_zookeeper_jaas_config.empty() &&
          file->weir_zookeeper_sasl_username.empty()) {
        block("ZooKeeper", "the credentials for it are not in the broker's file",
              "write weir.zookeeper.jaas.config=FILE into it; Java's brokers ignore that key");
      }
      if (e_.zookeeper_tls && !file->zookeeper_ssl_client_enable) {
        block("ZooKeeper", "it was reached by TLS, which the broker's file does not ask for",
              "write zookeeper.ssl.client.enable=true and the stores' keys into it");
      }
    }
    if (out_.size() != before) return true;
    const auto* by = e_.zookeeper_tls && e_.zookeeper_login ? "by TLS, logged in by SASL"
                     : e_.zookeeper_tls                     ? "by TLS"
                     : e_.zookeeper_login                   ? "logged in by SASL"
                                                            : "without TLS and SASL";
    ok("ZooKeeper", by);
    return true;
  }

  void controller() {
    if (e_.cluster_id.empty()) {
      return block("cluster", "there is no Kafka cluster here: /cluster/id is missing",
                   "check --zookeeper, with the chroot of zookeeper.connect");
    }
    ok("cluster", "id " + e_.cluster_id);
    const auto& controller = e_.cluster.controller;
    if (!controller || controller->broker == no_broker) {
      return block("controller", "no broker is controller",
                   "wait until the cluster has one; look at its brokers' logs");
    }
    const bool allowed = in_force("zookeeper.metadata.migration.enable") == "true";
    if (controller->kraft_epoch >= 0 || e_.kraft_migration || allowed) {
      return block("controller",
                   allowed ? "zookeeper.metadata.migration.enable=true: this cluster is to be migrated to KRaft"
                           : "a migration of this cluster to KRaft has begun",
                   "Weir serves clusters on ZooKeeper; end that migration or take it back first");
    }
    if (controller->broker == me_) {
      return warn("controller", "this broker is the controller",
                  "another becomes controller when it stops; to keep that apart, replace this broker last");
    }
    ok("controller", fmt::format("broker {}", controller->broker.value));
  }

  void listeners(const std::vector<layout::Endpoint>& endpoints, const std::string& of) {
    std::vector<std::string> secured;
    for (const auto& endpoint : endpoints) {
      if (!served(endpoint.protocol)) secured.push_back(fmt::format("{} ({})", endpoint.listener, endpoint.protocol));
    }
    if (secured.empty()) return ok("listeners", of + " without SASL");
    block("listeners", fmt::format("{} {}", of, some_of(secured)),
          "this version of Weir serves PLAINTEXT and SSL listeners: clients and brokers have to use such a one first");
  }

  void registration() {
    const auto it = e_.cluster.brokers.find(me_);
    if (it != e_.cluster.brokers.end()) return listeners(it->second.endpoints, "registered:");
    const auto is_mine = [this](const auto& topic) {
      return std::ranges::any_of(topic.second.partitions, [this](const auto& partition) {
        return std::ranges::find(partition.second.replicas, me_) != partition.second.replicas.end();
      });
    };
    if (std::ranges::none_of(e_.cluster.topics, is_mine)) {
      return block("broker", fmt::format("broker {} is not registered and no partition has a replica on it", me_.value),
                   "check --broker-id");
    }
    warn("broker", fmt::format("broker {} does not run", me_.value),
         "when it was stopped for this, start Weir; else find out first why it is gone");
  }

  // Weir fetches from the other brokers, and they from it, on the inter-broker listener.
  void other_brokers() {
    if (e_.cluster.brokers.size() - e_.cluster.brokers.count(me_) == 0) {
      return warn("brokers", "there is no other broker", "the cluster is down while this broker is replaced");
    }
    std::optional<std::string> listener;
    if (e_.file && e_.file->errors.empty()) listener = e_.file->config.inter_broker_listener;
    std::vector<std::string> unreachable;
    for (const auto& [id, broker] : e_.cluster.brokers) {
      if (id == me_) continue;
      const auto fits = [&](const layout::Endpoint& endpoint) {
        return served(endpoint.protocol) && (!listener || endpoint.listener == *listener);
      };
      if (std::ranges::none_of(broker.endpoints, fits)) unreachable.push_back(fmt::format("broker {}", id.value));
    }
    if (unreachable.empty()) return ok("brokers", plural(e_.cluster.brokers.size(), "broker runs", "brokers run"));
    block("brokers",
          fmt::format("no listener{} without SASL for replication at {}", listener ? " " + *listener : "",
                      some_of(unreachable)),
          "give all brokers a PLAINTEXT or SSL listener and name it in inter.broker.listener.name");
  }

  // The levels at which the brokers run must be one, and what was finalized (KIP-584) must be what Weir has: nothing.
  void levels() {
    std::vector<std::string> before, since;
    for (const auto& [id, broker] : e_.cluster.brokers) {
      (broker.version >= 5 ? since : before).push_back(fmt::format("broker {}", id.value));
    }
    if (!before.empty() && !since.empty()) {
      warn("version",
           fmt::format("{} run with an inter.broker.protocol.version before 2.7, {} with one from 2.7", some_of(before),
                       some_of(since)),
           "end that upgrade first");
    }
    std::vector<std::string> finalized;
    if (e_.features && e_.features->enabled) {
      for (const auto& [feature, level] : e_.features->levels)
        finalized.push_back(fmt::format("{}={}", feature, level));
    }
    if (!finalized.empty()) {
      block("features", "finalized: " + some_of(finalized),
            "Weir has none of them, and the controller would ignore it: take them back (kafka-features downgrade)");
    }
  }

  void version() {
    levels();
    const auto it = e_.cluster.brokers.find(me_);
    // Brokers register in version 5 from 2.7 on.
    const std::optional<bool> since_2_7 =
        it == e_.cluster.brokers.end() ? std::nullopt : std::optional<bool>(it->second.version >= 5);
    const auto written = e_.file && e_.file->errors.empty() ? in_force("inter.broker.protocol.version") : std::nullopt;
    const auto range = fmt::format("{} to {}", oldest.text(), newest.text());
    if (written) {
      const auto version = config::parse_kafka_version(*written);
      if (!version || *version < oldest || *version > newest) {
        block("version", "inter.broker.protocol.version=" + *written, "Weir speaks the versions from " + range);
      } else if (since_2_7 && *since_2_7 != (*version >= config::KafkaVersion{2, 7})) {
        block("version",
              fmt::format("inter.broker.protocol.version={} in the file, but the broker runs with one {} 2.7", *written,
                          *since_2_7 ? "from" : "before"),
              "the file is not what the broker runs with, or it was not restarted since: settle that first");
      } else if (*version < oldest_tried) {
        warn("version", "inter.broker.protocol.version=" + *written,
             fmt::format("Weir is tested beside Apache Kafka from {} on: raise it first", oldest_tried.text()));
      } else {
        ok("version", "inter.broker.protocol.version=" + *written);
      }
    } else if (since_2_7 && !*since_2_7) {
      block(
          "version", "the brokers talk in a version before 2.7, and inter.broker.protocol.version is not known here",
          "write it into server.properties (as the other brokers have it; their Kafka's version if they have none) and "
          "give --config: without it Weir talks as 3.9");
    } else {
      warn(
          "version", "inter.broker.protocol.version is not known here",
          "write it into server.properties (as the other brokers have it; their Kafka's version if they have none) and "
          "give --config: without it Weir talks as 3.9");
    }
    if (const auto format = in_force("log.message.format.version"))
      message_format("log.message.format.version", *format);
  }

  void message_format(const std::string& what, const std::string& value) {
    const auto format = config::parse_kafka_version(value);
    if (format && *format >= config::KafkaVersion{0, 11}) return;
    block("message format", fmt::format("{}={}", what, value),
          "Weir writes the record format of Kafka 0.11 and later: raise it first, when all clients are 0.11 or later");
  }

  void file() {
    if (!e_.file) {
      return warn("configuration", "not looked at", "give --config FILE on the broker's machine");
    }
    for (const auto& error : e_.file->errors) block("configuration", error, "Weir would not start with this file");
    if (!e_.file->errors.empty()) return;
    const auto& config = e_.file->config;
    if (config.broker_id.value >= 0 && config.broker_id != me_) {
      block("configuration", fmt::format("broker.id={}, but --broker-id {}", config.broker_id.value, me_.value),
            "check which broker is meant");
    }
    std::vector<layout::Endpoint> endpoints;
    for (const auto& listener : config.listeners) {
      endpoints.push_back(
          {listener.listener, std::string(config::name(listener.protocol)), listener.host, listener.port});
    }
    listeners(endpoints, "configured:");
    std::vector<std::string> classes;
    for (const auto key : class_keys) {
      const auto value = in_force(std::string(key)).value_or("");
      const bool selector_of_kafka = value.starts_with("org.apache.kafka.common.replica.");
      const bool told = std::ranges::any_of(e_.file->warnings, [&](const std::string& warning) {
        return warning.starts_with(std::string(key) + "=");  // as a warning of the file, below
      });
      if (!value.empty() && !selector_of_kafka && !told) classes.push_back(fmt::format("{}={}", key, value));
    }
    if (!classes.empty()) {
      warn("configuration", "classes of Java: " + some_of(classes), "Weir cannot run them: do without them first");
    }
    for (const auto& warning : e_.file->warnings) warn("configuration", warning, "Weir goes on without it");
    if (e_.file->warnings.empty()) ok("configuration", "every key is known");
  }

  void log_dirs() {
    if (e_.log_dirs.empty()) {
      return warn("log directories", "not looked at", "give --config or --log-dirs on the broker's machine");
    }
    const bool runs = e_.cluster.brokers.contains(me_);
    for (const auto& dir : e_.log_dirs) log_dir(dir, runs);
    not_there();
  }

  // Replicas that the cluster gives this broker, and no directory has.
  void not_there() {
    std::set<std::string> there;
    for (const auto& dir : e_.log_dirs) {
      if (!dir.problem.empty()) return;
      there.insert(dir.replicas.begin(), dir.replicas.end());
    }
    if (there.empty()) return;  // is said of each
    std::vector<std::string> missing;
    for (const auto& [topic, assignment] : e_.cluster.topics) {
      for (const auto& [partition, replicas] : assignment.partitions) {
        auto name = fmt::format("{}-{}", topic, partition.value);
        const bool mine = std::ranges::find(replicas.replicas, me_) != replicas.replicas.end();
        if (mine && !there.contains(name)) missing.push_back(std::move(name));
      }
    }
    if (!missing.empty()) {
      warn("log directories", plural(missing.size(), "replica is", "replicas are") + " in none: " + some_of(missing),
           "check that all directories are named; Weir would fetch what is missing from the other brokers");
    }
  }

  void log_dir(const LogDirEvidence& dir, bool runs) {
    const auto subject = "log directory " + dir.path;
    if (!dir.problem.empty()) {
      return block(subject, dir.problem, "run this on the broker's machine, as the user that the broker runs as");
    }
    if (!dir.meta) {
      if (!dir.replicas.empty()) {
        return block(subject, "it has partitions, but no meta.properties", "this is not the directory of a broker");
      }
      return warn(subject, "it is empty", "the broker fetches all its partitions from the others");
    }
    const auto value = [&](const char* key) {
      const auto it = dir.meta->find(key);
      return it == dir.meta->end() ? std::string() : it->second;
    };
    bool fine = true;
    const auto bad = [&](std::string text, std::string advice) {
      fine = false;
      block(subject, std::move(text), std::move(advice));
    };
    if (value("version") != "0") {
      bad("meta.properties has version " + value("version"), "it belongs to a cluster without ZooKeeper");
    }
    // Before Kafka 2.3 the file does not name the cluster.
    if (dir.meta->contains("cluster.id") && value("cluster.id") != e_.cluster_id) {
      bad(fmt::format("it belongs to cluster {}, not to {}", value("cluster.id"), e_.cluster_id),
          "check the directory");
    }
    if (value("broker.id") != std::to_string(me_.value)) {
      bad(fmt::format("it belongs to broker {}", value("broker.id")), "check --broker-id and the directory");
    }
    if (!dir.moving.empty()) {
      bad("replicas are being moved between directories: " + some_of(dir.moving),
          "wait until that has ended (kafka-log-dirs)");
    }
    if (!dir.old_format.empty()) {
      bad("records in a format of before Kafka 0.11: " + some_of(dir.old_format),
          "Weir cannot give them to other brokers and clients: wait until retention has removed them, or copy these "
          "topics into new ones");
    }
    if (!dir.stray.empty()) warn(subject, "left-overs of deleted topics: " + some_of(dir.stray), "they can be removed");
    if (!runs && !dir.clean) {
      warn(subject, "the broker did not stop cleanly", "Weir looks through the end of every log at its first start");
    }
    if (fine) ok(subject, fmt::format("of this broker, with {}", plural(dir.replicas.size(), "replica", "replicas")));
  }

  void partitions() {
    std::vector<std::string> offline, lagging, elsewhere, alone, last, loses_now, loses_always;
    std::size_t mine = 0;
    for (const auto& [topic, assignment] : e_.cluster.topics) {
      for (const auto& [partition, replicas] : assignment.partitions) {
        const auto name = fmt::format("{}-{}", topic, partition.value);
        const bool here = std::ranges::find(replicas.replicas, me_) != replicas.replicas.end();
        if (here) ++mine;
        if (here && replicas.replicas.size() == 1) {
          alone.push_back(name);
          continue;
        }
        const auto found = e_.cluster.states.find({topic, partition});
        if (found == e_.cluster.states.end() || found->second.leader.value < 0) {
          offline.push_back(name);
          continue;
        }
        const auto& isr = found->second.isr;
        const bool in_sync = std::ranges::find(isr, me_) != isr.end();
        const bool whole = isr.size() >= replicas.replicas.size();
        if (here && !in_sync) lagging.push_back(name);
        if (!whole && (!here || in_sync)) elsewhere.push_back(name);
        if (!here || !in_sync) continue;
        const auto min =
            config::parse_int(of_topic(topic, "min.insync.replicas", "min.insync.replicas", "1")).value_or(1);
        if (isr.size() == 1) {
          last.push_back(name);
        } else if (static_cast<std::int64_t>(isr.size()) - 1 < min) {
          (whole ? loses_always : loses_now).push_back(name);
        }
      }
    }
    const auto count = [](const std::vector<std::string>& names) {
      return fmt::format("{}: {}", plural(names.size(), "partition", "partitions"), some_of(names));
    };
    if (!offline.empty()) block("partitions", "without a leader, " + count(offline), "bring their brokers back first");
    if (!last.empty()) {
      block("partitions", "only this broker is in sync, " + count(last),
            "wait until other replicas are in sync: without this broker these partitions are gone");
    }
    if (!loses_now.empty()) {
      block("partitions", "too few other replicas are in sync for min.insync.replicas, " + count(loses_now),
            "wait until the other replicas are in sync: producers with acks=all could not write meanwhile");
    }
    if (!loses_always.empty()) {
      warn("partitions", "min.insync.replicas asks for all replicas, " + count(loses_always),
           "producers with acks=all cannot write while this broker is away; lower min.insync.replicas meanwhile");
    }
    if (!alone.empty()) {
      warn("partitions", "this broker has the only replica, " + count(alone),
           "they cannot be used while it is away; give them more replicas (kafka-reassign-partitions)");
    }
    if (!lagging.empty()) {
      warn("partitions", "this broker is not in sync, " + count(lagging), "better wait until it is");
    }
    if (!elsewhere.empty()) {
      warn("partitions", "replicas on other brokers are not in sync, " + count(elsewhere),
           "better wait until they are (kafka-topics --describe --under-replicated-partitions)");
    }
    if (offline.empty() && last.empty() && loses_now.empty() && lagging.empty() && elsewhere.empty()) {
      ok("partitions", fmt::format("all in sync; this broker has {}", plural(mine, "replica", "replicas")));
    }
  }

  void changes() {
    std::set<std::string> moving(e_.reassigning.begin(), e_.reassigning.end());
    for (const auto& [topic, assignment] : e_.cluster.topics) {
      for (const auto& [partition, replicas] : assignment.partitions) {
        if (replicas.being_reassigned()) moving.insert(fmt::format("{}-{}", topic, partition.value));
      }
    }
    if (moving.empty()) {
      ok("reassignments", "none under way");
    } else {
      block("reassignments", "under way: " + some_of({moving.begin(), moving.end()}),
            "wait until they have ended (kafka-reassign-partitions --list)");
    }
    if (!e_.deleting.empty()) {
      warn("topics", "being deleted: " + some_of(e_.deleting), "a deletion ends only when all its brokers are there");
    }
  }

  void topics() {
    if (const auto it = e_.cluster.topics.find("__transaction_state"); it != e_.cluster.topics.end()) {
      block("transactions", "they are in use: there is a topic __transaction_state",
            "this version of Weir does not coordinate transactions; producers with transactional.id would fail");
    } else {
      ok("transactions", "none were ever used");
    }
    std::vector<std::string> compacted, tiered, unknown;
    for (const auto& [topic, config] : e_.topic_configs) {
      if (!e_.cluster.topics.contains(topic)) continue;
      for (const auto& [key, value] : config) {
        const auto* known = config::topic_keys().find(key);
        if (known == nullptr) {
          unknown.push_back(fmt::format("{} ({})", key, topic));
        } else if (const auto complaint = config::complaint(*known, value)) {
          warn("topics", fmt::format("{}: {}", topic, *complaint), "Weir takes the default instead; mend it");
        }
        if (key == "message.format.version") message_format(topic + " message.format.version", value);
      }
    }
    for (const auto& [topic, assignment] : e_.cluster.topics) {
      if (of_topic(topic, "cleanup.policy", "log.cleanup.policy", "delete").find("compact") != std::string::npos) {
        compacted.push_back(topic);
      }
      if (of_topic(topic, "remote.storage.enable", "", "false") == "true") tiered.push_back(topic);
    }
    if (!unknown.empty())
      warn("topics", "settings that Weir does not know: " + some_of(unknown), "they have no effect in Weir");
    if (!compacted.empty()) {
      warn("compaction", plural(compacted.size(), "compacted topic: ", "compacted topics: ") + some_of(compacted),
           "this version of Weir keeps all their records: mind the disk");
    }
    if (!tiered.empty() || in_force("remote.log.storage.system.enable") == "true") {
      block("tiered storage", tiered.empty() ? "remote.log.storage.system.enable=true" : "in use: " + some_of(tiered),
            "Weir has none: what lies in the remote storage could not be read");
    }
  }

  void dynamic_config() {
    std::vector<std::string> unknown;
    for (const auto* layer : {&e_.brokers_default, &e_.broker_own}) {
      for (const auto& [key, value] : *layer) {
        if (config::find_broker_key(key) == nullptr) unknown.push_back(key);
      }
    }
    if (!unknown.empty()) {
      warn("dynamic configuration", "keys that Weir does not know: " + some_of(unknown), "they have no effect in Weir");
    }
  }

  void security() {
    const bool authorizer = !in_force("authorizer.class.name").value_or("").empty();
    const bool ignored = in_force("weir.ignore.unsupported").value_or("").find("authorizer.class.name") != npos;
    const auto what =
        e_.acls > 0 ? plural(e_.acls, "resource has", "resources have") + " ACLs" : "an authorizer is configured";
    if (!authorizer && e_.acls == 0) {
      ok("ACLs", "none");
    } else if (ignored) {
      warn("ACLs", what + ", and the file has weir.ignore.unsupported=authorizer.class.name",
           "this version of Weir does not look at ACLs: on it everybody may do everything");
    } else {
      block("ACLs", what + (authorizer ? ": with authorizer.class.name Weir does not start" : ""),
            "this version of Weir does not look at ACLs: on it everybody may do everything; when that is wanted, write "
            "weir.ignore.unsupported=authorizer.class.name into the file, which Java's brokers ignore");
    }
    if (e_.quotas > 0) {
      warn("quotas", plural(e_.quotas, "user, client or address has", "users, clients or addresses have") + " a quota",
           "this version of Weir does not throttle clients");
    }
    if (e_.scram_users > 0) {
      warn("SCRAM", plural(e_.scram_users, "user has", "users have") + " SCRAM credentials",
           "this version of Weir has no SASL listeners: such clients cannot log in to it");
    }
    if (e_.tokens > 0) {
      warn("delegation tokens", plural(e_.tokens, "token", "tokens"), "this version of Weir has no SASL listeners");
    }
  }

  const MigrateEvidence& e_;
  BrokerId me_;
  std::vector<Finding> out_;
};

}  // namespace

std::vector<Finding> judge(const MigrateEvidence& evidence) { return Judge(evidence).all(); }

}  // namespace weir::apps
