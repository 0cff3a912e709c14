#include "groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "protocol/messages/heartbeat.h"
#include "protocol/messages/join_group.h"
#include "protocol/messages/offset_commit.h"
#include "protocol/messages/offset_fetch.h"
#include "protocol/messages/sync_group.h"

namespace weir::sim {
namespace {

constexpr std::string_view group = "g";
constexpr milliseconds session_timeout{6000};
constexpr milliseconds rebalance_timeout{3000};
constexpr client::Versions join_versions{.min = 5, .max = 5};
constexpr client::Versions sync_versions{.min = 3, .max = 3};
constexpr client::Versions beat_versions{.min = 3, .max = 3};
constexpr client::Versions commit_versions{.min = 7, .max = 7};
constexpr client::Versions fetch_versions{.min = 7, .max = 7};

// Assignments are ours alone: a partition a byte.
std::string share(std::size_t member, std::size_t members, std::size_t partitions) {
  std::string all;
  for (auto p = member; p < partitions; p += members) all.push_back(static_cast<char>(p));
  return all;
}

}  // namespace

Groups::Groups(Cluster& cluster, History& history, std::string topic, int partitions, int members)
    : cluster_(cluster),
      history_(history),
      topic_(std::move(topic)),
      random_(cluster.clients().random()),
      shard_(*cluster.clients().shards().front()),
      scope_(shard_),
      asked_(static_cast<std::size_t>(partitions), -1),
      acknowledged_(static_cast<std::size_t>(partitions), -1) {
  for (int i = 0; i < members; ++i) {
    client::Options options;
    options.connection.request_timeout = milliseconds(3000);
    options.connection.socket.connect_max = milliseconds(2000);
    options.backoff_min = milliseconds(20);
    options.backoff_max = milliseconds(500);
    options.retry_timeout = milliseconds(2000);
    auto& member = *members_.emplace_back(std::make_unique<Member>());
    member.number = i;
    member.client =
        std::make_unique<client::Client>(shard_, cluster_.clients().sockets(), random_, options, cluster_.bootstrap());
  }
}

Task<void> Groups::rest(int ms_max) {
  co_await runtime::sleep(
      shard_, milliseconds(1 + static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(ms_max)))));
}

void Groups::start() {
  auto begin = [this]() -> Task<void> {
    for (auto& member : members_) scope_.spawn(live(this, member.get()));
    co_return;
  };
  runtime::block_on(shard_, std::move(begin));
}
void Groups::stop() {
  stopping_ = true;
  auto end = [this]() -> Task<void> {
    for (auto& member : members_) co_await member->client->stop();
    co_await scope_.stop();
  };
  runtime::block_on(shard_, std::move(end));
}

std::string Groups::unhealthy(nanoseconds since) const {
  if (last_commit_ > since) return {};
  return fmt::format("nobody of generation {} of the group has committed", newest_);
}

Task<void> Groups::live(Groups* self, Member* member) {
  while (!self->stopping_) {
    if (co_await join(self, member)) {
      co_await work(self, member);
    } else {
      co_await self->rest(300);
    }
  }
}

