// How much memory this process may use, as the machine and its control groups say.
#pragma once

#include <cstdint>
#include <string>

namespace weir::runtime {

// The least of the machine's memory and the limits of the control groups (v1 and v2) this process is in; 0 when none of
// them can be read. Reads a few small files of /proc and /sys; `root` stands before their paths (tests).
std::uint64_t memory_limit_bytes(const std::string& root = {});

}  // namespace weir::runtime
