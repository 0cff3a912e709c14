#include "msk/fault.h"

#include <string_view>

namespace weir::msk {

std::string_view name(FaultType type) {
  switch (type) {
    case FaultType::bad_request: return "BadRequestException";
    case FaultType::unauthorized: return "UnauthorizedException";
    case FaultType::forbidden: return "ForbiddenException";
    case FaultType::not_found: return "NotFoundException";
    case FaultType::conflict: return "ConflictException";
    case FaultType::too_many_requests: return "TooManyRequestsException";
    case FaultType::internal: return "InternalServerErrorException";
    case FaultType::unavailable: return "ServiceUnavailableException";
    case FaultType::topic_exists: return "TopicExistsException";
    case FaultType::unknown_topic_or_partition: return "UnknownTopicOrPartitionException";
    case FaultType::kafka_request: return "KafkaRequestException";
    case FaultType::kafka_timeout: return "KafkaTimeoutException";
    case FaultType::reassignment_in_progress: return "ReassignmentInProgressException";
    case FaultType::cluster_connectivity: return "ClusterConnectivityException";
  }
  return "InternalServerErrorException";
}

int status(FaultType type) {
  switch (type) {
    case FaultType::bad_request:
    case FaultType::kafka_request: return 400;
    case FaultType::unauthorized: return 401;
    case FaultType::forbidden: return 403;
    case FaultType::not_found:
    case FaultType::unknown_topic_or_partition: return 404;
    case FaultType::conflict:
    case FaultType::topic_exists:
    case FaultType::kafka_timeout:
    case FaultType::reassignment_in_progress:
    case FaultType::cluster_connectivity: return 409;
    case FaultType::too_many_requests: return 429;
    case FaultType::internal: return 500;
    case FaultType::unavailable: return 503;
  }
  return 500;
}

}  // namespace weir::msk
