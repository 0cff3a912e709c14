// What a check found, and how it is told: `weir migrate check`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weir::cli {

enum class Level { ok, warning, blocks };
std::string_view name(Level level);

struct Finding {
  Level level = Level::ok;
  std::string subject;  // "controller", "listeners"
  std::string text;     // what was seen
  std::string advice;   // what to do; empty when nothing is to do
  friend bool operator==(const Finding&, const Finding&) = default;
};

// The gravest of them; ok when there are none.
Level verdict(const std::vector<Finding>& findings);
// 0, 1 or 2.
int exit_code(Level verdict);

// A line a finding, its advice below it, and the verdict last. `title` says what was looked at.
std::string findings_text(std::string_view title, const std::vector<Finding>& findings);
std::string findings_json(std::string_view title, const std::vector<Finding>& findings);

// "a, b, c and 7 more": at most five of them.
std::string some_of(const std::vector<std::string>& names);

}  // namespace weir::cli
