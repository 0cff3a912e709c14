// Whole brokers in the simulated world: the first things a cluster must do, one by one, and some seeds.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exposure.h"
#include "run.h"
#include "workload.h"

namespace weir::sim {
namespace {

// What freezes is never given back: each test of whole clusters has a process of its own.
template <class Fn>
void in_child(Fn fn) {
  std::fflush(nullptr);
  const auto pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    fn();
    std::fflush(nullptr);
    ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "see above; status " << status;
}

void healthy(Cluster& cluster, Workload& work) {
  std::string trouble = "not looked at";
  for (int i = 0; i < 600 && !trouble.empty(); ++i) trouble = work.unhealthy();
  EXPECT_EQ(trouble, "");
  cluster.world().run_for(seconds(2));
  work.read_all();
  for (const auto& problem : work.history().judge()) ADD_FAILURE() << problem;
  EXPECT_GT(work.history().acks(), 0U);
}

BrokerId leader_of(Cluster& cluster, PartitionId partition) {
  BrokerId leader = no_broker;
  runtime::block_on(*cluster.clients().shards().front(), [&]() -> Task<void> {
    client::Client client(*cluster.clients().shards().front(), cluster.clients().sockets(), cluster.random(), {},
                          cluster.bootstrap());
    auto seen = co_await client.refresh(std::nullopt);
    if (seen) leader = seen->topics["t"].partitions[partition].leader;
    co_await client.stop();
  });
  return leader;
}

TEST(Sim, ThreeBrokersServeATopicOfThreeReplicasAndItsLeaderIsKilled) {
  in_child([] {
    auto& cluster = Cluster::make({.seed = 1});
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_up(seconds(60)));
    Workload work(cluster, {.partitions = 1, .admin = false});
    ASSERT_TRUE(work.create_topic(seconds(30)));
    work.start();
    cluster.world().run_for(seconds(10));
    const auto before = work.history().acks();
    EXPECT_GT(before, 20U);
    const auto leader = leader_of(cluster, PartitionId{0});
    ASSERT_NE(leader, no_broker);
    cluster.kill(cluster.node(leader));
    cluster.world().run_for(seconds(20));
    EXPECT_GT(work.history().acks(), before + 20);
    EXPECT_NE(leader_of(cluster, PartitionId{0}), leader);
    cluster.start(cluster.node(leader));
    cluster.world().run_for(seconds(5));
    work.stop_producing();
    healthy(cluster, work);
    work.stop();
  });
}

TEST(Sim, OnlyWhatLostPowerInItsWholeInSyncSetIsExcused) {
  in_child([] {
    auto& cluster = Cluster::make({.seed = 3});
    cluster.start_all();
    ASSERT_TRUE(cluster.wait_up(seconds(60)));
    Workload work(cluster, {.partitions = 1, .admin = false});
    ASSERT_TRUE(work.create_topic(seconds(30)));
    const TopicPartition where{"t", PartitionId{0}};
    Exposure exposure(cluster, work.history(), {where});
    cluster.set_on_end([&exposure](BrokerId broker, bool power) { exposure.ended(broker, power); });
    cluster.world().run_for(seconds(2));
    // One after another, each back in sync before the next.
    for (auto* node : cluster.nodes()) {
      cluster.lose_power(*node);
      cluster.world().run_for(seconds(10));
      cluster.start(*node);
      ASSERT_TRUE(cluster.wait_up(seconds(60)));
      cluster.world().run_for(seconds(10));
    }
    EXPECT_FALSE(work.history().excused(where));
    // Two without power and one killed: nobody knows which of them has all.
    cluster.lose_power(cluster.node(BrokerId{1}));
    cluster.lose_power(cluster.node(BrokerId{2}));
    EXPECT_FALSE(work.history().excused(where));
    cluster.kill(cluster.node(BrokerId{3}));
    EXPECT_TRUE(work.history().excused(where));
    work.stop();
  });
}

TEST(Sim, ASeedReplaysExactly) {
  RunOptions options;
  options.seed = 7;
  options.faulty = seconds(20);
  ASSERT_TRUE(parse_faults("all", options.faults));
  std::string lines[2];
  for (auto& line : lines) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    in_child([&] {
      const auto outcome = run(options);
      const auto text = fmt::format("{:x} {} {}", outcome.fingerprint, outcome.acks, outcome.reads);
      EXPECT_EQ(::write(ends[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
    });
    ::close(ends[1]);
    char buffer[256];
    const auto n = ::read(ends[0], buffer, sizeof buffer);
    if (n > 0) line.assign(buffer, static_cast<std::size_t>(n));
    ::close(ends[0]);
  }
  EXPECT_FALSE(lines[0].empty());
  EXPECT_EQ(lines[0], lines[1]);
}

class Seeds : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(Seeds, NothingIsLostAndTheClusterHeals) {
  in_child([] {
    RunOptions options;
    options.seed = GetParam();
    options.faulty = seconds(20);
    ASSERT_TRUE(parse_faults("all", options.faults));
    const auto outcome = run(options);
    for (const auto& problem : outcome.problems) ADD_FAILURE() << problem;
    EXPECT_GT(outcome.acks, 0U);
  });
}
INSTANTIATE_TEST_SUITE_P(Sim, Seeds, ::testing::Range<std::uint64_t>(1, 6));

}  // namespace
}  // namespace weir::sim
