// The parts of a broker's configuration that several keys make together: for this room's own use.
#pragma once

#include <string>
#include <vector>

#include "config/broker_config.h"
#include "config/read.h"

namespace weir::config {

// Listeners, advertised listeners, their security protocols, the inter-broker listener, weir.metrics.listener,
// max.connections.per.ip.overrides.
void read_listeners(const Read& r, BrokerConfig& c, std::vector<std::string>& errors,
                    std::vector<std::string>& warnings);

// What is asked for and not there: an error where somebody would rely on it to keep others out, else a warning.
void check_unsupported(const Read& r, std::vector<std::string>& errors, std::vector<std::string>& warnings);

// What keys must be to one another. Errors name the key to change.
void check_rules(const Read& r, const BrokerConfig& c, std::vector<std::string>& errors,
                 std::vector<std::string>& warnings);

}  // namespace weir::config
