#include "history.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>

namespace weir::sim {
namespace {

double in_seconds(nanoseconds time) { return std::chrono::duration<double>(time - seconds(1000)).count(); }
History::Where of(const TopicPartition& where) { return {where.topic, where.partition.value}; }
std::string at(const History::Where& where, std::int64_t offset) {
  return fmt::format("{}-{} offset {}", where.first, where.second, offset);
}

}  // namespace

std::size_t History::asked(int producer, bool idempotent, const TopicPartition& where, std::string value,
                           nanoseconds now) {
  by_value_.emplace(value, writes_.size());
  writes_.push_back(
      {.value = std::move(value), .producer = producer, .idempotent = idempotent, .where = where, .asked = now});
  return writes_.size() - 1;
}
void History::acknowledged(std::size_t write, std::int64_t offset, nanoseconds now) {
  auto& one = writes_.at(write);
  one.outcome = Write::Outcome::acknowledged;
  one.offset = offset;
  one.ended = now;
  ++acks_;
}
void History::refused(std::size_t write, nanoseconds now) {
  writes_.at(write).outcome = Write::Outcome::refused;
  writes_.at(write).ended = now;
}

void History::read(int consumer, const TopicPartition& where, std::int64_t offset, std::string value, nanoseconds now) {
  ++reads_;
  const auto key = of(where);
  const auto last = last_read_.find({consumer, key});
  if (last != last_read_.end() && offset != last->second + 1) {
    problem(where, fmt::format("SKIPPED {}: consumer {} was given it at {:.3f} after {}", at(key, offset), consumer,
                               in_seconds(now), last->second));
  }
  last_read_[{consumer, key}] = offset;
  const auto [found, fresh] = seen_[key].try_emplace(offset, Seen{value, consumer, now});
  if (!fresh && found->second.value != value) {
    problem(where, fmt::format("CHANGED {} was {} for consumer {} at {:.3f} and {} for consumer {} at {:.3f}",
                               at(key, offset), found->second.value, found->second.consumer,
                               in_seconds(found->second.at), value, consumer, in_seconds(now)));
  }
  const auto write = by_value_.find(value);
  if (write == by_value_.end()) {
    problem(fmt::format("UNASKED {}: {} was never written", at(key, offset), value));
  } else if (of(writes_[write->second].where) != key || writes_[write->second].outcome == Write::Outcome::refused) {
    problem(fmt::format("UNASKED {}: consumer {} read {}", at(key, offset), consumer, told(writes_[write->second])));
  }
}

void History::at_end(const TopicPartition& where, std::int64_t start, std::int64_t end, Records records) {
  ends_[of(where)] = {start, end, std::move(records)};
}
void History::replica(const TopicPartition& where, int broker, std::int64_t start, Records records) {
  replicas_[of(where)].push_back({broker, start, std::move(records)});
}
void History::start_moved(int consumer, const TopicPartition& where) { last_read_.erase({consumer, of(where)}); }
void History::problem(std::string what) {
  if (problems_.size() < 1000) problems_.emplace_back(std::nullopt, std::move(what));
}
void History::problem(const TopicPartition& where, std::string what) {
  if (problems_.size() < 1000) problems_.emplace_back(of(where), std::move(what));
}

std::string History::told(const Write& write) const {
  auto text = fmt::format("{} (producer {}{}, {}-{}, asked at {:.3f}", write.value, write.producer,
                          write.idempotent ? ", idempotent" : "", write.where.topic, write.where.partition.value,
                          in_seconds(write.asked));
  if (write.outcome == Write::Outcome::acknowledged) {
    text += fmt::format(", acknowledged at {:.3f} with offset {}", in_seconds(write.ended), write.offset);
  } else if (write.outcome == Write::Outcome::refused) {
    text += fmt::format(", refused at {:.3f}", in_seconds(write.ended));
  }
  return text + ")";
}

// What was acknowledged or read is there at the end, where it was, and once where the producer is idempotent.
void History::judge_presence(std::vector<std::string>& out) const {
  std::map<std::pair<Where, std::string>, std::vector<std::int64_t>> places;
  for (const auto& [where, end] : ends_) {
    for (const auto& [offset, value] : end.records) places[{where, value}].push_back(offset);
    for (auto offset = end.start; offset < end.end; ++offset) {
      if (!end.records.contains(offset)) out.push_back(fmt::format("HOLE {} is not there", at(where, offset)));
    }
  }
  for (const auto& write : writes_) {
    const auto where = of(write.where);
    const auto end = ends_.find(where);
    if (write.outcome != Write::Outcome::acknowledged || excused_.contains(where)) continue;
    if (end == ends_.end()) {
      out.push_back(fmt::format("UNREAD {}-{} was not read to its end", where.first, where.second));
      continue;
    }
    const auto found = places.find({where, write.value});
    // What retention took; of an acknowledgement without an offset nobody knows where it was.
    if (write.offset >= 0 ? write.offset < end->second.start : found == places.end() && end->second.start > 0) continue;
    if (found == places.end()) {
      out.push_back(fmt::format("LOST {}; the log is [{}, {})", told(write), end->second.start, end->second.end));
    } else if (write.offset >= 0 && std::ranges::find(found->second, write.offset) == found->second.end()) {
      out.push_back(fmt::format("MOVED {} is at {}", told(write), found->second.front()));
    }
  }
  for (const auto& [key, offsets] : places) {
    const auto write = by_value_.find(key.second);
    if (write == by_value_.end()) {
      out.push_back(fmt::format("UNASKED {}: {} was never written", at(key.first, offsets.front()), key.second));
    } else if (offsets.size() > 1 && writes_[write->second].idempotent && !excused_.contains(key.first)) {
      out.push_back(fmt::format("DUPLICATED {} is at {} and {}", told(writes_[write->second]), offsets[0], offsets[1]));
    }
  }
  for (const auto& [where, offsets] : seen_) {
    const auto end = ends_.find(where);
    if (end == ends_.end() || excused_.contains(where)) continue;
    for (const auto& [offset, seen] : offsets) {
      if (offset < end->second.start) continue;
      const auto there = end->second.records.find(offset);
      if (there == end->second.records.end()) {
        out.push_back(fmt::format("VANISHED {}: consumer {} read {} at {:.3f}; the log is [{}, {})", at(where, offset),
                                  seen.consumer, seen.value, in_seconds(seen.at), end->second.start, end->second.end));
      } else if (there->second != seen.value) {
        out.push_back(fmt::format("CHANGED {}: consumer {} read {} at {:.3f}; at the end it is {}", at(where, offset),
                                  seen.consumer, seen.value, in_seconds(seen.at), there->second));
      }
    }
  }
}

// An idempotent producer's records stand in its order; what was acknowledged before another was asked for is before it.
void History::judge_order(std::vector<std::string>& out) const {
  std::map<std::pair<Where, std::string>, std::int64_t> first;
  for (const auto& [where, end] : ends_) {
    for (const auto& [offset, value] : end.records) first.try_emplace({where, value}, offset);
  }
  std::map<std::pair<int, Where>, std::pair<std::int64_t, const Write*>> last;
  std::map<Where, std::vector<std::pair<const Write*, std::int64_t>>> acknowledged;
  for (const auto& write : writes_) {
    const auto where = of(write.where);
    const auto found = first.find({where, write.value});
    if (found == first.end() || excused_.contains(where)) continue;
    // A copy that was there before may have gone with the log's start.
    if (write.outcome == Write::Outcome::acknowledged) {
      acknowledged[where].emplace_back(&write, write.offset >= 0 ? write.offset : found->second);
    }
    if (!write.idempotent) continue;
    auto& before = last[{write.producer, where}];
    if (before.second != nullptr && before.first >= found->second) {
      out.push_back(fmt::format("REORDERED {} is at {}, {} at {}", told(*before.second), before.first, told(write),
                                found->second));
    }
    before = {found->second, &write};
  }
  for (auto& [where, writes] : acknowledged) {
    auto by_end = writes;
    std::ranges::sort(by_end, {}, [](const auto& one) { return std::pair(one.first->ended, one.second); });
    std::ranges::sort(writes, {}, [](const auto& one) { return std::pair(one.first->asked, one.second); });
    std::size_t next = 0;
    std::pair<const Write*, std::int64_t> highest{nullptr, -1};
    for (const auto& [write, offset] : writes) {
      while (next < by_end.size() && by_end[next].first->ended < write->asked) {
        if (by_end[next].second > highest.second) highest = by_end[next];
        ++next;
      }
      if (highest.first != nullptr && highest.second >= offset && write->offset >= 0) {
        out.push_back(fmt::format("REORDERED {} at {} was acknowledged before {} at {} was asked for",
                                  told(*highest.first), highest.second, told(*write), offset));
      }
    }
  }
}

// Each replica has what consumers can read.
void History::judge_replicas(std::vector<std::string>& out) const {
  for (const auto& [where, end] : ends_) {
    const auto found = replicas_.find(where);
    if (found == replicas_.end()) continue;
    for (const auto& replica : found->second) {
      for (auto offset = std::max(end.start, replica.start); offset < end.end; ++offset) {
        const auto here = replica.records.find(offset);
        const auto there = end.records.find(offset);
        const bool same = here == replica.records.end() ? there == end.records.end()
                                                        : there != end.records.end() && there->second == here->second;
        if (same) continue;
        out.push_back(fmt::format("DIVERGED {}: broker {} has {}, its leader {}", at(where, offset), replica.broker,
                                  here == replica.records.end() ? "nothing" : here->second,
                                  there == end.records.end() ? "nothing" : there->second));
        break;
      }
    }
  }
}

std::vector<std::string> History::judge() const {
  std::vector<std::string> out;
  for (const auto& [where, what] : problems_) {
    if (!where || !excused_.contains(*where)) out.push_back(what);
  }
  judge_presence(out);
  judge_order(out);
  judge_replicas(out);
  return out;
}

std::uint64_t History::fingerprint() const {
  std::uint64_t hash = 14695981039346656037U;
  const auto mix = [&](std::uint64_t what) { hash = (hash ^ what) * 0x100000001b3; };
  for (const auto& write : writes_) {
    mix(static_cast<std::uint64_t>(write.outcome));
    mix(static_cast<std::uint64_t>(write.offset));
    mix(static_cast<std::uint64_t>(write.asked.count()));
    mix(static_cast<std::uint64_t>(write.ended.count()));
  }
  for (const auto& [where, offsets] : seen_) {
    for (const auto& [offset, seen] : offsets) {
      mix(static_cast<std::uint64_t>(offset));
      mix(static_cast<std::uint64_t>(seen.at.count()));
    }
  }
  return hash;
}

}  // namespace weir::sim
