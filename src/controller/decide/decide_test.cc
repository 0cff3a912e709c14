#include <gtest/gtest.h>

#include "controller/decide/balance.h"
#include "controller/decide/batch.h"
#include "controller/decide/deletion.h"
#include "controller/decide/elect.h"
#include "controller/decide/orders.h"
#include "controller/decide/reassign.h"

namespace weir::controller::decide {
namespace {

const BrokerId b1{1}, b2{2}, b3{3};
const PartitionId p0{0};
using Ids = std::vector<BrokerId>;

State with_alive(Ids alive) {
  State state;
  state.self = b1;
  state.epoch = ControllerEpoch{9};
  cluster::ImageBuilder building(cluster::empty_image());
  for (const auto id : alive) {
    cluster::Broker broker;
    broker.id = id;
    broker.epoch = BrokerEpoch{100 + id.value};
    broker.endpoints = {{"INTERNAL", "PLAINTEXT", "h" + std::to_string(id.value), 9093}};
    building.put_broker(std::move(broker));
  }
  state.image = building.build();
  return state;
}
cluster::Partition partition(Ids replicas, BrokerId leader, Ids isr) {
  cluster::Partition p;
  p.replicas = std::move(replicas);
  p.leader = leader;
  p.isr = std::move(isr);
  p.leader_epoch = LeaderEpoch{4};
  p.version = 7;
  return p;
}
void put(State& state, const std::string& topic, cluster::Partition p) {
  cluster::ImageBuilder building(state.image);
  building.put_partition(topic, p0, std::move(p));
  state.image = building.build();
}

TEST(Elect, TheFirstStateHasAllThatAreAlive) {
  const auto state = with_alive({b1, b3});
  const auto first = first_state(state, partition({b2, b3, b1}, no_broker, {}));
  ASSERT_TRUE(first);
  EXPECT_EQ(first->leader, b3);
  EXPECT_EQ(first->isr, (Ids{b3, b1}));
  EXPECT_EQ(first->leader_epoch, LeaderEpoch{0});
  EXPECT_EQ(first->controller_epoch, ControllerEpoch{9});
  EXPECT_FALSE(first_state(with_alive({}), partition({b2}, no_broker, {})));
}

TEST(Elect, AnOfflinePartitionGoesToTheFirstReplicaInTheIsr) {
  const auto state = with_alive({b2, b3});
  const auto next = elect(state, partition({b1, b2, b3}, b1, {b1, b3}), Election::offline, false);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->leader, b3);
  EXPECT_EQ(next->isr, Ids{b3});
  EXPECT_EQ(next->leader_epoch, LeaderEpoch{5});
  EXPECT_EQ(next->leader_recovery_state, 0);
}

TEST(Elect, OutsideTheIsrOnlyWhenUncleanAndThenInRecovery) {
  const auto state = with_alive({b2, b3});
  const auto current = partition({b1, b2, b3}, b1, {b1});
  EXPECT_FALSE(clean_election_possible(state, current));
  EXPECT_FALSE(elect(state, current, Election::offline, false));
  const auto next = elect(state, current, Election::offline, true);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->leader, b2);
  EXPECT_EQ(next->isr, Ids{b2});
  EXPECT_EQ(next->leader_recovery_state, 1);
  EXPECT_FALSE(elect(with_alive({}), current, Election::offline, true));
  // Nobody of the ISR is there to be doubted: who takes the office waits for none of it either.
  const Doubt doubt;
  const auto outside = partition({b1, b2, b3}, b1, {b1});
  EXPECT_EQ(elect(state, outside, Election::offline, true, &doubt)->leader, b2);
  const auto pair = partition({b1, b2, b3}, b1, {b1, b3});
  EXPECT_EQ(elect(with_alive({b2}), pair, Election::offline, true, &doubt)->leader, b2);
  EXPECT_FALSE(elect(with_alive({b2}), pair, Election::offline, false, &doubt));
}

TEST(Elect, ThePreferredLeadsWhenItIsInTheIsr) {
  const auto state = with_alive({b1, b2});
  EXPECT_EQ(elect(state, partition({b1, b2}, b2, {b2, b1}), Election::preferred, false)->leader, b1);
  EXPECT_FALSE(elect(state, partition({b1, b2}, b2, {b2}), Election::preferred, false));
  EXPECT_FALSE(elect(with_alive({b2}), partition({b1, b2}, b2, {b2, b1}), Election::preferred, false));
}

TEST(Elect, ShutdownMovesAwayAndShrinks) {
  auto state = with_alive({b1, b2});
  state.shutting_down = {b1};
  const auto next = elect(state, partition({b1, b2}, b1, {b1, b2}), Election::controlled_shutdown, false);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->leader, b2);
  EXPECT_EQ(next->isr, Ids{b2});
  EXPECT_FALSE(elect(state, partition({b1, b2}, b1, {b1}), Election::controlled_shutdown, false));
}

