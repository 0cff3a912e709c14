// DescribeLogDirs (KIP-113), versions 0 to 4.
//   2 flexible   3 top-level error   4 total and usable bytes of the volume

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/api/handlers.h"
#include "broker/node.h"
#include "broker/texts.h"
#include "protocol/messages/describe_log_dirs.h"
#include "runtime/pool.h"

namespace weir::broker::api {
namespace {

using Named = std::set<std::pair<std::string_view, std::int32_t>>;

Named named_by(const protocol::DescribeLogDirsRequest& in) {
  Named named;
  if (!in.topics) return named;
  for (const auto& topic : *in.topics) {
    for (const auto partition : topic.partitions) named.emplace(topic.topic, partition);
  }
  return named;
}

}  // namespace

Task<Response> describe_log_dirs(Request& request) {
  protocol::DescribeLogDirsRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  auto all = co_await node.replicas->view();
  const auto named = named_by(in);
  std::ranges::sort(all, {}, &replica::PartitionView::partition);
  protocol::DescribeLogDirsResponse out;
  for (const auto& directory : node.replicas->directories()) {
    auto& to = out.results.emplace_back();
    to.log_dir = directory->path();
    auto ask = [&directory] { return directory->free_bytes(); };
    if (auto free = co_await node.pool->run(std::move(ask))) to.usable_bytes = static_cast<std::int64_t>(*free);
    for (const auto& view : all) {
      if (view.directory != directory->path()) continue;
      if (in.topics && !named.contains({view.partition.topic, view.partition.partition.value})) continue;
      if (to.topics.empty() || to.topics.back().name != view.partition.topic) {
        to.topics.emplace_back().name = view.partition.topic;
      }
      auto& partition = to.topics.back().partitions.emplace_back();
      partition.partition_index = view.partition.partition.value;
      partition.partition_size = static_cast<std::int64_t>(view.size);
    }
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
