// DescribeLogDirs (KIP-113), versions 0 to 4.
//   2 flexible   3 top-level error   4 total and usable bytes of the volume (KIP-827)
//
// The lag of a follower is what it lacked of its leader's high watermark when it fetched last; Kafka compares with the
// follower's own high watermark, which is never ahead of its log, and so says 0. There are no future logs here:
// replicas are not moved between directories.

#include <algorithm>
#include <filesystem>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "broker/api/handlers.h"
#include "broker/node.h"
#include "broker/texts.h"
#include "protocol/messages/describe_log_dirs.h"
#include "runtime/pool.h"

namespace weir::broker::api {
namespace {

using Result = protocol::DescribeLogDirsResponse::DescribeLogDirsResult;
using Named = std::set<std::pair<std::string_view, std::int32_t>>;
using Views = std::vector<const replica::PartitionView*>;

constexpr std::int64_t lag_unknown = -1;

Named named_by(const protocol::DescribeLogDirsRequest& in) {
  Named named;
  if (!in.topics) return named;
  for (const auto& topic : *in.topics) {
    for (const auto partition : topic.partitions) named.emplace(topic.topic, partition);
  }
  return named;
}

// As Kafka names them: from the root, without a slash at the end.
std::string absolute(const std::string& path) {
  std::error_code error;
  auto whole = std::filesystem::absolute(path, error);
  if (error) return path;
  if (!whole.has_filename() && whole.has_relative_path()) whole = whole.parent_path();
  return whole.string();
}

// A file system may be larger than the number on the wire.
std::int64_t clamped(std::uint64_t bytes) {
  return static_cast<std::int64_t>(std::min<std::uint64_t>(bytes, std::numeric_limits<std::int64_t>::max()));
}

std::int64_t lag_of(const replica::PartitionView& view) {
  if (!view.assigned) return lag_unknown;
  const auto behind = view.leader ? view.high_watermark - view.log_end : view.lag;
  return std::max<std::int64_t>(behind, 0);
}

void fill(Result& to, const Views& views) {
  for (const auto* view : views) {
    if (to.topics.empty() || to.topics.back().name != view->partition.topic) {
      to.topics.emplace_back().name = view->partition.topic;
    }
    auto& partition = to.topics.back().partitions.emplace_back();
    partition.partition_index = view->partition.partition.value;
    partition.partition_size = clamped(view->size);
    partition.offset_lag = lag_of(*view);
  }
}

}  // namespace

Task<Response> describe_log_dirs(Request& request) {
  protocol::DescribeLogDirsRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  auto all = co_await node.replicas->view();
  const auto named = named_by(in);
  std::ranges::sort(all, {}, &replica::PartitionView::partition);
  std::map<std::string_view, Views> by_directory;
  for (const auto& view : all) {
    if (in.topics && !named.contains({view.partition.topic, view.partition.partition.value})) continue;
    by_directory[view.directory].push_back(&view);
  }
  protocol::DescribeLogDirsResponse out;
  Texts texts;
  const auto& directories = node.replicas->directories();
  for (std::size_t i = 0; i < directories.size(); ++i) {
    auto& directory = *directories[i];
    auto& to = out.results.emplace_back();
    to.log_dir = texts.keep(absolute(directory.path()));
    auto ask = [&directory] { return directory.space(); };
    auto space = co_await node.pool->run(std::move(ask));
    if (!space) WEIR_LOG_LIMITED(warn, seconds(10), "{}: {}", directory.path(), space.error().message);
    if (!space || node.replicas->given_up(i)) {
      to.error_code = static_cast<std::int16_t>(ErrorCode::KAFKA_STORAGE_ERROR);
      continue;
    }
    to.total_bytes = clamped(space->total);
    to.usable_bytes = clamped(space->usable);
    if (const auto& own = node.replicas->space(); own.quota() > 0) {
      to.total_bytes = std::min(to.total_bytes, own.quota());
      to.usable_bytes = std::min(to.usable_bytes, std::max<std::int64_t>(own.quota() - own.used(), 0));
    }
    fill(to, by_directory[directory.path()]);
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
