// VPC connections: records only. There is no network of Amazon's here; what clients connect to is the bootstrap
// brokers.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "msk/api/api.h"

namespace weir::msk::api {
namespace {

Object view(const VpcConnection& c) {
  Object out;
  out["vpcConnectionArn"] = text(c.arn);
  out["state"] = text(c.state);
  out["authentication"] = text(c.authentication);
  out["vpcId"] = text(c.vpc_id);
  out["creationTime"] = text(iso8601(c.created));
  return out;
}

Task<Answer<Versioned<VpcConnection>>> find(Context& context, std::string text, std::string parameter) {
  const auto arn = parse_arn(context.options.realm, text);
  if (!arn || arn->kind != vpc_connection_kind) {
    if (text.starts_with("arn:")) {
      co_return refuse(FaultType::not_found, "The requested VPC connection does not exist.", parameter);
    }
    co_return bad_request(
        parameter, fmt::format("Invalid value for parameter {}: it is not the ARN of a VPC connection.", parameter));
  }
  auto found = co_await context.store.vpc_connection(arn->id);
  if (!found) co_return failed(found.error(), "VPC connection");
  co_return std::move(*found);
}

Task<Answer<Object>> list(Context& context, const aws::Request& request, std::string cluster_id) {
  auto all = co_await context.store.vpc_connections();
  if (!all) co_return failed(all.error(), "VPC connection");
  const bool of_cluster = !cluster_id.empty();
  if (of_cluster) std::erase_if(*all, [&](const VpcConnection& c) { return c.cluster_id != cluster_id; });
  const auto keys = keys_of(*all, [](const VpcConnection& c) { return time_key(c.created, c.id); });
  co_return listed(request, of_cluster ? "clientVpcConnections" : "vpcConnections", keys, [&](std::size_t i) {
    auto entry = view((*all)[i]);
    if (of_cluster) {
      entry.erase("vpcId");
      entry["owner"] = text(context.options.realm.account);
    } else {
      entry["targetClusterArn"] = text((*all)[i].cluster_arn);
    }
    return entry;
  });
}

}  // namespace

Task<Answer<Object>> create_vpc_connection(Context& context, const aws::Request& request) {
  Params params(*request.body);
  const auto arn = params.text("targetClusterArn", {.min = 1, .required = true});
  const auto authentication = params.one_of("authentication", {"SASL_IAM", "SASL_SCRAM", "TLS"}, true);
  const auto vpc = params.text("vpcId", {.min = 1, .max = 256, .required = true});
  const auto subnets = params.texts("clientSubnets", {.min = 1, .max = 16, .required = true}, {.min = 1, .max = 256});
  const auto groups = params.texts("securityGroups", {.min = 1, .max = 16, .required = true}, {.min = 1, .max = 256});
  const auto tags = params.tags("tags");
  if (authentication && *authentication != "TLS") {
    params.wrong("authentication",
                 fmt::format("The authentication {} of Kafka clients is not supported yet.", *authentication));
  }
  if (const auto& fault = params.fault()) co_return std::unexpected(*fault);
  auto cluster = co_await find_cluster(context, *arn, "targetClusterArn");
  if (!cluster) co_return std::unexpected(cluster.error());
  VpcConnection made;
  made.id = new_id(context.random);
  made.name = cluster->value.name;
  made.arn = arn_text(context.options.realm, vpc_connection_kind, made.name, made.id);
  made.cluster_arn = cluster->value.arn;
  made.cluster_id = cluster->value.id;
  made.authentication = *authentication;
  made.vpc_id = *vpc;
  made.subnets = *subnets;
  made.security_groups = *groups;
  made.created = context.now();
  made.tags = tags.value_or(Tags{});
  auto stored = co_await context.store.create_vpc_connection(made);
  if (!stored) co_return failed(stored.error(), "VPC connection");
  auto out = view(made);
  out["clientSubnets"] = texts_of(made.subnets);
  out["securityGroups"] = texts_of(made.security_groups);
  out["tags"] = tags_of(made.tags);
  co_return out;
}

Task<Answer<Object>> describe_vpc_connection(Context& context, const aws::Request& request) {
  auto found = co_await find(context, std::string(request.label("arn")), "arn");
  if (!found) co_return std::unexpected(found.error());
  auto out = view(found->value);
  out["targetClusterArn"] = text(found->value.cluster_arn);
  out["subnets"] = texts_of(found->value.subnets);
  out["securityGroups"] = texts_of(found->value.security_groups);
  out["tags"] = tags_of(found->value.tags);
  co_return out;
}

Task<Answer<Object>> delete_vpc_connection(Context& context, const aws::Request& request) {
  auto found = co_await find(context, std::string(request.label("arn")), "arn");
  if (!found) co_return std::unexpected(found.error());
  auto removed = co_await context.store.remove_vpc_connection(found->value.id);
  if (!removed) co_return failed(removed.error(), "VPC connection");
  Object out;
  out["vpcConnectionArn"] = text(found->value.arn);
  out["state"] = "DELETING";
  co_return out;
}

Task<Answer<Object>> list_vpc_connections(Context& context, const aws::Request& request) {
  return list(context, request, {});
}

Task<Answer<Object>> list_client_vpc_connections(Context& context, const aws::Request& request) {
  auto cluster = co_await labelled_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  co_return co_await list(context, request, cluster->value.id);
}

Task<Answer<Object>> reject_client_vpc_connection(Context& context, const aws::Request& request) {
  Params params(*request.body);
  const auto arn = params.text("vpcConnectionArn", {.min = 1, .required = true});
  if (const auto& fault = params.fault()) co_return std::unexpected(*fault);
  auto cluster = co_await labelled_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  auto found = co_await find(context, *arn, "vpcConnectionArn");
  if (!found) co_return std::unexpected(found.error());
  if (found->value.cluster_id != cluster->value.id) {
    co_return bad_request("vpcConnectionArn", "The VPC connection is not one of this cluster.");
  }
  found->value.state = "REJECTED";
  auto stored = co_await context.store.set_vpc_connection(std::move(*found));
  if (!stored) co_return failed(stored.error(), "VPC connection");
  co_return Object();
}

}  // namespace weir::msk::api
