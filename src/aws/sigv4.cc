#include "aws/sigv4.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <span>

#include "base/check.h"

namespace weir::aws {
namespace {

constexpr std::string_view algorithm = "AWS4-HMAC-SHA256";
constexpr std::string_view terminator = "aws4_request";
constexpr std::size_t signed_headers_max = 100;
constexpr std::size_t echo_bytes_max = 200;        // of what a client sent, in a sentence
constexpr std::size_t canonical_bytes_max = 4096;  // of the canonical request, in a sentence

std::unexpected<Fault> refuse(const char* type, std::string message) {
  return std::unexpected(fault(403, type, std::move(message)));
}
std::unexpected<Fault> incomplete(std::string message) {
  return refuse("IncompleteSignatureException", std::move(message));
}
std::unexpected<Fault> invalid(std::string message) { return refuse("InvalidSignatureException", std::move(message)); }

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view space = " \t\r\n\v\f";
  const auto from = text.find_first_not_of(space);
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(space) - from + 1);
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> out;
  for (std::size_t from = 0; from <= text.size();) {
    const auto to = std::min(text.find(at, from), text.size());
    out.push_back(text.substr(from, to - from));
    from = to + 1;
  }
  return out;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string lowered(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), lower);
  return out;
}

bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

std::string hex(std::span<const unsigned char> bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const auto b : bytes) {
    out += digits[b >> 4];
    out += digits[b & 15];
  }
  return out;
}

using Digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;

std::string sha256(std::string_view text) {
  Digest out{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), out.data());
  return hex(out);
}

Digest hmac(std::span<const unsigned char> key, std::string_view text) {
  Digest out{};
  unsigned int size = out.size();
  const auto* done = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                          reinterpret_cast<const unsigned char*>(text.data()), text.size(), out.data(), &size);
  WEIR_CHECK(done != nullptr && size == out.size(), "HMAC-SHA256 works on any input");
  return out;
}

// Without dot segments and doubled slashes; a slash at the end stays.
std::string normalized(std::string_view path) {
  if (path.empty()) return "/";
  std::vector<std::string_view> kept;
  for (const auto part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      kept.push_back(part);
    } else if (!kept.empty()) {
      kept.pop_back();
    }
  }
  std::string out;
  for (const auto part : kept) {
    out += '/';
    out += part;
  }
  if (kept.empty() || path.back() == '/') out += '/';
  return out;
}

// What is percent-encoded is decoded and encoded again, the one way; a '%' that encodes nothing is itself.
std::string reencoded(std::string_view text) {
  auto decoded = uri_decode(text);
  return uri_encode(decoded ? std::string_view(*decoded) : text);
}

std::string canonical_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto part : split(query, '&')) {
    if (part.empty()) continue;
    const auto equals = std::min(part.find('='), part.size());
    pairs.emplace_back(reencoded(part.substr(0, equals)),
                       equals == part.size() ? std::string() : reencoded(part.substr(equals + 1)));
  }
  std::ranges::sort(pairs);
  std::string out;
  for (const auto& [name, value] : pairs) {
    if (!out.empty()) out += '&';
    out += name;
    out += '=';
    out += value;
  }
  return out;
}

void append_folded(std::string& out, std::string_view value) {
  bool gap = false;
  for (const char c : trimmed(value)) {
    const bool space = c == ' ' || (c >= '\t' && c <= '\r');
    if (!space) {
      if (gap) out += ' ';
      out += c;
    }
    gap = space;
  }
}

std::string header_values(const net::HttpRequest& request, std::string_view name) {
  std::string out;
  bool first = true;
  for (const auto& [key, value] : request.headers) {
    if (!same_name(key, name)) continue;
    if (!first) out += ',';
    first = false;
    append_folded(out, value);
  }
  return out;
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) {
    if (!out.empty()) out += ';';
    out += name;
  }
  return out;
}

std::string_view date_header(const net::HttpRequest& request) {
  const auto own = request.header("x-amz-date");
  return own.empty() ? request.header("date") : own;
}

std::expected<CredentialScope, Fault> parse_scope(std::string_view text) {
  const auto parts = split(text, '/');
  if (parts.size() != 5) {
    return incomplete(
        fmt::format("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
                    "got '{}'",
                    text.substr(0, echo_bytes_max)));
  }
  if (parts[4] != terminator) {
    return invalid(fmt::format("Credential should be scoped with a valid terminator: '{}', not '{}'. ", terminator,
                               parts[4].substr(0, echo_bytes_max)));
  }
  CredentialScope scope;
  scope.access_key_id = parts[0];
  scope.date = parts[1];
  scope.region = parts[2];
  scope.service = parts[3];
  return scope;
}

std::expected<std::vector<std::string>, Fault> parse_signed_headers(std::string_view text) {
  std::vector<std::string> names;
  for (const auto part : split(text, ';')) {
    if (names.size() == signed_headers_max) {
      return incomplete(fmt::format("Authorization header names more than {} SignedHeaders.", signed_headers_max));
    }
    names.push_back(lowered(trimmed(part)));
  }
  std::ranges::sort(names);
  if (!std::ranges::binary_search(names, "host")) {
    return invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.");
  }
  return names;
}

