// The commands of the private certificate authority on the command line: ca export, ca sign, ca issue.
#pragma once

#include <vector>

#include "cli/control_line.h"

namespace weir::cli {

// One for each of them.
std::vector<Binder> add_ca(CLI::App& root);

}  // namespace weir::cli
