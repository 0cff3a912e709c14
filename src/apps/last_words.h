// Why a process of weir ends, for people and for who reads its log.
#pragma once

#include <string_view>

#include "cli/options.h"

namespace weir::apps {

// To stderr: "weir broker: WHY", or where the log is JSON the same as the message of a line of it (level error), so
// that every line can be parsed. `command`: "broker". provision/process.h reads either.
void tell_failure(const cli::LogOptions& log, std::string_view command, std::string_view why);

}  // namespace weir::apps