std::string wrong_signature(std::string_view canonical, std::string_view to_sign) {
  std::string out =
      "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
      "and signing method. Consult the service documentation for details.";
  if (canonical.size() <= canonical_bytes_max) {
    out += fmt::format(
        "\n\nThe Canonical String for this request should have been\n'{}'\n\nThe String-to-Sign should have been\n"
        "'{}'\n",
        canonical, to_sign);
  }
  return out;
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::optional<Fault> outside_scope(const CredentialScope& scope, const VerifyOptions& options) {
  if (!options.region.empty() && scope.region != options.region) {
    return fault(403, "InvalidSignatureException",
                 fmt::format("Credential should be scoped to a valid region, not '{}'. ",
                             scope.region.substr(0, echo_bytes_max)));
  }
  if (!options.services.empty() && std::ranges::find(options.services, scope.service) == options.services.end()) {
    return fault(403, "InvalidSignatureException",
                 fmt::format("Credential should be scoped to correct service: '{}'. ", options.services.front()));
  }
  return std::nullopt;
}

std::optional<Fault> outside_time(milliseconds date, milliseconds now, milliseconds skew) {
  const auto minutes = std::chrono::duration_cast<std::chrono::minutes>(skew).count();
  if (date < now - skew) {
    return fault(403, "InvalidSignatureException",
                 fmt::format("Signature expired: {} is now earlier than {} ({} - {} min.)", basic_date(date),
                             basic_date(now - skew), basic_date(now), minutes));
  }
  if (date > now + skew) {
    return fault(403, "InvalidSignatureException",
                 fmt::format("Signature not yet current: {} is still later than {} ({} + {} min.)", basic_date(date),
                             basic_date(now + skew), basic_date(now), minutes));
  }
  return std::nullopt;
}

std::optional<int> number(std::string_view text) {
  int out = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    out = out * 10 + (c - '0');
  }
  return out;
}

std::optional<milliseconds> date_of(std::string_view year, unsigned month, std::string_view day, std::string_view hour,
                                    std::string_view minute, std::string_view second) {
  const auto y = number(year);
  const auto d = number(day);
  const auto h = number(hour);
  const auto m = number(minute);
  const auto s = number(second);
  if (!y || !d || !h || !m || !s || *h > 23 || *m > 59 || *s > 59) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*y), std::chrono::month(month),
                                         std::chrono::day(static_cast<unsigned>(*d))};
  if (!date.ok()) return std::nullopt;
  return std::chrono::sys_days(date).time_since_epoch() + std::chrono::hours(*h) + std::chrono::minutes(*m) +
         seconds(*s);
}

}  // namespace

std::string CredentialScope::text() const { return fmt::format("{}/{}/{}/{}", date, region, service, terminator); }

std::expected<Authorization, Fault> parse_authorization(const net::HttpRequest& request) {
  const auto header = trimmed(request.header("authorization"));
  if (header.empty()) {
    if (request.query().find("X-Amz-Signature=") != std::string_view::npos) {
      return incomplete(
          "A signature in the query (a presigned URL) is not taken here: sign with the Authorization header.");
    }
    return refuse("MissingAuthenticationTokenException", "Missing Authentication Token");
  }
  const auto shown = header.substr(0, echo_bytes_max);
  const auto space = std::min(header.find_first_of(" \t"), header.size());
  if (header.substr(0, space) != algorithm) {
    return incomplete(fmt::format("Authorization header must begin with '{}'. Authorization={}", algorithm, shown));
  }
  std::string_view credential;
  std::string_view names;
  std::string_view sent;
  for (auto part : split(header.substr(space), ',')) {
    part = trimmed(part);
    if (part.empty()) continue;
    const auto equals = part.find('=');
    if (equals == std::string_view::npos) {
      return incomplete(
          fmt::format("'{}' not a valid key=value pair (missing equal-sign) in Authorization header: '{}'.",
                      part.substr(0, echo_bytes_max), shown));
    }
    const auto key = trimmed(part.substr(0, equals));
    const auto value = trimmed(part.substr(equals + 1));
    if (key == "Credential") credential = value;
    if (key == "SignedHeaders") names = value;
    if (key == "Signature") sent = value;
  }
  std::string missing;
  if (credential.empty()) missing += "Authorization header requires 'Credential' parameter. ";
  if (sent.empty()) missing += "Authorization header requires 'Signature' parameter. ";
  if (names.empty()) missing += "Authorization header requires 'SignedHeaders' parameter. ";
  if (date_header(request).empty()) {
    missing += "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ";
  }
  if (!missing.empty()) return incomplete(fmt::format("{}Authorization={}", missing, shown));

  Authorization out;
  auto scope = parse_scope(credential);
  if (!scope) return std::unexpected(scope.error());
  auto headers = parse_signed_headers(names);
  if (!headers) return std::unexpected(headers.error());
  out.scope = std::move(*scope);
  out.signed_headers = std::move(*headers);
  out.signature = sent;
  return out;
}

