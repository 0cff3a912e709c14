#include "config/broker_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/zk_connect.h"

namespace weir::config {

namespace {

std::string upper(std::string_view s) {
  std::string out(s);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

std::optional<SecurityProtocol> parse_protocol(std::string_view text) {
  std::string t = upper(text);
  for (auto p : {SecurityProtocol::plaintext, SecurityProtocol::ssl, SecurityProtocol::sasl_plaintext,
                 SecurityProtocol::sasl_ssl}) {
    if (t == name(p)) return p;
  }
  return std::nullopt;
}

// Host and port of "HOST:PORT" or "[V6]:PORT"; the host may be empty.
std::optional<HostPort> split_host_port(std::string_view text) {
  auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  auto host = text.substr(0, colon);
  auto port_text = text.substr(colon + 1);
  if (port_text.empty() || port_text.size() > 5 ||
      port_text.find_first_not_of("0123456789") != std::string_view::npos) {
    return std::nullopt;
  }
  auto port = parse_int(port_text);
  if (!port || *port > 65535) return std::nullopt;
  if (host.starts_with('[')) {
    if (!host.ends_with(']') || host.size() < 3) return std::nullopt;
    host = host.substr(1, host.size() - 2);
    if (host.find_first_not_of("0123456789abcdefABCDEF:.%") == std::string_view::npos ||
        host.find('%') != std::string_view::npos) {
      return HostPort{std::string(host), static_cast<std::uint16_t>(*port)};
    }
    return std::nullopt;
  }
  constexpr std::string_view good = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._";
  if (host.find_first_not_of(good) != std::string_view::npos) return std::nullopt;
  return HostPort{std::string(host), static_cast<std::uint16_t>(*port)};
}

using ProtocolMap = std::map<std::string, SecurityProtocol, std::less<>>;

ProtocolMap read_protocol_map(const Read& r, std::vector<std::string>& errors) {
  constexpr std::string_view key = "listener.security.protocol.map";
  ProtocolMap map;
  for (const auto& item : parse_list(r.text(key))) {
    auto colon = item.rfind(':');
    auto protocol =
        colon == std::string::npos ? std::nullopt : parse_protocol(std::string_view(item).substr(colon + 1));
    if (colon == 0 || !protocol) {
      errors.push_back(
          fmt::format("{}={}: must be NAME:PROTOCOL separated by commas, with a protocol of PLAINTEXT, "
                      "SSL, SASL_PLAINTEXT, SASL_SSL",
                      key, r.text(key)));
      break;
    }
    if (!map.emplace(upper(std::string_view(item).substr(0, colon)), *protocol).second) {
      errors.push_back(fmt::format("{}={}: names a listener twice", key, r.text(key)));
      break;
    }
  }
  return map;
}

bool is_v6(const std::string& host) { return host.find(':') != std::string::npos; }

std::vector<Endpoint> read_endpoints(std::string_view key, std::string_view text, const ProtocolMap& map,
                                     std::vector<std::string>& errors) {
  std::vector<Endpoint> out;
  for (const auto& item : parse_list(text)) {
    if (item.empty()) {
      errors.push_back(fmt::format("{}={}: must not have an empty item", key, text));
      return {};
    }
    auto slashes = item.find("://");
    auto address =
        slashes == std::string::npos ? std::nullopt : split_host_port(std::string_view(item).substr(slashes + 3));
    if (slashes == 0 || !address) {
      errors.push_back(
          fmt::format("{}={}: must be NAME://HOST:PORT separated by commas, with a port from 0 to 65535", key, text));
      return {};
    }
    Endpoint e;
    e.listener = upper(std::string_view(item).substr(0, slashes));
    e.host = address->host;
    e.port = address->port;
    auto protocol = map.find(e.listener);
    if (protocol == map.end()) {
      errors.push_back(fmt::format("{}={}: listener {} must have a security protocol in listener.security.protocol.map",
                                   key, text, e.listener));
      return {};
    }
    e.protocol = protocol->second;
    out.push_back(std::move(e));
  }
  std::set<std::string> names;
  for (const auto& e : out) names.insert(e.listener);
  // One name may stand twice where one address is IPv4 and the other IPv6 (KIP-797).
  bool pairs = std::ranges::all_of(out, [&](const Endpoint& e) {
    return std::ranges::count_if(
               out, [&](const Endpoint& o) { return o.listener == e.listener && is_v6(o.host) == is_v6(e.host); }) == 1;
  });
  if (!pairs || (names.size() != out.size() && key != "listeners")) {
    errors.push_back(fmt::format("{}={}: each listener must have a name of its own", key, text));
    return {};
  }
  return out;
}

// Of Kafka before 3.0: host.name and port, where listeners are not set.
std::string listeners_text(const Read& r) {
  if (r.is_set("listeners") || (!r.is_set("host.name") && !r.is_set("port"))) return std::string(r.text("listeners"));
  return fmt::format("PLAINTEXT://{}:{}", r.text("host.name"), r.text("port"));
}

std::optional<std::string> advertised_text(const Read& r) {
  if (r.is_set("advertised.listeners")) return std::string(r.text("advertised.listeners"));
  if (!r.is_set("advertised.host.name") && !r.is_set("advertised.port")) return std::nullopt;
  auto host = r.is_set("advertised.host.name") ? r.text("advertised.host.name") : r.text("host.name");
  auto port = r.is_set("advertised.port") ? r.text("advertised.port") : r.text("port");
  return fmt::format("PLAINTEXT://{}:{}", host, port);
}

void read_inter_broker(const Read& r, BrokerConfig& c, const ProtocolMap& map, std::vector<std::string>& errors) {
  if (r.is_set("inter.broker.listener.name")) {
    if (r.is_set("security.inter.broker.protocol")) {
      errors.push_back(
          fmt::format("inter.broker.listener.name={}: must not be set together with "
                      "security.inter.broker.protocol",
                      r.text("inter.broker.listener.name")));
      return;
    }
    c.inter_broker_listener = upper(r.text("inter.broker.listener.name"));
    if (!map.contains(c.inter_broker_listener)) {
      errors.push_back(
          fmt::format("inter.broker.listener.name={}: must be a listener of "
                      "listener.security.protocol.map",
                      c.inter_broker_listener));
      return;
    }
  } else {
    c.inter_broker_listener = upper(r.text("security.inter.broker.protocol"));
  }
  if (std::ranges::none_of(c.advertised, [&](const Endpoint& e) { return e.listener == c.inter_broker_listener; })) {
    errors.push_back(fmt::format(
        "{}={}: must be one of the advertised listeners",
        r.is_set("inter.broker.listener.name") ? "inter.broker.listener.name" : "security.inter.broker.protocol",
        c.inter_broker_listener));
  }
}

// listener.name.X.KEY with an X that is no listener: a misspelt name would go unseen.
void warn_of_other_listeners(const Read& r, const BrokerConfig& c, std::vector<std::string>& warnings) {
  constexpr std::string_view prefix = "listener.name.";
  for (auto it = r.values.lower_bound(prefix); it != r.values.end() && it->first.starts_with(prefix); ++it) {
    if (find_broker_key(it->first) == nullptr) continue;  // is said as an unknown key
    const auto rest = std::string_view(it->first).substr(prefix.size());
    const auto listener = rest.substr(0, rest.find('.'));
    const bool lower = std::ranges::none_of(listener, [](char l) { return l >= 'A' && l <= 'Z'; });
    const auto is_it = [&](const Endpoint& e) { return lower && e.listener == upper(listener); };
    if (std::ranges::any_of(c.listeners, is_it)) continue;
    warnings.push_back(fmt::format("{} has no effect: there is no listener {}{}", it->first, listener,
                                   lower ? "" : " (here a listener's name stands in lower case)"));
  }
}

// The same directory twice, as far as the text tells.
bool each_once(const std::vector<std::string>& directories) {
  std::set<std::string> seen;
  return std::ranges::all_of(directories, [&](const std::string& directory) {
    auto path = std::filesystem::path(directory).lexically_normal().string();
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    return seen.insert(std::move(path)).second;
  });
}

constexpr std::string_view authorizer_key = "authorizer.class.name";

// Keys by which a user asks for something that is then not done. `unless`: the value that asks for nothing.
struct Unsupported {
  std::string_view key;
  std::string_view unless;
  std::string_view why;
};
constexpr Unsupported unsupported[] = {
    {"alter.config.policy.class.name", "", "classes of Java are not run: configurations are altered without asking it"},
    {"client.quota.callback.class", "", "classes of Java are not run: clients are not throttled"},
    {"control.plane.listener.name", "", "the controller's requests come on the inter-broker listener"},
    {"create.topic.policy.class.name", "", "classes of Java are not run: topics are created without asking it"},
    {"delegation.token.master.key", "", "there are no delegation tokens"},
    {"delegation.token.secret.key", "", "there are no delegation tokens"},
    {"kafka.metrics.reporters", "", "classes of Java are not run: weir.metrics.listener has the metrics"},
    {"metric.reporters", "org.apache.kafka.common.metrics.JmxReporter",
     "classes of Java are not run: weir.metrics.listener has the metrics"},
    {"principal.builder.class", "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder",
     "classes of Java are not run: principals are Kafka's own"},
    {"quota.consumer.default", "9223372036854775807", "clients are not throttled"},
    {"quota.producer.default", "9223372036854775807", "clients are not throttled"},
    {"remote.log.storage.system.enable", "false",
     "there is no tiered storage: all records stay on this broker's disks"},
    {"sasl.enabled.mechanisms", "", "there are no listeners with SASL"},
    {"ssl.engine.factory.class", "", "classes of Java are not run: TLS has the stores that other keys name"},
};

}  // namespace

std::string Endpoint::text() const {
  if (is_v6(host)) return fmt::format("{}://[{}]:{}", listener, host, port);
  return fmt::format("{}://{}:{}", listener, host, port);
}

std::optional<HostPort> parse_host_port(std::string_view text) {
  auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return std::nullopt;
  auto address = split_host_port(text.substr(first, text.find_last_not_of(" \t") - first + 1));
  if (!address || address->host.empty()) return std::nullopt;
  return address;
}

void read_listeners(const Read& r, BrokerConfig& c, std::vector<std::string>& errors,
                    std::vector<std::string>& warnings) {
  std::size_t errors_before = errors.size();
  ProtocolMap map = read_protocol_map(r, errors);
  if (errors.size() > errors_before) return;
  for (std::string_view old : {"host.name", "port", "advertised.host.name", "advertised.port"}) {
    if (r.is_set(old)) {
      warnings.push_back(fmt::format("{} is of Kafka before 3.0: use {}listeners", old,
                                     old.starts_with("advertised") ? "advertised." : ""));
    }
  }
  std::string text = listeners_text(r);
  c.listeners = read_endpoints("listeners", text, map, errors);
  if (c.listeners.empty() && errors.size() == errors_before) errors.push_back("listeners=: must not be empty");
  if (auto advertised = advertised_text(r)) {
    c.advertised = read_endpoints("advertised.listeners", *advertised, map, errors);
    if (c.advertised.empty() && errors.size() == errors_before) {
      errors.push_back("advertised.listeners=: must not be empty");
    }
  } else {
    for (const Endpoint& e : c.listeners) {
      if (std::ranges::none_of(c.advertised, [&](const Endpoint& a) { return a.listener == e.listener; })) {
        c.advertised.push_back(e);
      }
    }
  }
  if (errors.size() > errors_before) return;
  for (const Endpoint& e : c.advertised) {
    bool from_listeners = !advertised_text(r).has_value();
    if (e.host == "0.0.0.0" || e.host == "::") {
      errors.push_back(
          fmt::format("{}={}: clients cannot connect to {}: set advertised.listeners to an address of "
                      "this machine",
                      from_listeners ? "listeners" : "advertised.listeners", e.text(), e.host));
    }
    if (std::ranges::none_of(c.listeners, [&](const Endpoint& l) { return l.listener == e.listener; })) {
      errors.push_back(fmt::format("advertised.listeners={}: must be a listener of listeners", e.text()));
    }
  }
  for (std::size_t i = 0; i < c.listeners.size(); ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      const Endpoint& a = c.listeners[i];
      const Endpoint& b = c.listeners[k];
      // The same port is good for different addresses; an empty host is all of them.
      bool clash = a.port != 0 && a.port == b.port && is_v6(a.host) == is_v6(b.host) &&
                   (a.host == b.host || a.host.empty() || b.host.empty());
      if (clash) errors.push_back(fmt::format("listeners={}: each listener must have a port of its own", text));
    }
  }
  if (errors.size() > errors_before) return;
  warn_of_other_listeners(r, c, warnings);
  read_inter_broker(r, c, map, errors);

