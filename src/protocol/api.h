// The APIs that the schemas describe, and the headers of requests and responses.
//
// What a broker serves and advertises is its own table's choice; this one says what can be decoded and encoded.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "protocol/messages/api_key.h"
#include "protocol/messages/header.h"
#include "protocol/types.h"

namespace weir::protocol {

struct Api {
  std::int16_t key;
  std::string_view name;  // "Produce"
  std::int16_t version_min;
  std::int16_t version_max;
  std::int16_t flexible_from;  // never: no flexible version
  std::int16_t unstable_from;  // from this version on it may still change in Kafka: not to be advertised

  bool has(std::int16_t version) const { return version >= version_min && version <= version_max; }
};

// In ascending order of keys.
std::span<const Api> apis();
// Null for a key that no schema has.
const Api* find_api(std::int16_t key);

// Versions of the headers of an API's version, also for versions that the API does not have (yet): ApiVersions in
// a version of the future is answered in version 0. ControlledShutdown 0 has a request header without client id;
// the response header of ApiVersions is always version 0, for a client does not know yet what the broker speaks.
std::int16_t request_header_version(std::int16_t key, std::int16_t version);
std::int16_t response_header_version(std::int16_t key, std::int16_t version);

// Reads the header in the version that its first four bytes ask for; what follows in `in` is the message. False
// when the header is too short or broken, or the API is unknown. Then key and version are set if they were there.
bool decode_request_header(bytes::Reader& in, RequestHeader& header);
// The header of a request as header.request_api_key and header.request_api_version ask for.
Size request_header_size(const RequestHeader& header);
void encode_request_header(bytes::Writer& out, const RequestHeader& header);

bool decode_response_header(bytes::Reader& in, std::int16_t key, std::int16_t version, ResponseHeader& header);
Size response_header_size(const ResponseHeader& header, std::int16_t key, std::int16_t version);
void encode_response_header(bytes::Writer& out, std::int16_t key, std::int16_t version, const ResponseHeader& header);

}  // namespace weir::protocol
