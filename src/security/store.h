// Stores of certificates and keys as users of Kafka have them: PEM, PKCS#12, and Java's own format, JKS. Read whatever
// they are called (the content decides), and written as trust stores that Java 8 and later read.
// Bytes in, bytes out; a store is hostile until parsed and at most store_bytes_max long.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace weir::security {

inline constexpr std::size_t store_bytes_max = 16 * 1024 * 1024;

enum class StoreKind : std::uint8_t { pem, pkcs12, jks, jceks, unknown };
StoreKind kind_of_store(std::string_view content);

// What was found: DER, as X.509 and as PKCS#8. Certificates stand in the order of the store; where there is a key, its
// own comes first and its chain behind it.
struct StoreContents {
  std::vector<std::string> certificates;
  std::string key;  // empty: none. A secret.
};

struct StorePasswords {
  std::string store;  // JKS may be read without one; nobody can tell then whether it was changed
  std::string key;    // empty: the store's
};

// INVALID_CONFIG with a sentence that begins with `where` (a path, or the name of a configuration key). A JKS or
// PKCS#12 store with several keys gives the first of them.
Result<StoreContents> read_store(std::string_view content, const StorePasswords& passwords, std::string_view where);

// SHA-256, in hexadecimal: whether a store is another one.
std::string fingerprint(std::string_view content);

// PEM as it stands in a configuration value, where lines may have become blanks or been joined, with lines again.
std::string refolded_pem(std::string_view text);

// Trust stores of the certificates in `pem`, under the aliases `alias`, `alias-2`, ... A PKCS#12 one marks them as
// trusted the way Java wants it and uses what Java 8 can read (3DES and SHA-1: what is inside is public).
Result<std::string> trust_store_pkcs12(std::string_view pem, const std::string& alias, const std::string& password);
Result<std::string> trust_store_jks(std::string_view pem, const std::string& alias, const std::string& password,
                                    std::int64_t now_ms);

}  // namespace weir::security
