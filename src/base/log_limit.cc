#include "base/log_limit.h"

#include <fmt/format.h>
#include <pthread.h>

#include <condition_variable>
#include <csignal>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/log.h"

namespace weir::logging {
namespace {

// Causes of one place in the code that are told apart; what comes beyond them shares one limiter.
constexpr std::size_t causes_max = 128;
// Of a line that is repeated to say what was left out.
constexpr std::size_t repeated_bytes_max = 300;

std::int64_t now() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

// Tells what was left out when its interval has passed, from a thread of its own that is there from the first line left
// out on. Never destroyed: who logs while the process ends finds it.
class Teller {
 public:
  struct Said {
    Level level = Level::info;
    std::string file;
    std::string text;
  };

  void said(Limiter* limiter, Said what) {
    const std::lock_guard lock(mutex_);
    said_[limiter] = std::move(what);
  }

  void due(Limiter* limiter, std::int64_t when) {
    const std::lock_guard lock(mutex_);
    due_.emplace(when, limiter);
    if (!thread_.joinable() && !ended_) start();
    changed_.notify_one();
  }

  Limiter& of(const void* place, std::string_view cause, std::chrono::nanoseconds interval) {
    const std::lock_guard lock(mutex_);
    auto& causes = places_[place];
    auto found = causes.find(cause);
    if (found == causes.end()) {
      if (causes.size() >= causes_max) cause = {};
      found = causes.find(cause);
    }
    if (found == causes.end()) found = causes.emplace(cause, std::make_unique<Limiter>(interval)).first;
    return *found->second;
  }

  void end() {
    std::thread thread;
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
      changed_.notify_one();
      thread = std::move(thread_);
    }
    if (thread.joinable()) thread.join();
    std::unique_lock lock(mutex_);
    tell(lock, std::numeric_limits<std::int64_t>::max());
  }

 private:
  // The process's signals are for its other threads.
  void start() {
    static const struct Ending {
      ~Ending() { teller().end(); }
    } ending;
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      thread_ = std::thread([this] { run(); });
    } catch (const std::system_error&) {
      // No thread to be had now: what is left out is told later, when one can be started.
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  void run() {
    std::unique_lock lock(mutex_);
    while (!ended_) {
      tell(lock, now());
      if (due_.empty()) {
        changed_.wait(lock);
      } else {
        changed_.wait_for(lock, std::chrono::nanoseconds(due_.begin()->first - now()));
      }
    }
  }

  void tell(std::unique_lock<std::mutex>& lock, std::int64_t until) {
    while (!due_.empty() && due_.begin()->first <= until) {
      auto* const limiter = due_.begin()->second;
      due_.erase(due_.begin());
      const auto left_out = limiter->take_left_out();
      if (left_out == 0) continue;
      const auto what = said_[limiter];
      lock.unlock();
      auto text = what.text.substr(0, repeated_bytes_max);
      if (text.size() < what.text.size()) text += "...";
      write_formatted(what.level, what.file, "{} more like it left out in {} s: {}", left_out,
                      std::chrono::duration<double>(limiter->interval()).count(), text);
      lock.lock();
    }
  }

  static Teller& teller();
  friend Teller& the_teller();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<std::int64_t, Limiter*> due_;
  std::map<Limiter*, Said> said_;
  std::map<const void*, std::map<std::string, std::unique_ptr<Limiter>, std::less<>>> places_;
  std::thread thread_;
  bool ended_ = false;
};

Teller& Teller::teller() {
  static auto* const one = new Teller;
  return *one;
}
Teller& the_teller() { return Teller::teller(); }

}  // namespace

bool Limiter::pass() {
  const auto at = now();
  auto next = next_.load(std::memory_order_relaxed);
  if (at >= next && next_.compare_exchange_strong(next, at + interval_, std::memory_order_relaxed)) return true;
  if (left_out_.fetch_add(1, std::memory_order_relaxed) == 0) the_teller().due(this, next);
  return false;
}

void Limiter::stands_for_more(Level level, std::string_view file, std::string text) {
  the_teller().said(this, {level, std::string(file), std::move(text)});
}

Limiter& limiter_of(const void* place, std::string_view cause, std::chrono::nanoseconds interval) {
  return the_teller().of(place, cause, interval);
}

}  // namespace weir::logging
