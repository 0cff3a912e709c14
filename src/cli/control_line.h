// The commands of the control plane on the command line: control, cluster, operation.
#pragma once

#include <functional>
#include <vector>

#include "cli/options.h"

namespace CLI {
class App;
}  // namespace CLI

namespace weir::cli {

// One command: its options are bound to members, `make` gives the Command once they are read.
struct Binder {
  CLI::App* app = nullptr;
  std::function<Command()> make;
};

Binder add_control(CLI::App& root);
// One for each of list, create, describe, delete and watch.
std::vector<Binder> add_cluster(CLI::App& root);
Binder add_operation(CLI::App& root);

}  // namespace weir::cli
