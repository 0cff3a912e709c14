// Text as Java sees it: UTF-16. Which partition a group belongs to depends on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir::coordinator {

// String.hashCode of this UTF-8 text. What is not UTF-8 counts as U+FFFD, as when Java decodes it.
std::int32_t java_hash(std::string_view utf8);
// String.length.
std::size_t utf16_length(std::string_view utf8);
// The partition of __consumer_offsets (or __transaction_state) for an id. `partitions` is at least 1.
std::int32_t partition_for(std::string_view id, std::int32_t partitions);

}  // namespace weir::coordinator
