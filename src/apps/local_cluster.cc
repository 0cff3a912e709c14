#include "apps/local_cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "apps/supervised.h"
#include "base/log.h"
#include "cli/place.h"
#include "cli/text.h"
#include "config/properties.h"
#include "msk/kafka.h"
#include "msk/local.h"
#include "msk/store.h"
#include "provision/instance_type.h"

namespace weir::apps {

namespace {

using runtime::Task;

// MSK's name of the newest version of this level; "3.9" is "3.9.x".
std::string version_of(const std::string& level) {
  std::string out(msk::kafka_versions().back().name);
  for (const auto& version : msk::kafka_versions()) {
    if (version.level == level) out = version.name;
  }
  return out;
}

void fill(msk::Cluster& cluster, const cli::State& state) {
  const auto now = runtime::Shard::current()->clock().wall();
  std::map<std::int32_t, milliseconds> members;
  cluster.supervised.clear();
  bool metrics = false;
  for (const auto& process : state.processes) {
    if (process.role != "broker" || !process.id) continue;
    const auto before = cluster.members.find(*process.id);
    members[*process.id] = before == cluster.members.end() ? now : before->second;
    metrics = metrics || process.addresses.contains("metrics");
    const auto listener = process.addresses.find("PLAINTEXT");
    const auto any = std::ranges::find_if(process.addresses, [](const auto& a) { return a.first != "metrics"; });
    if (listener != process.addresses.end()) {
      cluster.supervised[*process.id] = listener->second;
    } else if (any != process.addresses.end()) {
      cluster.supervised[*process.id] = any->second;
    }
  }
  cluster.members = std::move(members);
  msk::fit_zones(cluster);
  auto& spec = cluster.spec;
  const auto* version = msk::find_kafka_version(spec.kafka_version);
  if (version == nullptr || version->level != state.kafka_version) {
    spec.kafka_version = version_of(state.kafka_version);
    spec.previous_version.clear();
  }
  spec.brokers = static_cast<std::int32_t>(cluster.members.size());
  spec.defaults = local_defaults(state, spec.brokers);
  spec.jmx_exporter = metrics;
  if (spec.instance_type.empty()) {
    spec.instance_type = msk::local_instance_type;
    spec.client_broker = msk::ClientBroker::plaintext;
  }
  spec.in_cluster = false;
}

Task<msk::Stored<bool>> write(runtime::Shard& shard, runtime::Random& random, zkclient::Zk& zk, msk::Realm realm,
                              cli::State state) {
  msk::Store store(shard, zk);
  auto clusters = co_await store.clusters();
  if (!clusters) co_return std::unexpected(clusters.error());
  const auto it = std::ranges::find(*clusters, std::string(Supervised::cluster), &msk::Cluster::name);
  if (it != clusters->end()) {
    auto there = co_await store.cluster(it->id);
    if (!there) co_return std::unexpected(there.error());
    if (there->value.supervised.empty()) {
      co_return std::unexpected(
          msk::StoreError{msk::StoreError::Kind::exists, "another cluster of this name was created by the API"});
    }
    const auto before = there->value;
    fill(there->value, state);
    if (there->value == before) co_return true;
    if (!before.active_operation.empty()) co_return false;
    there->value.current_version = msk::new_version(random);
    auto written = co_await store.set_cluster(std::move(*there));
    if (!written) co_return std::unexpected(written.error());
    co_return true;
  }
  msk::Cluster cluster;
  cluster.name = Supervised::cluster;
  cluster.id = msk::new_id(random);
  cluster.arn = msk::arn_text(realm, msk::cluster_kind, cluster.name, cluster.id);
  cluster.created = shard.clock().wall();
  cluster.current_version = msk::new_version(random);
  fill(cluster, state);
  msk::Operation operation;
  operation.id = msk::new_uuid(random);
  operation.arn = msk::arn_text(realm, msk::operation_kind, cluster.name, cluster.id, operation.id);
  operation.cluster_id = cluster.id;
  operation.cluster_arn = cluster.arn;
  operation.type = "CREATE_CLUSTER";
  operation.request_id = msk::new_uuid(random);
  operation.created = cluster.created;
  operation.from = operation.to = cluster.spec;
  cluster.active_operation = operation.id;
  auto created = co_await store.create_cluster(std::move(cluster), std::move(operation));
  if (!created) co_return std::unexpected(created.error());
  co_return true;
}

}  // namespace

std::string local_defaults(const cli::State& state, std::int32_t brokers) {
  const auto text = cli::server_properties(cli::Place{}, brokers, "", state.kafka_version, "", 1);
  auto file = config::parse_properties(text).value_or(config::Properties{});
  std::erase_if(file, [](const auto& entry) { return !msk::settable(entry.first); });
  for (const auto& [key, value] : state.overrides) file.insert_or_assign(key, value);
  return config::to_text(file);
}

Task<bool> record_local_cluster(runtime::Shard& shard, runtime::Random& random, zkclient::Zk& zk, msk::Realm realm,
                                cli::State state) {
  auto written = co_await write(shard, random, zk, std::move(realm), std::move(state));
  if (!written) {
    WEIR_LOG_LIMITED(warn, seconds(60), "the cluster {} is not as it is in the API: {}", Supervised::cluster,
                     written.error().text);
  }
  co_return written && *written;
}

Task<std::optional<msk::Cluster>> settled_local_cluster(runtime::Shard& shard, zkclient::Zk& zk) {
  msk::Store store(shard, zk);
  auto clusters = co_await store.clusters();
  if (!clusters) co_return std::nullopt;
  const auto it = std::ranges::find(*clusters, std::string(Supervised::cluster), &msk::Cluster::name);
  const bool settled = it != clusters->end() && !it->supervised.empty() && it->state == msk::ClusterState::active &&
                       it->active_operation.empty();
  if (!settled) co_return std::nullopt;
  co_return std::move(*it);
}

std::optional<provision::BrokerSpec> changed_by_the_api(const msk::Cluster& cluster, std::int32_t broker,
                                                        const std::string& host) {
  const auto& spec = cluster.spec;
  msk::ClusterSpec plain;
  plain.kafka_version = spec.kafka_version;
  plain.jmx_exporter = spec.jmx_exporter;
  plain.client_broker = msk::ClientBroker::plaintext;
  const auto properties = msk::local_properties(spec);
  const bool other_type = spec.instance_type != msk::local_instance_type;
  if (!other_type && properties == msk::local_properties(plain)) return std::nullopt;
  provision::BrokerSpec out;
  out.key = {Supervised::cluster, broker};
  out.address = host;
  const auto type = provision::find_instance_type(spec.instance_type);
  if (type && other_type) out.limits = provision::limits_of(*type, spec.volume_gib);
  for (const auto& [key, value] : properties) out.properties.emplace(key, value);
  return out;
}

}  // namespace weir::apps
