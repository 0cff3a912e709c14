#include "client/client.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "protocol/messages/create_topics.h"
#include "protocol/messages/delete_topics.h"
#include "protocol/messages/fetch.h"
#include "protocol/messages/find_coordinator.h"
#include "protocol/messages/list_offsets.h"
#include "protocol/messages/metadata.h"
#include "protocol/messages/produce.h"

namespace weir::client {

using runtime::Task;

namespace {

// Topics are named, not numbered, up to these versions.
constexpr Versions named_produce{0, 12};
constexpr Versions named_fetch{4, 12};  // 4: batches of magic 2
constexpr Versions metadata_versions{1, 12};

// How much longer than the broker may wait we do.
constexpr milliseconds wait_margin{10'000};

ErrorCode error_of(std::int16_t code) { return static_cast<ErrorCode>(code); }

std::unexpected<Error> missing(const std::string& topic, PartitionId partition) {
  return fail(ErrorCode::UNKNOWN_SERVER_ERROR,
              fmt::format("the answer does not speak of {}-{}", topic, partition.value));
}

}  // namespace

Client::Running::~Running() {
  if (--client_.calls_ == 0 && client_.stopper_ != nullptr) client_.stopper_->wake();
}

Client::Client(runtime::Shard& shard, runtime::Sockets& sockets, runtime::Random& random, Options options,
               std::vector<runtime::Address> bootstrap)
    : shard_(shard), sockets_(sockets), random_(random), options_(std::move(options)), scope_(shard) {
  for (auto& address : bootstrap) {
    auto link = std::make_shared<Link>();
    link->address = std::move(address);
    bootstrap_.push_back(std::move(link));
  }
}

Client::~Client() { WEIR_CHECK(calls_ == 0, "a client is stopped before it goes"); }

Task<void> Client::stop() {
  stopping_ = true;
  const auto end = [](const std::shared_ptr<Link>& link) {
    if (link->connection) link->connection->close("the client stops");
  };
  for (const auto& link : bootstrap_) end(link);
  for (const auto& [id, link] : links_) end(link);
  for (auto* waiter : pauses_) waiter->wake();
  while (calls_ > 0) {
    runtime::Waiter waiter(shard_);
    stopper_ = &waiter;
    co_await waiter.wait();
    stopper_ = nullptr;
  }
  co_await scope_.stop();
}

Task<bool> Client::pause(nanoseconds time) {
  if (stopping_) co_return false;
  runtime::Waiter waiter(shard_);
  const auto at = pauses_.insert(pauses_.end(), &waiter);
  co_await waiter.wait(time);
  pauses_.erase(at);
  co_return !stopping_;
}

milliseconds Client::jittered(milliseconds time) {
  const auto fifth = static_cast<std::uint64_t>(time.count() / 5);
  return time + milliseconds(fifth == 0 ? 0 : static_cast<std::int64_t>(random_.below(fifth)));
}

// ---- connections

Task<Result<std::shared_ptr<Connection>>> Client::connect(std::shared_ptr<Link> link) {
  const Running running(*this);
  for (;;) {
    if (stopping_) co_return fail(ErrorCode::NETWORK_EXCEPTION, "the client stops");
    if (link->connection && !link->connection->closed()) co_return link->connection;
    if (!link->opening) break;
    // Somebody is at it: wait for what comes of it.
    runtime::Waiter waiter(shard_);
    const auto at = link->waiting.insert(link->waiting.end(), &waiter);
    co_await waiter.wait();
    link->waiting.erase(at);
    if (link->backoff > milliseconds(0) && !link->opening) {
      co_return fail(ErrorCode::NETWORK_EXCEPTION, fmt::format("cannot connect to {}", link->address.text()));
    }
  }
  link->opening = true;
  Result<std::shared_ptr<Connection>> opened = fail(ErrorCode::NETWORK_EXCEPTION, "the client stops");
  const auto wait = link->not_before - shard_.clock().mono();
  const bool go = wait <= nanoseconds(0) || co_await pause(wait);
  if (go) {
    auto address = link->address;
    auto options = options_.connection;
    opened = co_await Connection::open(shard_, scope_, sockets_, std::move(address), std::move(options));
  }
  link->opening = false;
  if (opened && stopping_) {
    (*opened)->close("the client stops");
    opened = fail(ErrorCode::NETWORK_EXCEPTION, "the client stops");
  }
  if (opened) {
    link->connection = *opened;
    link->backoff = milliseconds(0);
    link->not_before = nanoseconds(0);
  } else {
    link->backoff = std::clamp(link->backoff * 2, options_.backoff_min, options_.backoff_max);
    link->not_before = shard_.clock().mono() + jittered(link->backoff);
    WEIR_LOG(debug, "cannot connect to {}: {}", link->address.text(), opened.error().message);
  }
  for (auto* waiter : link->waiting) waiter->wake();
  co_return opened;
}

Task<Result<std::shared_ptr<Connection>>> Client::broker(BrokerId id) {
  const Running running(*this);
  auto it = links_.find(id);
  if (it == links_.end()) {
    auto none = std::vector<std::string>();
    auto topics = std::optional(std::move(none));
    const auto seen = co_await refresh(std::move(topics));
    if (!seen) co_return std::unexpected(seen.error());
    it = links_.find(id);
  }
  if (it == links_.end()) {
    co_return fail(ErrorCode::BROKER_NOT_AVAILABLE, fmt::format("the cluster does not name broker {}", id.value));
  }
  auto link = it->second;
  co_return co_await connect(std::move(link));
}

Task<Result<std::shared_ptr<Connection>>> Client::any() {
  const Running running(*this);
  for (const auto& [id, link] : links_) {
    if (link->connection && !link->connection->closed()) co_return link->connection;
  }
  for (const auto& link : bootstrap_) {
    if (link->connection && !link->connection->closed()) co_return link->connection;
  }
  // None is there: those we were told of first, one after the other, then those we learned of.
  std::vector<std::shared_ptr<Link>> all;
  all.reserve(bootstrap_.size() + links_.size());
  for (std::size_t i = 0; i < bootstrap_.size(); ++i) {
    all.push_back(bootstrap_[(next_bootstrap_ + i) % bootstrap_.size()]);
  }
  for (const auto& [id, link] : links_) all.push_back(link);
  ++next_bootstrap_;
  Result<std::shared_ptr<Connection>> last = fail(ErrorCode::BROKER_NOT_AVAILABLE, "no broker is known");
  for (auto& link : all) {
    last = co_await connect(std::move(link));
    if (last || stopping_) break;
  }
  co_return last;
}

Task<Result<std::shared_ptr<Connection>>> Client::controller() {
  const Running running(*this);
  if (view_.controller == no_broker) {
    auto none = std::vector<std::string>();
    auto topics = std::optional(std::move(none));
    const auto seen = co_await refresh(std::move(topics));
    if (!seen) co_return std::unexpected(seen.error());
  }
  if (view_.controller == no_broker) co_return fail(ErrorCode::NOT_CONTROLLER, "the cluster has no controller now");
  co_return co_await broker(view_.controller);
}

// ---- metadata

Task<Result<ClusterView>> Client::refresh(std::optional<std::vector<std::string>> topics) {
  const Running running(*this);
  protocol::MetadataRequest request;
  request.allow_auto_topic_creation = false;
  if (!topics) {
    request.topics.reset();
  } else {
    for (const auto& name : *topics) {
      auto& topic = request.topics->emplace_back();
      topic.name = name;
    }
  }
  const auto answer = co_await call_any<protocol::MetadataResponse>(std::move(request), metadata_versions);
  if (!answer) co_return std::unexpected(answer.error());
  const auto& message = answer->message;

  ClusterView seen;
  seen.cluster_id = message.cluster_id.value_or("");
  seen.controller = BrokerId{message.controller_id};
  for (const auto& b : message.brokers) {
    runtime::Address address;
    address.host = b.host;
    address.port = static_cast<std::uint16_t>(b.port);
    auto& link = links_[BrokerId{b.node_id}];
    if (!link || link->address != address) {
      if (link && link->connection) link->connection->close("the broker has another address now");
      link = std::make_shared<Link>();
      link->address = address;
    }
    seen.brokers.emplace(BrokerId{b.node_id}, std::move(address));
  }
  for (const auto& t : message.topics) {
    auto& topic = seen.topics[std::string(t.name.value_or(""))];
    topic.error = error_of(t.error_code);
    topic.id = t.topic_id;
    for (const auto& p : t.partitions) {
      auto& partition = topic.partitions[PartitionId{p.partition_index}];
      partition.error = error_of(p.error_code);
      partition.leader = BrokerId{p.leader_id};
      partition.leader_epoch = LeaderEpoch{p.leader_epoch};
      for (const auto id : p.replica_nodes) partition.replicas.emplace_back(id);
      for (const auto id : p.isr_nodes) partition.isr.emplace_back(id);
    }
  }
  view_.cluster_id = seen.cluster_id;
  view_.controller = seen.controller;
  view_.brokers = seen.brokers;
  if (!topics) view_.topics.clear();
  for (const auto& [name, topic] : seen.topics) view_.topics[name] = topic;
  co_return seen;
}

Task<Result<BrokerId>> Client::leader(std::string topic, PartitionId partition) {
  for (int tries = 0; tries < 2; ++tries) {
    if (const auto t = view_.topics.find(topic); t != view_.topics.end()) {
      const auto p = t->second.partitions.find(partition);
      if (p != t->second.partitions.end() && p->second.leader != no_broker) co_return p->second.leader;
      if (tries > 0) {
        if (t->second.error != ErrorCode::NONE) co_return fail(t->second.error, fmt::format("topic {}", topic));
        if (p == t->second.partitions.end()) {
          co_return fail(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, fmt::format("{}-{}", topic, partition.value));
        }
      }
    }
    if (tries > 0) break;
    auto names = std::vector<std::string>{topic};
    auto topics = std::optional(std::move(names));
    const auto seen = co_await refresh(std::move(topics));
    if (!seen) co_return std::unexpected(seen.error());
  }
  co_return fail(ErrorCode::LEADER_NOT_AVAILABLE, fmt::format("{}-{} has no leader now", topic, partition.value));
}

template <class T, class Fn>
Task<Result<T>> Client::retry(std::string topic, Fn once) {
  const Running running(*this);
  const auto deadline = shard_.clock().mono() + options_.retry_timeout;
  milliseconds backoff{0};
  for (;;) {
    auto result = co_await once();
    if (result || !retriable(result.error().code) || stopping_) co_return result;
    backoff = std::clamp(backoff * 2, options_.backoff_min, options_.backoff_max);
    const auto wait = jittered(backoff);
    if (shard_.clock().mono() + wait >= deadline) co_return result;
    WEIR_LOG(debug, "trying again in {} ms: {} {}", wait.count(), name(result.error().code), result.error().message);
    if (!co_await pause(wait)) co_return result;
    if (topic.empty()) {
      view_.controller = no_broker;
    } else {
      view_.topics.erase(topic);
    }
  }
}

// ---- records

Task<Result<Offset>> Client::produce(std::string topic, PartitionId partition, bytes::Shared batch, std::int16_t acks) {
  auto once = [this, topic, partition, batch, acks] { return produce_once(topic, partition, batch, acks); };
  co_return co_await retry<Offset>(std::move(topic), std::move(once));
}

Task<Result<Offset>> Client::produce_once(std::string topic, PartitionId partition, bytes::Shared batch,
                                          std::int16_t acks) {
  const auto to = co_await leader(topic, partition);
  if (!to) co_return std::unexpected(to.error());
  const auto connection = co_await broker(*to);
  if (!connection) co_return std::unexpected(connection.error());
  protocol::ProduceRequest request;
  request.acks = acks;
  request.timeout_ms = static_cast<std::int32_t>(options_.connection.request_timeout.count());
  auto& t = request.topic_data.emplace_back();
  t.name = topic;
  auto& p = t.partition_data.emplace_back();
  p.index = partition.value;
  p.records = protocol::Records::in_memory(batch.view());
  if (acks == 0) {
    const auto sent = (*connection)->send(request, named_produce);
    if (!sent) co_return std::unexpected(sent.error());
    co_return no_offset;
  }
  const auto timeout = options_.connection.request_timeout + wait_margin;
  const auto answer =
      co_await (*connection)->call<protocol::ProduceResponse>(std::move(request), named_produce, timeout);
  if (!answer) co_return std::unexpected(answer.error());
  for (const auto& rt : answer->message.responses) {
    for (const auto& rp : rt.partition_responses) {
      if (rt.name != topic || rp.index != partition.value) continue;
      if (rp.error_code != 0) co_return fail(error_of(rp.error_code), std::string(rp.error_message.value_or("")));
      co_return Offset{rp.base_offset};
    }
  }
  co_return missing(topic, partition);
}

Task<Result<Fetched>> Client::fetch(std::string topic, PartitionId partition, Offset from, FetchOptions options) {
  auto once = [this, topic, partition, from, options] { return fetch_once(topic, partition, from, options); };
  co_return co_await retry<Fetched>(std::move(topic), std::move(once));
}

Task<Result<Fetched>> Client::fetch_once(std::string topic, PartitionId partition, Offset from, FetchOptions options) {
  const auto to = co_await leader(topic, partition);
  if (!to) co_return std::unexpected(to.error());
  protocol::FetchRequest request;
  request.max_wait_ms = static_cast<std::int32_t>(options.wait_max.count());
  request.min_bytes = options.bytes_min;
  request.max_bytes = options.bytes_max;
  request.isolation_level = options.read_committed ? 1 : 0;
  auto& t = request.topics.emplace_back();
  t.topic = topic;
  auto& p = t.partitions.emplace_back();
  p.partition = partition.value;
  p.fetch_offset = from.value;
  p.partition_max_bytes = options.partition_bytes_max;
  const auto timeout = options.wait_max + options_.connection.request_timeout;
  const auto answer = co_await call<protocol::FetchResponse>(*to, std::move(request), named_fetch, timeout);
  if (!answer) co_return std::unexpected(answer.error());
  if (answer->message.error_code != 0) co_return fail(error_of(answer->message.error_code), "fetch");
  for (const auto& rt : answer->message.responses) {
    for (const auto& rp : rt.partitions) {
      if (rt.topic != topic || rp.partition_index != partition.value) continue;
      if (rp.error_code != 0) co_return fail(error_of(rp.error_code), fmt::format("{}-{}", topic, partition.value));
      Fetched fetched;
      if (!rp.records.view.empty()) fetched.records = answer->memory.sub(rp.records.view);
      fetched.high_watermark = Offset{rp.high_watermark};
      fetched.last_stable_offset = Offset{rp.last_stable_offset};
      fetched.log_start_offset = Offset{rp.log_start_offset};
      co_return fetched;
    }
  }
  co_return missing(topic, partition);
}

Task<Result<Offset>> Client::list_offset(std::string topic, PartitionId partition, std::int64_t timestamp) {
  auto once = [this, topic, partition, timestamp] { return list_offset_once(topic, partition, timestamp); };
  co_return co_await retry<Offset>(std::move(topic), std::move(once));
}

Task<Result<Offset>> Client::list_offset_once(std::string topic, PartitionId partition, std::int64_t timestamp) {
  const auto to = co_await leader(topic, partition);
  if (!to) co_return std::unexpected(to.error());
  protocol::ListOffsetsRequest request;
  request.replica_id = -1;
  auto& t = request.topics.emplace_back();
  t.name = topic;
  auto& p = t.partitions.emplace_back();
  p.partition_index = partition.value;
  p.timestamp = timestamp;
  const Versions versions{1, 0x7fff};  // 0 lists segments
  const auto answer = co_await call<protocol::ListOffsetsResponse>(*to, std::move(request), versions);
  if (!answer) co_return std::unexpected(answer.error());
  for (const auto& rt : answer->message.topics) {
    for (const auto& rp : rt.partitions) {
      if (rt.name != topic || rp.partition_index != partition.value) continue;
      if (rp.error_code != 0) co_return fail(error_of(rp.error_code), fmt::format("{}-{}", topic, partition.value));
      co_return Offset{rp.offset};
    }
  }
  co_return missing(topic, partition);
}

// ---- administration

Task<Result<>> Client::create_topic(NewTopic topic) {
  auto once = [this, topic = std::move(topic)] { return create_topic_once(topic); };
  co_return co_await retry<void>("", std::move(once));
}

Task<Result<>> Client::create_topic_once(NewTopic topic) {
  protocol::CreateTopicsRequest request;
  request.timeout_ms = static_cast<std::int32_t>(options_.connection.request_timeout.count());
  auto& t = request.topics.emplace_back();
  t.name = topic.name;
  t.num_partitions = topic.partitions;
  t.replication_factor = topic.replication_factor;
  for (const auto& [key, value] : topic.configs) {
    auto& config = t.configs.emplace_back();
    config.name = key;
    config.value = value;
  }
  const auto timeout = options_.connection.request_timeout + wait_margin;
  const auto answer = co_await call_controller<protocol::CreateTopicsResponse>(std::move(request), {}, timeout);
  if (!answer) co_return std::unexpected(answer.error());
  for (const auto& r : answer->message.topics) {
    if (r.name != topic.name) continue;
    if (r.error_code != 0) co_return fail(error_of(r.error_code), std::string(r.error_message.value_or("")));
    co_return Result<>();
  }
  co_return fail(ErrorCode::UNKNOWN_SERVER_ERROR, fmt::format("the answer does not speak of {}", topic.name));
}

Task<Result<>> Client::delete_topic(std::string name) {
  auto once = [this, name = std::move(name)] { return delete_topic_once(name); };
  co_return co_await retry<void>("", std::move(once));
}

Task<Result<>> Client::delete_topic_once(std::string name) {
  protocol::DeleteTopicsRequest request;
  request.timeout_ms = static_cast<std::int32_t>(options_.connection.request_timeout.count());
  request.topic_names.push_back(name);
  const Versions named{0, 5};
  const auto timeout = options_.connection.request_timeout + wait_margin;
  const auto answer = co_await call_controller<protocol::DeleteTopicsResponse>(std::move(request), named, timeout);
  if (!answer) co_return std::unexpected(answer.error());
  for (const auto& r : answer->message.responses) {
    if (r.name != name) continue;
    if (r.error_code != 0) co_return fail(error_of(r.error_code), std::string(r.error_message.value_or("")));
    view_.topics.erase(name);
    co_return Result<>();
  }
  co_return fail(ErrorCode::UNKNOWN_SERVER_ERROR, fmt::format("the answer does not speak of {}", name));
}

Task<Result<BrokerId>> Client::coordinator(std::string group) {
  auto once = [this, group = std::move(group)] { return coordinator_once(group); };
  co_return co_await retry<BrokerId>("", std::move(once));
}

Task<Result<BrokerId>> Client::coordinator_once(std::string group) {
  protocol::FindCoordinatorRequest request;
  request.key = group;
  const Versions single{0, 3};  // 4 and later ask for many
  const auto answer = co_await call_any<protocol::FindCoordinatorResponse>(std::move(request), single);
  if (!answer) co_return std::unexpected(answer.error());
  const auto& r = answer->message;
  if (r.error_code != 0) co_return fail(error_of(r.error_code), std::string(r.error_message.value_or("")));
  co_return BrokerId{r.node_id};
}

}  // namespace weir::client
