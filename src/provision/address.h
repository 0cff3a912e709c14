// Blocks of loopback addresses: on one machine each broker has an address of its own, so that all have MSK's ports.
//
// A pool is 127.A, its blocks are 127.A.1 to 127.A.254, a block's addresses end in the broker's id: with the pool
// "127.0", broker 2 of the cluster in block "127.0.7" is at 127.0.7.2. 127.0.0 is left to `weir up` itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::provision {

inline constexpr std::int32_t block_brokers_max = 254;

// "127.A" with A from 0 to 255.
bool valid_pool(std::string_view pool);
// "127.A.B", B from 1 on, of this pool.
bool valid_block(std::string_view pool, std::string_view block);
// Those of the pool that are not taken, in order.
std::vector<std::string> free_blocks(std::string_view pool, const std::vector<std::string>& taken);
// Nothing: no such broker can be.
std::optional<std::string> block_address(std::string_view block, std::int32_t broker);

}  // namespace weir::provision
