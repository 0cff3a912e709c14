#include "runtime/memory_limit.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace weir::runtime {
namespace {

struct Machine {
  Machine() : root(testing::TempDir() + "weir-memory-" + std::to_string(::getpid())) {}
  ~Machine() { std::filesystem::remove_all(root); }
  void put(const std::string& path, const std::string& text) const {
    const std::filesystem::path at = root + path;
    std::filesystem::create_directories(at.parent_path());
    std::ofstream(at) << text;
  }
  std::string root;
};

TEST(MemoryLimit, is_the_least_of_machine_and_groups) {
  const Machine machine;
  EXPECT_EQ(memory_limit_bytes(machine.root), 0U) << "nothing can be read";
  machine.put("/proc/meminfo", "MemTotal:        8000000 kB\nMemFree:          100 kB\n");
  EXPECT_EQ(memory_limit_bytes(machine.root), 8'192'000'000U);
  machine.put("/proc/self/cgroup", "0::/a.slice/b.service\n");
  machine.put("/sys/fs/cgroup/a.slice/b.service/memory.max", "max\n");
  EXPECT_EQ(memory_limit_bytes(machine.root), 8'192'000'000U);
  machine.put("/sys/fs/cgroup/a.slice/memory.max", "2000000000\n");
  EXPECT_EQ(memory_limit_bytes(machine.root), 2'000'000'000U) << "of the group that this group lies in";
  machine.put("/sys/fs/cgroup/a.slice/b.service/memory.max", "1000000000\n");
  EXPECT_EQ(memory_limit_bytes(machine.root), 1'000'000'000U);
  machine.put("/sys/fs/cgroup/memory.max", "500000000\n");
  EXPECT_EQ(memory_limit_bytes(machine.root), 500'000'000U) << "a container sees its own group as the root";
}

TEST(MemoryLimit, of_groups_of_the_first_version) {
  const Machine machine;
  machine.put("/proc/meminfo", "MemTotal:        8000000 kB\n");
  machine.put("/proc/self/cgroup", "3:cpu,cpuacct:/x\n2:hugetlb,memory:/docker/1\n0::/\n");
  machine.put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  machine.put("/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "300000000\n");
  EXPECT_EQ(memory_limit_bytes(machine.root), 300'000'000U);
}

}  // namespace
}  // namespace weir::runtime
