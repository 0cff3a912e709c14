// DescribeCluster (KIP-700), versions 0 to 1.
//   1 the kind of endpoints asked for: brokers; controllers are a KRaft cluster's affair

#include <string>
#include <utility>

#include "broker/api/handlers.h"
#include "broker/node.h"
#include "broker/operations.h"
#include "protocol/messages/describe_cluster.h"

namespace weir::broker::api {

Task<Response> describe_cluster(Request& request) {
  protocol::DescribeClusterRequest in;
  if (!request.read(in)) co_return Response::malformed();
  auto& node = request.node();
  protocol::DescribeClusterResponse out;
  out.endpoint_type = in.endpoint_type;
  if (in.endpoint_type != 1) {
    out.error_code = static_cast<std::int16_t>(in.endpoint_type == 2 ? ErrorCode::MISMATCHED_ENDPOINT_TYPE
                                                                     : ErrorCode::UNSUPPORTED_ENDPOINT_TYPE);
    out.error_message = "this is a broker's endpoint";
    co_return request.answer(out);
  }
  const auto image = node.image();
  out.cluster_id = node.cluster_id;
  out.controller_id = image->controller().value;
  if (in.include_cluster_authorized_operations) out.cluster_authorized_operations = cluster_operations;
  for (const auto& [id, broker] : image->brokers()) {
    const auto* endpoint = broker->endpoint(request.connection().listener());
    if (endpoint == nullptr) continue;
    auto& to = out.brokers.emplace_back();
    to.broker_id = id.value;
    to.host = endpoint->host;
    to.port = endpoint->port;
    if (broker->rack) to.rack = *broker->rack;
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
