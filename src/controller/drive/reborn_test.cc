// Leaders that started anew while nobody was in office.
#include <gtest/gtest.h>

#include "controller/test_cluster.h"

namespace weir::controller {
namespace {

// Whoever leads after its restart lacks what it had not flushed, and writes other records where those were: in its
// epoch of before nobody could tell them apart, and followers kept what their leader never had (simulation, seed 1008).
TEST(Reborn, ALeaderThatRestartedLeadsInANewEpoch) {
  story([](runtime::Shard& shard) -> Task<void> {
    World world(shard);
    co_await world.open(3);
    ControllerOptions options;
    options.auto_rebalance = false;
    auto& first = world.start_officer(101, options);
    (void)co_await world.settled();
    co_await world.create("t", {{p0, {b1, b2, b3}}, {p1, {b1, b2, b3}}});
    co_await world.create("alone", {{p0, {b1}}});
    std::vector<AlterPartitionItem> items{world.proposal(b1, t1, {b1})};
    auto answer = co_await first.controller->alter_partition(b1, world.brokers[b1].epoch, std::move(items));
    EXPECT_TRUE(answer && answer->front().error == ErrorCode::NONE);
    first.die(Officer::Dies::before);
    while (co_await world.there("/controller")) co_await runtime::sleep(world.shard, 100us);
    for (const auto id : {b1, b2, b3}) {
      co_await world.kill_broker(id);
      co_await world.start_broker(id);
    }
    world.start_officer(102, options);
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.state("t", 0)).leader, b1);
    EXPECT_EQ((co_await world.state("t", 0)).leader_epoch, LeaderEpoch{1});
    EXPECT_EQ((co_await world.state("t", 0)).isr, (Ids{b1, b2, b3}));
    EXPECT_EQ((co_await world.state("t", 1)).leader, b1);
    EXPECT_EQ((co_await world.state("t", 1)).leader_epoch, LeaderEpoch{1}) << "b2 may have what b1 lost";
    EXPECT_EQ((co_await world.state("alone")).leader_epoch, LeaderEpoch{0}) << "nobody else has its records";
    co_await world.verify();
    co_await world.close();
  });
}

}  // namespace
}  // namespace weir::controller
