// A consumer group in a simulated cluster: members join, share partitions out, commit offsets one after another, leave
// and come back; and whether what they are told is what Kafka promises:
//
//   OFFSET  a member of the newest generation reads a committed offset that is older than one acknowledged before,
//           or that nobody committed
//   FENCING a commit of an older generation is taken after a newer one was agreed on
//
// Into a History, as problems of the group's own partition.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "client/client.h"
#include "cluster.h"
#include "history.h"

namespace weir::sim {

class Groups {
 public:
  // The offsets committed are for partitions of `topic`; no one looks at its records.
  Groups(Cluster& cluster, History& history, std::string topic, int partitions, int members);

  static TopicPartition home() { return {"__consumer_offsets", PartitionId{0}}; }
  void start();
  // What is missing until the group works since `since`: somebody of the newest generation has committed.
  std::string unhealthy(nanoseconds since) const;
  void stop();
  std::size_t commits() const { return commits_; }
  std::size_t generations() const { return generations_; }

 private:
  struct Member {
    int number = 0;
    std::unique_ptr<client::Client> client;
    std::string id;
    BrokerId coordinator = no_broker;
    std::int32_t generation = -1;
    std::vector<PartitionId> partitions;
  };
  static Task<void> live(Groups* self, Member* member);
  static Task<bool> join(Groups* self, Member* member);
  static Task<void> work(Groups* self, Member* member);
  // The committed offset; none: it cannot be told now.
  static Task<std::optional<std::int64_t>> committed(Groups* self, Member* member, PartitionId partition);
  static Task<bool> commit(Groups* self, Member* member, PartitionId partition, std::int64_t offset);
  static Task<bool> beat(Member* member);
  Task<void> rest(int ms_max);
  nanoseconds now() const { return cluster_.world().clock().mono(); }

  Cluster& cluster_;
  History& history_;
  const std::string topic_;
  runtime::Random& random_;
  runtime::Shard& shard_;
  runtime::Scope scope_;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<std::int64_t> asked_;         // the highest that anyone asked to commit, by partition
  std::vector<std::int64_t> acknowledged_;  // and the highest that was taken
  std::int32_t newest_ = -1;                // generation that a member was given its share of
  nanoseconds last_commit_{0};              // by the newest generation
  std::size_t commits_ = 0;
  std::size_t generations_ = 0;
  bool stopping_ = false;
};

}  // namespace weir::sim
