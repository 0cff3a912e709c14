// ApiVersions, versions 0 to 4; any other version is answered in version 0 with UNSUPPORTED_VERSION and the versions
// there are (KIP-511).
//   3 flexible; the client's software; features (KIP-584)   4 features from level 0

#include <algorithm>
#include <string_view>

#include "broker/api/handlers.h"
#include "broker/api/table.h"
#include "broker/node.h"
#include "protocol/messages/api_versions.h"

namespace weir::broker::api {
namespace {

// What Kafka takes as a software name or version (KIP-511).
bool proper(std::string_view text) {
  auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  if (text.empty() || !plain(text.front()) || !plain(text.back())) return false;
  return std::ranges::all_of(text, [&](char c) { return plain(c) || c == '-' || c == '.'; });
}

}  // namespace

Task<Response> api_versions(Request& request) {
  const auto* row = find_row(18);
  const auto version = request.version();
  protocol::ApiVersionsResponse out;
  for (const auto& each : api_table()) {
    auto& to = out.api_keys.emplace_back();
    to.api_key = each.key;
    to.min_version = each.version_min;
    to.max_version = each.version_max;
  }
  if (version < row->version_min || version > row->version_max) {
    out.error_code = static_cast<std::int16_t>(ErrorCode::UNSUPPORTED_VERSION);
    co_return request.answer_as(0, out);
  }
  protocol::ApiVersionsRequest in;
  if (!request.read(in)) co_return Response::malformed();
  if (version >= 3 && (!proper(in.client_software_name) || !proper(in.client_software_version))) {
    out.api_keys.clear();
    out.error_code = static_cast<std::int16_t>(ErrorCode::INVALID_REQUEST);
  }
  co_return request.answer(out);
}

}  // namespace weir::broker::api
