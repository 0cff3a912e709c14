#include "broker/inter/link.h"

#include <string>
#include <utility>

#include "base/log.h"
#include "broker/inter/orders_wire.h"

namespace weir::broker {

using controller::OrderAnswer;
using runtime::Task;

Link::Link(Node& node, Orders& own, runtime::Sockets& sockets, client::ConnectionOptions options)
    : node_(node), own_(own), peers_(*node.control, sockets, std::move(options)) {}

void Link::know_brokers(std::vector<std::shared_ptr<const cluster::Broker>> alive) {
  auto before = std::exchange(alive_, {});
  for (auto& broker : alive) alive_.emplace(broker->id, std::move(broker));
  for (const auto& [id, broker] : before) {
    const auto now = alive_.find(id);
    if (now == alive_.end() || now->second->epoch != broker->epoch || now->second->endpoints != broker->endpoints) {
      peers_.drop(id);
    }
  }
}

Task<Result<std::shared_ptr<client::Connection>>> Link::reach(BrokerId to, BrokerEpoch epoch) {
  const auto found = alive_.find(to);
  if (found == alive_.end()) {
    co_return fail(ErrorCode::BROKER_NOT_AVAILABLE, fmt::format("broker {} is not alive", to.value));
  }
  const auto live = node_.config();
  const auto& listener = live->config.inter_broker_listener;
  const auto* endpoint = found->second->endpoint(listener);
  if (endpoint == nullptr) {
    co_return fail(ErrorCode::BROKER_NOT_AVAILABLE,
                   fmt::format("broker {} has no listener {} (inter.broker.listener.name)", to.value, listener));
  }
  co_return co_await peers_.to(to, {endpoint->host, static_cast<std::uint16_t>(endpoint->port)}, epoch.value);
}

Task<Result<OrderAnswer>> Link::leader_and_isr(BrokerId to, controller::LeaderAndIsrOrder order) {
  if (to == node_.id) co_return co_await own_.leader_and_isr(std::move(order));
  auto connection = co_await reach(to, order.head.broker_epoch);
  if (!connection) co_return std::unexpected(connection.error());
  using Message = protocol::LeaderAndIsrRequest;
  const auto level = leader_and_isr_version(node_.config()->config.inter_broker_protocol);
  const auto version =
      (*connection)->version_for(Message::api_key, Message::version_min, Message::version_max, {0, level});
  if (!version) co_return std::unexpected(version.error());
  auto answer =
      co_await (*connection)->call<protocol::LeaderAndIsrResponse>(to_message(order, *version), {*version, *version});
  if (!answer) co_return std::unexpected(answer.error());
  co_return to_answer(answer->message, order, *version);
}

Task<Result<>> Link::update_metadata(BrokerId to, controller::UpdateMetadataOrder order) {
  if (to == node_.id) co_return co_await own_.update_metadata(std::move(order));
  auto connection = co_await reach(to, order.head.broker_epoch);
  if (!connection) co_return std::unexpected(connection.error());
  using Message = protocol::UpdateMetadataRequest;
  const auto level = update_metadata_version(node_.config()->config.inter_broker_protocol);
  const auto version =
      (*connection)->version_for(Message::api_key, Message::version_min, Message::version_max, {0, level});
  if (!version) co_return std::unexpected(version.error());
  auto answer =
      co_await (*connection)->call<protocol::UpdateMetadataResponse>(to_message(order, *version), {*version, *version});
  if (!answer) co_return std::unexpected(answer.error());
  const auto code = static_cast<ErrorCode>(answer->message.error_code);
  if (code != ErrorCode::NONE) co_return fail(code, fmt::format("UpdateMetadata was answered with {}", name(code)));
  co_return Result<>{};
}

Task<Result<OrderAnswer>> Link::stop_replica(BrokerId to, controller::StopReplicaOrder order) {
  if (to == node_.id) co_return co_await own_.stop_replica(std::move(order));
  auto connection = co_await reach(to, order.head.broker_epoch);
  if (!connection) co_return std::unexpected(connection.error());
  using Message = protocol::StopReplicaRequest;
  const auto level = stop_replica_version(node_.config()->config.inter_broker_protocol);
  const auto version =
      (*connection)->version_for(Message::api_key, Message::version_min, Message::version_max, {0, level});
  if (!version) co_return std::unexpected(version.error());
  OrderAnswer all;
  for (auto& message : to_messages(order, *version)) {
    auto answer = co_await (*connection)->call<protocol::StopReplicaResponse>(std::move(message), {*version, *version});
    if (!answer) co_return std::unexpected(answer.error());
    auto part = to_answer(answer->message);
    if (!part) co_return part;
    all.insert(all.end(), std::make_move_iterator(part->begin()), std::make_move_iterator(part->end()));
  }
  co_return all;
}

}  // namespace weir::broker
