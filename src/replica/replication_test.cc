// Leaders and followers of several brokers, through real messages, in simulated time.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "record/batch.h"
#include "replica/fetch_steps.h"
#include "replica/test_cluster.h"

namespace weir::replica {
namespace {

using namespace std::chrono_literals;

const TopicPartition t0{"t", PartitionId{0}};

Uuid uuid(std::uint8_t n) {
  Uuid id;
  id.bytes[15] = n;
  return id;
}

using Answer = std::shared_ptr<std::optional<Result<>>>;
Task<void> wait_commit(ReplicaManager& manager, TopicPartition tp, Offset last, nanoseconds timeout, Answer answer) {
  auto work = [&]() -> Task<Result<>> {
    auto partition = manager.find(tp.topic, tp.partition);
    return partition->committed(last, timeout);
  };
  *answer = co_await runtime::call(manager.shard_of(tp.topic, tp.partition), std::move(work));
}
Answer commit(Node& node, const TopicPartition& tp, Offset last, nanoseconds timeout) {
  auto answer = std::make_shared<std::optional<Result<>>>();
  node.run([&]() -> Task<void> {
    node.scope.spawn(wait_commit(*node.manager, tp, last, timeout, answer));
    co_return;
  });
  return answer;
}
// Appended and committed, or not, within the time.
ErrorCode produce(Cluster& cluster, int leader, const TopicPartition& tp, std::string_view value,
                  nanoseconds timeout = 10s) {
  auto appended = cluster[leader].append(tp, value, 1, true);
  if (!appended) return appended.error().error.code;
  const auto answer = commit(cluster[leader], tp, appended->last_offset, timeout);
  cluster.until([&] { return answer->has_value(); });
  return code(**answer);
}

std::vector<std::string> numbers(int from, int to) {
  std::vector<std::string> out;
  for (int i = from; i < to; ++i) out.push_back(std::to_string(i));
  return out;
}

TEST(Replication, RecordsReachEveryReplicaInOneRoundTrip) {
  Cluster cluster(3);
  cluster.start();
  cluster.create(t0, {1, 2, 3}, uuid(7));
  ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
  for (int i = 1; i < 20; ++i) {
    const auto before = cluster.world.clock().mono();
    ASSERT_EQ(produce(cluster, 1, t0, std::to_string(i)), ErrorCode::NONE);
    // There to the followers that wait, and the next request back: two ways of 200 us each, and no waiting for a poll.
    EXPECT_LE(cluster.world.clock().mono() - before, 2ms);
  }
  for (int node = 2; node <= 3; ++node) EXPECT_EQ(cluster[node].values(t0), numbers(0, 20));
  EXPECT_TRUE(cluster.until([&] { return cluster.high(2, t0) == Offset{20} && cluster.high(3, t0) == Offset{20}; }));
  EXPECT_EQ(cluster[2].seen.size(), 0U) << "nobody asks a follower";
  const auto& seen = cluster[1].seen;
  EXPECT_TRUE(
      std::ranges::any_of(seen, [](const auto& s) { return s == std::pair<std::int16_t, std::int16_t>{1, 17}; }));
  EXPECT_GT(cluster[1].incremental_requests, 20) << "in a session";
  EXPECT_EQ(cluster[2].find(t0)->log().epochs().entries(), cluster[1].find(t0)->log().epochs().entries());
}

TEST(Replication, AnIdleSessionNamesNothing) {
  Cluster cluster(2);
  cluster.start();
  for (int i = 0; i < 50; ++i) cluster.create({"t", PartitionId{i}}, {1, 2}, uuid(7));
  cluster.world.run_for(2s);
  const auto asked = cluster[1].partitions_asked;
  const auto requests = cluster[1].incremental_requests;
  cluster.world.run_for(5s);
  EXPECT_GT(cluster[1].incremental_requests, requests + 8);
  EXPECT_EQ(cluster[1].partitions_asked, asked);
  EXPECT_EQ(produce(cluster, 1, {"t", PartitionId{3}}, "x"), ErrorCode::NONE);
  cluster.world.run_for(1s);
  EXPECT_EQ(cluster[1].partitions_asked, asked + 1) << "what moved, and nothing else";
}

TEST(Replication, EveryVersionOfFetchCarriesRecords) {
  for (const int version : {4, 5, 7, 9, 10, 11, 12, 13, 15, 17}) {
    SCOPED_TRACE(version);
    Cluster cluster(2);
    cluster[1].fetch_max = version;
    cluster[1].epochs_max = version < 9 ? 1 : 4;
    cluster.start();
    cluster.create(t0, {1, 2}, uuid(7));
    for (int i = 0; i < 5; ++i) ASSERT_EQ(produce(cluster, 1, t0, std::to_string(i)), ErrorCode::NONE);
    EXPECT_EQ(cluster[2].values(t0), numbers(0, 5));
    EXPECT_TRUE(
        std::ranges::any_of(cluster[1].seen, [&](const auto& s) { return s.first == 1 && s.second == version; }));
  }
}

TEST(Replication, WithoutATopicIdTheNamesAreSpoken) {
  Cluster cluster(2);
  cluster.start();
  cluster.create(t0, {1, 2});
  ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
  for (const auto& [api, version] : cluster[1].seen) {
    if (api == 1) {
      EXPECT_EQ(version, 12);
    }
  }
  // The controller gives it one: the session changes its language, and nothing is lost.
  cluster.topic_ids["t"] = uuid(9);
  for (auto& node : cluster.nodes) node->topic_names[uuid(9)] = "t";
  cluster.elect(t0, 1);
  ASSERT_EQ(produce(cluster, 1, t0, "1"), ErrorCode::NONE);
  EXPECT_EQ(cluster[1].seen.back().second, 17);
  EXPECT_EQ(cluster[2].values(t0), numbers(0, 2));
}

TEST(Replication, ALeaderWithoutSessionsServesToo) {
  Cluster cluster(2);
  cluster[1].sessions_on = false;
  cluster.start();
  cluster.create(t0, {1, 2}, uuid(7));
  for (int i = 0; i < 5; ++i) ASSERT_EQ(produce(cluster, 1, t0, std::to_string(i)), ErrorCode::NONE);
  EXPECT_EQ(cluster[2].values(t0), numbers(0, 5));
}

TEST(Replication, ALostSessionBeginsAnew) {
  Cluster cluster(2);
  cluster.start();
  cluster.create(t0, {1, 2}, uuid(7));
  ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
  cluster[1].sessions.clear();
  ASSERT_EQ(produce(cluster, 1, t0, "1"), ErrorCode::NONE);
  for (auto& [id, session] : cluster[1].sessions) session->epoch += 7;
  ASSERT_EQ(produce(cluster, 1, t0, "2"), ErrorCode::NONE);
  EXPECT_EQ(cluster[2].values(t0), numbers(0, 3));
}

TEST(Replication, PartitionsOfManyShardsAndFetchersAllArrive) {
  Cluster cluster(3, 5, 4);
  for (auto& node : cluster.nodes) node->options.fetch.fetchers = 3;
  cluster.start();
  for (int i = 0; i < 30; ++i)
    cluster.create({"t", PartitionId{i}}, {1 + i % 3, 1 + (i + 1) % 3, 1 + (i + 2) % 3}, uuid(7));
  for (int i = 0; i < 30; ++i) {
    ASSERT_EQ(produce(cluster, 1 + i % 3, {"t", PartitionId{i}}, std::to_string(i)), ErrorCode::NONE);
  }
  for (int i = 0; i < 30; ++i) {
    for (int node = 1; node <= 3; ++node) {
      EXPECT_EQ(cluster[node].values({"t", PartitionId{i}}), std::vector{std::to_string(i)});
    }
  }
  EXPECT_LE(cluster[1].accepted, 60);
}

// num.replica.fetchers, changed while they fetch.
TEST(Replication, FetchersBecomeMoreAndFewerWhileTheyFetch) {
  Cluster cluster(2, 5, 2);
  cluster.start();
  for (int i = 0; i < 40; ++i) cluster.create({"t", PartitionId{i}}, {1, 2}, uuid(7));
  const auto all_arrive = [&](std::string_view value) {
    for (int i = 0; i < 40; ++i) EXPECT_EQ(produce(cluster, 1, {"t", PartitionId{i}}, value), ErrorCode::NONE);
  };
  const auto spread = [&](int fetchers) {
    cluster[2].run([&]() -> Task<void> { co_await cluster[2].manager->set_fetchers(fetchers); });
    cluster.world.run_for(2s);
  };
  all_arrive("0");
  EXPECT_EQ(cluster[1].open.size(), 1U);
  spread(4);
  EXPECT_EQ(cluster[1].open.size(), 4U);
  all_arrive("1");
  spread(2);
  EXPECT_EQ(cluster[1].open.size(), 2U);
  all_arrive("2");
  // And so for what comes later.
  cluster.create({"u", PartitionId{0}}, {1, 2}, uuid(9));
  EXPECT_EQ(produce(cluster, 1, {"u", PartitionId{0}}, "x"), ErrorCode::NONE);
  cluster.world.run_for(2s);
  EXPECT_EQ(cluster[1].open.size(), 2U);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(cluster[2].values({"t", PartitionId{i}}), numbers(0, 3));
}

// Where leaders say nothing of epochs a follower begins at its high watermark, and cuts what is above; but not what the
// leader sent in this very epoch: that counts for acknowledgements.
TEST(Replication, MoreFetchersCutNothingThatWasAcknowledged) {
  for (const int epochs : {-1, 4}) {
    SCOPED_TRACE(epochs);
    Cluster cluster(3, 5, 2);
    cluster[1].fetch_max = 11;
    cluster[1].epochs_max = epochs;
    cluster.start();
    const auto each = [](const std::function<void(const TopicPartition&)>& work) {
      for (int i = 0; i < 8; ++i) work({"t", PartitionId{i}});
    };
    each([&](const auto& tp) { cluster.create(tp, {1, 2, 3}, uuid(7)); });
    each([&](const auto& tp) { EXPECT_EQ(produce(cluster, 1, tp, "committed"), ErrorCode::NONE); });
    // The third brings nothing more: what comes is above the high watermark.
    cluster[3].stop();
    each([&](const auto& tp) { ASSERT_TRUE(cluster[1].append(tp, "new", 5)); });
    const auto all_end = [&] {
      bool all = true;
      each([&](const auto& tp) { all = all && cluster.end(2, tp) == Offset{6}; });
      return all;
    };
    ASSERT_TRUE(cluster.until(all_end));
    each([&](const auto& tp) { ASSERT_LT(cluster.high(2, tp), Offset{6}); });
    cluster[2].run([&]() -> Task<void> { co_await cluster[2].manager->set_fetchers(4); });
    EXPECT_FALSE(cluster.until([&] { return !all_end(); }, 1s)) << "acknowledged records went for a while";
    EXPECT_EQ(cluster[1].open.size(), 4U);
    // A new epoch is another matter.
    if (epochs >= 0) continue;
    cluster[1].set_cut(true);
    each([&](const auto& tp) { cluster.elect(tp, 1); });
    EXPECT_TRUE(cluster.until([&] { return !all_end(); }, 1s));
  }
}

// The fetcher that a partition is taken from has answers under way, and its shard hears later than the new one's.
TEST(Replication, ProducingGoesOnWhileFetchersChange) {
  for (int seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    Cluster cluster(2, static_cast<std::uint64_t>(seed), 4);
    cluster.start();
    for (int i = 0; i < 8; ++i) cluster.create({"t", PartitionId{i}}, {1, 2}, uuid(7));
    for (int i = 0; i < 8; ++i) ASSERT_EQ(produce(cluster, 1, {"t", PartitionId{i}}, "0"), ErrorCode::NONE);
    nanoseconds longest{0};
    for (int round = 1; round < 40; ++round) {
      for (int i = 0; i < 8; ++i) ASSERT_TRUE(cluster[1].append({"t", PartitionId{i}}, std::to_string(round)));
      cluster.world.run_for(microseconds(50 * (round % 9)));
      cluster[2].run([&]() -> Task<void> { co_await cluster[2].manager->set_fetchers(1 + round % 4); });
      const auto before = cluster.world.clock().mono();
      ASSERT_TRUE(cluster.until([&] {
        bool all = true;
        for (int i = 0; i < 8; ++i) all = all && cluster.end(2, {"t", PartitionId{i}}) == Offset{round + 1};
        return all;
      }));
      longest = std::max(longest, cluster.world.clock().mono() - before);
    }
    EXPECT_LT(longest, 150ms) << "no back-off after an error";
    for (int i = 0; i < 8; ++i) EXPECT_EQ(cluster[2].values({"t", PartitionId{i}}), numbers(0, 40));
  }
}

// What the fetcher that had a partition before still brings is not appended; and what was asked for before the log got
// longer is passed over, without an error.
TEST(Replication, AnAnswerThatComesAfterTheNextFetcherTookOver) {
  Cluster cluster(2, 5, 1);
  cluster.start();
  cluster.create(t0, {1, 2}, uuid(7));
  ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
  const auto partition = cluster[2].find(t0);
  const auto bring = [&](std::uint64_t turn, Offset at) {
    auto state = std::make_shared<fetching::State>();
    state->id = t0;
    state->following = {partition, &cluster.world.shard(0), partition->leader_epoch(), uuid(7), turn};
    std::vector<fetching::Item> items{fetching::item_of(state)};
    record::Builder builder;
    builder.append({.timestamp = 1, .key = {}, .value = bytes::as_bytes(std::string_view("x")), .headers = {}});
    items[0].records = *builder.build();
    record::set_base_offset(items[0].records.mutable_view(), at);
    items[0].at = at;
    items[0].leader_high_watermark = items[0].leader_start = Offset{0};
    cluster[2].run([&]() -> Task<void> { co_await fetching::on_owners(items, fetching::take_records); });
    return std::pair(items[0].error.code, items[0].next);
  };
  const auto before = partition->fetch_turn();
  for (int fetchers = 2; partition->fetch_turn() == before && fetchers < 9; ++fetchers) {
    cluster[2].run([&]() -> Task<void> { co_await cluster[2].manager->set_fetchers(fetchers); });
  }
  ASSERT_GT(partition->fetch_turn(), before) << "another one has it now";
  EXPECT_EQ(bring(before, Offset{1}), std::pair(ErrorCode::NOT_LEADER_OR_FOLLOWER, Offset{1}));
  EXPECT_EQ(bring(partition->fetch_turn(), Offset{0}), std::pair(ErrorCode::NONE, Offset{1}));
  EXPECT_EQ(cluster[2].values(t0), numbers(0, 1));
}

TEST(Replication, TheNumberOfFetchersIsBounded) {
  Cluster cluster(2, 5, 2);
  cluster[2].options.fetch.fetchers = 0;
  cluster.start();
  for (int i = 0; i < 600; ++i) cluster.create({"t", PartitionId{i}}, {1, 2}, uuid(7));
  const auto running = [&](std::size_t count) {
    return cluster.until([&] {
      std::size_t now = 0;
      cluster[2].run([&]() -> Task<void> { now = co_await cluster[2].manager->fetchers_running(); });
      return now == count;
    });
  };
  const auto spread = [&](int fetchers) {
    cluster[2].run([&]() -> Task<void> { co_await cluster[2].manager->set_fetchers(fetchers); });
    cluster.world.run_for(2s);
  };
  EXPECT_TRUE(running(1));
  spread(2'147'483'647);
  EXPECT_LE(cluster[1].open.size(), 256U);
  EXPECT_GT(cluster[1].open.size(), 100U);
  spread(3);
  EXPECT_TRUE(running(3)) << "those that have nothing to fetch are gone";
  spread(-1);
  EXPECT_TRUE(running(1));
  EXPECT_EQ(produce(cluster, 1, {"t", PartitionId{5}}, "x"), ErrorCode::NONE);
}

TEST(Replication, NewPartitionsDoNotWaitForThePollOfOthers) {
  Cluster cluster(2);
  for (auto& node : cluster.nodes) node->options.fetch.wait_max = 5s;
  cluster.start();
  cluster.create({"quiet", PartitionId{0}}, {1, 2}, uuid(1));
  cluster.world.run_for(2s);  // it waits at the leader now
  cluster.create(t0, {1, 2}, uuid(7));
  const auto before = cluster.world.clock().mono();
  ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
  EXPECT_LE(cluster.world.clock().mono() - before, 50ms);
}

TEST(Replication, TheHighWatermarkWaitsForTheWholeIsr) {
  Cluster cluster(3);
  cluster.start();
  cluster.create(t0, {1, 2, 3}, uuid(7));
  ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
  cluster[3].stop();
  ASSERT_TRUE(cluster[1].append(t0, "1"));
  const auto answer = commit(cluster[1], t0, Offset{1}, 3s);
  cluster.world.run_for(2s);
  EXPECT_EQ(cluster.end(2, t0), Offset{2});
  EXPECT_EQ(cluster.high(1, t0), Offset{1});
  EXPECT_FALSE(answer->has_value());
  cluster.world.run_for(2s);
  ASSERT_TRUE(answer->has_value());
  EXPECT_EQ(code(**answer), ErrorCode::REQUEST_TIMED_OUT);
}

TEST(Replication, ALaggingReplicaLeavesTheIsrAndComesBack) {
  Cluster cluster(3);
  cluster.start();
  cluster.create(t0, {1, 2, 3}, uuid(7));
  ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
  cluster[3].stop();
  ASSERT_TRUE(cluster[1].append(t0, "1"));
  const auto answer = commit(cluster[1], t0, Offset{1}, 1h);
  ASSERT_TRUE(cluster.until([&] { return answer->has_value(); }, 30s));
  EXPECT_EQ(code(**answer), ErrorCode::NONE) << "after replica.lag.time.max.ms it goes on without it";
  EXPECT_EQ(cluster.board.states[t0].isr, Cluster::ids({1, 2}));
  EXPECT_TRUE(cluster[1].find(t0)->under_replicated());

  ASSERT_TRUE(cluster[3].start());
  cluster.tell(t0, cluster[3]);
  ASSERT_TRUE(cluster.until([&] { return cluster.board.states[t0].isr.size() == 3; }));
  EXPECT_EQ(cluster[3].values(t0), numbers(0, 2));
  EXPECT_FALSE(cluster[1].find(t0)->under_replicated());
  ASSERT_EQ(produce(cluster, 1, t0, "2"), ErrorCode::NONE);
  EXPECT_EQ(cluster[3].values(t0), numbers(0, 3));
}

TEST(Replication, AReplicaThatFollowsButIsBehindLeavesTheIsr) {
  Cluster cluster(2);
  cluster.start();
  cluster.create(t0, {1, 2}, uuid(7));
  ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
  cluster[1].corrupt_next = 1'000'000;  // it fetches on and on, and can use nothing of it
  ASSERT_TRUE(cluster[1].append(t0, "1"));
  ASSERT_TRUE(cluster.until([&] { return cluster.high(1, t0) == Offset{2}; }, 30s));
  cluster[1].corrupt_next = 0;
  ASSERT_TRUE(cluster.until([&] { return cluster.board.states[t0].isr.size() == 2; }, 30s));
  EXPECT_EQ(cluster[2].values(t0), numbers(0, 2)) << "a batch that came damaged is fetched again";
}

TEST(Replication, AShrinkCountsOnlyWhenItIsConfirmedAGrowthAtOnce) {
  Cluster cluster(2);
  cluster.start();
  cluster.create(t0, {1, 2}, uuid(7));
  ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
  cluster[2].stop();
  ASSERT_TRUE(cluster[1].append(t0, "1"));
  cluster.board.hold = true;
  auto leader = cluster[1].find(t0);
  ASSERT_TRUE(cluster.until([&] { return leader->isr_change_pending(); }, 30s));
  EXPECT_EQ(leader->maximal_isr(), Cluster::ids({1, 2}));
  EXPECT_EQ(leader->high_watermark(), Offset{1});
  cluster.world.run_for(3s);
  EXPECT_EQ(leader->high_watermark(), Offset{1});
  cluster.board.hold = false;
  ASSERT_TRUE(cluster.until([&] { return leader->high_watermark() == Offset{2}; }));

  cluster.board.hold = true;
  ASSERT_TRUE(cluster[2].start());
  cluster.tell(t0, cluster[2]);
  ASSERT_TRUE(cluster.until([&] { return leader->isr_change_pending(); }));
  EXPECT_EQ(leader->leadership().isr, Cluster::ids({1}));
  EXPECT_EQ(leader->maximal_isr(), Cluster::ids({1, 2}));
  // It is fetching no more: what it does not have is not committed, although it is no member yet.
  cluster[2].stop();
  ASSERT_TRUE(cluster[1].append(t0, "2"));
  cluster.world.run_for(1min);
  EXPECT_EQ(leader->high_watermark(), Offset{2});
  cluster.board.hold = false;
  ASSERT_TRUE(cluster.until([&] { return leader->high_watermark() == Offset{3}; }, 2min)) << "added, and then dropped";
}

TEST(Replication, ErrorsOfIsrChanges) {
  Cluster cluster(2);
  cluster.start();
  cluster.create(t0, {1, 2}, uuid(7));
  ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
  cluster[2].stop();
  ASSERT_TRUE(cluster[1].append(t0, "1"));
  // Passing errors are tried again.
  cluster.board.errors = {ErrorCode::NETWORK_EXCEPTION, ErrorCode::NOT_CONTROLLER, ErrorCode::UNKNOWN_SERVER_ERROR};
  ASSERT_TRUE(cluster.until([&] { return cluster.board.states[t0].isr.size() == 1; }, 1min));
  EXPECT_EQ(cluster.board.calls, 4);

  auto leader = cluster[1].find(t0);
  ASSERT_TRUE(cluster.until([&] { return !leader->isr_change_pending(); }));
  ASSERT_TRUE(cluster[2].start());
  cluster.board.errors = {ErrorCode::INELIGIBLE_REPLICA};
  cluster.board.calls = 0;
  cluster.tell(t0, cluster[2]);
  // Refused: the committed set stands, and its next fetch asks again.
  ASSERT_TRUE(cluster.until([&] { return cluster.board.states[t0].isr.size() == 2; }, 1min));
  EXPECT_EQ(cluster.board.calls, 2);

  // What we know is old: nothing more is asked until the controller speaks.
  ASSERT_TRUE(cluster.until([&] { return !leader->isr_change_pending(); }));
  cluster[2].stop();
  ASSERT_TRUE(cluster[1].append(t0, "2"));
  cluster.board.calls = 0;
  cluster.board.errors = {ErrorCode::INVALID_UPDATE_VERSION};
  ASSERT_TRUE(cluster.until([&] { return cluster.board.calls == 1; }, 1min));
  cluster.world.run_for(2min);
  EXPECT_EQ(cluster.board.calls, 1);
  EXPECT_TRUE(leader->isr_change_pending());
  cluster.elect(t0, 1, Cluster::ids({1, 2}));
  EXPECT_FALSE(leader->isr_change_pending());
  ASSERT_TRUE(cluster.until([&] { return cluster.board.states[t0].isr.size() == 1; }, 1min));
}

// A proposal that is tried again speaks of the life that was in sync, not of one that came back without its disk.
TEST(Replication, AProposalKeepsTheLivesThatWereInSync) {
  Machine machine;
  Board board;
  machine.options.isr_changer = &board;
  ASSERT_TRUE(machine.start());
  auto shrunk = Machine::lead(1, {self});
  shrunk.replicas = {self, BrokerId{2}};
  auto partition = machine.make("t", shrunk);
  ASSERT_TRUE(machine.append(partition, "a"));
  board.errors = {ErrorCode::NETWORK_EXCEPTION};
  const auto fetched = [&](Offset at, BrokerEpoch life) {
    machine.run([&]() -> Task<void> {
      partition->follower_fetched(BrokerId{2}, at, Offset{0}, life, machine.world.clock().mono());
      co_return;
    });
  };
  fetched(Offset{1}, BrokerEpoch{5});
  machine.world.settle();
  ASSERT_EQ(board.calls, 1);
  fetched(Offset{0}, BrokerEpoch{9});
  machine.world.run_for(1s);
  ASSERT_GE(board.calls, 2);
  for (const auto& asked : board.asked) {
    ASSERT_EQ(asked.isr.size(), 2U);
    ASSERT_EQ(asked.isr_epochs.size(), 2U);
    EXPECT_EQ(asked.isr_epochs[1], BrokerEpoch{5});
  }
  // Nor does a fetch of the earlier life, read late, speak for the one of now.
  fetched(Offset{1}, BrokerEpoch{5});
  EXPECT_EQ(partition->followers().front().log_end, Offset{0});
  EXPECT_EQ(partition->followers().front().epoch, BrokerEpoch{9});
}

TEST(Replication, TooFewInSyncRefuseOrSaySoAfterwards) {
  Cluster cluster(3);
  for (auto& node : cluster.nodes) node->settings["t"].min_insync_replicas = 2;
  cluster.start();
  cluster.create(t0, {1, 2, 3}, uuid(7));
  ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
  cluster[2].stop();
  cluster[3].stop();
  auto leader = cluster[1].find(t0);
  ASSERT_TRUE(cluster[1].append(t0, "1"));
  ASSERT_TRUE(cluster.until([&] { return cluster.board.states[t0].isr.size() == 1; }, 1min));
  ASSERT_TRUE(cluster.until([&] { return !leader->isr_change_pending(); }));
  EXPECT_TRUE(leader->under_min_isr());
  EXPECT_EQ(produce(cluster, 1, t0, "refused"), ErrorCode::NOT_ENOUGH_REPLICAS);
  // Without acks it is taken, and not shown before enough have it.
  ASSERT_TRUE(cluster[1].append(t0, "2"));
  cluster.world.run_for(1min);
  EXPECT_EQ(leader->high_watermark(), Offset{1});
  ASSERT_TRUE(cluster[2].start());
  cluster.tell(t0, cluster[2]);
  ASSERT_TRUE(cluster.until([&] { return leader->high_watermark() == Offset{3}; }));
}

// KIP-101, the first scenario: a follower that restarts with a high watermark behind its log's end must not cut what is
// committed before it knows better, for its leader may die meanwhile.
TEST(Replication, AFollowerThatRestartsKeepsWhatMayBeCommitted) {
  for (const int version : {17, 11}) {
    SCOPED_TRACE(version);
    Cluster cluster(2);
    for (auto& node : cluster.nodes) node->fetch_max = version;
    cluster.start();
    cluster.create(t0, {1, 2}, uuid(7));
    ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
    ASSERT_TRUE(cluster[1].append(t0, "1"));
    // The follower has it, the leader knows, the follower does not know that the leader knows.
    ASSERT_TRUE(cluster.until([&] { return cluster.high(1, t0) == Offset{2}; }));
    cluster[2].crash(true);
    ASSERT_TRUE(cluster[2].start());
    EXPECT_EQ(cluster.end(2, t0), Offset{2});
    cluster.tell(t0, cluster[2]);
    cluster[1].crash(true);
    cluster.elect(t0, 2, Cluster::ids({2}));
    EXPECT_EQ(cluster[2].values(t0), numbers(0, 2));
    ASSERT_EQ(produce(cluster, 2, t0, "2"), ErrorCode::NONE);
    ASSERT_TRUE(cluster[1].start());
    cluster.tell(t0, cluster[1]);
    ASSERT_TRUE(cluster.until([&] { return cluster.end(1, t0) == Offset{3}; }));
    EXPECT_EQ(cluster[1].values(t0), numbers(0, 3));
  }
}

// KIP-101, the second one: logs that part are made one again, by epochs.
TEST(Replication, ADeposedLeaderCutsWhatNobodyElseHas) {
  for (const int version : {17, 11}) {
    SCOPED_TRACE(version);
    Cluster cluster(2);
    for (auto& node : cluster.nodes) node->fetch_max = version;
    cluster.start();
    cluster.create(t0, {1, 2}, uuid(7));
    ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
    cluster[2].stop();
    ASSERT_TRUE(cluster[1].append(t0, "lost 1"));
    ASSERT_TRUE(cluster[1].append(t0, "lost 2"));
    cluster[1].crash(true);
    ASSERT_TRUE(cluster[2].start());
    cluster.elect(t0, 2, Cluster::ids({2}));
    ASSERT_EQ(produce(cluster, 2, t0, "1"), ErrorCode::NONE);
    ASSERT_TRUE(cluster[1].start());
    cluster.tell(t0, cluster[1]);
    ASSERT_TRUE(cluster.until([&] { return cluster.board.states[t0].isr.size() == 2; }));
    EXPECT_EQ(cluster[1].values(t0), numbers(0, 2));
    EXPECT_EQ(cluster[1].find(t0)->log().epochs().entries(), cluster[2].find(t0)->log().epochs().entries());
    ASSERT_EQ(produce(cluster, 2, t0, "2"), ErrorCode::NONE);
    EXPECT_EQ(cluster[1].values(t0), numbers(0, 3));
  }
}

// KIP-279: leaders follow each other so fast that a replica has an epoch that its leader never had. Each lost records
// in an epoch of its own; one question is not enough.
TEST(Replication, FastElectionsLeaveNoDivergence) {
  for (const int version : {17, 11}) {
    SCOPED_TRACE(version);
    Cluster cluster(2);
    for (auto& node : cluster.nodes) node->fetch_max = version;
    cluster.start();
    cluster.create(t0, {1, 2}, uuid(7));
    ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
    // Each leads alone in turn, unclean, and writes what the other one never sees.
    cluster[2].stop();
    for (int round = 0; round < 3; ++round) {
      ASSERT_TRUE(cluster[1].append(t0, "one " + std::to_string(round)));
      cluster[1].stop();
      ASSERT_TRUE(cluster[2].start());
      cluster.elect(t0, 2, Cluster::ids({2}));
      ASSERT_TRUE(cluster[2].append(t0, "two " + std::to_string(round), 2));
      cluster[2].stop();
      ASSERT_TRUE(cluster[1].start());
      cluster.elect(t0, 1, Cluster::ids({1}));
    }
    ASSERT_TRUE(cluster[1].append(t0, "last"));
    ASSERT_TRUE(cluster[2].start());
    cluster.tell(t0, cluster[2]);
    ASSERT_TRUE(cluster.until([&] { return cluster.board.states[t0].isr.size() == 2; }));
    EXPECT_EQ(cluster[2].values(t0), (std::vector<std::string>{"0", "one 0", "one 1", "one 2", "last"}));
    EXPECT_EQ(cluster[1].values(t0), cluster[2].values(t0));
    EXPECT_EQ(cluster[2].find(t0)->log().epochs().entries(), cluster[1].find(t0)->log().epochs().entries());
  }
}

// Power failures may take tails, and the epochs that told them apart: then only the leader's batch says that the logs
// part, for it begins within what the follower has.
TEST(Replication, AFollowerThatEndsWithinABatchOfItsLeaderTakesTheLeaders) {
  for (const int version : {17, 11}) {
    SCOPED_TRACE(version);
    Cluster cluster(2);
    for (auto& node : cluster.nodes) node->fetch_max = version;
    cluster.start();
    cluster.create(t0, {1, 2}, uuid(7));
    ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
    ASSERT_TRUE(cluster.until([&] { return cluster.end(2, t0) == Offset{1}; }));
    cluster[2].stop();
    ASSERT_TRUE(cluster[1].append(t0, "mine", 5));
    cluster[1].stop();
    // The same epoch, and other records.
    ASSERT_TRUE(cluster[2].start());
    auto alone = cluster.board.states[t0];
    alone.leader = BrokerId{2};
    ASSERT_TRUE(cluster[2].apply(t0, alone, uuid(7)));
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(cluster[2].append(t0, "lost"));
    cluster[2].stop();
    ASSERT_TRUE(cluster[1].start());
    cluster.elect(t0, 1, Cluster::ids({1}));
    ASSERT_TRUE(cluster[2].start());
    cluster.tell(t0, cluster[2]);
    ASSERT_TRUE(cluster.until([&] { return cluster.board.states[t0].isr.size() == 2; }));
    EXPECT_EQ(cluster[2].values(t0), (std::vector<std::string>{"0", "mine", "mine", "mine", "mine", "mine"}));
  }
}

// What was cut and written anew must not be taken for what the recovery point of before vouched for.
TEST(Replication, ACrashAfterATruncationChecksWhatCameAfterIt) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Cluster cluster(2, seed);
    for (auto& node : cluster.nodes) node->settings["t"].log.segment_bytes = 300;
    cluster.start();
    cluster.create(t0, {1, 2}, uuid(7));
    ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
    cluster[2].stop();
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(cluster[1].append(t0, "lost"));
    cluster[1].run([&]() -> Task<void> {
      auto flush = [&]() -> Task<Result<>> { return cluster[1].manager->find("t", PartitionId{0})->flush(); };
      EXPECT_TRUE(co_await runtime::call(cluster[1].manager->shard_of("t", PartitionId{0}), std::move(flush)));
    });
    cluster.world.run_for(10s);  // and a checkpoint
    cluster[1].stop();
    ASSERT_TRUE(cluster[2].start());
    cluster.elect(t0, 2, Cluster::ids({2}));
    for (int i = 1; i < 12; ++i) ASSERT_TRUE(cluster[2].append(t0, std::to_string(i)));
    ASSERT_TRUE(cluster[1].start());
    cluster.tell(t0, cluster[1]);
    ASSERT_TRUE(cluster.until([&] { return cluster.end(1, t0) == Offset{12}; }));
    cluster[1].crash();
    ASSERT_TRUE(cluster[1].start());
    const auto left = cluster[1].values(t0);
    EXPECT_EQ(left, numbers(0, static_cast<int>(left.size()))) << "a whole beginning, whatever the crash took";
    cluster.tell(t0, cluster[1]);
    ASSERT_TRUE(cluster.until([&] { return cluster.end(1, t0) == Offset{12}; }));
    EXPECT_EQ(cluster[1].values(t0), numbers(0, 12));
  }
}

TEST(Replication, AFollowerBehindTheLogStartBeginsThere) {
  for (const int version : {17, 11}) {
    SCOPED_TRACE(version);
    Cluster cluster(2);
    for (auto& node : cluster.nodes) {
      node->fetch_max = version;
      node->settings["t"].log.segment_bytes = 200;
      node->settings["t"].log.retention_bytes = 300;
      node->options.retention_check = 5s;
    }
    cluster.start();
    cluster.create(t0, {1, 2}, uuid(7));
    ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
    cluster[2].stop();
    ASSERT_TRUE(cluster[1].append(t0, "1"));
    ASSERT_TRUE(cluster.until([&] { return cluster.high(1, t0) == Offset{2}; }, 1min));
    for (int i = 2; i < 30; ++i) ASSERT_TRUE(cluster[1].append(t0, std::to_string(i)));
    cluster.world.run_for(1min);
    const auto start = cluster[1].find(t0)->log().log_start();
    ASSERT_GT(start, Offset{5});
    ASSERT_TRUE(cluster[2].start());
    cluster.tell(t0, cluster[2]);
    ASSERT_TRUE(cluster.until([&] { return cluster.board.states[t0].isr.size() == 2; }));
    EXPECT_EQ(cluster[2].find(t0)->log().log_start(), start);
    EXPECT_EQ(cluster[2].values(t0), cluster[1].values(t0));
  }
}

// DeleteRecords in the middle of a batch: a new replica takes the whole batch, and starts where the leader does.
TEST(Replication, ANewReplicaOfALogThatStartsInsideABatch) {
  Cluster cluster(2);
  cluster.start();
  cluster.create(t0, {1, 2}, uuid(7));
  cluster[2].stop();
  ASSERT_TRUE(cluster[1].append(t0, "x", 10));
  ASSERT_TRUE(cluster[1].append(t0, "y", 5));
  ASSERT_TRUE(cluster.until([&] { return cluster.board.states[t0].isr.size() == 1; }, 1min));
  ASSERT_TRUE(cluster.until([&] { return cluster.high(1, t0) == Offset{15}; }, 1min));
  auto leader = cluster[1].find(t0);
  ASSERT_TRUE(leader->log().advance_log_start(Offset{4}));
  ASSERT_TRUE(cluster[2].start());
  cluster.tell(t0, cluster[2]);
  ASSERT_TRUE(cluster.until([&] { return cluster.board.states[t0].isr.size() == 2; }));
  ASSERT_TRUE(cluster.until([&] { return cluster[2].find(t0)->log().log_start() == Offset{4}; }));
  EXPECT_EQ(cluster.end(2, t0), Offset{15});
}

TEST(Replication, DeletedRecordsWaitForTheFollowers) {
  Cluster cluster(2);
  cluster.start();
  cluster.create(t0, {1, 2}, uuid(7));
  for (int i = 0; i < 10; ++i) ASSERT_EQ(produce(cluster, 1, t0, std::to_string(i)), ErrorCode::NONE);
  auto leader = cluster[1].find(t0);
  ASSERT_TRUE(leader->log().advance_log_start(Offset{6}));
  EXPECT_EQ(leader->low_watermark(), Offset{0});
  Result<> answer = fail(ErrorCode::UNKNOWN_SERVER_ERROR);
  const auto before = cluster.world.clock().mono();
  cluster[1].run([&]() -> Task<void> {
    auto wait = [&] { return leader->deleted(Offset{6}, 10s); };
    answer = co_await runtime::call(cluster[1].manager->shard_of("t", PartitionId{0}), std::move(wait));
  });
  EXPECT_TRUE(answer);
  EXPECT_LE(cluster.world.clock().mono() - before, 2s);
  EXPECT_EQ(leader->low_watermark(), Offset{6});
  EXPECT_EQ(cluster[2].find(t0)->log().log_start(), Offset{6});
}

// A follower that fetches nothing because its volume is full would keep for ever what was deleted on its leader, and
// stay full.
TEST(Replication, AFullFollowerHearsWhatWasDeletedAndGoesOn) {
  for (const int version : {4, 11, 17}) {
    SCOPED_TRACE(version);
    Cluster cluster(2);
    cluster[1].fetch_max = version;
    cluster[1].epochs_max = version < 9 ? 1 : 4;
    Settings small;
    small.log.segment_bytes = 1000;
    cluster[2].options.retention_check = 10s;
    cluster[2].options.initial_delay = 1s;
    for (auto& node : cluster.nodes) node->settings["t"] = node->settings["u"] = small;
    cluster.start();
    const TopicPartition u0{"u", PartitionId{0}};
    cluster.create(t0, {1, 2}, uuid(7));
    cluster.create(u0, {1, 2}, uuid(8));
    for (int i = 0; i < 40; ++i) {
      ASSERT_EQ(produce(cluster, 1, t0, std::to_string(i)), ErrorCode::NONE);
      ASSERT_EQ(produce(cluster, 1, u0, std::to_string(i)), ErrorCode::NONE);
    }
    auto& space = cluster[2].manager->space();
    const auto measure = [&] { cluster[2].run([&]() -> Task<void> { co_await cluster[2].manager->measure_space(); }); };
    space.set_quota(1);
    measure();
    const auto used = space.used();
    space.set_quota(used);
    ASSERT_EQ(space.level(), Space::Level::full);
    // The follower is out of the ISR before more is acknowledged, and has little of it.
    for (int i = 40; i < 60; ++i) {
      ASSERT_EQ(produce(cluster, 1, t0, std::to_string(i), 60s), ErrorCode::NONE);
      ASSERT_EQ(produce(cluster, 1, u0, std::to_string(i), 60s), ErrorCode::NONE);
    }
    const auto stopped_at = cluster.end(2, t0);
    ASSERT_LT(stopped_at, Offset{60});
    // Of one a part is deleted, of the other more than the follower has.
    const auto drop = [&](const TopicPartition& tp, Offset before) {
      auto partition = cluster[1].find(tp);
      cluster[1].run([&]() -> Task<void> {
        auto work = [&] { EXPECT_TRUE(partition->log().advance_log_start(before)); };
        co_await runtime::call(cluster[1].manager->shard_of(tp.topic, tp.partition), std::move(work));
      });
    };
    drop(t0, Offset{35});
    drop(u0, Offset{58});
    EXPECT_TRUE(cluster.until([&] { return cluster[2].find(t0)->log().log_start() == Offset{35}; }));
    EXPECT_TRUE(cluster.until([&] { return cluster[2].find(u0)->log().log_start() == Offset{58}; }));
    EXPECT_EQ(cluster.end(2, t0), stopped_at) << "nothing was fetched";
    EXPECT_TRUE(cluster.until([&] {
      measure();
      return space.level() != Space::Level::full;
    })) << "and its own segments go";
    EXPECT_TRUE(cluster.until([&] { return cluster.end(2, t0) == Offset{60} && cluster.end(2, u0) == Offset{60}; }));
    const auto asked = std::ranges::count(cluster[1].seen, std::int16_t{2}, [](const auto& s) { return s.first; });
    EXPECT_LT(asked, 40) << "every few seconds";
  }
}

TEST(Replication, AnEmptyLeaderAfterAnUncleanElectionIsFollowed) {
  for (const int version : {17, 11}) {
    SCOPED_TRACE(version);
    Cluster cluster(2);
    for (auto& node : cluster.nodes) node->fetch_max = version;
    cluster.start();
    cluster.create(t0, {1, 2}, uuid(7));
    cluster[2].stop();
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(cluster[1].append(t0, "gone"));
    cluster[1].stop();
    ASSERT_TRUE(cluster[2].start());
    cluster.elect(t0, 2, Cluster::ids({2}));
    ASSERT_TRUE(cluster[1].start());
    cluster.tell(t0, cluster[1]);
    ASSERT_TRUE(cluster.until([&] { return cluster.board.states[t0].isr.size() == 2; }));
    ASSERT_EQ(produce(cluster, 2, t0, "0"), ErrorCode::NONE);
    EXPECT_EQ(cluster[1].values(t0), numbers(0, 1));
  }
}

TEST(Replication, AtTheMinimumTheLastReplicasFlush) {
  for (const bool on : {true, false}) {
    SCOPED_TRACE(on);
    Cluster cluster(3);
    for (auto& node : cluster.nodes) {
      node->settings["t"].min_insync_replicas = 2;
      node->options.flush_at_min_isr = on;
    }
    cluster.start();
    cluster.create(t0, {1, 2, 3}, uuid(7));
    ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
    EXPECT_EQ(cluster[1].find(t0)->log().recovery_point(), Offset{0}) << "three in sync: as Kafka";
    cluster[3].stop();
    ASSERT_TRUE(cluster[1].append(t0, "1"));
    ASSERT_TRUE(cluster.until([&] { return cluster.high(1, t0) == Offset{2}; }, 1min));
    // The follower hears of it as UpdateMetadata would tell.
    const auto& state = cluster.board.states[t0];
    std::vector<LearnedIsr> learned{{t0, state.leader_epoch, state.partition_epoch, state.isr}};
    cluster[2].run([&]() -> Task<void> { co_await cluster[2].manager->learn_isrs(learned); });
    cluster.world.run_for(1s);
    cluster.world.set_pool_latency(3ms);
    for (int i = 2; i < 5; ++i) {
      ASSERT_EQ(produce(cluster, 1, t0, std::to_string(i)), ErrorCode::NONE);
      const auto expected = on ? Offset{i + 1} : Offset{0};
      EXPECT_EQ(cluster[1].find(t0)->log().recovery_point(), expected);
      EXPECT_EQ(cluster[2].find(t0)->log().recovery_point(), expected);
    }
    cluster.world.set_pool_latency(0ms);
  }
}

TEST(Replication, AFollowersHighWatermarkServesReadersAndStaysAfterAnElection) {
  Cluster cluster(3);
  cluster.start();
  cluster.create(t0, {1, 2, 3}, uuid(7));
  for (int i = 0; i < 5; ++i) ASSERT_EQ(produce(cluster, 1, t0, std::to_string(i)), ErrorCode::NONE);
  cluster.world.run_for(1s);
  auto follower = cluster[2].find(t0);
  EXPECT_EQ(follower->high_watermark(), Offset{5});
  EXPECT_EQ(code(follower->check_leader()), ErrorCode::NOT_LEADER_OR_FOLLOWER);
  EXPECT_EQ(code(follower->check_reader(LeaderEpoch{0})), ErrorCode::NONE);
  EXPECT_EQ(code(follower->check_reader(LeaderEpoch{1})), ErrorCode::UNKNOWN_LEADER_EPOCH);
  const auto readable = cluster[1].find(t0)->readable_followers();
  ASSERT_EQ(readable.size(), 2U);
  EXPECT_EQ(readable[0].log_end, Offset{5});

  cluster[1].stop();
  cluster.elect(t0, 2);
  EXPECT_GE(follower->high_watermark(), Offset{5});
  EXPECT_EQ(code(follower->check_offsets_available()), ErrorCode::NONE);
  ASSERT_EQ(produce(cluster, 2, t0, "5"), ErrorCode::NONE);
  EXPECT_EQ(cluster[3].values(t0), numbers(0, 6));
}

TEST(Replication, ANewLeaderDoesNotTellTheLatestOffsetBeforeItIsSure) {
  Cluster cluster(3);
  cluster.start();
  cluster.create(t0, {1, 2, 3}, uuid(7));
  ASSERT_TRUE(cluster[1].append(t0, "0"));
  ASSERT_TRUE(cluster.until([&] { return cluster.high(1, t0) == Offset{1}; }));
  // The followers have the record, and have not heard that it is committed.
  ASSERT_EQ(cluster.high(2, t0), Offset{0});
  cluster[3].stop();
  cluster[1].stop();
  cluster.elect(t0, 2, Cluster::ids({2, 3}));
  auto leader = cluster[2].find(t0);
  EXPECT_EQ(code(leader->check_offsets_available()), ErrorCode::OFFSET_NOT_AVAILABLE);
  ASSERT_TRUE(cluster[3].start());
  cluster.tell(t0, cluster[3]);
  ASSERT_TRUE(cluster.until([&] { return leader->high_watermark() == Offset{1}; }));
  EXPECT_EQ(code(leader->check_offsets_available()), ErrorCode::NONE);
}

TEST(Replication, AStrangerAndAnOldEpochAreRefused) {
  Cluster cluster(3);
  cluster.start();
  cluster.create(t0, {1, 2}, uuid(7));
  auto leader = cluster[1].find(t0);
  EXPECT_EQ(code(leader->check_follower(BrokerId{2}, LeaderEpoch{0})), ErrorCode::NONE);
  EXPECT_EQ(code(leader->check_follower(BrokerId{3}, LeaderEpoch{0})), ErrorCode::UNKNOWN_LEADER_EPOCH);
  EXPECT_EQ(code(leader->check_follower(BrokerId{3})), ErrorCode::NOT_LEADER_OR_FOLLOWER);
  cluster.elect(t0, 1);
  EXPECT_EQ(code(leader->check_follower(BrokerId{2}, LeaderEpoch{0})), ErrorCode::FENCED_LEADER_EPOCH);
  EXPECT_EQ(code(leader->check_follower(BrokerId{2}, LeaderEpoch{2})), ErrorCode::UNKNOWN_LEADER_EPOCH);
}

TEST(Replication, AFollowerAheadOfItsLeadersEpochWaitsForIt) {
  Cluster cluster(2);
  cluster.start();
  cluster.create(t0, {1, 2}, uuid(7));
  ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
  // The follower hears of the new epoch first.
  auto& state = cluster.board.states[t0];
  state.leader_epoch = LeaderEpoch{1};
  ++state.partition_epoch;
  cluster.tell(t0, cluster[2]);
  cluster.world.run_for(2s);
  cluster.tell(t0, cluster[1]);
  ASSERT_EQ(produce(cluster, 1, t0, "1"), ErrorCode::NONE);
  EXPECT_EQ(cluster[2].values(t0), numbers(0, 2));
}

TEST(Replication, AFullDiskOfAFollowerCostsThatPartitionOnly) {
  Cluster cluster(2);
  cluster.start();
  const TopicPartition other{"u", PartitionId{0}};
  cluster.create(t0, {1, 2}, uuid(7));
  cluster.create(other, {1, 2}, uuid(8));
  ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
  cluster[2].files.set_fault([](auto op, const std::string& path) {
    return op == runtime::SimFiles::Op::write && path.contains("/t-0/") ? ENOSPC : 0;
  });
  ASSERT_TRUE(cluster[1].append(t0, "1"));
  cluster.world.run_for(2s);
  EXPECT_EQ(cluster.end(2, t0), Offset{1});
  ASSERT_EQ(produce(cluster, 1, other, "0"), ErrorCode::NONE);
}

TEST(Replication, AfterADirectoryWasGivenUpLogsInTheOthersAreStillCut) {
  Cluster cluster(2);
  cluster[1].options.log_dirs = {"/a", "/b"};
  cluster[1].options.give_up = [](const auto&, const auto&) { return true; };
  cluster.start();
  const TopicPartition other{"u", PartitionId{0}};
  cluster.create(t0, {1, 2}, uuid(7));
  cluster.create(other, {1, 2}, uuid(8));
  ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
  const auto lost = cluster[1].find(other)->directory().path() + "/";
  ASSERT_NE(cluster[1].find(t0)->directory().path() + "/", lost);
  cluster[1].files.set_fault([lost](auto, const std::string& path) { return path.starts_with(lost) ? EIO : 0; });
  EXPECT_FALSE(cluster[1].append(other, "0"));
  ASSERT_EQ(cluster[1].manager->directories_left(), 1U);
  cluster[2].stop();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(cluster[1].append(t0, "lost"));
  ASSERT_TRUE(cluster[2].start());
  cluster.elect(t0, 2, Cluster::ids({2}));
  ASSERT_EQ(produce(cluster, 2, t0, "1"), ErrorCode::NONE);
  EXPECT_TRUE(cluster.until([&] { return cluster.board.states[t0].isr.size() == 2; }));
  EXPECT_EQ(cluster[1].values(t0), numbers(0, 2));
  cluster[1].files.set_fault(nullptr);
}

// Each gives the connection up that it makes: nobody waits for a host that does not answer.
TEST(Replication, TheFetchersOfAllShardsStopSideBySide) {
  Cluster cluster(2, 1, 4);
  cluster[2].options.fetch.fetchers = 4;
  cluster.start();
  for (int i = 0; i < 40; ++i) cluster.create({"t", PartitionId{i}}, {1, 2}, uuid(7));
  cluster.world.run_for(1s);
  cluster.world.sockets().set_cut(true);
  cluster.world.sockets().reset_all();
  cluster.world.run_for(100ms);
  const auto began = cluster.world.clock().mono();
  cluster[2].run([&]() -> Task<void> { co_await cluster[2].manager->stop(); });
  const auto took = cluster.world.clock().mono() - began;
  cluster[2].up = false;
  cluster.world.sockets().set_cut(false);
  EXPECT_GT(took, 0ns) << "they were making connections";
  EXPECT_LE(took, 200ms);
}

// Its connection is there, and the leader's process hangs: the answer to the first request never comes.
TEST(Replication, AStopDoesNotWaitForALeaderThatSaysNothing) {
  Cluster cluster(2);
  const auto silent = cluster.world.sockets().listen(cluster.world.shard(0), {"silent", 9092}, {});
  ASSERT_TRUE(silent);
  auto& fetch = cluster[2].options.fetch;
  fetch.address = [](BrokerId) { return std::optional(runtime::Address{"silent", 9092}); };
  fetch.connection.transport = [](std::unique_ptr<runtime::Socket> socket, const runtime::Address&) {
    return net::plain_transport(std::move(socket));
  };
  cluster.start();
  cluster.create(t0, {1, 2}, uuid(7));
  cluster.world.run_for(300ms);
  const auto began = cluster.world.clock().mono();
  cluster[2].run([&]() -> Task<void> { co_await cluster[2].manager->stop(); });
  EXPECT_LT(cluster.world.clock().mono() - began, 100ms);
  cluster[2].up = false;
}

TEST(Replication, AThrottledFollowerComesSlowlyAndDisturbsNobodyInSync) {
  for (const bool at_leader : {true, false}) {
    SCOPED_TRACE(at_leader);
    Cluster cluster(2);
    for (auto& node : cluster.nodes) {
      auto& settings = node->settings["t"];
      (at_leader ? settings.leader_throttled : settings.follower_throttled).all = true;
      node->options.fetch.max_bytes = 10'000;
    }
    cluster.start();
    cluster.create(t0, {1, 2}, uuid(7));
    ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
    cluster[2].stop();
    const std::string kilobyte(1000, 'x');
    for (int i = 0; i < 300; ++i) ASSERT_TRUE(cluster[1].append(t0, kilobyte));
    ASSERT_TRUE(cluster.until([&] { return cluster.board.states[t0].isr.size() == 1; }, 1min));
    for (auto& node : cluster.nodes) {
      if (!node->manager) continue;
      node->manager->leader_throttle().set_rate(10'000);
    }
    ASSERT_TRUE(cluster[2].start());
    cluster[2].manager->follower_throttle().set_rate(10'000);
    cluster.tell(t0, cluster[2]);
    const auto before = cluster.world.clock().mono();
    ASSERT_TRUE(cluster.until([&] { return cluster.board.states[t0].isr.size() == 2; }, 5min));
    const auto took = cluster.world.clock().mono() - before;
    EXPECT_GT(took, 15s) << "300 KB at 10 KB a second";
    EXPECT_LT(took, 60s);
    // In sync again: no waiting, though the rate is exceeded.
    const auto at = cluster.world.clock().mono();
    for (int i = 0; i < 20; ++i) ASSERT_EQ(produce(cluster, 1, t0, kilobyte), ErrorCode::NONE);
    EXPECT_LT(cluster.world.clock().mono() - at, 1s);
  }
}

TEST(Replication, LargeBatchesThanASegmentOfTheFollowerFit) {
  Cluster cluster(2);
  cluster[2].settings["t"].log.segment_bytes = 300;
  cluster.start();
  cluster.create(t0, {1, 2}, uuid(7));
  cluster[2].stop();
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(cluster[1].append(t0, std::to_string(i)));
  ASSERT_TRUE(cluster[1].append(t0, std::string(1000, 'y')));
  ASSERT_TRUE(cluster[2].start());
  cluster.tell(t0, cluster[2]);
  ASSERT_TRUE(cluster.until([&] { return cluster.end(2, t0) == Offset{51}; }));
  EXPECT_GT(cluster[2].find(t0)->log().segment_count(), 5U);
  EXPECT_EQ(cluster[2].values(t0), cluster[1].values(t0));
}

TEST(Replication, AStoppedReplicaFetchesNoMore) {
  Cluster cluster(2);
  cluster.start();
  cluster.create(t0, {1, 2}, uuid(7));
  cluster.elect(t0, 1);
  ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
  std::vector<Stop> stops{{t0, false, LeaderEpoch{0}}};
  std::vector<Result<>> results;
  const auto stop = [&] {
    cluster[2].run([&]() -> Task<void> { results = co_await cluster[2].manager->stop_replicas(stops); });
    return code(results.at(0));
  };
  EXPECT_EQ(stop(), ErrorCode::FENCED_LEADER_EPOCH);
  // Of the epoch that it follows in: so does a controller of Kafka when a follower asks to leave.
  stops[0].leader_epoch = LeaderEpoch{1};
  EXPECT_EQ(stop(), ErrorCode::NONE);
  ASSERT_TRUE(cluster[1].append(t0, "1"));
  cluster.world.run_for(2s);
  EXPECT_EQ(cluster.end(2, t0), Offset{1});
  stops[0].remove = true;
  EXPECT_EQ(stop(), ErrorCode::NONE);
  EXPECT_FALSE(cluster[2].find(t0));
  cluster.world.run_for(1min);
  EXPECT_EQ(cluster[1].seen.empty(), false);
  EXPECT_EQ(cluster.high(1, t0), Offset{2}) << "the leader drops it from the ISR";
}

TEST(Replication, ABrokerThatLeavesDoesNotComeBackIntoTheIsr) {
  Cluster cluster(3);
  const TopicPartition t1{"t", PartitionId{1}};
  cluster.start();
  cluster.create(t0, {1, 2}, uuid(7));
  cluster.create(t1, {3, 1}, uuid(7));
  ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
  cluster[1].manager->leave();
  cluster.elect(t0, 2, Cluster::ids({2}));
  ASSERT_EQ(produce(cluster, 2, t0, "1"), ErrorCode::NONE);
  cluster.world.run_for(10s);
  EXPECT_EQ(cluster.end(1, t0), Offset{1});
  EXPECT_EQ(cluster.board.states[t0].isr, Cluster::ids({2}));
  // What it followed before it goes on following, so that nobody waits for it.
  EXPECT_EQ(produce(cluster, 3, t1, "x"), ErrorCode::NONE);
  EXPECT_EQ(cluster.board.states[t1].isr.size(), 2U);
}

TEST(Replication, MetricsSayWhoIsBehind) {
  Cluster cluster(2);
  cluster.start();
  cluster.create(t0, {1, 2}, uuid(7));
  ASSERT_EQ(produce(cluster, 1, t0, "0"), ErrorCode::NONE);
  cluster[2].stop();
  ASSERT_TRUE(cluster[1].append(t0, "1", 3));
  ASSERT_TRUE(cluster.until([&] { return cluster.board.states[t0].isr.size() == 1; }, 1min));
  cluster.world.run_for(1s);
  cluster[1].run([&]() -> Task<void> { co_await cluster[1].manager->view(); });
  const auto text = cluster[1].registry->text();
  for (const auto* line : {"weir_under_replicated_partitions 1", "weir_under_min_isr_partitions 0",
                           "weir_at_min_isr_partitions 1", "weir_isr_shrinks_total 1", "weir_isr_expands_total 0",
                           "weir_follower_lag{topic=\"t\",partition=\"0\",replica=\"2\"} 3"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text;
  }
}

// Brokers die and come back, leaders are elected out of the ISR: what was acknowledged stays, in its place.
TEST(Replication, NothingAcknowledgedIsLostWhateverDies) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    Cluster cluster(3, seed);
    for (auto& node : cluster.nodes) {
      node->settings["t"].min_insync_replicas = 2;
      node->settings["t"].log.segment_bytes = 500;
      node->fetch_max = seed % 3 == 0 ? 11 : 17;
    }
    cluster.start();
    cluster.create(t0, {1, 2, 3}, uuid(7));
    auto chance = runtime::seeded_random(seed);
    std::vector<std::pair<Offset, std::string>> acknowledged;
    int sent = 0;
    int down = 0;
    for (int step = 0; step < 60; ++step) {
      auto& state = cluster.board.states[t0];
      const int leader = state.leader.value;
      switch (chance->below(10)) {
        case 0: {
          // The process of one dies (memory of the machine stays, as with kill -9).
          if (down != 0) break;
          down = 1 + static_cast<int>(chance->below(3));
          cluster[down].crash(true);
          if (down == leader) {
            const auto next = std::ranges::find_if(state.isr, [&](BrokerId id) { return id.value != down; });
            if (next != state.isr.end()) {
              cluster.elect(t0, next->value);
            }
          }
          break;
        }
        case 1:
          if (down == 0) break;
          ASSERT_TRUE(cluster[down].start());
          if (state.leader.value == down) {
            cluster.elect(t0, down, std::vector<BrokerId>(state.isr));
          } else {
            cluster.tell(t0, cluster[down]);
          }
          down = 0;
          break;
        case 2: cluster.world.run_for(milliseconds(chance->below(15'000))); break;
        case 3: {
          const auto next = state.isr[chance->below(state.isr.size())];
          if (cluster[next.value].up) cluster.elect(t0, next.value, std::vector<BrokerId>(state.isr));
          break;
        }
        default: {
          if (!cluster[leader].up) break;
          auto value = std::to_string(sent++);
          auto appended = cluster[leader].append(t0, value, 1, true);
          if (!appended) break;
          const auto answer = commit(cluster[leader], t0, appended->last_offset, 300ms);
          if (chance->below(4) != 0) {
            cluster.until([&] { return answer->has_value(); });
            if (code(**answer) == ErrorCode::NONE) acknowledged.emplace_back(appended->last_offset, value);
          }
          break;
        }
      }
    }
    if (down != 0) {
      ASSERT_TRUE(cluster[down].start());
      cluster.tell(t0, cluster[down]);
    }
    const auto leader = cluster.board.states[t0].leader.value;
    ASSERT_TRUE(cluster.until([&] { return cluster.board.states[t0].isr.size() == 3; }, 5min));
    const auto ended = produce(cluster, leader, t0, "end");
    if (ended != ErrorCode::NONE) {
      for (int node = 1; node <= 3; ++node) {
        const auto p = cluster[node].find(t0);
        ADD_FAILURE() << node << " role " << static_cast<int>(p->role()) << " epoch " << p->leader_epoch().value
                      << " end " << p->log().log_end().value << " high " << p->high_watermark().value << " flushed "
                      << p->log().recovery_point().value << " pending " << p->isr_change_pending() << " isr "
                      << p->leadership().isr.size();
        for (const auto& f : p->followers()) ADD_FAILURE() << f.id.value << " at " << f.log_end.value;
      }
    }
    ASSERT_EQ(ended, ErrorCode::NONE);
    const auto values = cluster[leader].values(t0);
    for (int node = 1; node <= 3; ++node) EXPECT_EQ(cluster[node].values(t0), values);
    for (const auto& [offset, value] : acknowledged) {
      ASSERT_LT(offset.value, static_cast<std::int64_t>(values.size()));
      EXPECT_EQ(values[static_cast<std::size_t>(offset.value)], value);
    }
    EXPECT_GT(acknowledged.size(), 5U);
  }
}

}  // namespace
}  // namespace weir::replica
