#include "config/keys/keys.h"

// Replicas.

namespace weir::config::keys {

namespace {
// clang-format off: a table
constexpr Key rows[] = {
    {"follower.replication.throttled.rate", int64, "9223372036854775807", {.min = 0}, medium, cluster_wide, active,
     "Bytes a second that throttled followers of this broker fetch."},
    {"leader.replication.throttled.rate", int64, "9223372036854775807", {.min = 0}, medium, cluster_wide, active,
     "Bytes a second that this broker sends to throttled followers."},
    {"num.replica.alter.log.dirs.threads", int32, std::nullopt, {}, high, read_only, accepted,
     "Threads that move replicas between log directories."},
    {"num.replica.fetchers", int32, "1", {.min = 1}, high, cluster_wide, active,
     "Connections to each leader that a follower fetches by."},
    {"replica.fetch.backoff.ms", int32, "1000", {.min = 0}, medium, read_only, active,
     "How long a follower pauses after an error."},
    {"replica.fetch.max.bytes", int32, "1048576", {.min = 0}, medium, read_only, active,
     "Bytes that a follower asks for, for each partition."},
    {"replica.fetch.min.bytes", int32, "1", {}, high, read_only, active,
     "Bytes that a leader waits for before it answers a follower."},
    {"replica.fetch.response.max.bytes", int32, "10485760", {.min = 0}, medium, read_only, active,
     "Bytes that a follower asks for in one fetch."},
    {"replica.fetch.wait.max.ms", int32, "500", {}, high, read_only, active,
     "How long it waits for them; keep it below replica.lag.time.max.ms."},
    {"replica.high.watermark.checkpoint.interval.ms", int64, "5000", {}, high, read_only, active,
     "How often high watermarks are written down."},
    {"replica.lag.time.max.ms", int64, "30000", {}, high, read_only, active,
     "After how long without catching up a follower is out of sync."},
    {"replica.selector.class", string, std::nullopt, {}, medium, read_only, active,
     "Java name of the rule by which consumers are sent to a replica; org.apache.kafka.common.replica.RackAwareReplicaSelector is known."},
    {"replica.socket.receive.buffer.bytes", int32, "65536", {}, high, read_only, active,
     "Receive buffer of a follower's socket; -1, or leaving it out, leaves it to the system."},
    {"replica.socket.timeout.ms", int32, "30000", {}, high, read_only, active,
     "How long a follower waits for an answer."},
};
// clang-format on
}  // namespace

std::span<const Key> replication() { return rows; }

}  // namespace weir::config::keys
