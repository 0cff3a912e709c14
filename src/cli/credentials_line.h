// The commands of access keys on the command line: credentials list, add, activate, deactivate, revoke.
#pragma once

#include <vector>

#include "cli/control_line.h"

namespace weir::cli {

// One for each of them.
std::vector<Binder> add_credentials(CLI::App& root);

}  // namespace weir::cli
