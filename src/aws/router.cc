#include "aws/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "aws/sigv4.h"
#include "base/check.h"

namespace weir::aws {
namespace {

std::vector<std::string_view> segments_of(std::string_view path) {
  std::vector<std::string_view> out;
  if (!path.starts_with('/')) return out;
  for (std::size_t from = 1; from <= path.size();) {
    const auto to = std::min(path.find('/', from), path.size());
    out.push_back(path.substr(from, to - from));
    from = to + 1;
  }
  return out;
}

bool is_label(std::string_view segment) { return segment.starts_with('{'); }

// A signature covers the path without its dot segments; such a path means no label.
bool usable(std::string_view segment) { return !segment.empty() && segment != "." && segment != ".."; }

bool fits(const std::vector<std::string>& wanted, const std::vector<std::string_view>& given) {
  return std::ranges::equal(wanted, given, [](const std::string& want, std::string_view have) {
    return usable(have) && (is_label(want) || want == have);
  });
}

std::unexpected<Fault> bad_encoding() {
  return std::unexpected(fault(400, "BadRequestException", "The request URI has a '%' that encodes nothing."));
}

}  // namespace

Router::Router(std::vector<Route> routes) {
  for (auto& route : routes) {
    Template made;
    made.method = std::move(route.method);
    made.operation = std::move(route.operation);
    for (auto segment : segments_of(route.uri)) {
      if (is_label(segment)) {
        WEIR_CHECK(segment.size() > 2 && segment.back() == '}', "a label is a name in braces");
        segment.remove_suffix(1);
      }
      made.segments.emplace_back(segment);
    }
    WEIR_CHECK(!made.segments.empty(), "a template begins with a slash");
    templates_.push_back(std::move(made));
  }
  const auto shape = [](const Template& t) {
    std::vector<std::pair<bool, std::string>> out;
    for (const auto& s : t.segments) out.emplace_back(is_label(s), is_label(s) ? std::string() : s);
    return std::make_pair(std::move(out), t.method);
  };
  std::ranges::sort(templates_, {}, shape);
  const auto same = std::ranges::adjacent_find(templates_, {}, shape);
  WEIR_CHECK(same == templates_.end(), "each route has a method and a path of its own");
}

std::expected<Match, Fault> Router::match(std::string_view method, std::string_view target) const {
  const auto mark = std::min(target.find('?'), target.size());
  const auto path = target.substr(0, mark);
  const auto given = segments_of(path);
  bool other_method = false;
  for (const auto& candidate : templates_) {
    if (!fits(candidate.segments, given)) continue;
    if (candidate.method != method) {
      other_method = true;
      continue;
    }
    Match out;
    out.operation = candidate.operation;
    for (std::size_t i = 0; i < given.size(); ++i) {
      if (!is_label(candidate.segments[i])) continue;
      auto value = uri_decode(given[i]);
      if (!value) return bad_encoding();
      out.labels[candidate.segments[i].substr(1)] = std::move(*value);
    }
    auto query = parse_query(mark == target.size() ? std::string_view() : target.substr(mark + 1));
    if (!query) return std::unexpected(query.error());
    out.query = std::move(*query);
    return out;
  }
  constexpr std::size_t shown_max = 200;
  if (other_method) {
    return std::unexpected(fault(405, "UnknownOperationException",
                                 fmt::format("{} is not a method of {}.", method, path.substr(0, shown_max))));
  }
  return std::unexpected(fault(404, "UnknownOperationException",
                               fmt::format("No operation has the path {}. (An ARN is one path segment: its slashes "
                                           "are sent as %2F.)",
                                           path.substr(0, shown_max))));
}

std::expected<Query, Fault> parse_query(std::string_view query) {
  Query out;
  for (std::size_t from = 0; from < query.size();) {
    const auto to = std::min(query.find('&', from), query.size());
    const auto part = query.substr(from, to - from);
    from = to + 1;
    if (part.empty()) continue;
    const auto equals = std::min(part.find('='), part.size());
    auto name = uri_decode(part.substr(0, equals));
    auto value = uri_decode(part.substr(std::min(equals + 1, part.size())));
    if (!name || !value) return bad_encoding();
    out.emplace(std::move(*name), std::move(*value));
  }
  return out;
}

}  // namespace weir::aws
