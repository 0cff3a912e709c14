#include "protocol/api.h"

#include <algorithm>

#include "bytes/cursor.h"

namespace weir::protocol {

namespace {

constexpr auto api_versions = static_cast<std::int16_t>(ApiKey::api_versions);
constexpr auto controlled_shutdown = static_cast<std::int16_t>(ApiKey::controlled_shutdown);

bool flexible(std::int16_t key, std::int16_t version) {
  const Api* api = find_api(key);
  return api != nullptr && version >= api->flexible_from;
}

}  // namespace

const Api* find_api(std::int16_t key) {
  const auto all = apis();
  const auto found = std::ranges::lower_bound(all, key, {}, &Api::key);
  return found != all.end() && found->key == key ? &*found : nullptr;
}

std::int16_t request_header_version(std::int16_t key, std::int16_t version) {
  if (key == controlled_shutdown && version == 0) return 0;
  return flexible(key, version) ? 2 : 1;
}

std::int16_t response_header_version(std::int16_t key, std::int16_t version) {
  if (key == api_versions) return 0;
  return flexible(key, version) ? 1 : 0;
}

bool decode_request_header(bytes::Reader& in, RequestHeader& header) {
  bytes::Reader first = in;
  header.request_api_key = first.i16();
  header.request_api_version = first.i16();
  if (!first.ok() || find_api(header.request_api_key) == nullptr) {
    in.fail();
    return false;
  }
  return decode(in, request_header_version(header.request_api_key, header.request_api_version), header);
}

Size request_header_size(const RequestHeader& header) {
  return encoded_size(header, request_header_version(header.request_api_key, header.request_api_version));
}

void encode_request_header(bytes::Writer& out, const RequestHeader& header) {
  encode(out, request_header_version(header.request_api_key, header.request_api_version), header);
}

bool decode_response_header(bytes::Reader& in, std::int16_t key, std::int16_t version, ResponseHeader& header) {
  return decode(in, response_header_version(key, version), header);
}

Size response_header_size(const ResponseHeader& header, std::int16_t key, std::int16_t version) {
  return encoded_size(header, response_header_version(key, version));
}

void encode_response_header(bytes::Writer& out, std::int16_t key, std::int16_t version, const ResponseHeader& header) {
  encode(out, response_header_version(key, version), header);
}

}  // namespace weir::protocol
