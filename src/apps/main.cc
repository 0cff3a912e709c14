#include <sys/prctl.h>

#include <cstdio>
#include <exception>
#include <string>
#include <variant>
#include <vector>

#include "apps/run.h"
#include "base/log.h"
#include "cli/command_line.h"

namespace {

using namespace weir;

void init_logging(const cli::LogOptions& log) { logging::init({log.level, log.format, {}}); }

struct Run {
  int operator()(const cli::BrokerOptions& o) const {
    init_logging(o.log);
    return apps::run_broker(o);
  }
  int operator()(const cli::ZookeeperOptions& o) const {
    init_logging(o.log);
    return apps::run_zookeeper(o);
  }
  int operator()(const cli::ControlOptions& o) const {
    init_logging(o.log);
    return apps::run_control(o);
  }
  int operator()(const cli::UpOptions& o) const { return apps::run_up(o); }
  int operator()(const cli::ClusterOptions& o) const { return apps::run_cluster(o); }
  int operator()(const cli::OperationOptions& o) const { return apps::run_operation_watch(o); }
  int operator()(const cli::CredentialsOptions& o) const { return apps::run_credentials(o); }
  int operator()(const cli::CaOptions& o) const { return apps::run_ca(o); }
  int operator()(const cli::StatusOptions& o) const { return apps::run_status(o); }
  int operator()(const cli::DownOptions& o) const { return apps::run_down(o); }
  int operator()(const cli::RestartOptions& o) const { return apps::run_restart(o); }
  int operator()(const cli::EnvOptions& o) const { return apps::run_env(o); }
  int operator()(const cli::MigrateCheckOptions& o) const { return apps::run_migrate_check(o); }
  int operator()(const cli::VersionOptions&) const {
    std::printf("weir %s\n", std::string(cli::version()).c_str());
    return cli::exit_ok;
  }
};

}  // namespace

int main(int argc, char** argv) {
  prctl(PR_SET_NAME, "weir");  // a child of `weir up` is started as /proc/self/exe
  try {
    auto command = cli::parse_command_line(std::vector<std::string>(argv + 1, argv + argc));
    if (!command) {
      const cli::Answer& answer = command.error();
      std::fputs(answer.text.c_str(), answer.exit_code == cli::exit_ok ? stdout : stderr);
      return answer.exit_code;
    }
    return std::visit(Run{}, *command);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "weir: %s\n", e.what());
    return cli::exit_failure;
  }
}
