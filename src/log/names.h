// Names of files and directories, as Kafka gives them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/id.h"
#include "base/uuid.h"

namespace weir::log {

struct TopicPartition {
  std::string topic;
  PartitionId partition;
  friend auto operator<=>(const TopicPartition&, const TopicPartition&) = default;
};

inline constexpr std::string_view log_suffix = ".log";
inline constexpr std::string_view index_suffix = ".index";
inline constexpr std::string_view time_index_suffix = ".timeindex";
inline constexpr std::string_view txn_index_suffix = ".txnindex";
inline constexpr std::string_view snapshot_suffix = ".snapshot";
inline constexpr std::string_view deleted_suffix = ".deleted";
inline constexpr std::string_view cleaned_suffix = ".cleaned";
inline constexpr std::string_view swap_suffix = ".swap";
inline constexpr std::string_view delete_directory_suffix = "-delete";
inline constexpr std::string_view stray_directory_suffix = "-stray";
inline constexpr std::string_view future_directory_suffix = "-future";
inline constexpr std::string_view epoch_checkpoint_name = "leader-epoch-checkpoint";
inline constexpr std::string_view partition_metadata_name = "partition.metadata";
inline constexpr std::string_view recovery_point_name = "recovery-point-offset-checkpoint";
inline constexpr std::string_view log_start_name = "log-start-offset-checkpoint";
inline constexpr std::string_view replication_name = "replication-offset-checkpoint";
inline constexpr std::string_view cleaner_name = "cleaner-offset-checkpoint";
inline constexpr std::string_view meta_properties_name = "meta.properties";
inline constexpr std::string_view lock_name = ".lock";
inline constexpr std::string_view clean_shutdown_name = ".kafka_cleanshutdown";

// "00000000000000000042.log"
std::string segment_file(Offset base, std::string_view suffix);
// The offset of a name of 20 digits and `suffix`; nothing for any other name.
std::optional<Offset> parse_segment_file(std::string_view name, std::string_view suffix);

// "orders-eu-3"; the partition is what stands after the last dash.
std::string directory_name(const TopicPartition& partition);
// Nothing for what is not a partition's directory (also "-delete", "-stray" and "-future" ones).
std::optional<TopicPartition> parse_directory_name(std::string_view name);
// "orders-eu-3.<32 hex digits>-delete", at most 255 bytes as Kafka keeps it.
std::string deleted_directory_name(const TopicPartition& partition, const Uuid& unique);
// "orders-eu-3.<32 hex digits>-stray": kept for people, loaded by nobody.
std::string stray_directory_name(const TopicPartition& partition, const Uuid& unique);
bool is_deleted_directory(std::string_view name);

}  // namespace weir::log
