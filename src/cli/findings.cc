#include "cli/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <iterator>

namespace weir::cli {

std::string_view name(Level level) {
  switch (level) {
    case Level::ok: return "ok";
    case Level::warning: return "warning";
    case Level::blocks: return "blocks";
  }
  return "?";
}

Level verdict(const std::vector<Finding>& findings) {
  Level gravest = Level::ok;
  for (const auto& finding : findings) gravest = std::max(gravest, finding.level);
  return gravest;
}

int exit_code(Level verdict) { return static_cast<int>(verdict); }

std::string findings_text(std::string_view title, const std::vector<Finding>& findings) {
  std::string out = fmt::format("{}\n", title);
  auto to = std::back_inserter(out);
  for (const auto& finding : findings) {
    fmt::format_to(to, "  {:<8} {}: {}\n", name(finding.level), finding.subject, finding.text);
    if (!finding.advice.empty()) fmt::format_to(to, "           -> {}\n", finding.advice);
  }
  const auto count = [&](Level level) { return std::ranges::count(findings, level, &Finding::level); };
  switch (verdict(findings)) {
    case Level::ok: out += "Nothing stands in the way.\n"; break;
    case Level::warning:
      fmt::format_to(to, "It can be done; first read the warnings ({}).\n", count(Level::warning));
      break;
    case Level::blocks:
      fmt::format_to(to, "Not yet: what blocks ({}) has to be done away with first.\n", count(Level::blocks));
      break;
  }
  return out;
}

std::string findings_json(std::string_view title, const std::vector<Finding>& findings) {
  namespace json = boost::json;
  json::array list;
  for (const auto& finding : findings) {
    list.push_back(json::object{{"level", name(finding.level)},
                                {"subject", finding.subject},
                                {"text", finding.text},
                                {"advice", finding.advice}});
  }
  json::object root;
  root["title"] = title;
  root["verdict"] = name(verdict(findings));
  root["findings"] = std::move(list);
  return json::serialize(root) + "\n";
}

std::string some_of(const std::vector<std::string>& names) {
  constexpr std::size_t shown_max = 5;
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), shown_max); ++i) out += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > shown_max) out += fmt::format(" and {} more", names.size() - shown_max);
  return out;
}

}  // namespace weir::cli
