// Booleans of a topic's configuration as they lie in ZooKeeper, written by any tool.
#pragma once

#include <string_view>

namespace weir::cluster {

// "true" in any case, with spaces around it, as Kafka reads a boolean; whatever else there is means no.
bool is_on(std::string_view value);

}  // namespace weir::cluster
