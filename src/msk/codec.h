// Records of model.h as JSON text, for the store. Fields that are not there read as their defaults, so that an older
// record can be read; what is not JSON, or of the wrong type, is an error.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "msk/model.h"

namespace weir::msk {

std::string encode(const Cluster& cluster);
std::string encode(const Operation& operation);
std::string encode(const Configuration& configuration);
std::string encode(const VpcConnection& connection);

// The error is a sentence.
std::expected<void, std::string> decode(std::string_view text, Cluster& out);
std::expected<void, std::string> decode(std::string_view text, Operation& out);
std::expected<void, std::string> decode(std::string_view text, Configuration& out);
std::expected<void, std::string> decode(std::string_view text, VpcConnection& out);

}  // namespace weir::msk
