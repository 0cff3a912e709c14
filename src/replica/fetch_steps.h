// What a fetcher knows of a partition, and the steps that it has the partition's own shard take: where to begin, where
// to cut, what to append. Each step checks that the partition still follows in the epoch it was handed over with, and
// none is taken for a fetcher that it was taken from meanwhile. For fetcher.cc only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "base/topic.h"
#include "base/uuid.h"
#include "bytes/shared.h"
#include "log/epochs.h"
#include "protocol/messages/list_offsets.h"
#include "replica/fetcher.h"
#include "replica/key.h"
#include "runtime/shard.h"

namespace weir::replica::fetching {

using runtime::Task;

enum class Phase : std::uint8_t { entering, truncating, fetching, failed };

// What a fetcher knows of a partition.
struct State {
  TopicPartition id;
  Following following;
  std::uint64_t version = 0;  // grows each time the controller hands it over: what was under way before is void
  bool gone = false;          // it follows another leader, or none
  Phase phase = Phase::entering;
  nanoseconds not_before{0};  // an error: left out until then
  Offset next = no_offset;    // to be fetched from
  Offset log_start = no_offset;
  LeaderEpoch last_epoch = no_leader_epoch;  // of the last record in the log
  std::int64_t lag = -1;
  int errors = 0;          // in a row, of those that pass with the controller's next word
  std::uint64_t turn = 0;  // when it had records last

  // What the session has of it.
  bool in_session = false;
  bool queued = false;  // in dirty_
  Offset sent_next = no_offset;
  Offset sent_start = no_offset;
  std::uint64_t sent_version = 0;
  Uuid sent_id;

  bool in_sync() const { return lag == 0; }
};
using StatePtr = std::shared_ptr<State>;

// A connection to a leader in the making. Neither a host that does not answer nor a process that takes the connection
// and then says nothing holds up a stop. Outlives the calls of Connection::open that have its options.
struct Dialling {
  client::ConnectionOptions options(const FetchOptions& of);
  void give_up();

  std::shared_ptr<bool> given_up = std::make_shared<bool>(false);
  net::Transport* shaking_hands = nullptr;  // to be set back when it is open, or is not to be
};

// A piece of work for the shard that owns the partition, and what came of it.
struct Item {
  StatePtr state;
  std::uint64_t version = 0;
  Following following;
  // In: a fetch's answer, or where the leader says an epoch ended.
  Offset at = no_offset;
  bytes::Shared records;
  Offset leader_high_watermark = no_offset;
  Offset leader_start = no_offset;
  log::Epochs::End leader_end{no_leader_epoch, no_offset};
  // Out.
  Error error{ErrorCode::NONE, {}};
  Offset next = no_offset;
  Offset log_start = no_offset;
  LeaderEpoch last_epoch = no_leader_epoch;
  std::uint64_t appended = 0;
  bool cut = false;
  bool complete = true;  // the truncation
  bool flush = false;
};
using Step = std::function<void(Item&)>;

// A piece of work for what is known now.
Item item_of(const StatePtr& state);

// ListOffsets for all of them, and what came of it: the leader's end (latest_timestamp) or start (earliest_timestamp).
// Those that have an error already are passed over; one that was not answered has one after it.
protocol::ListOffsetsRequest offsets_request(BrokerId self, const std::vector<Item>& items, std::int64_t timestamp);
void take_offsets(std::vector<Item>& items, const protocol::ListOffsetsResponse& answer, std::int64_t timestamp);

// Where the fetch begins, by how this leader tells where logs part.
enum class Divergence : std::uint8_t { in_fetch, by_question, unknown };
void enter(Item& item, Divergence divergence);
void part_ways(Item& item);
void take_records(Item& item);
void move_into_range(Item& item);
void learn_start(Item& item);
void cut_to(Item& item, Offset offset);
void look(Item& item);

// Takes the step for each item: one call to each shard, side by side. What the next request acknowledges by it is on
// the disk before this ends, where it has to be.
Task<void> on_owners(std::vector<Item>& items, Step step);

}  // namespace weir::replica::fetching
