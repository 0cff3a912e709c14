#include "security/store.h"

#include <fmt/format.h>
#include <openssl/pem.h>
#include <openssl/provider.h>

#include <algorithm>
#include <array>
#include <utility>

#include "security/jks.h"
#include "security/openssl.h"

namespace weir::security {
namespace {

constexpr std::size_t certificates_max = 10'000;
constexpr int iterations = 10'000;

std::unexpected<Error> bad(std::string text) { return fail(ErrorCode::INVALID_CONFIG, std::move(text)); }

std::string der(X509* one) { return der_of(one, i2d_X509); }

std::string pkcs8(EVP_PKEY* key) {
  const Owned<PKCS8_PRIV_KEY_INFO> info(EVP_PKEY2PKCS8(key));
  return info ? der_of(info.get(), i2d_PKCS8_PRIV_KEY_INFO) : std::string();
}

// The certificate that belongs to the key goes first, wherever the store has it.
Result<StoreContents> in_order(StoreContents found, std::string_view where) {
  if (found.key.empty()) return found;
  const auto* at = bytes_of(found.key);
  const Owned<EVP_PKEY> key(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(found.key.size())));
  if (!key) return bad(fmt::format("{}: the private key cannot be read: {}", where, openssl_error("damaged")));
  for (auto one = found.certificates.begin(); one != found.certificates.end(); ++one) {
    const auto* from = bytes_of(*one);
    const Owned<X509> certificate(d2i_X509(nullptr, &from, static_cast<long>(one->size())));
    if (!certificate || X509_check_private_key(certificate.get(), key.get()) != 1) continue;
    std::rotate(found.certificates.begin(), one, one + 1);
    ERR_clear_error();
    return found;
  }
  ERR_clear_error();
  return bad(fmt::format("{} holds no certificate for its private key", where));
}

Result<StoreContents> read_pem(std::string_view content, std::string password, std::string_view where) {
  StoreContents out;
  const auto certificates = reader_of(content);
  while (out.certificates.size() < certificates_max) {
    const Owned<X509> one(PEM_read_bio_X509(certificates.get(), nullptr, give_password, &password));
    if (!one) break;
    out.certificates.push_back(der(one.get()));
  }
  if (const auto last = ERR_peek_last_error(); last != 0 && ERR_GET_REASON(last) != PEM_R_NO_START_LINE) {
    return bad(fmt::format("{}: a certificate cannot be read: {}", where, openssl_error("damaged")));
  }
  ERR_clear_error();
  if (content.find("PRIVATE KEY-----") == std::string_view::npos) return out;
  const auto keys = reader_of(content);
  const Owned<EVP_PKEY> key(PEM_read_bio_PrivateKey(keys.get(), nullptr, give_password, &password));
  if (!key) {
    return bad(
        fmt::format("{}: the private key cannot be read (wrong password?): {}", where, openssl_error("damaged")));
  }
  out.key = pkcs8(key.get());
  return out;
}

// The algorithms of long ago (RC2, which Java 8 wraps certificates in), apart from those of every day.
struct Legacy {
  Legacy() : library(OSSL_LIB_CTX_new()) {
    OSSL_PROVIDER_load(library, "default");
    OSSL_PROVIDER_load(library, "legacy");
  }
  OSSL_LIB_CTX* library;  // as long as the process
};

OSSL_LIB_CTX* legacy() {
  static const Legacy one;
  return one.library;
}

Result<StoreContents> open_pkcs12(std::string_view content, const std::string& password, std::string_view where,
                                  OSSL_LIB_CTX* library) {
  const auto* at = bytes_of(content);
  PKCS12* file = PKCS12_init_ex(NID_pkcs7_data, library, nullptr);
  const bool parsed = file != nullptr && d2i_PKCS12(&file, &at, static_cast<long>(content.size())) != nullptr;
  const Owned<PKCS12> owned(file);
  if (!parsed) return bad(fmt::format("{} is neither PEM nor PKCS12 nor JKS: {}", where, openssl_error("damaged")));
  EVP_PKEY* key = nullptr;
  X509* own = nullptr;
  STACK_OF(X509)* others = nullptr;
  if (PKCS12_parse(file, password.c_str(), &key, &own, &others) != 1) {
    return bad(fmt::format("{} cannot be opened: its password is another, or it is damaged ({})", where,
                           openssl_error("no reason given")));
  }
  const Owned<EVP_PKEY> owned_key(key);
  const Owned<X509> owned_certificate(own);
  const Owned<STACK_OF(X509)> rest(others);
  StoreContents out;
  if (key != nullptr) out.key = pkcs8(key);
  if (own != nullptr) out.certificates.push_back(der(own));
  for (int i = 0; rest && i < sk_X509_num(rest.get()); ++i)
    out.certificates.push_back(der(sk_X509_value(rest.get(), i)));
  return out;
}

Result<StoreContents> read_pkcs12(std::string_view content, const std::string& password, std::string_view where) {
  auto found = open_pkcs12(content, password, where, nullptr);
  if (found) return found;
  auto again = open_pkcs12(content, password, where, legacy());
  if (again) return again;
  return found;
}

Result<std::vector<Owned<X509>>> certificates_of(std::string_view pem) {
  std::vector<Owned<X509>> out;
  const auto in = reader_of(pem);
  while (out.size() < certificates_max) {
    Owned<X509> one(PEM_read_bio_X509(in.get(), nullptr, give_password, nullptr));
    if (!one) break;
    out.push_back(std::move(one));
  }
  ERR_clear_error();
  if (out.empty()) return fail(ErrorCode::INVALID_REQUEST, "there is no certificate to put into a trust store");
  return out;
}

// Java takes a certificate of a PKCS#12 file for trusted only where this attribute is: trustedKeyUsage, for any use.
bool trusted_by_java(PKCS12_SAFEBAG* bag, const std::string& alias) {
  if (PKCS12_add_friendlyname_utf8(bag, alias.c_str(), static_cast<int>(alias.size())) != 1) return false;
  const Owned<ASN1_OBJECT> usage(OBJ_txt2obj("2.16.840.1.113894.746875.1.1", 1));
  const Owned<ASN1_OBJECT> any(OBJ_txt2obj("2.5.29.37.0", 1));
  if (!usage || !any) return false;
  // The name's attribute made the bag's stack; OpenSSL 3.0 has no other way to add to it.
  auto* attributes = const_cast<STACK_OF(X509_ATTRIBUTE)*>(PKCS12_SAFEBAG_get0_attrs(bag));
  const auto* value = reinterpret_cast<const unsigned char*>(any.get());
  return attributes != nullptr &&
         X509at_add1_attr_by_OBJ(&attributes, usage.get(), V_ASN1_OBJECT, value, -1) != nullptr;
}

}  // namespace

