#include "bytes/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>
#include <cstddef>
#include <limits>

namespace weir::bytes {

std::uint32_t crc32c_extend(std::uint32_t crc, Bytes data) {
  crc = ~crc;
  while (!data.empty()) {
    const auto n = std::min<std::size_t>(data.size(), std::numeric_limits<int>::max());
    // ISA-L's parameter is not const, but it only reads.
    crc = crc32_iscsi(reinterpret_cast<unsigned char*>(const_cast<std::byte*>(data.data())), static_cast<int>(n), crc);
    data = data.subspan(n);
  }
  return ~crc;
}

std::uint32_t crc32c(Bytes data) { return crc32c_extend(0, data); }

}  // namespace weir::bytes
