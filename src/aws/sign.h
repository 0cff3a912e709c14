// AWS Signature Version 4, the side that signs: for our own client and for tests. Pure.
#pragma once

#include <string>

#include "base/units.h"
#include "net/http.h"

namespace weir::aws {

struct Signer {
  std::string access_key_id;
  std::string secret;
  std::string region;
  std::string service;
};

// Adds X-Amz-Date and Authorization. Method, target (percent-encoded, as it goes out) and body are set, and a Host
// header is there; every header present is signed. Call it last.
void sign(net::HttpRequest& request, const Signer& signer, milliseconds now);

}  // namespace weir::aws
