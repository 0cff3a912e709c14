#include "msk/workflow.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <utility>

#include "msk/kafka.h"
#include "msk/way_back.h"

namespace weir::msk {
namespace {

bool has(const std::vector<std::int32_t>& list, std::int32_t id) { return std::ranges::find(list, id) != list.end(); }

// --- answers

Decision done() { return {Decision::Kind::done, {}, {}, {}, {}}; }
Decision wait(std::string text) { return {Decision::Kind::wait, {}, {}, {}, std::move(text)}; }
Decision failure(std::string text) { return {Decision::Kind::fail, {}, {}, {}, std::move(text)}; }
Decision act(Action action, std::string note = {}) {
  return {Decision::Kind::act, std::move(action), std::move(note), {}, {}};
}
Action on(Action::Kind kind, std::vector<std::int32_t> brokers = {}) {
  Action action;
  action.kind = kind;
  action.brokers = std::move(brokers);
  return action;
}

std::vector<std::int32_t> members_of(const Cluster& cluster) {
  std::vector<std::int32_t> out;
  for (const auto& [id, added] : cluster.members) out.push_back(id);
  return out;
}

BrokerFact fact(const Facts& facts, std::int32_t broker) {
  const auto found = facts.brokers.find(broker);
  return found == facts.brokers.end() ? BrokerFact{} : found->second;
}

// --- steps

Decision does_not_start(std::int32_t id, const BrokerFact& broker) {
  return failure(fmt::format("Broker {} does not start: {}", id, broker.cause));
}

// What is done once it was carried out: the step's note says that it was.
constexpr std::string_view carried_out = "done";

Decision once(const Step& step, Action action) {
  if (step.note == carried_out) return done();
  return act(std::move(action));
}

Decision start(const Cluster& cluster, const Facts& facts) {
  std::vector<std::int32_t> down;
  for (const auto id : members_of(cluster)) {
    const auto broker = fact(facts, id);
    if (broker.failed) return does_not_start(id, broker);
    if (!broker.running) down.push_back(id);
  }
  return down.empty() ? done() : act(on(Action::Kind::start, std::move(down)));
}

Decision registered(const Cluster& cluster, const Facts& facts) {
  for (const auto id : members_of(cluster)) {
    const auto broker = fact(facts, id);
    if (broker.failed) return does_not_start(id, broker);
    if (!broker.registered) return wait(fmt::format("broker {} is not registered yet", id));
  }
  return done();
}

Decision safe(const Step& step, const Facts& facts) {
  if (!fact(facts, step.broker).registered) return done();  // it is down already: a restart can only help
  auto unsafe = unsafe_without(step.broker, facts.partitions);
  return unsafe.empty() ? done() : wait(std::move(unsafe));
}

// The note is the life that is to end. With a mark when it had failed before: then a failure that is seen later may be
// the old one, and the restart not carried out yet.
constexpr std::string_view had_failed = " failed";

Decision restart(const Step& step, const Facts& facts) {
  const auto broker = fact(facts, step.broker);
  if (step.note.empty()) {
    auto note = std::to_string(broker.life);
    if (broker.failed) note += had_failed;
    return act(on(Action::Kind::restart, {step.broker}), std::move(note));
  }
  const bool failed_before = step.note.ends_with(had_failed);
  if (broker.failed && !failed_before) return does_not_start(step.broker, broker);
  const auto old_life = step.note.substr(0, step.note.find(' '));
  const bool new_life = broker.registered && std::to_string(broker.life) != old_life;
  if (new_life && broker.running && !broker.stale) return done();
  if (broker.running && !broker.stale && !broker.registered) {
    return wait(fmt::format("broker {} is not registered yet", step.broker));
  }
  // Started by this step, before a control plane died, or by its place: what it starts with are the new files.
  if (broker.starting && !broker.stale) return wait(fmt::format("broker {} is starting", step.broker));
  // Its old life, or its old files, or it was stopped and not started: the restart was not carried out, or half.
  return act(on(Action::Kind::restart, {step.broker}), step.note);
}

Decision back(const Step& step, const Facts& facts) {
  const auto broker = fact(facts, step.broker);
  if (!broker.registered) return wait(fmt::format("broker {} is not registered", step.broker));
  std::size_t behind = 0;
  std::string example;
  for (const auto& p : facts.partitions) {
    if (!has(p.replicas, step.broker) || (p.known && has(p.isr, step.broker))) continue;
    if (behind++ == 0) example = fmt::format("{}-{}", p.topic, p.partition);
  }
  if (behind == 0) return done();
  return wait(fmt::format("broker {} is not in the in-sync set of {} partitions yet, such as {}", step.broker, behind,
                          example));
}

Decision leaders(const Step& step, const Facts& facts) {
  Action action = on(Action::Kind::elect, {step.broker});
  for (const auto& p : facts.partitions) {
    if (!p.known || p.replicas.empty() || p.moving) continue;
    const auto preferred = p.replicas.front();
    const bool meant = step.broker == 0 ? has(p.isr, preferred) : preferred == step.broker;
    if (meant && p.leader != preferred) action.partitions.emplace_back(p.topic, p.partition);
  }
  if (action.partitions.empty()) return done();
  if (facts.election_asked) return wait("an election of preferred leaders is under way");
  return act(std::move(action));
}

bool moving(const Facts& facts) {
  return facts.reassignment_asked || std::ranges::any_of(facts.partitions, &PartitionFact::moving);
}

Decision settled(const Facts& facts) {
  if (!moving(facts)) return done();
  // With the number: what waits too long is what says the same for too long.
  const auto count = std::ranges::count_if(facts.partitions, &PartitionFact::moving);
  if (count == 0) return wait("partitions are about to be reassigned");
  const auto example = std::ranges::find_if(facts.partitions, &PartitionFact::moving);
  return wait(
      fmt::format("{} partitions are being reassigned, such as {}-{}", count, example->topic, example->partition));
}

std::string some_of(const std::map<Partition, std::vector<std::int32_t>>& partitions) {
  const auto& [topic, number] = partitions.begin()->first;
  return fmt::format("{} partitions, such as {}-{},", partitions.size(), topic, number);
}

constexpr std::string_view last_try = "3";

// One more; counted when it was asked for: a control plane that dies before has not tried.
std::string next_try(const Step& step) {
  const char tries = step.note.empty() ? '0' : step.note.front();
  return std::string(1, static_cast<char>(tries + 1));
}

// What this operation moved goes back to where it was, in the order in which it was; what others move goes on. Of an
// operation that remembers nothing all moves end.
Decision cancel(const Operation& operation, const Step& step, const Cluster& cluster, const Facts& facts) {
  Action action = on(Action::Kind::cancel);
  std::optional<std::int32_t> missing;
  bool under_way = false;
  for (const auto& p : facts.partitions) {
    const auto* before = replicas_before(operation, p);
    if (before == nullptr && (!p.moving || !operation.replicas_before.empty())) continue;
    auto wanted = before != nullptr ? *before : p.origin;
    if (wanted == p.target) {
      under_way = under_way || p.moving;
      continue;
    }
    // Who would have to get it again, and cannot: then a move that is under way ends, and what is done stays.
    const auto cannot = std::ranges::find_if(
        wanted, [&](std::int32_t id) { return !has(p.replicas, id) && !fact(facts, id).registered; });
    if (cannot != wanted.end()) {
      if (cluster.members.contains(*cannot)) missing = *cannot;
      if (!p.moving) continue;
      wanted = p.origin;
      if (std::ranges::is_permutation(wanted, p.target)) {
        under_way = true;
        continue;
      }
    }
    action.assignment.emplace(Partition{p.topic, p.partition}, std::move(wanted));
  }
  if (facts.reassignment_asked && !step.note.empty()) return settled(facts);
  if (action.assignment.empty()) {
    if (under_way) return settled(facts);
    if (facts.reassignment_asked && std::ranges::none_of(facts.partitions, &PartitionFact::moving)) {
      return act(std::move(action));
    }
    if (missing) return wait(fmt::format("broker {} is not registered, to which partitions go back", *missing));
    return done();
  }
  if (step.note == last_try) {
    return failure(fmt::format("{} do not get the replicas again that they had.", some_of(action.assignment)));
  }
  auto decision = act(std::move(action));
  decision.note_after = next_try(step);
  return decision;
}

// Replicas go to `targets`; asked once more when a control plane died in between, but not for ever.
// `only_from`: nothing else moves; empty: all may, so that targets share evenly.
Decision move(const Step& step, const Cluster& cluster, const Facts& facts, const std::vector<std::int32_t>& targets,
              const std::vector<std::int32_t>& only_from) {
  if (moving(facts)) return settled(facts);
  std::map<std::int32_t, std::size_t> zones;
  for (const auto id : targets) zones.emplace(id, cluster.zone_index(id));
  for (const auto& p : facts.partitions) {
    if (p.replicas.size() > zones.size()) {
      return failure(fmt::format("Topic {} has {} replicas of each partition, more than {} brokers can hold.", p.topic,
                                 p.replicas.size(), zones.size()));
    }
  }
  Action action = on(Action::Kind::reassign);
  action.assignment = spread(facts.partitions, zones);
  for (const auto& p : facts.partitions) {
    const bool stays = std::ranges::none_of(p.replicas, [&](std::int32_t id) { return has(only_from, id); });
    if (!only_from.empty() && stays) action.assignment.erase({p.topic, p.partition});
  }
  if (action.assignment.empty() || step.note == last_try) return done();
  for (const auto& p : facts.partitions) {
    const Partition at{p.topic, p.partition};
    if (action.assignment.contains(at)) action.before.emplace(at, p.replicas);
  }
  auto decision = act(std::move(action));
  decision.note_after = next_try(step);
  return decision;
}

// Those that go: of a cluster that shrinks, and those that were added by an operation that is taken back.
const std::vector<std::int32_t>& goers(const Operation& operation) {
  return operation.going_back ? operation.created_brokers : operation.deleted_brokers;
}

std::vector<std::int32_t> leaving(const Operation& operation, const Cluster& cluster) {
  std::vector<std::int32_t> out;
  for (const auto id : goers(operation)) {
    if (cluster.members.contains(id)) out.push_back(id);
  }
  return out;
}

// Topics are made while others are drained, also on brokers that are to go. So one after another is stopped first, when
// nobody gives it anything any more, and looked at once more before it is removed: if it got replicas, they are moved,
// too. For those that cannot do without it, it is started again. The note has how often it was drained anew, the
// broker, and a mark while it is stopped.
constexpr int drains_max = 9;

std::string leave_note(int drains, std::int32_t broker, bool stopped) {
  return fmt::format("{} {}{}", drains, broker, stopped ? leave_stopped_mark : "");
}

// Whether the others of its replicas are enough, as `unsafe_without` has it.
bool does_without(const PartitionFact& p, std::int32_t broker) {
  const auto others = std::ranges::count_if(p.isr, [broker](std::int32_t id) { return id != broker; });
  const auto needed = std::min(p.isr_min, static_cast<std::int32_t>(p.replicas.size()) - 1);
  return p.known && others >= std::max(1, needed);
}

Decision leave(const Step& step, const std::vector<std::int32_t>& going, const Facts& facts) {
  if (going.empty()) return done();
  const auto id = *std::ranges::max_element(going);
  const auto broker = fact(facts, id);
  int drains = 0;
  bool stopped = false;
  for (int count = 0; count <= drains_max; ++count) {
    const bool marked = step.note == leave_note(count, id, true);
    if (!marked && step.note != leave_note(count, id, false)) continue;
    drains = count;
    // A control plane may have died when it had started it again.
    stopped = marked && !broker.running && !broker.starting;
  }
  if (stopped && broker.known && broker.registered) return wait(fmt::format("broker {} is still registered", id));
  const PartitionFact* left = nullptr;
  const PartitionFact* unknown = nullptr;
  bool needed = false;
  for (const auto& p : facts.partitions) {
    if (!has(p.replicas, id)) continue;
    left = &p;
    if (!p.known && p.replicas.size() > 1) {
      unknown = &p;
    } else if (!does_without(p, id)) {
      needed = true;
    }
  }
  if (unknown != nullptr) return wait(fmt::format("{}-{} has no leader yet", unknown->topic, unknown->partition));
  if (left != nullptr && (stopped || needed) && drains == drains_max) {
    return failure(fmt::format("Partition {}-{} still has a replica on broker {}, after that was drained {} times.",
                               left->topic, left->partition, id, drains + 1));
  }
  if (stopped && left == nullptr) return act(on(Action::Kind::remove, {id}));
  Decision next;
  if (!stopped && !needed) {
    next = act(on(Action::Kind::stop, {id}));
    next.note_after = leave_note(drains, id, true);
  } else if (stopped && needed) {
    next = act(on(Action::Kind::start, {id}));
    next.note_after = leave_note(drains, id, false);
  } else {
    next.kind = Decision::Kind::repeat;
    next.note_after = leave_note(drains + 1, id, stopped);
  }
  return next;
}

// --- plans

void roll_one(std::vector<Step>& steps, std::int32_t broker, bool files) {
  steps.push_back(step_of(StepKind::safe, broker));
  if (files) steps.push_back(step_of(StepKind::put, broker));
  steps.push_back(step_of(StepKind::restart, broker));
  steps.push_back(step_of(StepKind::back, broker));
  steps.push_back(step_of(StepKind::leaders, broker));
}

bool same_but_configuration(const ClusterSpec& from, const ClusterSpec& to) {
  const BrokerSite site{"a", "z", ".c"};
  auto changed = to;
  changed.kafka_version = from.kafka_version;
  changed.server_properties = from.server_properties;
  changed.volume_gib = from.volume_gib;  // a dynamic key
  return from.kafka_version == to.kafka_version && from.instance_type == to.instance_type &&
         broker_properties(from, 3, site, {}) == broker_properties(changed, 3, site, {});
}

std::vector<Step> plan_update(const Operation& operation, const Cluster& cluster) {
  std::vector<Step> steps;
  const auto zones = cluster.zones.size();
  const auto change =
      change_between(effective_properties(operation.from, zones), effective_properties(operation.to, zones));
  const bool roll = change.roll || !same_but_configuration(operation.from, operation.to);
  if (!change.live.empty()) steps.push_back(step_of(StepKind::live_config));
  if (roll) {
    for (const auto id : members_of(cluster)) roll_one(steps, id, true);
  } else {
    steps.push_back(step_of(StepKind::put));
  }
  if (operation.to.rebalancing == "ACTIVE" && operation.from.rebalancing != "ACTIVE") {
    for (const auto kind : {StepKind::spread, StepKind::settled, StepKind::leaders}) steps.push_back(step_of(kind));
  }
  steps.push_back(step_of(StepKind::record));
  return steps;
}

std::vector<Step> plan_count(const Operation& operation, const Cluster& cluster) {
  std::vector<Step> steps;
  if (!operation.created_brokers.empty()) {
    for (const auto kind : {StepKind::add, StepKind::put, StepKind::start, StepKind::registered}) {
      steps.push_back(step_of(kind));
    }
    if (!operation.leave_empty) {
      for (const auto kind : {StepKind::spread, StepKind::settled, StepKind::leaders}) steps.push_back(step_of(kind));
    }
  } else {
    for (const auto kind : {StepKind::drain, StepKind::settled, StepKind::leave}) steps.push_back(step_of(kind));
  }
  // What depends on their number (`weir up`'s own cluster) the others learn by a restart.
  if (operation.from.defaults != operation.to.defaults) {
    for (const auto id : members_of(cluster)) {
      if (!has(operation.deleted_brokers, id)) roll_one(steps, id, false);
    }
  }
  steps.push_back(step_of(StepKind::record));
  return steps;
}

}  // namespace

Step step_of(StepKind kind, std::int32_t broker) {
  Step step;
  step.kind = kind;
  step.broker = broker;
  return step;
}

std::vector<Step> plan(const Operation& operation, const Cluster& cluster) {
  std::vector<Step> steps;
  if (operation.type == "CREATE_CLUSTER") {
    for (const auto kind :
         {StepKind::address, StepKind::put, StepKind::start, StepKind::registered, StepKind::record}) {
      steps.push_back(step_of(kind));
    }
  } else if (operation.type == "DELETE_CLUSTER") {
    for (const auto kind : {StepKind::stop, StepKind::forget}) steps.push_back(step_of(kind));
  } else if (operation.type == "REBOOT_NODE") {
    for (const auto id : operation.rebooted_brokers) roll_one(steps, id, false);
    steps.push_back(step_of(StepKind::record));
  } else if (operation.from.brokers != operation.to.brokers) {
    steps = plan_count(operation, cluster);
  } else {
    steps = plan_update(operation, cluster);
  }
  return steps;
}

Decision decide(const Operation& operation, const Step& step, const Cluster& cluster, const Facts& facts) {
  using Kind = Action::Kind;
  switch (step.kind) {
    case StepKind::address: return cluster.block.empty() ? act(on(Kind::take_block)) : done();
    case StepKind::put:
      return once(step, on(Kind::put, step.broker != 0 ? std::vector{step.broker} : members_of(cluster)));
    case StepKind::start: return start(cluster, facts);
    case StepKind::registered: return registered(cluster, facts);
    case StepKind::live_config: return once(step, on(Kind::set_live));
    case StepKind::safe: return safe(step, facts);
    case StepKind::restart: return restart(step, facts);
    case StepKind::back: return back(step, facts);
    case StepKind::leaders: return leaders(step, facts);
    case StepKind::add: return once(step, on(Kind::add, operation.created_brokers));
    case StepKind::spread: return move(step, cluster, facts, members_of(cluster), {});
    case StepKind::drain: {
      auto staying = members_of(cluster);
      std::erase_if(staying, [&](std::int32_t id) { return has(goers(operation), id); });
      const auto only = operation.going_back ? goers(operation) : std::vector<std::int32_t>{};
      return move(step, cluster, facts, staying, only);
    }
    case StepKind::settled: return moving(facts) ? settled(facts) : once(step, on(Kind::unthrottle));
    case StepKind::cancel: return cancel(operation, step, cluster, facts);
    case StepKind::leave: return leave(step, leaving(operation, cluster), facts);
    case StepKind::stop: {
      std::vector<std::int32_t> there;
      for (const auto id : members_of(cluster)) {
        if (fact(facts, id).known) there.push_back(id);
      }
      return there.empty() ? done() : act(on(Kind::remove, std::move(there)));
    }
    case StepKind::forget: return once(step, on(Kind::forget));
    case StepKind::record: return done();
  }
  return done();
}

std::string unsafe_without(std::int32_t broker, const std::vector<PartitionFact>& partitions) {
  for (const auto& p : partitions) {
    if (!has(p.replicas, broker)) continue;
    const auto label = fmt::format("{}-{}", p.topic, p.partition);
    if (!p.known) return label + " has no leader yet";
    // With as few replicas as must be in sync nobody can leave: no waiting makes it better.
    const auto replicas = static_cast<std::int32_t>(p.replicas.size());
    const auto needed = std::min(p.isr_min, replicas - 1);
    const auto left = static_cast<std::int32_t>(p.isr.size()) - (has(p.isr, broker) ? 1 : 0);
    if (left < needed) return fmt::format("{} would have {} replicas in sync, and {} are needed", label, left, needed);
  }
  return {};
}

namespace {

// Where a replica goes: the target with the least, of a zone that has none of this partition if there is such.
std::optional<std::int32_t> choose(const std::map<std::int32_t, std::size_t>& targets,
                                   const std::map<std::int32_t, std::size_t>& zones,
                                   const std::map<std::int32_t, std::size_t>& load,
                                   const std::vector<std::int32_t>& taken) {
  std::optional<std::int32_t> best;
  std::pair<bool, std::size_t> best_cost{true, ~std::size_t{0}};
  for (const auto& [id, zone] : targets) {
    if (has(taken, id)) continue;
    const bool same_zone = std::ranges::any_of(taken, [&zones, at = zone](std::int32_t other) {
      const auto found = zones.find(other);
      return found != zones.end() && found->second == at;
    });
    const std::pair cost{same_zone, load.at(id)};
    if (!best || cost < best_cost) {
      best = id;
      best_cost = cost;
    }
  }
  return best;
}

}  // namespace

std::map<Partition, std::vector<std::int32_t>> spread(const std::vector<PartitionFact>& partitions,
                                                      const std::map<std::int32_t, std::size_t>& zone_of_target) {
  std::map<Partition, std::vector<std::int32_t>> out;
  if (zone_of_target.empty()) return out;
  std::map<std::int32_t, std::size_t> load;
  std::map<std::int32_t, std::size_t> leads;
  for (const auto& [id, zone] : zone_of_target) load[id] = leads[id] = 0;
  std::vector<std::vector<std::int32_t>> now;
  std::size_t replicas = 0;
  for (const auto& p : partitions) {
    now.push_back(p.replicas);
    replicas += p.replicas.size();
    for (const auto id : p.replicas) {
      if (load.contains(id)) ++load[id];
    }
  }
  // First away from those that are no targets, then from those with more than their share to those with less.
  for (auto& list : now) {
    for (auto& id : list) {
      if (load.contains(id)) continue;
      const auto to = choose(zone_of_target, zone_of_target, load, list);
      if (!to) continue;
      id = *to;
      ++load[*to];
    }
  }
  const auto share = (replicas + load.size() - 1) / load.size();
  for (auto& list : now) {
    for (auto& id : list) {
      if (!load.contains(id) || load[id] <= share) continue;
      auto others = list;
      std::erase(others, id);
      // A zone of its own stays one: the replica moves to a broker of its zone, or of one that has none of it.
      auto targets = zone_of_target;
      std::erase_if(targets, [&](const auto& t) { return load[t.first] >= share; });
      const auto to = choose(targets, zone_of_target, load, others);
      if (!to || has(list, *to)) continue;
      const auto zone = zone_of_target.at(*to);
      const bool crowded = std::ranges::any_of(
          others, [&](std::int32_t o) { return zone_of_target.contains(o) && zone_of_target.at(o) == zone; });
      if (crowded && zone != zone_of_target.at(id)) continue;
      --load[id];
      ++load[*to];
      id = *to;
    }
  }
  // Preferred leaders, even: a partition whose first replica leads much has another of its replicas first.
  const auto lead_share = (now.size() + leads.size() - 1) / leads.size();
  for (const auto& list : now) {
    if (!list.empty() && leads.contains(list.front())) ++leads[list.front()];
  }
  for (auto& list : now) {
    if (list.empty() || leads[list.front()] <= lead_share) continue;
    const auto least = std::ranges::min_element(list, {}, [&](std::int32_t id) { return leads[id]; });
    if (leads[*least] + 1 >= leads[list.front()]) continue;
    --leads[list.front()];
    ++leads[*least];
    std::iter_swap(list.begin(), least);
  }
  for (std::size_t i = 0; i < partitions.size(); ++i) {
    if (now[i] != partitions[i].replicas) out.emplace(Partition{partitions[i].topic, partitions[i].partition}, now[i]);
  }
  return out;
}

}  // namespace weir::msk
