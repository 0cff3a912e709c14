// The controller among many brokers: ISRs that leaders propose, replicas that move, brokers that are slow or come back.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>

#include "controller/test_cluster.h"
#include "runtime/sim.h"

namespace weir::controller {
namespace {

void among(std::int32_t count, std::function<Task<void>(World&, Officer&)> body, ControllerOptions options = {}) {
  story([&](runtime::Shard& shard) -> Task<void> {
    World world(shard);
    co_await world.open(count);
    auto& officer = world.start_officer(101, options);
    (void)co_await world.settled();
    co_await body(world, officer);
    co_await world.close();
  });
}

Task<ErrorCode> propose(World& world, Officer& officer, BrokerId from, AlterPartitionItem item) {
  std::vector<AlterPartitionItem> items{std::move(item)};
  auto answer = co_await officer.controller->alter_partition(from, world.brokers[from].epoch, std::move(items));
  co_return answer ? answer->front().error : answer.error().code;
}

Task<ErrorCode> move(Officer& officer, PartitionRef at, std::optional<Ids> target) {
  Reassignments wanted{{at, std::move(target)}};
  auto answer = co_await officer.controller->alter_reassignments(std::move(wanted));
  if (!answer) co_return answer.error().code;
  const auto& result = answer->front().result;
  co_return result ? ErrorCode::NONE : result.error().code;
}

// --- AlterPartition ---------------------------------------------------------------------------------------------

TEST(AlterPartition, IsWrittenAndEverybodyHears) {
  among(3, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1, b2, b3}}});
    std::vector<AlterPartitionItem> items{world.proposal(b1, t0, {b1, b3})};
    auto answer = co_await officer.controller->alter_partition(b1, world.brokers[b1].epoch, items);
    EXPECT_EQ(answer->front().error, ErrorCode::NONE);
    EXPECT_EQ(answer->front().state.isr, (Ids{b1, b3}));
    EXPECT_EQ(answer->front().state.version, 1);
    EXPECT_EQ(answer->front().topic_id, officer.controller->image()->topic("t")->id);
    EXPECT_EQ((co_await world.state("t")).isr, (Ids{b1, b3}));
    EXPECT_EQ((co_await world.state("t")).leader_epoch, LeaderEpoch{0});
    (void)co_await world.settled();
    for (const auto id : {b1, b2, b3}) EXPECT_EQ(world.brokers[id].metadata[t0].isr, (Ids{b1, b3}));
    // The answer was lost, and it is asked again.
    auto again = co_await officer.controller->alter_partition(b1, world.brokers[b1].epoch, items);
    EXPECT_EQ(again->front().error, ErrorCode::NONE);
    EXPECT_EQ(again->front().state.version, 1);
    // By its id, as versions from 2 on do.
    auto by_id = items.front();
    by_id.at.topic.clear();
    by_id.topic_id = officer.controller->image()->topic("t")->id;
    by_id.partition_epoch = 1;
    by_id.new_isr = {{b1}, {b2}};
    std::vector<AlterPartitionItem> named{by_id};
    auto third = co_await officer.controller->alter_partition(b1, world.brokers[b1].epoch, named);
    EXPECT_EQ(third->front().error, ErrorCode::NONE);
    EXPECT_EQ(third->front().at, t0);
  });
}

TEST(AlterPartition, WhatIsRefused) {
  among(3, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1, b2}}});
    const auto good = world.proposal(b1, t0, {b1});
    const auto with = [&](auto change) {
      auto item = good;
      change(item);
      return item;
    };
    using Item = AlterPartitionItem;
    EXPECT_EQ(co_await propose(world, officer, b1, with([](Item& i) { i.at.topic = "none"; })),
              ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    EXPECT_EQ(co_await propose(world, officer, b1, with([](Item& i) { i.topic_id.bytes[3] = 7; })),
              ErrorCode::UNKNOWN_TOPIC_ID);
    EXPECT_EQ(co_await propose(world, officer, b1, with([](Item& i) { i.at.partition = PartitionId{-1}; })),
              ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    EXPECT_EQ(co_await propose(world, officer, b1, with([](Item& i) { i.leader_epoch = LeaderEpoch{-1}; })),
              ErrorCode::FENCED_LEADER_EPOCH);
    EXPECT_EQ(co_await propose(world, officer, b1, with([](Item& i) { i.leader_epoch = LeaderEpoch{9}; })),
              ErrorCode::NOT_CONTROLLER);
    EXPECT_EQ(co_await propose(world, officer, b1, with([](Item& i) { i.partition_epoch = 9; })),
              ErrorCode::NOT_CONTROLLER);
    EXPECT_EQ(co_await propose(world, officer, b1, with([](Item& i) { i.partition_epoch = -1; })),
              ErrorCode::INVALID_UPDATE_VERSION);
    EXPECT_EQ(co_await propose(world, officer, b2, good), ErrorCode::INVALID_REQUEST);
    EXPECT_EQ(co_await propose(world, officer, b1, with([](Item& i) { i.new_isr.clear(); })),
              ErrorCode::INVALID_REQUEST);
    EXPECT_EQ(co_await propose(world, officer, b1, with([](Item& i) { i.recovery_state = 1; })),
              ErrorCode::INVALID_REQUEST);
    EXPECT_EQ(co_await propose(world, officer, b1, with([](Item& i) { i.new_isr = {{b1}, {b3}}; })),
              ErrorCode::INELIGIBLE_REPLICA);
    EXPECT_EQ(co_await propose(world, officer, b1, with([](Item& i) { i.new_isr = {{b1}, {BrokerId{9}}}; })),
              ErrorCode::INELIGIBLE_REPLICA);
    std::vector<AlterPartitionItem> items{good};
    auto stale = co_await officer.controller->alter_partition(b1, BrokerEpoch{1}, items);
    EXPECT_EQ(stale.error().code, ErrorCode::STALE_BROKER_EPOCH);
    auto nobody = co_await officer.controller->alter_partition(BrokerId{9}, BrokerEpoch{1}, items);
    EXPECT_EQ(nobody.error().code, ErrorCode::STALE_BROKER_EPOCH);
    EXPECT_EQ((co_await world.state("t")).isr, (Ids{b1, b2}));
    EXPECT_EQ(co_await propose(world, officer, b1, good), ErrorCode::NONE);
    // Of another life of the follower (KIP-903).
    const auto again = with([](Item& i) {
      i.partition_epoch = 1;
      i.new_isr = {{b1}, {b2, BrokerEpoch{1}}};
    });
    EXPECT_EQ(co_await propose(world, officer, b1, again), ErrorCode::INELIGIBLE_REPLICA);
  });
}

// Leaders of older protocols write the node themselves, and say so a little later.
TEST(AlterPartition, ADirectWriteOfALeaderIsNotLost) {
  among(3, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1, b2, b3}}});
    auto from = world.brokers[b1].roles[t0];
    auto to = from;
    to.isr = {b1, b2};
    auto version = co_await propose_isr(*world.user, t0, from, to);
    EXPECT_EQ(version.value_or(-1), 1);
    auto twice = co_await propose_isr(*world.user, t0, from, to);
    EXPECT_EQ(twice.error().code, ErrorCode::INVALID_UPDATE_VERSION);
    auto nowhere = co_await propose_isr(*world.user, {"none", p0}, from, to);
    EXPECT_EQ(nowhere.error().code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    // A leader that did not hear of it proposes.
    EXPECT_EQ(co_await propose(world, officer, b1, world.proposal(b1, t0, {b1, b3})),
              ErrorCode::INVALID_UPDATE_VERSION);
    std::vector<PartitionRef> changed{t0};
    EXPECT_TRUE((co_await announce_isr_changes(*world.user, changed)).has_value());
    (void)co_await world.settled();
    EXPECT_EQ(world.brokers[b3].metadata[t0].isr, (Ids{b1, b2}));
    EXPECT_TRUE((co_await world.user->children("/isr_change_notification"))->empty());
    // And an election starts from what is there, not from what was heard.
    to.isr = {b1, b3};
    from.version = 1;
    EXPECT_EQ((co_await propose_isr(*world.user, t0, from, to)).value_or(-1), 2);
    co_await world.kill_broker(b1);
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.state("t")).leader, b3);
    EXPECT_EQ((co_await world.state("t")).isr, Ids{b3});
  });
}

