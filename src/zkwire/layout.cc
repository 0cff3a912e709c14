#include "zkwire/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <charconv>
#include <limits>
#include <utility>

#include "base/printable.h"

namespace weir::zkwire::layout {
namespace {

namespace json = boost::json;

// --- writing: Kafka's serializer escapes what JSON demands and nothing else -------------------------------------

void put_text(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += fmt::format("\\u{:04X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
        } else {
          out += c;
        }
    }
  }
  out += '"';
}
std::string quoted(std::string_view text) {
  std::string out;
  put_text(out, text);
  return out;
}

template <class Range, class Fn>
std::string joined(const Range& range, Fn one) {
  std::string out;
  for (const auto& item : range) {
    if (!out.empty()) out += ',';
    out += one(item);
  }
  return out;
}
std::string ids(const std::vector<BrokerId>& brokers) {
  return "[" + joined(brokers, [](BrokerId id) { return fmt::to_string(id.value); }) + "]";
}

// --- reading ----------------------------------------------------------------------------------------------------

// What a decoder throws inside this file; never leaves it.
struct Bad {
  std::string why;
};
[[noreturn]] void bad(std::string why) { throw Bad{std::move(why)}; }

std::string shown(std::string_view data) {
  constexpr std::size_t shown_max = 120;
  return data.size() <= shown_max ? printable(data)
                                  : fmt::format("{}... ({} bytes)", printable(data.substr(0, shown_max)), data.size());
}

// Runs `decode(root)` and makes an error of whatever goes wrong.
template <class Fn>
auto reading(std::string_view path, std::string_view data, Fn decode)
    -> Result<decltype(decode(std::declval<const json::object&>()))> {
  boost::system::error_code ec;
  const json::value root = json::parse({data.data(), data.size()}, ec);
  if (ec)
    return fail(ErrorCode::UNKNOWN_SERVER_ERROR,
                fmt::format("{} is no JSON ({}): {}", path, ec.message(), shown(data)));
  const auto* object = root.if_object();
  if (object == nullptr) {
    return fail(ErrorCode::UNKNOWN_SERVER_ERROR, fmt::format("{} is no JSON object: {}", path, shown(data)));
  }
  try {
    return decode(*object);
  } catch (const Bad& e) {
    return fail(ErrorCode::UNKNOWN_SERVER_ERROR, fmt::format("{}: {}: {}", path, e.why, shown(data)));
  }
}

const json::value* find(const json::object& object, std::string_view key) {
  return object.if_contains({key.data(), key.size()});
}
const json::value& need(const json::object& object, std::string_view key) {
  const auto* value = find(object, key);
  if (value == nullptr) bad(fmt::format("'{}' is missing", key));
  return *value;
}
std::string_view text_of(const json::value& value, std::string_view key) {
  const auto* text = value.if_string();
  if (text == nullptr) bad(fmt::format("'{}' is no text", key));
  return {text->data(), text->size()};
}
template <class Int>
Int int_of(const json::value& value, std::string_view key) {
  std::int64_t number = 0;
  if (const auto* i = value.if_int64()) {
    number = *i;
  } else {
    bad(fmt::format("'{}' is no integer in range", key));
  }
  if (number < std::numeric_limits<Int>::min() || number > std::numeric_limits<Int>::max()) {
    bad(fmt::format("'{}' is out of range", key));
  }
  return static_cast<Int>(number);
}
std::optional<std::int64_t> parse_int(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}
// Kafka writes some numbers as text.
std::int64_t number_in_text(const json::value& value, std::string_view key) {
  if (value.is_int64()) return value.get_int64();
  const auto number = parse_int(text_of(value, key));
  if (!number) bad(fmt::format("'{}' is no number", key));
  return *number;
}
const json::object& object_of(const json::value& value, std::string_view key) {
  const auto* object = value.if_object();
  if (object == nullptr) bad(fmt::format("'{}' is no object", key));
  return *object;
}
const json::array& array_of(const json::value& value, std::string_view key) {
  const auto* array = value.if_array();
  if (array == nullptr) bad(fmt::format("'{}' is no list", key));
  return *array;
}
std::vector<BrokerId> ids_of(const json::value& value, std::string_view key) {
  std::vector<BrokerId> out;
  for (const auto& item : array_of(value, key)) out.emplace_back(int_of<std::int32_t>(item, key));
  return out;
}
std::string_view view(json::string_view text) { return {text.data(), text.size()}; }

