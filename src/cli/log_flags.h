// --log-level and --log-format, which every command that runs a process has. Included by .cc files with CLI11 only.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "cli/options.h"

namespace weir::cli {

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