// The controller has not heard yet that a follower died and came back empty, when its leader, who has not either,
// proposes it. Written, it would look to the next controller like one that stayed.
TEST(AlterPartition, AFollowersNewLifeIsSeenBeforeItsEventIs) {
  among(4, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1, b2, b3}}, {p1, {b1, b2, b4}}});
    for (const auto& [at, isr] : {std::pair{t0, Ids{b1, b3}}, std::pair{t1, Ids{b1, b4}}}) {
      EXPECT_EQ(co_await propose(world, officer, b1, world.proposal(b1, at, isr)), ErrorCode::NONE);
      world.brokers[b1].roles[at].version = 1;
    }
    (void)co_await world.settled();
    const auto proposals = [&] {
      return std::vector{world.proposal(b1, t0, {b1, b3, b2}), world.proposal(b1, t1, {b1, b4})};
    };
    for (const bool comes_back : {true, false}) {
      std::vector<AlteredPartition> answers;
      runtime::Scope scope(world.shard);
      const auto ask = [&](std::vector<AlterPartitionItem> items) -> Task<void> {
        auto answer = co_await officer.controller->alter_partition(b1, world.brokers[b1].epoch, std::move(items));
        EXPECT_TRUE(answer.has_value());
        if (answer) answers = std::move(*answer);
      };
      // What happens while the controller is out of touch is behind the proposal in its queue.
      world.tree->disconnect(officer.raw->session_id());
      scope.spawn(ask(proposals()));
      co_await world.kill_broker(b2);
      if (comes_back) co_await world.start_broker(b2);
      world.tree->reconnect(officer.raw->session_id());
      co_await scope.stop();
      EXPECT_EQ(answers.size(), 2U);
      if (answers.size() != 2) co_return;
      EXPECT_EQ(answers[0].error, ErrorCode::INELIGIBLE_REPLICA);
      EXPECT_EQ(answers[0].state.isr, (Ids{b1, b3}));
      EXPECT_EQ(answers[1].error, ErrorCode::NONE);
      EXPECT_EQ((co_await world.state("t")).isr, (Ids{b1, b3}));
      (void)co_await world.settled();
    }
    // In its new life it may join; each member is looked at once for all partitions.
    co_await world.start_broker(b2);
    (void)co_await world.settled();
    std::vector<AlterPartitionItem> items{world.proposal(b1, t0, {b1, b3, b2}), world.proposal(b1, t1, {b1, b4, b2})};
    const auto reads = world.tree->operations().at("get");
    auto answer = co_await officer.controller->alter_partition(b1, world.brokers[b1].epoch, items);
    EXPECT_EQ(world.tree->operations().at("get") - reads, 3U);
    EXPECT_TRUE(answer && answer->front().error == ErrorCode::NONE && answer->back().error == ErrorCode::NONE);
    EXPECT_EQ((co_await world.state("t", 0)).isr, (Ids{b1, b3, b2}));
    EXPECT_EQ((co_await world.state("t", 1)).isr, (Ids{b1, b4, b2}));
  });
}

// --- reassignment -----------------------------------------------------------------------------------------------

TEST(Moves, StepByStep) {
  among(4, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1, b2}}, {p1, {b1, b2}}});
    EXPECT_EQ(co_await move(officer, t0, Ids{b3, b4}), ErrorCode::NONE);
    EXPECT_EQ(co_await world.replicas("t"), (layout::ReplicaAssignment{{b3, b4, b1, b2}, {b3, b4}, {b1, b2}}));
    EXPECT_EQ(co_await world.replicas("t", 1), (layout::ReplicaAssignment{{b1, b2}, {}, {}}));
    (void)co_await world.settled();
    const auto under_way = co_await world.state("t");
    EXPECT_EQ(under_way.leader, b1);
    EXPECT_EQ(under_way.leader_epoch, LeaderEpoch{1});  // so that it takes the new replicas
    EXPECT_EQ(world.brokers[b1].roles[t0].replicas, (Ids{b3, b4, b1, b2}));
    EXPECT_EQ(world.brokers[b3].roles[t0].leader, b1);
    auto list = co_await officer.controller->list_reassignments(std::nullopt);
    EXPECT_EQ(list->size(), 1U);
    EXPECT_EQ(list->front().at, t0);
    EXPECT_EQ(list->front().adding, (Ids{b3, b4}));
    EXPECT_EQ(list->front().removing, (Ids{b1, b2}));
    std::vector<PartitionRef> other{t1};
    EXPECT_TRUE((co_await officer.controller->list_reassignments(other))->empty());
    EXPECT_EQ(officer.controller->stats().reassigning_partitions, 1U);
    co_await world.catch_up(t0);
    (void)co_await world.settled();
    EXPECT_EQ(co_await world.replicas("t"), (layout::ReplicaAssignment{{b3, b4}, {}, {}}));
    const auto done = co_await world.state("t");
    EXPECT_EQ(done.leader, b3);
    EXPECT_EQ(World::same(done.isr, {b3, b4}), true);
    EXPECT_FALSE(world.brokers[b1].roles.contains(t0));
    EXPECT_EQ(officer.controller->stats().reassigning_partitions, 0U);
    co_await world.verify();
  });
}

TEST(Moves, WhatIsRefused) {
  among(3, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1, b2}}});
    const auto invalid = ErrorCode::INVALID_REPLICA_ASSIGNMENT;
    EXPECT_EQ(co_await move(officer, t0, Ids{}), invalid);
    EXPECT_EQ(co_await move(officer, t0, Ids{b1, b1}), invalid);
    EXPECT_EQ(co_await move(officer, t0, Ids{b1, BrokerId{-3}}), invalid);
    EXPECT_EQ(co_await move(officer, t0, Ids{b1, BrokerId{9}}), invalid);
    EXPECT_EQ(co_await move(officer, t0, std::nullopt), ErrorCode::NO_REASSIGNMENT_IN_PROGRESS);
    EXPECT_EQ(co_await move(officer, {"none", p0}, Ids{b1}), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    EXPECT_EQ(co_await world.replicas("t"), (layout::ReplicaAssignment{{b1, b2}, {}, {}}));
    EXPECT_EQ((co_await world.state("t")).leader_epoch, LeaderEpoch{0});
  });
}

// The newcomers are all that is in sync: going back would lose what only they have.
TEST(Moves, AreNotCalledOffWhenOnlyTheNewcomersAreInSync) {
  among(3, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1}}});
    EXPECT_EQ(co_await move(officer, t0, Ids{b2, b3}), ErrorCode::NONE);
    (void)co_await world.settled();
    auto item = world.proposal(b1, t0, {b1, b2});
    EXPECT_EQ(co_await propose(world, officer, b1, item), ErrorCode::NONE);
    co_await world.kill_broker(b1);
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.state("t")).isr, Ids{b2});
    EXPECT_EQ(co_await move(officer, t0, std::nullopt), ErrorCode::INVALID_REPLICA_ASSIGNMENT);
    EXPECT_EQ((co_await world.state("t")).leader, b2);
  });
}

