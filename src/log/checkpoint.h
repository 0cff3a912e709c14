// The small text files of a log directory and of a partition. Each is replaced whole and atomically.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "base/uuid.h"
#include "log/names.h"
#include "runtime/files.h"

namespace weir::log {

// recovery-point-, log-start-, replication- and cleaner-offset-checkpoint: "0", the number of entries, then
// "topic partition offset" a line. A missing file is an empty map; a malformed one KAFKA_STORAGE_ERROR.
using OffsetCheckpoint = std::map<TopicPartition, Offset>;
Result<OffsetCheckpoint> parse_offset_checkpoint(std::string_view text);
std::string to_text(const OffsetCheckpoint& checkpoint);
Result<OffsetCheckpoint> read_offset_checkpoint(runtime::Files& files, const std::string& path);
Result<> write_offset_checkpoint(runtime::Files& files, const std::string& path, const OffsetCheckpoint& checkpoint);

// leader-epoch-checkpoint: "0", the number of entries, then "epoch start-offset" a line (KIP-101).
struct EpochEntry {
  LeaderEpoch epoch;
  Offset start;
  friend bool operator==(const EpochEntry&, const EpochEntry&) = default;
};
Result<std::vector<EpochEntry>> parse_epoch_checkpoint(std::string_view text);
std::string to_text(const std::vector<EpochEntry>& entries);

// partition.metadata (KIP-516): "version: 0" and "topic_id: <base64>".
Result<Uuid> parse_partition_metadata(std::string_view text);
// Not more than the beginning of such a file, or zeros where the disk had nothing yet: what a power failure leaves of
// one that was just written. Anything else that does not parse is damage.
bool is_torn_partition_metadata(std::string_view text);
std::string partition_metadata_text(const Uuid& topic_id);

// meta.properties of version 0, as a broker in ZooKeeper mode writes it; keys it does not know are kept.
struct MetaProperties {
  BrokerId broker_id = no_broker;
  std::string cluster_id;
  std::optional<Uuid> directory_id;
  std::map<std::string, std::string> others;
};
Result<MetaProperties> parse_meta_properties(std::string_view text);
std::string to_text(const MetaProperties& meta);
// Nothing when the file is not there.
Result<std::optional<MetaProperties>> read_meta_properties(runtime::Files& files, const std::string& directory);
Result<> write_meta_properties(runtime::Files& files, const std::string& directory, const MetaProperties& meta);

// An I/O failure as the protocol names it: KAFKA_STORAGE_ERROR.
std::unexpected<Error> storage_error(const runtime::IoError& error);

}  // namespace weir::log
