#include "msk/store.h"

#include <algorithm>
#include <utility>

#include "msk/codec.h"
#include "zkclient/pipeline.h"

namespace weir::msk {
namespace {

using zkclient::Op;
using zkclient::ZkCode;
using zkclient::ZkError;

constexpr std::size_t reads_at_once = 32;

StoreError store_error(const ZkError& error) {
  using Kind = StoreError::Kind;
  switch (error.code) {
    case ZkCode::no_node: return {Kind::missing, error.text()};
    case ZkCode::node_exists: return {Kind::exists, error.text()};
    case ZkCode::bad_version:
    case ZkCode::rolled_back:
    case ZkCode::not_empty: return {Kind::conflict, error.text()};
    case ZkCode::ok:
    case ZkCode::connection_loss:
    case ZkCode::operation_timeout:
    case ZkCode::session_expired:
    case ZkCode::no_children_for_ephemerals:
    case ZkCode::no_auth:
    case ZkCode::auth_failed:
    case ZkCode::invalid_acl:
    case ZkCode::bad_arguments:
    case ZkCode::closed:
    case ZkCode::system: break;
  }
  return {Kind::unavailable, error.text()};
}
std::unexpected<StoreError> failed(const ZkError& error) { return std::unexpected(store_error(error)); }

template <class T>
struct AllOf {
  std::vector<std::optional<T>> found;
  std::optional<StoreError> error;
};

}  // namespace

Store::Store(runtime::Shard& shard, zkclient::Zk& zk, std::string root)
    : shard_(shard), zk_(zk), root_(std::move(root)) {}

std::string Store::path(std::string_view folder, std::string_view name) const {
  std::string out = root_;
  out.append("/").append(folder);
  if (!name.empty()) out.append("/").append(name);
  return out;
}

Task<Stored<>> Store::open() {
  for (const std::string_view folder : {"clusters", "names", "operations", "pending", "configurations",
                                        "configuration-names", "vpc-connections", "blocks"}) {
    auto made = co_await zkclient::ensure(zk_, path(folder, {}));
    if (!made) co_return failed(made.error());
  }
  co_return Stored<>{};
}

template <class T>
Task<Stored<Versioned<T>>> Store::read(std::string at) {
  auto data = co_await zk_.get(at);
  if (!data) co_return failed(data.error());
  Versioned<T> out;
  out.version = data->stat.version;
  if (auto decoded = decode(data->data, out.value); !decoded) {
    co_return std::unexpected(StoreError{StoreError::Kind::corrupt, at + ": " + decoded.error()});
  }
  co_return out;
}

template <class T>
Task<Stored<std::vector<T>>> Store::read_all(std::string folder) {
  auto names = co_await zk_.children(folder);
  if (!names) co_return failed(names.error());
  AllOf<T> all;
  all.found.resize(names->size());
  auto one = [this, &names, &all, &folder](std::size_t i) -> Task<void> {
    auto record = co_await read<T>(folder + "/" + (*names)[i]);
    if (record) {
      all.found[i] = std::move(record->value);
    } else if (record.error().kind != StoreError::Kind::missing) {  // what is gone meanwhile is not listed
      all.error = record.error();
    }
  };
  std::function<Task<void>(std::size_t)> each = one;
  co_await zkclient::pipeline(shard_, names->size(), reads_at_once, std::move(each));
  if (all.error) co_return std::unexpected(*all.error);
  std::vector<T> out;
  for (auto& record : all.found) {
    if (record) out.push_back(std::move(*record));
  }
  std::ranges::sort(out,
                    [](const T& a, const T& b) { return std::pair(a.created, a.id) < std::pair(b.created, b.id); });
  co_return out;
}

Task<Stored<>> Store::write(std::vector<Op> ops) {
  auto result = co_await zk_.multi(std::move(ops));
  if (!result) co_return failed(result.error());
  co_return Stored<>{};
}

// --- clusters

Task<Stored<Versioned<Cluster>>> Store::cluster(std::string id) { return read<Cluster>(path("clusters", id)); }
Task<Stored<std::vector<Cluster>>> Store::clusters() { return read_all<Cluster>(path("clusters", {})); }

Task<Stored<>> Store::create_cluster(Cluster cluster, Operation operation) {
  std::vector<Op> ops;
  ops.push_back(Op::create(path("names", cluster.name), cluster.id));
  ops.push_back(Op::create(path("clusters", cluster.id), encode(cluster)));
  ops.push_back(Op::create(path("operations", cluster.id), {}));
  ops.push_back(Op::create(path("operations", cluster.id) + "/" + operation.id, encode(operation)));
  ops.push_back(Op::create(path("pending", cluster.id), operation.id));
  return write(std::move(ops));
}

Task<Stored<>> Store::set_cluster(Versioned<Cluster> cluster) {
  std::vector<Op> ops;
  ops.push_back(Op::set(path("clusters", cluster.value.id), encode(cluster.value), cluster.version));
  return write(std::move(ops));
}

Task<Stored<>> Store::begin(Versioned<Cluster> cluster, Operation operation) {
  const auto& id = cluster.value.id;
  std::vector<Op> ops;
  ops.push_back(Op::set(path("clusters", id), encode(cluster.value), cluster.version));
  ops.push_back(Op::create(path("operations", id) + "/" + operation.id, encode(operation)));
  ops.push_back(Op::create(path("pending", id), operation.id));
  return write(std::move(ops));
}

Task<Stored<>> Store::remove_cluster(Cluster cluster) {
  // Its own record and the pending mark go last: until then a control plane that comes next finds the work.
  auto gone = co_await zkclient::remove_tree(zk_, path("operations", cluster.id));
  if (!gone) co_return failed(gone.error());
  std::vector<std::string> paths;
  auto held = co_await blocks();
  if (!held) co_return std::unexpected(held.error());
  for (const auto& [block, owner] : *held) {
    if (owner == cluster.id) paths.push_back(path("blocks", block));
  }
  const auto name = co_await zk_.get(path("names", cluster.name));
  if (name && name->data == cluster.id) paths.push_back(path("names", cluster.name));
  paths.push_back(path("clusters", cluster.id));
  paths.push_back(path("pending", cluster.id));
  for (auto& each : paths) {
    auto removed = co_await zk_.remove(each);
    if (!removed && removed.error().code != ZkCode::no_node) co_return failed(removed.error());
  }
  co_return Stored<>{};
}

// --- operations

Task<Stored<Versioned<Operation>>> Store::operation(std::string cluster_id, std::string id) {
  return read<Operation>(path("operations", cluster_id) + "/" + id);
}

Task<Stored<std::vector<Operation>>> Store::operations(std::string cluster_id) {
  auto all = co_await read_all<Operation>(path("operations", cluster_id));
  if (all) std::ranges::reverse(*all);
  co_return all;
}

Task<Stored<>> Store::forget_old_operations(std::string cluster_id) {
  const auto folder = path("operations", cluster_id);
  auto names = co_await zk_.children(folder);
  if (!names) co_return failed(names.error());
  if (names->size() <= operations_max) co_return Stored<>{};
  auto all = co_await operations(cluster_id);
  if (!all) co_return std::unexpected(all.error());
  for (std::size_t i = operations_max; i < all->size(); ++i) {
    if (!(*all)[i].over()) continue;
    auto removed = co_await zk_.remove(folder + "/" + (*all)[i].id);
    if (!removed && removed.error().code != ZkCode::no_node) co_return failed(removed.error());
  }
  co_return Stored<>{};
}

Task<Stored<>> Store::set_operation(Versioned<Operation> operation) {
  const auto& o = operation.value;
  std::vector<Op> ops;
  ops.push_back(Op::set(path("operations", o.cluster_id) + "/" + o.id, encode(o), operation.version));
  return write(std::move(ops));
}

Task<Stored<>> Store::set_both(Versioned<Operation> operation, Versioned<Cluster> cluster) {
  const auto& o = operation.value;
  std::vector<Op> ops;
  ops.push_back(Op::set(path("operations", o.cluster_id) + "/" + o.id, encode(o), operation.version));
  ops.push_back(Op::set(path("clusters", cluster.value.id), encode(cluster.value), cluster.version));
  return write(std::move(ops));
}

Task<Stored<>> Store::finish(Versioned<Operation> operation, Versioned<Cluster> cluster) {
  const auto& o = operation.value;
  std::vector<Op> ops;
  ops.push_back(Op::set(path("operations", o.cluster_id) + "/" + o.id, encode(o), operation.version));
  ops.push_back(Op::set(path("clusters", cluster.value.id), encode(cluster.value), cluster.version));
  ops.push_back(Op::remove(path("pending", o.cluster_id)));
  return write(std::move(ops));
}

Task<Stored<std::vector<std::string>>> Store::pending(zkclient::Watch watch) {
  auto names = co_await zk_.children(path("pending", {}), std::move(watch));
  if (!names) co_return failed(names.error());
  co_return *names;
}

// --- addresses

Task<Stored<std::map<std::string, std::string>>> Store::blocks() {
  auto names = co_await zk_.children(path("blocks", {}));
  if (!names) co_return failed(names.error());
  std::map<std::string, std::string> out;
  for (const auto& name : *names) {
    auto owner = co_await zk_.get(path("blocks", name));
    if (!owner && owner.error().code != ZkCode::no_node) co_return failed(owner.error());
    if (owner) out.emplace(name, owner->data);
  }
  co_return out;
}

Task<Stored<>> Store::take_block(std::string block, std::string cluster_id) {
  const auto at = path("blocks", block);
  auto made = co_await zk_.create(at, cluster_id);
  if (made) co_return Stored<>{};
  if (made.error().code != ZkCode::node_exists) co_return failed(made.error());
  auto held = co_await zk_.get(at);
  if (held && held->data == cluster_id) co_return Stored<>{};
  co_return failed(made.error());
}

// --- health

Task<Stored<Health>> Store::health() {
  auto data = co_await zk_.get(path("health", {}));
  if (data) co_return decode_health(data->data);
  if (data.error().code == ZkCode::no_node) co_return Health{};
  co_return failed(data.error());
}

Task<Stored<>> Store::set_health(Health health) {
  const auto at = path("health", {});
  const auto text = encode(health);
  auto written = co_await zk_.set(at, text);
  if (!written && written.error().code == ZkCode::no_node) {
    auto made = co_await zk_.create(at, text);
    if (!made) co_return failed(made.error());
  } else if (!written) {
    co_return failed(written.error());
  }
  co_return Stored<>{};
}

// --- configurations

Task<Stored<Versioned<Configuration>>> Store::configuration(std::string id) {
  return read<Configuration>(path("configurations", id));
}
Task<Stored<std::vector<Configuration>>> Store::configurations() {
  return read_all<Configuration>(path("configurations", {}));
}

Task<Stored<>> Store::create_configuration(Configuration configuration) {
  std::vector<Op> ops;
  ops.push_back(Op::create(path("configuration-names", configuration.name), configuration.id));
  ops.push_back(Op::create(path("configurations", configuration.id), encode(configuration)));
  return write(std::move(ops));
}

Task<Stored<>> Store::set_configuration(Versioned<Configuration> configuration) {
  std::vector<Op> ops;
  ops.push_back(
      Op::set(path("configurations", configuration.value.id), encode(configuration.value), configuration.version));
  return write(std::move(ops));
}

Task<Stored<>> Store::remove_configuration(Versioned<Configuration> configuration) {
  std::vector<Op> ops;
  ops.push_back(Op::remove(path("configurations", configuration.value.id), configuration.version));
  ops.push_back(Op::remove(path("configuration-names", configuration.value.name)));
  return write(std::move(ops));
}

// --- VPC connections

Task<Stored<Versioned<VpcConnection>>> Store::vpc_connection(std::string id) {
  return read<VpcConnection>(path("vpc-connections", id));
}
Task<Stored<std::vector<VpcConnection>>> Store::vpc_connections() {
  return read_all<VpcConnection>(path("vpc-connections", {}));
}
Task<Stored<>> Store::create_vpc_connection(VpcConnection connection) {
  std::vector<Op> ops;
  ops.push_back(Op::create(path("vpc-connections", connection.id), encode(connection)));
  return write(std::move(ops));
}
Task<Stored<>> Store::set_vpc_connection(Versioned<VpcConnection> connection) {
  std::vector<Op> ops;
  ops.push_back(Op::set(path("vpc-connections", connection.value.id), encode(connection.value), connection.version));
  return write(std::move(ops));
}
Task<Stored<>> Store::remove_vpc_connection(std::string id) {
  auto removed = co_await zk_.remove(path("vpc-connections", id));
  if (!removed) co_return failed(removed.error());
  co_return Stored<>{};
}

}  // namespace weir::msk
