// Logs that are in the way of others: of topics that are gone, and of a partition that has two.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/log.h"
#include "replica/manager.h"

namespace weir::replica {

using runtime::Task;

// A log of an earlier topic of that name, whose deletion this broker missed: it is kept under another name, so that the
// cluster's topic has its place. Kafka does so for a KRaft controller; for one of ZooKeeper mode it refuses the topic
// until a person comes.
Task<void> ReplicaManager::set_strays_aside(Part& part, const std::vector<Change>& changes,
                                            const std::vector<std::size_t>& mine, std::vector<Result<>>& results) {
  FetcherUpdates updates(parts_.size());
  std::unordered_map<log::Directory*, std::vector<std::size_t>> moved;
  for (const auto i : mine) {
    const auto& change = changes[i];
    const auto it = part.partitions.find(change.partition);
    if (it == part.partitions.end() || change.topic_id.is_zero()) continue;
    if (std::ranges::find(change.leadership.replicas, self_) == change.leadership.replicas.end()) continue;
    const auto partition = it->second;
    const auto had = partition->topic_id();
    if (!had || *had == change.topic_id || partition->failed()) continue;
    // A topic that was made again begins its epochs anew. One whose epochs go on only lost its id (a tool older
    // than 2.8 or a person wrote its znode): its records are those of the cluster's topic, and it is refused until a
    // person comes.
    const auto epoch = partition->log().latest_epoch();
    if (partition->role() != Role::none || (epoch && change.leadership.leader_epoch >= *epoch && epoch->value > 0)) {
      continue;
    }
    auto& directory = partition->directory();
    const auto where = partition->log().directory();
    auto kept = directory.set_aside(partition->log(), random_.uuid());
    if (!kept) {
      results[i] = std::unexpected(kept.error());
      partition->tell_failure(kept.error());
      continue;
    }
    WEIR_LOG(warn,
             "{}: the log in {} is of a topic with id {}, which was deleted while this broker was away; the cluster's "
             "topic of that name has id {}. It is kept as {}; remove it when it is not needed",
             change.partition.text(), where, had->text(), change.topic_id.text(), *kept);
    partition->leave();
    unfollow(part, change.partition, updates);
    part.partitions.erase(it);
    count_log(directory, -1);
    moved[&directory].push_back(i);
  }
  send(std::move(updates));
  for (auto& [directory, which] : moved) {
    auto sync = [directory] { return directory->sync_names(); };
    auto synced = co_await pool_.run(std::move(sync));
    if (synced) continue;
    for (const auto i : which) results[i] = std::unexpected(synced.error());
    if (replication_.storage_failed) replication_.storage_failed(*directory, synced.error().message);
  }
}

// A directory that failed, and was back after a restart, has an old log of a partition that was made again elsewhere:
// only a person knows which to keep, as in Kafka. What has no records is what is left of a log that could not be made.
Result<> ReplicaManager::settle_twins(std::vector<std::vector<std::unique_ptr<log::Log>>>& all) {
  std::map<log::TopicPartition, std::pair<std::size_t, std::unique_ptr<log::Log>*>> seen;
  for (std::size_t d = 0; d < all.size(); ++d) {
    for (auto& log : all[d]) {
      const auto [other, first] = seen.try_emplace(log->partition(), d, &log);
      if (first) continue;
      auto& [where, twin] = other->second;
      const auto empty = [](const log::Log& each) { return each.log_end() == Offset{0} && each.size() == 0; };
      if (!empty(*log) && !empty(**twin)) {
        return fail(ErrorCode::KAFKA_STORAGE_ERROR,
                    fmt::format("{} has logs with records in two directories: {} and {}. One of the disks failed, most "
                                "likely, and the partition was made again on the other; move one of the two away (that "
                                "on the disk that failed) and start again",
                                directory_name(log->partition()), (*twin)->directory(), log->directory()));
      }
      const bool keep_new = empty(**twin);
      auto& goes = keep_new ? *twin : log;
      WEIR_LOG(warn, "{} is removed: it has no records, and the partition is also in {}", goes->directory(),
               (keep_new ? log : *twin)->directory());
      auto removal = directories_[keep_new ? where : d]->remove(*goes, random_.uuid(), now());
      if (!removal) return std::unexpected(removal.error());
      if (auto gone = removal->run(files_); !gone) WEIR_LOG(warn, "{}", gone.error().message);
      goes.reset();
      if (keep_new) other->second = {d, &log};
    }
  }
  for (auto& logs : all) std::erase(logs, nullptr);
  return {};
}

}  // namespace weir::replica
