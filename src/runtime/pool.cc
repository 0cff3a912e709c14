#include "runtime/pool.h"

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace weir::runtime {
namespace {

class ThreadPool final : public Pool {
 public:
  explicit ThreadPool(std::size_t threads) {
    WEIR_CHECK(threads > 0, "a pool has threads");
    for (std::size_t i = 0; i < threads; ++i) {
      threads_.emplace_back([this, i] {
        ::pthread_setname_np(::pthread_self(), ("pool-" + std::to_string(i)).c_str());
        work();
      });
    }
  }
  ~ThreadPool() override {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    more_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  void submit(Job job) override {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    more_.notify_one();
  }
  std::size_t queued() const override {
    const std::lock_guard lock(mutex_);
    return jobs_.size();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      more_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      auto job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
      job = nullptr;
      lock.lock();
    }
  }

  mutable std::mutex mutex_;
  std::condition_variable more_;
  std::deque<Job> jobs_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<Pool> make_pool(std::size_t threads) { return std::make_unique<ThreadPool>(threads); }

}  // namespace weir::runtime
