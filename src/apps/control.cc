#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>

#include "apps/certificates.h"
#include "apps/cluster_view.h"
#include "apps/control_files.h"
#include "apps/control_socket.h"
#include "apps/data_dir.h"
#include "apps/process.h"
#include "apps/run.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "cli/text.h"
#include "runtime/clock.h"
#include "runtime/files.h"

// status, down, restart, env: what is said to, and about, a `weir up` that runs elsewhere.

namespace weir::apps {

namespace {

int complain(const std::string& text) {
  fmt::print(stderr, "weir: {}\n", text);
  return cli::exit_failure;
}

}  // namespace

int run_status(const cli::StatusOptions& options) {
  auto dir = DataDir::find(options.data_dir);
  if (!dir) return complain(dir.error());
  cli::State state;
  state.data_dir = dir->path();
  if (auto read = dir->read_state()) state = as_of_now(std::move(*read));
  bool running = supervisor_runs(state);
  std::fputs((options.json ? cli::status_json(state, running) : cli::status_text(state, running)).c_str(), stdout);
  if (!options.json) {
    const ControlFiles files(*dir);
    const auto authority = runtime::system_files().read_whole(files.authority() + "/ca.crt", 1 << 16);
    const auto now_s = std::chrono::duration_cast<seconds>(runtime::system_clock().wall()).count();
    const auto warning = authority ? authority_warning(*authority, now_s, cli::ControlOptions().certificate_s) : "";
    if (!warning.empty()) fmt::print("warning: {}\n", warning);
  }
  return running ? cli::exit_ok : cli::exit_failure;
}

namespace {

int not_running(const DataDir& dir) {
  return complain(fmt::format("it does not run on {}: start it with `weir up`", dir.path()));
}

// Has the supervisor stop or restart a broker, and says how it went.
bool order(const DataDir& dir, const char* what, int broker, int timeout_seconds) {
  auto done =
      ask_supervisor(dir.control_folder(), fmt::format("{} {}", what, broker), std::chrono::seconds(timeout_seconds));
  if (!done) {
    complain(done.error());
    return false;
  }
  fmt::print("{}\n", *done);
  std::fflush(stdout);
  return true;
}

}  // namespace

int run_restart(const cli::RestartOptions& options) {
  auto dir = DataDir::find(options.data_dir);
  if (!dir) return complain(dir.error());
  auto state = dir->read_state();
  if (!state || !supervisor_runs(*state)) return not_running(*dir);
  if (options.broker) {
    return order(*dir, "restart", *options.broker, options.timeout_seconds) ? cli::exit_ok : cli::exit_failure;
  }
  logging::init({logging::Level::error, logging::Format::text, {}});  // the session's words are nobody's here
  const auto* zookeeper = state->find("zookeeper");
  for (const auto& process : state->processes) {
    if (process.role != "broker") continue;
    if (!order(*dir, "restart", *process.id, options.timeout_seconds)) return cli::exit_failure;
    const auto address = zookeeper->addresses.find("client");
    auto in_sync = wait_in_sync(address == zookeeper->addresses.end() ? "" : address->second, BrokerId{*process.id},
                                std::chrono::seconds(options.timeout_seconds));
    if (!in_sync) {
      return complain(fmt::format("{}; the brokers after it were not restarted", in_sync.error()));
    }
  }
  return cli::exit_ok;
}

int run_down(const cli::DownOptions& options) {
  auto dir = DataDir::find(options.data_dir);
  if (!dir) return complain(dir.error());
  auto state = dir->read_state();
  if (options.broker) {
    if (!state || !supervisor_runs(*state)) return not_running(*dir);
    return order(*dir, "down", *options.broker, options.timeout_seconds) ? cli::exit_ok : cli::exit_failure;
  }
  if (!state || std::ranges::none_of(as_of_now(*state).processes, [](auto& p) { return p.process.pid != 0; })) {
    fmt::print("weir does not run on {}\n", dir->path());
    return cli::exit_ok;
  }
  const milliseconds timeout = std::chrono::seconds(options.timeout_seconds);
  if (supervisor_runs(*state)) {
    const cli::ProcessId supervisor = state->find("supervisor")->process;
    signal_process(supervisor, SIGTERM);
    if (!wait_for_end(supervisor, timeout)) {
      return complain(
          fmt::format("it did not stop within {} s (pid {}, logs in {}/log); --timeout waits longer, a "
                      "second `weir down` kills what hangs",
                      options.timeout_seconds, supervisor.pid, dir->path()));
    }
  } else {
    end_processes(*state, timeout);  // the supervisor was killed; its children end by themselves, or are ended here
  }
  fmt::print("weir is stopped; its data stays in {}\n", dir->path());
  return cli::exit_ok;
}

int run_env(const cli::EnvOptions& options) {
  auto dir = DataDir::find(options.data_dir);
  if (!dir) return complain(dir.error());
  auto state = dir->read_state();
  const bool up = state && supervisor_runs(*state);
  const auto text = (up ? cli::env_text(*state) : "") + api_env_text(ControlFiles(*dir));
  if (text.empty()) return not_running(*dir);
  std::fputs(text.c_str(), stdout);
  return cli::exit_ok;
}

}  // namespace weir::apps
