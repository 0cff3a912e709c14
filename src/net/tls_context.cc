#include "net/tls_context.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "security/principal.h"
#include "security/store.h"

namespace weir::net {
namespace {

struct Free {
  void operator()(X509* one) const { X509_free(one); }
  void operator()(EVP_PKEY* one) const { EVP_PKEY_free(one); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

std::unexpected<Error> bad(const std::string& text) { return fail(ErrorCode::INVALID_CONFIG, text); }

const unsigned char* bytes_of(const std::string& der) { return reinterpret_cast<const unsigned char*>(der.data()); }

Owned<X509> certificate_of(const std::string& der) {
  const auto* at = bytes_of(der);
  return Owned<X509>(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
}

std::string name_of(const TlsStore& store) {
  return store.pem.empty() ? store.location : "the PEM in the configuration";
}

Result<security::StoreContents> read_store(const TlsStore& store, const std::string& key_password,
                                           runtime::Files& files) {
  const security::StorePasswords passwords{store.password, key_password};
  if (!store.pem.empty()) return security::read_store(security::refolded_pem(store.pem), passwords, name_of(store));
  auto content = files.read_whole(store.location, security::store_bytes_max);
  if (!content) return bad(content.error().message);
  return security::read_store(*content, passwords, store.location);
}

std::int64_t expiry_of(const X509* certificate) {
  tm parts{};
  return ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &parts) == 1 ? timegm(&parts) : 0;
}

Result<> use_keystore(SSL_CTX* context, const TlsOptions& options, runtime::Files& files, TlsOwner& owner) {
  auto found = read_store(options.keystore, options.key_password, files);
  if (!found) return std::unexpected(found.error());
  const auto where = name_of(options.keystore);
  if (found->key.empty()) return bad(fmt::format("{} holds no private key", where));
  ERR_clear_error();
  const auto* at = bytes_of(found->key);
  const Owned<EVP_PKEY> key(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(found->key.size())));
  const auto own = certificate_of(found->certificates.front());
  const bool used =
      key && own && SSL_CTX_use_certificate(context, own.get()) == 1 && SSL_CTX_use_PrivateKey(context, key.get()) == 1;
  if (!used) return bad(fmt::format("{} cannot be used: {}", where, openssl_error("refused")));
  for (std::size_t i = 1; i < found->certificates.size(); ++i) {
    const auto above = certificate_of(found->certificates[i]);
    if (!above || SSL_CTX_add1_chain_cert(context, above.get()) != 1) {
      return bad(fmt::format("{}: its chain cannot be used: {}", where, openssl_error("refused")));
    }
  }
  owner = {security::distinguished_name(own.get()), expiry_of(own.get())};
  return {};
}

Result<> use_truststore(SSL_CTX* context, const TlsOptions& options, runtime::Files& files) {
  if (!options.truststore.set()) {
    if (SSL_CTX_set_default_verify_paths(context) != 1) return bad("the system has no certificates to trust");
    return {};
  }
  auto found = read_store(options.truststore, "", files);
  if (!found) return std::unexpected(found.error());
  const auto where = name_of(options.truststore);
  if (found->certificates.empty()) return bad(fmt::format("{} holds no certificate", where));
  auto* store = SSL_CTX_get_cert_store(context);
  for (const auto& der : found->certificates) {
    const auto one = certificate_of(der);
    if (!one || X509_STORE_add_cert(store, one.get()) != 1) {
      return bad(fmt::format("{} cannot be used: {}", where, openssl_error("refused")));
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

// Who is one of TlsOptions::client_names. A client has its subject as it asks for it, so that this says nothing; names
// and the right to be a server are the authority's to give.
bool named(X509* certificate, const std::vector<std::string>& names) {
  if (X509_check_purpose(certificate, X509_PURPOSE_SSL_SERVER, 0) != 1) return false;
  constexpr unsigned flags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_SINGLE_LABEL_SUBDOMAINS;
  return std::ranges::any_of(names, [&](const std::string& name) {
    return X509_check_host(certificate, name.data(), name.size(), flags, nullptr) == 1;
  });
}

int only_named(int ok, X509_STORE_CTX* store) {
  if (ok == 1 && X509_STORE_CTX_get_error_depth(store) == 0) {
    auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    const auto* own = static_cast<const OpenSslContext*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
    if (!named(X509_STORE_CTX_get_current_cert(store), own->client_names())) {
      X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
      ok = 0;
    }
  }
  return note_refused(ok, store);
}

Result<std::shared_ptr<const TlsContext>> make(const TlsOptions& options, bool server, runtime::Files& files) {
  ERR_clear_error();
  std::unique_ptr<SSL_CTX, SslContextFree> context(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()));
  if (!context) return bad(openssl_error("OpenSSL cannot be used"));
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE);
  if (auto done = use_versions(context.get(), options.protocols); !done) return std::unexpected(done.error());
  if (auto done = use_cipher_suites(context.get(), options.cipher_suites); !done) return std::unexpected(done.error());
  TlsOwner owner;
  if (options.keystore.set()) {
    auto done = use_keystore(context.get(), options, files, owner);
    if (!done) return std::unexpected(done.error());
  } else if (server) {
    return bad("a TLS listener needs a key store");
  }
  const bool asks = !server || options.client_auth != ClientAuth::none || !options.client_names.empty();
  if (asks) {
    if (auto done = use_truststore(context.get(), options, files); !done) return std::unexpected(done.error());
    const bool must = !server || options.client_auth == ClientAuth::required || !options.client_names.empty();
    const auto each = server && !options.client_names.empty() ? only_named : note_refused;
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | (must ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), each);
  }
  if (server) {
    constexpr std::array<unsigned char, 4> id{'w', 'e', 'i', 'r'};
    SSL_CTX_set_session_id_context(context.get(), id.data(), id.size());
  }
  return std::make_shared<OpenSslContext>(std::move(context), options, std::move(owner));
}

}  // namespace

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

std::string own_principal(const TlsContext& context) {
  return static_cast<const OpenSslContext&>(context).owner().principal;
}
std::int64_t own_expiry_s(const TlsContext& context) {
  return static_cast<const OpenSslContext&>(context).owner().expiry_s;
}

}  // namespace weir::net
