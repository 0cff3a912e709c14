#include "zkclient/digest_md5.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>

#include "base/check.h"

namespace weir::zkclient {
namespace {

std::string md5(std::string_view of) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out{};
  unsigned size = 0;
  WEIR_CHECK(EVP_Digest(of.data(), of.size(), out.data(), &size, EVP_md5(), nullptr) == 1, "OpenSSL has MD5");
  return {reinterpret_cast<const char*>(out.data()), size};
}

std::string hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

using Directives = std::map<std::string, std::string, std::less<>>;

// name=value or name="value", with commas; nothing when it is not that.
std::optional<Directives> parse(std::string_view text) {
  Directives out;
  while (true) {
    const auto begin = text.find_first_not_of(" \t\r\n,");
    if (begin == std::string_view::npos) return out;
    text.remove_prefix(begin);
    const auto equals = text.find('=');
    if (equals == std::string_view::npos || equals == 0) return std::nullopt;
    std::string name(text.substr(0, equals));
    text.remove_prefix(equals + 1);
    std::string value;
    if (text.starts_with('"')) {
      std::size_t at = 1;
      for (; at < text.size() && text[at] != '"'; ++at) {
        if (text[at] == '\\' && at + 1 < text.size()) ++at;
        value += text[at];
      }
      if (at >= text.size()) return std::nullopt;
      text.remove_prefix(at + 1);
    } else {
      const auto end = std::min(text.find_first_of(", \t\r\n"), text.size());
      value = text.substr(0, end);
      text.remove_prefix(end);
    }
    out.emplace(std::move(name), std::move(value));
  }
}

bool names(std::string_view list, std::string_view wanted) {
  while (!list.empty()) {
    const auto comma = std::min(list.find(','), list.size());
    auto one = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ')) one.remove_suffix(1);
    if (one == wanted) return true;
  }
  return false;
}

// RFC 2831, 2.1.2.1: names within ISO 8859-1 are hashed in it.
std::string hashed_form(std::string_view utf8) {
  std::string out;
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    const auto c = static_cast<unsigned char>(utf8[i]);
    if (c < 0x80) {
      out += utf8[i];
    } else if ((c == 0xc2 || c == 0xc3) && i + 1 < utf8.size()) {
      out += static_cast<char>(((c & 0x03U) << 6U) | (static_cast<unsigned char>(utf8[++i]) & 0x3fU));
    } else {
      return std::string(utf8);
    }
  }
  return out;
}

constexpr std::string_view count = "00000001";
constexpr std::size_t challenge_bytes_max = 4096;

std::unexpected<Error> refuse(std::string_view why) {
  return fail(ErrorCode::SASL_AUTHENTICATION_FAILED, fmt::format("DIGEST-MD5: {}", why));
}

}  // namespace

DigestMd5::DigestMd5(std::string username, std::string password, std::string cnonce)
    : username_(std::move(username)), password_(std::move(password)), cnonce_(std::move(cnonce)) {}

std::string DigestMd5::digest(std::string_view a2_prefix) const {
  const auto form = [this](const std::string& text) { return utf8_ ? hashed_form(text) : text; };
  const std::string secret = md5(form(username_) + ":" + form(realm_) + ":" + form(password_));
  const std::string a1 = secret + ":" + nonce_ + ":" + cnonce_;
  const std::string a2 = std::string(a2_prefix) + ":" + uri_;
  return hex(md5(fmt::format("{}:{}:{}:{}:auth:{}", hex(md5(a1)), nonce_, count, cnonce_, hex(md5(a2)))));
}

Result<std::string> DigestMd5::respond(std::string_view challenge) {
  if (challenge.size() > challenge_bytes_max) return refuse("the server's challenge is too long");
  const auto said = parse(challenge);
  if (!said) return refuse("the server's challenge cannot be read");
  const auto nonce = said->find("nonce");
  if (nonce == said->end() || nonce->second.empty()) return refuse("the server's challenge has no nonce");
  if (const auto it = said->find("algorithm"); it == said->end() || it->second != "md5-sess") {
    return refuse("the server asks for another algorithm than md5-sess");
  }
  if (const auto it = said->find("qop"); it != said->end() && !names(it->second, "auth")) {
    return refuse("the server insists on a layer of its own (qop)");
  }
  nonce_ = nonce->second;
  if (const auto it = said->find("realm"); it != said->end()) realm_ = it->second;
  if (const auto it = said->find("charset"); it != said->end()) utf8_ = it->second == "utf-8";
  // ZooKeeper's clients name the server so unless told otherwise (zookeeper.server.realm and such are Kerberos').
  uri_ = "zookeeper/zk-sasl-md5";
  std::string out;
  if (utf8_) out += "charset=utf-8,";
  out += fmt::format("username={},realm={},nonce={},nc={},cnonce={},digest-uri={},maxbuf=65536,response={},qop=auth",
                     quoted(username_), quoted(realm_), quoted(nonce_), count, quoted(cnonce_), quoted(uri_),
                     digest("AUTHENTICATE"));
  return out;
}

bool DigestMd5::server_knows(std::string_view last) const {
  if (nonce_.empty() || last.size() > challenge_bytes_max) return false;
  const auto said = parse(last);
  if (!said) return false;
  const auto proof = said->find("rspauth");
  return proof != said->end() && proof->second == digest("");
}

}  // namespace weir::zkclient
