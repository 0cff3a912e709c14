#include "zkclient/pipeline.h"

#include <algorithm>

namespace weir::zkclient {
namespace {

struct Work {
  std::size_t next = 0;
  std::size_t count = 0;
};

runtime::Task<void> worker(Work& work, const std::function<runtime::Task<void>(std::size_t)>& fn) {
  while (work.next < work.count) {
    const std::size_t i = work.next++;
    auto task = fn(i);
    co_await std::move(task);
  }
}

}  // namespace

runtime::Task<void> pipeline(runtime::Shard& shard, std::size_t count, std::size_t in_flight_max,
                             std::function<runtime::Task<void>(std::size_t)> fn) {
  Work work{0, count};
  runtime::Scope scope(shard);
  for (std::size_t i = 0; i < std::min(count, in_flight_max); ++i) scope.spawn(worker(work, fn));
  co_await scope.stop();
}

}  // namespace weir::zkclient
