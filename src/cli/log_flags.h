// Flags that every command that runs a process has. Included by .cc files with CLI11 only.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "cli/options.h"

namespace weir::cli {

// `what` serves: "it", "the broker".
inline void add_ready_fd(CLI::App& app, int& descriptor, const std::string& what = "it") {
  app.add_option("--ready-fd", descriptor, "Write \"ready\" to this descriptor once " + what + " serves")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
}

struct LogFlags {
  std::string level = "info";
  std::string format = "text";

  void bind(CLI::App& app) {
    app.add_option("--log-level", level, "What is logged")
        ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}))
        ->type_name("LEVEL")
        ->default_str("info");
    app.add_option("--log-format", format, "How a line of log looks")
        ->check(CLI::IsMember({"text", "json"}))
        ->type_name("FORMAT")
        ->default_str("text");
  }
  LogOptions options() const {
    LogOptions o;
    logging::parse(level, o.level);
    o.format = format == "json" ? logging::Format::json : logging::Format::text;
    return o;
  }
};

}  // namespace weir::cli
