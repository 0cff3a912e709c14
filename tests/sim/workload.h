// What clients do to a simulated cluster: producers with and without idempotence, consumers that read everything as it
// becomes visible, and somebody who administers. All of it goes into a History.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "client/client.h"
#include "cluster.h"
#include "history.h"

namespace weir::sim {

struct WorkloadOptions {
  std::string topic = "t";
  int partitions = 3;
  int replicas = 3;
  int producers = 4;  // every second one is idempotent
  int consumers = 2;
  std::int64_t retention_bytes = -1;  // of each partition
  bool admin = true;                  // reassignments, elections, topics that come and go
};

class Workload {
 public:
  Workload(Cluster& cluster, WorkloadOptions options);

  // The topic is made; then everybody works. Drives the world; false when the topic cannot be made within `limit`.
  bool create_topic(nanoseconds limit);
  void start();
  // Producers ask for nothing new; what they asked for before they still try to get acknowledged.
  void stop_producing() { producing_ = false; }
  bool produced() const { return producers_running_ == 0; }
  // No reassignments and the like any more.
  void stop_admin() { administering_ = false; }

  // After the producers: all leaders are there, every replica is in sync, consumers have read all. What is missing, or
  // empty. Drives the world a little.
  std::string unhealthy();
  // Reads everything once more, and every replica's disk.
  void read_all();
  // Ends consumers and clients.
  void stop();

  History& history() { return history_; }

 private:
  struct Consumer;
  std::unique_ptr<client::Client> new_client(milliseconds retry);
  static Task<void> produce(Workload* self, int number, bool idempotent);
  static Task<void> produce_idempotent(Workload* self, client::Client* client, int number);
  static Task<void> produce_plainly(Workload* self, client::Client* client, int number);
  static Task<void> consume(Workload* self, int number, PartitionId partition);
  static Task<void> administer(Workload* self);
  static Task<void> reassign(Workload* self, client::Client* client);
  static Task<void> elect(Workload* self, client::Client* client);
  static Task<void> come_and_go(Workload* self, client::Client* client, int number);
  static Task<void> look(Workload* self);
  static Task<void> read_partition(Workload* self, PartitionId partition, Records* out, std::int64_t* start,
                                   std::int64_t* end);
  Task<void> rest(int ms_max);
  void read_disk(Node& node, PartitionId partition);
  std::vector<std::string> values(int producer, int& number);
  nanoseconds now() { return cluster_.world().clock().mono(); }
  TopicPartition where(PartitionId partition) const { return {options_.topic, partition}; }
  void drive(Task<void> task);

  Cluster& cluster_;
  const WorkloadOptions options_;
  runtime::Random& random_;
  runtime::Shard& shard_;
  History history_;
  std::vector<std::unique_ptr<client::Client>> clients_;
  std::unique_ptr<client::Client> looker_;
  runtime::Scope scope_;
  bool producing_ = true;
  bool administering_ = true;
  bool stopping_ = false;
  int producers_running_ = 0;
  std::vector<std::int64_t> positions_;  // of all consumers, by consumer and partition
  client::ClusterView seen_;
  std::string trouble_;
  bool created_ = false;
};

}  // namespace weir::sim
