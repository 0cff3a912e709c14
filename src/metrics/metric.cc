#include "metrics/metric.h"

#include <cmath>

namespace weir::metrics {

Histogram::Snapshot Histogram::snapshot() const {
  Snapshot s;
  for (std::uint32_t i = 0; i < buckets; ++i) s.counts[i] = cells_.read(i);
  s.sum = cells_.read(buckets);
  return s;
}

std::uint64_t Histogram::Snapshot::count() const {
  std::uint64_t total = 0;
  for (std::uint64_t c : counts) total += c;
  return total;
}

std::uint64_t Histogram::Snapshot::below(std::uint32_t octave) const {
  std::uint64_t total = 0;
  std::uint32_t end = octave >= octaves ? buckets - 1 : bucket_of(1ULL << octave);
  for (std::uint32_t i = 0; i < end; ++i) total += counts[i];
  return total;
}

std::uint64_t Histogram::Snapshot::quantile(double q) const {
  std::uint64_t total = count();
  if (total == 0) return 0;
  auto rank = static_cast<std::uint64_t>(std::ceil(q * static_cast<double>(total)));
  if (rank < 1) rank = 1;
  if (rank > total) rank = total;
  std::uint64_t seen = 0;
  for (std::uint32_t i = 0; i < buckets; ++i) {
    seen += counts[i];
    if (seen >= rank) return upper_edge(i);
  }
  return upper_edge(buckets - 1);
}

}  // namespace weir::metrics
