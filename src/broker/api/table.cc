#include "broker/api/table.h"

#include <array>

#include "broker/api/handlers.h"

namespace weir::broker {
namespace {

// Versions: from the oldest that Kafka 3.9 takes to the newest it speaks in ZooKeeper mode.
constexpr std::array<ApiRow, 36> rows{{
    {0, 0, 11, api::produce},
    {1, 4, 17, api::fetch},
    {2, 1, 9, api::list_offsets},
    {3, 0, 12, api::metadata},
    {4, 0, 7, api::leader_and_isr},
    {5, 0, 4, api::stop_replica},
    {6, 0, 8, api::update_metadata},
    {7, 0, 3, api::controlled_shutdown},
    {8, 0, 9, api::offset_commit},
    {9, 0, 9, api::offset_fetch},
    {10, 0, 6, api::find_coordinator},
    {11, 0, 9, api::join_group},
    {12, 0, 4, api::heartbeat},
    {13, 0, 5, api::leave_group},
    {14, 0, 5, api::sync_group},
    {15, 0, 5, api::describe_groups},
    {16, 0, 5, api::list_groups},
    {18, 0, 4, api::api_versions},
    {19, 0, 7, api::create_topics},
    {20, 0, 6, api::delete_topics},
    {21, 0, 2, api::delete_records},
    {22, 0, 5, api::init_producer_id},
    {23, 0, 4, api::offset_for_leader_epoch},
    {32, 0, 4, api::describe_configs},
    {33, 0, 2, api::alter_configs},
    {35, 0, 4, api::describe_log_dirs},
    {37, 0, 3, api::create_partitions},
    {42, 0, 2, api::delete_groups},
    {43, 0, 2, api::elect_leaders},
    {44, 0, 1, api::incremental_alter_configs},
    {45, 0, 0, api::alter_partition_reassignments},
    {46, 0, 0, api::list_partition_reassignments},
    {47, 0, 0, api::offset_delete},
    {56, 0, 3, api::alter_partition},
    {60, 0, 1, api::describe_cluster},
    {67, 0, 0, api::allocate_producer_ids},
}};

}  // namespace

std::span<const ApiRow> api_table() { return rows; }

const ApiRow* find_row(std::int16_t key) {
  for (const auto& row : rows) {
    if (row.key == key) return &row;
  }
  return nullptr;
}

}  // namespace weir::broker
