#include "replica/isr_notes.h"

#include <fmt/format.h>

#include <iterator>

namespace weir::replica {

bool IsrNotes::add(const TopicPartition& partition, const std::vector<BrokerId>& isr, bool expanded, nanoseconds now) {
  auto& to = directions_.at(expanded ? 1 : 0);
  ++to.count;
  if (to.named.size() < named_max) {
    auto named = partition.text() + " to [";
    for (const auto id : isr) fmt::format_to(std::back_inserter(named), "{}{}", id == isr.front() ? "" : ",", id.value);
    named += ']';
    to.named.push_back(std::move(named));
  }
  if (due_ != never) return false;
  due_ = now + gather;
  return true;
}

std::vector<std::string> IsrNotes::take() {
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < directions_.size(); ++i) {
    auto& from = directions_[i];
    if (from.count == 0) continue;
    auto line = fmt::format("the ISR of {} partition{} {}: ", from.count, from.count == 1 ? "" : "s",
                            i == 0 ? "shrank" : "grew");
    for (const auto& named : from.named)
      fmt::format_to(std::back_inserter(line), "{}{}", &named == &from.named.front() ? "" : ", ", named);
    if (from.count > from.named.size()) {
      fmt::format_to(std::back_inserter(line), " and {} more", from.count - from.named.size());
    }
    lines.push_back(std::move(line));
    from = {};
  }
  due_ = never;
  return lines;
}

}  // namespace weir::replica
