#include "cluster/topic_name.h"

#include <fmt/format.h>

#include <algorithm>

namespace weir::cluster {
namespace {

bool legal(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

Result<> validate(std::string_view name, std::size_t size_max) {
  const auto bad = [](std::string why) {
    return fail(ErrorCode::INVALID_TOPIC_EXCEPTION, "Topic name is invalid: " + std::move(why));
  };
  if (name.empty()) return bad("the empty string is not allowed");
  if (name == "." || name == "..") return bad(fmt::format("'{}' is not allowed", name));
  if (name.size() > size_max) {
    return bad(
        fmt::format("the length of '{}' is longer than the max allowed length {}", name.substr(0, size_max), size_max));
  }
  if (!std::all_of(name.begin(), name.end(), legal)) {
    return bad(
        fmt::format("'{}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'", name));
  }
  return {};
}

}  // namespace

Result<> validate_topic_name(std::string_view name) { return validate(name, topic_name_size_max); }

Result<> validate_name_of_existing(std::string_view name) {
  return validate(name, folder_name_size_max - std::string_view("-0").size());
}

bool folder_fits(std::string_view topic, std::int32_t partition) {
  return partition >= 0 && topic.size() + 1 + fmt::formatted_size("{}", partition) <= folder_name_size_max;
}

bool has_collision_chars(std::string_view name) { return name.find_first_of("._") != std::string_view::npos; }

bool collides(std::string_view a, std::string_view b) {
  const auto same = [](char x, char y) { return (x == '.' ? '_' : x) == (y == '.' ? '_' : y); };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), same);
}

bool internal_topic(std::string_view name) { return name == group_metadata_topic || name == transaction_state_topic; }

}  // namespace weir::cluster
