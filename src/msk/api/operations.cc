// DescribeClusterOperation, DescribeClusterOperationV2, ListClusterOperations, ListClusterOperationsV2.
#include <boost/json.hpp>
#include <utility>

#include "msk/api/api.h"

namespace weir::msk::api {
namespace {

Task<Answer<Operation>> labelled_operation(Context& context, const aws::Request& request) {
  const auto arn = parse_arn(context.options.realm, request.label("clusterOperationArn"));
  if (!arn || arn->kind != operation_kind || arn->rest.empty()) {
    if (request.label("clusterOperationArn").starts_with("arn:")) {
      co_return refuse(FaultType::not_found, "The requested cluster operation does not exist.", "clusterOperationArn");
    }
    co_return bad_request("clusterOperationArn",
                          "Invalid value for parameter clusterOperationArn: it is not the ARN of a cluster operation.");
  }
  auto operation = co_await context.store.operation(arn->id, arn->rest);
  if (!operation) co_return failed(operation.error(), "cluster operation");
  co_return std::move(operation->value);
}

Task<Answer<Object>> list(Context& context, const aws::Request& request, Object (*view)(const Operation&)) {
  auto cluster = co_await labelled_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  auto all = co_await context.store.operations(cluster->value.id);
  if (!all) co_return failed(all.error(), "cluster");
  const auto keys = keys_of(*all, [](const Operation& o) { return latest_first_key(o.created, o.id); });
  co_return listed(request, "clusterOperationInfoList", keys, [&](std::size_t i) { return view((*all)[i]); });
}

// What an operation that goes on waits for. SDKs and Terraform look at the state alone, and tell of this when they have
// waited too long.
Object with_wait(const Context& context, const Operation& operation, Object info) {
  if (operation.over() || info.contains("errorInfo")) return info;
  const auto waiting = context.driver.waiting_for(operation.cluster_id);
  if (!waiting.empty()) info["errorInfo"] = Object{{"errorCode", "WAITING"}, {"errorString", text(waiting)}};
  return info;
}

}  // namespace

Task<Answer<Object>> describe_cluster_operation(Context& context, const aws::Request& request) {
  auto operation = co_await labelled_operation(context, request);
  if (!operation) co_return std::unexpected(operation.error());
  Object out;
  out["clusterOperationInfo"] = with_wait(context, *operation, operation_info(*operation));
  co_return out;
}

Task<Answer<Object>> describe_cluster_operation_v2(Context& context, const aws::Request& request) {
  auto operation = co_await labelled_operation(context, request);
  if (!operation) co_return std::unexpected(operation.error());
  Object out;
  out["clusterOperationInfo"] = with_wait(context, *operation, operation_info_v2(*operation));
  co_return out;
}

Task<Answer<Object>> list_cluster_operations(Context& context, const aws::Request& request) {
  return list(context, request, operation_info);
}

Task<Answer<Object>> list_cluster_operations_v2(Context& context, const aws::Request& request) {
  return list(context, request, operation_summary_v2);
}

}  // namespace weir::msk::api
