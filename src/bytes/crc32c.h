// CRC-32C (Castagnoli), the checksum of record batches v2. Hardware speed through ISA-L.
#pragma once

#include <cstdint>

#include "bytes/shared.h"

namespace weir::bytes {

std::uint32_t crc32c(Bytes data);
// Goes on from the checksum of what came before: crc32c(ab) == crc32c_extend(crc32c(a), b).
std::uint32_t crc32c_extend(std::uint32_t crc, Bytes data);

}  // namespace weir::bytes
