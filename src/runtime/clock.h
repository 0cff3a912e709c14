// Time, as the rest of Weir sees it. Production binds it to the system, tests to a time they move themselves.
#pragma once

#include "base/units.h"

namespace weir::runtime {

class Clock {
 public:
  virtual ~Clock() = default;
  // Never goes back; for timeouts and durations. Its zero means nothing.
  virtual nanoseconds mono() const = 0;
  // Since the Unix epoch; may jump. For timestamps that people and Kafka's records see.
  virtual milliseconds wall() const = 0;
};

// The system's clocks; lives as long as the process.
Clock& system_clock();

}  // namespace weir::runtime
