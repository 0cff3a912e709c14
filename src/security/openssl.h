// Owners of OpenSSL's objects, and what it says of a failure. For the .cc files of this room only.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weir::security {

struct Free {
  void operator()(BIO* one) const { BIO_free_all(one); }
  void operator()(X509* one) const { X509_free(one); }
  void operator()(X509_REQ* one) const { X509_REQ_free(one); }
  void operator()(X509_EXTENSION* one) const { X509_EXTENSION_free(one); }
  void operator()(X509_NAME* one) const { X509_NAME_free(one); }
  void operator()(X509_SIG* one) const { X509_SIG_free(one); }
  void operator()(EVP_PKEY* one) const { EVP_PKEY_free(one); }
  void operator()(EVP_MD_CTX* one) const { EVP_MD_CTX_free(one); }
  void operator()(PKCS12* one) const { PKCS12_free(one); }
  void operator()(PKCS12_SAFEBAG* one) const { PKCS12_SAFEBAG_free(one); }
  void operator()(PKCS8_PRIV_KEY_INFO* one) const { PKCS8_PRIV_KEY_INFO_free(one); }
  void operator()(ASN1_OBJECT* one) const { ASN1_OBJECT_free(one); }
  void operator()(BIGNUM* one) const { BN_free(one); }
  void operator()(GENERAL_NAMES* one) const { GENERAL_NAMES_free(one); }
  void operator()(STACK_OF(X509) * all) const { sk_X509_pop_free(all, X509_free); }
  void operator()(STACK_OF(PKCS7) * all) const { sk_PKCS7_pop_free(all, PKCS7_free); }
  void operator()(STACK_OF(PKCS12_SAFEBAG) * all) const { sk_PKCS12_SAFEBAG_pop_free(all, PKCS12_SAFEBAG_free); }
  void operator()(unsigned char* bytes) const { OPENSSL_free(bytes); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

// What OpenSSL has to say about what just failed on this thread; `otherwise` when it says nothing.
inline std::string openssl_error(const char* otherwise) {
  const auto first = ERR_get_error();
  ERR_clear_error();
  const char* reason = first == 0 ? otherwise : ERR_reason_error_string(first);
  return reason != nullptr ? reason : otherwise;
}

inline Owned<BIO> reader_of(std::string_view content) {
  return Owned<BIO>(BIO_new_mem_buf(content.data(), static_cast<int>(content.size())));
}

inline std::string written(BIO* bio) {
  char* text = nullptr;
  const auto size = BIO_get_mem_data(bio, &text);
  return size > 0 ? std::string(text, static_cast<std::size_t>(size)) : std::string();
}

// An object as DER, by its i2d function.
template <class T, class Encode>
std::string der_of(T* object, Encode encode) {
  unsigned char* out = nullptr;
  const int size = encode(object, &out);
  const Owned<unsigned char> owned(out);
  return size > 0 ? std::string(reinterpret_cast<const char*>(out), static_cast<std::size_t>(size)) : std::string();
}

inline const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// For PEM_read_*: the password is a std::string. Never asks a terminal.
inline int give_password(char* to, int size, int, void* from) {
  if (from == nullptr) return 0;
  const auto& password = *static_cast<const std::string*>(from);
  return static_cast<int>(password.copy(to, static_cast<std::size_t>(size)));
}

}  // namespace weir::security
