#include "security/principal.h"

#include <fmt/format.h>

#include <array>
#include <boost/regex.hpp>
#include <cctype>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include "security/openssl.h"

namespace weir::security {
namespace {

constexpr std::size_t name_bytes_max = 16 * 1024;

std::unexpected<Error> bad_rule(std::string_view rule) {
  return fail(ErrorCode::INVALID_CONFIG,
              fmt::format("ssl.principal.mapping.rules: '{}' is no rule: write DEFAULT or RULE:PATTERN/REPLACEMENT/ "
                          "with L or U behind it",
                          rule.substr(0, 200)));
}

// The names that RFC 2253 has, as Java uses them.
std::string_view short_name(int nid) {
  switch (nid) {
    case NID_commonName: return "CN";
    case NID_countryName: return "C";
    case NID_localityName: return "L";
    case NID_stateOrProvinceName: return "ST";
    case NID_streetAddress: return "STREET";
    case NID_organizationName: return "O";
    case NID_organizationalUnitName: return "OU";
    case NID_domainComponent: return "DC";
    case NID_userId: return "UID";
    default: return {};
  }
}

// In hexadecimal: the value as DER.
std::string in_hex(const ASN1_STRING* value) {
  ASN1_TYPE any;
  any.type = ASN1_STRING_type(value);
  any.value.asn1_string = const_cast<ASN1_STRING*>(value);
  std::string out = "#";
  for (const char c : der_of(&any, i2d_ASN1_TYPE)) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}

std::string escaped(std::string_view value) {
  constexpr std::string_view special = ",=+<>#;\"\\";
  std::string out;
  const auto first = value.find_first_not_of(' ');
  const auto last = value.find_last_not_of(' ');
  for (std::size_t i = 0; i < value.size(); ++i) {
    const bool edge = value[i] == ' ' && (first == std::string_view::npos || i < first || i > last);
    if (edge || special.find(value[i]) != std::string_view::npos) out += '\\';
    if (value[i] == '\0') {
      out += "\\00";
    } else {
      out += value[i];
    }
  }
  return out;
}

std::string attribute(const X509_NAME_ENTRY* entry) {
  const auto* object = X509_NAME_ENTRY_get_object(entry);
  const auto* value = X509_NAME_ENTRY_get_data(entry);
  const auto name = short_name(OBJ_obj2nid(object));
  if (name.empty()) {
    std::array<char, 128> number{};
    OBJ_obj2txt(number.data(), number.size(), object, 1);
    return fmt::format("{}={}", number.data(), in_hex(value));
  }
  unsigned char* text = nullptr;
  const int size = ASN1_STRING_to_UTF8(&text, value);
  if (size < 0) return fmt::format("{}={}", name, in_hex(value));
  const Owned<unsigned char> owned(text);
  return fmt::format("{}={}", name, escaped({reinterpret_cast<const char*>(text), static_cast<std::size_t>(size)}));
}

enum class Case : std::uint8_t { as_is, lower, upper };

struct Rule {
  std::optional<boost::regex> pattern;  // nothing: DEFAULT
  std::string replacement;
  Case to = Case::as_is;
};

// Up to an unescaped '/', which is taken and not given; nothing where there is none.
std::optional<std::string> until_slash(std::string_view text, std::size_t& at) {
  std::string out;
  while (at < text.size()) {
    const char c = text[at++];
    if (c == '/') return out;
    out += c;
    if (c == '\\' && at < text.size()) out += text[at++];
  }
  return std::nullopt;
}

void skip_blanks(std::string_view text, std::size_t& at) {
  while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at])) != 0) ++at;
}

// As Java's Matcher.replaceAll: $1 or ${name} is a group, a backslash takes the next character as it is. A number of a
// group that is not there is text, as Kafka has it.
std::string expanded(const std::string& replacement, const boost::smatch& match) {
  std::string out;
  for (std::size_t i = 0; i < replacement.size(); ++i) {
    if (replacement[i] == '\\' && i + 1 < replacement.size()) {
      out += replacement[++i];
      continue;
    }
    const auto digit = [&](std::size_t at) {
      return at < replacement.size() && std::isdigit(static_cast<unsigned char>(replacement[at])) != 0;
    };
    if (replacement[i] == '$' && digit(i + 1)) {
      std::size_t group = static_cast<std::size_t>(replacement[i + 1] - '0');
      if (group < match.size()) {
        i += 1;
        while (digit(i + 1)) {
          const auto longer = group * 10 + static_cast<std::size_t>(replacement[i + 1] - '0');
          if (longer >= match.size()) break;
          group = longer;
          ++i;
        }
        out += match[static_cast<int>(group)].str();
        continue;
      }
    }
    if (replacement[i] == '$' && i + 1 < replacement.size() && replacement[i + 1] == '{') {
      const auto end = replacement.find('}', i);
      if (end != std::string::npos) {
        out += match[replacement.substr(i + 2, end - i - 2)].str();
        i = end;
        continue;
      }
    }
    out += replacement[i];
  }
  return out;
}