std::string upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : static_cast<char>(c);
  });
  return out;
}

// "SSL://[::1]:9093"
Endpoint endpoint_of(std::string_view text, const std::map<std::string, std::string>* protocols) {
  Endpoint out;
  const auto scheme = text.find("://");
  if (scheme == std::string_view::npos || scheme == 0) bad("an endpoint has no listener name");
  out.listener = upper(text.substr(0, scheme));
  std::string_view rest = text.substr(scheme + 3);
  const auto colon = rest.rfind(':');
  if (colon == std::string_view::npos) bad("an endpoint has no port");
  const auto port = parse_int(rest.substr(colon + 1));
  if (!port || *port < -1 || *port > 65535) bad("an endpoint has a port out of range");
  out.port = static_cast<std::int32_t>(*port);
  std::string_view host = rest.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  out.host = std::string(host);
  if (protocols == nullptr) {
    out.protocol = out.listener;
  } else {
    const auto found = protocols->find(out.listener);
    if (found == protocols->end()) bad(fmt::format("listener {} has no security protocol", out.listener));
    out.protocol = found->second;
  }
  return out;
}
std::string text_of_endpoint(const Endpoint& endpoint) {
  const bool v6 = endpoint.host.find(':') != std::string::npos;
  return fmt::format("{}://{}{}{}:{}", endpoint.listener, v6 ? "[" : "", endpoint.host, v6 ? "]" : "", endpoint.port);
}

std::vector<TopicPartition> partitions_of(const json::object& root) {
  std::vector<TopicPartition> out;
  for (const auto& item : array_of(need(root, "partitions"), "partitions")) {
    const auto& object = object_of(item, "partitions");
    out.push_back({std::string(text_of(need(object, "topic"), "topic")),
                   PartitionId{int_of<std::int32_t>(need(object, "partition"), "partition")}});
  }
  return out;
}

std::string joined_path(std::string_view parent, std::string_view child) {
  std::string out;
  out.reserve(parent.size() + 1 + child.size());
  out += parent;
  out += '/';
  out += child;
  return out;
}

}  // namespace

// --- paths ------------------------------------------------------------------------------------------------------

const std::vector<std::string>& persistent_paths() {
  static const std::vector<std::string> paths = {"/consumers",
                                                 "/brokers/ids",
                                                 "/brokers/topics",
                                                 "/config/changes",
                                                 "/admin/delete_topics",
                                                 "/brokers/seqid",
                                                 "/isr_change_notification",
                                                 "/latest_producer_id_block",
                                                 "/log_dir_event_notification",
                                                 "/config/topics",
                                                 "/config/clients",
                                                 "/config/users",
                                                 "/config/brokers",
                                                 "/config/ips"};
  return paths;
}

bool sensitive_path(std::string_view path) {
  return path.starts_with("/config/users") || path.starts_with("/config/brokers") ||
         path.starts_with(delegation_tokens_path);
}

std::string path_of_broker(BrokerId broker) { return fmt::format("{}/{}", broker_ids_path, broker.value); }
std::string path_of_topic(std::string_view topic) { return joined_path(topics_path, topic); }
std::string path_of_partitions(std::string_view topic) { return fmt::format("{}/{}/partitions", topics_path, topic); }
std::string path_of_partition(std::string_view topic, PartitionId partition) {
  return fmt::format("{}/{}/partitions/{}", topics_path, topic, partition.value);
}
std::string path_of_partition_state(std::string_view topic, PartitionId partition) {
  return fmt::format("{}/{}/partitions/{}/state", topics_path, topic, partition.value);
}
std::string path_of_deletion(std::string_view topic) { return joined_path(delete_topics_path, topic); }
std::string path_of_config(std::string_view type, std::string_view name) {
  return fmt::format("/config/{}/{}", type, name);
}
std::string path_of_config_type(std::string_view type) { return joined_path("/config", type); }
std::string path_of_new_config_change() { return joined_path(config_changes_path, "config_change_"); }
std::string path_of_new_isr_change() { return joined_path(isr_change_notification_path, "isr_change_"); }
std::string path_of_new_log_dir_event() { return joined_path(log_dir_event_notification_path, "log_dir_event_"); }
std::string path_of_new_acl_change(bool extended) {
  return joined_path(extended ? acl_extended_changes_path : acl_changes_path, "acl_changes_");
}
std::string path_of_new_token_change() { return joined_path(delegation_token_changes_path, "token_change_"); }
std::string path_of_acl_type(bool prefixed, std::string_view resource_type) {
  return joined_path(prefixed ? acl_prefixed_path : acl_path, resource_type);
}
std::string path_of_acl(bool prefixed, std::string_view resource_type, std::string_view name) {
  return joined_path(path_of_acl_type(prefixed, resource_type), name);
}
std::string path_of_delegation_token(std::string_view token_id) {
  return joined_path(delegation_tokens_path, token_id);
}
std::string path_of_consumer_offset(std::string_view group, std::string_view topic, PartitionId partition) {
  return fmt::format("{}/{}/offsets/{}/{}", consumers_path, group, topic, partition.value);
}

