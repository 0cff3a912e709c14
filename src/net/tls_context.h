// What tls.cc and tls_context.cc share: the one body of TlsContext. Not for other rooms.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "net/tls.h"

namespace weir::net {

struct SslContextFree {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};

class OpenSslContext final : public TlsContext {
 public:
  OpenSslContext(std::unique_ptr<SSL_CTX, SslContextFree> context, bool verify_hostname, std::string principal)
      : context_(std::move(context)), verify_hostname_(verify_hostname), principal_(std::move(principal)) {}

  SSL_CTX* get() const { return context_.get(); }
  bool verify_hostname() const { return verify_hostname_; }
  const std::string& principal() const { return principal_; }

 private:
  const std::unique_ptr<SSL_CTX, SslContextFree> context_;
  const bool verify_hostname_;
  const std::string principal_;
};

// The subject, as RFC 2253 writes it.
std::string principal_of(X509* certificate);
// What OpenSSL has to say about what just failed on this thread; `otherwise` when it says nothing.
std::string openssl_error(const char* otherwise);

}  // namespace weir::net
