#include "msk/way_back.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

namespace weir::msk {
namespace {

const Step* find_step(const Operation& operation, StepKind kind, std::int32_t broker = 0) {
  const auto found = std::ranges::find_if(operation.steps,
                                          [&](const Step& step) { return step.kind == kind && step.broker == broker; });
  return found == operation.steps.end() ? nullptr : &*found;
}
bool begun(const Operation& operation, StepKind kind, std::int32_t broker = 0) {
  const auto* step = find_step(operation, kind, broker);
  return step != nullptr && step->begun;
}

// One broker back to its old files; the one whose restart failed is down, and waits for nobody.
std::vector<Step> one_back(const Operation& operation, std::int32_t broker) {
  std::vector<Step> steps{step_of(StepKind::put, broker)};
  if (!begun(operation, StepKind::restart, broker)) return steps;  // it still runs with them
  const auto* caught_up = find_step(operation, StepKind::back, broker);
  if (caught_up != nullptr && caught_up->done) steps.insert(steps.begin(), step_of(StepKind::safe, broker));
  for (const auto kind : {StepKind::restart, StepKind::back, StepKind::leaders}) steps.push_back(step_of(kind, broker));
  return steps;
}

bool moves(StepKind kind) {
  return kind == StepKind::cancel || kind == StepKind::settled || kind == StepKind::drain || kind == StepKind::spread;
}
bool starts(StepKind kind) { return kind == StepKind::start || kind == StepKind::registered; }

// "Broker 2", "Brokers 1 and 3", "Brokers 1, 2 and 3".
std::string brokers(const std::vector<std::int32_t>& ids) {
  std::string out = ids.size() == 1 ? "Broker " : "Brokers ";
  for (std::size_t i = 0; i < ids.size(); ++i) {
    out += fmt::format("{}{}", i == 0 ? "" : i + 1 == ids.size() ? " and " : ", ", ids[i]);
  }
  return out;
}

std::string of_brokers(const Cluster& cluster, const Facts& facts) {
  std::vector<std::int32_t> changed;   // files and process
  std::vector<std::int32_t> stale;     // the process alone
  std::vector<std::int32_t> not_read;  // the files alone
  std::string out;
  for (const auto& [id, fact] : facts.brokers) {
    if (!cluster.members.contains(id)) continue;
    if (!fact.running) {
      out += fmt::format(" Broker {} does not run{}.", id, fact.changed ? ", and has the new settings" : "");
    } else if (fact.changed) {
      (fact.stale ? not_read : changed).push_back(id);
    } else if (fact.stale) {
      stale.push_back(id);
    }
  }
  const auto are = [&out](const std::vector<std::int32_t>& ids, const char* one, const char* many) {
    if (!ids.empty()) out += fmt::format(" {} {}.", brokers(ids), ids.size() == 1 ? one : many);
  };
  are(changed, "has the new settings", "have the new settings");
  are(stale, "runs with the new settings until it is restarted", "run with the new settings until they are restarted");
  are(not_read, "runs with the old settings, and has the new ones from its next restart on",
      "run with the old settings, and have the new ones from their next restart on");
  return out;
}

std::string of_partitions(const Operation& operation, const Facts& facts) {
  std::size_t other = 0;
  std::size_t moving = 0;
  std::string first_other;
  std::string first_moving;
  for (const auto& p : facts.partitions) {
    const auto* before = replicas_before(operation, p);
    if (before == nullptr || (!p.moving && p.replicas == *before)) continue;
    auto& first = p.moving ? first_moving : first_other;
    if (first.empty()) first = fmt::format("{}-{}", p.topic, p.partition);
    ++(p.moving ? moving : other);
  }
  std::string out;
  if (other > 0) {
    out += fmt::format(" {} of its partitions, such as {}, {} other replicas than before, or in another order.", other,
                       first_other, other == 1 ? "has" : "have");
  }
  if (moving > 0) {
    out += fmt::format(" {} of its partitions, such as {}, {} still being reassigned.", moving, first_moving,
                       moving == 1 ? "is" : "are");
  }
  return out;
}

}  // namespace

const std::vector<std::int32_t>* replicas_before(const Operation& operation, const PartitionFact& partition) {
  const auto topic = operation.replicas_before.find(partition.topic);
  if (topic == operation.replicas_before.end()) return nullptr;
  const auto found = topic->second.find(partition.partition);
  // Another number of them: the topic was made anew, or somebody else changed it.
  if (found == topic->second.end() || found->second.size() != partition.target.size()) return nullptr;
  return &found->second;
}

std::vector<Step> plan_back(const Operation& operation, const Cluster& cluster) {
  std::vector<Step> steps;
  const auto add = [&steps](StepKind kind) { steps.push_back(step_of(kind)); };
  for (const auto& step : operation.steps) {
    if (!step.begun || step.kind != StepKind::put || !cluster.members.contains(step.broker)) continue;
    auto one = one_back(operation, step.broker);
    steps.insert(steps.begin(), one.begin(), one.end());
  }
  if (begun(operation, StepKind::put) && operation.created_brokers.empty()) add(StepKind::put);
  if (const auto* live = find_step(operation, StepKind::live_config); live != nullptr && live->done) {
    add(StepKind::live_config);
  }
  if (begun(operation, StepKind::leave)) {  // who was stopped, and is still a member
    add(StepKind::start);
    add(StepKind::registered);
  }
  const bool moved = begun(operation, StepKind::spread) || begun(operation, StepKind::drain);
  if (moved) {
    add(StepKind::cancel);
    add(StepKind::settled);
  }
  if (begun(operation, StepKind::add)) {  // they may have got replicas of new topics, too
    for (const auto kind : {StepKind::drain, StepKind::settled, StepKind::leave}) add(kind);
  }
  if (moved) add(StepKind::leaders);
  add(StepKind::record);
  return steps;
}

std::vector<Step> go_on_without(std::vector<Step> steps, std::size_t failed) {
  const auto what = steps[failed];
  steps.erase(steps.begin() + static_cast<std::ptrdiff_t>(failed));
  std::erase_if(steps, [&what](const Step& step) {
    if (step.done) return false;
    if (what.broker != 0) return step.broker == what.broker;
    return (moves(what.kind) && moves(step.kind)) || (starts(what.kind) && starts(step.kind));
  });
  // Who was stopped to leave stays after all.
  if (what.kind == StepKind::leave && what.note.ends_with(leave_stopped_mark)) {
    const auto at = steps.begin() + static_cast<std::ptrdiff_t>(failed);
    steps.insert(at, {step_of(StepKind::start), step_of(StepKind::registered)});
  }
  return steps;
}

std::string what_is_left(const Operation& operation, const Cluster& cluster, const Facts& facts) {
  std::string out;
  if (const auto now = cluster.members.size(); now != static_cast<std::size_t>(operation.from.brokers)) {
    out = fmt::format(" The cluster has {} brokers now.", now);
  }
  return out + of_brokers(cluster, facts) + of_partitions(operation, facts);
}

}  // namespace weir::msk
