// A broker's server.properties, with --override on top.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "cli/options.h"
#include "config/broker_config.h"

namespace weir::apps {

struct BrokerFile {
  config::Properties file;  // for config::BrokerLayers, once dynamic layers come to it
  config::LoadedBrokerConfig loaded;
};

// The errors are sentences, each with the file's name or, where its key was given there, --override.
std::expected<BrokerFile, std::vector<std::string>> read_broker_file(const cli::BrokerOptions& options);

// Warnings as warnings, keys without effect as debug lines.
void log_findings(const config::LoadedBrokerConfig& loaded);

}  // namespace weir::apps
