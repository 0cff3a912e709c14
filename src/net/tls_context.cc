#include "net/tls_context.h"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

namespace weir::net {
namespace {

constexpr std::size_t store_bytes_max = 16 * 1024 * 1024;

struct Free {
  void operator()(BIO* one) const { BIO_free_all(one); }
  void operator()(X509* one) const { X509_free(one); }
  void operator()(EVP_PKEY* one) const { EVP_PKEY_free(one); }
  void operator()(PKCS12* one) const { PKCS12_free(one); }
  void operator()(STACK_OF(X509) * all) const { sk_X509_pop_free(all, X509_free); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

// What was found in a store. The first certificate is the key's own, where there is a key.
struct Contents {
  std::vector<Owned<X509>> certificates;
  Owned<EVP_PKEY> key;
};

std::unexpected<Error> bad(const std::string& text) { return fail(ErrorCode::INVALID_CONFIG, text); }

enum class Kind : std::uint8_t { pem, pkcs12, jks, unknown };

Kind kind_of(std::string_view content) {
  if (content.starts_with("\xFE\xED\xFE\xED") || content.starts_with("\xCE\xCE\xCE\xCE")) return Kind::jks;
  if (content.find("-----BEGIN ") != std::string_view::npos) return Kind::pem;
  if (content.starts_with("\x30")) return Kind::pkcs12;
  return Kind::unknown;
}

Owned<BIO> reader_of(std::string_view content) {
  return Owned<BIO>(BIO_new_mem_buf(content.data(), static_cast<int>(content.size())));
}

int give_password(char* to, int size, int, void* from) {
  const auto& password = *static_cast<const std::string*>(from);
  const auto n = std::min<std::size_t>(password.size(), static_cast<std::size_t>(size));
  std::memcpy(to, password.data(), n);
  return static_cast<int>(n);
}

Result<Contents> read_pem(const TlsStore& store, const std::string& content, std::string password) {
  Contents out;
  auto certificates = reader_of(content);
  for (;;) {
    Owned<X509> one(PEM_read_bio_X509(certificates.get(), nullptr, give_password, &password));
    if (!one) break;
    out.certificates.push_back(std::move(one));
  }
  if (const auto last = ERR_peek_last_error(); last != 0 && ERR_GET_REASON(last) != PEM_R_NO_START_LINE) {
    return bad(fmt::format("{}: a certificate cannot be read: {}", store.location, openssl_error("damaged")));
  }
  ERR_clear_error();
  if (content.find("PRIVATE KEY-----") == std::string::npos) return out;
  auto keys = reader_of(content);
  out.key.reset(PEM_read_bio_PrivateKey(keys.get(), nullptr, give_password, &password));
  if (!out.key) {
    return bad(fmt::format("{}: the private key cannot be read (wrong password?): {}", store.location,
                           openssl_error("damaged")));
  }
  return out;
}

Result<Contents> read_pkcs12(const TlsStore& store, const std::string& content) {
  const auto* at = reinterpret_cast<const unsigned char*>(content.data());
  Owned<PKCS12> file(d2i_PKCS12(nullptr, &at, static_cast<long>(content.size())));
  if (!file) return bad(fmt::format("{} is neither PEM nor PKCS12: {}", store.location, openssl_error("damaged")));
  EVP_PKEY* key = nullptr;
  X509* own = nullptr;
  STACK_OF(X509)* others = nullptr;
  if (PKCS12_parse(file.get(), store.password.c_str(), &key, &own, &others) != 1) {
    return bad(
        fmt::format("{} cannot be opened: wrong password, or encrypted in a way of long ago (RC2, by Java 8); in that "
                    "case: openssl pkcs12 -legacy -in {} -nodes -out store.pem. ({})",
                    store.location, store.location, openssl_error("damaged")));
  }
  Contents out;
  out.key.reset(key);
  if (own != nullptr) out.certificates.emplace_back(own);
  const Owned<STACK_OF(X509)> rest(others);
  for (int i = 0; rest && i < sk_X509_num(rest.get()); ++i) {
    auto* one = sk_X509_value(rest.get(), i);
    X509_up_ref(one);
    out.certificates.emplace_back(one);
  }
  return out;
}

Result<Contents> read_store(const TlsStore& store, const std::string& key_password, runtime::Files& files) {
  auto content = files.read_whole(store.location, store_bytes_max);
  if (!content) return bad(content.error().message);
  ERR_clear_error();
  switch (kind_of(*content)) {
    case Kind::pem: return read_pem(store, *content, key_password.empty() ? store.password : key_password);
    case Kind::pkcs12: return read_pkcs12(store, *content);
    case Kind::jks:
      return bad(
          fmt::format("{} is a store in Java's own format, JKS. Convert it: keytool -importkeystore "
                      "-srckeystore {} -srcstoretype JKS -destkeystore {}.p12 -deststoretype PKCS12",
                      store.location, store.location, store.location));
    case Kind::unknown: break;
  }
  return bad(fmt::format("{} is neither PEM nor PKCS12{}", store.location,
                         store.type.empty() ? "" : fmt::format(" (configured as {})", store.type)));
}

Result<> use_keystore(SSL_CTX* context, const TlsOptions& options, runtime::Files& files, std::string& principal) {
  auto found = read_store(options.keystore, options.key_password, files);
  if (!found) return std::unexpected(found.error());
  const auto& location = options.keystore.location;
  if (!found->key) return bad(fmt::format("{} holds no private key", location));
  // The certificate that belongs to the key goes first, wherever a PEM file has it.
  const auto own = std::ranges::find_if(
      found->certificates, [&](const auto& one) { return X509_check_private_key(one.get(), found->key.get()) == 1; });
  if (own == found->certificates.end()) {
    return bad(fmt::format("{} holds no certificate for its private key", location));
  }
  ERR_clear_error();
  if (SSL_CTX_use_certificate(context, own->get()) != 1 || SSL_CTX_use_PrivateKey(context, found->key.get()) != 1) {
    return bad(fmt::format("{} cannot be used: {}", location, openssl_error("refused")));
  }
  principal = principal_of(own->get());
  for (auto at = found->certificates.begin(); at != found->certificates.end(); ++at) {
    if (at != own && SSL_CTX_add1_chain_cert(context, at->get()) != 1) {
      return bad(fmt::format("{}: its chain cannot be used: {}", location, openssl_error("refused")));
    }
  }
  return {};
}

Result<> use_truststore(SSL_CTX* context, const TlsOptions& options, runtime::Files& files) {
  if (options.truststore.location.empty()) {
    if (SSL_CTX_set_default_verify_paths(context) != 1) return bad("the system has no certificates to trust");
    return {};
  }
  auto found = read_store(options.truststore, "", files);
  if (!found) return std::unexpected(found.error());
  if (found->certificates.empty()) return bad(fmt::format("{} holds no certificate", options.truststore.location));
  auto* store = SSL_CTX_get_cert_store(context);
  for (const auto& one : found->certificates) {
    if (X509_STORE_add_cert(store, one.get()) != 1) {
      return bad(fmt::format("{} cannot be used: {}", options.truststore.location, openssl_error("refused")));
    }
    SSL_CTX_add_client_CA(context, one.get());
  }
  // Java believes in any certificate of the store, also one that is not its own issuer.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  return {};
}

struct Version {
  std::string_view name;
  int number;
  std::uint64_t off;
};
constexpr std::array<Version, 4> versions{{{"TLSv1", TLS1_VERSION, SSL_OP_NO_TLSv1},
                                           {"TLSv1.1", TLS1_1_VERSION, SSL_OP_NO_TLSv1_1},
                                           {"TLSv1.2", TLS1_2_VERSION, SSL_OP_NO_TLSv1_2},
                                           {"TLSv1.3", TLS1_3_VERSION, SSL_OP_NO_TLSv1_3}}};

Result<> use_versions(SSL_CTX* context, const std::vector<std::string>& wanted) {
  if (wanted.empty()) {
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    return {};
  }
  for (const auto& name : wanted) {
    if (std::ranges::none_of(versions, [&](const Version& one) { return one.name == name; })) {
      return bad(fmt::format("'{}' is no TLS version: use TLSv1.2, TLSv1.3", name));
    }
  }
  int least = TLS1_3_VERSION;
  std::uint64_t off = 0;
  for (const auto& one : versions) {
    if (std::ranges::find(wanted, one.name) == wanted.end()) {
      off |= one.off;
    } else {
      least = std::min(least, one.number);
    }
  }
  SSL_CTX_set_min_proto_version(context, least);
  SSL_CTX_set_options(context, off);
  return {};
}

// OpenSSL has two lists, and its own names in the older one.
Result<> use_cipher_suites(SSL_CTX* context, const std::vector<std::string>& wanted) {
  if (wanted.empty()) return {};
  if (SSL_CTX_set_cipher_list(context, "ALL:COMPLEMENTOFALL") != 1) return bad(openssl_error("no cipher suites"));
  std::string old_ones;
  std::string new_ones;
  for (const auto& name : wanted) {
    const SSL_CIPHER* found = nullptr;
    const auto* all = SSL_CTX_get_ciphers(context);
    for (int i = 0; i < sk_SSL_CIPHER_num(all) && found == nullptr; ++i) {
      const auto* one = sk_SSL_CIPHER_value(all, i);
      const char* standard = SSL_CIPHER_standard_name(one);
      if ((standard != nullptr && name == standard) || name == SSL_CIPHER_get_name(one)) found = one;
    }
    if (found == nullptr) return bad(fmt::format("'{}' is no cipher suite that this build of OpenSSL has", name));
    auto& list = std::string_view(SSL_CIPHER_get_version(found)) == "TLSv1.3" ? new_ones : old_ones;
    if (!list.empty()) list += ':';
    list += SSL_CIPHER_get_name(found);
  }
  if (SSL_CTX_set_ciphersuites(context, new_ones.c_str()) != 1) return bad(openssl_error("no cipher suites"));
  if (old_ones.empty()) {
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  } else if (SSL_CTX_set_cipher_list(context, old_ones.c_str()) != 1) {
    return bad(openssl_error("no cipher suites"));
  }
  if (new_ones.empty()) SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
  return {};
}

Result<std::shared_ptr<const TlsContext>> make(const TlsOptions& options, bool server, runtime::Files& files) {
  ERR_clear_error();
  std::unique_ptr<SSL_CTX, SslContextFree> context(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()));
  if (!context) return bad(openssl_error("OpenSSL cannot be used"));
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE);
  if (auto done = use_versions(context.get(), options.protocols); !done) return std::unexpected(done.error());
  if (auto done = use_cipher_suites(context.get(), options.cipher_suites); !done) return std::unexpected(done.error());
  std::string principal;
  if (!options.keystore.location.empty()) {
    auto done = use_keystore(context.get(), options, files, principal);
    if (!done) return std::unexpected(done.error());
  } else if (server) {
    return bad("a TLS listener needs a key store");
  }
  const bool asks = !server || options.client_auth != ClientAuth::none;
  if (asks) {
    if (auto done = use_truststore(context.get(), options, files); !done) return std::unexpected(done.error());
    const bool must = !server || options.client_auth == ClientAuth::required;
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | (must ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr);
  }
  if (server) {
    constexpr std::array<unsigned char, 4> id{'w', 'e', 'i', 'r'};
    SSL_CTX_set_session_id_context(context.get(), id.data(), id.size());
  }
  const bool verify_hostname = !server && options.verify_hostname;
  return std::make_shared<OpenSslContext>(std::move(context), verify_hostname, std::move(principal));
}

}  // namespace

std::string principal_of(X509* certificate) {
  if (certificate == nullptr) return {};
  const Owned<BIO> out(BIO_new(BIO_s_mem()));
  if (!out) return {};
  // As Java writes it: UTF-8 as it is, not in escapes.
  const unsigned long flags = XN_FLAG_RFC2253 & ~static_cast<unsigned long>(ASN1_STRFLGS_ESC_MSB);
  X509_NAME_print_ex(out.get(), X509_get_subject_name(certificate), 0, flags);
  char* text = nullptr;
  const auto size = BIO_get_mem_data(out.get(), &text);
  return size > 0 ? std::string(text, static_cast<std::size_t>(size)) : std::string();
}

std::string openssl_error(const char* otherwise) {
  const auto first = ERR_get_error();
  ERR_clear_error();
  if (first == 0) return otherwise;
  const char* reason = ERR_reason_error_string(first);
  if (reason != nullptr) return reason;
  std::array<char, 256> text{};
  ERR_error_string_n(first, text.data(), text.size());
  return text.data();
}

Result<std::shared_ptr<const TlsContext>> TlsContext::for_client(const TlsOptions& options, runtime::Files& files) {
  return make(options, false, files);
}
Result<std::shared_ptr<const TlsContext>> TlsContext::for_server(const TlsOptions& options, runtime::Files& files) {
  return make(options, true, files);
}

std::string own_principal(const TlsContext& context) { return static_cast<const OpenSslContext&>(context).principal(); }

}  // namespace weir::net