std::string canonical_request(const net::HttpRequest& request, const std::vector<std::string>& signed_headers) {
  std::string out = request.method;
  out += '\n';
  out += uri_encode(normalized(request.path()), true);
  out += '\n';
  out += canonical_query(request.query());
  out += '\n';
  for (const auto& name : signed_headers) {
    out += name;
    out += ':';
    out += header_values(request, name);
    out += '\n';
  }
  out += '\n';
  out += joined(signed_headers);
  out += '\n';
  out += sha256(request.body);
  return out;
}

std::string string_to_sign(std::string_view date, const CredentialScope& scope, std::string_view canonical_request) {
  return fmt::format("{}\n{}\n{}\n{}", algorithm, date, scope.text(), sha256(canonical_request));
}

std::string signature(std::string_view secret, const CredentialScope& scope, std::string_view string_to_sign) {
  const auto first = fmt::format("AWS4{}", secret);
  auto key = hmac(std::span(reinterpret_cast<const unsigned char*>(first.data()), first.size()), scope.date);
  key = hmac(key, scope.region);
  key = hmac(key, scope.service);
  key = hmac(key, terminator);
  return hex(hmac(key, string_to_sign));
}

std::expected<Caller, Fault> verify(const net::HttpRequest& request, milliseconds now, const SecretOf& secret_of,
                                    const VerifyOptions& options) {
  const auto authorization = parse_authorization(request);
  if (!authorization) return std::unexpected(authorization.error());
  const auto& scope = authorization->scope;

  const auto date_text = date_header(request);
  const auto date = parse_date(date_text);
  if (!date) {
    return incomplete(
        fmt::format("Date must be in ISO-8601 'basic format'. Got '{}'. See "
                    "http://en.wikipedia.org/wiki/ISO_8601",
                    date_text.substr(0, echo_bytes_max)));
  }
  const auto date_sent = basic_date(*date);
  if (scope.date != date_sent.substr(0, 8)) {
    return invalid(
        fmt::format("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
                    "HTTP: '{}' != '{}', from '{}'.",
                    scope.date.substr(0, echo_bytes_max), date_sent.substr(0, 8), date_sent));
  }
  if (auto outside = outside_scope(scope, options)) return std::unexpected(std::move(*outside));

  const auto secret = secret_of(scope.access_key_id);
  if (!secret || !request.header("x-amz-security-token").empty()) {
    return refuse("UnrecognizedClientException", "The security token included in the request is invalid.");
  }
  if (auto outside = outside_time(*date, now, options.skew_max)) return std::unexpected(std::move(*outside));

  const auto declared = trimmed(request.header("x-amz-content-sha256"));
  if (!declared.empty() && declared != sha256(request.body)) {
    return invalid("The provided 'x-amz-content-sha256' header does not match what was computed.");
  }
  const auto canonical = canonical_request(request, authorization->signed_headers);
  const auto to_sign = string_to_sign(date_sent, scope, canonical);
  if (!equal_in_constant_time(signature(*secret, scope, to_sign), authorization->signature)) {
    return invalid(wrong_signature(canonical, to_sign));
  }
  Caller caller;
  caller.access_key_id = scope.access_key_id;
  caller.region = scope.region;
  caller.service = scope.service;
  return caller;
}

std::string basic_date(milliseconds wall) {
  const auto time = std::chrono::floor<seconds>(wall);
  const auto days = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{std::chrono::sys_days(days)};
  const std::chrono::hh_mm_ss clock{time - days};
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                     clock.minutes().count(), clock.seconds().count());
}

std::optional<milliseconds> parse_date(std::string_view text) {
  text = trimmed(text);
  if (text.size() == 16 && text[8] == 'T' && text[15] == 'Z') {
    const auto month = number(text.substr(4, 2));
    if (!month) return std::nullopt;
    return date_of(text.substr(0, 4), static_cast<unsigned>(*month), text.substr(6, 2), text.substr(9, 2),
                   text.substr(11, 2), text.substr(13, 2));
  }
  // "Sun, 30 Aug 2015 12:36:00 GMT"
  if (text.size() != 29 || text.substr(3, 2) != ", " || text[7] != ' ' || text[11] != ' ' || text[16] != ' ' ||
      text[19] != ':' || text[22] != ':' || text.substr(25) != " GMT") {
    return std::nullopt;
  }
  constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
  const auto at = months.find(text.substr(8, 3));
  if (at == std::string_view::npos || at % 3 != 0) return std::nullopt;
  return date_of(text.substr(12, 4), static_cast<unsigned>(at / 3 + 1), text.substr(5, 2), text.substr(17, 2),
                 text.substr(20, 2), text.substr(23, 2));
}

std::string uri_encode(std::string_view text, bool slashes) {
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  for (const char c : text) {
    const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~' || (slashes && c == '/');
    if (plain) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += digits[byte >> 4];
      out += digits[byte & 15];
    }
  }
  return out;
}

std::optional<std::string> uri_decode(std::string_view text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  };
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const int high = digit(text[i + 1]);
    const int low = digit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

}  // namespace weir::aws
