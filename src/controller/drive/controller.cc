#include "controller/drive/controller.h"

#include <utility>

#include "base/log.h"
#include "controller/drive/impl.h"

namespace weir::controller {

namespace layout = zkwire::layout;
using zkclient::SessionEvent;
using zkclient::WatchEvent;
using Kind = Event::Kind;

namespace {

// Lets what was posted to the shard before go first.
struct Yield {
  runtime::Shard& shard;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) const {
    shard.post([handle] { handle.resume(); });
  }
  void await_resume() const noexcept {}
};

// What comes with a name after it, or nothing.
std::optional<std::string> below(std::string_view path, std::string_view parent) {
  if (path.size() <= parent.size() + 1 || !path.starts_with(parent) || path[parent.size()] != '/') return std::nullopt;
  const auto name = path.substr(parent.size() + 1);
  if (name.find('/') != std::string_view::npos) return std::nullopt;
  return std::string(name);
}

}  // namespace

Controller::Impl::Impl(runtime::Shard& s, zkclient::Zk& z, BrokerLink& l, runtime::Random& r, ControllerOptions o)
    : shard(s),
      zk(z),
      link(l),
      random(r),
      options(std::move(o)),
      store(s, z, state),
      senders(s, l, SenderOptions{options.order_retry, options.order_retry_max, options.order_partitions_max},
              Senders::Callbacks{
                  [this](BrokerId broker, OrderAnswer answers) {
                    push({Kind::led, {}, broker, std::move(answers), nullptr});
                  },
                  [this](BrokerId broker, OrderAnswer answers) {
                    push({Kind::stopped, {}, broker, std::move(answers), nullptr});
                  },
                  [this](BrokerId broker) { push({Kind::resend, std::to_string(broker.value), broker}); },
                  [this] { push({Kind::look_for_controller}); },
                  [this] { wake_idle(); },
              }),
      scope(s),
      waiter(s),
      tick(s),
      doubted(s),
      candidacy(s) {
  state.self = options.broker;
  state.leader_recovery = options.leader_recovery;
}

// --- the queue --------------------------------------------------------------------------------------------------

void Controller::Impl::on_watch(const WatchEvent& event) {
  const std::string_view path = event.path;
  if (path == layout::controller_path) return push({Kind::look_for_controller});
  if (path == layout::broker_ids_path) return push({Kind::brokers});
  if (path == layout::topics_path) return push({Kind::topics});
  if (path == layout::delete_topics_path) return push({Kind::deletions});
  if (path == layout::preferred_replica_election_path) return push({Kind::preferred});
  if (path == layout::reassign_partitions_path) return push({Kind::reassign});
  if (path == layout::isr_change_notification_path) return push({Kind::isr_changes});
  if (path == layout::log_dir_event_notification_path) return push({Kind::log_dirs});
  if (auto id = below(path, layout::broker_ids_path)) return push({Kind::broker, std::move(*id)});
  if (auto topic = below(path, layout::topics_path)) return push({Kind::topic, std::move(*topic)});
  if (path.starts_with(layout::topics_path) && path.ends_with("/state")) push({Kind::isr_written, std::string(path)});
}

void Controller::Impl::on_session(SessionEvent event) {
  if (event == SessionEvent::expired) {
    expired = true;
    push_front({Kind::expired});
  } else if (event == SessionEvent::connected && zk.session_id() != session) {
    session = zk.session_id();
    push({Kind::new_session});
  }
}

void Controller::Impl::push(Event event) {
  const bool look_again = !event.ask && event.answers.empty() && event.kind != Kind::nothing;
  if (look_again && !queued.emplace(event.kind, event.name).second) return;
  event.queued_at = shard.clock().mono();
  queue.push_back(std::move(event));
  waiter.wake();
}

void Controller::Impl::push_front(Event event) {
  event.queued_at = shard.clock().mono();
  queue.push_front(std::move(event));
  waiter.wake();
}

Task<void> Controller::Impl::ask(Event::Kind kind, std::shared_ptr<Event::Ask> what) {
  if (!started || stopping) co_return;  // nobody would take it from the queue
  push({kind, {}, no_broker, {}, what});
  co_await what->answered.wait();
}

void Controller::Impl::wake_idle() {
  if (!worked_off() && !stopping) return;
  for (auto* idler : idlers) idler->wake();
}

