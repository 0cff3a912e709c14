#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>

#include "apps/data_dir.h"
#include "apps/process.h"
#include "apps/run.h"
#include "cli/command_line.h"
#include "cli/text.h"

// status, down, env: what is said to, and about, a `weir up` that runs elsewhere.

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
  return running ? cli::exit_ok : cli::exit_failure;
}

int run_down(const cli::DownOptions& options) {
  auto dir = DataDir::find(options.data_dir);
  if (!dir) return complain(dir.error());
  auto state = dir->read_state();
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
    // The supervisor was killed; its children end by themselves, or are ended here, brokers first.
    auto now = as_of_now(*state);
    std::ranges::reverse(now.processes);
    for (const auto& p : now.processes) {
      if (!signal_process(p.process, SIGTERM)) continue;
      if (!wait_for_end(p.process, timeout)) signal_process(p.process, SIGKILL);
    }
  }
  fmt::print("weir is stopped; its data stays in {}\n", dir->path());
  return cli::exit_ok;
}

int run_env(const cli::EnvOptions& options) {
  auto dir = DataDir::find(options.data_dir);
  if (!dir) return complain(dir.error());
  auto state = dir->read_state();
  if (!state || !supervisor_runs(*state)) {
    return complain(fmt::format("it does not run on {}: start it with `weir up`", dir->path()));
  }
  std::fputs(cli::env_text(*state).c_str(), stdout);
  return cli::exit_ok;
}

}  // namespace weir::apps
