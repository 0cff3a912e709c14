#include "controller/register.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/log.h"
#include "zkclient/pipeline.h"

namespace weir::controller {

namespace layout = zkwire::layout;
using zkclient::CreateMode;
using zkclient::Op;
using zkclient::to_error;
using zkclient::Watch;
using zkclient::ZkCode;

namespace {

// Wakes one coroutine when a watch fires.
class Alarm : public zkclient::Watcher {
 public:
  explicit Alarm(runtime::Shard& shard) : waiter(shard) {}
  void on_watch(const zkclient::WatchEvent&) override { waiter.wake(); }
  runtime::Waiter waiter;
};

std::string endpoints_of(const std::string& path, const std::string& data) {
  const auto other = layout::decode_broker(path, data);
  if (!other) return "an unreadable registration";
  std::string out;
  for (const auto& e : other->endpoints) {
    const bool v6 = e.host.find(':') != std::string::npos;
    out += fmt::format("{}{}://{}{}{}:{}", out.empty() ? "" : ", ", e.listener, v6 ? "[" : "", e.host, v6 ? "]" : "",
                       e.port);
  }
  return out;
}

}  // namespace

Task<Result<>> ensure_root_paths(zkclient::Zk& zk) {
  const auto& paths = layout::persistent_paths();
  Result<> result;
  auto make = [&](std::size_t i) -> Task<void> {
    auto made = co_await zkclient::ensure(zk, paths[i]);
    if (!made) result = std::unexpected(to_error(made.error()));
  };
  co_await zkclient::pipeline(*runtime::Shard::current(), paths.size(), paths.size(), make);
  co_return result;
}

Task<Result<std::string>> get_or_create_cluster_id(zkclient::Zk& zk, runtime::Random& random) {
  const std::string path(layout::cluster_id_path);
  for (int tries = 0;; ++tries) {
    auto there = co_await zk.get(path, Watch{});
    if (there) co_return layout::decode_cluster_id(path, there->data);
    if (there.error().code != ZkCode::no_node) co_return std::unexpected(to_error(there.error()));
    auto proposed = layout::encode_cluster_id(random.uuid().text());
    auto made = co_await zkclient::create_with_parents(zk, path, std::move(proposed));
    if (!made && (made.error().code != ZkCode::node_exists || tries > 10)) {
      co_return std::unexpected(to_error(made.error()));
    }
  }
}

Task<Result<BrokerEpoch>> register_broker(runtime::Shard& shard, zkclient::Zk& zk, BrokerId broker,
                                          layout::BrokerRegistration registration, nanoseconds wait) {
  const std::string path = layout::path_of_broker(broker);
  const std::string data = layout::encode(registration);
  const auto until = shard.clock().mono() + wait;
  std::int64_t waited_for = 0;  // the session that was told of
  for (;;) {
    // In two parts, as Kafka does it: the answer to the second brings the node's czxid.
    std::vector<Op> ops{Op::create(path, "", CreateMode::ephemeral), Op::set(path, data, 0)};
    auto made = co_await zk.multi(std::move(ops));
    if (made) {
      WEIR_LOG(info, "registered broker {} as {} with epoch {}", broker.value, path, (*made)[1].stat.czxid);
      co_return BrokerEpoch{(*made)[1].stat.czxid};
    }
    if (made.error().code == ZkCode::no_node) {
      auto parent = co_await zkclient::ensure(zk, std::string(layout::broker_ids_path));
      if (!parent) co_return std::unexpected(to_error(parent.error()));
      continue;
    }
    if (made.error().code != ZkCode::node_exists) co_return std::unexpected(to_error(made.error()));
    auto alarm = std::make_shared<Alarm>(shard);
    auto there = co_await zk.get(path, alarm);
    if (!there && there.error().code == ZkCode::no_node) continue;
    if (!there) co_return std::unexpected(to_error(there.error()));
    if (there->stat.ephemeral_owner == zk.session_id()) {
      auto stat = co_await zk.set(path, data, zkclient::any_version);
      if (!stat) co_return std::unexpected(to_error(stat.error()));
      co_return BrokerEpoch{stat->czxid};
    }
    const auto left = until - shard.clock().mono();
    if (left > nanoseconds(0)) {
      if (std::exchange(waited_for, there->stat.ephemeral_owner) != there->stat.ephemeral_owner) {
        WEIR_LOG(info,
                 "{} is held by session 0x{:x} of a broker at {}: waiting up to {} ms for it to end, as that of a "
                 "broker that was killed does",
                 path, static_cast<std::uint64_t>(there->stat.ephemeral_owner), endpoints_of(path, there->data),
                 std::chrono::ceil<milliseconds>(left).count());
      }
      // Looks again also without an event: another session could take the node meanwhile.
      (void)co_await alarm->waiter.wait(std::min<nanoseconds>(left, std::chrono::seconds(1)));
      continue;
    }
    co_return fail(
        ErrorCode::DUPLICATE_BROKER_REGISTRATION,
        fmt::format("broker id {} is in use: {} belongs to session 0x{:x} of a broker at {}", broker.value, path,
                    static_cast<std::uint64_t>(there->stat.ephemeral_owner), endpoints_of(path, there->data)));
  }
}

Task<Result<>> update_registration(zkclient::Zk& zk, BrokerId broker, layout::BrokerRegistration registration) {
  auto data = layout::encode(registration);
  auto stat = co_await zk.set(layout::path_of_broker(broker), std::move(data), zkclient::any_version);
  if (!stat) co_return std::unexpected(to_error(stat.error()));
  co_return Result<>();
}

Task<Result<BrokerId>> generate_broker_id(zkclient::Zk& zk, std::int32_t reserved_max) {
  const std::string path(layout::broker_seqid_path);
  for (;;) {
    auto stat = co_await zk.set(path, "", zkclient::any_version);
    if (stat) co_return BrokerId{reserved_max + stat->version};
    if (stat.error().code != ZkCode::no_node) co_return std::unexpected(to_error(stat.error()));
    auto made = co_await zkclient::ensure(zk, path);
    if (!made) co_return std::unexpected(to_error(made.error()));
  }
}

Task<Result<layout::ProducerIdBlock>> allocate_producer_ids(zkclient::Zk& zk, BrokerId broker, std::int64_t size) {
  const std::string path(layout::producer_id_block_path);
  for (;;) {
    auto there = co_await zk.get(path, Watch{});
    if (!there && there.error().code == ZkCode::no_node) {
      auto made = co_await zkclient::ensure(zk, path);
      if (!made) co_return std::unexpected(to_error(made.error()));
      continue;
    }
    if (!there) co_return std::unexpected(to_error(there.error()));
    layout::ProducerIdBlock next{broker, 0, size - 1};
    if (!there->data.empty()) {
      auto last = layout::decode_producer_id_block(path, there->data);
      if (!last) co_return std::unexpected(last.error());
      if (last->last > std::numeric_limits<std::int64_t>::max() - size) {
        co_return fail(ErrorCode::UNKNOWN_SERVER_ERROR, fmt::format("{}: producer ids are used up", path));
      }
      next.first = last->last + 1;
      next.last = last->last + size;
    }
    auto data = layout::encode(next);
    auto stat = co_await zk.set(path, std::move(data), there->stat.version);
    if (stat) co_return next;
    if (stat.error().code != ZkCode::bad_version) co_return std::unexpected(to_error(stat.error()));
  }
}

// --- direct writes of a leader
// ----------------------------------------------------------------------------------------

Task<Result<std::int32_t>> propose_isr(zkclient::Zk& zk, PartitionRef at, cluster::Partition from,
                                       cluster::Partition to) {
  const auto path = layout::path_of_partition_state(at.topic, at.partition);
  const auto data = layout::encode(
      layout::PartitionState{to.leader, to.leader_epoch, to.isr, to.controller_epoch, to.leader_recovery_state});
  auto stat = co_await zk.set(path, data, from.version);
  if (stat) co_return stat->version;
  switch (stat.error().code) {
    case ZkCode::bad_version:
      co_return fail(ErrorCode::INVALID_UPDATE_VERSION, fmt::format("{} was written by another", path));
    case ZkCode::no_node: co_return fail(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, fmt::format("{} is gone", path));
    default: co_return std::unexpected(to_error(stat.error()));
  }
}

Task<Result<>> announce_isr_changes(zkclient::Zk& zk, std::vector<PartitionRef> changed) {
  // A node of ZooKeeper holds a MiB at the most.
  constexpr std::size_t partitions_max = 3000;
  for (std::size_t from = 0; from < changed.size(); from += partitions_max) {
    std::vector<layout::TopicPartition> some;
    for (auto i = from; i < std::min(changed.size(), from + partitions_max); ++i) {
      some.push_back({changed[i].topic, changed[i].partition});
    }
    auto data = layout::encode_partition_set(some);
    auto made =
        co_await zk.create(layout::path_of_new_isr_change(), std::move(data), CreateMode::persistent_sequential);
    if (!made) co_return std::unexpected(to_error(made.error()));
  }
  co_return Result<>();
}

Task<Result<>> announce_log_dir_failure(zkclient::Zk& zk, BrokerId broker) {
  auto made = co_await zk.create(layout::path_of_new_log_dir_event(), layout::encode_log_dir_event(broker),
                                 CreateMode::persistent_sequential);
  if (!made) co_return std::unexpected(to_error(made.error()));
  co_return Result<>();
}

}  // namespace weir::controller
