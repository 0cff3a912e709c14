#include "zkserver/auth.h"

#include <openssl/evp.h>

#include <array>

#include "base/check.h"

namespace weir::zkserver {

std::string digest_id(std::string_view user_and_password) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned size = 0;
  const int ok =
      EVP_Digest(user_and_password.data(), user_and_password.size(), hash.data(), &size, EVP_sha1(), nullptr);
  WEIR_CHECK(ok == 1 && size == 20, "SHA-1 is always there");
  std::array<unsigned char, 29> base64{};
  const int n = EVP_EncodeBlock(base64.data(), hash.data(), static_cast<int>(size));
  std::string out(user_and_password.substr(0, user_and_password.find(':')));
  out += ':';
  out.append(reinterpret_cast<const char*>(base64.data()), static_cast<std::size_t>(n));
  return out;
}

std::optional<Ids> authenticate(std::string_view scheme, std::string_view auth, std::string_view address,
                                std::string_view super_digest) {
  if (scheme == "ip") return Ids{{"ip", std::string(address)}};
  if (scheme != "digest") return std::nullopt;
  Ids out;
  auto id = digest_id(auth);
  if (!super_digest.empty() && id == super_digest) out.push_back({"super", ""});
  out.push_back({"digest", std::move(id)});
  return out;
}

}  // namespace weir::zkserver