Task<void> Controller::Impl::run() {
  while (!stopping) {
    if (queue.empty()) {
      wake_idle();
      co_await waiter.wait();
      continue;
    }
    Event event = std::move(queue.front());
    queue.pop_front();
    queued.erase({event.kind, event.name});
    processing = true;
    const auto start = shard.clock().mono();
    last_queue_time = start - event.queued_at;
    auto done = co_await process(event);
    if (!done) co_await failed(done.error(), event.kind);
    count(event.kind, shard.clock().mono() - start);
    if (event.ask) event.ask->answered.wake();
    // After the answer, as in Kafka: the leader hears first what became of its proposal.
    if (in_office() && !unsettled.empty() && queued.emplace(Kind::settle, "").second) push_front({Kind::settle});
    processing = false;
  }
  // Those who still wait hear NOT_CONTROLLER.
  for (auto& event : queue) {
    if (event.ask) event.ask->answered.wake();
  }
  queue.clear();
  wake_idle();
}

Task<ZkResult<>> Controller::Impl::process(Event& event) {
  switch (event.kind) {
    case Kind::nothing: co_return ZkResult<>();
    case Kind::look_for_controller:
      if (expired) co_return ZkResult<>();  // the new session comes, registers, and looks
      co_return co_await look_for_controller();
    case Kind::expired:
      if (active) WEIR_LOG(warn, "the session ended: broker {} is controller no more", options.broker.value);
      resign();
      co_return ZkResult<>();
    case Kind::new_session: {
      resign();
      expired = false;
      if (options.register_again) co_await options.register_again();
      co_return co_await look_for_controller();
    }
    case Kind::brokers:
    case Kind::broker:
    case Kind::topics:
    case Kind::topic:
    case Kind::deletions:
    case Kind::preferred:
    case Kind::reassign:
    case Kind::isr_changes:
    case Kind::isr_written:
    case Kind::log_dirs:
    case Kind::led:
    case Kind::stopped:
    case Kind::resend:
    case Kind::settle:
    case Kind::waited:
    case Kind::rebalance:
    case Kind::shutdown:
    case Kind::elect:
    case Kind::alter:
    case Kind::move:
    case Kind::list_moves:
    case Kind::unclean: break;
  }
  if (!in_office()) co_return ZkResult<>();
  co_return co_await process_in_office(event);
}

Task<ZkResult<>> Controller::Impl::process_in_office(Event& event) {
  switch (event.kind) {
    case Kind::brokers:
    case Kind::broker: co_return co_await brokers_changed();
    case Kind::topics: co_return co_await topics_changed();
    case Kind::topic: co_return co_await topic_changed(event.name);
    case Kind::deletions: co_return co_await deletions_changed();
    case Kind::preferred: co_return co_await preferred_asked();
    case Kind::reassign: co_return co_await legacy_moves(false);
    case Kind::isr_changes: co_return co_await isr_changed();
    case Kind::isr_written: co_return co_await isr_written(event.name);
    case Kind::log_dirs: co_return co_await log_dirs_failed();
    case Kind::led: co_return co_await led(event.broker, std::move(event.answers));
    case Kind::stopped: stopped(event.broker, std::move(event.answers)); co_return co_await carry_deletions_on();
    case Kind::resend: co_return co_await resend(event.broker);
    case Kind::settle: co_return co_await settle();
    case Kind::waited: co_return co_await waited_for_members();
    case Kind::rebalance: co_return co_await rebalance();
    case Kind::shutdown: co_return co_await shut_down(*event.ask);
    case Kind::elect: co_return co_await elect_asked(*event.ask);
    case Kind::alter: co_return co_await alter(*event.ask);
    case Kind::move: co_return co_await moves_asked(*event.ask);
    case Kind::list_moves: list_moves(*event.ask); co_return ZkResult<>();
    case Kind::unclean: co_return co_await unclean_enabled(event.name);
    case Kind::nothing:
    case Kind::look_for_controller:
    case Kind::expired:
    case Kind::new_session: break;
  }
  co_return ZkResult<>();
}

Task<void> Controller::Impl::rebalance_timer() {
  while (!stopping) {
    if (!in_office() || !options.auto_rebalance) {
      co_await tick.wait();
      continue;
    }
    const auto now = shard.clock().mono();
    if (now < rebalance_at) {
      (void)co_await tick.wait(rebalance_at - now);
      continue;
    }
    rebalance_at = now + options.rebalance_check;
    push({Kind::rebalance});
  }
}

Task<void> Controller::Impl::doubt_timer() {
  while (!stopping) {
    std::optional<nanoseconds> next;
    for (const auto& [at, doubt] : state.doubts) {
      if (!doubt.over && doubt.until != nanoseconds::max()) next = std::min(next.value_or(doubt.until), doubt.until);
    }
    if (!next) {
      co_await doubted.wait();
      continue;
    }
    const auto now = shard.clock().mono();
    if (now < *next) {
      (void)co_await doubted.wait(*next - now);
      continue;
    }
    push({Kind::waited});
    co_await doubted.wait();  // until that is done
  }
}

