// What the three config requests share: the kinds of resources, and changing one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "broker/node.h"
#include "cluster/image.h"
#include "config/properties.h"
#include "runtime/task.h"

namespace weir::broker {

// Numbers of org.apache.kafka.common.config.ConfigResource.Type.
enum class ResourceType : std::int8_t {
  unknown = 0,
  any = 1,
  topic = 2,
  broker = 4,
  broker_logger = 8,
  client_metrics = 16,
  group = 32,
};

// INVALID_REQUEST unless `name` is this broker's id.
Result<> check_broker_name(Node& node, std::string_view name);

// From the overrides a resource has to those it is to have.
using ConfigEdit = std::function<Result<config::Properties>(const config::Properties& current)>;

// Reads the resource's overrides from ZooKeeper, edits and (unless `validate_only`) writes them and tells all brokers;
// returns when this broker's own image has them (or after a second: they will come). On any shard.
runtime::Task<Result<>> change_config(Node& node, std::int8_t type, std::string name, ConfigEdit edit,
                                      bool validate_only);

}  // namespace weir::broker