TEST(Elect, TheLastInTheIsrStaysThere) {
  const auto state = with_alive({b2});
  const auto follower = without_replicas(state, partition({b1, b2}, b2, {b1, b2}), {b1});
  EXPECT_EQ(follower->isr, Ids{b2});
  EXPECT_EQ(follower->leader, b2);
  const auto last = without_replicas(state, partition({b1}, b1, {b1}), {b1});
  EXPECT_EQ(last->leader, no_broker);
  EXPECT_EQ(last->isr, Ids{b1});
  EXPECT_FALSE(without_replicas(state, *last, {b1}));
  EXPECT_FALSE(without_replicas(state, partition({b1, b2}, b2, {b2}), {b1}));
}

TEST(Elect, AReplicaOnABrokenDirectoryIsNotOnline) {
  const auto state = with_alive({b1, b2});
  auto p = partition({b1, b2}, b1, {b1, b2});
  p.offline = {b1};
  EXPECT_FALSE(online(state, p, b1));
  EXPECT_EQ(elect(state, p, Election::offline, false)->leader, b2);
}

TEST(Batch, OneSetOfOrdersABrokerAndOnlyForThoseAlive) {
  auto state = with_alive({b1, b2});
  put(state, "t", partition({b1, b3}, b1, {b1}));
  put(state, "u", partition({b2}, b2, {b2}));
  Batch batch;
  EXPECT_TRUE(batch.empty());
  batch.lead_and_follow({b1, b3}, {"t", p0}, true);
  batch.lead_and_follow({b1}, {"t", p0}, false);
  batch.tell_everything(b2);
  batch.stop(b2, {"u", p0}, false);
  batch.stop(b3, {"t", p0}, true);
  const auto orders = batch.build(state, "INTERNAL");
  ASSERT_EQ(orders.size(), 2U);
  const auto& lead = *orders.at(b1).leader_and_isr;
  EXPECT_TRUE(lead.partitions.front().is_new);
  EXPECT_EQ(lead.head.broker_epoch, BrokerEpoch{101});
  EXPECT_EQ(lead.head.controller_epoch, ControllerEpoch{9});
  EXPECT_EQ(lead.leaders.front().host, "h1");
  EXPECT_EQ(orders.at(b1).update_metadata->partitions.size(), 1U);
  EXPECT_EQ(orders.at(b1).update_metadata->partitions.front().state.offline, Ids{b3});
  EXPECT_EQ(orders.at(b2).update_metadata->partitions.size(), 2U);
  EXPECT_EQ(orders.at(b2).update_metadata->brokers.size(), 2U);
  EXPECT_EQ(orders.at(b2).stop_replica->partitions.front().leader_epoch, LeaderEpoch{4});
  EXPECT_FALSE(orders.at(b2).leader_and_isr);
}

TEST(Deletion, GoesStepByStep) {
  auto state = with_alive({b1});
  put(state, "t", partition({b1, b2}, b1, {b1, b2}));
  cluster::ImageBuilder marking(state.image);
  marking.mark_deleting("t");
  state.image = marking.build();
  state.deletions["t"];
  Batch first;
  EXPECT_TRUE(next_deletions(state, first).empty());
  const auto orders = first.build(state, "INTERNAL");
  EXPECT_EQ(orders.at(b1).stop_replica->partitions.front().leader_epoch, LeaderEpoch{-2});
  EXPECT_EQ(orders.at(b1).update_metadata->partitions.front().state.leader, BrokerId{-2});
  Batch again;
  EXPECT_TRUE(next_deletions(state, again).empty());
  EXPECT_TRUE(again.empty());  // ordered once
  replica_removed(state, {"t", p0}, b1, ErrorCode::NONE);
  Batch waiting;
  EXPECT_TRUE(next_deletions(state, waiting).empty());  // broker 2 is not there
  cluster::ImageBuilder coming(state.image);
  cluster::Broker two;
  two.id = b2;
  coming.put_broker(two);
  state.image = coming.build();
  broker_back(state, b2);
  Batch second;
  EXPECT_TRUE(next_deletions(state, second).empty());
  EXPECT_TRUE(second.build(state, "INTERNAL").contains(b2));
  // A failure waits for the broker's next life; dying with the order unanswered does too.
  replica_removed(state, {"t", p0}, b2, ErrorCode::KAFKA_STORAGE_ERROR);
  Batch failed;
  EXPECT_TRUE(next_deletions(state, failed).empty());
  EXPECT_TRUE(failed.empty());
  broker_back(state, b2);
  Batch third;
  EXPECT_TRUE(next_deletions(state, third).empty());
  EXPECT_FALSE(third.empty());
  broker_gone(state, b2);
  broker_back(state, b2);
  Batch fourth;
  EXPECT_TRUE(next_deletions(state, fourth).empty());
  EXPECT_FALSE(fourth.empty());
  replica_removed(state, {"t", p0}, b2, ErrorCode::NONE);
  Batch last;
  EXPECT_EQ(next_deletions(state, last), std::vector<std::string>{"t"});
}

