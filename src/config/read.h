// Typed reading of values that were checked before: for this room's own use.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "config/key.h"
#include "config/properties.h"

namespace weir::config {

// Values over the defaults of the broker's table.
struct Read {
  const Properties& values;

  bool is_set(std::string_view key) const { return values.contains(key); }

  // The value in force or the default; empty for neither.
  std::string_view text(std::string_view key) const {
    if (auto it = values.find(key); it != values.end()) return it->second;
    const Key* known = broker_keys().find(key);
    return known != nullptr && known->initial ? *known->initial : std::string_view{};
  }

  // Into `out`, which stays as it is when there is neither a value nor a default.
  template <class T>
  void get(std::string_view key, T& out) const {
    std::string_view v = text(key);
    if constexpr (std::is_same_v<T, bool>) {
      if (auto b = parse_bool(v)) out = *b;
    } else if constexpr (std::is_same_v<T, double>) {
      if (auto d = parse_double(v)) out = *d;
    } else if constexpr (std::is_same_v<T, std::string>) {
      auto first = v.find_first_not_of(" \t");
      out =
          first == std::string_view::npos ? std::string_view{} : v.substr(first, v.find_last_not_of(" \t") - first + 1);
    } else {
      if (auto i = parse_int(v)) out = static_cast<T>(*i);
    }
  }
};

}  // namespace weir::config
