// The part of the driver that looks after clusters without an operation: who is down, who hangs, whose files are old.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/log.h"
#include "msk/driver.h"
#include "msk/empty_start.h"
#include "zkwire/layout.h"

namespace weir::msk {
namespace {

using provision::BrokerState;
using provision::Failure;
using std::chrono_literals::operator""s;

constexpr milliseconds volumes_interval{10'000};
constexpr int doublings_max = 5;

milliseconds session_of(const provision::BrokerSpec& spec) {
  std::int64_t ms = 18'000;
  if (const auto found = spec.properties.find("zookeeper.session.timeout.ms"); found != spec.properties.end()) {
    const auto& text = found->second;
    std::from_chars(text.data(), text.data() + text.size(), ms);
  }
  return milliseconds(std::clamp<std::int64_t>(ms, 1'000, 600'000));
}

// Whether a broker finds its way to ZooKeeper by other settings than before.
bool other_way(const provision::BrokerSpec& before, const provision::BrokerSpec& after) {
  const auto way = [](const provision::BrokerSpec& spec) {
    std::map<std::string, std::string> out;
    for (const auto& [name, value] : spec.properties) {
      if (name.starts_with("zookeeper.") || name.starts_with("weir.zookeeper.")) out.emplace(name, value);
    }
    return out;
  };
  return way(before) != way(after);
}

bool in_order(ClusterState state) {
  return state == ClusterState::active || state == ClusterState::updating || state == ClusterState::rebooting_broker;
}

}  // namespace

Task<void> Driver::look_after() {
  auto clusters = co_await store_.clusters();
  if (!clusters) co_return;
  std::map<std::string, std::string> ailments;
  for (const auto& cluster : *clusters) {
    if (!acts()) co_return;
    if (!in_order(cluster.state)) continue;
    if (cluster.state == ClusterState::active) co_await compare_files(cluster);
    const auto registered = co_await registered_ids(cluster);
    for (const auto& [id, added] : cluster.members) {
      const auto status = place_.status(key(cluster, id));
      std::string sentence;
      if (!status || status->state != BrokerState::running) {
        missing(key(cluster, id), status);
        sentence = fmt::format("Broker {} is {}{}{}.", id, status ? provision::name(status->state) : "not there",
                               status && !status->cause.empty() ? ": " : "", status ? status->cause : "");
      } else if (registered) {
        sentence = co_await absence(cluster, id, *registered);
      }
      if (sentence.empty() || cluster.state != ClusterState::active) continue;
      auto& text = ailments[cluster.id];
      if (!text.empty()) text += " ";
      text += sentence;
      const bool gone = !status || status->state == BrokerState::stopped;
      if (gone && !driven_.contains(cluster.id)) co_await restore(cluster, id);
    }
  }
  if (acts()) health_.ailing = std::move(ailments);
  (void)co_await end_elections(KafkaView{&shard_, &zk_, ""}, options_.root, *clusters);
  // To add up what lies on a volume is some work.
  const auto now = shard_.clock().mono();
  if (volumes_looked_at_ && now - *volumes_looked_at_ < volumes_interval) co_return;
  volumes_looked_at_ = now;
  std::map<std::string, std::string> full;
  for (const auto& cluster : *clusters) {
    if (!acts()) co_return;
    if (auto text = co_await full_volumes(cluster); !text.empty()) full.emplace(cluster.id, std::move(text));
  }
  health_.full = std::move(full);
}

// Nothing: it could not be read.
Task<std::optional<std::set<std::int32_t>>> Driver::registered_ids(Cluster cluster) {
  namespace layout = zkwire::layout;
  const auto names = co_await zk_.children(cluster.chroot() + std::string(layout::broker_ids_path));
  if (!names && names.error().code != zkclient::ZkCode::no_node) co_return std::nullopt;
  std::set<std::int32_t> out;
  if (names) {
    for (const auto& name : *names) {
      if (const auto id = layout::broker_of_child(name)) out.insert(id->value);
    }
  }
  co_return out;
}

// Its process is not there, or not yet: whether it hangs is asked again when it runs. How often it was killed for that
// is remembered, but not beyond an order.
void Driver::missing(const provision::BrokerKey& which, const std::optional<provision::BrokerStatus>& status) {
  if (!status || status->state == BrokerState::stopped || status->state == BrokerState::stopping) {
    absent_.erase(which);
  } else if (const auto found = absent_.find(which); found != absent_.end()) {
    found->second.since = shard_.clock().mono();
  }
}

// A broker that runs and is not registered is out of every in-sync set, or the last of one. Where others are registered
// they lead in its place, and to kill it takes nothing from anybody; where nobody is, they serve what they have, and
// one begins anew only when there is another way to ZooKeeper for it. It may hang, have lost that way, or have an
// address that is no more. What is wrong, as a sentence; empty: nothing, or not for long.
Task<std::string> Driver::absence(Cluster cluster, std::int32_t broker, std::set<std::int32_t> registered) {
  const auto which = key(cluster, broker);
  if (registered.contains(broker)) {
    absent_.erase(which);
    new_way_.erase(which);
    co_return std::string();
  }
  const auto spec = place_.spec(which);
  const auto now = shard_.clock().mono();
  const auto found = absent_.emplace(which, Absence{now, 0}).first;
  const auto session = session_of(spec ? *spec : provision::BrokerSpec{});
  const auto time = now - found->second.since;
  const int kills = found->second.kills;
  const bool known = kills > 0;
  if (!known && time < session) co_return std::string();
  auto sentence = fmt::format(
      "Broker {} runs, but is not registered in ZooKeeper for longer than its session of {} s: it hangs, or does not "
      "reach ZooKeeper.",
      broker, std::chrono::duration_cast<seconds>(session).count());
  const auto least = std::max<nanoseconds>(options_.hung_max, session);
  // With the new way it may be there at once.
  const auto status = place_.status(which);
  const bool has_way = new_way_.contains(which) && status && status->stale;
  const auto due = has_way && !known ? nanoseconds(0) : least * (1 << std::min(kills, doublings_max));
  if (!cluster.supervised.empty() || time < due || (registered.empty() && !has_way)) co_return sentence;
  // One at a time: until the last that was killed is registered again, or has had its time.
  for (const auto& [other, added] : cluster.members) {
    if (other == broker) continue;
    const auto its = place_.status(key(cluster, other));
    if (!its || its->state != BrokerState::running) co_return sentence;
    const auto absent = absent_.find(key(cluster, other));
    if (absent != absent_.end() && absent->second.kills > 0 && now - absent->second.since < least) co_return sentence;
  }
  if (auto still = co_await fence_.confirm(); !still || !acts()) co_return sentence;
  absent_[which] = {shard_.clock().mono(), kills + 1};
  WEIR_LOG(warn, "broker {} of cluster {} is killed, to be started again: {}", broker, cluster.name, sentence);
  (void)co_await place_.kill(which);
  co_return sentence;
}

// What a control plane would write may be other than what lies there: it has another address of ZooKeeper, or is of
// another version. Once for each cluster after it became the active one.
Task<void> Driver::compare_files(Cluster cluster) {
  if (!cluster.supervised.empty() || driven_.contains(cluster.id) || !compared_.insert(cluster.id).second) co_return;
  auto now = co_await store_.cluster(cluster.id);
  if (!now || now->value.state != ClusterState::active) {
    compared_.erase(cluster.id);
    co_return;
  }
  cluster = std::move(now->value);
  for (const auto& [id, added] : cluster.members) {
    const auto which = key(cluster, id);
    const auto there = place_.spec(which);
    const auto wished = wish(cluster, cluster.spec, id);
    if (!there || (there->properties == wished.properties && there->limits == wished.limits)) continue;
    if (auto still = co_await fence_.confirm(); !still || !acts()) co_return;
    WEIR_LOG(info, "broker {} of cluster {} gets other settings from this control plane", id, cluster.name);
    const bool way = other_way(*there, wished);
    auto done = co_await put(cluster, cluster.spec, id);
    if (done && way) new_way_.insert(which);
    const auto status = place_.status(which);
    // One that runs has them when it is next started; `absence` sees to it when it cannot do without. One that starts
    // may be at its logs for long, and begins again only when it could not be done.
    const bool tries =
        status && (status->state == BrokerState::backing_off || (way && status->state == BrokerState::starting));
    if (done && tries) done = co_await place_.restart(which, provision::StopHow{milliseconds(0)}, milliseconds(0));
    if (done || done.error().kind == Failure::Kind::not_ready || done.error().kind == Failure::Kind::late) continue;
    WEIR_LOG(warn, "broker {} of cluster {}: {}", id, cluster.name, done.error().text);
    compared_.erase(cluster.id);
  }
}

Task<std::string> Driver::full_volumes(Cluster cluster) {
  constexpr std::int64_t reserved_part = 20;  // decision 0010
  std::string text;
  if (cluster.spec.volume_gib <= 0) co_return text;
  for (const auto& [id, added] : cluster.members) {
    const auto volume = co_await place_.volume(key(cluster, id));
    if (!volume || volume->quota_bytes <= 0) continue;
    if (volume->used_bytes < volume->quota_bytes - volume->quota_bytes / reserved_part) continue;
    text += fmt::format("{}Broker {} has {:.1f} of {:.1f} GiB and takes no more records: make its volume larger.",
                        text.empty() ? "" : " ", id, static_cast<double>(volume->used_bytes) / GiB,
                        static_cast<double>(volume->quota_bytes) / GiB);
  }
  co_return text;
}

// A broker of an active cluster that nobody starts: the place lost it, or somebody stopped it. In `local` that was a
// user (weir down --broker), who starts it again.
Task<void> Driver::restore(Cluster cluster, std::int32_t broker) {
  if (!cluster.supervised.empty()) co_return;
  // As it is now: an operation may have begun, and taken the broker away.
  auto now = co_await store_.cluster(cluster.id);
  if (!now || now->value.state != ClusterState::active || !now->value.members.contains(broker)) co_return;
  if (auto still = co_await fence_.confirm(); !still) co_return;
  cluster = std::move(now->value);
  auto there = co_await put(cluster, cluster.spec, broker);
  if (there) there = co_await place_.start(key(cluster, broker), milliseconds(0));
  if (!there && there.error().kind != Failure::Kind::not_ready) {
    WEIR_LOG_LIMITED(warn, 60s, "broker {} of cluster {}: {}", broker, cluster.name, there.error().text);
  }
}

}  // namespace weir::msk
