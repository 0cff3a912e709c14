#include "msk/codec.h"

#include <boost/json.hpp>
#include <charconv>
#include <concepts>
#include <type_traits>

namespace weir::msk {
namespace {

namespace json = boost::json;

constexpr int record_version = 1;

template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsMap : std::false_type {};
template <class K, class V>
struct IsMap<std::map<K, V>> : std::true_type {};

template <class V, class Record>
void identity(V& v, Record& r) {
  v("id", r.id);
  v("name", r.name);
  v("arn", r.arn);
}

// Each record's fields, in one place for both directions.
template <class V>
void fields(V& v, ClusterSpec& s) {
  v("kafkaVersion", s.kafka_version);
  v("previousVersion", s.previous_version);
  v("configurationArn", s.configuration_arn);
  v("configurationRevision", s.configuration_revision);
  v("serverProperties", s.server_properties);
  v("defaults", s.defaults);
  v("brokers", s.brokers);
  v("instanceType", s.instance_type);
  v("volumeGib", s.volume_gib);
  v("clientBroker", s.client_broker);
  v("inCluster", s.in_cluster);
  v("mutualTls", s.mutual_tls);
  v("unauthenticated", s.unauthenticated);
  v("monitoring", s.monitoring);
  v("jmxExporter", s.jmx_exporter);
  v("nodeExporter", s.node_exporter);
  v("storageMode", s.storage_mode);
  v("rebalancing", s.rebalancing);
  v("clientAuthentication", s.client_authentication);
  v("loggingInfo", s.logging_info);
  v("connectivityInfo", s.connectivity_info);
  v("provisionedThroughput", s.provisioned_throughput);
  v("zookeeperAccess", s.zookeeper_access);
}
template <class V>
void fields(V& v, Cluster& c) {
  identity(v, c);
  v("state", c.state);
  v("stateCode", c.state_code);
  v("stateMessage", c.state_message);
  v("currentVersion", c.current_version);
  v("created", c.created);
  v("activeOperation", c.active_operation);
  v("tags", c.tags);
  v("subnets", c.subnets);
  v("securityGroups", c.security_groups);
  v("zones", c.zones);
  v("block", c.block);
  v("members", c.members);
  v("spec", c.spec);
  v("policy", c.policy);
  v("policyVersion", c.policy_version);
  v("supervised", c.supervised);
}
template <class V>
void fields(V& v, Step& s) {
  v("kind", s.kind);
  v("broker", s.broker);
  v("begun", s.begun);
  v("done", s.done);
  v("note", s.note);
}
template <class V>
void fields(V& v, Operation& o) {
  v("id", o.id);
  v("arn", o.arn);
  v("clusterId", o.cluster_id);
  v("clusterArn", o.cluster_arn);
  v("type", o.type);
  v("requestId", o.request_id);
  v("state", o.state);
  v("created", o.created);
  v("ended", o.ended);
  v("errorCode", o.error_code);
  v("errorText", o.error_text);
  v("steps", o.steps);
  v("from", o.from);
  v("to", o.to);
  v("goingBack", o.going_back);
  v("leaveEmpty", o.leave_empty);
  v("sourceInfo", o.source_info);
  v("targetInfo", o.target_info);
  v("createdBrokers", o.created_brokers);
  v("deletedBrokers", o.deleted_brokers);
  v("rebootedBrokers", o.rebooted_brokers);
  v("replicasBefore", o.replicas_before);
  v("settingsBefore", o.settings_before);
}
template <class V>
void fields(V& v, Revision& r) {
  v("number", r.number);
  v("created", r.created);
  v("description", r.description);
  v("serverProperties", r.server_properties);
}
template <class V>
void fields(V& v, Configuration& c) {
  identity(v, c);
  v("description", c.description);
  v("created", c.created);
  v("kafkaVersions", c.kafka_versions);
  v("revisions", c.revisions);
}
template <class V>
void fields(V& v, VpcConnection& c) {
  identity(v, c);
  v("clusterArn", c.cluster_arn);
  v("clusterId", c.cluster_id);
  v("authentication", c.authentication);
  v("vpcId", c.vpc_id);
  v("subnets", c.subnets);
  v("securityGroups", c.security_groups);
  v("state", c.state);
  v("created", c.created);
  v("tags", c.tags);
}

std::string_view name_of(ClusterState s) { return name(s); }
std::string_view name_of(ClientBroker c) { return name(c); }
std::string_view name_of(StepKind k) { return name(k); }
std::string_view name_of(OperationState s) {
  switch (s) {
    case OperationState::pending: return "PENDING";
    case OperationState::in_progress: return "IN_PROGRESS";
    case OperationState::complete: return "COMPLETE";
    case OperationState::failed: return "FAILED";
  }
  return "FAILED";
}
bool from_name(std::string_view text, ClusterState& out) {
  const auto found = parse_cluster_state(text);
  if (found) out = *found;
  return found.has_value();
}
bool from_name(std::string_view text, ClientBroker& out) {
  const auto found = parse_client_broker(text);
  if (found) out = *found;
  return found.has_value();
}
bool from_name(std::string_view text, StepKind& out) {
  const auto found = parse_step_kind(text);
  if (found) out = *found;
  return found.has_value();
}
bool from_name(std::string_view text, OperationState& out) {
  for (const auto s :
       {OperationState::pending, OperationState::in_progress, OperationState::complete, OperationState::failed}) {
    if (name_of(s) != text) continue;
    out = s;
    return true;
  }
  return false;
}

template <class T>
json::value write(T& field);

struct Writer {
  json::object out;
  template <class T>
  void operator()(std::string_view key, T& field) {
    out.emplace(key, write(field));
  }
};

template <class T>
json::value write(T& field) {
  if constexpr (std::is_same_v<T, milliseconds>) {
    return field.count();
  } else if constexpr (std::is_same_v<T, std::string>) {
    return json::value(std::string_view(field));
  } else if constexpr (std::is_enum_v<T>) {
    return json::value(name_of(field));
  } else if constexpr (std::is_arithmetic_v<T>) {
    return field;
  } else if constexpr (IsVector<T>::value) {
    json::array out;
    for (auto& item : field) out.push_back(write(item));
    return out;
  } else if constexpr (IsMap<T>::value) {
    json::object out;
    for (auto& [key, item] : field) {
      if constexpr (std::is_integral_v<typename T::key_type>) {
        out.emplace(std::to_string(key), write(item));
      } else {
        out.emplace(key, write(item));
      }
    }
    return out;
  } else {
    Writer writer;
    fields(writer, field);
    return std::move(writer.out);
  }
}

template <class T>
bool read(const json::value& from, T& field);

struct Reader {
  const json::object& from;
  std::string wrong;
  template <class T>
  void operator()(std::string_view key, T& field) {
    const auto* found = from.if_contains(key);
    if (found != nullptr && !read(*found, field) && wrong.empty()) wrong = key;
  }
};

template <class T>
bool read(const json::value& from, T& field) {
  if constexpr (std::is_same_v<T, milliseconds>) {
    if (!from.is_int64()) return false;
    field = milliseconds(from.as_int64());
    return true;
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!from.is_string()) return false;
    field = std::string(std::string_view(from.as_string()));
    return true;
  } else if constexpr (std::is_enum_v<T>) {
    return from.is_string() && from_name(std::string_view(from.as_string()), field);
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!from.is_bool()) return false;
    field = from.as_bool();
    return true;
  } else if constexpr (std::is_integral_v<T>) {
    if (!from.is_int64() || !std::in_range<T>(from.as_int64())) return false;
    field = static_cast<T>(from.as_int64());
    return true;
  } else if constexpr (IsVector<T>::value) {
    if (!from.is_array()) return false;
    for (const auto& item : from.as_array()) {
      if (!read(item, field.emplace_back())) return false;
    }
    return true;
  } else if constexpr (IsMap<T>::value) {
    if (!from.is_object()) return false;
    for (const auto& item : from.as_object()) {
      typename T::key_type key{};
      const std::string_view text(item.key());
      if constexpr (std::is_integral_v<typename T::key_type>) {
        const auto end = text.data() + text.size();
        if (std::from_chars(text.data(), end, key).ptr != end) return false;
      } else {
        key = std::string(text);
      }
      if (!read(item.value(), field[key])) return false;
    }
    return true;
  } else {
    if (!from.is_object()) return false;
    Reader reader{from.as_object(), {}};
    fields(reader, field);
    return reader.wrong.empty();
  }
}

