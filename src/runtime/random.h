// Chance, as the rest of Weir sees it: the system's in production, a seed's in tests.
#pragma once

#include <cstdint>
#include <memory>

#include "base/uuid.h"
#include "bytes/shared.h"

namespace weir::runtime {

class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(bytes::MutableBytes out) = 0;

  std::uint64_t next();
  // 0 to `bound` - 1; bound is at least 1.
  std::uint64_t below(std::uint64_t bound);
  Uuid uuid();
};

// getrandom(2): fit for credentials and ids. Safe from any thread.
Random& system_random();
// The same numbers for the same seed; for tests. Not thread-safe.
std::unique_ptr<Random> seeded_random(std::uint64_t seed);

}  // namespace weir::runtime
