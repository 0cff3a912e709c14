// What tls.cc and tls_context.cc share: the one body of TlsContext. Not for other rooms.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <vector>

#include "net/tls.h"

namespace weir::net {

struct SslContextFree {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};

// Whom the own certificate names, and until when.
struct TlsOwner {
  std::string principal;
  std::int64_t expiry_s = 0;
};

class OpenSslContext final : public TlsContext {
 public:
  OpenSslContext(std::unique_ptr<SSL_CTX, SslContextFree> context, const TlsOptions& options, TlsOwner owner)
      : context_(std::move(context)),
        verify_hostname_(options.verify_hostname),
        client_names_(options.client_names),
        owner_(std::move(owner)) {
    SSL_CTX_set_app_data(context_.get(), this);
  }

  SSL_CTX* get() const { return context_.get(); }
  bool verify_hostname() const { return verify_hostname_; }
  const std::vector<std::string>& client_names() const { return client_names_; }
  const TlsOwner& owner() const { return owner_; }

 private:
  const std::unique_ptr<SSL_CTX, SslContextFree> context_;
  const bool verify_hostname_;
  const std::vector<std::string> client_names_;
  const TlsOwner owner_;
};

// Writes the name of a certificate that is not accepted into the connection's app data, a std::string. (tls.cc)
int note_refused(int ok, X509_STORE_CTX* store);
// What OpenSSL has to say about what just failed on this thread; `otherwise` when it says nothing.
std::string openssl_error(const char* otherwise);

}  // namespace weir::net
