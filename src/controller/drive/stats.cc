// What the controller counts, and the settings that depend on the protocol's version.
#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "controller/decide/balance.h"
#include "controller/decide/deletion.h"
#include "controller/drive/impl.h"

namespace weir::controller {

using Kind = Event::Kind;

namespace {

// Kafka's name of the state of its controller; nothing for what has none there.
std::string_view kafka_name(Kind kind) {
  switch (kind) {
    case Kind::look_for_controller:
    case Kind::expired:
    case Kind::new_session: return "ControllerChange";
    case Kind::brokers:
    case Kind::broker:
    case Kind::waited: return "LeaderElection";
    case Kind::topics:
    case Kind::topic: return "TopicChange";
    case Kind::deletions:
    case Kind::stopped: return "TopicDeletion";
    case Kind::preferred:
    case Kind::elect: return "ManualLeaderBalance";
    case Kind::rebalance: return "AutoLeaderBalance";
    case Kind::reassign:
    case Kind::settle:
    case Kind::isr_written:
    case Kind::move: return "PartitionReassignment";
    case Kind::list_moves: return "ListPartitionReassignment";
    case Kind::isr_changes:
    case Kind::alter: return "IsrChange";
    case Kind::log_dirs: return "LogDirChange";
    case Kind::led:
    case Kind::resend: return "LeaderAndIsrResponseReceived";
    case Kind::shutdown: return "ControlledShutdown";
    case Kind::unclean: return "UncleanLeaderElectionEnable";
    case Kind::nothing: return "";
  }
  return "";
}

}  // namespace

void Controller::Impl::count(Kind kind, nanoseconds took) {
  ++events;
  auto& t = times[static_cast<std::size_t>(kind)];
  ++t.count;
  t.last = took;
  t.sum += took;
  t.max = std::max(t.max, took);
}

ControllerStats Controller::Impl::stats() const {
  ControllerStats out;
  out.active = in_office();
  out.controller = controller;
  out.queued_events = queue.size();
  out.last_queue_time = last_queue_time;
  out.events = events;
  out.elections = elections;
  out.unclean_elections = unclean_elections;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const auto name = kafka_name(static_cast<Kind>(i));
    if (name.empty()) continue;
    auto& t = out.times[name];
    if (times[i].count > 0) t.last = times[i].last;
    t.count += times[i].count;
    t.sum += times[i].sum;
    t.max = std::max(t.max, times[i].max);
  }
  out.times["ControllerShutdown"];
  if (!out.active) return out;
  out.epoch = state.epoch;
  out.brokers = state.image->brokers().size();
  out.topics = state.image->topic_count();
  out.partitions = state.image->partition_count();
  const auto health = decide::health(state);
  out.offline_partitions = health.offline_partitions;
  out.preferred_imbalance = health.preferred_imbalance;
  out.reassigning_partitions = state.reassigning.size();
  out.topics_to_delete = state.deletions.size();
  for (const auto& [name, deletion] : state.deletions) {
    bool waits = decide::has_reassignment(state, name);
    const auto topic = state.image->topic(name);
    if (!topic) continue;
    topic->partitions.each([&](PartitionId id, const cluster::Partition& partition) {
      for (const auto replica : partition.replicas) {
        const auto found = deletion.replicas.find({id, replica});
        if (found != deletion.replicas.end() && found->second == decide::ReplicaDeletion::done) continue;
        ++out.replicas_to_delete;
        const bool failed = found != deletion.replicas.end() && found->second == decide::ReplicaDeletion::failed;
        if (!failed && decide::online(state, partition, replica, true)) continue;
        ++out.replicas_ineligible_to_delete;
        waits = true;
      }
    });
    if (waits) ++out.topics_ineligible_to_delete;
  }
  out.orders_waiting_of = senders.waiting();
  for (const auto& [broker, waiting] : out.orders_waiting_of) out.orders_waiting += waiting;
  return out;
}

void set_protocol_version(ControllerOptions& options, std::string_view version) {
  std::array<int, 3> parts{0, 0, 99};  // "3.9" is the last of its internal versions
  const auto number = [&](std::string_view text, int& into) {
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), into);
    return ec == std::errc{} && end == text.data() + text.size();
  };
  if (const auto dash = version.find("-IV"); dash != std::string_view::npos) {
    if (!number(version.substr(dash + 3), parts[2])) return;
    version = version.substr(0, dash);
  }
  const auto dot = version.find('.');
  if (dot == std::string_view::npos) return;
  auto minor = version.substr(dot + 1);
  minor = minor.substr(0, minor.find('.'));  // of "3.9.1"; "0.11.0" is older than all that matters
  if (!number(version.substr(0, dot), parts[0]) || !number(minor, parts[1])) return;
  const auto since = [&](int of_major, int of_minor, int internal) {
    return parts >= std::array<int, 3>{of_major, of_minor, internal};
  };
  options.topic_ids = since(2, 8, 0);
  options.feature_version = since(3, 3, 0) ? 2 : since(2, 7, 0) ? 1 : 0;
  options.leader_recovery = since(3, 2, 0);
  options.alter_partition = since(2, 7, 2);
}

}  // namespace weir::controller
