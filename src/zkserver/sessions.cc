#include "zkserver/sessions.h"

#include <algorithm>

namespace weir::zkserver {

void Deadlines::advance(nanoseconds mono) {
  if (!started_) {
    started_ = true;
    seen_ = mono;
    return;
  }
  // A gap of more than two ticks is ours, not the clients'.
  const nanoseconds gap = std::min<nanoseconds>(mono - seen_, tick_ * 2);
  seen_ = std::max(seen_, mono);
  if (gap.count() <= 0) return;
  felt_rest_ns_ += gap.count();
  felt_ms_ += felt_rest_ns_ / 1'000'000;
  felt_rest_ns_ %= 1'000'000;
}

void Deadlines::touch(SessionId id, milliseconds timeout) {
  const auto tick = tick_.count();
  const auto due = ((now_ms() + timeout.count()) / tick + 1) * tick;
  const auto [at, fresh] = due_.try_emplace(id, due);
  if (!fresh) {
    if (at->second == due) return;
    forget(id);
    due_.emplace(id, due);
  }
  buckets_[due].insert(id);
}

void Deadlines::forget(SessionId id) {
  const auto at = due_.find(id);
  if (at == due_.end()) return;
  const auto bucket = buckets_.find(at->second);
  bucket->second.erase(id);
  if (bucket->second.empty()) buckets_.erase(bucket);
  due_.erase(at);
}

std::vector<SessionId> Deadlines::expired() {
  std::vector<SessionId> out;
  while (!buckets_.empty() && buckets_.begin()->first <= now_ms()) {
    for (const auto id : buckets_.begin()->second) {
      due_.erase(id);
      out.push_back(id);
    }
    buckets_.erase(buckets_.begin());
  }
  return out;
}

std::map<std::int64_t, std::vector<SessionId>> Deadlines::left() const {
  std::map<std::int64_t, std::vector<SessionId>> out;
  for (const auto& [due, ids] : buckets_) out[due - now_ms()].assign(ids.begin(), ids.end());
  return out;
}

}  // namespace weir::zkserver