std::optional<TopicPartition> partition_of_state_path(std::string_view path) {
  constexpr std::string_view middle = "/partitions/";
  constexpr std::string_view end = "/state";
  if (!path.starts_with(topics_path) || !path.ends_with(end)) return std::nullopt;
  path.remove_prefix(topics_path.size());
  path.remove_suffix(end.size());
  const auto at = path.find(middle);
  if (at == std::string_view::npos || at < 2 || path.front() != '/') return std::nullopt;
  const auto number = parse_int(path.substr(at + middle.size()));
  if (!number || *number < 0 || *number > std::numeric_limits<std::int32_t>::max()) return std::nullopt;
  return TopicPartition{std::string(path.substr(1, at - 1)), PartitionId{static_cast<std::int32_t>(*number)}};
}

std::optional<BrokerId> broker_of_child(std::string_view child) {
  const auto number = parse_int(child);
  if (!number || *number < 0 || *number > std::numeric_limits<std::int32_t>::max()) return std::nullopt;
  return BrokerId{static_cast<std::int32_t>(*number)};
}

std::string sanitize(std::string_view name) {
  std::string out;
  for (const char c : name) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    }
  }
  return out;
}

std::optional<std::string> desanitize(std::string_view sanitized) {
  std::string out;
  for (std::size_t i = 0; i < sanitized.size(); ++i) {
    if (sanitized[i] == '+') {
      out += ' ';
    } else if (sanitized[i] != '%') {
      out += sanitized[i];
    } else {
      unsigned byte = 0;
      if (i + 2 >= sanitized.size()) return std::nullopt;
      const char* from = sanitized.data() + i + 1;
      const auto [end, ec] = std::from_chars(from, from + 2, byte, 16);
      if (ec != std::errc{} || end != from + 2) return std::nullopt;
      out += static_cast<char>(byte);
      i += 2;
    }
  }
  return out;
}

// --- /brokers/ids/N ---------------------------------------------------------------------------------------------

std::string encode(const BrokerRegistration& registration) {
  const auto& endpoints = registration.endpoints;
  const auto plain =
      std::find_if(endpoints.begin(), endpoints.end(), [](const Endpoint& e) { return e.protocol == "PLAINTEXT"; });
  std::string out = "{";
  if (registration.version >= 5) {
    out += "\"features\":{" +
           joined(registration.features,
                  [](const auto& feature) {
                    return fmt::format("{}:{{\"min_version\":{},\"max_version\":{}}}", quoted(feature.first),
                                       feature.second.min, feature.second.max);
                  }) +
           "},";
  }
  if (registration.version >= 4) {
    out += "\"listener_security_protocol_map\":{" +
           joined(endpoints, [](const Endpoint& e) { return quoted(e.listener) + ":" + quoted(e.protocol); }) + "},";
  }
  out += "\"endpoints\":[" + joined(endpoints, [](const Endpoint& e) { return quoted(text_of_endpoint(e)); }) + "],";
  if (registration.rack && registration.version >= 3) out += "\"rack\":" + quoted(*registration.rack) + ",";
  out +=
      fmt::format("\"jmx_port\":{},\"port\":{},\"host\":{},\"version\":{},\"timestamp\":\"{}\"", registration.jmx_port,
                  plain == endpoints.end() ? -1 : plain->port, plain == endpoints.end() ? "null" : quoted(plain->host),
                  registration.version, registration.timestamp);
  if (registration.life) out += fmt::format(",\"weir_life\":{}", registration.life->value);
  out += "}";
  return out;
}

