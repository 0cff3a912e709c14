#include "log/names.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace weir::log {
namespace {

constexpr std::size_t digits = 20;
constexpr std::size_t name_bytes_max = 255;

bool all_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

std::string marked_directory_name(const TopicPartition& partition, const Uuid& unique, std::string_view suffix) {
  std::string tail = ".";
  for (auto b : unique.bytes) tail += fmt::format("{:02x}", b);
  tail += suffix;
  auto head = directory_name(partition);
  if (head.size() + tail.size() > name_bytes_max) head.resize(name_bytes_max - tail.size());
  return head + tail;
}

}  // namespace

std::string segment_file(Offset base, std::string_view suffix) { return fmt::format("{:020}{}", base.value, suffix); }

std::optional<Offset> parse_segment_file(std::string_view name, std::string_view suffix) {
  if (name.size() != digits + suffix.size() || !name.ends_with(suffix) || !all_digits(name.substr(0, digits))) {
    return std::nullopt;
  }
  Offset base;
  const auto number = name.substr(0, digits);
  if (std::from_chars(number.data(), number.data() + number.size(), base.value).ec != std::errc{}) return std::nullopt;
  return base;
}

std::string directory_name(const TopicPartition& partition) {
  return fmt::format("{}-{}", partition.topic, partition.partition.value);
}

std::optional<TopicPartition> parse_directory_name(std::string_view name) {
  const auto dash = name.rfind('-');
  if (dash == std::string_view::npos || dash == 0) return std::nullopt;
  const auto number = name.substr(dash + 1);
  if (!all_digits(number)) return std::nullopt;
  TopicPartition out{std::string(name.substr(0, dash)), {}};
  const auto [end, bad] = std::from_chars(number.data(), number.data() + number.size(), out.partition.value);
  if (bad != std::errc{} || end != number.data() + number.size()) return std::nullopt;
  return out;
}

std::string deleted_directory_name(const TopicPartition& partition, const Uuid& unique) {
  return marked_directory_name(partition, unique, delete_directory_suffix);
}

std::string stray_directory_name(const TopicPartition& partition, const Uuid& unique) {
  return marked_directory_name(partition, unique, stray_directory_suffix);
}

bool is_deleted_directory(std::string_view name) {
  return name.size() > delete_directory_suffix.size() && name.ends_with(delete_directory_suffix) && name.contains('.');
}

}  // namespace weir::log
