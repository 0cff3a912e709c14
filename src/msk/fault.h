// What an operation of the API answers when it cannot: the modeled error, its text and the parameter it means.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace weir::msk {

// The modeled errors, and those of the topics' operations. Names and statuses are in fault.cc.
enum class FaultType : std::uint8_t {
  bad_request,
  unauthorized,
  forbidden,
  not_found,
  conflict,
  too_many_requests,
  internal,
  unavailable,
  topic_exists,
  unknown_topic_or_partition,
  kafka_request,
  kafka_timeout,
  reassignment_in_progress,
  cluster_connectivity,
};

struct Fault {
  FaultType type = FaultType::internal;
  std::string message;            // a sentence for people
  std::string invalid_parameter;  // as the model's locationName; empty: none

  friend bool operator==(const Fault&, const Fault&) = default;
};

std::string_view name(FaultType type);  // "BadRequestException"
int status(FaultType type);             // 400

template <class T = void>
using Answer = std::expected<T, Fault>;

inline std::unexpected<Fault> refuse(FaultType type, std::string message, std::string parameter = {}) {
  return std::unexpected<Fault>(Fault{type, std::move(message), std::move(parameter)});
}
inline std::unexpected<Fault> bad_request(std::string parameter, std::string message) {
  return refuse(FaultType::bad_request, std::move(message), std::move(parameter));
}

}  // namespace weir::msk
