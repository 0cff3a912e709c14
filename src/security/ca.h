// A private certificate authority: makes itself, issues certificates for brokers, signs the requests of clients.
// Pure: PEM in, PEM out; the caller keeps the files (net/authority.h does) and says what time it is.
//
// Its keys and those it issues are ECDSA on P-256: any Java 8 and later, Go and OpenSSL accept them, a handshake costs
// a broker a tenth of what RSA-2048 costs, and a key is made in a fraction of a millisecond. A client's own key, as its
// request brings it, may be RSA of at least 2048 bits or an elliptic curve of at least 224.
// A certificate begins an hour before `now`, for clients whose clock is behind. Errors: INVALID_REQUEST for what a
// caller gave, INVALID_CONFIG for a certificate or key of the authority that cannot be used.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace weir::security {

// A key and the certificate that names its owner.
struct Identity {
  std::string chain_pem;  // the owner's certificate, then those above it
  std::string key_pem;    // PKCS#8, not encrypted: a secret
};

// From when, and for how long.
struct Validity {
  std::int64_t now_s = 0;  // seconds since 1970
  std::int32_t days = 397;
  std::int64_t seconds = 0;  // in place of days, for those that are renewed often; 0: days say
};
inline constexpr std::int32_t authority_days = 3650;
inline constexpr std::int32_t certificate_days_max = 3650;
inline constexpr std::size_t request_bytes_max = 64 * 1024;

// Whom a broker's certificate is for: what clients dial. The first of all is also its common name.
struct ServerNames {
  std::vector<std::string> names;      // DNS names; "*.x" is one, too
  std::vector<std::string> addresses;  // IPv4 and IPv6
};

class CertificateAuthority {
 public:
  // A new one, with a new key. `name` becomes its common name, "Weir CA" if empty.
  static Result<CertificateAuthority> create(const std::string& name, Validity validity);
  // INVALID_CONFIG where the two do not belong together or the certificate is no authority's.
  static Result<CertificateAuthority> load(std::string_view certificate_pem, std::string_view key_pem);

  CertificateAuthority(CertificateAuthority&&) noexcept;
  CertificateAuthority& operator=(CertificateAuthority&&) noexcept;
  ~CertificateAuthority();

  const std::string& certificate_pem() const;
  const std::string& key_pem() const;  // a secret

  // A new key and its certificate, for a broker: good as a server's and, as brokers are each other's clients, as a
  // client's. It never outlives the authority's own.
  Result<Identity> issue_server(const ServerNames& names, Validity validity) const;
  // A new key and its certificate for a client whose subject is `subject`: "CN=alice,OU=data,O=Example".
  Result<Identity> issue_client(std::string_view subject, Validity validity) const;
  // The certificate (and the authority's behind it) for a client's request: PEM, with its subject and key as they are,
  // and none of the extensions it asks for.
  Result<std::string> sign_client(std::string_view request_pem, Validity validity) const;

 private:
  struct Impl;
  explicit CertificateAuthority(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// What a certificate says: the first of a PEM text.
struct CertificateInfo {
  std::string subject;  // as distinguished_name() writes it
  std::string issuer;
  std::string serial;             // hexadecimal
  std::int64_t not_before_s = 0;  // seconds since 1970
  std::int64_t not_after_s = 0;
  ServerNames names;  // of its subject alternative name
};
Result<CertificateInfo> describe_certificate(std::string_view pem);

}  // namespace weir::security
