// The election for /controller, and how the office is given up.
#include <algorithm>
#include <limits>
#include <utility>

#include "base/log.h"
#include "controller/drive/impl.h"

namespace weir::controller {

namespace layout = zkwire::layout;
using namespace std::chrono_literals;
using zkclient::CreateMode;
using zkclient::Op;
using zkclient::ZkCode;
using zkclient::ZkError;
using Kind = Event::Kind;

namespace {

constexpr milliseconds failed_load_pause{1000};
constexpr milliseconds office_short{10'000};  // lost before that, and the next candidacy waits
constexpr milliseconds candidacy_pause_min{100};
constexpr milliseconds candidacy_pause_max{3000};

}  // namespace

// What an event's work could not do. The office may be lost by it.
Task<void> Controller::Impl::failed(ZkError error, Kind during) {
  // The session's events follow, or nothing does.
  if (error.code == ZkCode::closed || error.code == ZkCode::session_expired || expired) co_return;
  if (stopping || zk.state() == zkclient::State::closed) co_return;
  if (office_lost(error)) {
    WEIR_LOG(warn, "broker {} is in office no more: {} was written by another, or is gone", options.broker.value,
             layout::controller_epoch_path);
    const bool at_once = shard.clock().mono() - office_taken < office_short;
    resign();
    // Who cannot stay in office is not to take it from the others, again and again, as fast as it can.
    if (at_once) {
      candidacy_pause = std::clamp(2 * candidacy_pause, candidacy_pause_min, candidacy_pause_max);
      no_candidate_for(candidacy_pause);
    }
    push({Kind::look_for_controller});  // which gives /controller up, if it is still ours
    co_return;
  }
  WEIR_LOG(error, "the controller could not finish its work ({}): {}", static_cast<int>(during), error.text());
  if (during != Kind::look_for_controller && during != Kind::new_session) co_return;
  // Half in office is worse than out of it: give it up, and try again (or let another).
  if (state.epoch_version >= 0) (void)co_await store.remove(std::string(layout::controller_path));
  resign();
  no_candidate_for(failed_load_pause);  // and looks again then
}

void Controller::Impl::no_candidate_for(milliseconds pause) {
  candidate_from = std::max(candidate_from.value_or(0ns), shard.clock().mono() + pause);
  candidacy.wake();
}

Task<void> Controller::Impl::candidacy_timer() {
  while (!stopping) {
    if (!candidate_from) {
      co_await candidacy.wait();
      continue;
    }
    const auto now = shard.clock().mono();
    if (now < *candidate_from) {
      (void)co_await candidacy.wait(*candidate_from - now);
      continue;
    }
    candidate_from.reset();
    push({Kind::look_for_controller});
  }
}

// --- the election -----------------------------------------------------------------------------------------------

void Controller::Impl::resign() {
  const bool held = state.epoch_version >= 0;
  if (held && shard.clock().mono() - office_taken >= office_short) candidacy_pause = 0ms;
  active = false;
  controller = no_broker;
  senders.drop_all();
  unsettled.clear();
  refused_removals.clear();
  doubted.wake();
  state = decide::State{};
  state.self = options.broker;
  state.leader_recovery = options.leader_recovery;
  if (std::exchange(told_link, false)) link.know_brokers({});
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
      auto removed = co_await give_up_controller();
      if (!removed) co_return removed;
      continue;
    }
    if (in_office()) resign();                   // somebody removed it
    if (candidate_from) co_return ZkResult<>();  // others may; the watch says so
    auto taken = co_await take_office();
    if (!taken) co_return std::unexpected(taken.error());
    if (*taken) break;
  }
  auto loaded = co_await load();
  if (!loaded) co_return loaded;
  active = true;
  rebalance_at = shard.clock().mono() + options.rebalance_first;
  tick.wake();
  WEIR_LOG(info, "broker {} is controller, epoch {}: {} brokers, {} topics, {} partitions", options.broker.value,
           state.epoch.value, state.image->brokers().size(), state.image->topic_count(),
           state.image->partition_count());
  co_return ZkResult<>();
}

// Made where it is not there yet.
Task<ZkResult<zkclient::Data>> Controller::Impl::controller_epoch() {
  const std::string path(layout::controller_epoch_path);
  auto there = co_await zk.get(path, Watch{});
  if (there || there.error().code != ZkCode::no_node) co_return there;
  auto made = co_await zk.create(path, layout::encode_controller_epoch(ControllerEpoch{0}), CreateMode::persistent,
                                 zkclient::Acl::open);
  if (!made && made.error().code != ZkCode::node_exists) co_return std::unexpected(made.error());
  co_return co_await zk.get(path, Watch{});
}

// Only where it is of our session. Whoever takes it writes the epoch in the same step: where that is as it was before
// we looked, nobody has; a version of /controller itself says nothing, for each new one begins at 0.
Task<ZkResult<>> Controller::Impl::give_up_controller() {
  const std::string path(layout::controller_path);
  auto epoch = co_await controller_epoch();
  if (!epoch) co_return std::unexpected(epoch.error());
  auto there = co_await zk.get(path, Watch{});
  if (!there && there.error().code == ZkCode::no_node) co_return ZkResult<>();
  if (!there) co_return std::unexpected(there.error());
  if (there->stat.ephemeral_owner != zk.session_id()) co_return ZkResult<>();
  std::vector<Op> ops{Op::check(std::string(layout::controller_epoch_path), epoch->stat.version),
                      Op::remove(path, there->stat.version)};
  auto done = co_await zk.multi(std::move(ops));
  if (done) co_return ZkResult<>();
  const auto code = done.error().code;
  if (code == ZkCode::bad_version || code == ZkCode::no_node) co_return ZkResult<>();  // looked at again
  co_return std::unexpected(done.error());
}

// /controller and the next /controller_epoch in one step; false when another was faster.
Task<ZkResult<bool>> Controller::Impl::take_office() {
  const std::string epoch_path(layout::controller_epoch_path);
  auto there = co_await controller_epoch();
  if (!there) co_return std::unexpected(there.error());
  const auto epoch = layout::decode_controller_epoch(epoch_path, there->data);
  if (!epoch) {
    WEIR_LOG(error, "no controller can be elected: {}", epoch.error().message);
    co_return std::unexpected(ZkError{ZkCode::system, epoch_path});
  }
  if (epoch->value == std::numeric_limits<std::int32_t>::max()) {
    WEIR_LOG(error, "no controller can be elected: {} is {}, and there is no epoch after it", epoch_path, epoch->value);
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
  state.leader_recovery = options.leader_recovery;
  state.epoch = next;
  state.epoch_version = (*done)[1].stat.version;
  controller = options.broker;
  office_taken = shard.clock().mono();
  co_return true;
}

}  // namespace weir::controller