// A broker that died after it had removed its replica, and is back while the topic still waits for another: a role
// would make the replica anew, which then stands in the way of the next topic of that name.
TEST(Deletion, WhatIsRemovedGetsNoRoleAnyMore) {
  auto state = with_alive({b1, b2});
  put(state, "t", partition({b1, b2, b3}, b1, {b1, b2, b3}));
  cluster::ImageBuilder marking(state.image);
  marking.mark_deleting("t");
  state.image = marking.build();
  state.deletions["t"];
  Batch stops;
  EXPECT_TRUE(next_deletions(state, stops).empty());
  replica_removed(state, {"t", p0}, b1, ErrorCode::NONE);
  Batch back;
  back.lead_and_follow({b1, b2}, {"t", p0}, false);
  for (const auto& [broker, orders] : back.build(state, "INTERNAL"))
    EXPECT_FALSE(orders.leader_and_isr) << broker.value;
  // One that died with its order unanswered may have it still.
  broker_gone(state, b2);
  const auto orders = back.build(state, "INTERNAL");
  EXPECT_FALSE(orders.at(b1).leader_and_isr);
  EXPECT_TRUE(orders.at(b2).leader_and_isr);
}

// --- reassignment -----------------------------------------------------------------------------------------------

const BrokerId b4{4};

TEST(Reassign, TheListsLeadFromTheOriginToTheTarget) {
  const auto start = partition({b1, b2}, b1, {b1, b2});
  const auto first = reassigned_to(start, {b3, b2});
  EXPECT_EQ(first.replicas, (Ids{b3, b2, b1}));
  EXPECT_EQ(first.adding, Ids{b3});
  EXPECT_EQ(first.removing, Ids{b1});
  EXPECT_EQ(target_replicas(first), (Ids{b3, b2}));
  // Replaced: the origin is the same, the first target is forgotten.
  const auto second = reassigned_to(first, {b4, b2});
  EXPECT_EQ(second.replicas, (Ids{b4, b2, b1}));
  EXPECT_EQ(second.adding, Ids{b4});
  EXPECT_EQ(second.removing, Ids{b1});
  const auto back = reassigned_to(second, origin_replicas(second));
  EXPECT_FALSE(being_reassigned(back));
  EXPECT_EQ(back.replicas, (Ids{b2, b1}));
}

TEST(Reassign, WhoIsNotThereIsNoTarget) {
  auto state = with_alive({b1, b2, b3});
  const auto p = partition({b1, b4}, b1, {b1});
  const auto code = [&](Ids target) {
    const auto checked = check_target(state, p, target, true);
    return checked ? ErrorCode::NONE : checked.error().code;
  };
  EXPECT_EQ(code({}), ErrorCode::INVALID_REPLICA_ASSIGNMENT);
  EXPECT_EQ(code({b1, b1}), ErrorCode::INVALID_REPLICA_ASSIGNMENT);
  EXPECT_EQ(code({b1, BrokerId{-1}}), ErrorCode::INVALID_REPLICA_ASSIGNMENT);
  EXPECT_EQ(code({b1, BrokerId{9}}), ErrorCode::INVALID_REPLICA_ASSIGNMENT);
  EXPECT_EQ(code({b2, b3}), ErrorCode::NONE);
  EXPECT_EQ(code({b4, b1}), ErrorCode::NONE);  // dead, but has been a replica before
  state.shutting_down.insert(b3);
  EXPECT_EQ(code({b2, b3}), ErrorCode::INVALID_REPLICA_ASSIGNMENT);
  const auto named = check_target(state, p, {BrokerId{9}}, true);
  EXPECT_NE(named.error().message.find("9"), std::string::npos);
}

TEST(Reassign, ItIsSettledWithALeaderOfTheTarget) {
  const auto state = with_alive({b1, b2, b3, b4});
  auto p = reassigned_to(partition({b1, b2}, b1, {b1, b2, b3}), {b3, b4});
  EXPECT_FALSE(caught_up(p));
  p.isr.push_back(b4);
  EXPECT_TRUE(caught_up(p));
  const auto last = settled(state, p);
  EXPECT_EQ(last->replicas, (Ids{b3, b4}));
  EXPECT_EQ(last->isr, (Ids{b3, b4}));
  EXPECT_EQ(last->leader, b3);
  EXPECT_EQ(last->leader_epoch, LeaderEpoch{5});
  EXPECT_FALSE(being_reassigned(*last));
  EXPECT_FALSE(settled(with_alive({b1, b2}), p));
}

