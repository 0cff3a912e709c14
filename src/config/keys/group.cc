#include "config/keys/keys.h"

// What a group of the consumer (KIP-848) or share (KIP-932) protocol, and a client-metrics subscription (KIP-714),
// can have of its own.

namespace weir::config::keys {

namespace {
// clang-format off: a table
constexpr Key group_rows[] = {
    {"consumer.heartbeat.interval.ms", int32, "5000", {.min = 1}, medium, cluster_wide, accepted,
     "Heartbeat interval of the group's members.", "group.consumer.heartbeat.interval.ms"},
    {"consumer.session.timeout.ms", int32, "45000", {.min = 1}, medium, cluster_wide, accepted,
     "After how long without a heartbeat a member is taken for dead.", "group.consumer.session.timeout.ms"},
    {"share.auto.offset.reset", string, "latest", {.one_of = "latest|earliest"}, medium, cluster_wide, accepted,
     "Where a share group begins in a partition it has not read."},
    {"share.heartbeat.interval.ms", int32, "5000", {.min = 1}, medium, cluster_wide, accepted,
     "Heartbeat interval of the share group's members.", "group.share.heartbeat.interval.ms"},
    {"share.record.lock.duration.ms", int32, "30000", {.min = 1000}, medium, cluster_wide, accepted,
     "How long a record stays locked for the member that took it.", "group.share.record.lock.duration.ms"},
    {"share.session.timeout.ms", int32, "45000", {.min = 1}, medium, cluster_wide, accepted,
     "After how long without a heartbeat a member is taken for dead.", "group.share.session.timeout.ms"},
};
// clang-format on
// clang-format off: a table
constexpr Key client_metrics_rows[] = {
    {"interval.ms", int32, "300000", {.min = 100, .max = 3600000}, medium, cluster_wide, accepted,
     "How often clients push their metrics."},
    {"match", list, "", {}, medium, cluster_wide, accepted,
     "Which clients are meant: SELECTOR=REGULAR EXPRESSION separated by commas; empty for all."},
    {"metrics", list, "", {}, medium, cluster_wide, accepted,
     "Prefixes of the metrics that are wanted; * for all."},
};
// clang-format on
}  // namespace

std::span<const Key> group() { return group_rows; }
std::span<const Key> client_metrics() { return client_metrics_rows; }

}  // namespace weir::config::keys