StoreKind kind_of_store(std::string_view content) {
  if (content.starts_with("\xFE\xED\xFE\xED")) return StoreKind::jks;
  if (content.starts_with("\xCE\xCE\xCE\xCE")) return StoreKind::jceks;
  if (content.find("-----BEGIN ") != std::string_view::npos) return StoreKind::pem;
  if (content.starts_with("\x30")) return StoreKind::pkcs12;
  return StoreKind::unknown;
}

Result<StoreContents> read_store(std::string_view content, const StorePasswords& passwords, std::string_view where) {
  ERR_clear_error();
  if (content.size() > store_bytes_max) return bad(fmt::format("{} is too large for a store", where));
  Result<StoreContents> found;
  switch (kind_of_store(content)) {
    case StoreKind::pem:
      found = read_pem(content, passwords.key.empty() ? passwords.store : passwords.key, where);
      break;
    case StoreKind::pkcs12: found = read_pkcs12(content, passwords.store, where); break;
    case StoreKind::jks: found = read_jks(content, passwords, where); break;
    case StoreKind::jceks:
      return bad(
          fmt::format("{} is a JCEKS store. Convert it: keytool -importkeystore -srckeystore {} -srcstoretype "
                      "JCEKS -destkeystore {}.p12 -deststoretype PKCS12",
                      where, where, where));
    case StoreKind::unknown: return bad(fmt::format("{} is neither PEM nor PKCS12 nor JKS", where));
  }
  if (!found) return found;
  return in_order(std::move(*found), where);
}

std::string fingerprint(std::string_view content) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  EVP_Digest(content.data(), content.size(), digest.data(), &size, EVP_sha256(), nullptr);
  std::string out;
  for (unsigned int i = 0; i < size; ++i) out += fmt::format("{:02x}", digest[i]);
  return out;
}

std::string refolded_pem(std::string_view text) {
  constexpr std::size_t line = 64;
  constexpr std::string_view dashes = "-----";
  std::string out;
  for (std::size_t at = 0;;) {
    // -----BEGIN X-----, the body, -----END X-----
    std::array<std::size_t, 4> marks{};
    std::size_t from = at;
    for (auto& mark : marks) {
      mark = text.find(dashes, from);
      if (mark == std::string_view::npos) return out;
      from = mark + dashes.size();
    }
    out += text.substr(marks[0], marks[1] + dashes.size() - marks[0]);
    std::size_t column = line;
    for (const char c : text.substr(marks[1] + dashes.size(), marks[2] - marks[1] - dashes.size())) {
      if (c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
      if (column == line) {
        out += '\n';
        column = 0;
      }
      out += c;
      ++column;
    }
    out += '\n';
    out += text.substr(marks[2], marks[3] + dashes.size() - marks[2]);
    out += '\n';
    at = from;
  }
}

Result<std::string> trust_store_pkcs12(std::string_view pem, const std::string& alias, const std::string& password) {
  auto certificates = certificates_of(pem);
  if (!certificates) return std::unexpected(certificates.error());
  const Owned<STACK_OF(PKCS12_SAFEBAG)> bags(sk_PKCS12_SAFEBAG_new_null());
  for (std::size_t i = 0; i < certificates->size(); ++i) {
    Owned<PKCS12_SAFEBAG> bag(PKCS12_SAFEBAG_create_cert((*certificates)[i].get()));
    if (!bag || !trusted_by_java(bag.get(), alias_of_entry(alias, i))) {
      return bad(openssl_error("no PKCS12 entry can be made"));
    }
    sk_PKCS12_SAFEBAG_push(bags.get(), bag.release());
  }
  STACK_OF(PKCS7)* safes = nullptr;
  const int added =
      PKCS12_add_safe(&safes, bags.get(), NID_pbe_WithSHA1And3_Key_TripleDES_CBC, iterations, password.c_str());
  const Owned<STACK_OF(PKCS7)> owned_safes(safes);
  const Owned<PKCS12> file(added == 1 ? PKCS12_add_safes(safes, 0) : nullptr);
  if (!file || PKCS12_set_mac(file.get(), password.c_str(), -1, nullptr, 0, iterations, EVP_sha1()) != 1) {
    return bad(openssl_error("no PKCS12 store can be made"));
  }
  return der_of(file.get(), i2d_PKCS12);
}

Result<std::string> trust_store_jks(std::string_view pem, const std::string& alias, const std::string& password,
                                    std::int64_t now_ms) {
  auto certificates = certificates_of(pem);
  if (!certificates) return std::unexpected(certificates.error());
  std::vector<std::string> all;
  for (const auto& one : *certificates) all.push_back(der(one.get()));
  return write_jks(all, alias, password, now_ms);
}

}  // namespace weir::security
