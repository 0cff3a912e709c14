// The controller's orders as messages of Kafka's inter-broker protocol, both ways and in every version: LeaderAndIsr
// (API 4), StopReplica (5), UpdateMetadata (6) and their answers.
//
// Messages made here are views of the order they are made from. What a version cannot say is left out (topic ids
// before LeaderAndIsr 5, leader epochs before StopReplica 3, ...), as a controller of Apache Kafka of that age would.
#pragma once

#include <cstdint>
#include <vector>

#include "config/broker_config.h"
#include "controller/orders.h"
#include "protocol/messages/leader_and_isr.h"
#include "protocol/messages/stop_replica.h"
#include "protocol/messages/update_metadata.h"

namespace weir::broker {

// The newest version that brokers of this inter.broker.protocol.version use among themselves.
std::int16_t leader_and_isr_version(config::KafkaVersion level);
std::int16_t stop_replica_version(config::KafkaVersion level);
std::int16_t update_metadata_version(config::KafkaVersion level);
std::int16_t fetch_version(config::KafkaVersion level);
std::int16_t offset_for_leader_epoch_version(config::KafkaVersion level);

protocol::LeaderAndIsrRequest to_message(const controller::LeaderAndIsrOrder& order, std::int16_t version);
protocol::UpdateMetadataRequest to_message(const controller::UpdateMetadataOrder& order, std::int16_t version);
// Before version 3 one request either removes all its replicas or none: then there may be two.
std::vector<protocol::StopReplicaRequest> to_messages(const controller::StopReplicaOrder& order, std::int16_t version);

// INVALID_REQUEST for an order of a KRaft controller. A topic that nothing can be named, or a partition that there
// cannot be, is logged and left out; the rest is the order.
Result<controller::LeaderAndIsrOrder> to_order(const protocol::LeaderAndIsrRequest& message, std::int16_t version);
Result<controller::UpdateMetadataOrder> to_order(const protocol::UpdateMetadataRequest& message, std::int16_t version);
Result<controller::StopReplicaOrder> to_order(const protocol::StopReplicaRequest& message, std::int16_t version);

// `order`: the one that is answered, whose topics have the ids that version 5 answers with.
protocol::LeaderAndIsrResponse to_message(const controller::OrderAnswer& answer,
                                          const controller::LeaderAndIsrOrder& order, std::int16_t version);
protocol::StopReplicaResponse to_message(const controller::OrderAnswer& answer);
// A partition that the answer does not name has no error. Of the whole: the error code.
Result<controller::OrderAnswer> to_answer(const protocol::LeaderAndIsrResponse& message,
                                          const controller::LeaderAndIsrOrder& order, std::int16_t version);
Result<controller::OrderAnswer> to_answer(const protocol::StopReplicaResponse& message);

}  // namespace weir::broker
