#include "apps/data_dir.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

#include "apps/process.h"

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

std::expected<void, std::string> DataDir::make() const {
  for (const auto& folder : {path_ + "/run", path_ + "/log", zookeeper(), broker() + "/data"}) {
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