// True: it is in a generation and knows its share.
Task<bool> Groups::join(Groups* self, Member* member) {
  const auto coordinator = co_await member->client->coordinator(std::string(group));
  if (!coordinator) co_return false;
  member->coordinator = *coordinator;
  const auto old_id = member->id;
  protocol::JoinGroupRequest join;
  join.group_id = group;
  join.session_timeout_ms = static_cast<std::int32_t>(session_timeout.count());
  join.rebalance_timeout_ms = static_cast<std::int32_t>(rebalance_timeout.count());
  join.member_id = old_id;
  join.protocol_type = "consumer";
  join.protocols.push_back({.name = "mine", .metadata = {}, .unknown_tags = {}});
  auto joined = co_await member->client->call<protocol::JoinGroupResponse>(member->coordinator, std::move(join),
                                                                           join_versions, milliseconds(10'000));
  if (!joined) {
    member->id.clear();
    co_return false;
  }
  const auto& answer = joined->message;
  const auto error = ErrorCode{answer.error_code};
  if (error == ErrorCode::MEMBER_ID_REQUIRED) {
    member->id = answer.member_id;
    co_return false;
  }
  if (error != ErrorCode::NONE) {
    if (error == ErrorCode::UNKNOWN_MEMBER_ID) member->id.clear();
    co_return false;
  }
  member->id = answer.member_id;
  member->generation = answer.generation_id;

  const auto id = member->id;
  protocol::SyncGroupRequest sync;
  sync.group_id = group;
  sync.generation_id = member->generation;
  sync.member_id = id;
  std::vector<std::string> shares;
  if (answer.leader == id) {
    for (std::size_t i = 0; i < answer.members.size(); ++i) {
      shares.push_back(share(i, answer.members.size(), self->asked_.size()));
    }
    for (std::size_t i = 0; i < answer.members.size(); ++i) {
      sync.assignments.push_back(
          {.member_id = answer.members[i].member_id, .assignment = bytes::as_bytes(shares[i]), .unknown_tags = {}});
    }
  }
  auto synced = co_await member->client->call<protocol::SyncGroupResponse>(member->coordinator, std::move(sync),
                                                                           sync_versions, milliseconds(10'000));
  if (!synced || ErrorCode{synced->message.error_code} == ErrorCode::UNKNOWN_MEMBER_ID) member->id.clear();
  if (!synced || synced->message.error_code != 0) co_return false;
  member->partitions.clear();
  for (const char one : bytes::as_text(synced->message.assignment)) {
    member->partitions.emplace_back(static_cast<std::int32_t>(one));
  }
  if (member->generation > self->newest_) {
    self->cluster_.tell(fmt::format("member {}: generation {} by broker {}", member->number, member->generation,
                                    member->coordinator.value));
    self->newest_ = member->generation;
    ++self->generations_;
  }
  co_return true;
}

// Until the group changes, or something is unclear: then it is a new member, so that what may still be on its way is
// of a generation that has passed.
Task<void> Groups::work(Groups* self, Member* member) {
  std::vector<std::int64_t> next;
  for (const auto partition : member->partitions) {
    const auto found = co_await committed(self, member, partition);
    if (!found) co_return;
    next.push_back(*found + 1);
  }
  while (!self->stopping_) {
    for (std::size_t i = 0; i < next.size(); ++i) {
      if (self->random_.below(2) == 0 && !co_await commit(self, member, member->partitions[i], next[i]++)) co_return;
    }
    if (!co_await beat(member)) co_return;
    co_await self->rest(200);
    if (self->random_.below(60) != 0) continue;
    member->id.clear();  // it goes without a word, and comes back
    co_return;
  }
}

Task<std::optional<std::int64_t>> Groups::committed(Groups* self, Member* member, PartitionId partition) {
  const auto at = static_cast<std::size_t>(partition.value);
  // Who is of an older generation may ask a coordinator that is none any more.
  const bool newest = member->generation == self->newest_;
  const auto floor = self->acknowledged_[at];
  protocol::OffsetFetchRequest fetch;
  fetch.group_id = group;
  fetch.topics.emplace();
  fetch.topics->push_back({.name = self->topic_, .partition_indexes = {partition.value}, .unknown_tags = {}});
  auto fetched = co_await member->client->call<protocol::OffsetFetchResponse>(member->coordinator, std::move(fetch),
                                                                              fetch_versions);
  if (!fetched || fetched->message.error_code != 0) co_return std::nullopt;
  if (fetched->message.topics.empty() || fetched->message.topics.front().partitions.empty()) co_return std::nullopt;
  const auto& found = fetched->message.topics.front().partitions.front();
  if (found.error_code != 0) co_return std::nullopt;
  if (newest && found.committed_offset < floor) {
    self->history_.problem(
        home(), fmt::format("OFFSET of partition {} is {} for member {} of generation {}; {} was "
                            "acknowledged before",
                            partition.value, found.committed_offset, member->number, member->generation, floor));
  }
  if (found.committed_offset > self->asked_[at]) {
    self->history_.problem(home(), fmt::format("OFFSET of partition {} is {}; nobody committed more than {}",
                                               partition.value, found.committed_offset, self->asked_[at]));
  }
  co_return found.committed_offset;
}

Task<bool> Groups::commit(Groups* self, Member* member, PartitionId partition, std::int64_t offset) {
  const auto at = static_cast<std::size_t>(partition.value);
  const auto newest = self->newest_;
  self->asked_[at] = std::max(self->asked_[at], offset);
  const auto id = member->id;
  protocol::OffsetCommitRequest request;
  request.group_id = group;
  request.generation_id_or_member_epoch = member->generation;
  request.member_id = id;
  auto& topic = request.topics.emplace_back();
  topic.name = self->topic_;
  auto& one = topic.partitions.emplace_back();
  one.partition_index = partition.value;
  one.committed_offset = offset;
  auto answer = co_await member->client->call<protocol::OffsetCommitResponse>(member->coordinator, std::move(request),
                                                                              commit_versions);
  const bool told = answer && !answer->message.topics.empty() && !answer->message.topics.front().partitions.empty();
  const auto error =
      told ? ErrorCode{answer->message.topics.front().partitions.front().error_code} : ErrorCode::NETWORK_EXCEPTION;
  if (error == ErrorCode::REBALANCE_IN_PROGRESS) co_return false;
  if (error != ErrorCode::NONE) {
    self->cluster_.tell(fmt::format("member {}: commit of {} of {} in generation {}: {}", member->number, offset,
                                    partition.value, member->generation, name(error)));
    member->id.clear();
    co_return false;
  }
  if (member->generation < newest) {
    self->history_.problem(home(), fmt::format("FENCING partition {}: offset {} of generation {} was taken after "
                                               "generation {} was agreed on",
                                               partition.value, offset, member->generation, newest));
  }
  ++self->commits_;
  self->acknowledged_[at] = std::max(self->acknowledged_[at], offset);
  if (member->generation == self->newest_) self->last_commit_ = self->now();
  co_return true;
}

Task<bool> Groups::beat(Member* member) {
  const auto id = member->id;
  protocol::HeartbeatRequest request;
  request.group_id = group;
  request.generation_id = member->generation;
  request.member_id = id;
  auto answer = co_await member->client->call<protocol::HeartbeatResponse>(member->coordinator, std::move(request),
                                                                           beat_versions);
  if (answer && answer->message.error_code == 0) co_return true;
  if (!answer || ErrorCode{answer->message.error_code} == ErrorCode::UNKNOWN_MEMBER_ID) member->id.clear();
  co_return false;
}

}  // namespace weir::sim