TEST(Moves, GarbageInTheNodeIsNamedAndLeavesTheRestAlone) {
  among(3, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1, b2}}, {p1, {b2, b1}}});
    (void)co_await world.user->create("/admin/reassign_partitions", R"({"version":1,"partit)");
    (void)co_await world.settled();
    EXPECT_TRUE(officer.controller->active());
    EXPECT_TRUE(co_await world.there("/admin/reassign_partitions"));
    (void)co_await world.user->remove("/admin/reassign_partitions");
    (void)co_await world.settled();
    // Some of it makes sense.
    std::map<layout::TopicPartition, Ids> target{
        {{"t", p0}, {b2, b1}}, {{"t", p1}, {b1, b1}}, {{"none", p0}, {b1}}, {{"t", PartitionId{9}}, {b1}}};
    (void)co_await world.user->create("/admin/reassign_partitions", layout::encode_reassignment(target));
    (void)co_await world.settled();
    EXPECT_FALSE(co_await world.there("/admin/reassign_partitions"));
    EXPECT_EQ((co_await world.replicas("t")).replicas, (Ids{b2, b1}));
    EXPECT_EQ((co_await world.replicas("t", 1)).replicas, (Ids{b2, b1}));
    // A broker that is not there is waited for.
    (void)co_await world.user->create("/admin/reassign_partitions",
                                      layout::encode_reassignment({{{"t", p0}, {b4, b1}}}));
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.replicas("t")).adding, Ids{b4});
    EXPECT_TRUE(co_await world.there("/admin/reassign_partitions"));
    co_await world.start_broker(b4);
    co_await world.catch_up(t0);
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.replicas("t")), (layout::ReplicaAssignment{{b4, b1}, {}, {}}));
    EXPECT_FALSE(co_await world.there("/admin/reassign_partitions"));
    co_await world.verify();
  });
}

// CreatePartitions of another broker at the same moment.
TEST(Moves, AndGrowthDoNotUndoEachOther) {
  among(4, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1, b2}}});
    auto there = co_await world.user->get("/brokers/topics/t");
    auto content = *layout::decode_topic("/t", there->data);
    content.partitions[p1].replicas = {b3};
    (void)co_await world.user->set("/brokers/topics/t", layout::encode(content));
    EXPECT_EQ(co_await move(officer, t0, Ids{b3, b4}), ErrorCode::NONE);
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.state("t", 1)).leader, b3);
    EXPECT_EQ((co_await world.replicas("t", 1)).replicas, Ids{b3});
    EXPECT_EQ((co_await world.replicas("t")).adding, (Ids{b3, b4}));
  });
}

// Protocols before 2.7: the leader's own write of the ISR ends it.
TEST(Moves, EndByALeadersOwnWrite) {
  ControllerOptions old;
  set_protocol_version(old, "2.4-IV1");
  among(
      3,
      [](World& world, Officer& officer) -> Task<void> {
        co_await world.create("t", {{p0, {b1, b2}}});
        EXPECT_TRUE(officer.controller->image()->topic("t") != nullptr);
        EXPECT_EQ(co_await move(officer, t0, Ids{b1, b3}), ErrorCode::NONE);
        (void)co_await world.settled();
        auto from = world.brokers[b1].roles[t0];
        auto to = from;
        to.isr = {b1, b2, b3};
        EXPECT_TRUE((co_await propose_isr(*world.user, t0, from, to)).has_value());
        (void)co_await world.settled();
        EXPECT_EQ((co_await world.replicas("t")), (layout::ReplicaAssignment{{b1, b3}, {}, {}}));
        co_await world.verify();
      },
      old);
}

// --- brokers ----------------------------------------------------------------------------------------------------

// As followers they would hold back what is acknowledged by all, until the leaders notice.
TEST(Office, ANewControllerTakesTheDeadOutOfTheIsrs) {
  story([](runtime::Shard& shard) -> Task<void> {
    World world(shard);
    co_await world.open(3);
    auto& first = world.start_officer(101);
    (void)co_await world.settled();
    co_await world.create("t", {{p0, {b1, b2, b3}}, {p1, {b2, b1, b3}}});
    first.die(Officer::Dies::before);
    co_await world.kill_broker(b2);
    world.start_officer(102);
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.state("t", 0)).isr, (Ids{b1, b3}));
    EXPECT_EQ((co_await world.state("t", 1)).isr, (Ids{b1, b3}));
    EXPECT_EQ((co_await world.state("t", 1)).leader, b1);
    co_await world.verify();
    co_await world.close();
  });
}

// A restart that no controller saw: what that life had not flushed may be lost, and its id is in the ISR all the same.
TEST(Restart, WhoCameBackWhileNobodyWasInOfficeLeavesTheIsr) {
  story([](runtime::Shard& shard) -> Task<void> {
    World world(shard);
    co_await world.open(3);
    ControllerOptions options;
    options.auto_rebalance = false;
    auto& first = world.start_officer(101, options);
    (void)co_await world.settled();
    co_await world.create("t", {{p0, {b1, b2, b3}}, {p1, {b2, b3, b1}}});
    co_await world.create("alone", {{p0, {b2}}});
    first.die(Officer::Dies::before);
    while (co_await world.there("/controller")) co_await runtime::sleep(world.shard, 100us);
    co_await world.kill_broker(b2);
    co_await world.start_broker(b2);
    world.start_officer(102, options);
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.state("t", 0)).isr, (Ids{b1, b3}));
    EXPECT_EQ((co_await world.state("t", 0)).leader, b1);
    EXPECT_EQ((co_await world.state("t", 1)).isr, (Ids{b3, b1}));
    EXPECT_EQ((co_await world.state("t", 1)).leader, b3);
    EXPECT_EQ((co_await world.state("alone")).isr, Ids{b2}) << "nobody else has its records";
    EXPECT_EQ((co_await world.state("alone")).leader, b2);
    co_await world.verify();
    co_await world.catch_up(t0);
    EXPECT_EQ((co_await world.state("t", 0)).isr.size(), 3U);
    co_await world.close();
  });
}

// The leader lost power, another is away, and the third's session ended meanwhile: that one alone has everything. To
// the eye the restarted one and it are alike, but for the life in the registration (simulation, seed 27).
TEST(Restart, WhoOnlyRegisteredAgainHasBeenThereAllTheTime) {
  story([](runtime::Shard& shard) -> Task<void> {
    World world(shard);
    co_await world.open(3);
    auto& first = world.start_officer(101);
    (void)co_await world.settled();
    co_await world.create("t", {{p0, {b1, b2, b3}}});
    first.die(Officer::Dies::before);
    while (co_await world.there("/controller")) co_await runtime::sleep(world.shard, 100us);
    co_await world.kill_broker(b2);
    co_await world.register_again(b3);
    co_await world.kill_broker(b1);
    co_await world.start_broker(b1);
    world.start_officer(102);
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.state("t")).leader, b3);
    EXPECT_EQ((co_await world.state("t")).isr, Ids{b3});
    co_await world.verify();
    co_await world.close();
  });
}

