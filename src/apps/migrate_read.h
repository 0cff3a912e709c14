// Reads what migrate_check.h judges: a running cluster's nodes in ZooKeeper, the broker's file, its log directories.
// Changes nothing.
#pragma once

#include <expected>
#include <string>

#include "apps/migrate_check.h"
#include "cli/options.h"

namespace weir::apps {

// The error is a sentence: ZooKeeper cannot be reached or read, or the file cannot be read.
std::expected<MigrateEvidence, std::string> read_evidence(const cli::MigrateCheckOptions& options);

LogDirEvidence read_log_dir(const std::string& path);

}  // namespace weir::apps
