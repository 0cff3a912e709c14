#include "security/ca.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "security/openssl.h"
#include "security/principal.h"

namespace weir::security {
namespace {

constexpr std::int64_t clock_slack_s = 3600;
constexpr std::int64_t day_s = 24 * 3600;
constexpr std::size_t names_max = 100;
constexpr int security_bits_min = 112;  // RSA of 2048 bits, a curve of 224

std::unexpected<Error> bad(std::string text) { return fail(ErrorCode::INVALID_REQUEST, std::move(text)); }
std::unexpected<Error> broken(const char* what) {
  return fail(ErrorCode::UNKNOWN_SERVER_ERROR, fmt::format("{}: {}", what, openssl_error("OpenSSL gives no reason")));
}

Owned<EVP_PKEY> new_key() { return Owned<EVP_PKEY>(EVP_EC_gen("P-256")); }

std::string pem_of(X509* certificate) {
  const Owned<BIO> out(BIO_new(BIO_s_mem()));
  return PEM_write_bio_X509(out.get(), certificate) == 1 ? written(out.get()) : std::string();
}

std::string pem_of(EVP_PKEY* key) {
  const Owned<BIO> out(BIO_new(BIO_s_secmem()));
  return PEM_write_bio_PKCS8PrivateKey(out.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1 ? written(out.get())
                                                                                                   : std::string();
}

Owned<X509> certificate_of(std::string_view pem) {
  const auto in = reader_of(pem);
  Owned<X509> out(PEM_read_bio_X509(in.get(), nullptr, give_password, nullptr));
  ERR_clear_error();
  return out;
}

// 127 random bits: no two certificates of an authority have one serial, whoever issues them.
bool set_serial(X509* certificate) {
  std::array<unsigned char, 16> random{};
  if (RAND_bytes(random.data(), random.size()) != 1) return false;
  random[0] = static_cast<unsigned char>((random[0] & 0x7FU) | 0x40U);
  const Owned<BIGNUM> number(BN_bin2bn(random.data(), random.size(), nullptr));
  return number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

std::int64_t seconds_of(const ASN1_TIME* time) {
  tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return 0;
  return timegm(&parts);
}

bool extend(X509* certificate, X509* issuer, int which, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Owned<X509_EXTENSION> one(X509V3_EXT_conf_nid(nullptr, &context, which, value.c_str()));
  return one && X509_add_ext(certificate, one.get(), -1) == 1;
}

bool add_names(X509* certificate, const ServerNames& names) {
  const Owned<GENERAL_NAMES> all(GENERAL_NAMES_new());
  const auto add = [&all](int kind, ASN1_STRING* text) {
    auto* one = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(one, kind, text);
    sk_GENERAL_NAME_push(all.get(), one);
  };
  for (const auto& name : names.names) {
    auto* text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, name.data(), static_cast<int>(name.size()));
    add(GEN_DNS, text);
  }
  for (const auto& address : names.addresses) {
    auto* bytes = a2i_IPADDRESS(address.c_str());
    if (bytes == nullptr) return false;
    add(GEN_IPADD, bytes);
  }
  return X509_add1_ext_i2d(certificate, NID_subject_alt_name, all.get(), 0, X509V3_ADD_DEFAULT) == 1;
}

// What every certificate has. The caller adds extensions, and signs.
Owned<X509> begin(EVP_PKEY* key, const X509_NAME* subject, const X509_NAME* issuer, std::int64_t from_s,
                  std::int64_t to_s) {
  Owned<X509> out(X509_new());
  const bool made = out && X509_set_version(out.get(), X509_VERSION_3) == 1 && set_serial(out.get()) &&
                    X509_set_subject_name(out.get(), subject) == 1 && X509_set_issuer_name(out.get(), issuer) == 1 &&
                    X509_set_pubkey(out.get(), key) == 1 &&
                    ASN1_TIME_set(X509_getm_notBefore(out.get()), from_s) != nullptr &&
                    ASN1_TIME_set(X509_getm_notAfter(out.get()), to_s) != nullptr;
  if (!made) out.reset();
  return out;
}

Owned<X509_NAME> common_name(const std::string& name) {
  Owned<X509_NAME> out(X509_NAME_new());
  const int added =
      X509_NAME_add_entry_by_txt(out.get(), "CN", MBSTRING_UTF8, bytes_of(name), static_cast<int>(name.size()), -1, 0);
  if (added != 1) out.reset();
  return out;
}

std::int64_t end_of(Validity validity) {
  return validity.now_s + (validity.seconds > 0 ? validity.seconds : validity.days * day_s);
}

Result<> check_days(Validity validity) {
  if (validity.seconds > 0 && validity.seconds <= certificate_days_max * day_s) return {};
  if (validity.seconds == 0 && validity.days >= 1 && validity.days <= certificate_days_max) return {};
  return bad(fmt::format("a certificate is valid for 1 to {} days, not for {}", certificate_days_max, validity.days));
}

bool address(const std::string& text) {
  std::array<unsigned char, 16> out{};
  return inet_pton(AF_INET, text.c_str(), out.data()) == 1 || inet_pton(AF_INET6, text.c_str(), out.data()) == 1;
}

bool dns_name(std::string_view text) {
  constexpr std::string_view good = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._*";
  return !text.empty() && text.size() <= 253 && text.find_first_not_of(good) == std::string_view::npos;
}

Result<> check_names(const ServerNames& names) {
  if (names.names.empty() && names.addresses.empty()) return bad("a server's certificate needs a name or an address");
  if (names.names.size() + names.addresses.size() > names_max) {
    return bad(fmt::format("a certificate has {} names and addresses at most", names_max));
  }
  for (const auto& name : names.names) {
    if (!dns_name(name)) return bad(fmt::format("'{}' is no DNS name", name.substr(0, 100)));
  }
  for (const auto& one : names.addresses) {
    if (!address(one)) return bad(fmt::format("'{}' is no IP address", one.substr(0, 100)));
  }
  return {};
}

// "CN=alice,OU=data": the most special part first, as Kafka shows principals; in the certificate it comes last.
Result<Owned<X509_NAME>> parse_subject(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> parts;
  std::string key;
  std::string value;
  bool in_key = true;
  const auto end_part = [&] {
    const auto from = key.find_first_not_of(' ');
    parts.emplace_back(from == std::string::npos ? "" : key.substr(from), value);
    key.clear();
    value.clear();
    in_key = true;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (in_key) {
      if (text[i] == '=') {
        in_key = false;
      } else {
        key += text[i];
      }
    } else if (text[i] == '\\' && i + 1 < text.size()) {
      value += text[++i];
    } else if (text[i] == ',') {
      end_part();
    } else {
      value += text[i];
    }
  }
  if (!in_key || !key.empty() || text.ends_with(',')) end_part();
  Owned<X509_NAME> out(X509_NAME_new());
  for (const auto& [name, content] : parts) {
    // In front of what is there: the text's order is the reverse of the certificate's.
    const int added = name.empty() || content.empty()
                          ? 0
                          : X509_NAME_add_entry_by_txt(out.get(), name.c_str(), MBSTRING_UTF8, bytes_of(content),
                                                       static_cast<int>(content.size()), 0, 0);
    if (added == 1) continue;
    ERR_clear_error();
    return bad(fmt::format("'{}' is no subject: write it as CN=alice,OU=data,O=Example", text.substr(0, 200)));
  }
  if (parts.empty()) return bad("a subject is needed: CN=alice");
  return out;
}

}  // namespace

struct CertificateAuthority::Impl {
  Owned<X509> certificate;
  Owned<EVP_PKEY> key;
  std::string certificate_pem;
  std::string key_pem;

