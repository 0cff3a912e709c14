#include "controller/drive/controller.h"

#include <utility>

#include "base/log.h"
#include "controller/drive/impl.h"

namespace weir::controller {

namespace layout = zkwire::layout;
using zkclient::CreateMode;
using zkclient::Op;
using zkclient::SessionEvent;
using zkclient::WatchEvent;
using zkclient::ZkCode;
using zkclient::ZkError;
using Kind = Event::Kind;

namespace {

constexpr milliseconds failed_load_pause{1000};

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

Controller::Impl::Impl(runtime::Shard& s, zkclient::Zk& z, BrokerLink& link, ControllerOptions o)
    : shard(s),
      zk(z),
      options(std::move(o)),
      store(s, z, state),
      senders(
          s, link, options.order_retry,
          [this](BrokerId broker, OrderAnswer answers) { push({Kind::led, {}, broker, std::move(answers), nullptr}); },
          [this](BrokerId broker, OrderAnswer answers) {
            push({Kind::stopped, {}, broker, std::move(answers), nullptr});
          }),
      scope(s),
      waiter(s) {
  state.self = options.broker;
  senders.on_idle = [this] { wake_idle(); };
}

// --- the queue --------------------------------------------------------------------------------------------------

void Controller::Impl::on_watch(const WatchEvent& event) {
  const std::string_view path = event.path;
  if (path == layout::controller_path) return push({Kind::look_for_controller});
  if (path == layout::broker_ids_path) return push({Kind::brokers});
  if (path == layout::topics_path) return push({Kind::topics});
  if (path == layout::delete_topics_path) return push({Kind::deletions});
  if (path == layout::preferred_replica_election_path) return push({Kind::preferred});
  if (path == layout::isr_change_notification_path) return push({Kind::isr_changes});
  if (path == layout::log_dir_event_notification_path) return push({Kind::log_dirs});
  if (auto id = below(path, layout::broker_ids_path)) return push({Kind::broker, std::move(*id)});
  if (auto topic = below(path, layout::topics_path)) return push({Kind::topic, std::move(*topic)});
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
  queue.push_back(std::move(event));
  waiter.wake();
}

void Controller::Impl::push_front(Event event) {
  queue.push_front(std::move(event));
  waiter.wake();
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
    auto done = co_await process(event);
    if (!done) co_await failed(done.error(), event.kind);
    if (event.ask) event.ask->answered.wake();
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
    case Kind::isr_changes:
    case Kind::log_dirs:
    case Kind::led:
    case Kind::stopped:
    case Kind::shutdown:
    case Kind::elect:
    case Kind::unclean: break;
  }
  if (!in_office()) co_return ZkResult<>();
  switch (event.kind) {
    case Kind::brokers: co_return co_await brokers_changed();
    case Kind::broker: co_return co_await broker_changed(event.name);
    case Kind::topics: co_return co_await topics_changed();
    case Kind::topic: co_return co_await topic_changed(event.name);
    case Kind::deletions: co_return co_await deletions_changed();
    case Kind::preferred: co_return co_await preferred_asked();
    case Kind::isr_changes: co_return co_await isr_changed();
    case Kind::log_dirs: co_return co_await log_dirs_failed();
    case Kind::led: co_return co_await led(event.broker, std::move(event.answers));
    case Kind::stopped: stopped(event.broker, std::move(event.answers)); co_return co_await carry_deletions_on();
    case Kind::shutdown: co_return co_await shut_down(*event.ask);
    case Kind::elect: co_return co_await elect_asked(*event.ask);
    case Kind::unclean: {
      decide::Batch batch;
      auto at = decide::without_leader(state);
      if (!event.name.empty()) std::erase_if(at, [&](const PartitionRef& p) { return p.topic != event.name; });
      auto done = co_await give_leaders(std::move(at), batch);
      send(batch);
      co_return done;
    }
    case Kind::nothing:
    case Kind::look_for_controller:
    case Kind::expired:
    case Kind::new_session: break;
  }
  co_return ZkResult<>();
}

// What an event's work could not do. The office may be lost by it.
Task<void> Controller::Impl::failed(ZkError error, Kind during) {
  if (error.code == ZkCode::closed || error.code == ZkCode::session_expired) co_return;  // the session's events follow
  if (office_lost(error)) {
    WEIR_LOG(warn, "broker {} finds another controller in office", options.broker.value);
    resign();
    push({Kind::look_for_controller});
    co_return;
  }
  WEIR_LOG(error, "the controller could not finish its work ({}): {}", static_cast<int>(during), error.text());
  if (during != Kind::look_for_controller && during != Kind::new_session) co_return;
  // Half in office is worse than out of it: give it up, and try again (or let another).
  if (state.epoch_version >= 0) (void)co_await store.remove(std::string(layout::controller_path));
  resign();
  co_await runtime::sleep(shard, failed_load_pause);
  push({Kind::look_for_controller});
}

// --- the election -----------------------------------------------------------------------------------------------

void Controller::Impl::resign() {
  active = false;
  controller = no_broker;
  senders.drop_all();
  state = decide::State{};
  state.self = options.broker;
}

Task<ZkResult<>> Controller::Impl::look_for_controller() {
  const std::string path(layout::controller_path);
  for (;;) {
    auto watched = co_await zk.exists(path, self());
    if (!watched) co_return std::unexpected(watched.error());
    if (*watched) {
      auto there = co_await zk.get(path, Watch{});
      if (!there && there.error().code == ZkCode::no_node) continue;
      if (!there) co_return std::unexpected(there.error());
      const bool ours = there->stat.ephemeral_owner == zk.session_id();
      if (ours && in_office()) co_return ZkResult<>();
      if (in_office()) resign();
      const auto read = layout::decode_controller(path, there->data);
      if (!read) WEIR_LOG(error, "nobody knows who is controller: {}", read.error().message);
      if (!ours) {
        controller = read ? read->broker : no_broker;
        co_return ZkResult<>();
      }
      // Of our session, but not of this office: left over from one that failed.
      auto removed = co_await zk.remove(path, there->stat.version);
      if (!removed && removed.error().code != ZkCode::no_node) co_return std::unexpected(removed.error());
      continue;
    }
    if (in_office()) resign();  // somebody removed it
    auto taken = co_await take_office();
    if (!taken) co_return std::unexpected(taken.error());
    if (*taken) break;
  }
  auto loaded = co_await load();
  if (!loaded) co_return loaded;
  active = true;
  WEIR_LOG(info, "broker {} is controller, epoch {}: {} brokers, {} topics, {} partitions", options.broker.value,
           state.epoch.value, state.image->brokers().size(), state.image->topic_count(),
           state.image->partition_count());
  co_return ZkResult<>();
}

// /controller and the next /controller_epoch in one step; false when another was faster.
Task<ZkResult<bool>> Controller::Impl::take_office() {
  const std::string epoch_path(layout::controller_epoch_path);
  auto there = co_await zk.get(epoch_path, Watch{});
  if (!there && there.error().code == ZkCode::no_node) {
    auto made = co_await zk.create(epoch_path, layout::encode_controller_epoch(ControllerEpoch{0}),
                                   CreateMode::persistent, zkclient::Acl::open);
    if (!made && made.error().code != ZkCode::node_exists) co_return std::unexpected(made.error());
    there = co_await zk.get(epoch_path, Watch{});
  }
  if (!there) co_return std::unexpected(there.error());
  const auto epoch = layout::decode_controller_epoch(epoch_path, there->data);
  if (!epoch) {
    WEIR_LOG(error, "no controller can be elected: {}", epoch.error().message);
    co_return std::unexpected(ZkError{ZkCode::system, epoch_path});
  }
  const ControllerEpoch next{epoch->value + 1};
  const layout::ControllerRegistration us{options.broker, shard.clock().wall().count(), -1};
  std::vector<Op> ops{Op::create(std::string(layout::controller_path), layout::encode(us), CreateMode::ephemeral),
                      Op::set(epoch_path, layout::encode_controller_epoch(next), there->stat.version)};
  auto done = co_await zk.multi(std::move(ops));
  if (!done) {
    const auto code = done.error().code;
    if (code == ZkCode::node_exists || code == ZkCode::bad_version) co_return false;
    co_return std::unexpected(done.error());
  }
  state = decide::State{};
  state.self = options.broker;
  state.epoch = next;
  state.epoch_version = (*done)[1].stat.version;
  controller = options.broker;
  co_return true;
}

// --- the outside ------------------------------------------------------------------------------------------------

Controller::Controller(runtime::Shard& shard, zkclient::Zk& zk, BrokerLink& link, ControllerOptions options)
    : impl_(std::make_shared<Impl>(shard, zk, link, std::move(options))) {}
Controller::~Controller() = default;

void Controller::start() {
  impl_->session = impl_->zk.session_id();
  impl_->zk.listen(impl_);
  impl_->push({Kind::look_for_controller});
  impl_->scope.spawn(impl_->run());
}

Task<void> Controller::stop() {
  auto& impl = *impl_;
  impl.stopping = true;
  impl.waiter.wake();
  co_await impl.scope.stop();
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
  if (impl_->stopping) co_return std::move(ask->left);
  impl_->push({Kind::shutdown, {}, broker, {}, ask});
  co_await ask->answered.wait();
  co_return std::move(ask->left);
}

Task<Result<OrderAnswer>> Controller::elect_leaders(std::vector<PartitionRef> partitions, bool unclean) {
  auto ask = std::make_shared<Event::Ask>(impl_->shard);
  ask->partitions = std::move(partitions);
  ask->unclean = unclean;
  if (impl_->stopping) co_return std::move(ask->answers);
  impl_->push({Kind::elect, {}, no_broker, {}, ask});
  co_await ask->answered.wait();
  co_return std::move(ask->answers);
}

void Controller::unclean_election_enabled(std::optional<std::string> topic) {
  if (!topic) impl_->options.unclean_leader_election = true;
  impl_->push({Kind::unclean, topic.value_or("")});
}

}  // namespace weir::controller
