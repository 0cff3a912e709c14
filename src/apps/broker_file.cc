#include "apps/broker_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "base/units.h"
#include "runtime/files.h"

namespace weir::apps {

std::expected<BrokerFile, std::vector<std::string>> read_broker_file(const cli::BrokerOptions& options) {
  using Errors = std::vector<std::string>;
  auto text = runtime::system_files().read_whole(options.config_path, 16 * MiB);
  if (!text) return std::unexpected(Errors{text.error().message});
  auto file = config::parse_properties(*text);
  if (!file) return std::unexpected(Errors{options.config_path + ": " + file.error()});
  for (const auto& [key, value] : options.overrides) file->insert_or_assign(key, value);
  auto loaded = config::load_broker_config({{}, {}, *file});
  if (!loaded) {
    Errors errors;
    for (const auto& error : loaded.error()) {
      const bool overridden = std::ranges::any_of(
          options.overrides, [&](const auto& override) { return error.starts_with(override.first + "="); });
      errors.push_back(overridden ? "--override " + error : fmt::format("{}: {}", options.config_path, error));
    }
    return std::unexpected(std::move(errors));
  }
  return BrokerFile{std::move(*file), std::move(*loaded)};
}

void log_findings(const config::LoadedBrokerConfig& loaded) {
  for (const auto& warning : loaded.warnings) WEIR_LOG(warn, "configuration: {}", warning);
  for (const auto& key : loaded.accepted) WEIR_LOG(debug, "accepted, has no effect in Weir: {}", key);
}

}  // namespace weir::apps
