// What each command does; the result is the process's exit code (cli::exit_ok, exit_failure, exit_usage).
#pragma once

#include "cli/options.h"

namespace weir::apps {

// One broker, until SIGTERM or SIGINT. Logging is set up by main.
int run_broker(const cli::BrokerOptions& options);

// The coordination service alone, until SIGTERM or SIGINT.
int run_zookeeper(const cli::ZookeeperOptions& options);

// The supervisor of a coordination service and brokers, until SIGTERM or SIGINT (or in the background).
int run_up(cli::UpOptions options);

// The control plane, until SIGTERM or SIGINT.
int run_control(const cli::ControlOptions& options);
// Through the API, as any other client.
int run_cluster(const cli::ClusterOptions& options);
int run_operation_watch(const cli::OperationOptions& options);
// On the folder's file.
int run_credentials(const cli::CredentialsOptions& options);

// On the folder's files.
int run_ca(const cli::CaOptions& options);

int run_status(const cli::StatusOptions& options);
int run_down(const cli::DownOptions& options);
int run_restart(const cli::RestartOptions& options);
// Exit code 0: nothing stands in the way; 1: there are warnings; 2: something blocks.
int run_migrate_check(const cli::MigrateCheckOptions& options);
int run_env(const cli::EnvOptions& options);

}  // namespace weir::apps
