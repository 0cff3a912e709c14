#include "security/jks.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <array>
#include <optional>

#include "bytes/cursor.h"
#include "security/openssl.h"

namespace weir::security {
namespace {

constexpr std::uint32_t magic = 0xFEEDFEED;
constexpr std::int32_t entries_max = 10'000;
constexpr std::int32_t chain_max = 64;
constexpr std::string_view phrase = "Mighty Aphrodite";
// The one way keys are protected: Sun's own, by number.
constexpr const char* protection = "1.3.6.1.4.1.42.2.17.1.1";

using Sha1 = std::array<unsigned char, SHA_DIGEST_LENGTH>;

std::unexpected<Error> bad(std::string text) { return fail(ErrorCode::INVALID_CONFIG, std::move(text)); }

// As Java's chars, big-endian. What is no UTF-8 is taken byte by byte.
std::string utf16(std::string_view text) {
  std::string out;
  const auto put = [&out](std::uint32_t unit) {
    out += static_cast<char>(unit >> 8U);
    out += static_cast<char>(unit & 0xFFU);
  };
  for (std::size_t at = 0; at < text.size();) {
    const auto first = static_cast<unsigned char>(text[at]);
    const std::size_t more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC0 ? 1 : 0;
    if (more == 0 || at + more >= text.size()) {
      put(first);
      ++at;
      continue;
    }
    std::uint32_t code = first & (0x3FU >> more);
    for (std::size_t i = 1; i <= more; ++i) code = (code << 6U) | (static_cast<unsigned char>(text[at + i]) & 0x3FU);
    at += more + 1;
    if (code >= 0x10000) {
      put(0xD800U + ((code - 0x10000U) >> 10U));
      put(0xDC00U + ((code - 0x10000U) & 0x3FFU));
    } else {
      put(code);
    }
  }
  return out;
}

Sha1 sha1(std::initializer_list<std::string_view> parts) {
  std::string all;
  for (const auto part : parts) all += part;
  Sha1 out{};
  SHA1(bytes_of(all), all.size(), out.data());
  OPENSSL_cleanse(all.data(), all.size());
  return out;
}

std::string_view view_of(const Sha1& digest) { return {reinterpret_cast<const char*>(digest.data()), digest.size()}; }

bool same(std::string_view one, std::string_view other) {
  return one.size() == other.size() && CRYPTO_memcmp(one.data(), other.data(), one.size()) == 0;
}

// Reads what may end anywhere: nothing at the end.
class Cursor {
 public:
  explicit Cursor(std::string_view all) : all_(all) {}
  std::optional<std::string_view> take(std::size_t n) {
    if (n > all_.size() - at_) return std::nullopt;
    at_ += n;
    return all_.substr(at_ - n, n);
  }
  template <class T>
  std::optional<T> number() {
    const auto bytes = take(sizeof(T));
    if (!bytes) return std::nullopt;
    return bytes::load_big<T>(reinterpret_cast<const std::byte*>(bytes->data()));
  }
  std::optional<std::string_view> text() {
    const auto size = number<std::uint16_t>();
    return size ? take(*size) : std::nullopt;
  }
  std::optional<std::string_view> block() {
    const auto size = number<std::uint32_t>();
    return size ? take(*size) : std::nullopt;
  }

