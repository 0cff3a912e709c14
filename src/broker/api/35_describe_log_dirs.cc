// DescribeLogDirs (KIP-113), versions 0 to 4.
//   2 flexible   3 top-level error   4 total and usable bytes of the volume

#include <algorithm>
#include <map>
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

bool asked(const protocol::DescribeLogDirsRequest& in, const TopicPartition& tp) {
  if (!in.topics) return true;
  return std::ranges::any_of(*in.topics, [&](const auto& topic) {
    return topic.topic == tp.topic && std::ranges::find(topic.partitions, tp.partition.value) != topic.partitions.end();
  });
}

}  // namespace

Task<Response> describe_log_dirs(Request& request) {
  protocol::DescribeLogDirsRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  auto all = co_await node.replicas->view();
  std::ranges::sort(all, {}, &replica::PartitionView::partition);
  protocol::DescribeLogDirsResponse out;
  for (const auto& directory : node.replicas->directories()) {
    auto& to = out.results.emplace_back();
    to.log_dir = directory->path();
    auto ask = [&directory] { return directory->free_bytes(); };
    if (auto free = co_await node.pool->run(std::move(ask))) to.usable_bytes = static_cast<std::int64_t>(*free);
    for (const auto& view : all) {
      if (view.directory != directory->path() || !asked(in, view.partition)) continue;
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
