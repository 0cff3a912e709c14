#include "apps/data_dir.h"

#include <fmt/format.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "apps/process.h"
#include "cli/place.h"

namespace weir::apps {

std::expected<DataDir, std::string> DataDir::find(const std::string& given) {
  std::string path = given;
  if (path.empty()) {
    const char* home = std::getenv("HOME");
    if (home == nullptr || *home == '\0') return std::unexpected("HOME is not set: say --data DIR");
    path = std::string(home) + "/.weir";
  }
  std::error_code error;
  auto absolute = std::filesystem::absolute(path, error).lexically_normal().string();
  if (error) return std::unexpected(fmt::format("cannot find {}: {}", path, error.message()));
  while (absolute.size() > 1 && absolute.ends_with('/')) absolute.pop_back();
  if (absolute.find(',') != std::string::npos) {
    return std::unexpected(fmt::format("--data {}: a comma cannot be in it, since log.dirs is a list", absolute));
  }
  return DataDir(std::move(absolute));
}

int DataDir::brokers() const {
  std::error_code error;
  for (int id = cli::brokers_max; id > 0; --id) {
    if (std::filesystem::exists(broker_data(id) + "/meta.properties", error)) return id;
    if (std::filesystem::exists(broker_asked(id), error)) return id;
  }
  return 0;
}

std::expected<void, std::string> DataDir::make(int brokers) const {
  std::vector<std::string> folders{path_ + "/run", path_ + "/log", zookeeper()};
  for (int id = 1; id <= brokers; ++id) folders.push_back(broker_data(id));
  for (const auto& folder : folders) {
    if (auto made = runtime::system_files().make_directories(folder); !made) {
      return std::unexpected(made.error().message);
    }
  }
  return {};
}

std::expected<cli::State, std::string> DataDir::read_state() const {
  auto text = runtime::system_files().read_whole(state(), 1 << 20);
  if (!text) return std::unexpected(text.error().message);
  return cli::parse_state(*text);
}

std::expected<void, std::string> DataDir::write_state(const cli::State& s) const {
  if (auto written = runtime::system_files().write_whole(state(), cli::to_json(s)); !written) {
    return std::unexpected(written.error().message);
  }
  return {};
}

bool supervisor_runs(const cli::State& state) {
  const cli::ProcessState* supervisor = state.find("supervisor");
  return supervisor != nullptr && state.boot_id == boot_id() && alive(supervisor->process);
}

void end_processes(const cli::State& state, milliseconds timeout) {
  const auto end = [&](bool brokers) {
    std::vector<cli::ProcessId> asked;
    for (const auto& p : state.processes) {
      const bool first = p.role == "broker" || p.role == "control";
      if (p.role == "supervisor" || first != brokers) continue;
      if (signal_process(p.process, brokers ? stop_with_all_signal : SIGTERM)) asked.push_back(p.process);
    }
    for (const auto& process : asked) {
      if (wait_for_end(process, timeout)) continue;
      signal_process(process, SIGKILL);
      wait_for_end(process, timeout);
    }
  };
  end(true);
  end(false);
}

cli::State as_of_now(cli::State state) {
  bool same_boot = state.boot_id == boot_id();
  for (auto& p : state.processes) {
    if (same_boot && alive(p.process)) continue;
    p.process = {};
    if (p.state != "waiting" || !supervisor_runs(state)) p.state = "stopped";
  }
  return state;
}

}  // namespace weir::apps
