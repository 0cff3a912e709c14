#include "config/keys/keys.h"

// Quotas and measurements.

namespace weir::config::keys {

namespace {
// clang-format off: a table
constexpr Key rows[] = {
    {"alter.log.dirs.replication.quota.window.num", int32, "11", {.min = 1}, low, read_only, accepted,
     "Windows over which moves between log directories are measured."},
    {"alter.log.dirs.replication.quota.window.size.seconds", int32, "1", {.min = 1}, low, read_only, accepted,
     "Length of such a window."},
    {"auto.include.jmx.reporter", boolean, "true", {}, low, read_only, accepted,
     "Whether metrics are offered by JMX."},
    {"client.quota.callback.class", class_name, std::nullopt, {}, low, read_only, accepted,
     "Java class that decides quotas."},
    {"controller.quota.window.num", int32, "11", {.min = 1}, low, read_only, accepted,
     "Windows over which topic changes are measured."},
    {"controller.quota.window.size.seconds", int32, "1", {.min = 1}, low, read_only, accepted,
     "Length of such a window."},
    {"kafka.metrics.polling.interval.secs", int32, "10", {.min = 1}, low, read_only, accepted,
     "How often those report."},
    {"kafka.metrics.reporters", list, "", {}, low, read_only, accepted,
     "Java classes that report metrics of Apache Kafka's older kind."},
    {"metric.reporters", list, "", {}, low, cluster_wide, accepted,
     "Java classes that report metrics; Weir has a Prometheus endpoint (weir.metrics.listener)."},
    {"metrics.num.samples", int32, "2", {.min = 1}, low, read_only, accepted,
     "Samples from which Apache Kafka computes rates."},
    {"metrics.recording.level", string, "INFO", {}, low, read_only, accepted,
     "Level of detail of Apache Kafka's metrics."},
    {"metrics.sample.window.ms", int64, "30000", {.min = 1}, low, read_only, accepted,
     "Length of such a sample."},
    {"quota.consumer.default", int64, "9223372036854775807", {.min = 1}, high, read_only, accepted,
     "Fetch quota in bytes a second of every client, of Kafka before 3.0."},
    {"quota.producer.default", int64, "9223372036854775807", {.min = 1}, high, read_only, accepted,
     "Produce quota in bytes a second of every client, of Kafka before 3.0."},
    {"quota.window.num", int32, "11", {.min = 1}, low, read_only, accepted,
     "Windows over which client quotas are measured."},
    {"quota.window.size.seconds", int32, "1", {.min = 1}, low, read_only, accepted,
     "Length of such a window."},
    {"replication.quota.window.num", int32, "11", {.min = 1}, low, read_only, active,
     "Windows over which replication throttles are measured."},
    {"replication.quota.window.size.seconds", int32, "1", {.min = 1}, low, read_only, active,
     "Length of such a window."},
};
// clang-format on
}  // namespace

std::span<const Key> quotas() { return rows; }

}  // namespace weir::config::keys
