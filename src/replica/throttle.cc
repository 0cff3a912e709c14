#include "replica/throttle.h"

#include <algorithm>
#include <charconv>

namespace weir::replica {

Throttle::Throttle(std::size_t samples, seconds sample)
    : samples_(std::clamp<std::size_t>(samples, 1, samples_max)), sample_(std::max(sample, seconds(1))) {}

void Throttle::record(std::uint64_t bytes, nanoseconds now) {
  const auto index = now / sample_;
  auto& slot = ring_[static_cast<std::size_t>(index) % samples_];
  if (slot.index.exchange(index, std::memory_order_relaxed) != index) slot.bytes.store(0, std::memory_order_relaxed);
  slot.bytes.fetch_add(bytes, std::memory_order_relaxed);
}

double Throttle::current(nanoseconds now) const {
  const auto index = now / sample_;
  const auto oldest_kept = index - static_cast<std::int64_t>(samples_) + 1;
  std::uint64_t sum = 0;
  auto oldest = index;
  for (std::size_t i = 0; i < samples_; ++i) {
    const auto at = ring_[i].index.load(std::memory_order_relaxed);
    if (at < oldest_kept || at > index) continue;
    sum += ring_[i].bytes.load(std::memory_order_relaxed);
    oldest = std::min(oldest, at);
  }
  // From the first sample that counts till now; never less than one, so that a first burst is no infinite rate.
  const auto elapsed = std::max<nanoseconds>(now - oldest * sample_, sample_);
  return static_cast<double>(sum) / std::chrono::duration<double>(elapsed).count();
}

bool Throttle::exceeded(nanoseconds now) const {
  const auto limit = rate();
  return limit != unlimited && current(now) > static_cast<double>(limit);
}

bool ThrottledReplicas::contains(PartitionId partition) const {
  return all || std::ranges::find(partitions, partition) != partitions.end();
}

namespace {

bool number(std::string_view text, std::int32_t& out) {
  const auto done = std::from_chars(text.data(), text.data() + text.size(), out);
  return done.ec == std::errc() && done.ptr == text.data() + text.size() && out >= 0;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

}  // namespace

Result<ThrottledReplicas> parse_throttled_replicas(std::string_view text, BrokerId self) {
  ThrottledReplicas out;
  text = trimmed(text);
  if (text.empty() || text == "none") return out;
  if (text == "*") {
    out.all = true;
    return out;
  }
  while (!text.empty()) {
    const auto comma = text.find(',');
    const auto item = trimmed(text.substr(0, comma));
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    const auto colon = item.find(':');
    std::int32_t partition = 0;
    std::int32_t broker = 0;
    if (colon == std::string_view::npos || !number(trimmed(item.substr(0, colon)), partition) ||
        !number(trimmed(item.substr(colon + 1)), broker)) {
      return fail(ErrorCode::INVALID_CONFIG,
                  "throttled replicas are \"*\" or a list of partition:broker, not \"" + std::string(item) + "\"");
    }
    if (broker == self.value) out.partitions.emplace_back(partition);
  }
  return out;
}

}  // namespace weir::replica
