// What DescribeConfigs answers, before it is put on the wire.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/broker_config.h"
#include "config/key.h"
#include "config/properties.h"

namespace weir::config {

// The wire's numbers (ConfigSource).
enum class Source : std::int8_t {
  unknown = 0,
  dynamic_topic = 1,
  dynamic_broker = 2,
  dynamic_default_broker = 3,
  static_broker = 4,
  default_config = 5,
  dynamic_broker_logger = 6,
  client_metrics = 7,
  group = 8,
};

struct Synonym {
  std::string name;
  std::optional<std::string> value;  // nothing where sensitive
  Source source = Source::default_config;
};

struct Described {
  std::string name;
  std::optional<std::string> value;  // nothing for null, and where sensitive
  Source source = Source::default_config;
  bool read_only = false;
  bool sensitive = false;
  Type type = Type::string;
  std::vector<Synonym> synonyms;  // all layers that give this key a value, strongest first; the first is in force
  std::string_view doc;
};

// All keys of the resource, in order of name. The caller leaves out the names that were not asked for.
std::vector<Described> describe_topic(const BrokerLayers& broker, const Properties& overrides);
std::vector<Described> describe_broker(const BrokerLayers& broker);
// Of the default resource (no broker named): the dynamic defaults only.
std::vector<Described> describe_broker_default(const BrokerLayers& broker);
std::vector<Described> describe_group(const BrokerLayers& broker, const Properties& overrides);
std::vector<Described> describe_client_metrics(const Properties& overrides);

}  // namespace weir::config
