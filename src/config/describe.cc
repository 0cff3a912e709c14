#include "config/describe.h"

#include <span>
#include <utility>

#include "config/synonyms.h"

namespace weir::config {

namespace {

std::optional<std::string> shown(const Key& key, std::string value) {
  if (key.type == Type::password) return std::nullopt;
  return value;
}

void add_from(std::vector<Synonym>& out, const Properties& layer, std::span<const std::string> names, Source source) {
  for (const auto& name : names) {
    auto it = layer.find(name);
    const Key* key = find_broker_key(name);
    if (it != layer.end() && key != nullptr) out.push_back({name, shown(*key, it->second), source});
  }
}

// Every layer of the broker that gives one of these keys a value, strongest first.
std::vector<Synonym> broker_layers(const BrokerLayers& broker, std::span<const std::string> names) {
  std::vector<Synonym> out;
  add_from(out, broker.dynamic_broker, names, Source::dynamic_broker);
  add_from(out, broker.dynamic_default, names, Source::dynamic_default_broker);
  add_from(out, broker.file, names, Source::static_broker);
  for (const auto& name : names) {
    const Key* key = broker_keys().find(name);
    if (key != nullptr && key->initial) {
      out.push_back({name, shown(*key, std::string(*key->initial)), Source::default_config});
    }
  }
  return out;
}

// Of a topic or a group: an override stands over the broker's layers.
std::vector<Described> describe_over_broker(const Table& table, const BrokerLayers& broker, const Properties& overrides,
                                            Source override_source) {
  Properties in_force = broker.file;
  for (const auto& [name, value] : broker.dynamic_default) in_force.insert_or_assign(name, value);
  for (const auto& [name, value] : broker.dynamic_broker) in_force.insert_or_assign(name, value);

  std::vector<Described> out;
  for (const Key& key : table.all()) {
    Described d;
    d.name = key.name;
    d.type = key.type;
    d.doc = key.doc;
    d.sensitive = key.type == Type::password;
    auto own = overrides.find(key.name);
    if (own != overrides.end()) {
      d.value = own->second;
      d.synonyms.push_back({d.name, own->second, override_source});
    } else {
      d.value = topic_default(key, in_force);
    }
    if (!key.broker_key.empty()) {
      auto names = broker_synonyms(key.broker_key);
      auto below = broker_layers(broker, names);
      d.synonyms.insert(d.synonyms.end(), below.begin(), below.end());
    }
    if (!d.synonyms.empty()) d.source = d.synonyms.front().source;
    out.push_back(std::move(d));
  }
  return out;
}

Described describe_broker_key(const BrokerLayers& broker, const std::string& name, const Key& key) {
  Described d;
  d.name = name;
  d.type = key.type;
  d.doc = key.doc;
  d.sensitive = key.type == Type::password;
  d.read_only = key.update == Update::read_only || key.update == Update::at_start;
  auto names = broker_synonyms(name);
  d.synonyms = broker_layers(broker, names);
  if (!d.synonyms.empty()) d.source = d.synonyms.front().source;
  // The value is this key's own; what another key in its place says stands among the synonyms.
  for (const Synonym& s : d.synonyms) {
    if (s.name == name) {
      d.value = s.value;
      break;
    }
  }
  return d;
}

}  // namespace

std::vector<Described> describe_topic(const BrokerLayers& broker, const Properties& overrides) {
  return describe_over_broker(topic_keys(), broker, overrides, Source::dynamic_topic);
}

std::vector<Described> describe_group(const BrokerLayers& broker, const Properties& overrides) {
  return describe_over_broker(group_keys(), broker, overrides, Source::group);
}

std::vector<Described> describe_client_metrics(const Properties& overrides) {
  return describe_over_broker(client_metrics_keys(), {}, overrides, Source::client_metrics);
}

std::vector<Described> describe_broker(const BrokerLayers& broker) {
  std::map<std::string, const Key*> names;
  for (const Key& key : broker_keys().all()) names.emplace(key.name, &key);
  for (const Properties* layer : {&broker.dynamic_broker, &broker.dynamic_default, &broker.file}) {
    for (const auto& [name, value] : *layer) {
      if (const Key* key = find_broker_key(name)) names.emplace(name, key);  // those with a listener's prefix
    }
  }
  std::vector<Described> out;
  out.reserve(names.size());
  for (const auto& [name, key] : names) out.push_back(describe_broker_key(broker, name, *key));
  return out;
}

std::vector<Described> describe_broker_default(const BrokerLayers& broker) {
  std::vector<Described> out;
  for (const auto& [name, value] : broker.dynamic_default) {
    const Key* key = find_broker_key(name);
    if (key == nullptr) continue;
    Described d;
    d.name = name;
    d.type = key->type;
    d.doc = key->doc;
    d.sensitive = key->type == Type::password;
    d.value = shown(*key, value);
    d.source = Source::dynamic_default_broker;
    std::vector<std::string> names{name};
    add_from(d.synonyms, broker.dynamic_default, names, Source::dynamic_default_broker);
    out.push_back(std::move(d));
  }
  return out;
}

}  // namespace weir::config
