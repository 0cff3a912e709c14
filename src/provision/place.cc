#include "provision/place.h"

namespace weir::provision {

std::string_view name(BrokerState state) {
  switch (state) {
    case BrokerState::stopped: return "stopped";
    case BrokerState::starting: return "starting";
    case BrokerState::running: return "running";
    case BrokerState::stopping: return "stopping";
    case BrokerState::backing_off: return "backing_off";
  }
  return "stopped";
}

}  // namespace weir::provision
