#include "runtime/memory_limit.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <string_view>

namespace weir::runtime {
namespace {

constexpr auto none = std::numeric_limits<std::uint64_t>::max();

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;  // "max"
  return value;
}

std::uint64_t limit_in(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  if (!std::getline(in, line)) return none;
  return number(line).value_or(none);
}

// The group's own limit and those of all it lies in; a container may see its own group as the root.
std::uint64_t least_up_from(const std::string& mount, std::string group, const std::string& file) {
  auto least = limit_in(mount + "/" + file);
  while (group.size() > 1 && group.front() == '/') {
    least = std::min(least, limit_in(mount + group + "/" + file));
    group.resize(group.rfind('/'));
  }
  return least;
}

std::uint64_t machine(const std::string& root) {
  std::ifstream in(root + "/proc/meminfo");
  std::string name;
  std::uint64_t kib = 0;
  if (in >> name >> kib && name == "MemTotal:") return kib * 1024;
  return none;
}

}  // namespace

std::uint64_t memory_limit_bytes(const std::string& root) {
  auto least = machine(root);
  std::ifstream in(root + "/proc/self/cgroup");
  std::string line;
  while (std::getline(in, line)) {  // "0::/group" (v2), "5:memory:/group" (v1)
    const auto first = line.find(':');
    const auto second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos || line.find("/..") != std::string::npos) continue;
    const auto controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const auto group = line.substr(second + 1);
    if (controllers == ",,") {
      least = std::min(least, least_up_from(root + "/sys/fs/cgroup", group, "memory.max"));
    } else if (controllers.find(",memory,") != std::string::npos) {
      least = std::min(least, least_up_from(root + "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes"));
    }
  }
  return least == none ? 0 : least;
}

}  // namespace weir::runtime
