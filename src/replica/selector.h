// Which replica a consumer should read from (KIP-392): pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/units.h"

namespace weir::replica {

// A replica that a consumer could read from, as its leader sees it.
struct ReadReplica {
  BrokerId id = no_broker;
  Offset log_start;
  Offset log_end;
  nanoseconds behind{};  // since it was last caught up; 0 for the leader
};

// As Kafka's RackAwareReplicaSelector: of the in-sync replicas in the client's rack that have `offset`, the leader if
// it is there, else the one that is furthest. Nothing: the leader itself, or no replica there. `rack_of` gives a
// broker's rack, "" for none. `in_sync` has no leader.
template <class RackOf>
std::optional<BrokerId> preferred_read_replica(std::string_view client_rack, BrokerId leader,
                                               const std::vector<ReadReplica>& in_sync, Offset offset,
                                               RackOf&& rack_of) {
  if (client_rack.empty() || rack_of(leader) == client_rack) return std::nullopt;
  const ReadReplica* best = nullptr;
  for (const auto& replica : in_sync) {
    if (replica.log_end < offset || replica.log_start > offset || rack_of(replica.id) != client_rack) continue;
    const bool better = best == nullptr || replica.log_end > best->log_end ||
                        (replica.log_end == best->log_end && replica.behind < best->behind);
    if (better) best = &replica;
  }
  if (best == nullptr) return std::nullopt;
  return best->id;
}

}  // namespace weir::replica
