// The one list of what this broker serves. ApiVersions is answered from it; what is not in it does not exist.
#pragma once

#include <cstdint>
#include <span>

#include "broker/request.h"

namespace weir::broker {

struct ApiRow {
  std::int16_t key;
  std::int16_t version_min;
  std::int16_t version_max;
  Handler handler;
};

// In ascending order of keys.
std::span<const ApiRow> api_table();
// Null for what is not served.
const ApiRow* find_row(std::int16_t key);

}  // namespace weir::broker
