// FindCoordinator, versions 0 to 6.
//   1 kinds of keys   3 flexible   4 several keys (KIP-699)   5, 6 only new meanings of errors
// Where this differs from Kafka: transaction coordinators are refused (transactions are not served yet).

#include <string>
#include <utility>

#include "broker/api/handlers.h"
#include "broker/groups.h"
#include "broker/node.h"
#include "broker/texts.h"
#include "broker/topics.h"
#include "cluster/topic_name.h"
#include "protocol/messages/find_coordinator.h"

namespace weir::broker::api {
namespace {

constexpr std::int8_t group_key = 0;

Task<protocol::FindCoordinatorResponse::Coordinator> find(Request& request, std::string_view key, std::int8_t key_type,
                                                          Texts& texts) {
  auto& node = request.node();
  protocol::FindCoordinatorResponse::Coordinator out;
  out.key = key;
  out.node_id = -1;
  out.port = -1;
  if (key_type != group_key) {
    out.error_code = static_cast<std::int16_t>(ErrorCode::INVALID_REQUEST);
    out.error_message = key_type == 1 ? "transactions are not supported by this broker yet"
                                      : "only coordinators of consumer groups are supported by this broker";
    co_return out;
  }
  if (!node.image()->topic(cluster::group_metadata_topic)) {
    (void)co_await auto_create_topic(node, std::string(cluster::group_metadata_topic));
  }
  auto led = [&node, key](const cluster::Image& now) {
    const auto groups = now.topic(cluster::group_metadata_topic);
    if (!groups) return true;
    const auto id = PartitionId{node.groups->partition_of(key, static_cast<std::int32_t>(groups->partitions.size()))};
    const auto* at = groups->partitions.find(id);
    return at == nullptr || at->leader.value < 0 || now.alive(at->leader);
  };
  co_await node.news_of_lost(std::move(led), false);
  const auto image = node.image();
  const auto topic = image->topic(cluster::group_metadata_topic);
  const cluster::Partition* partition = nullptr;
  if (topic) {
    partition = topic->partitions.find(
        PartitionId{node.groups->partition_of(key, static_cast<std::int32_t>(topic->partitions.size()))});
  }
  const auto* endpoint =
      partition == nullptr ? nullptr : image->leader_endpoint(*partition, request.connection().listener());
  if (endpoint == nullptr) {
    out.error_code = static_cast<std::int16_t>(ErrorCode::COORDINATOR_NOT_AVAILABLE);
    co_return out;
  }
  out.node_id = partition->leader.value;
  out.host = texts.keep(endpoint->host);
  out.port = endpoint->port;
  co_return out;
}

}  // namespace

Task<Response> find_coordinator(Request& request) {
  protocol::FindCoordinatorRequest in;
  if (!request.read(in)) co_return Response::malformed();
  protocol::FindCoordinatorResponse out;
  Texts texts;
  if (request.version() < 4) {
    auto found = co_await find(request, in.key, in.key_type, texts);
    out.error_code = found.error_code;
    out.error_message = found.error_message;
    out.node_id = found.node_id;
    out.host = found.host;
    out.port = found.port;
    co_return request.answer(out);
  }
  for (const auto key : in.coordinator_keys) {
    auto found = co_await find(request, key, in.key_type, texts);
    out.coordinators.push_back(std::move(found));
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
