// Names that MSK gives: ARNs, versions of clusters, ids, times. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/units.h"
#include "runtime/random.h"

namespace weir::msk {

// Where this control plane is, as far as ARNs say.
struct Realm {
  std::string region = "us-east-1";
  std::string account = "000000000000";
};

// A resource's kind is its word in the ARN.
inline constexpr std::string_view cluster_kind = "cluster";
inline constexpr std::string_view operation_kind = "cluster-operation";
inline constexpr std::string_view configuration_kind = "configuration";
inline constexpr std::string_view vpc_connection_kind = "vpc-connection";
inline constexpr std::string_view topic_kind = "topic";
inline constexpr std::string_view broker_kind = "broker";
inline constexpr std::string_view replicator_kind = "replicator";

struct Arn {
  std::string kind;
  std::string name;
  std::string id;    // UUID-N
  std::string rest;  // of an operation: its own UUID; of a topic: its name; else empty
};

// arn:aws:kafka:REGION:ACCOUNT:KIND/NAME/ID[/REST]. Any partition of AWS's ("aws", "aws-cn", ...) is taken; region and
// account must be this realm's, else it is nothing that is here (nothing is returned, as for what is no ARN).
std::optional<Arn> parse_arn(const Realm& realm, std::string_view text);
std::string arn_text(const Realm& realm, std::string_view kind, std::string_view name, std::string_view id,
                     std::string_view rest = {});

// A random (version 4) UUID in its usual form; with MSK's suffix "-2": the id of a resource.
std::string new_uuid(runtime::Random& random);
std::string new_id(runtime::Random& random);
// Opaque and never the same: "K1X5R6FKA87".
std::string new_version(runtime::Random& random);

// "2019-09-25T23:48:04.794Z"
std::string iso8601(milliseconds since_epoch);

// ^[0-9A-Za-z][0-9A-Za-z-]*$
bool valid_name(std::string_view name);

}  // namespace weir::msk