 private:
  std::string_view all_;
  std::size_t at_ = 0;
};

std::optional<std::string_view> certificate(Cursor& in, std::uint32_t version) {
  if (version == 2 && !in.text()) return std::nullopt;  // "X.509"
  return in.block();
}

// The PKCS#8 key behind the protection: a random salt, the key xored with a stream of digests, and a digest as check.
std::optional<std::string> unlock(std::string_view blob, const std::string& password) {
  const auto* at = bytes_of(blob);
  const Owned<X509_SIG> sealed(d2i_X509_SIG(nullptr, &at, static_cast<long>(blob.size())));
  if (!sealed) return std::nullopt;
  const X509_ALGOR* algorithm = nullptr;
  const ASN1_OCTET_STRING* value = nullptr;
  X509_SIG_get0(sealed.get(), &algorithm, &value);
  std::array<char, 64> name{};
  OBJ_obj2txt(name.data(), name.size(), algorithm->algorithm, 1);
  if (std::string_view(name.data()) != protection) return std::nullopt;
  const std::string_view all(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                             static_cast<std::size_t>(ASN1_STRING_length(value)));
  constexpr std::size_t digest = SHA_DIGEST_LENGTH;
  if (all.size() < 2 * digest) return std::nullopt;
  auto secret = utf16(password);
  std::string key(all.substr(digest, all.size() - 2 * digest));
  Sha1 stream = sha1({secret, all.substr(0, digest)});
  for (std::size_t i = 0; i < key.size(); ++i) {
    if (i > 0 && i % digest == 0) stream = sha1({secret, view_of(stream)});
    key[i] = static_cast<char>(static_cast<unsigned char>(key[i]) ^ stream[i % digest]);
  }
  const auto check = sha1({secret, key});
  OPENSSL_cleanse(secret.data(), secret.size());
  if (!same(view_of(check), all.substr(all.size() - digest))) return std::nullopt;
  return key;
}

void put_number(std::string& out, std::uint64_t value, int size) {
  for (int i = size - 1; i >= 0; --i) out += static_cast<char>(value >> (8U * static_cast<unsigned>(i)));
}
void put_text(std::string& out, std::string_view text) {
  put_number(out, text.size(), 2);
  out += text;
}

}  // namespace

std::string alias_of_entry(const std::string& alias, std::size_t index) {
  return index == 0 ? alias : fmt::format("{}-{}", alias, index + 1);
}

Result<StoreContents> read_jks(std::string_view content, const StorePasswords& passwords, std::string_view where) {
  const auto damaged = [&] { return bad(fmt::format("{} is a damaged JKS store", where)); };
  if (content.size() < 12 + SHA_DIGEST_LENGTH) return damaged();
  const auto body = content.substr(0, content.size() - SHA_DIGEST_LENGTH);
  if (!passwords.store.empty()) {
    auto secret = utf16(passwords.store);
    const auto digest = sha1({secret, phrase, body});
    OPENSSL_cleanse(secret.data(), secret.size());
    if (!same(view_of(digest), content.substr(body.size()))) {
      return bad(fmt::format("{} cannot be opened: its password is another, or it is damaged", where));
    }
  }
  Cursor in(body);
  const auto found_magic = in.number<std::uint32_t>();
  const auto version = in.number<std::uint32_t>();
  const auto count = in.number<std::int32_t>();
  if (found_magic != magic || (version != 1U && version != 2U) || !count || *count < 0 || *count > entries_max) {
    return damaged();
  }
  StoreContents out;
  std::vector<std::string> trusted;
  for (std::int32_t i = 0; i < *count; ++i) {
    const auto tag = in.number<std::uint32_t>();
    const auto alias = in.text();
    if (!tag || !alias || !in.number<std::int64_t>()) return damaged();
    if (*tag == 2) {
      const auto one = certificate(in, *version);
      if (!one) return damaged();
      trusted.emplace_back(*one);
      continue;
    }
    const auto blob = *tag == 1 ? in.block() : std::nullopt;
    const auto chain = blob ? in.number<std::int32_t>() : std::nullopt;
    if (!chain || *chain < 0 || *chain > chain_max) return damaged();
    std::vector<std::string> certificates;
    for (std::int32_t k = 0; k < *chain; ++k) {
      const auto one = certificate(in, *version);
      if (!one) return damaged();
      certificates.emplace_back(*one);
    }
    if (!out.key.empty()) continue;
    auto key = unlock(*blob, passwords.key.empty() ? passwords.store : passwords.key);
    if (!key) {
      return bad(fmt::format("{}: the private key '{}' cannot be read: its password (ssl.key.password) is another",
                             where, *alias));
    }
    out.key = std::move(*key);
    out.certificates = std::move(certificates);
  }
  out.certificates.insert(out.certificates.end(), trusted.begin(), trusted.end());
  return out;
}

std::string write_jks(const std::vector<std::string>& certificates, const std::string& alias,
                      const std::string& password, std::int64_t now_ms) {
  std::string out;
  put_number(out, magic, 4);
  put_number(out, 2, 4);
  put_number(out, certificates.size(), 4);
  for (std::size_t i = 0; i < certificates.size(); ++i) {
    put_number(out, 2, 4);
    put_text(out, alias_of_entry(alias, i));
    put_number(out, static_cast<std::uint64_t>(now_ms), 8);
    put_text(out, "X.509");
    put_number(out, certificates[i].size(), 4);
    out += certificates[i];
  }
  out += view_of(sha1({utf16(password), phrase, out}));
  return out;
}

}  // namespace weir::security