  // Signed by this authority, for `usage` ("serverAuth,clientAuth").
  Result<std::string> issue(EVP_PKEY* owner, const X509_NAME* subject, const ServerNames* names, const char* usage,
                            Validity validity) const {
    if (auto good = check_days(validity); !good) return std::unexpected(good.error());
    const auto ends = seconds_of(X509_get0_notAfter(certificate.get()));
    if (validity.now_s >= ends) return fail(ErrorCode::INVALID_CONFIG, "the authority's own certificate has expired");
    const auto begins = std::max(validity.now_s - clock_slack_s, seconds_of(X509_get0_notBefore(certificate.get())));
    const auto one =
        begin(owner, subject, X509_get_subject_name(certificate.get()), begins, std::min(end_of(validity), ends));
    if (!one) return broken("no certificate can be made");
    const bool rsa = EVP_PKEY_get_base_id(owner) == EVP_PKEY_RSA;
    auto* const self = certificate.get();
    const bool extended = extend(one.get(), self, NID_basic_constraints, "critical,CA:FALSE") &&
                          extend(one.get(), self, NID_key_usage,
                                 rsa ? "critical,digitalSignature,keyEncipherment" : "critical,digitalSignature") &&
                          extend(one.get(), self, NID_ext_key_usage, usage) &&
                          extend(one.get(), self, NID_subject_key_identifier, "hash") &&
                          extend(one.get(), self, NID_authority_key_identifier, "keyid") &&
                          (names == nullptr || add_names(one.get(), *names));
    if (!extended || X509_sign(one.get(), key.get(), EVP_sha256()) == 0) return broken("no certificate can be signed");
    return pem_of(one.get()) + certificate_pem;
  }