Result<BrokerRegistration> decode_broker(std::string_view path, std::string_view data) {
  return reading(path, data, [](const json::object& root) {
    BrokerRegistration out;
    out.version = int_of<std::int32_t>(need(root, "version"), "version");
    if (out.version < 1) bad("a version that never was");
    if (const auto* port = find(root, "jmx_port")) out.jmx_port = int_of<std::int32_t>(*port, "jmx_port");
    if (const auto* time = find(root, "timestamp")) out.timestamp = number_in_text(*time, "timestamp");
    if (const auto* life = find(root, "weir_life")) out.life = BrokerEpoch{int_of<std::int64_t>(*life, "weir_life")};
    if (out.version == 1) {
      out.endpoints.push_back({"PLAINTEXT", "PLAINTEXT", std::string(text_of(need(root, "host"), "host")),
                               int_of<std::uint16_t>(need(root, "port"), "port")});
    } else {
      std::map<std::string, std::string> protocols;
      const auto* map = find(root, "listener_security_protocol_map");
      if (map != nullptr) {
        for (const auto& [listener, protocol] : object_of(*map, "listener_security_protocol_map")) {
          protocols[upper(view(listener))] = std::string(text_of(protocol, "listener_security_protocol_map"));
        }
      }
      for (const auto& item : array_of(need(root, "endpoints"), "endpoints")) {
        out.endpoints.push_back(endpoint_of(text_of(item, "endpoints"), map != nullptr ? &protocols : nullptr));
      }
    }
    if (const auto* rack = find(root, "rack"); rack != nullptr && !rack->is_null()) {
      out.rack = std::string(text_of(*rack, "rack"));
    }
    if (const auto* features = find(root, "features"); features != nullptr && !features->is_null()) {
      for (const auto& [name, range] : object_of(*features, "features")) {
        const auto& levels = object_of(range, "features");
        out.features[std::string(view(name))] = {int_of<std::int16_t>(need(levels, "min_version"), "min_version"),
                                                 int_of<std::int16_t>(need(levels, "max_version"), "max_version")};
      }
    }
    return out;
  });
}

// --- /brokers/topics/T ------------------------------------------------------------------------------------------

std::string encode(const TopicAssignment& assignment) {
  std::string all;
  std::string adding;
  std::string removing;
  for (const auto& [partition, replicas] : assignment.partitions) {
    const auto add = [&](std::string& to, const std::vector<BrokerId>& brokers) {
      fmt::format_to(std::back_inserter(to), "{}\"{}\":{}", to.empty() ? "" : ",", partition.value, ids(brokers));
    };
    add(all, replicas.replicas);
    if (!replicas.adding.empty()) add(adding, replicas.adding);
    if (!replicas.removing.empty()) add(removing, replicas.removing);
  }
  return fmt::format(
      "{{\"partitions\":{{{}}},{}\"adding_replicas\":{{{}}},\"removing_replicas\":{{{}}},\"version\":3}}", all,
      assignment.id ? "\"topic_id\":\"" + assignment.id->text() + "\"," : "", adding, removing);
}

Result<TopicAssignment> decode_topic(std::string_view path, std::string_view data) {
  return reading(path, data, [](const json::object& root) {
    TopicAssignment out;
    if (const auto* version = find(root, "version")) {
      if (int_of<std::int32_t>(*version, "version") < 1) bad("a version that never was");
    }
    if (const auto* id = find(root, "topic_id"); id != nullptr && !id->is_null()) {
      out.id = Uuid::parse(text_of(*id, "topic_id"));
      if (!out.id) bad("'topic_id' is no id");
    }
    const auto partition_of = [](std::string_view key) {
      const auto number = parse_int(key);
      if (!number || *number < 0 || *number > std::numeric_limits<std::int32_t>::max())
        bad("a partition's number is none");
      return PartitionId{static_cast<std::int32_t>(*number)};
    };
    for (const auto& [key, replicas] : object_of(need(root, "partitions"), "partitions")) {
      auto ids = ids_of(replicas, "partitions");
      auto sorted = ids;
      std::ranges::sort(sorted);
      if (sorted.empty()) bad(fmt::format("partition {} has no replicas", view(key)));
      if (sorted.front().value < 0) bad(fmt::format("partition {} is on a broker that cannot be", view(key)));
      if (std::ranges::adjacent_find(sorted) != sorted.end()) {
        bad(fmt::format("partition {} is twice on one broker", view(key)));
      }
      out.partitions[partition_of(view(key))].replicas = std::move(ids);
    }
    const auto more = [&](std::string_view key, std::vector<BrokerId> ReplicaAssignment::* field) {
      const auto* map = find(root, key);
      if (map == nullptr || map->is_null()) return;
      for (const auto& [partition, replicas] : object_of(*map, key)) {
        const auto found = out.partitions.find(partition_of(view(partition)));
        if (found != out.partitions.end()) found->second.*field = ids_of(replicas, key);
      }
    };
    more("adding_replicas", &ReplicaAssignment::adding);
    more("removing_replicas", &ReplicaAssignment::removing);
    return out;
  });
}

