// Fetching from leaders (Kafka's ReplicaFetcherThread): a connection to one source broker for a share of the partitions
// that it leads, one request at a time, in a fetch session (KIP-227).
//
// A Fetcher lives on one shard; the partitions it feeds live on any. What it knows of them are copies: a partition's
// own shard checks epoch, role and log end before anything is done to its log, so an order of the controller that comes
// in between never meets a stale append. The way of a partition through it:
//
//   entering: a log that has parted ways with its leader in this epoch already (another fetcher had it, and
//          num.replica.fetchers has changed) goes on where it ends; any other:
//   truncating: which epoch does the leader say ended where (KIP-101, KIP-279)? Asked for with
//          OffsetForLeaderEpoch; leaders that serve Fetch 12 say so in the fetch itself (KIP-595), which saves the
//          question. A log without epochs is cut to its high watermark.
//   fetching: its answer is appended in one call to each shard, and the next request leaves at once; it waits at the
//          leader, so a new record takes one round trip.
//   delayed: an error; it is left out until replica.fetch.backoff.ms have passed.
//   While the broker's volume is full (space.h) it is not fetched at all: every few seconds its leader is asked where
//   its
//          log starts, so that what was deleted there goes here.
//   failed: its log, or its epoch, is none to go on with; the controller's next word takes it up again.
//
// A request that waits at the leader is given up (with its connection) when partitions are added: they do not wait for
// others that have nothing to say. The commit of the next record may depend on them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "base/topic.h"
#include "base/uuid.h"
#include "client/connection.h"
#include "replica/partition.h"
#include "replica/space.h"
#include "replica/throttle.h"
#include "runtime/random.h"
#include "runtime/shard.h"
#include "runtime/sockets.h"

namespace weir::replica {

struct FetchOptions {
  runtime::Sockets* sockets = nullptr;   // null: nothing is fetched
  client::ConnectionOptions connection;  // client id and transport; the time-out is socket_timeout
  // Where a broker listens for brokers; nothing: not known now. On any shard.
  std::function<std::optional<runtime::Address>(BrokerId)> address;
  // The connection to this leader broke: it may have died. On any shard; null: nobody wants to know.
  std::function<void(BrokerId)> lost;
  // Of this broker, now; null or -1: not known.
  std::function<BrokerEpoch()> broker_epoch;
  int fetchers = 1;                            // num.replica.fetchers, at the start
  std::int32_t min_bytes = 1;                  // replica.fetch.min.bytes
  std::int32_t max_bytes = 1 << 20;            // replica.fetch.max.bytes, a partition
  std::int32_t response_max_bytes = 10 << 20;  // replica.fetch.response.max.bytes
  milliseconds wait_max{500};                  // replica.fetch.wait.max.ms
  milliseconds backoff{1'000};                 // replica.fetch.backoff.ms
  milliseconds socket_timeout{30'000};         // replica.socket.timeout.ms
  // The newest versions of Fetch and OffsetForLeaderEpoch that inter.broker.protocol.version lets us use.
  std::int16_t fetch_version_max = 17;
  std::int16_t epoch_version_max = 4;
};

// A partition to follow, as its owner hands it over.
struct Following {
  std::shared_ptr<Partition> partition;  // used on its shard only, but for what may be called from any thread
  runtime::Shard* owner = nullptr;
  LeaderEpoch epoch;
  std::optional<Uuid> topic_id;
  std::uint64_t turn =
      0;  // Partition::fetch_turn() as it was handed over: an older one's fetcher does nothing any more
};

// The fetchers of one shard. Made, used and stopped on it.
class Fetchers {
 public:
  // Writes the checkpoints of all logs; asked for after a log was cut. On any shard.
  using Checkpoint = std::function<runtime::Task<Result<>>()>;
  Fetchers(runtime::Shard& shard, BrokerId self, const FetchOptions& options, Throttle& throttle, const Space& space,
           Checkpoint checkpoint);
  ~Fetchers();
  Fetchers(const Fetchers&) = delete;
  Fetchers& operator=(const Fetchers&) = delete;

  struct Update {
    BrokerId leader = no_broker;
    int index = 0;  // of the fetcher, 0 to fetchers - 1
    TopicPartition partition;
    std::optional<Following> follow;  // nothing: this fetcher is to leave it
  };
  void update(std::vector<Update> updates);
  // Those that wait because a broker was not reached try again now.
  void retry();
  // Ends all connections and waits for what runs.
  runtime::Task<void> stop();

  // What a partition lacks, by its last fetch; -1: not known. Empty when no fetcher has it.
  struct Lag {
    TopicPartition partition;
    std::int64_t messages = -1;
  };
  void lags(std::vector<Lag>& out) const;
  std::size_t partitions() const;
  std::size_t failed() const;
  // How many there are: one without partitions ends, with its connection.
  std::size_t count() const { return all_.size(); }

 private:
  class Fetcher;
  runtime::Shard& shard_;
  const BrokerId self_;
  const FetchOptions& options_;
  Throttle& throttle_;
  const Space& space_;
  const Checkpoint checkpoint_;
  runtime::Scope scope_;
  std::map<std::pair<BrokerId, int>, std::shared_ptr<Fetcher>> all_;
  bool stopping_ = false;
};

}  // namespace weir::replica
