#include "msk/driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "base/log.h"
#include "msk/empty_start.h"
#include "msk/facts.h"
#include "msk/kafka.h"
#include "msk/local.h"
#include "msk/names.h"
#include "msk/throttle.h"
#include "msk/way_back.h"
#include "provision/instance_type.h"
#include "zkclient/pipeline.h"
#include "zkwire/layout.h"

namespace weir::msk {
namespace {

using provision::Failure;
using provision::Outcome;

constexpr milliseconds look_interval{1'000};
constexpr std::string_view carried_out = "done";

// Steps that look at partitions; reading them costs a read for each.
bool needs_partitions(StepKind kind) {
  switch (kind) {
    case StepKind::safe:
    case StepKind::back:
    case StepKind::leaders:
    case StepKind::spread:
    case StepKind::drain:
    case StepKind::settled:
    case StepKind::cancel:
    case StepKind::leave: return true;
    case StepKind::address:
    case StepKind::put:
    case StepKind::start:
    case StepKind::registered:
    case StepKind::live_config:
    case StepKind::restart:
    case StepKind::add:
    case StepKind::stop:
    case StepKind::forget:
    case StepKind::record: return false;
  }
  return false;
}

// Whether an action is its whole step: when it has succeeded it is not done again.
bool whole_step(Action::Kind kind) {
  using Kind = Action::Kind;
  return kind == Kind::put || kind == Kind::set_live || kind == Kind::add || kind == Kind::forget ||
         kind == Kind::unthrottle;
}

// What cannot be read will not be readable later; all else may.
Outcome<> outcome(const Stored<>& stored) {
  if (stored) return {};
  const bool hopeless = stored.error().kind == StoreError::Kind::corrupt;
  return std::unexpected(Failure{hopeless ? Failure::Kind::system : Failure::Kind::busy, stored.error().text});
}

constexpr const char* broker_failed = "BROKER_FAILED";

// As decide() says it of what is found later.
Outcome<> with_name(std::int32_t broker, Outcome<> started) {
  if (started || started.error().kind != Failure::Kind::not_ready) return started;
  auto failure = started.error();
  failure.text = fmt::format("Broker {} does not start: {}", broker, failure.text);
  return std::unexpected(std::move(failure));
}

bool starts(StepKind kind) {
  return kind == StepKind::start || kind == StepKind::registered || kind == StepKind::restart;
}

// Steps that wait for data to be copied.
bool copies(StepKind kind) {
  return kind == StepKind::back || kind == StepKind::spread || kind == StepKind::drain || kind == StepKind::settled ||
         kind == StepKind::cancel;
}

std::vector<std::int32_t> member_ids(const Cluster& cluster) {
  std::vector<std::int32_t> out;
  for (const auto& [id, added] : cluster.members) out.push_back(id);
  return out;
}

// Where the partitions of a reassignment are now, those that it has not moved before. True: there are such.
bool remember_replicas(Operation& operation, const Action& action) {
  bool news = false;
  for (const auto& [at, replicas] : action.before) {
    news = operation.replicas_before[at.first].emplace(at.second, replicas).second || news;
  }
  return news;
}

Task<Stored<>> end_throttle(KafkaView view, Operation operation, std::vector<std::int32_t> members,
                            std::int64_t move_rate) {
  if (move_rate > 0 && throttled_unremembered(operation)) co_return co_await clear_throttles(view, std::move(members));
  co_return co_await unthrottle(view, std::move(operation.settings_before));
}

const ClusterSpec& wanted(const Operation& operation) { return operation.going_back ? operation.from : operation.to; }

}  // namespace

struct Driver::Events final : zkclient::Watcher {
  explicit Events(Driver& of) : driver(of) {}
  void on_watch(const zkclient::WatchEvent&) override { driver.kick(); }
  Driver& driver;
};

Driver::Driver(runtime::Shard& shard, runtime::Random& random, zkclient::Zk& zk, provision::Place& place,
               const ServiceOptions& options)
    : shard_(shard),
      random_(random),
      fence_(zk, options.root + "/epoch"),
      zk_(fence_),
      place_(place),
      options_(options),
      store_(shard, fence_, options.root),
      scope_(shard),
      events_(std::make_shared<Events>(*this)) {}
Driver::~Driver() = default;

void Driver::start() { scope_.spawn(run()); }

void Driver::set_active(bool active) {
  active_ = active;
  replaced_ = false;
  told_.reset();
  fence_.drop();
  kick();
}

void Driver::kick() {
  for (auto* waiter : pauses_) waiter->wake();
}

Task<void> Driver::stop() {
  stopping_ = true;
  kick();
  co_await scope_.stop();
}

Task<bool> Driver::pause(milliseconds time) {
  if (stopping_) co_return false;
  runtime::Waiter waiter(shard_);
  const auto at = pauses_.insert(pauses_.end(), &waiter);
  co_await waiter.wait(time);
  pauses_.erase(at);
  co_return !stopping_;
}

std::optional<std::string> Driver::ailment(const std::string& cluster_id) const {
  const auto found = health_.ailing.find(cluster_id);
  if (found == health_.ailing.end()) return std::nullopt;
  return found->second;
}

std::string Driver::full(const std::string& cluster_id) const {
  const auto found = health_.full.find(cluster_id);
  return found == health_.full.end() ? std::string() : found->second;
}

std::string Driver::waiting_for(const std::string& cluster_id) const {
  const auto found = health_.waiting.find(cluster_id);
  return found == health_.waiting.end() ? std::string() : found->second;
}

provision::BrokerKey Driver::key(const Cluster& cluster, std::int32_t broker) const {
  return {cluster.place_name(), broker};
}

Task<void> Driver::run() {
  for (;;) {
    auto next_look = look_interval;
    if (!active_) {
      co_await learn_health();
    } else if (co_await hold_epoch()) {
      co_await take_up();
      co_await look_after();
      co_await tell_health();
    } else {
      next_look = options_.poll;
    }
    if (!co_await pause(next_look)) co_return;
  }
}

// False: this control plane is not to act, or not yet.
Task<bool> Driver::hold_epoch() {
  if (fence_.held()) co_return true;
  if (told_) {  // it was held, and is not any more: another took the next one
    told_.reset();
    replaced_ = true;
    WEIR_LOG(warn, "another control plane is the active one by now: this one does nothing more");
  }
  if (replaced_ && !options_.entitled) co_return false;
  auto taken = co_await fence_.take(new_uuid(random_), options_.entitled);
  if (!taken || !active_) co_return false;
  replaced_ = false;
  told_ = Health{};
  health_ = {};
  compared_.clear();
  absent_.clear();
  new_way_.clear();
  co_return true;
}

Task<void> Driver::take_up() {
  auto pending = co_await store_.pending(events_);
  if (!pending) co_return;
  for (auto& id : *pending) {
    if (acts() && driven_.insert(id).second) scope_.spawn(drive(id));
  }
}

Task<void> Driver::tell_health() {
  if (!acts() || told_ == health_) co_return;
  auto now = health_;
  if (co_await store_.set_health(now)) told_ = std::move(now);
}

Task<void> Driver::learn_health() {
  told_.reset();
  auto known = co_await store_.health();
  if (known && !active_) health_ = std::move(*known);
}

Task<void> Driver::drive(std::string cluster_id) {
  while (acts()) {
    const auto next = co_await one_step(cluster_id);
    if (next == Next::over) break;
    if (next == Next::pause && !co_await pause(options_.poll)) break;
  }
  driven_.erase(cluster_id);
  stalls_.erase(cluster_id);
  health_.waiting.erase(cluster_id);
}

bool Driver::stalled(const Operation& operation, std::size_t index, const std::string& text) {
  const auto now = shard_.clock().mono();
  auto& stall = stalls_[operation.cluster_id];
  if (stall.operation != operation.id || stall.index != index || stall.text != text) {
    stall = {operation.id, index, text, now};
  }
  return now - stall.since >= (copies(operation.steps[index].kind) ? options_.move_stall_max : options_.stall_max);
}

Task<Driver::Next> Driver::one_step(std::string cluster_id) {
  auto cluster = co_await store_.cluster(cluster_id);
  if (!cluster) {
    if (cluster.error().kind == StoreError::Kind::missing) {
      // Its removal was cut off behind the cluster's own record.
      Cluster rest;
      rest.id = cluster_id;
      rest.name = "-";
      auto removed = co_await store_.remove_cluster(std::move(rest));
      co_return removed ? Next::over : Next::pause;
    }
    WEIR_LOG_LIMITED(warn, std::chrono::seconds(10), "the operation of cluster {} waits: {}", cluster_id,
                     cluster.error().text);
    co_return Next::pause;
  }
  auto operation = co_await store_.operation(cluster_id, cluster->value.active_operation);
  if (!operation) {
    const bool missing = operation.error().kind == StoreError::Kind::missing;
    if (missing && cluster->value.state == ClusterState::deleting) {
      // All else was done: a deletion takes away its operations first, then the cluster's record.
      auto removed = co_await store_.remove_cluster(cluster->value);
      co_return removed ? Next::over : Next::pause;
    }
    WEIR_LOG_LIMITED(warn, std::chrono::seconds(10), "the operation of cluster {} waits: {}", cluster_id,
                     operation.error().text);
    co_return missing ? Next::over : Next::pause;
  }
  if (operation->value.state == OperationState::pending) {
    operation->value.state = OperationState::in_progress;
    auto written = co_await store_.set_operation(*operation);
    if (!written) co_return Next::pause;
    co_return Next::again;
  }
  const auto& steps = operation->value.steps;
  const auto open = std::ranges::find(steps, false, &Step::done);
  if (open == steps.end()) co_return co_await finish(std::move(*operation), std::move(*cluster));
  const auto index = static_cast<std::size_t>(open - steps.begin());
  co_return co_await step(std::move(*operation), std::move(*cluster), index);
}

Task<Driver::Next> Driver::step(Versioned<Operation> operation, Versioned<Cluster> cluster, std::size_t index) {
  const Step step = operation.value.steps[index];
  auto seen = co_await facts(cluster.value, needs_partitions(step.kind));
  if (!seen) {
    health_.waiting[cluster.value.id] = seen.error().text;
    co_return Next::pause;
  }
  auto decision = decide(operation.value, step, cluster.value, *seen);
  switch (decision.kind) {
    case Decision::Kind::done: co_return co_await done(std::move(operation), index);
    case Decision::Kind::wait:
      health_.waiting[cluster.value.id] = decision.text;
      if (!stalled(operation.value, index, decision.text)) co_return Next::pause;
      co_return co_await failed(std::move(operation), std::move(cluster), "STEP_STALLED",
                                fmt::format("For too long {}.", decision.text));
    case Decision::Kind::repeat: co_return co_await drain_again(std::move(operation), index, decision.note_after);
    case Decision::Kind::fail:
      co_return co_await failed(std::move(operation), std::move(cluster),
                                starts(step.kind) ? broker_failed : "STEP_FAILED", std::move(decision.text));
    case Decision::Kind::act: break;
  }
  // An election may be asked for again and again, and bring nothing.
  if (step.kind == StepKind::leaders) {
    auto text = step.broker == 0 ? fmt::format("{} partitions are not led by who should lead them",
                                               decision.action.partitions.size())
                                 : fmt::format("broker {} does not lead {} partitions again", step.broker,
                                               decision.action.partitions.size());
    if (stalled(operation.value, index, text)) {
      co_return co_await failed(std::move(operation), std::move(cluster), "STEP_STALLED",
                                fmt::format("For too long {}.", text));
    }
  }
  health_.waiting.erase(cluster.value.id);
  auto& kept = operation.value.steps[index];
  const bool news = !operation.value.going_back && remember_replicas(operation.value, decision.action);
  if (!kept.begun || news || (!decision.note.empty() && decision.note != kept.note)) {
    kept.begun = true;
    if (!decision.note.empty()) kept.note = decision.note;
    auto written = co_await store_.set_operation(operation);
    if (!written) co_return Next::pause;
    ++operation.version;
  }
  // What follows may be no write: whoever was replaced meanwhile does not begin it.
  if (auto still = co_await fence_.confirm(); !still || !acts()) co_return Next::pause;
  co_return co_await carry_out(std::move(operation), std::move(cluster), index, std::move(decision));
}

Task<Driver::Next> Driver::done(Versioned<Operation> operation, std::size_t index) {
  operation.value.steps[index].done = true;
  operation.value.steps[index].begun = true;
  auto written = co_await store_.set_operation(std::move(operation));
  co_return written ? Next::again : Next::pause;
}

// The steps right before this one that move partitions are to be done anew.
Task<Driver::Next> Driver::drain_again(Versioned<Operation> operation, std::size_t index, std::string note) {
  auto& steps = operation.value.steps;
  steps[index].note = std::move(note);
  for (auto i = index; i > 0 && (steps[i - 1].kind == StepKind::settled || steps[i - 1].kind == StepKind::drain); --i) {
    steps[i - 1] = step_of(steps[i - 1].kind);
    steps[i - 1].begun = true;
  }
  auto written = co_await store_.set_operation(std::move(operation));
  co_return written ? Next::again : Next::pause;
}

Task<Driver::Next> Driver::carry_out(Versioned<Operation> operation, Versioned<Cluster> cluster, std::size_t index,
                                     Decision decision) {
  using Kind = Action::Kind;
  auto& action = decision.action;
  const KafkaView view{&shard_, &zk_, cluster.value.chroot()};
  const auto& spec = wanted(operation.value);
  Outcome<> result;
  switch (action.kind) {
    case Kind::none: break;
    case Kind::take_block: {
      auto block = co_await take_block(cluster.value, ports_of(spec));
      if (block) {
        cluster.value.block = *block;
        result = outcome(co_await store_.set_cluster(cluster));
      } else {
        result = std::unexpected(block.error());
      }
      break;
    }
    case Kind::put:
      for (const auto id : action.brokers) {
        if (result) result = co_await put(cluster.value, spec, id);
      }
      break;
    case Kind::start: result = co_await start_all(cluster.value, action.brokers); break;
    case Kind::restart: {
      const provision::StopHow how;
      const auto id = action.brokers.front();
      result = with_name(id, co_await place_.restart(key(cluster.value, id), how, options_.start_max));
      break;
    }
    case Kind::elect: result = outcome(co_await elect(view, action.partitions)); break;
    case Kind::reassign:
      result = outcome(co_await throttle(operation, cluster.value, action.assignment));
      if (result) result = outcome(co_await reassign(view, action.assignment));
      break;
    case Kind::unthrottle:
      result = outcome(co_await end_throttle(view, operation.value, member_ids(cluster.value), options_.move_rate));
      break;
    case Kind::cancel:
      result = outcome(co_await throttle(operation, cluster.value, action.assignment));
      if (result) result = outcome(co_await cancel_reassignments(view, action.assignment));
      break;
    case Kind::set_live: result = outcome(co_await set_live(operation, cluster.value)); break;
    case Kind::add:
      for (const auto id : action.brokers) add_member(cluster.value, id, shard_.clock().wall(), options_.local);
      result = outcome(co_await store_.set_cluster(cluster));
      break;
    case Kind::stop: co_await stop_all(cluster.value, action.brokers); break;
    case Kind::remove: {
      std::vector<std::int32_t> removed;
      result = co_await remove_all(cluster.value, action.brokers, removed);
      for (const auto id : std::vector(removed)) {
        if (cluster.value.state == ClusterState::deleting) break;
        // Whoever gets its id is another broker.
        const auto node = zkwire::layout::path_of_config(zkwire::layout::brokers_type, std::to_string(id));
        auto gone = co_await zk_.remove(view.chroot + node);
        if (!gone && gone.error().code != zkclient::ZkCode::no_node) {
          result = std::unexpected(Failure{Failure::Kind::busy, gone.error().text()});
          removed.clear();  // they stay members until that is done, too
          break;
        }
      }
      if (!removed.empty() && cluster.value.state != ClusterState::deleting) {
        for (const auto id : removed) remove_member(cluster.value, id);
        auto written = co_await store_.set_cluster(cluster);
        if (!written) co_return Next::pause;
        ++cluster.version;
      }
      break;
    }
    case Kind::forget: {
      if (cluster.value.chroot().empty()) break;  // ZooKeeper's root is nobody's to remove
      auto gone = co_await zkclient::remove_tree(shard_, zk_, cluster.value.chroot());
      if (!gone) result = std::unexpected(Failure{Failure::Kind::busy, gone.error().text()});
      break;
    }
  }
  if (result) {
    if (!decision.note_after.empty()) {
      operation.value.steps[index].note = decision.note_after;
      (void)co_await store_.set_operation(std::move(operation));
      co_return Next::again;
    }
    if (!whole_step(action.kind)) co_return Next::again;
    operation.value.steps[index].note = carried_out;
    co_return co_await done(std::move(operation), index);
  }
  const auto failure = result.error();
  switch (failure.kind) {
    case Failure::Kind::closed:
    case Failure::Kind::busy: health_.waiting[cluster.value.id] = failure.text; co_return Next::pause;
    case Failure::Kind::late:  // it was killed at the deadline, and is stopped all the same
      co_return Next::again;
    case Failure::Kind::unknown_broker:
    case Failure::Kind::invalid_spec:
    case Failure::Kind::not_ready:
    case Failure::Kind::system: break;
  }
  co_return co_await failed(std::move(operation), std::move(cluster), broker_failed, failure.text);
}

// A creation ends as FAILED. An update is taken back, as far as can be, and says at its end what is not as it was.
Task<Driver::Next> Driver::failed(Versioned<Operation> operation, Versioned<Cluster> cluster, std::string code,
                                  std::string text) {
  auto& o = operation.value;
  auto& c = cluster.value;
  WEIR_LOG(warn, "operation {} of cluster {}: {}", o.type, c.name, text);
  stalls_.erase(c.id);               // what comes next may say the same, and has not waited yet
  if (o.type == "DELETE_CLUSTER") {  // there is nothing to go back to: it is tried until it is done
    health_.waiting[c.id] = text;
    co_return Next::pause;
  }
  if (o.going_back) {
    o.error_text += fmt::format(" Taking it back failed as well: {}", text);
    const auto open = std::ranges::find(o.steps, false, &Step::done);
    o.steps = go_on_without(o.steps, static_cast<std::size_t>(open - o.steps.begin()));
  } else {
    o.error_code = std::move(code);
    o.error_text = std::move(text);
    auto back = o.type == "CREATE_CLUSTER" ? std::vector<Step>{} : plan_back(o, c);
    o.going_back = true;
    o.steps = std::move(back);
  }
  auto written = co_await store_.set_operation(std::move(operation));
  co_return written ? Next::again : Next::pause;
}

Task<Driver::Next> Driver::finish(Versioned<Operation> operation, Versioned<Cluster> cluster) {
  auto& o = operation.value;
  auto& c = cluster.value;
  if (o.type == "DELETE_CLUSTER") {
    auto removed = co_await store_.remove_cluster(c);
    if (removed) WEIR_LOG(info, "cluster {} is deleted", c.name);
    co_return removed ? Next::over : Next::pause;
  }
  const bool good = !o.going_back;
  o.state = good ? OperationState::complete : OperationState::failed;
  o.ended = shard_.clock().wall();
  c.active_operation.clear();
  c.state = ClusterState::active;
  c.state_code.clear();
  c.state_message.clear();
  if (good) {
    c.spec = o.to;
    c.current_version = new_version(random_);
  } else if (o.type == "CREATE_CLUSTER") {
    c.state = ClusterState::failed;
    c.state_code = o.error_code;
    c.state_message = o.error_text;
  } else {
    const auto left = co_await what_is_left(o, c);
    if (!left) {
      health_.waiting[c.id] = left.error().text;
      co_return Next::pause;
    }
    o.error_text += *left;
    c.spec.brokers = static_cast<std::int32_t>(c.members.size());
  }
  o.replicas_before.clear();
  o.settings_before.clear();
  const auto line =
      fmt::format("operation {} of cluster {}: {}{}{}", o.type, c.name, o.state_name(), good ? "" : ": ", o.error_text);
  const auto id = c.id;
  auto written = co_await store_.finish(std::move(operation), std::move(cluster));
  if (!written) co_return Next::pause;
  if (auto old = co_await store_.forget_old_operations(id); !old) {  // the next end does it, too
    WEIR_LOG(warn, "old operations of cluster {} stay for now: {}", id, old.error().text);
  }
  WEIR_LOG(info, "{}", line);
  co_return Next::over;
}

Task<Stored<Facts>> Driver::facts(Cluster cluster, bool partitions) {
  KafkaView view{&shard_, &zk_, cluster.chroot()};
  const auto properties = effective_properties(cluster.spec, cluster.zones.size());
  if (const auto found = properties.find("min.insync.replicas"); found != properties.end()) {
    view.isr_min = std::max(1, std::atoi(found->second.c_str()));
  }
  Facts out;
  if (partitions) {
    auto read = co_await partition_facts(view);
    if (!read) co_return read;
    out = std::move(*read);
  }
  auto registered = co_await registered_brokers(view);
  if (!registered) co_return std::unexpected(registered.error());
  for (const auto& [id, added] : cluster.members) {
    auto& fact = out.brokers[id];
    if (const auto life = registered->find(id); life != registered->end()) {
      fact.registered = true;
      fact.life = life->second;
    }
    const auto status = place_.status(key(cluster, id));
    if (!status) continue;
    fact.known = true;
    fact.starting = status->state == provision::BrokerState::starting;
    fact.running = status->state == provision::BrokerState::running;
    fact.failed = status->state == provision::BrokerState::backing_off;
    fact.stale = status->stale;
    fact.cause = status->cause;
  }
  co_return out;
}

Task<Stored<std::string>> Driver::what_is_left(Operation operation, Cluster cluster) {
  // Moves that could not be taken back may go on: at no rate any more.
  const KafkaView view{&shard_, &zk_, cluster.chroot()};
  auto free = co_await end_throttle(view, operation, member_ids(cluster), options_.move_rate);
  if (!free) co_return std::unexpected(free.error());
  auto now = co_await facts(cluster, !operation.replicas_before.empty());
  if (!now) co_return std::unexpected(now.error());
  for (auto& [id, fact] : now->brokers) {
    const auto files = place_.spec(key(cluster, id));
    const auto as = [&](const ClusterSpec& spec) {
      const auto it = wish(cluster, spec, id);
      return files->properties == it.properties && files->limits == it.limits;
    };
    fact.changed = files && !as(operation.from) && as(operation.to);
  }
  co_return msk::what_is_left(operation, cluster, *now);
}

// --- what is changed in the cluster's znodes

Task<Stored<>> Driver::remember(Versioned<Operation>& operation, Settings settings) {
  if (settings.empty()) co_return Stored<>{};
  operation.value.settings_before.merge(std::move(settings));
  auto written = co_await store_.set_operation(operation);
  if (written) ++operation.version;
  co_return written;
}

Task<Stored<>> Driver::throttle(Versioned<Operation>& operation, Cluster cluster,
                                std::map<Partition, std::vector<std::int32_t>> assignment) {
  if (options_.move_rate <= 0) co_return Stored<>{};
  const KafkaView view{&shard_, &zk_, cluster.chroot()};
  if (throttled_unremembered(operation.value)) {
    auto cleared = co_await clear_throttles(view, member_ids(cluster));
    if (!cleared) co_return cleared;
  }
  const auto throttle = co_await throttle_for(view, std::move(assignment), member_ids(cluster), options_.move_rate);
  if (!throttle) co_return std::unexpected(throttle.error());
  auto before = co_await settings_to_remember(view, *throttle, operation.value.settings_before);
  if (!before) co_return std::unexpected(before.error());
  auto kept = co_await remember(operation, std::move(*before));
  if (!kept) co_return kept;
  co_return co_await set_throttle(view, *throttle, operation.value.settings_before);
}

// On the way back each key is what it was in ZooKeeper, not only as good as that: brokers' files have defaults, too.
Task<Stored<>> Driver::set_live(Versioned<Operation>& operation, Cluster cluster) {
  const std::string type(zkwire::layout::brokers_type);
  const std::string name(zkwire::layout::default_entity);
  const std::string entity = type + "/" + name;
  const KafkaView view{&shard_, &zk_, cluster.chroot()};
  const auto zones = cluster.zones.size();
  const auto from = effective_properties(operation.value.from, zones);
  const auto to = effective_properties(operation.value.to, zones);
  auto& known = operation.value.settings_before;
  if (!operation.value.going_back) {
    auto change = change_between(from, to);
    if (!known.contains(entity)) {
      const auto now = co_await config_of(view, type, name);
      if (!now) co_return std::unexpected(now.error());
      Settings before;
      auto& keys = before[entity];
      for (const auto& [key, value] : change.live) {
        if (const auto found = now->find(key); found != now->end()) keys.insert(*found);
      }
      auto kept = co_await remember(operation, std::move(before));
      if (!kept) co_return kept;
    }
    co_return co_await set_config(view, type, name, std::move(change.live));
  }
  auto change = change_between(to, from);
  if (const auto before = known.find(entity); before != known.end()) {
    for (auto& [key, value] : change.live) {
      const auto found = before->second.find(key);
      value = found == before->second.end() ? std::nullopt : std::optional(found->second);
    }
  }
  co_return co_await set_config(view, type, name, std::move(change.live));
}

// --- what is done at the place

Task<Outcome<std::string>> Driver::take_block(Cluster cluster, std::vector<std::uint16_t> ports) {
  // Room for the largest cluster that there can be: its block stays when it grows.
  constexpr std::int32_t brokers_max = 30;
  for (;;) {
    auto taken = co_await store_.blocks();
    if (!taken) co_return std::unexpected(Failure{Failure::Kind::busy, taken.error().text});
    std::vector<std::string> not_these;
    for (const auto& [name, owner] : *taken) {
      if (owner == cluster.id) co_return name;  // taken before, and not yet in the cluster's record
      not_these.push_back(name);
    }
    auto block = co_await place_.free_block(std::move(not_these), brokers_max, ports);
    if (!block) co_return block;
    auto held = co_await store_.take_block(*block, cluster.id);
    if (held) co_return block;
    if (held.error().kind != StoreError::Kind::exists) {
      co_return std::unexpected(Failure{Failure::Kind::busy, held.error().text});
    }
  }
}

// All but its certificate.
provision::BrokerSpec Driver::wish(const Cluster& cluster, const ClusterSpec& spec, std::int32_t broker) const {
  provision::BrokerSpec out;
  out.key = key(cluster, broker);
  out.address = place_.address_of(cluster.block, broker);
  out.zone = cluster.zone_of(broker);
  const bool local = !cluster.supervised.empty();
  const auto type = provision::find_instance_type(spec.instance_type);
  if (type && !(local && spec.instance_type == local_instance_type)) {
    out.limits = provision::limits_of(*type, spec.volume_gib);
  }
  const BrokerSite site{out.address, options_.zookeeper + cluster.chroot(), certificate_domain(cluster.name)};
  const auto properties =
      local ? local_properties(spec) : broker_properties(spec, cluster.zones.size(), site, options_.broker_overrides);
  for (const auto& [name, value] : properties) out.properties.emplace(name, value);
  return out;
}

Task<Outcome<>> Driver::put(Cluster cluster, ClusterSpec spec, std::int32_t broker) {
  auto wish = this->wish(cluster, spec, broker);
  if (needs_certificate(spec)) {
    const auto before = place_.spec(wish.key);
    const std::string name(certificate_file);
    // A certificate that is there stays: another one would make the files new, and the broker stale.
    if (before && before->address == wish.address && before->files.contains(name)) {
      wish.files = before->files;
    } else {
      if (!options_.certify)
        co_return std::unexpected(Failure{Failure::Kind::invalid_spec, "There is no authority for certificates."});
      const auto own = certificate_name(cluster.name, broker);
      auto issued = options_.certify(own, {own, "localhost"}, {wish.address});
      if (!issued) co_return std::unexpected(Failure{Failure::Kind::system, issued.error()});
      wish.files[name] = issued->chain_and_key;
      wish.files[std::string(authority_file)] = issued->authority;
    }
  }
  if (cluster.supervised.empty()) {
    auto chroot = co_await zkclient::ensure(zk_, cluster.chroot());
    if (!chroot) co_return std::unexpected(Failure{Failure::Kind::busy, chroot.error().text()});
  }
  co_return co_await place_.put(std::move(wish));
}

namespace {
constexpr std::size_t at_once = 32;
}  // namespace

Task<Outcome<>> Driver::start_all(Cluster cluster, std::vector<std::int32_t> brokers) {
  std::vector<Outcome<>> results(brokers.size());
  auto one = [this, &cluster, &brokers, &results](std::size_t i) -> Task<void> {
    results[i] = with_name(brokers[i], co_await place_.start(key(cluster, brokers[i]), options_.start_max));
  };
  std::function<Task<void>(std::size_t)> each = one;
  co_await zkclient::pipeline(shard_, brokers.size(), at_once, std::move(each));
  for (auto& result : results) {
    if (!result) co_return result;
  }
  co_return Outcome<>{};
}

// What cannot be stopped is killed when it is removed.
Task<void> Driver::stop_all(Cluster cluster, std::vector<std::int32_t> brokers) {
  auto one = [this, &cluster, &brokers](std::size_t i) -> Task<void> {
    const provision::StopHow how;
    (void)co_await place_.stop(key(cluster, brokers[i]), how);
  };
  std::function<Task<void>(std::size_t)> each = one;
  co_await zkclient::pipeline(shard_, brokers.size(), at_once, std::move(each));
}

Task<Outcome<>> Driver::remove_all(Cluster cluster, std::vector<std::int32_t> brokers,
                                   std::vector<std::int32_t>& removed) {
  std::vector<Outcome<>> results(brokers.size());
  auto one = [this, &cluster, &brokers, &results](std::size_t i) -> Task<void> {
    results[i] = co_await place_.remove(key(cluster, brokers[i]), true);
    if (!results[i] && results[i].error().kind == Failure::Kind::unknown_broker) results[i] = Outcome<>{};
  };
  std::function<Task<void>(std::size_t)> each = one;
  co_await zkclient::pipeline(shard_, brokers.size(), at_once, std::move(each));
  Outcome<> all;
  for (std::size_t i = 0; i < brokers.size(); ++i) {
    if (results[i]) removed.push_back(brokers[i]);
    if (!results[i] && all) all = results[i];
  }
  co_return all;
}

}  // namespace weir::msk