// --- .../state ----------------------------------------------------------------------------------------------------

std::string encode(const PartitionState& state) {
  return fmt::format("{{\"controller_epoch\":{},\"leader\":{},\"version\":1,{}\"leader_epoch\":{},\"isr\":{}}}",
                     state.controller_epoch.value, state.leader.value,
                     state.leader_recovery_state != 0
                         ? fmt::format("\"leader_recovery_state\":{},", static_cast<int>(state.leader_recovery_state))
                         : "",
                     state.leader_epoch.value, ids(state.isr));
}

Result<PartitionState> decode_partition_state(std::string_view path, std::string_view data) {
  return reading(path, data, [](const json::object& root) {
    PartitionState out;
    out.leader = BrokerId{int_of<std::int32_t>(need(root, "leader"), "leader")};
    out.leader_epoch = LeaderEpoch{int_of<std::int32_t>(need(root, "leader_epoch"), "leader_epoch")};
    if (out.leader_epoch.value < 0) bad("'leader_epoch' is negative");
    out.isr = ids_of(need(root, "isr"), "isr");
    out.controller_epoch = ControllerEpoch{int_of<std::int32_t>(need(root, "controller_epoch"), "controller_epoch")};
    if (const auto* recovery = find(root, "leader_recovery_state")) {
      out.leader_recovery_state = int_of<std::int8_t>(*recovery, "leader_recovery_state");
      if (out.leader_recovery_state < 0 || out.leader_recovery_state > 1)
        bad("'leader_recovery_state' is out of range");
    }
    return out;
  });
}

// --- /controller, /controller_epoch, /cluster/id --------------------------------------------------------------------

std::string encode(const ControllerRegistration& controller) {
  return fmt::format("{{\"version\":2,\"brokerid\":{},\"timestamp\":\"{}\",\"kraftControllerEpoch\":{}}}",
                     controller.broker.value, controller.timestamp, controller.kraft_epoch);
}

Result<ControllerRegistration> decode_controller(std::string_view path, std::string_view data) {
  return reading(path, data, [](const json::object& root) {
    ControllerRegistration out;
    out.broker = BrokerId{int_of<std::int32_t>(need(root, "brokerid"), "brokerid")};
    if (const auto* time = find(root, "timestamp")) out.timestamp = number_in_text(*time, "timestamp");
    if (const auto* epoch = find(root, "kraftControllerEpoch")) {
      out.kraft_epoch = int_of<std::int32_t>(*epoch, "kraftControllerEpoch");
    }
    return out;
  });
}

std::string encode_controller_epoch(ControllerEpoch epoch) { return fmt::to_string(epoch.value); }

Result<ControllerEpoch> decode_controller_epoch(std::string_view path, std::string_view data) {
  const auto number = parse_int(data);
  if (!number || *number < 0 || *number > std::numeric_limits<std::int32_t>::max()) {
    return fail(ErrorCode::UNKNOWN_SERVER_ERROR, fmt::format("{} is no epoch: {}", path, shown(data)));
  }
  return ControllerEpoch{static_cast<std::int32_t>(*number)};
}

std::string encode_cluster_id(std::string_view id) { return "{\"version\":\"1\",\"id\":" + quoted(id) + "}"; }

Result<std::string> decode_cluster_id(std::string_view path, std::string_view data) {
  return reading(path, data, [](const json::object& root) {
    std::string id(text_of(need(root, "id"), "id"));
    if (id.empty()) bad("'id' is empty");
    return id;
  });
}

// --- /config --------------------------------------------------------------------------------------------------------