  Result<Identity> issue_with_key(const X509_NAME* subject, const ServerNames* names, const char* usage,
                                  Validity validity) const {
    const auto owner = new_key();
    if (!owner) return broken("no key can be made");
    auto chain = issue(owner.get(), subject, names, usage, validity);
    if (!chain) return std::unexpected(chain.error());
    return Identity{std::move(*chain), pem_of(owner.get())};
  }
};

CertificateAuthority::CertificateAuthority(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CertificateAuthority::CertificateAuthority(CertificateAuthority&&) noexcept = default;
CertificateAuthority& CertificateAuthority::operator=(CertificateAuthority&&) noexcept = default;
CertificateAuthority::~CertificateAuthority() = default;

const std::string& CertificateAuthority::certificate_pem() const { return impl_->certificate_pem; }
const std::string& CertificateAuthority::key_pem() const { return impl_->key_pem; }

Result<CertificateAuthority> CertificateAuthority::create(const std::string& name, Validity validity) {
  ERR_clear_error();
  if (auto good = check_days(validity); !good) return std::unexpected(good.error());
  auto impl = std::make_unique<Impl>();
  impl->key = new_key();
  if (!impl->key) return broken("no key can be made");
  const auto subject = common_name(name.empty() ? "Weir CA" : name);
  if (!subject) return bad(fmt::format("'{}' is no name for an authority", name.substr(0, 100)));
  impl->certificate =
      begin(impl->key.get(), subject.get(), subject.get(), validity.now_s - clock_slack_s, end_of(validity));
  auto* const self = impl->certificate.get();
  const bool made = self != nullptr && extend(self, self, NID_basic_constraints, "critical,CA:TRUE") &&
                    extend(self, self, NID_key_usage, "critical,keyCertSign,cRLSign") &&
                    extend(self, self, NID_subject_key_identifier, "hash") &&
                    X509_sign(self, impl->key.get(), EVP_sha256()) != 0;
  if (!made) return broken("no certificate can be made");
  impl->certificate_pem = pem_of(self);
  impl->key_pem = pem_of(impl->key.get());
  return CertificateAuthority(std::move(impl));
}

Result<CertificateAuthority> CertificateAuthority::load(std::string_view certificate_pem, std::string_view key_pem) {
  ERR_clear_error();
  const auto unusable = [](const char* why) { return fail(ErrorCode::INVALID_CONFIG, why); };
  auto impl = std::make_unique<Impl>();
  impl->certificate = certificate_of(certificate_pem);
  if (!impl->certificate) return unusable("the authority's certificate cannot be read");
  const auto in = reader_of(key_pem);
  impl->key.reset(PEM_read_bio_PrivateKey(in.get(), nullptr, give_password, nullptr));
  ERR_clear_error();
  if (!impl->key) return unusable("the authority's private key cannot be read");
  if (X509_check_private_key(impl->certificate.get(), impl->key.get()) != 1) {
    ERR_clear_error();
    return unusable("the authority's certificate and private key do not belong together");
  }
  if (X509_check_ca(impl->certificate.get()) != 1) return unusable("the certificate is not one of an authority");
  impl->certificate_pem = pem_of(impl->certificate.get());
  impl->key_pem = pem_of(impl->key.get());
  return CertificateAuthority(std::move(impl));
}

Result<Identity> CertificateAuthority::issue_server(const ServerNames& names, Validity validity) const {
  ERR_clear_error();
  if (auto good = check_names(names); !good) return std::unexpected(good.error());
  // A common name has 64 characters at most; clients look at the alternative names.
  const auto& first = names.names.empty() ? names.addresses.front() : names.names.front();
  const auto subject = common_name(first.substr(0, 64));
  if (!subject) return broken("no subject can be made");
  return impl_->issue_with_key(subject.get(), &names, "serverAuth,clientAuth", validity);
}

Result<Identity> CertificateAuthority::issue_client(std::string_view subject, Validity validity) const {
  ERR_clear_error();
  const auto parsed = parse_subject(subject);
  if (!parsed) return std::unexpected(parsed.error());
  return impl_->issue_with_key(parsed->get(), nullptr, "clientAuth", validity);
}

Result<std::string> CertificateAuthority::sign_client(std::string_view request_pem, Validity validity) const {
  ERR_clear_error();
  if (request_pem.size() > request_bytes_max) return bad("a certificate request is 64 KiB at most");
  const auto in = reader_of(request_pem);
  const Owned<X509_REQ> request(PEM_read_bio_X509_REQ(in.get(), nullptr, give_password, nullptr));
  ERR_clear_error();
  if (!request) return bad("this is no certificate request in PEM (BEGIN CERTIFICATE REQUEST)");
  auto* const owner = X509_REQ_get0_pubkey(request.get());
  const bool proven = owner != nullptr && X509_REQ_verify(request.get(), owner) == 1;
  ERR_clear_error();
  if (!proven) return bad("the certificate request is not signed by its own key");
  if (EVP_PKEY_get_security_bits(owner) < security_bits_min) {
    return bad("the certificate request's key is too weak: RSA needs 2048 bits, an elliptic curve 224");
  }
  const auto* subject = X509_REQ_get_subject_name(request.get());
  if (X509_NAME_entry_count(subject) == 0) return bad("the certificate request has no subject");
  return impl_->issue(owner, subject, nullptr, "clientAuth", validity);
}

Result<CertificateInfo> describe_certificate(std::string_view pem) {
  const auto certificate = certificate_of(pem);
  if (!certificate) return bad("this is no certificate in PEM");
  CertificateInfo out;
  out.subject = distinguished_name(certificate.get());
  out.issuer = distinguished_name(X509_get_issuer_name(certificate.get()));
  out.not_before_s = seconds_of(X509_get0_notBefore(certificate.get()));
  out.not_after_s = seconds_of(X509_get0_notAfter(certificate.get()));
  const Owned<BIGNUM> serial(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate.get()), nullptr));
  char* text = BN_bn2hex(serial.get());
  out.serial = text;
  OPENSSL_free(text);
  const Owned<GENERAL_NAMES> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    int kind = 0;
    const auto* value =
        static_cast<ASN1_STRING*>(GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &kind));
    if (kind == GEN_DNS) {
      out.names.names.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                                   static_cast<std::size_t>(ASN1_STRING_length(value)));
    } else if (kind == GEN_IPADD) {
      std::array<char, INET6_ADDRSTRLEN> shown{};
      const int family = ASN1_STRING_length(value) == 4 ? AF_INET : AF_INET6;
      if (inet_ntop(family, ASN1_STRING_get0_data(value), shown.data(), shown.size()) != nullptr) {
        out.names.addresses.emplace_back(shown.data());
      }
    }
  }
  ERR_clear_error();
  return out;
}

}  // namespace weir::security
