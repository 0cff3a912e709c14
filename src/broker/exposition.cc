#include "broker/exposition.h"

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "runtime/shard.h"

namespace weir::broker {

using metrics::Emit;
using metrics::Kind;
using View = replica::PartitionView;

Exposition::Exposition(Node& node, metrics::Registry& registry, const net::Server& server)
    : node_(node), registry_(registry), looked_(std::make_shared<Looked>()) {
  show_logs();
  show_controller();
  show_network(server);
  show_process();
}

std::shared_ptr<const Exposition::Looked> Exposition::looked() const {
  const std::scoped_lock lock(mutex_);
  return looked_;
}

void Exposition::show_logs() {
  auto of_partition = [this](std::string_view name, std::string_view help, auto value) {
    callbacks_.push_back(registry_.collector(name, help, Kind::gauge, {"topic", "partition"}, [this, value](Emit& out) {
      const auto seen = looked();
      for (const auto& each : seen->partitions) {
        out.sample({each.partition.topic, std::to_string(each.partition.partition.value)},
                   static_cast<double>(value(each)));
      }
    }));
  };
  of_partition("weir_log_size_bytes", "Bytes of all segments of a partition's log",
               [](const View& v) { return v.size; });
  of_partition("weir_log_start_offset", "First offset of a partition's log",
               [](const View& v) { return v.log_start.value; });
  of_partition("weir_log_end_offset", "Offset of the next record of a partition's log",
               [](const View& v) { return v.log_end.value; });
  of_partition("weir_high_watermark", "First offset that consumers cannot read yet",
               [](const View& v) { return v.high_watermark.value; });
  of_partition("weir_log_segments", "Segments of a partition's log", [](const View& v) { return v.segments; });

  auto gauge = [this](std::string_view name, std::string_view help, auto value) {
    callbacks_.push_back(registry_.gauge_callback(name, help, [this, value] { return value(*looked()); }));
  };
  gauge("weir_partitions", "Replicas on this broker",
        [](const Looked& l) { return static_cast<double>(l.partitions.size()); });
  gauge("weir_leaders", "Partitions that this broker leads", [](const Looked& l) {
    double n = 0;
    for (const auto& each : l.partitions) n += each.leader ? 1 : 0;
    return n;
  });
  gauge("weir_offline_partitions", "Partitions without a leader, as this broker knows the cluster",
        [](const Looked& l) { return static_cast<double>(l.offline); });
  gauge("weir_topics", "Topics of the cluster", [](const Looked& l) { return static_cast<double>(l.topics); });
  gauge("weir_zookeeper_connected", "1 while the session with the coordination service is connected",
        [](const Looked& l) { return l.zk_state == static_cast<int>(zkclient::State::connected) ? 1.0 : 0.0; });
  gauge("weir_groups", "Consumer groups that this broker coordinates",
        [](const Looked& l) { return static_cast<double>(l.groups.groups); });
  gauge("weir_group_offsets", "Offsets that those groups have committed",
        [](const Looked& l) { return static_cast<double>(l.groups.offsets); });
  gauge("weir_group_requests_waiting", "Requests of groups that wait (joins, syncs, commits)",
        [](const Looked& l) { return static_cast<double>(l.groups.waiting); });
}

void Exposition::show_controller() {
  using Stats = controller::ControllerStats;
  auto show = [this](std::string_view name, Kind kind, std::string_view help, auto value) {
    callbacks_.push_back(registry_.collector(name, help, kind, {}, [this, value](Emit& out) {
      out.sample({}, static_cast<double>(value(looked()->controller)));
    }));
  };
  constexpr auto gauge = Kind::gauge;
  constexpr auto counter = Kind::counter;
  show("weir_active_controller", gauge, "1 when this broker is the controller",
       [](const Stats& s) { return s.active; });
  show("weir_controller_epoch", gauge, "Epoch of this broker's term of office; -1 when it has none",
       [](const Stats& s) { return s.epoch.value; });
  show("weir_controller_queue", gauge, "Events that wait for the controller",
       [](const Stats& s) { return s.queued_events; });
  show("weir_controller_queue_seconds", gauge, "How long the last event waited",
       [](const Stats& s) { return std::chrono::duration<double>(s.last_queue_time).count(); });
  show("weir_controller_brokers", gauge, "Brokers that are alive, as the controller here knows",
       [](const Stats& s) { return s.brokers; });
  show("weir_controller_partitions", gauge, "Partitions of the cluster, as the controller here knows",
       [](const Stats& s) { return s.partitions; });
  show("weir_controller_offline_partitions", gauge, "Partitions without a leader, as the controller here knows",
       [](const Stats& s) { return s.offline_partitions; });
  show("weir_controller_preferred_imbalance", gauge, "Partitions whose leader is not their first replica",
       [](const Stats& s) { return s.preferred_imbalance; });
  show("weir_controller_reassigning_partitions", gauge, "Partitions that move",
       [](const Stats& s) { return s.reassigning_partitions; });
  show("weir_controller_topics_to_delete", gauge, "Topics whose deletion is under way",
       [](const Stats& s) { return s.topics_to_delete; });
  show("weir_controller_orders_waiting", gauge, "Orders that wait for brokers to take them",
       [](const Stats& s) { return s.orders_waiting; });
  show("weir_controller_elections_total", counter, "Leaders elected out of the in-sync set, new partitions not counted",
       [](const Stats& s) { return s.elections; });
  show("weir_controller_unclean_elections_total", counter, "Leaders elected from outside it: records may be lost",
       [](const Stats& s) { return s.unclean_elections; });
  show("weir_controller_events_total", counter, "Events that the controller has worked off",
       [](const Stats& s) { return s.events; });
  auto by_kind = [this](std::string_view name, Kind kind, std::string_view help, auto value) {
    callbacks_.push_back(registry_.collector(name, help, kind, {"event"}, [this, value](Emit& out) {
      for (const auto& [event, times] : looked()->controller.times) out.sample({std::string(event)}, value(times));
    }));
  };
  using Times = Stats::Times;
  by_kind("weir_controller_event_count", counter, "Events worked off, by kind",
          [](const Times& t) { return static_cast<double>(t.count); });
  by_kind("weir_controller_event_seconds_total", counter, "Time they took, by kind",
          [](const Times& t) { return std::chrono::duration<double>(t.sum).count(); });
  by_kind("weir_controller_event_seconds_max", gauge, "The longest of them, by kind",
          [](const Times& t) { return std::chrono::duration<double>(t.max).count(); });
}

void Exposition::show_network(const net::Server& server) {
  const auto& counters = server.counters();
  auto count = [this](std::string_view name, std::string_view help, const std::atomic<std::uint64_t>& value) {
    callbacks_.push_back(registry_.collector(name, help, Kind::counter, {}, [&value](Emit& out) {
      out.sample({}, static_cast<double>(value.load(std::memory_order_relaxed)));
    }));
  };
  callbacks_.push_back(registry_.gauge_callback("weir_connections", "Open connections of clients",
                                                [&counters] { return static_cast<double>(counters.open()); }));
  count("weir_connections_accepted_total", "Connections accepted", counters.accepted);
  count("weir_connections_rejected_total", "Connections closed at the door: max.connections.per.ip", counters.rejected);
  count("weir_connections_delayed_total", "Connections held back by max.connection.creation.rate", counters.delayed);
  count("weir_connections_idle_closed_total", "Connections closed by connections.max.idle.ms", counters.expired_idle);
  count("weir_connections_bad_frames_total", "Connections closed for a request length that lies or is over the limit",
        counters.bad_frames);
  count("weir_connections_memory_closed_total",
        "Connections closed as they held memory that others waited for and sent too little", counters.memory_held);
  count("weir_connections_cut_frames_total", "Connections that their clients ended within a request",
        counters.cut_frames);
  count("weir_network_bytes_in_total", "Bytes received from clients", counters.bytes_in);
  count("weir_network_bytes_out_total", "Bytes sent to clients", counters.bytes_out);
  count("weir_request_memory_waits_total", "Requests that waited for queued.max.request.bytes", counters.memory_waits);
  callbacks_.push_back(registry_.collector(
      "weir_shard_queue", "Jobs that wait on an event loop", Kind::gauge, {"shard"}, [this](Emit& out) {
        for (const auto* shard : node_.shards) {
          out.sample({std::to_string(shard->index())}, static_cast<double>(shard->queued()));
        }
      }));
  callbacks_.push_back(registry_.gauge_callback("weir_pool_queue", "Jobs that wait for a thread of the blocking pool",
                                                [this] { return static_cast<double>(node_.pool->queued()); }));
}

void Exposition::show_process() {
  callbacks_.push_back(registry_.gauge_callback("process_resident_memory_bytes", "Resident memory of the process", [] {
    long pages = 0;
    long resident = 0;
    if (auto* file = std::fopen("/proc/self/statm", "r")) {
      if (std::fscanf(file, "%ld %ld", &pages, &resident) != 2) resident = 0;
      std::fclose(file);
    }
    return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
  }));
  callbacks_.push_back(registry_.collector(
      "process_cpu_seconds_total", "User and system time of the process", Kind::counter, {}, [](Emit& out) {
        rusage used{};
        getrusage(RUSAGE_SELF, &used);
        const auto s = [](const timeval& t) {
          return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
        };
        out.sample({}, s(used.ru_utime) + s(used.ru_stime));
      }));
  callbacks_.push_back(registry_.gauge_callback("process_open_fds", "Open file descriptors", [] {
    std::error_code error;
    double n = 0;
    for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end; it.increment(error))
      ++n;
    return n;
  }));
}

runtime::Task<std::string> Exposition::text() {
  auto next = std::make_shared<Looked>();
  next->partitions = co_await node_.replicas->view();
  next->groups = co_await node_.groups->counts();
  const auto image = node_.image();
  next->topics = image->topic_count();
  image->each_topic([&](const cluster::TopicPtr& topic) {
    topic->partitions.each(
        [&](PartitionId, const cluster::Partition& p) { next->offline += p.leader.value < 0 ? 1 : 0; });
  });
  auto look = [this] { return node_.controller->stats(); };
  next->controller = co_await runtime::call(*node_.control, std::move(look));
  next->zk_state = static_cast<int>(node_.zk->state());
  {
    const std::scoped_lock lock(mutex_);
    looked_ = std::move(next);
  }
  co_return registry_.text();
}

}  // namespace weir::broker
