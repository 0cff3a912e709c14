// The records of __consumer_offsets, in Kafka's own format: a Java broker reads what is written here, and the other
// way round. Both key and value begin with an int16 version. Keys: 0 and 1 an offset, 2 a group; higher ones belong
// to later protocols (KIP-848, KIP-932) and are skipped. Values are written as Kafka 3.9 does at its default level:
// offsets as v3 (v1 when they carry an expiry of their own), groups as v3; v0 to v4 are read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "bytes/shared.h"

namespace weir::coordinator::group {

// The longest text that a record can hold, in bytes.
inline constexpr std::size_t text_bytes_max = 32767;

struct OffsetKey {
  std::string_view group;
  std::string_view topic;
  std::int32_t partition = 0;
};
struct GroupKey {
  std::string_view group;
};
struct UnknownKey {
  std::int16_t version = -1;
};
using Key = std::variant<OffsetKey, GroupKey, UnknownKey>;

struct OffsetValue {
  std::int64_t offset = -1;
  std::int32_t leader_epoch = -1;
  std::string metadata;
  TimestampMs commit_timestamp = no_timestamp;
  TimestampMs expire_timestamp = no_timestamp;  // none: by offsets.retention.minutes

  friend bool operator==(const OffsetValue&, const OffsetValue&) = default;
};

struct MemberValue {
  std::string_view member_id;
  std::optional<std::string_view> instance_id;
  std::string_view client_id;
  std::string_view client_host;
  std::int32_t rebalance_timeout_ms = -1;
  std::int32_t session_timeout_ms = 0;
  bytes::Bytes subscription;
  bytes::Bytes assignment;
};

struct GroupValue {
  std::string_view protocol_type;
  std::int32_t generation = 0;
  std::optional<std::string_view> protocol;
  std::optional<std::string_view> leader;
  TimestampMs state_timestamp = no_timestamp;
  std::vector<MemberValue> members;
};

// The views of the parsed point into the record.
Result<Key> parse_key(bytes::Bytes key);
Result<OffsetValue> parse_offset_value(bytes::Bytes value);
Result<GroupValue> parse_group_value(bytes::Bytes value);

bytes::Shared offset_key(std::string_view group, std::string_view topic, std::int32_t partition);
bytes::Shared group_key(std::string_view group);
bytes::Shared offset_value(const OffsetValue& value);
bytes::Shared group_value(const GroupValue& value);

}  // namespace weir::coordinator::group
