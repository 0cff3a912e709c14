#include "provision/address.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace weir::provision {

namespace {

// A number from `from` to `to` in plain digits.
std::optional<int> number(std::string_view text, int from, int to) {
  int value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size() || value < from || value > to) return {};
  if (fmt::format("{}", value) != text) return {};
  return value;
}

}  // namespace

bool valid_pool(std::string_view pool) {
  return pool.starts_with("127.") && number(pool.substr(4), 0, 255).has_value();
}

bool valid_block(std::string_view pool, std::string_view block) {
  return block.starts_with(pool) && block.substr(pool.size()).starts_with(".") &&
         number(block.substr(pool.size() + 1), 1, 254).has_value();
}

std::vector<std::string> free_blocks(std::string_view pool, const std::vector<std::string>& taken) {
  std::vector<std::string> out;
  for (int b = 1; b <= 254; ++b) {
    auto block = fmt::format("{}.{}", pool, b);
    if (std::ranges::find(taken, block) == taken.end()) out.push_back(std::move(block));
  }
  return out;
}

std::optional<std::string> block_address(std::string_view block, std::int32_t broker) {
  if (broker < 1 || broker > block_brokers_max) return std::nullopt;
  return fmt::format("{}.{}", block, broker);
}

}  // namespace weir::provision
