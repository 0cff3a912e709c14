#include "config/keys/keys.h"

// Producers and transactions.

namespace weir::config::keys {

namespace {
// clang-format off: a table
constexpr Key rows[] = {
    {"producer.id.expiration.check.interval.ms", int32, "600000", {.min = 1}, low, read_only, active,
     "How often idle producers are looked for."},
    {"producer.id.expiration.ms", int32, "86400000", {.min = 1}, low, cluster_wide, active,
     "After how long an idle producer's state is forgotten."},
    {"transaction.abort.timed.out.transaction.cleanup.interval.ms", int32, "10000", {.min = 1}, low, read_only, accepted,
     "How often transactions past their timeout are looked for and aborted."},
    {"transaction.max.timeout.ms", int32, "900000", {.min = 1}, high, read_only, accepted,
     "Longest transaction timeout that a producer may ask for."},
    {"transaction.partition.verification.enable", boolean, "true", {}, low, cluster_wide, accepted,
     "Whether a partition asks the coordinator before it takes the first record of a transaction."},
    {"transaction.remove.expired.transaction.cleanup.interval.ms", int32, "3600000", {.min = 1}, low, read_only, accepted,
     "How often unused transactional ids are looked for."},
    {"transaction.state.log.load.buffer.size", int32, "5242880", {.min = 1}, high, read_only, accepted,
     "Bytes read at a time when a coordinator loads transactions."},
    {"transaction.state.log.min.isr", int32, "2", {.min = 1}, high, read_only, accepted,
     "min.insync.replicas of __transaction_state."},
    {"transaction.state.log.num.partitions", int32, "50", {.min = 1}, high, read_only, accepted,
     "Partitions of __transaction_state; never change it later."},
    {"transaction.state.log.replication.factor", int16, "3", {.min = 1}, high, read_only, accepted,
     "Replicas of __transaction_state."},
    {"transaction.state.log.segment.bytes", int32, "104857600", {.min = 1}, high, read_only, accepted,
     "Segment size of __transaction_state."},
    {"transactional.id.expiration.ms", int32, "604800000", {.min = 1}, high, read_only, accepted,
     "After how long an unused transactional id is forgotten."},
};
// clang-format on
}  // namespace

std::span<const Key> transactions() { return rows; }

}  // namespace weir::config::keys
