// Produce, versions 0 to 11.
//   2 log append time   3 record batches v2, transactional id   5 log start offset   7 zstd   8 record errors (KIP-467)
//   9 flexible   10 leader and endpoints of a partition that moved (KIP-951)   11 transactions without AddPartitions
// Where this differs from Kafka: near weir.storage.quota.bytes KAFKA_STORAGE_ERROR is the answer; a transactional id is
// refused (transactions are not served yet).

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "broker/api/handlers.h"
#include "broker/moved.h"
#include "broker/node.h"
#include "cluster/topic_name.h"
#include "protocol/messages/produce.h"
#include "record/validate.h"
#include "runtime/shard.h"

namespace weir::broker::api {
namespace {

// A partition of the request: where it goes and what came of it.
struct Item {
  std::string_view topic;
  PartitionId partition;
  bytes::Shared records;
  // The result; an error until the records are in the log.
  Error error{ErrorCode::UNKNOWN_SERVER_ERROR, {}};
  std::vector<record::RecordError> record_errors;
  log::Appended appended;
  std::shared_ptr<replica::Partition> in;
  std::uint64_t tenure = 0;  // of the leadership it was appended under
};

struct Share {
  runtime::Shard* owner = nullptr;
  std::vector<Item*> items;
};

void append(Node& node, Item& item, std::int16_t acks) {
  const auto partition = node.replicas->find(item.topic, item.partition);
  if (!partition) {
    // Known to the cluster but led elsewhere, or not known at all: the client refreshes its metadata for either.
    item.error.code = node.image()->partition(item.topic, item.partition) != nullptr
                          ? ErrorCode::NOT_LEADER_OR_FOLLOWER
                          : ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    return;
  }
  auto& space = node.replicas->space();
  const auto size = static_cast<std::int64_t>(item.records.size());
  if (space.level() != replica::Space::Level::plenty && !cluster::internal_topic(item.topic)) {
    item.error = {ErrorCode::KAFKA_STORAGE_ERROR,
                  fmt::format("the volume is full: {} of {} bytes", space.used(), space.quota())};
    return;
  }
  replica::Partition::AppendOptions options{.all_acks = acks == -1};
  auto appended = partition->append(std::move(item.records), options);
  if (!appended) {
    item.error = std::move(appended.error().error);
    item.record_errors = std::move(appended.error().records);
    return;
  }
  space.add(size);
  item.error.code = ErrorCode::NONE;
  item.appended = *appended;
  item.in = partition;
  item.tenure = partition->tenure();
}

// On the owner: append all, then wait until all are committed where the producer asked for that.
Task<void> append_share(Node& node, const Share& share, std::int16_t acks, nanoseconds timeout) {
  for (auto* item : share.items) append(node, *item, acks);
  if (acks == 0) co_return;
  const auto deadline = share.owner->clock().mono() + timeout;
  for (auto* item : share.items) {
    if (item->error.code != ErrorCode::NONE) continue;
    const bool leads_still = item->in->leads() && item->in->tenure() == item->tenure;
    if (leads_still && item->in->high_watermark() > item->appended.last_offset) continue;
    const auto left = std::max(deadline - share.owner->clock().mono(), nanoseconds(0));
    auto done = acks == -1 ? co_await item->in->committed(item->appended.last_offset, left, item->tenure)
                           : co_await item->in->flushed(item->appended.last_offset, left, item->tenure);
    if (!done) item->error = std::move(done.error());
  }
}

Task<void> ask_owner(Node& node, const Share& share, std::int16_t acks, nanoseconds timeout) {
  auto work = [&node, &share, acks, timeout] { return append_share(node, share, acks, timeout); };
  co_await runtime::call(*share.owner, std::move(work));
}

void fill(protocol::ProduceResponse::PartitionProduceResponse& out, const Item& item) {
  out.index = item.partition.value;
  out.error_code = static_cast<std::int16_t>(item.error.code);
  if (item.error.code == ErrorCode::NONE) {
    out.base_offset = item.appended.first_offset.value;
    out.log_append_time_ms = item.appended.log_append_time;
    out.log_start_offset = item.appended.log_start.value;
    return;
  }
  out.base_offset = -1;
  if (!item.error.message.empty()) out.error_message = item.error.message;
  for (const auto& error : item.record_errors) {
    auto& to = out.record_errors.emplace_back();
    to.batch_index = error.index;
    to.batch_index_error_message = error.message;
  }
}

// Records that the client made wrong: it may say so nowhere, and with acks=0 it is not even told.
void log_refused(const Request& request, const Item& item) {
  switch (item.error.code) {
    case ErrorCode::CORRUPT_MESSAGE:
    case ErrorCode::INVALID_RECORD:
    case ErrorCode::INVALID_TIMESTAMP:
    case ErrorCode::MESSAGE_TOO_LARGE:
    case ErrorCode::UNSUPPORTED_COMPRESSION_TYPE:
    case ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT: break;
    default: return;
  }
  WEIR_LOG_LIMITED_BY(warn, seconds(10), name(item.error.code),
                      "refused records for {}-{} of client {} from {}: {}: {}", item.topic, item.partition.value,
                      request.client_id(), request.connection().peer().text(), name(item.error.code),
                      item.error.message);
}

}  // namespace

Task<Response> produce(Request& request) {
  protocol::ProduceRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  const auto version = request.version();

  std::vector<std::unique_ptr<Item>> items;
  std::vector<Share> shares;
  ErrorCode refused = ErrorCode::NONE;
  if (in.acks < -1 || in.acks > 1) refused = ErrorCode::INVALID_REQUIRED_ACKS;
  if (in.transactional_id) refused = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
  for (const auto& topic : in.topic_data) {
    for (const auto& data : topic.partition_data) {
      auto& item = *items.emplace_back(std::make_unique<Item>());
      item.topic = topic.name;
      item.partition = PartitionId{data.index};
      if (refused != ErrorCode::NONE) {
        item.error.code = refused;
        continue;
      }
      if (cluster::internal_topic(topic.name) && request.client_id() != "__admin_client") {
        item.error = {ErrorCode::INVALID_TOPIC_EXCEPTION, fmt::format("{} is an internal topic", topic.name)};
        continue;
      }
      if (data.records.null || data.records.view.empty()) {
        item.error = {ErrorCode::INVALID_RECORD, "there are no records for the partition"};
        continue;
      }
      if (auto fine = record::check_produce(data.records.view, version); !fine) {
        item.error = std::move(fine.error());
        continue;
      }
      item.records = request.frame().sub(data.records.view);
      auto* owner = &node.replicas->shard_of(item.topic, item.partition);
      auto it = std::ranges::find(shares, owner, &Share::owner);
      if (it == shares.end()) it = shares.insert(shares.end(), Share{owner, {}});
      it->items.push_back(&item);
    }
  }

  // All shards are asked before anything waits; then the connection's next request may begin: calls keep their order.
  const auto timeout = milliseconds(std::max(in.timeout_ms, 0));
  runtime::Scope appending(request.shard());
  for (const auto& share : shares) appending.spawn(ask_owner(node, share, in.acks, timeout));
  request.go_on();
  co_await appending.stop();
  for (const auto& item : items) log_refused(request, *item);

  if (in.acks == 0) {
    // The producer hears nothing of errors but by losing its connection, which makes it look for the leader.
    for (const auto& item : items) {
      if (item->error.code != ErrorCode::NONE) {
        co_return Response::close(fmt::format("produce with acks=0 to {}-{} failed: {}", item->topic,
                                              item->partition.value, name(item->error.code)));
      }
    }
    co_return Response::nothing();
  }

  protocol::ProduceResponse out;
  Moved moved(node.image(), request.connection().listener());
  std::size_t next = 0;
  for (const auto& topic : in.topic_data) {
    auto& to = out.responses.emplace_back();
    to.name = topic.name;
    for (std::size_t i = 0; i < topic.partition_data.size(); ++i) {
      auto& partition = to.partition_responses.emplace_back();
      const auto& item = *items[next++];
      fill(partition, item);
      if (version >= 10) moved.tell(item.error.code, item.topic, item.partition, partition.current_leader);
    }
  }
  if (version >= 10) moved.endpoints(out.node_endpoints);
  co_return request.answer(out);
}

}  // namespace weir::broker::api
