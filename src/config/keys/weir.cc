#include "config/keys/keys.h"

// Weir's own.

namespace weir::config::keys {

namespace {
// clang-format off: a table
constexpr Key rows[] = {
    {"weir.flush.at.min.isr", boolean, "true", {}, medium, read_only, active,
     "When the in-sync set has shrunk to min.insync.replicas, its members flush before they acknowledge."},
    {"weir.ignore.unsupported", list, "", {.one_of = "authorizer.class.name"}, medium, read_only, active,
     "Keys that a broker would not start with, as they ask for a protection that Weir does not have: it starts without."},
    {"weir.log.open.files.max", int32, "1000", {.min = 16}, medium, read_only, active,
     "Files of closed segments that are held open at a time."},
    {"weir.metrics.listener", string, std::nullopt, {}, medium, read_only, active,
     "Address of the Prometheus endpoint, HOST:PORT (MSK's is port 11001); none when not set."},
    {"weir.pool.threads", int32, "0", {.min = 0, .max = 1024}, medium, read_only, active,
     "Threads for what blocks: flushes, cold reads, directories; 0 to choose from the cores."},
    {"weir.shards", int32, "0", {.min = 0, .max = 1024}, high, read_only, active,
     "Event loops, each a thread with its connections and partitions; 0 for one a core."},
    {"weir.ssl.client.names", list, "", {}, medium, read_only, active,
     "DNS names, or .DOMAIN for all directly in it: of a TLS listener's clients only those are let in whose certificate is "
     "good for a server, too, and has one of them as alternative name. For the listener between brokers; empty for all."},
    {"weir.storage.quota.bytes", int64, "0", {.min = 0}, high, cluster_wide, active,
     "What the logs of this broker may take on disk; 0 for no limit. From 95 % on producers are refused, at all of it "
     "followers fetch nothing."},
    {"weir.zookeeper.jaas.config", string, std::nullopt, {}, medium, read_only, active,
     "A JAAS file as Java's brokers have it; its section Client gives user and password for ZooKeeper (DIGEST-MD5)."},
    {"weir.zookeeper.sasl.password", password, std::nullopt, {}, medium, read_only, active,
     "Password of that user."},
    {"weir.zookeeper.sasl.username", string, std::nullopt, {}, medium, read_only, active,
     "User for SASL DIGEST-MD5 with ZooKeeper, in place of a JAAS file."},
};
// clang-format on
}  // namespace

std::span<const Key> weir() { return rows; }

}  // namespace weir::config::keys
