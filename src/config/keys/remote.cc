#include "config/keys/keys.h"

// Tiered storage.

namespace weir::config::keys {

namespace {
// clang-format off: a table
constexpr Key rows[] = {
    {"remote.fetch.max.wait.ms", int32, "500", {.min = 1}, medium, cluster_wide, accepted,
     "How long a fetch waits for tiered storage."},
    {"remote.log.index.file.cache.total.size.bytes", int64, "1073741824", {.min = 1}, low, cluster_wide, accepted,
     "Disk space for indexes fetched from tiered storage."},
    {"remote.log.manager.copier.thread.pool.size", int32, "-1", {.min = 1, .or_minus_one = true}, medium, read_only, accepted,
     "Threads that copy to tiered storage."},
    {"remote.log.manager.copy.max.bytes.per.second", int64, "9223372036854775807", {.min = 1}, medium, cluster_wide, accepted,
     "Bytes a second copied to tiered storage at most."},
    {"remote.log.manager.copy.quota.window.num", int32, "11", {.min = 1}, medium, read_only, accepted,
     "Windows over which copies are measured."},
    {"remote.log.manager.copy.quota.window.size.seconds", int32, "1", {.min = 1}, medium, read_only, accepted,
     "Length of such a window."},
    {"remote.log.manager.expiration.thread.pool.size", int32, "-1", {.min = 1, .or_minus_one = true}, medium, read_only, accepted,
     "Threads that delete from tiered storage."},
    {"remote.log.manager.fetch.max.bytes.per.second", int64, "9223372036854775807", {.min = 1}, medium, cluster_wide, accepted,
     "Bytes a second read from tiered storage at most."},
    {"remote.log.manager.fetch.quota.window.num", int32, "11", {.min = 1}, medium, read_only, accepted,
     "Windows over which such reads are measured."},
    {"remote.log.manager.fetch.quota.window.size.seconds", int32, "1", {.min = 1}, medium, read_only, accepted,
     "Length of such a window."},
    {"remote.log.manager.task.interval.ms", int64, "30000", {.min = 1}, low, read_only, accepted,
     "How often tiered storage looks for work."},
    {"remote.log.manager.task.retry.backoff.max.ms", int64, "30000", {.min = 1}, low, read_only, accepted,
     "Longest pause after a failed task of tiered storage."},
    {"remote.log.manager.task.retry.backoff.ms", int64, "500", {.min = 1}, low, read_only, accepted,
     "First pause after a failed task of tiered storage."},
    {"remote.log.manager.task.retry.jitter", float64, "0.2", {.min = 0, .max = 0.5}, low, read_only, accepted,
     "Random part of that pause."},
    {"remote.log.manager.thread.pool.size", int32, "10", {.min = 1}, medium, read_only, accepted,
     "Threads of tiered storage's tasks."},
    {"remote.log.metadata.custom.metadata.max.bytes", int32, "128", {.min = 0}, low, read_only, accepted,
     "Largest piece of metadata of a tiered storage's own."},
    {"remote.log.metadata.manager.class.name", string, "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager", {.not_empty = true}, medium, read_only, accepted,
     "Java class that keeps tiered storage's metadata."},
    {"remote.log.metadata.manager.class.path", string, std::nullopt, {}, medium, read_only, accepted,
     "Where that class is found."},
    {"remote.log.metadata.manager.impl.prefix", string, "rlmm.config.", {.not_empty = true}, medium, read_only, accepted,
     "Prefix of that class's own keys."},
    {"remote.log.metadata.manager.listener.name", string, std::nullopt, {.not_empty = true}, medium, read_only, accepted,
     "Listener that class connects to."},
    {"remote.log.reader.max.pending.tasks", int32, "100", {.min = 1}, medium, read_only, accepted,
     "Reads of tiered storage that may wait."},
    {"remote.log.reader.threads", int32, "10", {.min = 1}, medium, read_only, accepted,
     "Threads that read from tiered storage."},
    {"remote.log.storage.manager.class.name", string, std::nullopt, {.not_empty = true}, medium, read_only, accepted,
     "Java class of the tiered storage."},
    {"remote.log.storage.manager.class.path", string, std::nullopt, {}, medium, read_only, accepted,
     "Where that class is found."},
    {"remote.log.storage.manager.impl.prefix", string, "rsm.config.", {.not_empty = true}, medium, read_only, accepted,
     "Prefix of that class's own keys."},
    {"remote.log.storage.system.enable", boolean, "false", {}, medium, read_only, accepted,
     "Whether tiered storage is on."},
};
// clang-format on
}  // namespace

std::span<const Key> remote() { return rows; }

}  // namespace weir::config::keys
