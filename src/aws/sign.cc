#include "aws/sign.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "aws/sigv4.h"

namespace weir::aws {

void sign(net::HttpRequest& request, const Signer& signer, milliseconds now) {
  const auto date = basic_date(now);
  request.headers.emplace_back("X-Amz-Date", date);
  std::vector<std::string> names;
  for (const auto& [name, value] : request.headers) {
    std::string lower = name;
    std::ranges::transform(lower, lower.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    names.push_back(std::move(lower));
  }
  std::ranges::sort(names);
  names.erase(std::ranges::unique(names).begin(), names.end());
  CredentialScope scope;
  scope.access_key_id = signer.access_key_id;
  scope.date = date.substr(0, 8);
  scope.region = signer.region;
  scope.service = signer.service;
  const auto signed_as =
      signature(signer.secret, scope, string_to_sign(date, scope, canonical_request(request, names)));
  request.headers.emplace_back("Authorization",
                               fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}",
                                           scope.access_key_id, scope.text(), fmt::join(names, ";"), signed_as));
}

}  // namespace weir::aws
