// From argv to a Command.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "cli/options.h"

namespace weir::cli {

inline constexpr int exit_ok = 0;
inline constexpr int exit_failure = 1;
inline constexpr int exit_usage = 2;

// What to print instead of doing anything: help (exit_ok, to stdout) or what is wrong (exit_usage, to stderr).
struct Answer {
  int exit_code = exit_ok;
  std::string text;
};

// `arguments` without the program's name.
std::expected<Command, Answer> parse_command_line(const std::vector<std::string>& arguments);

std::string_view version();  // "0.1.0"

}  // namespace weir::cli
