// What a broker tells its log about what it was asked for and does not do, beyond what its own file says.
#pragma once

#include <string>
#include <vector>

#include "broker/node.h"
#include "config/broker_config.h"

namespace weir::broker {

// That nothing is compacted, with the names of topics whose cleanup.policy asks for it; empty where none does. Internal
// topics are left out: nobody asked for these.
std::string compaction_notice(const Node& node, const cluster::Image& image);

// Of the warnings of a configuration with its dynamic layers those that the file alone does not give: the others were
// told at the start.
std::vector<std::string> new_warnings(const config::LoadedBrokerConfig& loaded, const config::Properties& file);

}  // namespace weir::broker
