#include "config/broker_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/broker_rules.h"
#include "config/key.h"
#include "config/read.h"

namespace weir::config {

std::string_view name(SecurityProtocol protocol) {
  switch (protocol) {
    case SecurityProtocol::plaintext: return "PLAINTEXT";
    case SecurityProtocol::ssl: return "SSL";
    case SecurityProtocol::sasl_plaintext: return "SASL_PLAINTEXT";
    case SecurityProtocol::sasl_ssl: return "SASL_SSL";
  }
  return "PLAINTEXT";
}

std::string_view name(CompressionType type) {
  switch (type) {
    case CompressionType::producer: return "producer";
    case CompressionType::uncompressed: return "uncompressed";
    case CompressionType::gzip: return "gzip";
    case CompressionType::snappy: return "snappy";
    case CompressionType::lz4: return "lz4";
    case CompressionType::zstd: return "zstd";
  }
  return "producer";
}

std::string KafkaVersion::text() const { return fmt::format("{}.{}", major, minor); }

std::optional<KafkaVersion> parse_kafka_version(std::string_view text) {
  // 3.9, 3.9.1, 3.9-IV0; before 1.0 three numbers name a version: 0.10.2, 0.11.0-IV2.
  if (auto dash = text.find("-IV"); dash != std::string_view::npos) {
    auto revision = text.substr(dash + 3);
    if (revision.empty() || revision.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
    text = text.substr(0, dash);
  }
  int numbers[4] = {};
  int n = 0;
  for (;;) {
    auto dot = text.find('.');
    auto part = text.substr(0, dot);
    if (n == 4 || part.empty() || part.size() > 3 || part.find_first_not_of("0123456789") != std::string_view::npos) {
      return std::nullopt;
    }
    numbers[n++] = static_cast<int>(*parse_int(part));
    if (dot == std::string_view::npos) break;
    text.remove_prefix(dot + 1);
  }
  if (n < 2 || (numbers[0] == 0 && n < 3)) return std::nullopt;
  constexpr int newest_minor[] = {11, 1, 8, 9, 3};  // of 0.x, 1.x, 2.x, 3.x, 4.x
  if (numbers[0] > 4 || numbers[1] > newest_minor[numbers[0]]) return std::nullopt;
  return KafkaVersion{numbers[0], numbers[1]};
}

std::string BrokerConfig::value(std::string_view key) const {
  if (auto it = values.find(key); it != values.end()) return it->second;
  if (const Key* known = find_broker_key(key); known != nullptr && known->initial) return std::string(*known->initial);
  return {};
}

namespace {

// Earlier and other names under which a key may stand in a file; today's name wins where both are there.
constexpr std::pair<std::string_view, std::string_view> other_names[] = {
    {"node.id", "broker.id"},
    // As Amazon MSK's configurations write them.
    {"message.timestamp.type", "log.message.timestamp.type"},
    {"message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms"},
    {"message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms"},
    {"message.timestamp.difference.max.ms", "log.message.timestamp.difference.max.ms"},
};

std::string_view todays_name(std::string_view key) {
  for (auto [other, today] : other_names) {
    if (key == other) return today;
  }
  return key;
}

struct Merge {
  Properties values;
  std::vector<std::string> errors;
  std::vector<std::string> warnings;
  std::vector<std::string> accepted;
};

void merge_file(const Properties& file, Merge& m) {
  for (const auto& [written, value] : file) {
    std::string_view today = todays_name(written);
    if (today != written && file.contains(today)) continue;
    const Key* key = find_broker_key(today);
    if (key == nullptr) {
      m.warnings.push_back(fmt::format("unknown key {}: it has no effect", written));
      m.values.insert_or_assign(written, value);
      continue;
    }
    if (auto wrong = complaint(*key, value, written)) m.errors.push_back(std::move(*wrong));
    if (key->effect == Effect::accepted) m.accepted.push_back(written);
    m.values.insert_or_assign(std::string(today), value);
  }
}

void merge_dynamic(const Properties& layer, bool of_one_broker, Merge& m) {
  std::string_view where = of_one_broker ? "dynamic configuration of this broker" : "dynamic default configuration";
  for (const auto& [written, value] : layer) {
    const Key* key = find_broker_key(written);
    if (key == nullptr) {
      m.warnings.push_back(fmt::format("{}: unknown key {} is left out", where, written));
    } else if (key->update == Update::read_only) {
      m.warnings.push_back(fmt::format("{}: {} cannot change while a broker runs and is left out", where, written));
    } else if (!of_one_broker && (key->update == Update::per_broker || key->update == Update::at_start)) {
      m.warnings.push_back(fmt::format("{}: {} is for one broker at a time and is left out", where, written));
    } else if (auto wrong = complaint(*key, value, written)) {
      m.warnings.push_back(fmt::format("{}: {}; it is left out", where, *wrong));
    } else {
      m.values.insert_or_assign(written, value);
    }
  }
}

void read_zookeeper_security(const Read& r, BrokerConfig& c) {
  r.get("zookeeper.ssl.client.enable", c.zookeeper_ssl_client_enable);
  r.get("zookeeper.ssl.keystore.location", c.zookeeper_ssl_keystore_location);
  r.get("zookeeper.ssl.keystore.password", c.zookeeper_ssl_keystore_password);
  r.get("zookeeper.ssl.keystore.type", c.zookeeper_ssl_keystore_type);
  r.get("zookeeper.ssl.truststore.location", c.zookeeper_ssl_truststore_location);
  r.get("zookeeper.ssl.truststore.password", c.zookeeper_ssl_truststore_password);
  r.get("zookeeper.ssl.truststore.type", c.zookeeper_ssl_truststore_type);
  c.zookeeper_ssl_protocols = parse_list(r.text("zookeeper.ssl.enabled.protocols"));
  if (c.zookeeper_ssl_protocols.empty()) c.zookeeper_ssl_protocols = parse_list(r.text("zookeeper.ssl.protocol"));
  c.zookeeper_ssl_cipher_suites = parse_list(r.text("zookeeper.ssl.cipher.suites"));
  std::string algorithm;
  r.get("zookeeper.ssl.endpoint.identification.algorithm", algorithm);
  c.zookeeper_ssl_verify_hostname = !algorithm.empty();
  r.get("weir.zookeeper.jaas.config", c.weir_zookeeper_jaas_config);
  r.get("weir.zookeeper.sasl.username", c.weir_zookeeper_sasl_username);
  r.get("weir.zookeeper.sasl.password", c.weir_zookeeper_sasl_password);
}

void read_node(const Read& r, BrokerConfig& c) {
  r.get("broker.id", c.broker_id.value);
  r.get("broker.id.generation.enable", c.broker_id_generation);
  r.get("reserved.broker.max.id", c.reserved_broker_max_id);
  r.get("broker.rack", c.rack);
  if (auto v = parse_kafka_version(r.text("inter.broker.protocol.version"))) c.inter_broker_protocol = *v;
  c.log_dirs = parse_list(r.is_set("log.dirs") ? r.text("log.dirs") : r.text("log.dir"));
  r.get("zookeeper.connect", c.zookeeper_connect);
  r.get("zookeeper.session.timeout.ms", c.zookeeper_session_timeout_ms);
  c.zookeeper_connection_timeout_ms = c.zookeeper_session_timeout_ms;
  r.get("zookeeper.connection.timeout.ms", c.zookeeper_connection_timeout_ms);
  r.get("zookeeper.max.in.flight.requests", c.zookeeper_max_in_flight_requests);
  r.get("zookeeper.set.acl", c.zookeeper_set_acl);
  read_zookeeper_security(r, c);
  r.get("auto.leader.rebalance.enable", c.auto_leader_rebalance_enable);
  r.get("leader.imbalance.check.interval.seconds", c.leader_imbalance_check_interval_seconds);
  r.get("leader.imbalance.per.broker.percentage", c.leader_imbalance_per_broker_percentage);
  r.get("controller.socket.timeout.ms", c.controller_socket_timeout_ms);
  r.get("controlled.shutdown.enable", c.controlled_shutdown_enable);
  r.get("controlled.shutdown.max.retries", c.controlled_shutdown_max_retries);
  r.get("controlled.shutdown.retry.backoff.ms", c.controlled_shutdown_retry_backoff_ms);
  r.get("weir.shards", c.weir_shards);
  r.get("weir.pool.threads", c.weir_pool_threads);
  r.get("weir.log.open.files.max", c.weir_log_open_files_max);
  r.get("weir.flush.at.min.isr", c.weir_flush_at_min_isr);
  r.get("weir.storage.quota.bytes", c.weir_storage_quota_bytes);
}

void read_network(const Read& r, BrokerConfig& c) {
  r.get("num.network.threads", c.num_network_threads);
  r.get("num.io.threads", c.num_io_threads);
  if (r.is_set("socket.send.buffer.bytes")) r.get("socket.send.buffer.bytes", c.socket_send_buffer_bytes);
  if (r.is_set("socket.receive.buffer.bytes")) r.get("socket.receive.buffer.bytes", c.socket_receive_buffer_bytes);
  r.get("socket.request.max.bytes", c.socket_request_max_bytes);
  if (r.is_set("socket.listen.backlog.size")) r.get("socket.listen.backlog.size", c.socket_listen_backlog_size);
  r.get("max.connections", c.max_connections);
  r.get("max.connections.per.ip", c.max_connections_per_ip);
  r.get("max.connection.creation.rate", c.max_connection_creation_rate);
  r.get("connections.max.idle.ms", c.connections_max_idle_ms);
  r.get("queued.max.request.bytes", c.queued_max_request_bytes);
  r.get("queued.max.requests", c.queued_max_requests);
  r.get("request.timeout.ms", c.request_timeout_ms);
  r.get("fetch.max.bytes", c.fetch_max_bytes);
  r.get("max.incremental.fetch.session.cache.slots", c.max_incremental_fetch_session_cache_slots);
  r.get("fetch.purgatory.purge.interval.requests", c.fetch_purgatory_purge_interval_requests);
  r.get("producer.purgatory.purge.interval.requests", c.producer_purgatory_purge_interval_requests);
  r.get("max.request.partition.size.limit", c.max_request_partition_size_limit);
  // listener.name.X.max.connections and the like.
  constexpr std::string_view prefix = "listener.name.";
  for (auto it = c.values.lower_bound(prefix); it != c.values.end() && it->first.starts_with(prefix); ++it) {
    auto rest = std::string_view(it->first).substr(prefix.size());
    auto dot = rest.find('.');
    if (dot == std::string_view::npos) continue;
    std::string listener(rest.substr(0, dot));
    auto key = rest.substr(dot + 1);
    auto number = parse_int(it->second);
    if (!number) continue;
    if (key == "max.connections") c.listener_max_connections[listener] = static_cast<std::int32_t>(*number);
    if (key == "max.connection.creation.rate") {
      c.listener_max_connection_creation_rate[listener] = static_cast<std::int32_t>(*number);
    }
  }
}

void read_topics(const Read& r, BrokerConfig& c) {
  r.get("num.partitions", c.num_partitions);
  r.get("default.replication.factor", c.default_replication_factor);
  r.get("min.insync.replicas", c.min_insync_replicas);
  r.get("auto.create.topics.enable", c.auto_create_topics);
  r.get("delete.topic.enable", c.delete_topic_enable);
  r.get("message.max.bytes", c.message_max_bytes);
  r.get("unclean.leader.election.enable", c.unclean_leader_election_enable);
  r.get("num.recovery.threads.per.data.dir", c.num_recovery_threads_per_data_dir);
  r.get("log.flush.scheduler.interval.ms", c.log_flush_scheduler_interval_ms);
  r.get("log.flush.offset.checkpoint.interval.ms", c.log_flush_offset_checkpoint_interval_ms);
  r.get("log.flush.start.offset.checkpoint.interval.ms", c.log_flush_start_offset_checkpoint_interval_ms);
  r.get("log.retention.check.interval.ms", c.log_retention_check_interval_ms);
  r.get("log.initial.task.delay.ms", c.log_initial_task_delay_ms);
  r.get("log.dir.failure.timeout.ms", c.log_dir_failure_timeout_ms);
  r.get("log.cleaner.enable", c.log_cleaner_enable);
  r.get("log.cleaner.threads", c.log_cleaner_threads);
  r.get("log.cleaner.dedupe.buffer.size", c.log_cleaner_dedupe_buffer_size);
  r.get("log.cleaner.io.buffer.load.factor", c.log_cleaner_dedupe_buffer_load_factor);
  r.get("log.cleaner.io.buffer.size", c.log_cleaner_io_buffer_size);
  r.get("log.cleaner.io.max.bytes.per.second", c.log_cleaner_io_max_bytes_per_second);
  r.get("log.cleaner.backoff.ms", c.log_cleaner_backoff_ms);
}

void read_replication(const Read& r, BrokerConfig& c) {
  r.get("replica.lag.time.max.ms", c.replica_lag_time_max_ms);
  r.get("replica.fetch.max.bytes", c.replica_fetch_max_bytes);
  r.get("replica.fetch.response.max.bytes", c.replica_fetch_response_max_bytes);
  r.get("replica.fetch.min.bytes", c.replica_fetch_min_bytes);
  r.get("replica.fetch.wait.max.ms", c.replica_fetch_wait_max_ms);
  r.get("replica.fetch.backoff.ms", c.replica_fetch_backoff_ms);
  r.get("replica.socket.timeout.ms", c.replica_socket_timeout_ms);
  if (r.is_set("replica.socket.receive.buffer.bytes"))
    r.get("replica.socket.receive.buffer.bytes", c.replica_socket_receive_buffer_bytes);
  r.get("replica.high.watermark.checkpoint.interval.ms", c.replica_high_watermark_checkpoint_interval_ms);
  c.rack_aware_reads = r.text("replica.selector.class") == rack_aware_selector;
  r.get("num.replica.fetchers", c.num_replica_fetchers);
  r.get("leader.replication.throttled.rate", c.leader_replication_throttled_rate);
  r.get("follower.replication.throttled.rate", c.follower_replication_throttled_rate);
  r.get("replication.quota.window.num", c.replication_quota_window_num);
  r.get("replication.quota.window.size.seconds", c.replication_quota_window_size_seconds);
}

void read_coordinators(const Read& r, BrokerConfig& c) {
  r.get("producer.id.expiration.ms", c.producer_id_expiration_ms);
  r.get("producer.id.expiration.check.interval.ms", c.producer_id_expiration_check_interval_ms);
  r.get("transactional.id.expiration.ms", c.transactional_id_expiration_ms);
  r.get("transaction.max.timeout.ms", c.transaction_max_timeout_ms);
  r.get("transaction.state.log.replication.factor", c.transaction_state_log_replication_factor);
  r.get("transaction.state.log.num.partitions", c.transaction_state_log_num_partitions);
  r.get("transaction.state.log.segment.bytes", c.transaction_state_log_segment_bytes);
  r.get("transaction.state.log.min.isr", c.transaction_state_log_min_isr);
  r.get("transaction.state.log.load.buffer.size", c.transaction_state_log_load_buffer_size);
  r.get("transaction.abort.timed.out.transaction.cleanup.interval.ms",
        c.transaction_abort_timed_out_transaction_cleanup_interval_ms);
  r.get("transaction.remove.expired.transaction.cleanup.interval.ms",
        c.transaction_remove_expired_transaction_cleanup_interval_ms);
  r.get("transaction.partition.verification.enable", c.transaction_partition_verification_enable);
  r.get("group.min.session.timeout.ms", c.group_min_session_timeout_ms);
  r.get("group.max.session.timeout.ms", c.group_max_session_timeout_ms);
  r.get("group.initial.rebalance.delay.ms", c.group_initial_rebalance_delay_ms);
  r.get("group.max.size", c.group_max_size);
  r.get("offset.metadata.max.bytes", c.offset_metadata_max_bytes);
  r.get("offsets.load.buffer.size", c.offsets_load_buffer_size);
  r.get("offsets.topic.replication.factor", c.offsets_topic_replication_factor);
  r.get("offsets.topic.num.partitions", c.offsets_topic_num_partitions);
  r.get("offsets.topic.segment.bytes", c.offsets_topic_segment_bytes);
  r.get("offsets.topic.compression.codec", c.offsets_topic_compression_codec);
  r.get("offsets.retention.minutes", c.offsets_retention_minutes);
  r.get("offsets.retention.check.interval.ms", c.offsets_retention_check_interval_ms);
  r.get("offsets.commit.timeout.ms", c.offsets_commit_timeout_ms);
  r.get("offsets.commit.required.acks", c.offsets_commit_required_acks);
}

}  // namespace

namespace {

std::expected<LoadedBrokerConfig, std::vector<std::string>> load_merged(const Properties& values) {
  LoadedBrokerConfig loaded;
  std::vector<std::string> errors;
  BrokerConfig& c = loaded.config;
  c.values = values;
  Read r{c.values};
  read_node(r, c);
  read_network(r, c);
  read_topics(r, c);
  read_replication(r, c);
  read_coordinators(r, c);
  read_listeners(r, c, errors, loaded.warnings);
  check_unsupported(r, errors, loaded.warnings);
  check_rules(r, c, errors, loaded.warnings);
  if (!errors.empty()) return std::unexpected(std::move(errors));
  return loaded;
}

}  // namespace

std::expected<LoadedBrokerConfig, std::vector<std::string>> load_broker_config(const BrokerLayers& layers) {
  Merge m;
  merge_file(layers.file, m);
  if (!m.errors.empty()) return std::unexpected(std::move(m.errors));
  Properties of_file = m.values;
  merge_dynamic(layers.dynamic_default, false, m);
  merge_dynamic(layers.dynamic_broker, true, m);

  auto loaded = load_merged(m.values);
  if (!loaded && m.values != of_file) {
    // Each value is good by itself, but together they are not: what the file says must do.
    std::vector<std::string> why = std::move(loaded.error());
    loaded = load_merged(of_file);
    for (const auto& reason : why) m.warnings.push_back("dynamic configuration is left out: " + reason);
  }
  if (!loaded) return loaded;
  loaded->warnings.insert(loaded->warnings.begin(), m.warnings.begin(), m.warnings.end());
  loaded->accepted = std::move(m.accepted);
  return loaded;
}

}  // namespace weir::config