  for (const auto& item : parse_list(r.text("max.connections.per.ip.overrides"))) {
    auto colon = item.rfind(':');
    auto number = colon == std::string::npos ? std::nullopt : parse_int(std::string_view(item).substr(colon + 1));
    if (colon == 0 || !number || *number < 0 || *number > 2147483647) {
      errors.push_back(fmt::format("max.connections.per.ip.overrides={}: must be HOST:NUMBER separated by commas",
                                   r.text("max.connections.per.ip.overrides")));
      break;
    }
    c.max_connections_per_ip_overrides[item.substr(0, colon)] = static_cast<std::int32_t>(*number);
  }
  if (r.is_set("weir.metrics.listener") && !r.text("weir.metrics.listener").empty()) {
    c.weir_metrics_listener = parse_host_port(r.text("weir.metrics.listener"));
    if (!c.weir_metrics_listener) {
      errors.push_back(fmt::format("weir.metrics.listener={}: must be HOST:PORT", r.text("weir.metrics.listener")));
    }
  }
}

void check_unsupported(const Read& r, std::vector<std::string>& errors, std::vector<std::string>& warnings) {
  std::string authorizer;
  r.get(authorizer_key, authorizer);
  const auto ignored = parse_list(r.text("weir.ignore.unsupported"));
  if (!authorizer.empty() && std::ranges::find(ignored, authorizer_key) == ignored.end()) {
    errors.push_back(
        fmt::format("{0}={1}: must not be set: Weir has no ACLs yet, and everybody could do everything. Where that is "
                    "wanted, remove the key, or set weir.ignore.unsupported={0}",
                    authorizer_key, authorizer));
  } else if (!authorizer.empty()) {
    warnings.push_back(
        fmt::format("{}={} has no effect, and weir.ignore.unsupported says that it need not: Weir has no ACLs yet, and "
                    "everybody may do everything",
                    authorizer_key, authorizer));
  }
  for (const auto& [key, unless, why] : unsupported) {
    std::string value;
    r.get(key, value);
    if (!r.is_set(key) || value.empty() || value == unless) continue;
    const Key* known = find_broker_key(key);
    const bool hidden = known != nullptr && known->type == Type::password;
    warnings.push_back(fmt::format("{}={} has no effect: {}", key, hidden ? "[hidden]" : value, why));
  }
  const auto policies = parse_list(r.text("log.cleanup.policy"));
  if (std::ranges::find(policies, "compact") != policies.end()) {
    warnings.push_back(fmt::format("log.cleanup.policy={}: Weir does not compact yet; topics keep every record{}",
                                   r.text("log.cleanup.policy"),
                                   policies.size() > 1 ? " until retention removes it" : ""));
  }
}

void check_rules(const Read& r, const BrokerConfig& c, std::vector<std::string>& errors,
                 std::vector<std::string>& warnings) {
  auto must = [&](bool good, std::string_view key, std::string_view what) {
    if (!good) errors.push_back(fmt::format("{}={}: must be {}", key, r.text(key), what));
  };
  if (c.zookeeper_connect.empty()) {
    must(false, "zookeeper.connect", "set: Weir keeps the cluster's state in ZooKeeper");
  } else if (auto where = parse_zk_connect(c.zookeeper_connect); !where) {
    errors.push_back(fmt::format("zookeeper.connect={}: {}", c.zookeeper_connect, where.error()));
  }
  if (r.is_set("process.roles") && !r.text("process.roles").empty()) {
    errors.push_back(fmt::format("process.roles={}: must not be set: Weir runs in ZooKeeper mode, not KRaft",
                                 r.text("process.roles")));
  }
  if (c.broker_id_generation) {
    must(c.broker_id.value >= -1, "broker.id", "at least -1");
    must(c.broker_id.value <= c.reserved_broker_max_id, "broker.id",
         fmt::format("at most reserved.broker.max.id ({})", c.reserved_broker_max_id));
  } else {
    must(c.broker_id.value >= 0, "broker.id", "at least 0, as broker.id.generation.enable is false");
  }
  must(!c.log_dirs.empty() && std::ranges::none_of(c.log_dirs, &std::string::empty),
       r.is_set("log.dirs") ? "log.dirs" : "log.dir", "one directory or more, separated by commas");
  must(each_once(c.log_dirs), r.is_set("log.dirs") ? "log.dirs" : "log.dir", "directories, each named once");
  for (std::string_view key : {"log.retention.ms", "log.retention.minutes", "log.retention.hours"}) {
    auto v = parse_int(r.text(key));
    if (v) must(*v == -1 || *v >= 1, key, "at least 1, or -1");
  }
  if (auto v = parse_int(r.text("log.roll.ms"))) must(*v >= 1, "log.roll.ms", "at least 1");
  if (auto v = parse_int(r.text("log.roll.jitter.ms"))) must(*v >= 0, "log.roll.jitter.ms", "at least 0");
  must(c.replica_fetch_wait_max_ms <= c.replica_socket_timeout_ms, "replica.fetch.wait.max.ms",
       fmt::format("at most replica.socket.timeout.ms ({})", c.replica_socket_timeout_ms));
  must(c.replica_fetch_wait_max_ms <= c.replica_lag_time_max_ms, "replica.fetch.wait.max.ms",
       fmt::format("at most replica.lag.time.max.ms ({})", c.replica_lag_time_max_ms));
  must(c.offsets_commit_required_acks >= -1 && c.offsets_commit_required_acks <= c.offsets_topic_replication_factor,
       "offsets.commit.required.acks",
       fmt::format("between -1 and offsets.topic.replication.factor ({})", c.offsets_topic_replication_factor));
  must(c.offsets_topic_compression_codec >= 0 && c.offsets_topic_compression_codec <= 4,
       "offsets.topic.compression.codec", "between 0 and 4");
  must(c.group_max_session_timeout_ms > c.group_min_session_timeout_ms, "group.max.session.timeout.ms",
       fmt::format("more than group.min.session.timeout.ms ({})", c.group_min_session_timeout_ms));
  must(c.queued_max_request_bytes <= 0 || c.queued_max_request_bytes >= c.socket_request_max_bytes,
       "queued.max.request.bytes",
       fmt::format("at least socket.request.max.bytes ({}), or -1", c.socket_request_max_bytes));
  must(c.max_connections_per_ip > 0 || !c.max_connections_per_ip_overrides.empty(), "max.connections.per.ip",
       "at least 1, or max.connections.per.ip.overrides must name who may connect");
  must(c.socket_send_buffer_bytes >= -1, "socket.send.buffer.bytes", "at least -1");
  must(c.socket_receive_buffer_bytes >= -1, "socket.receive.buffer.bytes", "at least -1");
  must(c.default_replication_factor >= 1, "default.replication.factor", "at least 1");
  must(c.offset_metadata_max_bytes >= 0, "offset.metadata.max.bytes", "at least 0");
  must(c.zookeeper_session_timeout_ms >= 1, "zookeeper.session.timeout.ms", "at least 1");
  must(c.weir_zookeeper_jaas_config.empty() || c.weir_zookeeper_sasl_username.empty(), "weir.zookeeper.jaas.config",
       "left out where weir.zookeeper.sasl.username is set");
  must(c.weir_zookeeper_sasl_username.empty() || r.is_set("weir.zookeeper.sasl.password"),
       "weir.zookeeper.sasl.password", "set, as weir.zookeeper.sasl.username is");
  // Kafka does not start either: nodes would be made for a creator that nobody is.
  const bool certificate = c.zookeeper_ssl_client_enable && !c.zookeeper_ssl_keystore_location.empty();
  const bool login = !c.weir_zookeeper_jaas_config.empty() || !c.weir_zookeeper_sasl_username.empty();
  must(!c.zookeeper_set_acl || certificate || login, "zookeeper.set.acl",
       "false where ZooKeeper does not know this broker: set weir.zookeeper.jaas.config, or "
       "weir.zookeeper.sasl.username, or zookeeper.ssl.client.enable with zookeeper.ssl.keystore.location");
  for (std::string_view key : {"zookeeper.ssl.crl.enable", "zookeeper.ssl.ocsp.enable"}) {
    if (parse_bool(r.text(key)) == true) {
      warnings.push_back(fmt::format("{}=true has no effect: revocation is not checked", key));
    }
  }
  const auto selector = r.text("replica.selector.class");
  if (!selector.empty() && selector != rack_aware_selector && selector != leader_selector) {
    warnings.push_back(fmt::format("replica.selector.class={} is a class of Java's and has no effect: {} is known",
                                   selector, rack_aware_selector));
  }
  must(c.inter_broker_protocol < KafkaVersion{4, 0}, "inter.broker.protocol.version",
       "at most 3.9, the last version of Kafka with ZooKeeper");
  must(c.inter_broker_protocol >= KafkaVersion{1, 1}, "inter.broker.protocol.version",
       "at least 1.1, the first version that Weir can stand beside");
  if (r.is_set("node.id") && r.is_set("broker.id")) {
    must(parse_int(r.text("node.id")) == c.broker_id.value, "node.id", "the same as broker.id");
  }
  if (r.is_set("log.message.timestamp.difference.max.ms")) {
    warnings.push_back(
        "log.message.timestamp.difference.max.ms is of Kafka before 3.6: use log.message.timestamp.before.max.ms and "
        "log.message.timestamp.after.max.ms");
  }
}

}  // namespace weir::config