template <class T>
std::string to_text(T record) {
  auto value = write(record);
  value.as_object().emplace("recordVersion", record_version);
  return json::serialize(value);
}

template <class T>
std::expected<void, std::string> from_text(std::string_view text, T& out) {
  boost::system::error_code error;
  const auto value = json::parse(text, error);
  if (error || !value.is_object()) return std::unexpected("the record is not a JSON object");
  Reader reader{value.as_object(), {}};
  fields(reader, out);
  if (!reader.wrong.empty()) return std::unexpected("the record's field " + reader.wrong + " cannot be read");
  return {};
}

}  // namespace

std::string encode(const Cluster& cluster) { return to_text(cluster); }
std::string encode(const Operation& operation) { return to_text(operation); }
std::string encode(const Configuration& configuration) { return to_text(configuration); }
std::string encode(const VpcConnection& connection) { return to_text(connection); }

std::expected<void, std::string> decode(std::string_view text, Cluster& out) { return from_text(text, out); }
std::expected<void, std::string> decode(std::string_view text, Operation& out) { return from_text(text, out); }
std::expected<void, std::string> decode(std::string_view text, Configuration& out) { return from_text(text, out); }
std::expected<void, std::string> decode(std::string_view text, VpcConnection& out) { return from_text(text, out); }

}  // namespace weir::msk