std::string replaced(const Rule& rule, const std::string& name) {
  std::string out;
  auto rest = name.begin();
  for (boost::sregex_iterator one(name.begin(), name.end(), *rule.pattern), end; one != end; ++one) {
    out.append(rest, (*one)[0].first);
    out += expanded(rule.replacement, *one);
    rest = (*one)[0].second;
  }
  out.append(rest, name.end());
  for (auto& c : out) {
    if (rule.to == Case::lower && c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (rule.to == Case::upper && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

// One rule from `at`; what follows it is not looked at.
Result<Rule> parse_rule(std::string_view text, std::size_t& at) {
  constexpr std::string_view word = "RULE:";
  constexpr std::string_view plain = "DEFAULT";
  const auto begins = at;
  Rule rule;
  if (text.substr(at).starts_with(plain)) {
    at += plain.size();
    return rule;
  }
  if (!text.substr(at).starts_with(word)) return bad_rule(text.substr(begins));
  at += word.size();
  const auto pattern = until_slash(text, at);
  auto replacement = pattern ? until_slash(text, at) : std::nullopt;
  if (!replacement) return bad_rule(text.substr(begins));
  try {
    rule.pattern.emplace(*pattern, boost::regex::perl);
  } catch (const std::exception& e) {
    return fail(ErrorCode::INVALID_CONFIG,
                fmt::format("ssl.principal.mapping.rules: the pattern '{}' cannot be read: {}", *pattern, e.what()));
  }
  rule.replacement = std::move(*replacement);
  if (at < text.size() && text[at] == 'L') rule.to = Case::lower;
  if (at < text.size() && text[at] == 'U') rule.to = Case::upper;
  if (rule.to != Case::as_is) ++at;
  return rule;
}

}  // namespace

std::string distinguished_name(const X509_name_st* name) {
  std::string out;
  if (name == nullptr) return out;
  int set = -1;
  for (int i = X509_NAME_entry_count(name) - 1; i >= 0; --i) {
    const auto* entry = X509_NAME_get_entry(name, i);
    // Parts of one set belong together.
    if (!out.empty()) out += X509_NAME_ENTRY_set(entry) == set ? '+' : ',';
    set = X509_NAME_ENTRY_set(entry);
    out += attribute(entry);
  }
  return out;
}

std::string distinguished_name(const x509_st* certificate) {
  return certificate == nullptr ? std::string() : distinguished_name(X509_get_subject_name(certificate));
}

struct PrincipalMapper::Rules {
  std::vector<Rule> all;
};

PrincipalMapper::PrincipalMapper() : rules_(std::make_shared<const Rules>(Rules{{Rule{}}})) {}

Result<PrincipalMapper> PrincipalMapper::parse(std::string_view text) {
  auto rules = std::make_shared<Rules>();
  std::size_t at = 0;
  skip_blanks(text, at);
  while (at < text.size()) {
    const auto begins = at;
    auto rule = parse_rule(text, at);
    if (!rule) return std::unexpected(rule.error());
    rules->all.push_back(std::move(*rule));
    skip_blanks(text, at);
    if (at < text.size() && text[at] != ',') return bad_rule(text.substr(begins));
    if (at < text.size()) ++at;
    skip_blanks(text, at);
  }
  if (rules->all.empty()) rules->all.emplace_back();
  PrincipalMapper out;
  out.rules_ = std::move(rules);
  return out;
}

Result<std::string> PrincipalMapper::map(const std::string& name) const {
  const auto none = [&] {
    return fail(ErrorCode::INVALID_REQUEST,
                fmt::format("no rule of ssl.principal.mapping.rules matches '{}'", name.substr(0, 300)));
  };
  if (name.size() > name_bytes_max) return none();
  try {
    for (const auto& rule : rules_->all) {
      if (!rule.pattern) return name;
      if (boost::regex_match(name, *rule.pattern)) return replaced(rule, name);
    }
  } catch (const std::exception&) {
    return none();  // a pattern that would try for ever
  }
  return none();
}

}  // namespace weir::security
