// SASL DIGEST-MD5 (RFC 2831) as ZooKeeper's servers speak it: protocol "zookeeper", server "zk-sasl-md5", quality of
// protection "auth". A client's side, bytes in and bytes out. MD5 is what the mechanism is; who wants more uses TLS.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace weir::zkclient {

class DigestMd5 {
 public:
  // `cnonce` is fresh chance, in characters that need no quoting.
  DigestMd5(std::string username, std::string password, std::string cnonce);

  // What answers the server's challenge. SASL_AUTHENTICATION_FAILED when that is none, or asks for what we do not
  // speak.
  Result<std::string> respond(std::string_view challenge);
  // Whether the server proved, in its last message, that it knows the password too.
  bool server_knows(std::string_view last) const;

 private:
  std::string digest(std::string_view a2_prefix) const;

  const std::string username_;
  const std::string password_;
  const std::string cnonce_;
  std::string realm_;
  std::string nonce_;
  std::string uri_;
  bool utf8_ = false;
};

}  // namespace weir::zkclient
