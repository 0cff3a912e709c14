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
#include "broker/moved.h"
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
  BrokerEpoch replica_epoch{-1};
  bool leader_only = true;       // else a follower may answer, too (KIP-392)
  std::string_view rack;         // of a consumer that wants the nearest replica; empty: it does not
  bool followers_heard = false;  // what this fetch says of the follower itself was noted
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
    if (const auto topic = image->topic(item.topic_id)) {
      item.topic = topic->name;
      continue;
    }
    const auto fresh = fetching.node.fresh_topics();
    const auto found = fresh->find(item.topic_id);
    item.topic = found == fresh->end() ? std::string() : found->second;
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
    auto may = fetching.replica       ? partition->check_follower(fetching.replica_id, item.current_epoch)
               : fetching.leader_only ? partition->check_leader(item.current_epoch)
                                      : partition->check_reader(item.current_epoch);
    if (!may) {
      result.error = may.error().code;
      fetching.answer_now = true;
      continue;
    }
    // First to be told, then look: what comes in between is not missed.
    if (wait) partition->on_data(wait, fetching.isolation);
    const auto& log = partition->log();
    if (item.last_fetched_epoch.value >= 0) {
      const auto diverging = partition->divergence(item.last_fetched_epoch, item.offset);
      if (!diverging || *diverging) {
        if (diverging) {
          result.diverging_epoch = (*diverging)->epoch.value;
          result.diverging_end = (*diverging)->end;
        } else {
          result.error = diverging.error().code;
        }
        result.high_watermark = log.high_watermark();
        result.last_stable = log.last_stable_offset();
        result.log_start = log.log_start();
        fetching.answer_now = true;
        continue;
      }
    }
    if (fetching.replica && !fetching.followers_heard && item.offset >= log.log_start() &&
        item.offset <= log.log_end()) {
      partition->follower_fetched(
          fetching.replica_id, item.offset, Offset{item.log_start},
          fetching.replica_epoch.value >= 0 ? std::optional(fetching.replica_epoch) : std::nullopt,
          runtime::Shard::current()->clock().mono());
    }
    if (fetching.replica && fetching.node.replicas->leader_throttles(*partition, fetching.replica_id)) {
      result = {};
      result.high_watermark = log.high_watermark();
      result.last_stable = log.last_stable_offset();
      result.log_start = log.log_start();
      continue;
    }
    if (!fetching.rack.empty() && partition->leads()) {
      const auto& image = fetching.node.image();
      const auto rack_of = [&image](BrokerId id) -> std::string_view {
        const auto* broker = image->broker(id);
        return broker != nullptr && broker->rack ? std::string_view(*broker->rack) : std::string_view();
      };
      const auto better = replica::preferred_read_replica(fetching.rack, fetching.node.id,
                                                          partition->readable_followers(), item.offset, rack_of);
      if (better) {
        result = {};
        result.preferred_read_replica = better->value;
        result.high_watermark = log.high_watermark();
        result.last_stable = log.last_stable_offset();
        result.log_start = log.log_start();
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
    if (fetching.replica) {
      fetching.node.replicas->sent_to_follower(*partition, result.records.size());
    } else {
      result.counters = partition->counters().bytes_out;
    }
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
  fetching.followers_heard = true;
}

Response answer(Fetching& fetching) {
  auto& request = fetching.request;
  auto& sessions = fetching.node.sessions_here();
  protocol::FetchResponse out;
  out.session_id = fetching.context.session_id;
  std::vector<runtime::Chunk> chunks;
  Moved moved(fetching.node.image(), request.connection().listener());
  for (std::size_t i = 0; i < fetching.context.items.size(); ++i) {
    const auto& item = fetching.context.items[i];
    auto& result = fetching.results[i];
    const bool has_records = result.records.size() > 0;
    if (fetching.context.session_id != 0) {
      const bool tells = sessions.tell(
          fetching.context.session_id, item, result.error, result.high_watermark.value, result.log_start.value,
          has_records || result.diverging_epoch >= 0 || result.preferred_read_replica >= 0);
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
    data.preferred_read_replica = result.preferred_read_replica;
    if (request.version() >= 16) moved.tell(result.error, item.topic, item.partition, data.current_leader);
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
  if (request.version() >= 16) moved.endpoints(out.node_endpoints);
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
  if (request.version() >= 15) fetching.replica_epoch = BrokerEpoch{in.replica_state.replica_epoch};
  fetching.leader_only = fetching.replica || request.version() < 11;
  if (!fetching.leader_only && node.config()->config.rack_aware_reads) fetching.rack = in.rack_id;
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
