// The option --zookeeper, as zookeeper.connect. Included by .cc files with CLI11 only.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <string>

#include "base/zk_connect.h"

namespace weir::cli {

inline CLI::Option* add_zookeeper_flag(CLI::App& app, std::string& connect, const std::string& what) {
  return app.add_option("--zookeeper", connect, what)
      ->type_name("HOST[:PORT][,...][/CHROOT]")
      ->check([](const std::string& text) {
        const auto parsed = parse_zk_connect(text);
        return parsed ? std::string() : fmt::format("{}: {}", text, parsed.error());
      });
}

}  // namespace weir::cli