std::string encode_config(const Config& config) {
  return "{\"version\":1,\"config\":{" +
         joined(config, [](const auto& entry) { return quoted(entry.first) + ":" + quoted(entry.second); }) + "}}";
}

Result<Config> decode_config(std::string_view path, std::string_view data) {
  if (data.empty()) return Config{};
  return reading(path, data, [](const json::object& root) {
    Config out;
    const auto* config = find(root, "config");
    if (config == nullptr || config->is_null()) return out;
    for (const auto& [key, value] : object_of(*config, "config")) {
      out[std::string(view(key))] = std::string(text_of(value, view(key)));
    }
    return out;
  });
}

std::string encode(const ConfigChange& change) {
  return "{\"version\":2,\"entity_path\":" + quoted(change.type + "/" + change.name) + "}";
}

Result<ConfigChange> decode_config_change(std::string_view path, std::string_view data) {
  return reading(path, data, [](const json::object& root) {
    ConfigChange out;
    const auto version = int_of<std::int32_t>(need(root, "version"), "version");
    if (version == 1) {
      out.type = std::string(text_of(need(root, "entity_type"), "entity_type"));
      out.name = std::string(text_of(need(root, "entity_name"), "entity_name"));
    } else if (version == 2) {
      const auto entity = text_of(need(root, "entity_path"), "entity_path");
      const auto slash = entity.find('/');
      if (slash == std::string_view::npos) bad("'entity_path' has no name");
      out.type = std::string(entity.substr(0, slash));
      out.name = std::string(entity.substr(slash + 1));
    } else {
      bad("a version that is not known");
    }
    constexpr std::array types = {topics_type, clients_type, users_type, brokers_type, ips_type};
    if (std::find(types.begin(), types.end(), out.type) == types.end()) bad("an entity type that is not known");
    if (out.name.empty()) bad("an entity without a name");
    return out;
  });
}

// --- sets of partitions ---------------------------------------------------------------------------------------------

std::string encode_partition_set(const std::vector<TopicPartition>& partitions) {
  return "{\"version\":1,\"partitions\":[" +
         joined(partitions,
                [](const TopicPartition& at) {
                  return fmt::format("{{\"topic\":{},\"partition\":{}}}", quoted(at.topic), at.partition.value);
                }) +
         "]}";
}

Result<std::vector<TopicPartition>> decode_partition_set(std::string_view path, std::string_view data) {
  return reading(path, data, [](const json::object& root) { return partitions_of(root); });
}

std::string encode_reassignment(const std::map<TopicPartition, std::vector<BrokerId>>& target) {
  return "{\"version\":1,\"partitions\":[" +
         joined(target,
                [](const auto& entry) {
                  return fmt::format("{{\"topic\":{},\"partition\":{},\"replicas\":{}}}", quoted(entry.first.topic),
                                     entry.first.partition.value, ids(entry.second));
                }) +
         "]}";
}

Result<std::map<TopicPartition, std::vector<BrokerId>>> decode_reassignment(std::string_view path,
                                                                            std::string_view data) {
  return reading(path, data, [](const json::object& root) {
    std::map<TopicPartition, std::vector<BrokerId>> out;
    for (const auto& item : array_of(need(root, "partitions"), "partitions")) {
      const auto& object = object_of(item, "partitions");
      TopicPartition at{std::string(text_of(need(object, "topic"), "topic")),
                        PartitionId{int_of<std::int32_t>(need(object, "partition"), "partition")}};
      out[std::move(at)] = ids_of(need(object, "replicas"), "replicas");
    }
    return out;
  });
}

std::string encode_log_dir_event(BrokerId broker) {
  return fmt::format("{{\"version\":1,\"broker\":{},\"event\":1}}", broker.value);
}

Result<BrokerId> decode_log_dir_event(std::string_view path, std::string_view data) {
  return reading(path, data, [](const json::object& root) {
    return BrokerId{int_of<std::int32_t>(need(root, "broker"), "broker")};
  });
}

// --- /latest_producer_id_block, /feature ----------------------------------------------------------------------------

std::string encode(const ProducerIdBlock& block) {
  return fmt::format("{{\"version\":1,\"broker\":{},\"block_start\":\"{}\",\"block_end\":\"{}\"}}", block.broker.value,
                     block.first, block.last);
}

