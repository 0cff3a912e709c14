// Java's own key store format, version 1 and 2 of magic FEEDFEED: entries, then a digest keyed by the password. For
// store.cc. What is inside is described in docs/formats/jks.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "security/store.h"

namespace weir::security {

Result<StoreContents> read_jks(std::string_view content, const StorePasswords& passwords, std::string_view where);
// Of certificates as DER; entry i has the alias alias_of_entry(alias, i).
std::string write_jks(const std::vector<std::string>& certificates, const std::string& alias,
                      const std::string& password, std::int64_t now_ms);
std::string alias_of_entry(const std::string& alias, std::size_t index);

}  // namespace weir::security
