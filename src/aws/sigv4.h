// AWS Signature Version 4, the side that checks: who signed this request, and is every signed byte as it was. Pure.
//
// The header form only (Authorization: AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=...); the form in
// the query (presigned) is refused. Canonical requests are those of all services but S3: the path as sent is
// normalized (RFC 3986 dot segments, doubled slashes) and percent-encoded once more, query pairs are sorted, values of
// repeated headers are joined, runs of white space count as one. The hash of the body is computed, not believed:
// where x-amz-content-sha256 is sent it must be that hash, so UNSIGNED-PAYLOAD is refused.
//
// Faults are those of AWS's REST-JSON services, with their texts, all with status 403:
// MissingAuthenticationTokenException, IncompleteSignatureException, UnrecognizedClientException (no such key, an
// inactive one, or a session token: this endpoint gives none), InvalidSignatureException (wrong, too old, too early,
// another region or service).
#pragma once

#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "aws/fault.h"
#include "base/units.h"
#include "net/http.h"

namespace weir::aws {

// "Credential=AKIDEXAMPLE/20150830/us-east-1/kafka/aws4_request".
struct CredentialScope {
  std::string access_key_id;
  std::string date;  // "20150830"
  std::string region;
  std::string service;

  std::string text() const;  // "20150830/us-east-1/kafka/aws4_request"
};

struct Authorization {
  CredentialScope scope;
  std::vector<std::string> signed_headers;  // lower case, sorted
  std::string signature;                    // as sent
};

// Who signed.
struct Caller {
  std::string access_key_id;
  std::string region;
  std::string service;
};

// The secret of an active key; nothing for any other.
using SecretOf = std::function<std::optional<std::string>(std::string_view access_key_id)>;

struct VerifyOptions {
  std::string region;                       // what a request must be scoped to; empty: any
  std::vector<std::string_view> services;   // likewise; empty: any
  milliseconds skew_max = seconds(5 * 60);  // how far a request's date may be from `now`, before or after
};

std::expected<Caller, Fault> verify(const net::HttpRequest& request, milliseconds now, const SecretOf& secret_of,
                                    const VerifyOptions& options);

// The steps of it, which sign.h takes as well.
std::expected<Authorization, Fault> parse_authorization(const net::HttpRequest& request);
// `signed_headers` lower case and sorted.
std::string canonical_request(const net::HttpRequest& request, const std::vector<std::string>& signed_headers);
// `date` is "20150830T123600Z".
std::string string_to_sign(std::string_view date, const CredentialScope& scope, std::string_view canonical_request);
// Lower-case hex.
std::string signature(std::string_view secret, const CredentialScope& scope, std::string_view string_to_sign);

// "20150830T123600Z".
std::string basic_date(milliseconds wall);
// The reverse of it; also the form of a Date header ("Sun, 30 Aug 2015 12:36:00 GMT").
std::optional<milliseconds> parse_date(std::string_view text);

// Percent-encoding of all but A-Z a-z 0-9 - . _ ~, and '/' where `slashes` are to stay.
std::string uri_encode(std::string_view text, bool slashes = false);
// Nothing when a '%' is not followed by two hexadecimal digits.
std::optional<std::string> uri_decode(std::string_view text);

}  // namespace weir::aws