Result<ProducerIdBlock> decode_producer_id_block(std::string_view path, std::string_view data) {
  return reading(path, data, [](const json::object& root) {
    ProducerIdBlock out;
    out.broker = BrokerId{int_of<std::int32_t>(need(root, "broker"), "broker")};
    out.first = number_in_text(need(root, "block_start"), "block_start");
    out.last = number_in_text(need(root, "block_end"), "block_end");
    if (out.first < 0 || out.last < out.first) bad("a block that is none");
    return out;
  });
}

std::string encode(const Features& features) {
  return "{\"features\":{" +
         joined(features.levels,
                [&](const auto& feature) {
                  return features.version == 1
                             ? fmt::format("{}:{{\"max_version_level\":{},\"min_version_level\":{}}}",
                                           quoted(feature.first), feature.second, feature.second)
                             : fmt::format("{}:{{\"max_version_level\":{}}}", quoted(feature.first), feature.second);
                }) +
         fmt::format("}},\"version\":{},\"status\":{}}}", features.version, features.enabled ? 1 : 0);
}

Result<Features> decode_features(std::string_view path, std::string_view data) {
  return reading(path, data, [](const json::object& root) {
    Features out;
    out.version = int_of<std::int32_t>(need(root, "version"), "version");
    if (out.version < 1 || out.version > 2) bad("a version that is not known");
    const auto status = int_of<std::int32_t>(need(root, "status"), "status");
    if (status < 0 || status > 1) bad("'status' is out of range");
    out.enabled = status == 1;
    for (const auto& [name, range] : object_of(need(root, "features"), "features")) {
      const auto& levels = object_of(range, "features");
      const auto max = int_of<std::int16_t>(need(levels, "max_version_level"), "max_version_level");
      if (max < 1) bad("'max_version_level' is below 1");
      if (out.version == 1) {
        const auto min = int_of<std::int16_t>(need(levels, "min_version_level"), "min_version_level");
        if (min < 1 || max < min) bad("'min_version_level' is out of range");
      }
      out.levels[std::string(view(name))] = max;
    }
    return out;
  });
}

// --- ACLs
// -------------------------------------------------------------------------------------------------------------

std::string encode_acl(const std::vector<AclEntry>& entries) {
  return "{\"acls\":[" +
         joined(entries,
                [](const AclEntry& e) {
                  return fmt::format("{{\"principal\":{},\"permissionType\":{},\"host\":{},\"operation\":{}}}",
                                     quoted(e.principal), quoted(e.permission), quoted(e.host), quoted(e.operation));
                }) +
         "],\"version\":1}";
}

Result<std::vector<AclEntry>> decode_acl(std::string_view path, std::string_view data) {
  return reading(path, data, [](const json::object& root) {
    if (int_of<std::int32_t>(need(root, "version"), "version") != 1) bad("a version that is not known");
    std::vector<AclEntry> out;
    for (const auto& item : array_of(need(root, "acls"), "acls")) {
      const auto& entry = object_of(item, "acls");
      const auto text = [&](std::string_view key) { return std::string(text_of(need(entry, key), key)); };
      out.push_back({text("principal"), text("permissionType"), text("operation"), text("host")});
    }
    return out;
  });
}

std::string encode(const AclChange& change) {
  if (!change.prefixed) return change.resource_type + ":" + change.name;
  return fmt::format("{{\"version\":1,\"resourceType\":{},\"name\":{},\"patternType\":\"PREFIXED\"}}",
                     quoted(change.resource_type), quoted(change.name));
}

Result<AclChange> decode_acl_change(std::string_view path, std::string_view data) {
  if (path.starts_with(acl_extended_changes_path)) {
    return reading(path, data, [](const json::object& root) {
      if (int_of<std::int32_t>(need(root, "version"), "version") != 1) bad("a version that is not known");
      if (text_of(need(root, "patternType"), "patternType") != "PREFIXED") bad("a pattern type that is not known");
      return AclChange{true, std::string(text_of(need(root, "resourceType"), "resourceType")),
                       std::string(text_of(need(root, "name"), "name"))};
    });
  }
  const auto colon = data.find(':');
  if (colon == std::string_view::npos || colon == 0) {
    return fail(ErrorCode::UNKNOWN_SERVER_ERROR, fmt::format("{} names no resource: {}", path, shown(data)));
  }
  return AclChange{false, std::string(data.substr(0, colon)), std::string(data.substr(colon + 1))};
}

}  // namespace weir::zkwire::layout
