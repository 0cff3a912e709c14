#include "zkclient/pipeline.h"

#include <algorithm>
#include <optional>
#include <vector>

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

runtime::Task<ZkResult<>> remove_tree(runtime::Shard& shard, Zk& zk, std::string path, std::size_t in_flight_max) {
  std::vector<std::vector<std::string>> levels{{path}};
  while (!levels.back().empty()) {
    std::vector<std::string> below;
    std::optional<ZkError> failed;
    auto list = [&](std::size_t i) -> runtime::Task<void> {
      const std::string at = levels.back()[i];  // its level does not change meanwhile
      auto names = co_await zk.children(at, Watch{});
      if (!names && names.error().code != ZkCode::no_node) failed = names.error();
      if (!names) co_return;
      for (const auto& child : *names) below.push_back(at == "/" ? "/" + child : at + "/" + child);
    };
    co_await pipeline(shard, levels.back().size(), in_flight_max, list);
    if (failed) co_return std::unexpected(std::move(*failed));
    levels.push_back(std::move(below));
  }
  for (auto level = levels.rbegin(); level != levels.rend(); ++level) {
    auto remove = [&](std::size_t i) -> runtime::Task<void> { (void)co_await zk.remove((*level)[i], any_version); };
    co_await pipeline(shard, level->size(), in_flight_max, remove);
  }
  // What somebody made meanwhile, and why something could not go.
  co_return co_await remove_tree(zk, std::move(path));
}

}  // namespace weir::zkclient
