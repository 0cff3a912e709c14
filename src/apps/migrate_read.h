// Reads what migrate_check.h judges: a running cluster's nodes in ZooKeeper, the broker's file, its log directories.
// Changes nothing.
#pragma once

#include <expected>
#include <string>

#include "apps/migrate_check.h"
#include "cli/options.h"

namespace weir::apps {

// What the command line leaves out, from the broker's file and folders. The error is a sentence: that says nothing
// either, or cannot be read.
std::expected<cli::MigrateCheckOptions, std::string> completed(cli::MigrateCheckOptions options);

// Of completed options. The error is a sentence: ZooKeeper cannot be reached or read, or the file cannot be read.
std::expected<MigrateEvidence, std::string> read_evidence(const cli::MigrateCheckOptions& options);

LogDirEvidence read_log_dir(const std::string& path);

}  // namespace weir::apps
