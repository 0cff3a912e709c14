#include "run.h"

#include <fmt/format.h>

#include <map>

#include "exposure.h"
#include "groups.h"
#include "workload.h"

namespace weir::sim {
namespace {

constexpr seconds start_limit{120};
constexpr seconds health_limit{240};
constexpr std::size_t each_kind_max = 3;  // of one kind, these are told

}  // namespace

Outcome run(const RunOptions& options) {
  Outcome outcome;
  outcome.seed = options.seed;
  auto shape = runtime::seeded_random(options.seed * 0x9e3779b97f4a7c15 + 7);
  ClusterOptions cluster_options;
  cluster_options.seed = options.seed;
  cluster_options.brokers = 3 + static_cast<int>(shape->below(2));
  cluster_options.shards = 1 + shape->below(2);
  cluster_options.verbose = options.verbose;
  const bool flushed = shape->below(4) == 0;
  if (flushed) cluster_options.broker["log.flush.interval.messages"] = "1";
  cluster_options.directories = 1 + shape->below(2);
  cluster_options.broker["log.retention.check.interval.ms"] = "2000";
  const bool retention = shape->below(3) == 0;
  const bool dense = shape->below(3) == 0;
  // About what three partitions and the groups' topic need: volumes are full now and then, until old records go.
  const bool little_room = retention && runtime::seeded_random(options.seed * 0x9e3779b97f4a7c15 + 13)->below(2) == 0;
  if (little_room) cluster_options.broker["weir.storage.quota.bytes"] = "200000";
  auto& cluster = Cluster::make(cluster_options);
  cluster.tell(fmt::format("seed {}: {} brokers of {} shards and {} directories{}{}{}", options.seed,
                           cluster_options.brokers, cluster_options.shards, cluster_options.directories,
                           flushed ? ", all is flushed" : "", retention ? ", old records go" : "",
                           little_room ? ", volumes are small" : ""));

  // Never destroyed, as the cluster.
  static auto* workloads = new std::vector<Workload*>;
  static auto* groups = new std::vector<Groups*>;
  static auto* exposures = new std::vector<Exposure*>;
  WorkloadOptions work_options;
  if (retention) work_options.retention_bytes = 32 * 1024;
  auto& work = *workloads->emplace_back(new Workload(cluster, work_options));
  auto& group = *groups->emplace_back(new Groups(cluster, work.history(), work_options.topic, 3, 3));
  auto& faults = *new Faults(cluster, options.faults);
  if (!flushed) {
    std::vector<TopicPartition> watched{Groups::home()};
    for (int p = 0; p < work_options.partitions; ++p) watched.emplace_back(work_options.topic, PartitionId{p});
    auto& exposure = *exposures->emplace_back(new Exposure(cluster, work.history(), std::move(watched)));
    cluster.set_on_end([&exposure](BrokerId broker, bool power) { exposure.ended(broker, power); });
  }
  const auto finish = [&] {
    outcome.fingerprint = cluster.world().fingerprint() ^ work.history().fingerprint();
    outcome.writes = work.history().writes();
    outcome.acks = work.history().acks();
    outcome.reads = work.history().reads();
    outcome.faults = faults.count();
    outcome.commits = group.commits();
    outcome.excused = work.history().excused();
    outcome.seconds = cluster.seconds_now();
    return outcome;
  };

  cluster.start_all();
  if (!cluster.wait_up(start_limit) || !work.create_topic(start_limit)) {
    outcome.problems.emplace_back("START the cluster does not come up");
    return finish();
  }
  work.start();
  group.start();
  cluster.world().run_for(seconds(3));
  faults.start(dense ? milliseconds(150 + shape->below(700)) : milliseconds(500 + shape->below(4000)));
  cluster.world().run_for(options.faulty);
  faults.heal();
  work.stop_admin();
  const auto healed = cluster.world().clock().mono();
  cluster.world().run_for(seconds(5));
  work.stop_producing();

  std::string trouble = "brokers do not come up";
  while (cluster.world().clock().mono() < healed + health_limit) {
    cluster.start_all();  // a clean stop may have ended only now
    if (!cluster.wait_up(seconds(1))) continue;
    trouble = work.unhealthy();
    if (trouble.empty()) trouble = group.unhealthy(healed);
    if (trouble.empty()) break;
    cluster.world().run_for(milliseconds(50));
  }
  outcome.healthy_after = std::chrono::duration<double>(cluster.world().clock().mono() - healed).count();
  if (!trouble.empty()) {
    outcome.problems.push_back(fmt::format("STUCK {} s after the last fault: {}", health_limit.count(), trouble));
  }
  cluster.world().run_for(seconds(3));
  if (trouble.empty()) work.read_all();
  work.stop();
  group.stop();
  std::map<std::string, std::size_t> kinds;
  for (auto& problem : work.history().judge()) {
    if (!trouble.empty() && problem.starts_with("UNREAD")) continue;
    if (++kinds[problem.substr(0, problem.find(' '))] <= each_kind_max) outcome.problems.push_back(std::move(problem));
  }
  for (const auto& [kind, number] : kinds) {
    if (number > each_kind_max) outcome.problems.push_back(fmt::format("{}: {} in all", kind, number));
  }
  for (const auto& problem : outcome.problems) cluster.tell(problem);
  return finish();
}

}  // namespace weir::sim
