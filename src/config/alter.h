// Changing configurations: IncrementalAlterConfigs (KIP-339) and AlterConfigs, as pure functions over the overrides
// that a resource has now. What they return is what the resource has after: write it to its znode.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/error.h"
#include "config/broker_config.h"
#include "config/key.h"
#include "config/properties.h"

namespace weir::config {

enum class AlterOp : std::int8_t { set = 0, remove = 1, append = 2, subtract = 3 };  // the wire's numbers

struct Alteration {
  std::string name;
  AlterOp op = AlterOp::set;
  std::optional<std::string> value;
};

// The overrides after the operations, values checked against `table`. append and subtract are for lists and start
// from the override, or from the default where there is none. INVALID_CONFIG for a bad value or an operation the key's
// type has not, INVALID_REQUEST for a key named twice or a missing value.
Result<Properties> alter(const Table& table, const Properties& current, std::span<const Alteration> changes);

// For topics: alter and validate_topic_config in one.
Result<Properties> alter_topic(const Properties& current, std::span<const Alteration> changes);

// For brokers, of one (`per_broker` true) or of all (/config/brokers/<default>): also refuses keys that cannot be
// changed while a broker runs or not at that level, with INVALID_REQUEST as Kafka.
Result<Properties> alter_broker(const Properties& current, std::span<const Alteration> changes, bool per_broker);

// AlterConfigs, the old form, replaces all overrides by `wanted`: the same checks on a whole map, but for what is as it
// was in `current`: old tools send everything, and Kafka may have left there what this broker does not change.
Result<> validate_broker_dynamic(const Properties& current, const Properties& wanted, bool per_broker);
Result<> validate_group(const Properties& wanted);
Result<> validate_client_metrics(const Properties& wanted);

// May this key of a broker be changed while it runs? (find_broker_key's names, prefixes included.)
bool is_dynamic(std::string_view broker_key_name);

}  // namespace weir::config
