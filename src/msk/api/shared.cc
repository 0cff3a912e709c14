#include <fmt/format.h>

#include <boost/json.hpp>
#include <utility>

#include "msk/api/api.h"
#include "msk/kafka.h"
#include "provision/instance_type.h"

namespace weir::msk::api {

namespace json = boost::json;

Fault fault_of(const StoreError& error, std::string_view what) {
  using Kind = StoreError::Kind;
  switch (error.kind) {
    case Kind::missing: return {FaultType::not_found, fmt::format("The requested {} does not exist.", what), {}};
    case Kind::exists: return {FaultType::conflict, "A resource with this name already exists.", {}};
    case Kind::conflict:
      return {FaultType::too_many_requests,
              fmt::format("The {} is being changed by another request. Try again.", what),
              {}};
    case Kind::unavailable:
      return {FaultType::unavailable, "The coordination service cannot be reached. Try again.", {}};
    case Kind::corrupt: return {FaultType::internal, fmt::format("The record of the {} cannot be read.", what), {}};
  }
  return {};
}

std::unexpected<Fault> failed(const StoreError& error, std::string_view what) {
  return std::unexpected(fault_of(error, what));
}

Task<Answer<Versioned<Cluster>>> find_cluster(Context& context, std::string text, std::string parameter) {
  const auto arn = parse_arn(context.options.realm, text);
  if (!arn || arn->kind != cluster_kind) {
    // What is an ARN of elsewhere, or of another account, is not here; what is none is a mistake.
    if (text.starts_with("arn:") && text.find(":cluster/") != std::string::npos) {
      co_return refuse(FaultType::not_found, "The requested cluster does not exist.", parameter);
    }
    co_return bad_request(parameter,
                          fmt::format("Invalid value for parameter {}: it is not the ARN of a cluster.", parameter));
  }
  auto cluster = co_await context.store.cluster(arn->id);
  if (!cluster) co_return failed(cluster.error(), "cluster");
  if (cluster->value.name != arn->name) {
    co_return refuse(FaultType::not_found, "The requested cluster does not exist.", parameter);
  }
  co_return std::move(*cluster);
}

Task<Answer<Versioned<Cluster>>> labelled_cluster(Context& context, const aws::Request& request) {
  return find_cluster(context, std::string(request.label("clusterArn")));
}

KafkaView kafka_of(Context& context, const Cluster& cluster) { return {&context.shard, &context.zk, cluster.chroot()}; }

ClusterState shown_state(const Context& context, const Cluster& cluster) {
  if (cluster.state == ClusterState::active && context.driver.ailment(cluster.id)) return ClusterState::healing;
  return cluster.state;
}

Answer<> may_change(const Context& context, const Cluster& cluster, std::string_view current_version) {
  if (current_version != cluster.current_version) {
    return bad_request("currentVersion", std::string(stale_version));
  }
  const auto state = shown_state(context, cluster);
  if (state != ClusterState::active) {
    return bad_request(
        "clusterArn",
        fmt::format("The cluster is in the {} state. It can be changed in the ACTIVE state.", name(state)));
  }
  return {};
}

Operation new_operation(const Context& context, const Cluster& cluster, std::string_view type, ClusterSpec to) {
  Operation out;
  out.id = new_uuid(context.random);
  out.arn = arn_text(context.options.realm, operation_kind, cluster.name, cluster.id, out.id);
  out.cluster_id = cluster.id;
  out.cluster_arn = cluster.arn;
  out.type = type;
  out.request_id = new_uuid(context.random);
  out.created = context.now();
  out.from = cluster.spec;
  out.to = std::move(to);
  return out;
}

Task<Answer<Object>> begin_operation(Context& context, Versioned<Cluster> cluster, Operation operation,
                                     ClusterState state) {
  operation.steps = plan(operation, cluster.value);
  cluster.value.state = state;
  cluster.value.active_operation = operation.id;
  Object answer;
  answer["clusterArn"] = text(cluster.value.arn);
  answer["clusterOperationArn"] = text(operation.arn);
  auto begun = co_await context.store.begin(std::move(cluster), std::move(operation));
  if (!begun) {
    if (begun.error().kind == StoreError::Kind::exists || begun.error().kind == StoreError::Kind::conflict) {
      co_return bad_request("currentVersion", std::string(stale_version));
    }
    co_return failed(begun.error(), "cluster");
  }
  context.driver.kick();
  co_return answer;
}

Answer<Page> page_of(const aws::Request& request, const std::vector<std::string>& keys) {
  auto scope = request.operation;
  for (const auto& [name, value] : request.labels) scope.append("\n").append(value);
  return msk::page_of(request.parameter("maxResults"), request.parameter("nextToken"), scope, keys);
}

Answer<Object> listed(const aws::Request& request, std::string_view member, const std::vector<std::string>& keys,
                      const std::function<json::value(std::size_t)>& view) {
  const auto page = page_of(request, keys);
  if (!page) return std::unexpected(page.error());
  json::array list;
  for (const auto i : page->items) list.push_back(view(i));
  Object out;
  out[member] = std::move(list);
  if (!page->next.empty()) out["nextToken"] = text(page->next);
  return out;
}

namespace {

template <class Known>
std::string unsupported(std::string_view what, std::string_view name, const Known& all) {
  std::vector<std::string_view> names;
  for (const auto& known : all) names.push_back(known.name);
  return fmt::format("Unsupported {} [{}]. Valid values: [{}]", what, name, fmt::join(names, ", "));
}

}  // namespace

void check_instance_type(Params& params, std::string_view parameter, std::string_view name) {
  if (name.starts_with("express.")) return params.wrong(parameter, "Express brokers are not supported yet.");
  if (!provision::find_instance_type(name)) {
    params.wrong(parameter, unsupported("InstanceType", name, provision::instance_types()));
  }
}

void check_kafka_version(Params& params, std::string_view parameter, std::string_view name) {
  if (find_kafka_version(name) == nullptr) params.wrong(parameter, unsupported("KafkaVersion", name, kafka_versions()));
}

void check_broker_count(Params& params, std::string_view parameter, std::int64_t count, std::size_t zones) {
  if (zones == 0 || count % static_cast<std::int64_t>(zones) == 0) return;
  params.wrong(parameter,
               fmt::format("Invalid value for parameter {}: {}. The number of broker nodes must be a multiple of the "
                           "number of Availability Zones, which is {}.",
                           parameter, count, zones));
}

json::value text(std::string_view value) { return json::value(json::string(value)); }

Object json_of(const Json& text) {
  boost::system::error_code error;
  auto value = json::parse(text, error);
  return !error && value.is_object() ? std::move(value.as_object()) : Object();
}

Object tags_of(const Tags& tags) {
  Object out;
  for (const auto& [key, value] : tags) out.emplace(key, text(value));
  return out;
}

json::array texts_of(const std::vector<std::string>& list) {
  json::array out;
  for (const auto& item : list) out.push_back(text(item));
  return out;
}

}  // namespace weir::msk::api