TEST(Reassign, WhoIsNotWantedAnyMoreLeavesTheIsrAndLeadsNoMore) {
  const auto state = with_alive({b1, b2, b3});
  const auto moving = reassigned_to(partition({b1, b2}, b3, {b3, b1}), {b3, b2});
  const auto back = reassigned_to(moving, {b1, b2});
  const auto next = under_way(state, back, {b3});
  EXPECT_EQ(next.leader, b1);
  EXPECT_EQ(next.isr, Ids{b1});
  // With nobody else in the ISR the data would go with it.
  auto alone = moving;
  alone.isr = {b3};
  EXPECT_FALSE(check_isr_stays(alone, back));
  EXPECT_TRUE(check_isr_stays(moving, back));
}

// --- balance ----------------------------------------------------------------------------------------------------

TEST(Balance, LeadersGoBackWhenTooManyAreAway) {
  auto state = with_alive({b1, b2});
  cluster::ImageBuilder building(state.image);
  for (std::int32_t i = 0; i < 10; ++i) {
    auto p = partition({b1, b2}, i < 2 ? b2 : b1, {b1, b2});
    if (i == 1) p.isr = {b2};
    building.put_partition("t", PartitionId{i}, p);
  }
  state.image = building.build();
  EXPECT_TRUE(unbalanced(state, 20).empty());
  EXPECT_EQ(unbalanced(state, 10), (std::vector<PartitionRef>{{"t", p0}}));  // of two only one can lead
  EXPECT_EQ(health(state).preferred_imbalance, 2U);
  EXPECT_EQ(health(state).offline_partitions, 0U);
}

// --- orders that wait -------------------------------------------------------------------------------------------

Orders lead_order(const std::string& topic, std::int32_t epoch, bool is_new) {
  Orders out;
  LeaderAndIsrOrder::Item item{{topic, p0}, partition({b1}, b1, {b1}), is_new};
  item.state.leader_epoch = LeaderEpoch{epoch};
  out.leader_and_isr.emplace().partitions.push_back(item);
  out.update_metadata.emplace().partitions.push_back(item);
  return out;
}
Orders stop_order(const std::string& topic, bool deleted) {
  Orders out;
  LeaderAndIsrOrder::Item item{{topic, p0}, partition({b1}, b1, {b1}), false};
  if (deleted) item.state.leader = BrokerId{leader_during_delete};
  out.update_metadata.emplace().partitions.push_back(item);
  out.stop_replica.emplace().partitions.push_back({{topic, p0}, LeaderEpoch{1}, true});
  return out;
}

TEST(Orders, WhatWaitsBecomesOneAndTheLastStateCounts) {
  auto waiting = lead_order("b", 1, true);
  for (const auto& newer : {lead_order("a", 1, false), lead_order("b", 2, false), lead_order("c", 1, false)}) {
    EXPECT_TRUE(mergeable(waiting, newer));
    merge(waiting, newer);
  }
  const auto& items = waiting.leader_and_isr->partitions;
  EXPECT_EQ(items.size(), 3U);
  EXPECT_EQ(items[0].at.topic, "a");
  EXPECT_EQ(items[1].at.topic, "b");
  EXPECT_EQ(items[1].state.leader_epoch, LeaderEpoch{2});
  EXPECT_TRUE(items[1].is_new);  // it never heard of it
  EXPECT_EQ(waiting.update_metadata->partitions.size(), 3U);
}

TEST(Orders, WhatIsStoppedOrDeletedIsNotMadeAnewInTheSameBreath) {
  EXPECT_FALSE(mergeable(stop_order("a", false), lead_order("a", 1, true)));
  EXPECT_FALSE(mergeable(stop_order("a", true), lead_order("a", 1, true)));
  EXPECT_TRUE(mergeable(stop_order("a", true), lead_order("b", 1, true)));
  EXPECT_TRUE(mergeable(lead_order("a", 1, true), stop_order("a", true)));
}

TEST(Orders, LargeOnesAreSplit) {
  LeaderAndIsrOrder order;
  for (int i = 0; i < 5; ++i) {
    const auto topic = "t" + std::to_string(i);
    order.partitions.push_back({{topic, p0}, partition({b1}, b1, {b1}), false});
    order.topic_ids[topic] = Uuid{};
  }
  order.head.controller = b1;
  const auto parts = split(order, 2);
  EXPECT_EQ(parts.size(), 3U);
  EXPECT_EQ(parts[2].partitions.front().at.topic, "t4");
  EXPECT_EQ(parts[2].topic_ids.size(), 1U);
  EXPECT_EQ(parts[2].head.controller, b1);
  EXPECT_EQ(split(StopReplicaOrder{}, 2).size(), 1U);
}

}  // namespace
}  // namespace weir::controller::decide
