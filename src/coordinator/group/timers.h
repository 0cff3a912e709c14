// Deadlines in order, each held by a Handle that lives in what it is about: when the holder goes, so does its
// deadline. Putting a deadline off (every heartbeat does) only notes the new time; the entry moves when it comes up.
#pragma once

#include <map>
#include <optional>
#include <utility>

#include "base/units.h"

namespace weir::coordinator::group {

template <class What>
class Timers {
 public:
  class Handle;

 private:
  struct Entry {
    Handle* handle;
    What what;
  };
  using Entries = std::multimap<nanoseconds, Entry>;

 public:
  class Handle {
   public:
    Handle() = default;
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    ~Handle() { clear(); }

    bool armed() const { return timers_ != nullptr; }
    void clear() {
      if (timers_ == nullptr) return;
      timers_->entries_.erase(at_);
      timers_ = nullptr;
    }

   private:
    friend class Timers;
    Timers* timers_ = nullptr;
    typename Entries::iterator at_;
    nanoseconds due_{};
  };

  Timers() = default;
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;

  void set(Handle& handle, nanoseconds due, What what) {
    if (handle.armed() && due >= handle.at_->first) {
      handle.due_ = due;
      handle.at_->second.what = std::move(what);
      return;
    }
    handle.clear();
    handle.at_ = entries_.emplace(due, Entry{&handle, std::move(what)});
    handle.due_ = due;
    handle.timers_ = this;
  }

  // Not later than the first deadline; may be earlier (a deadline that was put off).
  std::optional<nanoseconds> next() const {
    if (entries_.empty()) return std::nullopt;
    return entries_.begin()->first;
  }

  // Calls `fn` for each deadline up to `now`, which may set and clear any.
  template <class Fn>
  void fire(nanoseconds now, Fn fn) {
    while (!entries_.empty() && entries_.begin()->first <= now) {
      Entry entry = std::move(entries_.begin()->second);
      Handle& handle = *entry.handle;
      const auto due = handle.due_;
      handle.clear();
      if (due > now) {
        set(handle, due, std::move(entry.what));
      } else {
        fn(entry.what);
      }
    }
  }

  std::size_t size() const { return entries_.size(); }

 private:
  Entries entries_;
};

}  // namespace weir::coordinator::group