// The same in the eyes of a controller that was out of touch.
TEST(Restart, WhoOnlyRegisteredAgainLeadsWhereTheOthersDied) {
  among(3, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1, b2, b3}}});
    world.tree->disconnect(officer.raw->session_id());
    for (const auto id : {b1, b2}) {
      co_await world.kill_broker(id);
      co_await world.start_broker(id);
    }
    co_await world.register_again(b3);
    world.tree->reconnect(officer.raw->session_id());
    const auto shrunk = [&]() -> Task<bool> { co_return (co_await world.state("t")).isr.size() == 1; };
    EXPECT_TRUE(co_await world.comes_true(shrunk));
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.state("t")).leader, b3);
    EXPECT_EQ((co_await world.state("t")).isr, Ids{b3});
    co_await world.verify();
  });
}

// And what is written on the way there misleads nobody: that controller may die after any of its operations.
TEST(Restart, WhoOnlyRegisteredAgainLeadsWhoeverGoesOn) {
  std::uint64_t n = 0;
  for (bool died = true; died && !testing::Test::HasFailure(); ++n) {
    SCOPED_TRACE(fmt::format("dies after {} operations", n));
    story([&](runtime::Shard& shard) -> Task<void> {
      World world(shard);
      co_await world.open(3);
      auto& first = world.start_officer(101);
      (void)co_await world.settled();
      world.start_officer(102);
      co_await world.create("t", {{p0, {b1, b2, b3}}});
      world.tree->disconnect(first.raw->session_id());
      for (const auto id : {b1, b2}) {
        co_await world.kill_broker(id);
        co_await world.start_broker(id);
      }
      co_await world.register_again(b3);
      first.dies_at = first.operations + n;
      world.tree->reconnect(first.raw->session_id());
      const auto shrunk = [&]() -> Task<bool> { co_return (co_await world.state("t")).isr.size() == 1; };
      EXPECT_TRUE(co_await world.comes_true(shrunk));
      (void)co_await world.settled();
      EXPECT_EQ((co_await world.state("t")).leader, b3);
      EXPECT_EQ((co_await world.state("t")).isr, Ids{b3});
      died = first.dead;
      co_await world.close();
    });
  }
  EXPECT_GT(n, 10U);
}

// What the controller writes itself: a member that restarted before the write, whose event is still on its way, would
// look to the next controller like one that stayed.
TEST(Restart, AMembersNewLifeIsSeenBeforeAnElectionIsWritten) {
  among(3, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1, b2, b3}}, {p1, {b2, b1, b3}}});
    // So that neither is led by its preferred replica.
    for (const auto id : {b1, b2}) {
      auto left = co_await officer.controller->controlled_shutdown(id, world.brokers[id].epoch);
      EXPECT_TRUE(left && left->empty());
    }
    for (const auto id : {b1, b2}) co_await world.register_again(id);
    co_await world.catch_up(t0);
    co_await world.catch_up(t1);
    EXPECT_EQ((co_await world.state("t", 0)).isr.size(), 3U);
    EXPECT_EQ((co_await world.state("t", 1)).isr.size(), 3U);
    OrderAnswer answers;
    runtime::Scope scope(world.shard);
    const auto ask = [&]() -> Task<void> {
      std::vector<PartitionRef> at{t0, t1};
      auto answer = co_await officer.controller->elect_leaders(std::move(at), false);
      EXPECT_TRUE(answer.has_value());
      if (answer) answers = std::move(*answer);
    };
    EXPECT_NE((co_await world.state("t", 0)).leader, b1);
    EXPECT_NE((co_await world.state("t", 1)).leader, b2);
    world.tree->disconnect(officer.raw->session_id());
    scope.spawn(ask());
    co_await world.kill_broker(b1);
    co_await world.start_broker(b1);
    world.tree->reconnect(officer.raw->session_id());
    co_await scope.stop();
    const auto second = co_await world.state("t", 1);
    EXPECT_EQ(second.leader, b2);
    EXPECT_TRUE(World::same(second.isr, {b2, b3})) << "it kept the one that restarted";
    EXPECT_EQ(answers.size(), 2U);
    for (const auto& answer : answers) {
      EXPECT_EQ(answer.error, answer.at == t0 ? ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE : ErrorCode::NONE);
    }
    (void)co_await world.settled();
    co_await world.verify();
  });
}

// As WhoOnlyRegisteredAgainHasBeenThereAllTheTime, but the one that lived on has not registered yet when the office is
// taken: the one that lost power is not let lead in its place.
TEST(Restart, WhoLivedOnIsWaitedForAtATakeover) {
  story([](runtime::Shard& shard) -> Task<void> {
    World world(shard);
    co_await world.open(3);
    auto& first = world.start_officer(101);
    (void)co_await world.settled();
    co_await world.create("t", {{p0, {b1, b2, b3}}});
    co_await world.create("alone", {{p0, {b1}}});
    first.die(Officer::Dies::before);
    while (co_await world.there("/controller")) co_await runtime::sleep(world.shard, 100us);
    co_await world.kill_broker(b2);
    co_await world.sessions[b3]->close();
    co_await world.kill_broker(b1);
    co_await world.start_broker(b1);
    ControllerOptions options;
    options.doubt_wait = 1h;
    world.start_officer(102, options);
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.state("alone")).leader, b1) << "nobody else is to be waited for";
    EXPECT_FALSE(world.brokers[b1].roles.contains(t0));
    EXPECT_EQ(world.brokers[b1].metadata[t0].leader, no_broker);
    co_await world.start_broker(b2);  // it does not help
    (void)co_await world.settled();
    EXPECT_FALSE(world.brokers[b1].roles.contains(t0));
    EXPECT_FALSE(world.brokers[b2].roles.contains(t0));
    co_await world.enroll(b3, world.brokers[b3].life);
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.state("t")).leader, b3);
    EXPECT_EQ((co_await world.state("t")).isr, Ids{b3});
    co_await world.verify();
    co_await world.close();
  });
}

// The whole ISR is away when the office is taken: the wait begins with the first that comes, not before.
TEST(Restart, WhoComesFirstInANewLifeWaitsForTheOthers) {
  runtime::SimWorld sim(1, 1);
  auto& shard = sim.shard(0);
  runtime::block_on(shard, [&]() -> Task<void> {
    World world(shard);
    co_await world.open(3);
    auto& first = world.start_officer(101);
    (void)co_await world.settled();
    co_await world.create("t", {{p0, {b1, b2}}});
    first.die(Officer::Dies::before);
    while (co_await world.there("/controller")) co_await runtime::sleep(world.shard, 100us);
    co_await world.kill_broker(b1);
    co_await world.sessions[b2]->close();
    ControllerOptions options;
    options.doubt_wait = 1s;
    world.start_officer(102, options);
    (void)co_await world.settled();
    co_await runtime::sleep(world.shard, 1h);
    co_await world.start_broker(b1);
    co_await runtime::sleep(world.shard, 900ms);
    (void)co_await world.settled();
    EXPECT_FALSE(world.brokers[b1].roles.contains(t0));
    co_await world.enroll(b2, world.brokers[b2].life);
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.state("t")).leader, b2);
    EXPECT_EQ((co_await world.state("t")).isr, Ids{b2});
    co_await world.verify();
    co_await world.close();
  });
}

