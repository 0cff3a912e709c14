// The handlers, one a file; api/table.cc lists them with their versions.
#pragma once

#include "broker/request.h"

namespace weir::broker::api {

Task<Response> produce(Request& request);                        // 00_produce.cc
Task<Response> fetch(Request& request);                          // 01_fetch.cc
Task<Response> list_offsets(Request& request);                   // 02_list_offsets.cc
Task<Response> metadata(Request& request);                       // 03_metadata.cc
Task<Response> leader_and_isr(Request& request);                 // 04_leader_and_isr.cc
Task<Response> stop_replica(Request& request);                   // 05_stop_replica.cc
Task<Response> update_metadata(Request& request);                // 06_update_metadata.cc
Task<Response> controlled_shutdown(Request& request);            // 07_controlled_shutdown.cc
Task<Response> offset_commit(Request& request);                  // 08_offset_commit.cc
Task<Response> offset_fetch(Request& request);                   // 09_offset_fetch.cc
Task<Response> find_coordinator(Request& request);               // 10_find_coordinator.cc
Task<Response> join_group(Request& request);                     // 11_join_group.cc
Task<Response> heartbeat(Request& request);                      // 12_heartbeat.cc
Task<Response> leave_group(Request& request);                    // 13_leave_group.cc
Task<Response> sync_group(Request& request);                     // 14_sync_group.cc
Task<Response> describe_groups(Request& request);                // 15_describe_groups.cc
Task<Response> list_groups(Request& request);                    // 16_list_groups.cc
Task<Response> api_versions(Request& request);                   // 18_api_versions.cc
Task<Response> create_topics(Request& request);                  // 19_create_topics.cc
Task<Response> delete_topics(Request& request);                  // 20_delete_topics.cc
Task<Response> delete_records(Request& request);                 // 21_delete_records.cc
Task<Response> init_producer_id(Request& request);               // 22_init_producer_id.cc
Task<Response> offset_for_leader_epoch(Request& request);        // 23_offset_for_leader_epoch.cc
Task<Response> describe_configs(Request& request);               // 32_describe_configs.cc
Task<Response> alter_configs(Request& request);                  // 33_alter_configs.cc
Task<Response> describe_log_dirs(Request& request);              // 35_describe_log_dirs.cc
Task<Response> create_partitions(Request& request);              // 37_create_partitions.cc
Task<Response> delete_groups(Request& request);                  // 42_delete_groups.cc
Task<Response> elect_leaders(Request& request);                  // 43_elect_leaders.cc
Task<Response> incremental_alter_configs(Request& request);      // 44_incremental_alter_configs.cc
Task<Response> alter_partition_reassignments(Request& request);  // 45_alter_partition_reassignments.cc
Task<Response> list_partition_reassignments(Request& request);   // 46_list_partition_reassignments.cc
Task<Response> offset_delete(Request& request);                  // 47_offset_delete.cc
Task<Response> alter_partition(Request& request);                // 56_alter_partition.cc
Task<Response> describe_cluster(Request& request);               // 60_describe_cluster.cc
Task<Response> allocate_producer_ids(Request& request);          // 67_allocate_producer_ids.cc

}  // namespace weir::broker::api
