// What the controller reads from ZooKeeper, and how it writes there: each write checks that the office is still ours.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controller/decide/state.h"
#include "runtime/shard.h"
#include "zkclient/zk.h"
#include "zkwire/layout.h"

namespace weir::controller {

using zkclient::Watch;
using zkclient::ZkResult;

// The check failed: somebody else is controller now.
bool office_lost(const zkclient::ZkError& error);
// The office or the session is lost: there is no going on. Other errors are of one node, and leave the rest alone.
bool fatal(const zkclient::ZkError& error);

struct TopicRead {
  std::string name;
  zkwire::layout::TopicAssignment assignment;
  std::int32_t version = 0;
};

class Store {
 public:
  Store(runtime::Shard& shard, zkclient::Zk& zk, const decide::State& state) : shard_(shard), zk_(zk), state_(state) {}

  // One write and the check of /controller_epoch, as one multi (as Kafka does). Errors of the check have op 0.
  Task<ZkResult<zkclient::OpResult>> write(zkclient::Op op);
  // The same with many writes, all or none; the results in their order.
  Task<ZkResult<std::vector<zkclient::OpResult>>> write_all(std::vector<zkclient::Op> ops);
  // A missing node is fine.
  Task<ZkResult<>> remove(std::string path);
  // /brokers/topics/T with all below it, /config/topics/T, /admin/delete_topics/T.
  Task<ZkResult<>> remove_topic(std::string topic);
  // All children of `path` (notifications that were worked off).
  Task<ZkResult<>> remove_children(std::string path, std::vector<std::string> names);

  // A missing node has no children.
  Task<ZkResult<std::vector<std::string>>> children(std::string path, Watch watch);
  // Those that are registered; unreadable ones are logged and left out. `on_broker` hears when one changes. `lives`
  // gets the first epoch that each had since it started: an older one than its own when its session ended meanwhile.
  Task<ZkResult<std::vector<cluster::Broker>>> brokers(Watch on_list, Watch on_broker,
                                                       std::map<BrokerId, BrokerEpoch>& lives);
  // How these brokers are registered at this moment; nothing: they are not. Those that cannot be read are left out.
  struct Life {
    BrokerEpoch epoch;
    BrokerEpoch first;  // since it started
  };
  Task<ZkResult<std::map<BrokerId, std::optional<Life>>>> lives(std::vector<BrokerId> ids);
  // Those that are there and make sense.
  Task<ZkResult<std::vector<TopicRead>>> topics(std::vector<std::string> names, Watch watch);
  // The states of partitions as they are in ZooKeeper, merged into what the image has; those without are left out.
  // `written` (may be null) gets the zxid that each was written with.
  Task<ZkResult<std::map<PartitionRef, cluster::Partition>>> states(
      std::vector<PartitionRef> at, Watch watch = {}, std::map<PartitionRef, std::int64_t>* written = nullptr);
  // Which replicas partitions have: written into the nodes of their topics, one write a topic, over what else is there.
  // Gives the topics that are gone or unreadable.
  using Assignments = std::map<std::string, std::map<PartitionId, zkwire::layout::ReplicaAssignment>>;
  Task<ZkResult<std::set<std::string>>> assign(Assignments wanted);
  Task<ZkResult<std::vector<PartitionRef>>> isr_changes(std::vector<std::string> names);

  zkclient::Zk& zk() { return zk_; }

 private:
  runtime::Shard& shard_;
  zkclient::Zk& zk_;
  const decide::State& state_;
};

zkwire::layout::PartitionState state_of(const cluster::Partition& partition);
void merge(cluster::Partition& into, const zkwire::layout::PartitionState& state, std::int32_t version);

inline constexpr std::size_t reads_in_flight_max = 2000;
inline constexpr std::size_t writes_in_flight_max = 500;

}  // namespace weir::controller
