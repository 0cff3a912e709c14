// Fetch, versions 4 to 17.
//   4 record batches v2, isolation level   5 log start offset   7 sessions (KIP-227)   9 leader epochs (KIP-320)
//   11 rack (KIP-392)   12 flexible, diverging epoch   13 topic ids (KIP-516)   15 replica state   16 node endpoints
//   17 directory ids
// Where this differs from Kafka: versions 0 to 3 (message formats 0 and 1) are not served; a session lives on the
// shard of its connection.

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "broker/api/handlers.h"
#include "broker/node.h"
#include "broker/partition_io.h"
#include "protocol/messages/fetch.h"
#include "runtime/shard.h"

namespace weir::broker::api {
namespace {

using replica::DataWait;

// Records of one partition up to this size are copied into memory, and of one answer so many.
constexpr std::uint64_t copied_slice_max = 64 * KiB;
constexpr std::uint64_t copied_bytes_max = 1 * MiB;
// A long poll ends after this time at the latest; the client asks again.
constexpr milliseconds wait_max{60'000};

// A fetch being answered.
struct Fetching {
  Request& request;
  Node& node;
  FetchContext context;
  log::Isolation isolation = log::Isolation::high_watermark;
  bool replica = false;  // a follower asks
  BrokerId replica_id = no_broker;
  std::uint64_t max_bytes = 0;
  std::vector<PartitionRead> results;
  std::uint64_t size = 0;    // of the records found
  std::uint64_t copied = 0;  // of them, those in memory
  bool answer_now = false;   // an error: no waiting
};

// Items of one shard, in order.
using Shares = std::vector<std::pair<runtime::Shard*, std::vector<std::size_t>>>;

Shares shares_of(Fetching& fetching) {
  Shares shares;
  for (std::size_t i = 0; i < fetching.context.items.size(); ++i) {
    const auto& item = fetching.context.items[i];
    if (item.topic.empty()) {
      fetching.results[i].error = ErrorCode::UNKNOWN_TOPIC_ID;
      fetching.answer_now = true;
      continue;
    }
    auto* owner = &fetching.node.replicas->shard_of(item.topic, item.partition);
    auto it = std::ranges::find(shares, owner, [](const auto& share) { return share.first; });
    if (it == shares.end()) it = shares.insert(shares.end(), {owner, {}});
    it->second.push_back(i);
  }
  return shares;
}

// Names for the ids of a request from version 13 on.
void resolve_ids(Fetching& fetching) {
  if (fetching.request.version() < 13) return;
  const auto& image = fetching.node.image();
  for (auto& item : fetching.context.items) {
    const auto topic = image->topic(item.topic_id);
    item.topic = topic ? topic->name : std::string();
  }
}

// On the owner of the partitions.
Task<void> read_share(Fetching& fetching, const std::vector<std::size_t>& share, std::shared_ptr<DataWait> wait) {
  for (const auto i : share) {
    auto& item = fetching.context.items[i];
    auto& result = fetching.results[i];
    const auto partition = fetching.node.replicas->find(item.topic, item.partition);
    if (!partition) {
      result.error = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
      fetching.answer_now = true;
      continue;
    }
    if (!item.topic_id.is_zero() && partition->topic_id() && *partition->topic_id() != item.topic_id) {
      result.error = ErrorCode::INCONSISTENT_TOPIC_ID;
      fetching.answer_now = true;
      continue;
    }
    const auto& replicas = partition->leadership().replicas;
    const bool stranger = fetching.replica && std::ranges::find(replicas, fetching.replica_id) == replicas.end();
    auto leads =
        stranger ? Result<>(fail(ErrorCode::NOT_LEADER_OR_FOLLOWER)) : partition->check_leader(item.current_epoch);
    if (!leads) {
      result.error = leads.error().code;
      fetching.answer_now = true;
      continue;
    }
    // First to be told, then look: what comes in between is not missed.
    if (wait) partition->on_data(wait);
    if (item.last_fetched_epoch.value >= 0) {
      const auto end = partition->log().end_of_epoch(item.last_fetched_epoch);
      if (end.epoch.value >= 0 && (end.epoch < item.last_fetched_epoch || end.end < item.offset)) {
        result.diverging_epoch = end.epoch.value;
        result.diverging_end = end.end;
        result.high_watermark = partition->log().high_watermark();
        result.log_start = partition->log().log_start();
        fetching.answer_now = true;
        continue;
      }
    }
    const auto left = fetching.max_bytes > fetching.size ? fetching.max_bytes - fetching.size : 0;
    const auto limit = std::min<std::uint64_t>(static_cast<std::uint64_t>(std::max(item.max_bytes, 0)), left);
    // Little is copied and leaves in one write with the answer's head: a sendfile costs a system call of its own.
    const bool copies = fetching.copied + copied_slice_max <= copied_bytes_max;
    result = co_await read_partition(*fetching.node.pool, partition, item.offset, limit, fetching.isolation,
                                     fetching.size == 0, copies ? copied_slice_max : 0);
    fetching.size += result.records.size();
    fetching.copied += result.records.memory.size();
    result.counters = partition->counters().bytes_out;
    if (result.error != ErrorCode::NONE) fetching.answer_now = true;
  }
}

// Looks again from the start: what was found before is let go.
Task<void> read_all(Fetching& fetching, const Shares& shares, std::shared_ptr<DataWait> wait) {
  fetching.size = 0;
  fetching.copied = 0;
  for (const auto& [owner, share] : shares) {
    auto work = [&fetching, &share, wait]() { return read_share(fetching, share, wait); };
    co_await runtime::call(*owner, std::move(work));
  }
}

Response answer(Fetching& fetching) {
  auto& request = fetching.request;
  auto& sessions = fetching.node.sessions_here();
  protocol::FetchResponse out;
  out.session_id = fetching.context.session_id;
  std::vector<runtime::Chunk> chunks;
  for (std::size_t i = 0; i < fetching.context.items.size(); ++i) {
    const auto& item = fetching.context.items[i];
    auto& result = fetching.results[i];
    const bool has_records = result.records.size() > 0;
    if (fetching.context.session_id != 0) {
      const bool tells = sessions.tell(fetching.context.session_id, item, result.error, result.high_watermark.value,
                                       result.log_start.value, has_records || result.diverging_epoch >= 0);
      if (fetching.context.incremental && !tells) continue;
    }
    const bool same_topic =
        !out.responses.empty() && (request.version() >= 13 ? out.responses.back().topic_id == item.topic_id
                                                           : out.responses.back().topic == item.topic);
    if (!same_topic) {
      auto& topic = out.responses.emplace_back();
      topic.topic = item.topic;
      topic.topic_id = item.topic_id;
    }
    auto& data = out.responses.back().partitions.emplace_back();
    data.partition_index = item.partition.value;
    data.error_code = static_cast<std::int16_t>(result.error);
    data.high_watermark = result.high_watermark.value;
    data.last_stable_offset = result.last_stable.value;
    data.log_start_offset = result.log_start.value;
    if (result.diverging_epoch >= 0) {
      data.diverging_epoch.epoch = static_cast<std::int32_t>(result.diverging_epoch);
      data.diverging_epoch.end_offset = result.diverging_end.value;
    }
    if (fetching.isolation == log::Isolation::read_committed) {
      for (const auto& each : result.aborted) {
        auto& aborted = data.aborted_transactions->emplace_back();
        aborted.producer_id = each.producer.value;
        aborted.first_offset = each.first.value;
      }
    } else {
      data.aborted_transactions.reset();
    }
    if (has_records) {
      if (result.counters) result.counters->add(result.records.size());
      data.records = protocol::Records::outside(chunks.size(), result.records.size());
      chunks.push_back(std::move(result.records));
    } else {
      data.records = protocol::Records::in_memory({});
    }
  }
  return request.answer(out, std::move(chunks));
}

}  // namespace

Task<Response> fetch(Request& request) {
  protocol::FetchRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  auto& clock = request.shard().clock();
  Fetching fetching{
      .request = request, .node = node, .context = node.sessions_here().begin(in, request.version(), clock.mono())};
  if (fetching.context.error != ErrorCode::NONE) {
    protocol::FetchResponse out;
    out.error_code = static_cast<std::int16_t>(fetching.context.error);
    co_return request.answer(out);
  }
  const auto replica_id = request.version() >= 15 ? in.replica_state.replica_id : in.replica_id;
  fetching.replica = replica_id >= 0;
  fetching.replica_id = BrokerId{replica_id};
  fetching.isolation = fetching.replica          ? log::Isolation::log_end
                       : in.isolation_level == 1 ? log::Isolation::read_committed
                                                 : log::Isolation::high_watermark;
  // Nobody gets more than the broker gives in one answer (fetch.max.bytes, KIP-541).
  const auto limit = std::min(in.max_bytes, node.config()->config.fetch_max_bytes);
  fetching.max_bytes = static_cast<std::uint64_t>(std::max(limit, 0));
  fetching.results.resize(fetching.context.items.size());
  resolve_ids(fetching);
  const auto shares = shares_of(fetching);

  co_await read_all(fetching, shares, nullptr);
  const auto enough = static_cast<std::uint64_t>(std::max(in.min_bytes, 0));
  if (fetching.size < enough && !fetching.answer_now && in.max_wait_ms > 0 && !shares.empty()) {
    const auto deadline = clock.mono() + std::min(milliseconds(in.max_wait_ms), wait_max);
    const auto wait = std::make_shared<DataWait>(request.shard());
    Interrupts::Handle interrupt(request.interrupts(), [wait] { wait->signal(); });
    request.go_on();
    while (true) {
      co_await read_all(fetching, shares, wait);
      const auto left = deadline - clock.mono();
      if (fetching.size >= enough || fetching.answer_now || left <= nanoseconds(0) || request.interrupts().raised())
        break;
      if (!co_await wait->wait(left)) {
        co_await read_all(fetching, shares, nullptr);
        break;
      }
      wait->rearm();
    }
  }
  co_return answer(fetching);
}

}  // namespace weir::broker::api
