#include "net/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include "base/check.h"
#include "net/connection.h"

namespace weir::net {
namespace {

constexpr std::size_t named_max = 5;

}  // namespace

nanoseconds Coming::due() const {
  const auto rate =
      std::max<std::uint64_t>(frame_rate_min, size / static_cast<std::uint64_t>(frame_time_max.count()) + 1);
  const auto earned =
      nanoseconds(seconds(1)) * static_cast<std::int64_t>(came + unread) / static_cast<std::int64_t>(rate);
  return std::min(last, begun + earned) + silence_max;
}

void Memory::begin_wait() {
  std::vector<std::pair<runtime::Shard*, std::weak_ptr<Connection>>> asked;
  {
    const std::lock_guard lock(mutex_);
    if (waiting_++ > 0) return;  // the first one asked them, and who holds memory since is watched from its beginning
    for (auto* holder : holders_) {
      if (std::exchange(holder->watched_, true)) continue;
      asked.emplace_back(&holder->connection->shard(), holder->connection->weak_from_this());
    }
  }
  for (auto& [shard, connection] : asked) {
    shard->post([weak = std::move(connection)] {
      if (const auto holder = weak.lock()) holder->look_at_coming();
    });
  }
}

void Memory::end_wait() {
  const std::lock_guard lock(mutex_);
  --waiting_;
}

bool Memory::add(Coming& coming) {
  const std::lock_guard lock(mutex_);
  coming.slot_ = holders_.size();
  coming.watched_ = waiting_ > 0;
  holders_.push_back(&coming);
  return coming.watched_;
}

void Memory::remove(Coming& coming) {
  const std::lock_guard lock(mutex_);
  WEIR_CHECK(holders_.at(coming.slot_) == &coming, "what is removed was added");
  holders_[coming.slot_] = holders_.back();
  holders_[coming.slot_]->slot_ = coming.slot_;
  holders_.pop_back();
}

bool Memory::watch(Coming& coming) {
  const std::lock_guard lock(mutex_);
  coming.watched_ = waiting_ > 0;
  return coming.watched_;
}

std::size_t Memory::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_;
}

std::string Memory::text(nanoseconds now) const {
  const auto used = budget_.used();
  const std::lock_guard lock(mutex_);
  std::uint64_t coming = 0;
  for (const auto* holder : holders_) coming += holder->size;
  auto largest = holders_;
  std::ranges::sort(largest, std::greater{}, &Coming::size);
  std::string names;
  for (std::size_t i = 0; i < std::min(largest.size(), named_max); ++i) {
    const auto& holder = *largest[i];
    names +=
        fmt::format("{}{} for {} s from {}", i == 0 ? "" : ", ", holder.size,
                    std::chrono::duration_cast<seconds>(now - holder.leased).count(), holder.connection->peer().text());
  }
  if (largest.size() > named_max) names += ", ...";
  return fmt::format("{} of {} bytes are taken, {} of them by {} that are still coming{}", used, budget_.limit(),
                     coming, holders_.size(), names.empty() ? "" : " (" + names + ")");
}

}  // namespace weir::net