// The same for the controller that was there all the time, and saw them all go at once.
TEST(Restart, WhoLivedOnIsWaitedForWhenAllWereGone) {
  ControllerOptions options;
  options.doubt_wait = 1h;
  among(
      3,
      [](World& world, Officer& officer) -> Task<void> {
        co_await world.create("t", {{p0, {b1, b2, b3}}});
        world.tree->disconnect(officer.raw->session_id());
        co_await world.kill_broker(b1);
        co_await world.kill_broker(b2);
        co_await world.sessions[b3]->close();
        world.tree->reconnect(officer.raw->session_id());
        (void)co_await world.settled();
        EXPECT_EQ((co_await world.state("t")).leader, no_broker);
        co_await world.start_broker(b1);
        (void)co_await world.settled();
        EXPECT_EQ((co_await world.state("t")).leader, no_broker);
        EXPECT_FALSE(world.brokers[b1].roles.contains(t0));
        co_await world.enroll(b3, world.brokers[b3].life);
        (void)co_await world.settled();
        EXPECT_EQ((co_await world.state("t")).leader, b3);
        EXPECT_EQ((co_await world.state("t")).isr, Ids{b3});
        co_await world.verify();
      },
      options);
}

// All restarted, and one does not come: after a while who is there leads, as in Kafka.
TEST(Restart, TheWaitEnds) {
  ControllerOptions options;
  options.doubt_wait = 5ms;
  among(
      3,
      [](World& world, Officer& officer) -> Task<void> {
        co_await world.create("t", {{p0, {b1, b2, b3}}});
        world.tree->disconnect(officer.raw->session_id());
        for (const auto id : {b1, b2, b3}) co_await world.kill_broker(id);
        world.tree->reconnect(officer.raw->session_id());
        (void)co_await world.settled();
        co_await world.start_broker(b2);
        const auto led = [&]() -> Task<bool> { co_return (co_await world.state("t")).leader == b2; };
        EXPECT_TRUE(co_await world.comes_true(led));
        (void)co_await world.settled();
        EXPECT_EQ((co_await world.state("t")).isr, Ids{b2});
        // All of an ISR are there: nobody is waited for.
        co_await world.start_broker(b1);
        (void)co_await world.settled();
        co_await world.catch_up(t0);
        co_await world.verify();
      },
      options);
}

TEST(Brokers, ChangedEndpointsAndHalfWrittenRegistrations) {
  among(2, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1, b2}}});
    layout::BrokerRegistration r;
    r.endpoints = {{"PLAINTEXT", "PLAINTEXT", "elsewhere", 9999}};
    r.rack = "a";
    EXPECT_TRUE((co_await update_registration(*world.sessions[b2], b2, r)).has_value());
    (void)co_await world.settled();
    EXPECT_EQ(officer.controller->image()->broker(b2)->endpoints.front().host, "elsewhere");
    EXPECT_EQ(officer.controller->image()->broker(b2)->rack, "a");
    (void)co_await world.user->create("/brokers/ids/7", "{\"version\":5,");
    (void)co_await world.settled();
    EXPECT_FALSE(officer.controller->image()->alive(BrokerId{7}));
    world.brokers[BrokerId{7}].alive = true;
    auto stat = co_await world.user->set("/brokers/ids/7", layout::encode(r));
    world.brokers[BrokerId{7}].epoch = BrokerEpoch{stat->czxid};
    (void)co_await world.settled();
    EXPECT_TRUE(officer.controller->image()->alive(BrokerId{7}));
    EXPECT_EQ(world.brokers[BrokerId{7}].metadata.size(), 1U);
  });
}

// What cannot be read of one topic stops the failover of no other.
TEST(Brokers, OneTopicsUnreadableConfigStopsNoOthersFailover) {
  among(2, [](World& world, Officer& officer) -> Task<void> {
    const PartitionRef dark{"dark", p0};
    co_await world.create("dark", {{p0, {b2, b1}}});
    co_await world.create("t", {{p0, {b2, b1}}});
    EXPECT_EQ(co_await propose(world, officer, b2, world.proposal(b2, dark, {b2})), ErrorCode::NONE);
    officer.guarded->unreadable.insert("/config/topics/dark");
    co_await world.kill_broker(b2);
    (void)co_await world.settled();
    EXPECT_TRUE(officer.controller->active());
    EXPECT_EQ((co_await world.state("t")).leader, b1);
    EXPECT_EQ(world.brokers[b1].roles[t0].leader, b1);
    // Not known to be allowed to lose what its last leader had.
    EXPECT_EQ((co_await world.state("dark")).leader, no_broker);
    EXPECT_EQ(world.brokers[b1].metadata[dark].leader, no_broker);
    co_await world.start_broker(b2);
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.state("dark")).leader, b2);
    co_await world.verify();
  });
}

TEST(Brokers, WhatIsWrittenIsToldAlsoWhenTheRestFails) {
  among(4, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("dark", {{p0, {b2, b1}}});
    co_await world.create("t", {{p0, {b2, b1}}});
    co_await world.create("followed", {{p0, {b1, b2}}});
    // Its leader wrote it, so that it has to be read again, which is not allowed.
    const auto path = layout::path_of_partition_state("dark", p0);
    auto there = co_await world.user->get(path, Watch{});
    EXPECT_TRUE((co_await world.user->set(path, there->data)).has_value());
    officer.guarded->unreadable.insert(path);
    // One goes and one comes, in one look.
    world.tree->disconnect(officer.raw->session_id());
    co_await world.kill_broker(b2);
    co_await world.start_broker(BrokerId{5});
    world.tree->reconnect(officer.raw->session_id());
    (void)co_await world.settled();
    EXPECT_TRUE(officer.controller->active());
    EXPECT_EQ((co_await world.state("t")).leader, b1);
    EXPECT_EQ(world.brokers[b1].roles[t0].leader, b1);
    EXPECT_EQ(world.brokers[b3].metadata[t0].leader, b1);
    EXPECT_EQ((co_await world.state("followed")).isr, Ids{b1});
    EXPECT_EQ(world.brokers[b3].metadata[(PartitionRef{"followed", p0})].isr, Ids{b1});
    EXPECT_TRUE(officer.controller->image()->alive(BrokerId{5}));
    EXPECT_EQ(world.brokers[BrokerId{5}].metadata[t0].leader, b1);
    EXPECT_EQ(world.brokers[b3].known, (std::set<BrokerId>{b1, b3, b4, BrokerId{5}}));
  });
}

TEST(Topics, WhatWasHalfWrittenIsTakenWhenItIsWhole) {
  among(2, [](World& world, Officer& officer) -> Task<void> {
    (void)co_await world.user->create("/brokers/topics/half", "{\"version\":1,");
    (void)co_await world.user->create("/brokers/topics/bad", "[]");
    (void)co_await world.settled();
    EXPECT_EQ(officer.controller->image()->topic("half"), nullptr);
    (void)co_await world.user->set("/brokers/topics/half", R"({"version":1,"partitions":{"0":[1]}})");
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.state("half")).leader, b1);
    // What nobody can read can still be deleted.
    (void)co_await world.user->create("/admin/delete_topics/bad", "");
    (void)co_await world.settled();
    EXPECT_FALSE(co_await world.there("/brokers/topics/bad"));
    EXPECT_FALSE(co_await world.there("/admin/delete_topics/bad"));
    co_await world.verify();
  });
}

// No broker would take an order that names it.
TEST(Topics, ANameThatNobodyCanUseIsLeftOutAndCanBeDeleted) {
  among(2, [](World& world, Officer& officer) -> Task<void> {
    (void)co_await world.user->create("/brokers/topics/a b", R"({"version":2,"partitions":{"0":[1,2]}})");
    co_await world.create("t", {{p0, {b1, b2}}});
    EXPECT_EQ(officer.controller->image()->topic("a b"), nullptr);
    EXPECT_FALSE(co_await world.there("/brokers/topics/a b/partitions"));
    EXPECT_EQ(world.brokers[b2].metadata.size(), 1U);
    (void)co_await world.user->create("/admin/delete_topics/a b", "");
    (void)co_await world.settled();
    EXPECT_FALSE(co_await world.there("/brokers/topics/a b"));
    co_await world.verify();
  });
}

