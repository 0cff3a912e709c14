// A controller may die at any of its operations: the next one goes on, and in the end everything is as it would be.
// Each story is told again and again; the first controller dies one operation later each time.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/log.h"
#include "controller/test_cluster.h"

namespace weir::controller {
namespace {

using Story = Task<void> (*)(World&);
using Shape = std::map<std::string, std::string>;

struct Told {
  Shape shape;
  bool died = false;
};

Told tell(Story story_of, Officer::Dies dies, std::uint64_t at) {
  Told out;
  story([&](runtime::Shard& shard) -> Task<void> {
    World world(shard);
    co_await world.open(4);
    ControllerOptions options;
    options.auto_rebalance = false;
    auto& first = world.start_officer(101, options, dies, at);
    while (!first.dead && !first.controller->active()) co_await runtime::sleep(shard, 100us);
    world.start_officer(102, options);
    co_await story_of(world);
    (void)co_await world.settled();
    co_await world.verify();
    out.shape = world.shape();
    out.died = first.dead;
    co_await world.close();
  });
  return out;
}

void dies_anywhere(Story story_of) {
  logging::Options quiet;
  quiet.level = logging::Level::off;
  logging::init(quiet);
  const auto plain = tell(story_of, Officer::Dies::never, 0);
  ASSERT_FALSE(testing::Test::HasFailure());
  for (const auto dies : {Officer::Dies::before, Officer::Dies::after}) {
    std::uint64_t n = 0;
    for (;; ++n) {
      SCOPED_TRACE(fmt::format("dies {} operation {}", dies == Officer::Dies::before ? "before" : "after", n));
      const auto one = tell(story_of, dies, n);
      if (!one.died) break;
      EXPECT_EQ(one.shape, plain.shape);
      if (testing::Test::HasFailure()) break;
    }
    EXPECT_GT(n, 20U);
    if (testing::Test::HasFailure()) break;
  }
  logging::init({});
}

Task<void> topics_are_made_grow_and_go(World& world) {
  co_await world.create("t", {{p0, {b1, b2, b3}}, {p1, {b2, b3, b4}}});
  co_await world.create("gone", {{p0, {b1, b2}}, {p1, {b3, b4}}});
  std::vector<std::string> names{"gone"};
  (void)co_await world.admin->delete_topics(names);
  auto* officer = co_await world.settled();
  std::vector<NewPartitions> more(1);
  more[0].topic = "t";
  more[0].count = 3;
  more[0].assignments = std::vector<Ids>{{b4, b1, b2}};
  auto grown = co_await world.admin->create_partitions(more, false, officer->controller->image());
  EXPECT_TRUE(grown.front().has_value() || officer->dead);
  if (!grown.front()) {
    officer = co_await world.settled();
    (void)co_await world.admin->create_partitions(more, false, officer->controller->image());
  }
  while (co_await world.there("/brokers/topics/gone")) co_await runtime::sleep(world.shard, 100us);
  while (co_await world.there("/admin/delete_topics/gone")) co_await runtime::sleep(world.shard, 100us);
}

Task<void> replicas_move(World& world) {
  co_await world.create("t", {{p0, {b1, b2}}, {p1, {b2, b3}}});
  co_await world.move(t0, Ids{b3, b4});
  co_await world.catch_up(t0);
  co_await world.move(t1, Ids{b2, b1, b3});
  co_await world.catch_up(t1);
}

Task<void> replicas_move_by_znode(World& world) {
  co_await world.create("t", {{p0, {b1, b2}}, {p1, {b2, b3}}});
  std::map<layout::TopicPartition, Ids> target{
      {{"t", p0}, {b3, b2}}, {{"t", p1}, {b1}}, {{"none", p0}, {b1}}, {{"t", PartitionId{7}}, {b1}}};
  (void)co_await world.user->create("/admin/reassign_partitions", layout::encode_reassignment(target));
  co_await world.catch_up(t0);
  co_await world.catch_up(t1);
  (void)co_await world.settled();
  // Whoever was in office when it ended said so last.
  while (co_await world.there("/admin/reassign_partitions")) co_await runtime::sleep(world.shard, 100us);
}

Task<void> a_move_is_replaced_and_called_off(World& world) {
  co_await world.create("t", {{p0, {b1, b2}}, {p1, {b2, b1}}});
  co_await world.move(t0, Ids{b3, b2});
  co_await world.move(t0, Ids{b4, b2});
  co_await world.move(t1, Ids{b3, b4});
  co_await world.move(t1, std::nullopt);
  co_await world.catch_up(t0);
  co_await world.catch_up(t1);
}

Task<void> brokers_die_and_come_back(World& world) {
  co_await world.create("t", {{p0, {b1, b2, b3}}, {p1, {b2, b3, b4}}});
  co_await world.kill_broker(b2);
  (void)co_await world.settled();
  co_await world.start_broker(b2);
  co_await world.catch_up(t0);
  co_await world.catch_up(t1);
  co_await world.kill_broker(b1);
  (void)co_await world.settled();
  co_await world.start_broker(b1);
  co_await world.catch_up(t0);
}

Task<void> a_broker_leaves_in_order(World& world) {
  co_await world.create("t", {{p0, {b1, b2, b3}}, {p1, {b2, b1, b4}}});
  for (;;) {
    auto* officer = co_await world.settled();
    auto left = co_await officer->controller->controlled_shutdown(b1, world.brokers[b1].epoch);
    if (left && left->empty()) break;
  }
  EXPECT_NE((co_await world.state("t")).leader, b1);
  co_await world.kill_broker(b1);
}

Task<void> preferred_leaders_by_znode(World& world) {
  co_await world.create("t", {{p0, {b1, b2}}, {p1, {b1, b3}}});
  co_await world.kill_broker(b1);
  (void)co_await world.settled();
  co_await world.start_broker(b1);
  co_await world.catch_up(t0);
  co_await world.catch_up(t1);
  (void)co_await world.user->create("/admin/preferred_replica_election",
                                    layout::encode_partition_set({{"t", p0}, {"t", p1}, {"none", p0}}));
  while (co_await world.there("/admin/preferred_replica_election")) co_await runtime::sleep(world.shard, 100us);
  (void)co_await world.settled();
  EXPECT_EQ((co_await world.state("t", 1)).leader, b1);
}

Task<void> a_topic_goes_while_its_replicas_move(World& world) {
  co_await world.create("t", {{p0, {b1, b2}}});
  co_await world.move(t0, Ids{b3, b2});
  std::vector<std::string> names{"t"};
  (void)co_await world.admin->delete_topics(names);
  (void)co_await world.settled();
  EXPECT_TRUE(co_await world.there("/brokers/topics/t"));
  co_await world.catch_up(t0);
  while (co_await world.there("/admin/delete_topics/t")) co_await runtime::sleep(world.shard, 100us);
}

TEST(Takeover, TopicsAreMadeGrowAndGo) { dies_anywhere(topics_are_made_grow_and_go); }
TEST(Takeover, ReplicasMove) { dies_anywhere(replicas_move); }
TEST(Takeover, ReplicasMoveByZnode) { dies_anywhere(replicas_move_by_znode); }
TEST(Takeover, AMoveIsReplacedAndCalledOff) { dies_anywhere(a_move_is_replaced_and_called_off); }
TEST(Takeover, BrokersDieAndComeBack) { dies_anywhere(brokers_die_and_come_back); }
TEST(Takeover, ABrokerLeavesInOrder) { dies_anywhere(a_broker_leaves_in_order); }
TEST(Takeover, PreferredLeadersByZnode) { dies_anywhere(preferred_leaders_by_znode); }
TEST(Takeover, ATopicGoesWhileItsReplicasMove) { dies_anywhere(a_topic_goes_while_its_replicas_move); }

}  // namespace
}  // namespace weir::controller
