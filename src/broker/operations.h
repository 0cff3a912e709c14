// The bit fields of "authorized operations" (KIP-430): which operations a caller may do on a resource. Without an
// authorizer that is all that the resource knows.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace weir::broker {

constexpr std::int32_t operation_bits(std::initializer_list<int> operations) {
  std::int32_t bits = 0;
  for (const int operation : operations) bits |= 1 << operation;
  return bits;
}
// Numbers of org.apache.kafka.common.acl.AclOperation.
inline constexpr std::int32_t topic_operations = operation_bits({3, 4, 5, 6, 7, 8, 10, 11});
inline constexpr std::int32_t group_operations = operation_bits({3, 6, 8, 10, 11});
inline constexpr std::int32_t cluster_operations = operation_bits({5, 7, 8, 9, 10, 11, 12});

}  // namespace weir::broker