// Kafka before 0.11 made them.
TEST(Topics, ANameOfBeforeTheLimitIsServedAndDeletedWithItsReplicas) {
  among(2, [](World& world, Officer& officer) -> Task<void> {
    const std::string name(253, 'x');
    const std::string beyond(254, 'y');
    for (const auto& each : {name, beyond}) {
      (void)co_await world.user->create("/brokers/topics/" + each, R"({"version":2,"partitions":{"0":[1,2]}})");
    }
    (void)co_await world.settled();
    EXPECT_EQ(officer.controller->image()->topic(beyond), nullptr);
    const PartitionRef at{name, p0};
    EXPECT_TRUE(world.brokers[b1].roles.contains(at) && world.brokers[b2].roles.contains(at));
    std::vector<NewPartitions> more{{name, 11, std::nullopt}};
    auto grown = co_await world.admin->create_partitions(more, false, officer.controller->image());
    EXPECT_EQ(grown.front().error().code, ErrorCode::INVALID_PARTITIONS) << "-10 makes its folder's name too long";
    std::vector<std::string> names{name};
    EXPECT_TRUE((co_await world.admin->delete_topics(names)).front().has_value());
    (void)co_await world.settled();
    EXPECT_FALSE(co_await world.there("/brokers/topics/" + name));
    EXPECT_EQ(world.brokers.stops, 2);
    for (const auto id : {b1, b2}) EXPECT_FALSE(world.brokers[id].roles.contains(at));
  });
}

// Or its data would stay where it was moved away.
TEST(Brokers, ARemovalThatIsRefusedIsOrderedAgain) {
  among(3, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1, b2}}, {p1, {b1, b2}}});
    for (const auto& at : {t0, t1}) {
      world.brokers[b2].refuses = "t";
      EXPECT_EQ(co_await move(officer, at, Ids{b1, b3}), ErrorCode::NONE);
      co_await world.catch_up(at);
      (void)co_await world.settled();
      EXPECT_EQ((co_await world.replicas("t", at.partition.value)).replicas, (Ids{b1, b3}));
      EXPECT_TRUE(world.brokers[b2].roles.contains(at));
      world.brokers[b2].refuses.clear();
      if (at == t1) {  // and back, before it was told again
        EXPECT_EQ(co_await move(officer, at, Ids{b1, b3, b2}), ErrorCode::NONE);
        co_await world.catch_up(at);
        break;
      }
      const auto removed = [&]() -> Task<bool> { co_return !world.brokers[b2].roles.contains(at); };
      EXPECT_TRUE(co_await world.comes_true(removed));
    }
    co_await runtime::sleep(world.shard, 10ms);
    (void)co_await world.settled();
    co_await world.verify();
  });
}

// As long as it is in the ISR, what is acknowledged by all waits for it.
TEST(Brokers, AShutdownThatIsNotWrittenStopsNoFollower) {
  among(2, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1, b2}}, {p1, {b2, b1}}});
    EXPECT_TRUE((co_await world.user->set("/controller_epoch", "1000")).has_value());
    auto left = co_await officer.controller->controlled_shutdown(b1, world.brokers[b1].epoch);
    EXPECT_EQ(left.error().code, ErrorCode::NOT_CONTROLLER);
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.state("t", 1)).isr, (Ids{b2, b1}));
    EXPECT_EQ(world.brokers.stops, 0);
    left = co_await officer.controller->controlled_shutdown(b1, world.brokers[b1].epoch);
    EXPECT_TRUE(left && left->empty());
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.state("t", 1)).isr, Ids{b2});
    EXPECT_FALSE(world.brokers[b1].roles.contains(t1));
  });
}

// It would refuse the same for ever: it is told what there is by then, and not as fast as it can refuse.
TEST(Brokers, OneThatRefusesAnOrderIsToldEverythingAnew) {
  among(2, [](World& world, Officer&) -> Task<void> {
    world.brokers[b2].refuses = "bad";
    co_await world.create("bad", {{p0, {b1}}});
    const PartitionRef good{"good", p0};
    (void)co_await zkclient::remove_tree(*world.user, "/brokers/topics/bad");
    co_await world.create("good", {{p0, {b2, b1}}});
    const auto before = world.brokers.orders;
    const auto told = [&]() -> Task<bool> { co_return world.brokers[b2].metadata.contains(good); };
    EXPECT_TRUE(co_await world.comes_true(told));
    EXPECT_TRUE(world.brokers[b2].roles.contains(good));
    EXPECT_LE(world.brokers.orders - before, 20);
  });
}

// Written by hand, or by a controller of a time that was restored away. Looked for was the one in office, over and
// over.
TEST(Office, AStateOfAnEpochThatThereIsNotCostsThatPartitionOnly) {
  among(3, [](World& world, Officer& officer) -> Task<void> {
    const PartitionRef far{"far", p0};
    const PartitionRef last{"last", p0};
    for (const auto& at : {far, last, t0}) co_await world.create(at.topic, {{p0, {b1, b2}}});
    auto state = co_await world.state("far");
    state.controller_epoch = ControllerEpoch{9999};
    (void)co_await world.user->set(layout::path_of_partition_state("far", p0), layout::encode(state));
    state = co_await world.state("last");
    state.leader_epoch = LeaderEpoch{0x7fffffff};
    (void)co_await world.user->set(layout::path_of_partition_state("last", p0), layout::encode(state));
    const auto epoch = officer.controller->epoch();
    co_await world.kill_broker(b1);
    (void)co_await world.settled();
    EXPECT_TRUE(officer.controller->active());
    EXPECT_EQ(officer.controller->epoch(), epoch);
    EXPECT_EQ((co_await world.state("t")).leader, b2);
    EXPECT_EQ((co_await world.state("far")).leader, b1);
    EXPECT_EQ((co_await world.state("far")).controller_epoch, ControllerEpoch{9999});
    EXPECT_EQ((co_await world.state("last")).leader_epoch, LeaderEpoch{0x7fffffff});
    // Mended by hand, it is led again when there is cause to look.
    state = co_await world.state("far");
    state.controller_epoch = epoch;
    (void)co_await world.user->set(layout::path_of_partition_state("far", p0), layout::encode(state));
    co_await world.start_broker(b1);
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.state("far")).leader, b2);
    EXPECT_EQ(world.brokers[b1].roles[far].leader, b2);
    // And for the next in office.
    officer.die(Officer::Dies::before);
    world.start_officer(102);
    auto* next = co_await world.settled();
    EXPECT_EQ(next->controller->epoch().value, epoch.value + 1);
    EXPECT_EQ(world.brokers[b2].metadata[t0].leader, b2);
  });
}

// Something takes the office from whoever has it, each time: it is not sought as fast as that goes.
TEST(Office, WhoLosesItAtOncePausesBeforeItIsSoughtAgain) {
  among(2, [](World& world, Officer& officer) -> Task<void> {
    const auto spoil = [&](int n) -> Task<void> {
      const auto epoch = std::to_string(1000 * (n + 1));
      EXPECT_TRUE((co_await world.user->set("/controller_epoch", epoch)).has_value());
      (void)co_await world.create("t" + std::to_string(n), {{p0, {b1, b2}}});
    };
    const auto began = world.shard.clock().mono();
    for (int n = 0; n < 3; ++n) co_await spoil(n);
    EXPECT_EQ(officer.controller->epoch(), ControllerEpoch{3001});
    EXPECT_GE(world.shard.clock().mono() - began, 700ms);
    co_await world.verify();
  });
}

