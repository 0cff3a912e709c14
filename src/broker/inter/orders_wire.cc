#include "broker/inter/orders_wire.h"

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "cluster/topic_name.h"

namespace weir::broker {

using config::KafkaVersion;
using controller::LeaderAndIsrOrder;
using controller::OrderAnswer;
using controller::PartitionRef;
using controller::StopReplicaOrder;
using controller::UpdateMetadataOrder;

namespace {

// From which level on which version; newest first.
struct Step {
  KafkaVersion from;
  std::int16_t version;
};
template <std::size_t N>
std::int16_t version_at(KafkaVersion level, const Step (&steps)[N]) {
  for (const auto& step : steps) {
    if (level >= step.from) return step.version;
  }
  return 0;
}

std::vector<std::int32_t> numbers(const std::vector<BrokerId>& ids) {
  std::vector<std::int32_t> out;
  out.reserve(ids.size());
  for (const auto id : ids) out.push_back(id.value);
  return out;
}
std::vector<BrokerId> brokers(const std::vector<std::int32_t>& numbers) {
  std::vector<BrokerId> out;
  out.reserve(numbers.size());
  for (const auto number : numbers) out.emplace_back(number);
  return out;
}

Uuid id_of(const std::map<std::string, Uuid>& ids, const std::string& topic) {
  const auto found = ids.find(topic);
  return found == ids.end() ? Uuid{} : found->second;
}

Result<> check_head(bool kraft) {
  if (kraft) return fail(ErrorCode::INVALID_REQUEST, "orders of a KRaft controller are not taken");
  return {};
}
// What is ordered becomes folders and tables: names and numbers are those that there can be.
constexpr std::int32_t partitions_max = 1'000'000;
constexpr std::size_t topic_shown_max = 300;
// What is none is left out, by name, and the rest of the order is carried out.
ErrorCode check_partition(std::string_view what, std::string_view topic, std::int32_t partition) {
  const auto fine = cluster::validate_name_of_existing(topic);
  if (fine && partition < partitions_max && cluster::folder_fits(topic, partition)) return ErrorCode::NONE;
  WEIR_LOG_LIMITED(error, std::chrono::seconds(5), "{}: \"{}\"-{} is left out: {}", what,
                   topic.substr(0, topic_shown_max), partition,
                   fine ? "there can be no such partition" : fine.error().message);
  return fine ? ErrorCode::UNKNOWN_TOPIC_OR_PARTITION : ErrorCode::INVALID_TOPIC_EXCEPTION;
}

// The protocol of a listener by the number that requests use, and back.
std::int16_t number_of_protocol(std::string_view name) {
  if (name == "SSL") return 1;
  if (name == "SASL_PLAINTEXT") return 2;
  if (name == "SASL_SSL") return 3;
  return 0;
}
std::string_view protocol_of_number(std::int16_t number) {
  switch (number) {
    case 1: return "SSL";
    case 2: return "SASL_PLAINTEXT";
    case 3: return "SASL_SSL";
    default: return "PLAINTEXT";
  }
}

}  // namespace

std::int16_t leader_and_isr_version(KafkaVersion level) {
  static constexpr Step steps[] = {{{3, 4}, 7}, {{3, 2}, 6}, {{2, 8}, 5}, {{2, 4}, 4}, {{2, 2}, 2}, {{1, 0}, 1}};
  return version_at(level, steps);
}
std::int16_t stop_replica_version(KafkaVersion level) {
  static constexpr Step steps[] = {{{3, 4}, 4}, {{2, 6}, 3}, {{2, 4}, 2}, {{2, 2}, 1}};
  return version_at(level, steps);
}
std::int16_t update_metadata_version(KafkaVersion level) {
  static constexpr Step steps[] = {{{3, 4}, 8}, {{2, 8}, 7}, {{2, 4}, 6}, {{2, 2}, 5}, {{1, 0}, 4}};
  return version_at(level, steps);
}

std::int16_t fetch_version(KafkaVersion level) {
  static constexpr Step steps[] = {{{3, 9}, 17}, {{3, 7}, 16}, {{3, 5}, 15}, {{3, 1}, 13}, {{2, 7}, 12},
                                   {{2, 3}, 11}, {{2, 1}, 10}, {{2, 0}, 8},  {{1, 1}, 7},  {{0, 0}, 5}};
  return version_at(level, steps);
}
std::int16_t offset_for_leader_epoch_version(KafkaVersion level) {
  static constexpr Step steps[] = {{{2, 8}, 4}, {{2, 3}, 3}, {{2, 1}, 2}, {{2, 0}, 1}};
  return version_at(level, steps);
}

// ---- LeaderAndIsr

protocol::LeaderAndIsrRequest to_message(const LeaderAndIsrOrder& order, std::int16_t version) {
  using Message = protocol::LeaderAndIsrRequest;
  Message out;
  out.controller_id = order.head.controller.value;
  out.controller_epoch = order.head.controller_epoch.value;
  out.broker_epoch = order.head.broker_epoch.value;
  std::map<std::string_view, std::size_t> topics;
  for (const auto& item : order.partitions) {
    Message::LeaderAndIsrPartitionState to;
    to.partition_index = item.at.partition.value;
    to.controller_epoch = item.state.controller_epoch.value;
    to.leader = item.state.leader.value;
    to.leader_epoch = item.state.leader_epoch.value;
    to.isr = numbers(item.state.isr);
    to.partition_epoch = item.state.version;
    to.replicas = numbers(item.state.replicas);
    to.adding_replicas = numbers(item.state.adding);
    to.removing_replicas = numbers(item.state.removing);
    to.is_new = item.is_new;
    to.leader_recovery_state = item.state.leader_recovery_state;
    if (version < 2) {
      to.topic_name = item.at.topic;
      out.ungrouped_partition_states.push_back(std::move(to));
      continue;
    }
    const auto [at, fresh] = topics.emplace(item.at.topic, out.topic_states.size());
    if (fresh) {
      auto& topic = out.topic_states.emplace_back();
      topic.topic_name = item.at.topic;
      topic.topic_id = id_of(order.topic_ids, item.at.topic);
    }
    out.topic_states[at->second].partition_states.push_back(std::move(to));
  }
  for (const auto& leader : order.leaders) {
    auto& to = out.live_leaders.emplace_back();
    to.broker_id = leader.id.value;
    to.host_name = leader.host;
    to.port = leader.port;
  }
  return out;
}

Result<LeaderAndIsrOrder> to_order(const protocol::LeaderAndIsrRequest& message, std::int16_t version) {
  if (auto fine = check_head(message.is_kraft_controller); !fine) return std::unexpected(fine.error());
  LeaderAndIsrOrder order;
  order.head = {BrokerId{message.controller_id}, ControllerEpoch{message.controller_epoch},
                BrokerEpoch{message.broker_epoch}};
  constexpr std::int8_t full = 2;  // AbstractControlRequest.Type
  order.full = message.type == full;
  const auto take = [&order](std::string_view topic, const auto& from) {
    if (const auto code = check_partition("LeaderAndIsr", topic, from.partition_index); code != ErrorCode::NONE) {
      order.left_out.push_back({{std::string(topic), PartitionId{from.partition_index}}, code});
      return;
    }
    auto& item = order.partitions.emplace_back();
    item.at = {std::string(topic), PartitionId{from.partition_index}};
    item.is_new = from.is_new;
    auto& state = item.state;
    state.controller_epoch = ControllerEpoch{from.controller_epoch};
    state.leader = BrokerId{from.leader};
    state.leader_epoch = LeaderEpoch{from.leader_epoch};
    state.isr = brokers(from.isr);
    state.version = from.partition_epoch;
    state.replicas = brokers(from.replicas);
    state.adding = brokers(from.adding_replicas);
    state.removing = brokers(from.removing_replicas);
    state.leader_recovery_state = from.leader_recovery_state;
  };
  if (version < 2) {
    for (const auto& each : message.ungrouped_partition_states) take(each.topic_name, each);
  }
  for (const auto& topic : message.topic_states) {
    if (!topic.topic_id.is_zero()) order.topic_ids[std::string(topic.topic_name)] = topic.topic_id;
    for (const auto& each : topic.partition_states) take(topic.topic_name, each);
  }
  for (const auto& leader : message.live_leaders) {
    order.leaders.push_back({BrokerId{leader.broker_id}, std::string(leader.host_name), leader.port});
  }
  return order;
}

protocol::LeaderAndIsrResponse to_message(const OrderAnswer& answer, const LeaderAndIsrOrder& order,
                                          std::int16_t version) {
  protocol::LeaderAndIsrResponse out;
  std::map<std::string_view, std::size_t> topics;
  for (const auto& each : answer) {
    protocol::LeaderAndIsrResponse::LeaderAndIsrPartitionError to;
    to.topic_name = each.at.topic;
    to.partition_index = each.at.partition.value;
    to.error_code = static_cast<std::int16_t>(each.error);
    if (version < 5) {
      out.partition_errors.push_back(to);
      continue;
    }
    const auto [at, fresh] = topics.emplace(each.at.topic, out.topics.size());
    if (fresh) out.topics.emplace_back().topic_id = id_of(order.topic_ids, each.at.topic);
    out.topics[at->second].partition_errors.push_back(to);
  }
  return out;
}

Result<OrderAnswer> to_answer(const protocol::LeaderAndIsrResponse& message, const LeaderAndIsrOrder& order,
                              std::int16_t version) {
  if (message.error_code != 0) {
    const auto code = static_cast<ErrorCode>(message.error_code);
    return fail(code, fmt::format("LeaderAndIsr was answered with {}", name(code)));
  }
  OrderAnswer answer;
  if (version < 5) {
    for (const auto& each : message.partition_errors) {
      answer.push_back(
          {{std::string(each.topic_name), PartitionId{each.partition_index}}, static_cast<ErrorCode>(each.error_code)});
    }
    return answer;
  }
  std::map<Uuid, std::string> names;
  for (const auto& [topic, id] : order.topic_ids) names[id] = topic;
  for (const auto& topic : message.topics) {
    const auto found = names.find(topic.topic_id);
    if (found == names.end()) continue;  // of a topic that was not asked for, or has no id
    for (const auto& each : topic.partition_errors) {
      answer.push_back({{found->second, PartitionId{each.partition_index}}, static_cast<ErrorCode>(each.error_code)});
    }
  }
  return answer;
}

// ---- StopReplica

std::vector<protocol::StopReplicaRequest> to_messages(const StopReplicaOrder& order, std::int16_t version) {
  using Message = protocol::StopReplicaRequest;
  std::vector<Message> out;
  const auto add = [&](bool remove, const auto& belongs) {
    Message message;
    message.controller_id = order.head.controller.value;
    message.controller_epoch = order.head.controller_epoch.value;
    message.broker_epoch = order.head.broker_epoch.value;
    message.delete_partitions = remove;
    std::map<std::string_view, std::size_t> topics;
    for (const auto& item : order.partitions) {
      if (!belongs(item)) continue;
      const auto partition = item.at.partition.value;
      if (version == 0) {
        auto& to = message.ungrouped_partitions.emplace_back();
        to.topic_name = item.at.topic;
        to.partition_index = partition;
        continue;
      }
      const auto [at, fresh] = topics.emplace(item.at.topic, topics.size());
      if (version < 3) {
        if (fresh) message.topics.emplace_back().name = item.at.topic;
        message.topics[at->second].partition_indexes.push_back(partition);
        continue;
      }
      if (fresh) message.topic_states.emplace_back().topic_name = item.at.topic;
      auto& to = message.topic_states[at->second].partition_states.emplace_back();
      to.partition_index = partition;
      to.leader_epoch = item.leader_epoch.value;
      to.delete_partition = item.remove;
    }
    if (!message.ungrouped_partitions.empty() || !message.topics.empty() || !message.topic_states.empty()) {
      out.push_back(std::move(message));
    }
  };
  if (version >= 3) {
    add(false, [](const auto&) { return true; });
  } else {
    add(true, [](const auto& item) { return item.remove; });
    add(false, [](const auto& item) { return !item.remove; });
  }
  return out;
}

Result<StopReplicaOrder> to_order(const protocol::StopReplicaRequest& message, std::int16_t version) {
  if (auto fine = check_head(message.is_kraft_controller); !fine) return std::unexpected(fine.error());
  StopReplicaOrder order;
  order.head = {BrokerId{message.controller_id}, ControllerEpoch{message.controller_epoch},
                BrokerEpoch{message.broker_epoch}};
  const auto take = [&order](std::string_view topic, std::int32_t partition, LeaderEpoch epoch, bool remove) {
    PartitionRef at{std::string(topic), PartitionId{partition}};
    if (check_partition("StopReplica", topic, partition) == ErrorCode::NONE) {
      order.partitions.push_back({std::move(at), epoch, remove});
    } else {
      order.left_out.push_back({std::move(at), ErrorCode::NONE});  // it is not here, as is wanted
    }
  };
  if (version == 0) {
    for (const auto& each : message.ungrouped_partitions) {
      take(each.topic_name, each.partition_index, no_leader_epoch, message.delete_partitions);
    }
  } else if (version < 3) {
    for (const auto& topic : message.topics) {
      for (const auto partition : topic.partition_indexes) {
        take(topic.name, partition, no_leader_epoch, message.delete_partitions);
      }
    }
  } else {
    for (const auto& topic : message.topic_states) {
      for (const auto& each : topic.partition_states) {
        take(topic.topic_name, each.partition_index, LeaderEpoch{each.leader_epoch}, each.delete_partition);
      }
    }
  }
  return order;
}

protocol::StopReplicaResponse to_message(const OrderAnswer& answer) {
  protocol::StopReplicaResponse out;
  for (const auto& each : answer) {
    auto& to = out.partition_errors.emplace_back();
    to.topic_name = each.at.topic;
    to.partition_index = each.at.partition.value;
    to.error_code = static_cast<std::int16_t>(each.error);
  }
  return out;
}

Result<OrderAnswer> to_answer(const protocol::StopReplicaResponse& message) {
  if (message.error_code != 0) {
    const auto code = static_cast<ErrorCode>(message.error_code);
    return fail(code, fmt::format("StopReplica was answered with {}", name(code)));
  }
  OrderAnswer answer;
  for (const auto& each : message.partition_errors) {
    answer.push_back(
        {{std::string(each.topic_name), PartitionId{each.partition_index}}, static_cast<ErrorCode>(each.error_code)});
  }
  return answer;
}

// ---- UpdateMetadata

protocol::UpdateMetadataRequest to_message(const UpdateMetadataOrder& order, std::int16_t version) {
  using Message = protocol::UpdateMetadataRequest;
  Message out;
  out.controller_id = order.head.controller.value;
  out.controller_epoch = order.head.controller_epoch.value;
  out.broker_epoch = order.head.broker_epoch.value;
  std::map<std::string_view, std::size_t> topics;
  for (const auto& item : order.partitions) {
    Message::UpdateMetadataPartitionState to;
    to.partition_index = item.at.partition.value;
    to.controller_epoch = item.state.controller_epoch.value;
    to.leader = item.state.leader.value;
    to.leader_epoch = item.state.leader_epoch.value;
    to.isr = numbers(item.state.isr);
    to.zk_version = item.state.version;
    to.replicas = numbers(item.state.replicas);
    to.offline_replicas = numbers(item.state.offline);
    if (version < 5) {
      to.topic_name = item.at.topic;
      out.ungrouped_partition_states.push_back(std::move(to));
      continue;
    }
    const auto [at, fresh] = topics.emplace(item.at.topic, out.topic_states.size());
    if (fresh) {
      auto& topic = out.topic_states.emplace_back();
      topic.topic_name = item.at.topic;
      topic.topic_id = id_of(order.topic_ids, item.at.topic);
    }
    out.topic_states[at->second].partition_states.push_back(std::move(to));
  }
  for (const auto& broker : order.brokers) {
    auto& to = out.live_brokers.emplace_back();
    to.id = broker->id.value;
    to.rack.reset();
    if (broker->rack) to.rack = *broker->rack;
    for (const auto& endpoint : broker->endpoints) {
      if (version == 0) {
        if (endpoint.protocol != "PLAINTEXT") continue;
        to.v0_host = endpoint.host;
        to.v0_port = endpoint.port;
        break;
      }
      auto& at = to.endpoints.emplace_back();
      at.host = endpoint.host;
      at.port = endpoint.port;
      at.listener = endpoint.listener;
      at.security_protocol = number_of_protocol(endpoint.protocol);
    }
  }
  return out;
}

Result<UpdateMetadataOrder> to_order(const protocol::UpdateMetadataRequest& message, std::int16_t version) {
  if (auto fine = check_head(message.is_kraft_controller); !fine) return std::unexpected(fine.error());
  UpdateMetadataOrder order;
  order.head = {BrokerId{message.controller_id}, ControllerEpoch{message.controller_epoch},
                BrokerEpoch{message.broker_epoch}};
  const auto take = [&order](std::string_view topic, const auto& from) {
    if (check_partition("UpdateMetadata", topic, from.partition_index) != ErrorCode::NONE) return;
    auto& item = order.partitions.emplace_back();
    item.at = {std::string(topic), PartitionId{from.partition_index}};
    auto& state = item.state;
    state.controller_epoch = ControllerEpoch{from.controller_epoch};
    state.leader = BrokerId{from.leader};
    state.leader_epoch = LeaderEpoch{from.leader_epoch};
    state.isr = brokers(from.isr);
    state.version = from.zk_version;
    state.replicas = brokers(from.replicas);
    state.offline = brokers(from.offline_replicas);
  };
  if (version < 5) {
    for (const auto& each : message.ungrouped_partition_states) take(each.topic_name, each);
  }
  for (const auto& topic : message.topic_states) {
    const bool named = !topic.topic_id.is_zero() && cluster::validate_name_of_existing(topic.topic_name).has_value();
    if (named) order.topic_ids[std::string(topic.topic_name)] = topic.topic_id;
    for (const auto& each : topic.partition_states) take(topic.topic_name, each);
  }
  for (const auto& from : message.live_brokers) {
    auto broker = std::make_shared<cluster::Broker>();
    broker->id = BrokerId{from.id};
    if (version >= 2 && from.rack) broker->rack = std::string(*from.rack);
    if (version == 0) {
      broker->endpoints.push_back({"PLAINTEXT", "PLAINTEXT", std::string(from.v0_host), from.v0_port});
    }
    for (const auto& endpoint : from.endpoints) {
      const auto protocol = protocol_of_number(endpoint.security_protocol);
      const auto listener = version >= 3 ? endpoint.listener : protocol;
      broker->endpoints.push_back(
          {std::string(listener), std::string(protocol), std::string(endpoint.host), endpoint.port});
    }
    order.brokers.push_back(std::move(broker));
  }
  return order;
}

}  // namespace weir::broker