// --- the outside ------------------------------------------------------------------------------------------------

Controller::Controller(runtime::Shard& shard, zkclient::Zk& zk, BrokerLink& link, runtime::Random& random,
                       ControllerOptions options)
    : impl_(std::make_shared<Impl>(shard, zk, link, random, std::move(options))) {}
Controller::~Controller() = default;

void Controller::start() {
  impl_->started = true;
  impl_->session = impl_->zk.session_id();
  impl_->zk.listen(impl_);
  impl_->push({Kind::look_for_controller});
  impl_->scope.spawn(impl_->run());
  impl_->scope.spawn(impl_->rebalance_timer());
  impl_->scope.spawn(impl_->doubt_timer());
  impl_->scope.spawn(impl_->candidacy_timer());
}

Task<void> Controller::stop() {
  auto& impl = *impl_;
  impl.stopping = true;
  impl.waiter.wake();
  impl.tick.wake();
  impl.doubted.wake();
  impl.candidacy.wake();
  co_await impl.scope.stop();
  if (std::exchange(impl.told_link, false)) impl.link.know_brokers({});
  co_await impl.senders.stop();
  if (impl.in_office() && impl.zk.state() == zkclient::State::connected) {
    (void)co_await impl.store.remove(std::string(layout::controller_path));
  }
  impl.resign();
}

bool Controller::active() const { return impl_->in_office(); }
BrokerId Controller::controller_id() const { return impl_->controller; }
ControllerEpoch Controller::epoch() const { return impl_->in_office() ? impl_->state.epoch : ControllerEpoch{-1}; }
cluster::ImagePtr Controller::image() const { return impl_->in_office() ? impl_->state.image : cluster::empty_image(); }

Task<void> Controller::idle() {
  auto& impl = *impl_;
  Yield yield{impl.shard};
  co_await yield;
  while (!impl.worked_off() && !impl.stopping) {
    runtime::Waiter waiter(impl.shard);
    impl.idlers.push_back(&waiter);
    co_await waiter.wait();
    std::erase(impl.idlers, &waiter);
  }
}

Task<Result<std::vector<PartitionRef>>> Controller::controlled_shutdown(BrokerId broker, BrokerEpoch epoch) {
  auto ask = std::make_shared<Event::Ask>(impl_->shard);
  ask->broker = broker;
  ask->epoch = epoch;
  co_await impl_->ask(Kind::shutdown, ask);
  co_return std::move(ask->left);
}

Task<Result<OrderAnswer>> Controller::elect_leaders(std::vector<PartitionRef> partitions, bool unclean) {
  auto ask = std::make_shared<Event::Ask>(impl_->shard);
  ask->partitions = std::move(partitions);
  ask->unclean = unclean;
  co_await impl_->ask(Kind::elect, ask);
  co_return std::move(ask->answers);
}

Task<Result<std::vector<AlteredPartition>>> Controller::alter_partition(BrokerId broker, BrokerEpoch epoch,
                                                                        std::vector<AlterPartitionItem> partitions) {
  auto ask = std::make_shared<Event::Ask>(impl_->shard);
  ask->broker = broker;
  ask->epoch = epoch;
  ask->proposals = std::move(partitions);
  co_await impl_->ask(Kind::alter, ask);
  co_return std::move(ask->altered);
}

Task<Result<std::vector<ReassignmentAnswer>>> Controller::alter_reassignments(Reassignments wanted) {
  auto ask = std::make_shared<Event::Ask>(impl_->shard);
  ask->moves = std::move(wanted);
  co_await impl_->ask(Kind::move, ask);
  co_return std::move(ask->moved);
}

Task<Result<std::vector<OngoingReassignment>>> Controller::list_reassignments(
    std::optional<std::vector<PartitionRef>> among) {
  auto ask = std::make_shared<Event::Ask>(impl_->shard);
  ask->among = std::move(among);
  co_await impl_->ask(Kind::list_moves, ask);
  co_return std::move(ask->moving);
}

ControllerStats Controller::stats() const { return impl_->stats(); }

void Controller::set_unclean_election(bool allowed) {
  const bool before = std::exchange(impl_->options.unclean_leader_election, allowed);
  if (allowed && !before) impl_->push({Kind::unclean});
}

void Controller::unclean_election_enabled(std::string topic) { impl_->push({Kind::unclean, std::move(topic)}); }

}  // namespace weir::controller