// Somebody writes the epoch, and a topic that only who is in office looks at: it has lost it.
Task<void> lose_office(World& world, int n) {
  EXPECT_TRUE((co_await world.user->set("/controller_epoch", std::to_string(1000 * (n + 1)))).has_value());
  const auto path = "/brokers/topics/lost" + std::to_string(n);
  (void)co_await world.user->create(path, R"({"version":2,"partitions":{"0":[1,2]}})");
}

// It kept /controller while it paused: nobody could be controller.
TEST(Office, WhoLosesItAtOnceLeavesItToOthers) {
  runtime::SimWorld sim(1, 1);
  auto& shard = sim.shard(0);
  runtime::block_on(shard, [&]() -> Task<void> {
    World world(shard);
    co_await world.open(2);
    auto& first = world.start_officer(101);
    (void)co_await world.settled();
    auto& second = world.start_officer(102);
    co_await second.controller->idle();
    const auto began = shard.clock().mono();
    co_await lose_office(world, 0);
    auto* next = co_await world.settled();
    EXPECT_EQ(next, &second);
    EXPECT_LT(shard.clock().mono() - began, 50ms);
    EXPECT_EQ(second.controller->epoch(), ControllerEpoch{1001});
    co_await world.verify();
    co_await runtime::sleep(shard, 1s);
    EXPECT_TRUE(second.controller->active());
    EXPECT_EQ(first.controller->controller_id(), BrokerId{102});
    second.die(Officer::Dies::before);
    EXPECT_EQ(co_await world.settled(), &first);
    co_await world.close();
  });
}

// The pause is of the candidacy alone: a new session is registered, and who asks is answered. It ends when an office
// has lasted, however that one ended.
TEST(Office, APauseHoldsUpNothingElse) {
  runtime::SimWorld sim(1, 1);
  auto& shard = sim.shard(0);
  runtime::block_on(shard, [&]() -> Task<void> {
    World world(shard);
    co_await world.open(2);
    int registered = 0;
    ControllerOptions options;
    options.register_again = [&]() -> Task<void> {
      ++registered;
      co_return;
    };
    auto& officer = world.start_officer(101, options);
    int n = 0;
    for (; n < 4; ++n) {
      (void)co_await world.settled();
      co_await lose_office(world, n);
    }
    (void)co_await world.settled();
    const auto began = shard.clock().mono();
    co_await lose_office(world, n++);
    while (officer.controller->active()) co_await runtime::sleep(shard, 100us);
    auto asked = co_await officer.controller->controlled_shutdown(b1, BrokerEpoch{-1});
    EXPECT_EQ(asked.error().code, ErrorCode::NOT_CONTROLLER);
    world.tree->expire(officer.raw->session_id());
    while (registered == 0) co_await runtime::sleep(shard, 100us);
    EXPECT_LT(shard.clock().mono() - began, 100ms);
    (void)co_await world.settled();
    EXPECT_GE(shard.clock().mono() - began, 1600ms);
    co_await runtime::sleep(shard, 11s);
    world.tree->expire(officer.raw->session_id());
    while (registered == 1) co_await runtime::sleep(shard, 100us);
    (void)co_await world.settled();
    const auto again = shard.clock().mono();
    co_await lose_office(world, n);
    (void)co_await world.settled();
    EXPECT_GE(shard.clock().mono() - again, 100ms);
    EXPECT_LT(shard.clock().mono() - again, 200ms);
    co_await world.verify();
    co_await world.close();
  });
}

TEST(Office, AfterTheLastEpochThereIsNone) {
  story([](runtime::Shard& shard) -> Task<void> {
    World world(shard);
    co_await world.open(1);
    (void)co_await world.user->create("/controller_epoch", "2147483647");
    auto& officer = world.start_officer(101);
    const auto looked = [&] { return officer.controller->stats().times["ControllerChange"].count; };
    while (looked() < 1) co_await runtime::sleep(world.shard, 100us);
    EXPECT_FALSE(officer.controller->active());
    EXPECT_EQ((co_await world.user->get("/controller_epoch"))->data, "2147483647");
    EXPECT_FALSE(co_await world.there("/controller"));
    co_await world.close();
  });
}

// unclean.leader.election.enable as it is now decides, and turned on, at once.
TEST(Office, UncleanElectionsAreAllowedAndForbiddenWhileItIsHeld) {
  const PartitionRef own{"own", p0};
  among(2, [own](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1, b2}}, {p1, {b1, b2}}});
    co_await world.create("own", {{p0, {b1, b2}}});
    cluster::ConfigKey key{cluster::ConfigType::topic, "own"};
    cluster::ConfigMap never{{"unclean.leader.election.enable", "false"}};
    EXPECT_TRUE((co_await world.admin->set_config(key, never)).has_value());
    for (const auto& at : {t0, own}) {
      EXPECT_EQ(co_await propose(world, officer, b1, world.proposal(b1, at, {b1})), ErrorCode::NONE);
    }
    co_await world.kill_broker(b1);
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.state("t")).leader, no_broker);
    officer.controller->set_unclean_election(true);
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.state("t")).leader, b2);
    EXPECT_EQ((co_await world.state("own")).leader, no_broker);
    officer.controller->set_unclean_election(false);
    co_await world.start_broker(b1);
    (void)co_await world.settled();
    co_await world.kill_broker(b2);
    (void)co_await world.settled();
    EXPECT_EQ((co_await world.state("t")).leader, no_broker);
  });
}

TEST(Brokers, OneThatIsSlowIsToldTheLastStateOfAll) {
  among(2, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1, b2}}});
    world.brokers[b2].answers = false;
    // What is told while it does not answer.
    for (int i = 0; i < 50; ++i) {
      const Ids isr = i % 2 == 0 ? Ids{b1} : Ids{b1, b2};
      auto item = world.proposal(b1, t0, isr);
      std::vector<AlterPartitionItem> items{item};
      auto answer = co_await officer.controller->alter_partition(b1, world.brokers[b1].epoch, items);
      EXPECT_EQ(answer->front().error, ErrorCode::NONE);
      world.brokers[b1].roles[t0].version = answer->front().state.version;
    }
    EXPECT_LE(officer.controller->stats().orders_waiting_of[b2], 2U);  // one under way, one that has all the others
    const auto before = world.brokers.orders;
    world.brokers[b2].answers = true;
    (void)co_await world.settled();
    EXPECT_LE(world.brokers.orders - before, 4);
    EXPECT_EQ(world.brokers[b2].metadata[t0].isr, (Ids{b1, b2}));
    EXPECT_EQ(world.brokers[b2].metadata[t0].version, 50);
  });
}

// It may have lost the office without hearing of it: a broker that knows better makes it look. If the office is its
// own, the broker was told a wrong epoch by somebody; it is told again until it listens.
TEST(Office, ABrokerThatKnowsANewerControllerIsBelievedAndToldAgain) {
  among(2, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1, b2}}});
    const auto looked = [&] { return officer.controller->stats().times["ControllerChange"].count; };
    const auto before = looked();
    world.brokers[b2].heard = ControllerEpoch{9};
    EXPECT_EQ(co_await propose(world, officer, b1, world.proposal(b1, t0, {b1})), ErrorCode::NONE);
    while (looked() < before + 2) co_await runtime::sleep(world.shard, 100us);
    EXPECT_TRUE(officer.controller->active());  // it looked, and the office is its own
    EXPECT_GE(officer.controller->stats().orders_waiting, 1U);
    EXPECT_EQ(world.brokers[b1].metadata[t0].isr, Ids{b1});  // another broker does not wait for that one
    EXPECT_EQ(world.brokers[b2].metadata[t0].isr, (Ids{b1, b2}));
    world.brokers[b2].heard = ControllerEpoch{1};
    co_await officer.controller->idle();
    EXPECT_EQ(world.brokers[b2].metadata[t0].isr, Ids{b1});
    EXPECT_EQ(officer.controller->stats().orders_waiting, 0U);
  });
}

