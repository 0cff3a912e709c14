// One run of the simulation: a cluster, a workload, faults, then peace; and what came of it.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "faults.h"

namespace weir::sim {

struct RunOptions {
  std::uint64_t seed = 1;
  nanoseconds faulty = std::chrono::seconds(60);  // of the world's time
  std::set<Fault> faults;
  bool verbose = false;
};

struct Outcome {
  std::uint64_t seed = 0;
  std::vector<std::string> problems;  // empty: all is well
  std::uint64_t fingerprint = 0;      // of everything that happened
  std::size_t writes = 0;
  std::size_t acks = 0;
  std::size_t reads = 0;
  std::size_t faults = 0;
  std::size_t commits = 0;   // of the consumer group, that were taken
  std::size_t excused = 0;   // partitions of which Kafka promises nothing any more (exposure.h)
  double healthy_after = 0;  // seconds of the world's time from the last fault
  double seconds = 0;        // that the world saw
};

// What differs between seeds besides chance: how many brokers and shards, whether all is flushed.
Outcome run(const RunOptions& options);

}  // namespace weir::sim
