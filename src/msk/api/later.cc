// What there is none of yet: ListScramSecrets and ListReplicators answer empty lists; a replicator that is asked for
// does not exist.
#include <boost/json.hpp>

#include "msk/api/api.h"

namespace weir::msk::api {
namespace {

Answer<Object> nothing(const aws::Request& request, std::string_view member) {
  return listed(request, member, {}, [](std::size_t) { return boost::json::value(); });
}

}  // namespace

Task<Answer<Object>> list_scram_secrets(Context& context, const aws::Request& request) {
  auto cluster = co_await labelled_cluster(context, request);
  if (!cluster) co_return std::unexpected(cluster.error());
  co_return nothing(request, "secretArnList");
}

Task<Answer<Object>> list_replicators(Context&, const aws::Request& request) {
  co_return nothing(request, "replicators");
}

Task<Answer<Object>> no_such_replicator(Context&, const aws::Request& request) {
  if (!request.label("replicatorArn").starts_with("arn:")) {
    co_return bad_request("replicatorArn", "Invalid value for parameter replicatorArn: it is not an ARN.");
  }
  co_return refuse(FaultType::not_found, "The requested replicator does not exist: replicators are not supported yet.",
                   "replicatorArn");
}

}  // namespace weir::msk::api
