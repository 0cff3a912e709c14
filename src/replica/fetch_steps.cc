#include "replica/fetch_steps.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "record/batch.h"

namespace weir::replica::fetching {

using runtime::call;

namespace {

constexpr milliseconds connect_max{3'000};
constexpr milliseconds handshake_max{5'000};

}  // namespace

client::ConnectionOptions Dialling::options(const FetchOptions& of) {
  auto to = of.connection;
  to.request_timeout = std::min({to.request_timeout, of.socket_timeout, handshake_max});
  to.socket.connect_max = std::min(to.socket.connect_max, connect_max);
  to.socket.connect_given_up = given_up;
  to.response_bytes_max =
      std::max(to.response_bytes_max, 2 * static_cast<std::uint32_t>(std::max(of.response_max_bytes, 0)));
  if (!to.transport) return to;
  to.transport = [this, make = std::move(to.transport)](std::unique_ptr<runtime::Socket> socket,
                                                        const runtime::Address& at) {
    auto made = make(std::move(socket), at);
    shaking_hands = made.get();
    if (*given_up) made->close();
    return made;
  };
  return to;
}

void Dialling::give_up() {
  *given_up = true;
  if (shaking_hands != nullptr) shaking_hands->close();
}

Item item_of(const StatePtr& state) {
  Item item;
  item.state = state;
  item.version = state->version;
  item.following = state->following;
  return item;
}

protocol::ListOffsetsRequest offsets_request(BrokerId self, const std::vector<Item>& items, std::int64_t timestamp) {
  protocol::ListOffsetsRequest request;
  request.replica_id = self.value;
  std::map<std::string_view, std::size_t> slots;
  for (const auto& item : items) {
    const auto& id = item.state->id;
    auto [slot, fresh] = slots.try_emplace(id.topic, request.topics.size());
    if (fresh) request.topics.emplace_back().name = id.topic;
    auto& to = request.topics[slot->second].partitions.emplace_back();
    to.partition_index = id.partition.value;
    to.current_leader_epoch = item.following.epoch.value;
    to.timestamp = timestamp;
  }
  return request;
}

void take_offsets(std::vector<Item>& items, const protocol::ListOffsetsResponse& answer, std::int64_t timestamp) {
  std::map<std::pair<std::string_view, std::int32_t>, Item*> asked;
  for (auto& item : items) {
    if (item.error.code != ErrorCode::NONE) continue;
    item.error.code = ErrorCode::UNKNOWN_SERVER_ERROR;
    asked[{item.state->id.topic, item.state->id.partition.value}] = &item;
  }
  for (const auto& topic : answer.topics) {
    for (const auto& got : topic.partitions) {
      const auto found = asked.find({topic.name, got.partition_index});
      if (found == asked.end()) continue;
      auto& item = *found->second;
      item.error.code = static_cast<ErrorCode>(got.error_code);
      if (item.error.code == ErrorCode::NONE && got.offset < 0) item.error.code = ErrorCode::UNKNOWN_SERVER_ERROR;
      (timestamp == log::latest_timestamp ? item.leader_end.end : item.leader_start) = Offset{got.offset};
    }
  }
}

void look(Item& item) {
  const auto& log = item.following.partition->log();
  item.next = log.log_end();
  item.log_start = log.log_start();
  item.last_epoch = log.latest_epoch().value_or(no_leader_epoch);
  item.flush = item.following.partition->acknowledges_by_flush();
}

void cut_to(Item& item, Offset offset) {
  auto done = item.following.partition->truncate_to(item.following.epoch, offset);
  if (done) {
    item.cut = *done;
  } else {
    item.error = done.error();
  }
}

void enter(Item& item, Divergence divergence) {
  auto& partition = *item.following.partition;
  if (auto fine = partition.check_following(item.following.epoch); !fine) {
    item.error = fine.error();
    return;
  }
  if (partition.agrees(item.following.epoch)) {
    look(item);
    return;
  }
  const bool epochs = partition.log().latest_epoch().has_value();
  if (!epochs || divergence == Divergence::unknown) cut_to(item, partition.log().high_watermark());
  item.complete = !epochs || divergence != Divergence::by_question;
  if (item.complete && item.error.code == ErrorCode::NONE) partition.set_agrees(item.following.epoch);
  look(item);
}

// The leader said where the epoch that this log has last ended there (KIP-101); of an epoch that is not known here the
// one before is asked for next (KIP-279).
void part_ways(Item& item) {
  auto& partition = *item.following.partition;
  if (auto fine = partition.check_following(item.following.epoch); !fine) {
    item.error = fine.error();
    return;
  }
  const auto& log = partition.log();
  const auto theirs = item.leader_end;
  Offset to;
  if (theirs.end == no_offset) {
    to = log.high_watermark();
  } else if (theirs.epoch == no_leader_epoch) {
    to = theirs.end;
  } else {
    const auto mine = log.end_of_epoch(theirs.epoch);
    if (mine.end == no_offset) {
      to = theirs.end;
    } else if (mine.epoch != theirs.epoch) {
      to = mine.end;
      item.complete = false;
    } else {
      to = std::min(mine.end, theirs.end);
    }
  }
  cut_to(item, std::min(to, log.log_end()));
  if (item.complete && item.error.code == ErrorCode::NONE) partition.set_agrees(item.following.epoch);
  look(item);
}

// The first offset of what the leader sent, when it is before this log's end: of a batch that ends elsewhere here.
std::optional<Offset> parts_before(const Item& item) {
  const auto& log = item.following.partition->log();
  if (log.log_end() != item.at || log.log_end() == log.log_start()) return std::nullopt;
  record::Batches batches(item.records.view());
  const auto first = batches.next();
  if (!first || first->base_offset() >= item.at || first->last_offset() < item.at) return std::nullopt;
  return first->base_offset();
}

// A leader says by epochs where logs part. Where both call it the same epoch and it is not (power failures took their
// tails, and epochs with them), the batch says so: it begins within what is here. That goes, and the next fetch asks
// from there; else the same would be asked for and refused for ever.
void take_records(Item& item) {
  auto& partition = *item.following.partition;
  if (partition.log().log_end() != item.at && partition.check_following(item.following.epoch)) {
    // Asked for before the log got its end of now: that is asked for next, and nothing is wrong.
    look(item);
    return;
  }
  if (const auto offset = parts_before(item); offset && partition.check_following(item.following.epoch)) {
    WEIR_LOG(warn, "{}: the leader's batch begins at {}, within the log that ends at {} here: the logs part there",
             partition.id().text(), offset->value, item.at.value);
    cut_to(item, std::max(*offset, Offset{0}));
    look(item);
    return;
  }
  auto done = partition.append_fetched(item.following.epoch, item.at, std::move(item.records),
                                       item.leader_high_watermark, item.leader_start);
  if (done) {
    item.appended = *done;
  } else {
    item.error = done.error();
    // What the leader sends does not go on from here: where the logs part is to be found out anew.
    if (item.error.code == ErrorCode::OFFSET_OUT_OF_RANGE) partition.set_agrees(no_leader_epoch);
  }
  look(item);
}

// The leader's log is [leader_start, leader_end): what was asked for is not in it.
void move_into_range(Item& item) {
  auto& partition = *item.following.partition;
  if (auto fine = partition.check_following(item.following.epoch); !fine) {
    item.error = fine.error();
    return;
  }
  const auto end = partition.log().log_end();
  if (item.leader_end.end < end) {
    cut_to(item, item.leader_end.end);
  } else if (item.leader_start > end) {
    auto done = partition.truncate_fully_and_start_at(item.following.epoch, item.leader_start);
    if (!done) item.error = done.error();
    item.cut = true;
  }
  look(item);
}

// Told outside a fetch, while nothing is fetched.
void learn_start(Item& item) {
  auto done = item.following.partition->learn_log_start(item.following.epoch, item.leader_start);
  if (done) {
    item.cut = *done;
  } else {
    item.error = done.error();
  }
  look(item);
}

Task<void> flush_one(Item& item) {
  auto done = co_await item.following.partition->flush();
  if (!done) item.error = done.error();
}

Task<void> run_here(runtime::Shard& owner, const std::vector<Item*>& share, const Step& step) {
  bool flush = false;
  for (auto* item : share) {
    if (item->following.turn == item->following.partition->fetch_turn()) {
      step(*item);
    } else {
      // Another fetcher has it, and this one will hear of that.
      item->error.code = ErrorCode::NOT_LEADER_OR_FOLLOWER;
      look(*item);
    }
    flush = flush || (item->flush && item->error.code == ErrorCode::NONE);
  }
  if (!flush) co_return;
  // What the next request acknowledges is on the disk before it leaves.
  runtime::Scope scope(owner);
  for (auto* item : share) {
    if (item->flush && item->error.code == ErrorCode::NONE) scope.spawn(flush_one(*item));
  }
  co_await scope.stop();
}

Task<void> run_share(runtime::Shard& owner, std::vector<Item*> share, const Step& step) {
  auto work = [&owner, &share, &step] { return run_here(owner, share, step); };
  co_await call(owner, std::move(work));
}

// One call to each shard, side by side.
Task<void> on_owners(std::vector<Item>& items, Step step) {
  std::vector<std::pair<runtime::Shard*, std::vector<Item*>>> shares;
  for (auto& item : items) {
    auto it = std::ranges::find(shares, item.following.owner, &std::pair<runtime::Shard*, std::vector<Item*>>::first);
    if (it == shares.end()) it = shares.insert(shares.end(), {item.following.owner, {}});
    it->second.push_back(&item);
  }
  if (shares.size() == 1) {
    co_await run_share(*shares[0].first, std::move(shares[0].second), step);
    co_return;
  }
  runtime::Scope scope(*runtime::Shard::current());
  for (auto& [owner, share] : shares) scope.spawn(run_share(*owner, std::move(share), step));
  co_await scope.stop();
}

}  // namespace weir::replica::fetching