// And when the office is another's, nothing more is said.
TEST(Office, WhoLostTheOfficeStopsTellingBrokers) {
  among(2, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1, b2}}});
    world.brokers[b2].heard = ControllerEpoch{9};
    EXPECT_EQ(co_await propose(world, officer, b1, world.proposal(b1, t0, {b1})), ErrorCode::NONE);
    EXPECT_TRUE(officer.controller->active());
    auto other = world.tree->connect();
    std::vector<zkclient::Op> takeover{
        zkclient::Op::remove("/controller"), zkclient::Op::set("/controller_epoch", "9"),
        zkclient::Op::create("/controller", layout::encode(layout::ControllerRegistration{b4, 5, -1}),
                             zkclient::CreateMode::ephemeral)};
    EXPECT_TRUE((co_await other->multi(takeover)).has_value());
    co_await officer.controller->idle();
    EXPECT_FALSE(officer.controller->active());
    EXPECT_EQ(officer.controller->stats().orders_waiting, 0U);
    EXPECT_EQ(world.brokers[b2].metadata[t0].isr, (Ids{b1, b2}));
    co_await other->close();
  });
}

TEST(Office, AllIsSaidAnewToABrokerThatCameBackUnnoticed) {
  among(2, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1, b2}}});
    world.brokers[b2].answers = false;
    EXPECT_EQ(co_await propose(world, officer, b1, world.proposal(b1, t0, {b1})), ErrorCode::NONE);
    // What waits is for its last life.
    co_await world.kill_broker(b2);
    co_await world.start_broker(b2);
    (void)co_await world.settled();
    EXPECT_TRUE(world.brokers[b2].roles.contains(t0));
    EXPECT_EQ(officer.controller->image()->broker(b2)->epoch, world.brokers[b2].epoch);
    co_await world.verify();
  });
}

// --- balance, counts --------------------------------------------------------------------------------------------

TEST(Balance, LeadersGoBackByThemselves) {
  ControllerOptions options;
  options.rebalance_first = 1ms;
  options.rebalance_check = 1ms;
  among(
      3,
      [](World& world, Officer& officer) -> Task<void> {
        co_await world.create("t", {{p0, {b1, b2}}, {p1, {b2, b3}}});
        co_await world.kill_broker(b1);
        (void)co_await world.settled();
        EXPECT_EQ((co_await world.state("t")).leader, b2);
        EXPECT_EQ(officer.controller->stats().preferred_imbalance, 1U);
        co_await world.start_broker(b1);
        // It may lead as soon as it is in sync.
        for (;;) {
          (void)co_await world.settled();
          if (co_await propose(world, officer, b2, world.proposal(b2, t0, {b1, b2})) == ErrorCode::NONE) break;
        }
        while ((co_await world.state("t")).leader != b1) co_await runtime::sleep(world.shard, 1ms);
        (void)co_await world.settled();
        EXPECT_EQ(officer.controller->stats().preferred_imbalance, 0U);
      },
      options);
}

TEST(Stats, SayWhatIsThere) {
  among(3, [](World& world, Officer& officer) -> Task<void> {
    co_await world.create("t", {{p0, {b1, b2}}, {p1, {b2, b1}}});
    auto stats = officer.controller->stats();
    EXPECT_TRUE(stats.active);
    EXPECT_EQ(stats.controller, BrokerId{101});
    EXPECT_EQ(stats.brokers, 3U);
    EXPECT_EQ(stats.topics, 1U);
    EXPECT_EQ(stats.partitions, 2U);
    EXPECT_EQ(stats.offline_partitions, 0U);
    EXPECT_EQ(stats.elections, 0U);
    EXPECT_GT(stats.events, 0U);
    EXPECT_GE(stats.times["TopicChange"].count, 1U);
    co_await world.kill_broker(b1);
    co_await world.kill_broker(b2);
    (void)co_await world.settled();
    std::vector<std::string> names{"t"};
    stats = officer.controller->stats();
    EXPECT_EQ(stats.offline_partitions, 2U);
    EXPECT_GE(stats.times["LeaderElection"].count, 1U);
    EXPECT_EQ(stats.unclean_elections, 0U);
    (void)co_await world.admin->delete_topics(names);
    (void)co_await world.settled();
    stats = officer.controller->stats();
    EXPECT_EQ(stats.topics_to_delete, 1U);
    EXPECT_EQ(stats.topics_ineligible_to_delete, 1U);
    EXPECT_EQ(stats.replicas_to_delete, 4U);
    EXPECT_EQ(stats.replicas_ineligible_to_delete, 4U);
  });
}

TEST(Options, FollowTheProtocolsVersion) {
  const auto of = [](std::string_view version) {
    ControllerOptions options;
    set_protocol_version(options, version);
    return fmt::format("{}{}{}{}", options.topic_ids, options.feature_version, options.leader_recovery,
                       options.alter_partition);
  };
  EXPECT_EQ(of("2.2"), "false0falsefalse");
  EXPECT_EQ(of("2.7-IV0"), "false1falsefalse");
  EXPECT_EQ(of("2.7"), "false1falsetrue");
  EXPECT_EQ(of("2.8-IV1"), "true1falsetrue");
  EXPECT_EQ(of("3.2"), "true1truetrue");
  EXPECT_EQ(of("3.9.1"), "true2truetrue");
  EXPECT_EQ(of("none"), "true2truetrue");
}

// --- size -------------------------------------------------------------------------------------------------------

// Many partitions a write, none of them read again, and one round of orders a broker.
TEST(Size, ABrokersLossIsAFewWritesAndOrders) {
  among(3, [](World& world, Officer& officer) -> Task<void> {
    constexpr std::int32_t count = 3000;
    Assignment assignment;
    const std::array<Ids, 3> turns{Ids{b1, b2, b3}, Ids{b2, b3, b1}, Ids{b3, b1, b2}};
    for (std::int32_t i = 0; i < count; ++i) assignment[PartitionId{i}] = turns[static_cast<std::size_t>(i % 3)];
    co_await world.create("t", assignment);
    EXPECT_EQ(officer.controller->image()->partition_count(), 3000U);
    const auto before = world.tree->operations();
    const auto orders = world.brokers.orders;
    co_await world.kill_broker(b1);
    (void)co_await world.settled();
    const auto after = world.tree->operations();
    EXPECT_LE(after.at("multi") - before.at("multi"), 3000U / 32 + 1);
    EXPECT_LE(after.at("get") - before.at("get"), 10U);
    EXPECT_LE(world.brokers.orders - orders, 8);
    for (const auto& [at, role] : world.brokers[b2].roles) EXPECT_NE(role.leader, b1);
    // One write a partition: who gets a new leader and who only shrinks are written in one go.
    std::size_t written_once = 0;
    for (std::int32_t i = 0; i < count; ++i) {
      auto there = co_await world.user->get(layout::path_of_partition_state("t", PartitionId{i}), Watch{});
      written_once += there && there->stat.version == 1 ? 1 : 0;
    }
    EXPECT_EQ(written_once, 3000U);
  });
}

}  // namespace
}  // namespace weir::controller
