// A cluster, as a client sees it: brokers, leaders, and calls that find their way.
//
// Lives on one shard. Connections are made when needed, one to each broker, and made again after they broke, with
// a back-off that doubles. Calls may run side by side. Owner: call stop() and await it before destroying it.
//
// call() and its kin try once and tell what happened. produce, fetch, list_offset, create_topic and delete_topic go
// on until options.retry_timeout while the error is one that passes (retriable), looking up leaders anew.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "base/uuid.h"
#include "bytes/shared.h"
#include "client/connection.h"
#include "runtime/random.h"
#include "runtime/shard.h"

namespace weir::client {

struct Options {
  ConnectionOptions connection;
  milliseconds backoff_min{50};     // reconnect.backoff.ms, retry.backoff.ms
  milliseconds backoff_max{1'000};  // reconnect.backoff.max.ms
  milliseconds retry_timeout{120'000};
};

struct PartitionView {
  ErrorCode error = ErrorCode::NONE;
  BrokerId leader = no_broker;
  LeaderEpoch leader_epoch = no_leader_epoch;
  std::vector<BrokerId> replicas;
  std::vector<BrokerId> isr;
};

struct TopicView {
  ErrorCode error = ErrorCode::NONE;
  Uuid id;
  std::map<PartitionId, PartitionView> partitions;
};

struct ClusterView {
  std::string cluster_id;
  BrokerId controller = no_broker;
  std::map<BrokerId, runtime::Address> brokers;
  std::map<std::string, TopicView> topics;
};

struct FetchOptions {
  milliseconds wait_max{500};
  std::int32_t bytes_min = 1;
  std::int32_t bytes_max = 50 << 20;
  std::int32_t partition_bytes_max = 1 << 20;
  bool read_committed = false;
};

struct Fetched {
  bytes::Shared records;  // whole batches, and perhaps one that is cut off
  Offset high_watermark = no_offset;
  Offset last_stable_offset = no_offset;
  Offset log_start_offset = no_offset;
};

struct NewTopic {
  std::string name;
  std::int32_t partitions = 1;
  std::int16_t replication_factor = 1;
  std::vector<std::pair<std::string, std::string>> configs;
};

inline constexpr std::int64_t latest_offset = -1;  // for list_offset
inline constexpr std::int64_t earliest_offset = -2;

class Client {
 public:
  Client(runtime::Shard& shard, runtime::Sockets& sockets, runtime::Random& random, Options options,
         std::vector<runtime::Address> bootstrap);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Closes everything and waits for what runs inside; calls end with NETWORK_EXCEPTION.
  runtime::Task<void> stop();

  // A connection to this broker, to any of them, to the controller. After a failure the next try waits for its
  // back-off first. A broker that the metadata does not name is BROKER_NOT_AVAILABLE.
  runtime::Task<Result<std::shared_ptr<Connection>>> broker(BrokerId id);
  runtime::Task<Result<std::shared_ptr<Connection>>> any();
  runtime::Task<Result<std::shared_ptr<Connection>>> controller();

  template <class Response, class Request>
  runtime::Task<Result<Answer<Response>>> call(BrokerId to, Request request, Versions versions = {},
                                               milliseconds timeout = {}) {
    auto connection = co_await broker(to);
    if (!connection) co_return std::unexpected(connection.error());
    co_return co_await (*connection)->template call<Response>(std::move(request), versions, timeout);
  }
  template <class Response, class Request>
  runtime::Task<Result<Answer<Response>>> call_any(Request request, Versions versions = {}, milliseconds timeout = {}) {
    auto connection = co_await any();
    if (!connection) co_return std::unexpected(connection.error());
    co_return co_await (*connection)->template call<Response>(std::move(request), versions, timeout);
  }
  template <class Response, class Request>
  runtime::Task<Result<Answer<Response>>> call_controller(Request request, Versions versions = {},
                                                          milliseconds timeout = {}) {
    auto connection = co_await controller();
    if (!connection) co_return std::unexpected(connection.error());
    co_return co_await (*connection)->template call<Response>(std::move(request), versions, timeout);
  }

  // Asks for these topics (none: all of them; an empty list: brokers only), without creating any, and remembers.
  runtime::Task<Result<ClusterView>> refresh(std::optional<std::vector<std::string>> topics);
  // As last seen.
  const ClusterView& view() const { return view_; }

  // The batch is whole, of magic 2. The offset of its first record; no_offset with acks 0.
  runtime::Task<Result<Offset>> produce(std::string topic, PartitionId partition, bytes::Shared batch,
                                        std::int16_t acks = -1);
  runtime::Task<Result<Fetched>> fetch(std::string topic, PartitionId partition, Offset from,
                                       FetchOptions options = {});
  // By timestamp, or latest_offset, or earliest_offset; no_offset when no record is that late.
  runtime::Task<Result<Offset>> list_offset(std::string topic, PartitionId partition, std::int64_t timestamp);
  runtime::Task<Result<>> create_topic(NewTopic topic);
  runtime::Task<Result<>> delete_topic(std::string name);
  // The coordinator of a group; it is asked anew each time.
  runtime::Task<Result<BrokerId>> coordinator(std::string group);

 private:
  struct Link {
    runtime::Address address;
    std::shared_ptr<Connection> connection;
    bool opening = false;
    std::list<runtime::Waiter*> waiting;  // for who is opening it
    milliseconds backoff{0};              // 0: the last try went well
    nanoseconds not_before{};
  };
  // Counts a call of ours for as long as it runs.
  class Running {
   public:
    explicit Running(Client& client) : client_(client) { ++client_.calls_; }
    ~Running();
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

   private:
    Client& client_;
  };

  runtime::Task<Result<std::shared_ptr<Connection>>> connect(std::shared_ptr<Link> link);
  runtime::Task<Result<BrokerId>> leader(std::string topic, PartitionId partition);
  // False: stopped.
  runtime::Task<bool> pause(nanoseconds time);
  // `once` until it succeeds, fails for good, or time is up. `topic` is looked up anew between two tries.
  template <class T, class Fn>
  runtime::Task<Result<T>> retry(std::string topic, Fn once);
  milliseconds jittered(milliseconds time);

  runtime::Task<Result<Offset>> produce_once(std::string topic, PartitionId partition, bytes::Shared batch,
                                             std::int16_t acks);
  runtime::Task<Result<Fetched>> fetch_once(std::string topic, PartitionId partition, Offset from,
                                            FetchOptions options);
  runtime::Task<Result<Offset>> list_offset_once(std::string topic, PartitionId partition, std::int64_t timestamp);
  runtime::Task<Result<>> create_topic_once(NewTopic topic);
  runtime::Task<Result<>> delete_topic_once(std::string name);
  runtime::Task<Result<BrokerId>> coordinator_once(std::string group);

  runtime::Shard& shard_;
  runtime::Sockets& sockets_;
  runtime::Random& random_;
  const Options options_;
  runtime::Scope scope_;
  std::vector<std::shared_ptr<Link>> bootstrap_;
  std::map<BrokerId, std::shared_ptr<Link>> links_;
  std::size_t next_bootstrap_ = 0;
  ClusterView view_;
  bool stopping_ = false;
  std::list<runtime::Waiter*> pauses_;
  std::size_t calls_ = 0;  // of ours, under way: stop() waits for them
  runtime::Waiter* stopper_ = nullptr;
};

}  // namespace weir::client
