#include "config/keys/keys.h"

// KRaft, which Weir has no use for.

namespace weir::config::keys {

namespace {
// clang-format off: a table
constexpr Key rows[] = {
    {"broker.heartbeat.interval.ms", int32, "2000", {}, medium, read_only, accepted,
     "How often a KRaft broker tells its controller that it lives."},
    {"broker.session.timeout.ms", int32, "9000", {}, medium, read_only, accepted,
     "After how long without that it is taken for dead."},
    {"controller.listener.names", string, std::nullopt, {}, high, read_only, accepted,
     "Listeners of KRaft controllers."},
    {"controller.quorum.append.linger.ms", int32, "25", {}, medium, read_only, accepted,
     "How long a KRaft leader gathers writes."},
    {"controller.quorum.bootstrap.servers", list, "", {}, high, read_only, accepted,
     "Addresses by which KRaft controllers are found."},
    {"controller.quorum.election.backoff.max.ms", int32, "1000", {}, high, read_only, accepted,
     "Longest pause after an undecided KRaft election."},
    {"controller.quorum.election.timeout.ms", int32, "1000", {}, high, read_only, accepted,
     "How long a KRaft election may take."},
    {"controller.quorum.fetch.timeout.ms", int32, "2000", {}, high, read_only, accepted,
     "After how long without a leader KRaft elects another."},
    {"controller.quorum.request.timeout.ms", int32, "2000", {}, medium, read_only, accepted,
     "How long KRaft waits for an answer."},
    {"controller.quorum.retry.backoff.ms", int32, "20", {}, low, read_only, accepted,
     "Pause between two KRaft requests."},
    {"controller.quorum.voters", list, "", {}, high, read_only, accepted,
     "KRaft controllers, ID@HOST:PORT separated by commas."},
    {"eligible.leader.replicas.enable", boolean, "false", {}, high, read_only, accepted,
     "Whether KRaft keeps track of replicas that may lead without loss (KIP-966)."},
    {"initial.broker.registration.timeout.ms", int32, "60000", {}, medium, read_only, accepted,
     "How long a KRaft broker tries to register at first."},
    {"metadata.log.dir", string, std::nullopt, {}, high, read_only, accepted,
     "Directory of KRaft's metadata log."},
    {"metadata.log.max.record.bytes.between.snapshots", int64, "20971520", {.min = 1}, high, read_only, accepted,
     "Bytes of metadata after which KRaft writes a snapshot."},
    {"metadata.log.max.snapshot.interval.ms", int64, "3600000", {.min = 0}, high, read_only, accepted,
     "Time after which KRaft writes a snapshot."},
    {"metadata.log.segment.bytes", int32, "1073741824", {.min = 12}, high, read_only, accepted,
     "Segment size of KRaft's metadata log."},
    {"metadata.log.segment.min.bytes", int32, "8388608", {.min = 12}, high, read_only, accepted,
     "Smallest segment size of KRaft's metadata log, for tests."},
    {"metadata.log.segment.ms", int64, "604800000", {}, high, read_only, accepted,
     "Age at which a segment of KRaft's metadata log is closed."},
    {"metadata.max.idle.interval.ms", int32, "500", {.min = 0}, low, read_only, accepted,
     "How often an idle KRaft leader writes a mark."},
    {"metadata.max.retention.bytes", int64, "104857600", {}, high, read_only, accepted,
     "Size above which KRaft deletes old metadata."},
    {"metadata.max.retention.ms", int64, "604800000", {}, high, read_only, accepted,
     "Age above which KRaft deletes old metadata."},
    {"node.id", int32, "-1", {}, high, read_only, accepted,
     "Number of a KRaft node; in ZooKeeper mode the same as broker.id."},
    {"process.roles", list, "", {.one_of = "broker|controller"}, high, read_only, accepted,
     "Roles of a KRaft process; Weir runs in ZooKeeper mode."},
};
// clang-format on
}  // namespace

std::span<const Key> kraft() { return rows; }

}  // namespace weir::config::keys
