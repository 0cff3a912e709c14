// GetClusterPolicy, PutClusterPolicy, DeleteClusterPolicy: the policy is kept; nothing here evaluates it.
#include <boost/json.hpp>
#include <utility>

#include "msk/api/api.h"

namespace weir::msk::api {
namespace {

constexpr std::size_t policy_bytes_max = 20 * 1024;

Fault no_policy() { return {FaultType::not_found, "The cluster has no policy.", "clusterArn"}; }

}  // namespace

Task<Answer<Object>> get_cluster_policy(Context& context, const aws::Request& request) {
  auto cluster = co_await labelled_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  if (cluster->value.policy.empty()) co_return std::unexpected(no_policy());
  Object out;
  out["currentVersion"] = text(cluster->value.policy_version);
  out["policy"] = text(cluster->value.policy);
  co_return out;
}

Task<Answer<Object>> put_cluster_policy(Context& context, const aws::Request& request) {
  Params params(*request.body);
  const auto version = params.text("currentVersion");
  const auto policy = params.text("policy", {.min = 1, .max = policy_bytes_max, .required = true});
  if (policy) {
    boost::system::error_code error;
    const auto value = boost::json::parse(*policy, error);
    if (error || !value.is_object() || !value.as_object().contains("Statement")) {
      params.wrong("policy", "Invalid value for parameter policy: it must be a JSON policy document with a Statement.");
    }
  }
  if (const auto& fault = params.fault()) co_return std::unexpected(*fault);
  auto cluster = co_await labelled_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  auto& c = cluster->value;
  if (version && *version != c.policy_version) {
    co_return bad_request("currentVersion",
                          "The version of the policy isn't current. Check the current version and try again.");
  }
  c.policy = *policy;
  c.policy_version = new_version(context.random);
  Object out;
  out["currentVersion"] = text(c.policy_version);
  auto stored = co_await context.store.set_cluster(std::move(*cluster));
  if (!stored) co_return failed(stored.error(), "cluster");
  co_return out;
}

Task<Answer<Object>> delete_cluster_policy(Context& context, const aws::Request& request) {
  auto cluster = co_await labelled_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  if (cluster->value.policy.empty()) co_return std::unexpected(no_policy());
  cluster->value.policy.clear();
  cluster->value.policy_version.clear();
  auto stored = co_await context.store.set_cluster(std::move(*cluster));
  if (!stored) co_return failed(stored.error(), "cluster");
  co_return Object();
}

}  // namespace weir::msk::api
