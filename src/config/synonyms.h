// Which keys stand in for one another, strongest first: for this room's own use.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/key.h"
#include "config/properties.h"

namespace weir::config {

// The keys that are asked one after the other for a broker key's value, itself first: log.retention.ms,
// log.retention.minutes, log.retention.hours. A name with a listener's prefix is followed by the name without it.
std::vector<std::string> broker_synonyms(std::string_view broker_key);

// The value of one of these keys in the unit of the first: hours and minutes become milliseconds.
std::string in_unit_of_first(std::string_view first, std::string_view synonym, std::string_view value);

// What a topic (or group) has without an override: the broker's value in force, the broker's default, the key's own
// default, in this order; nothing for null.
std::optional<std::string> topic_default(const Key& topic_key, const Properties& broker_values);

}  // namespace weir::config
