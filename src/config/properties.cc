#include "config/properties.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>

namespace weir::config {

namespace {

void put_utf8(std::string& out, std::uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

bool is_utf8(std::string_view s) {
  for (std::size_t i = 0; i < s.size();) {
    auto c = static_cast<unsigned char>(s[i]);
    std::size_t n = c < 0x80                ? 1
                    : c >= 0xC2 && c < 0xE0 ? 2
                    : c >= 0xE0 && c < 0xF0 ? 3
                    : c >= 0xF0 && c < 0xF5 ? 4
                                            : 0;
    if (n == 0 || i + n > s.size()) return false;
    for (std::size_t k = 1; k < n; ++k) {
      if ((static_cast<unsigned char>(s[i + k]) & 0xC0) != 0x80) return false;
    }
    if (n > 2) {  // no overlong forms, no surrogates, nothing above U+10FFFF
      auto second = static_cast<unsigned char>(s[i + 1]);
      if ((c == 0xE0 && second < 0xA0) || (c == 0xED && second > 0x9F) || (c == 0xF0 && second < 0x90) ||
          (c == 0xF4 && second > 0x8F)) {
        return false;
      }
    }
    i += n;
  }
  return true;
}

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\f'; }

// Takes logical lines (continued ones joined) from the text one by one.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {}

  // Comments and blank lines are skipped; false at the end.
  bool next(std::string& line, std::size_t& number) {
    line.clear();
    bool continued = false;
    while (!rest_.empty() || continued) {
      if (rest_.empty()) return true;  // a backslash ends the text
      ++number_;
      auto end = rest_.find_first_of("\r\n");
      std::string_view natural = rest_.substr(0, end);
      if (end == std::string_view::npos) {
        rest_ = {};
      } else {
        bool both = rest_[end] == '\r' && end + 1 < rest_.size() && rest_[end + 1] == '\n';
        rest_.remove_prefix(end + (both ? 2 : 1));
      }
      while (!natural.empty() && is_blank(natural.front())) natural.remove_prefix(1);
      if (!continued) {
        if (natural.empty() || natural.front() == '#' || natural.front() == '!') continue;
        number = number_;
      }
      std::size_t slashes = 0;
      while (slashes < natural.size() && natural[natural.size() - 1 - slashes] == '\\') ++slashes;
      continued = slashes % 2 == 1;
      if (continued) natural.remove_suffix(1);
      line += natural;
      if (!continued) return true;
    }
    return false;
  }

 private:
  std::string_view rest_;
  std::size_t number_ = 0;
};

std::optional<std::uint32_t> hex4(std::string_view s) {
  if (s.size() < 4) return std::nullopt;
  std::uint32_t v = 0;
  for (char c : s.substr(0, 4)) {
    std::uint32_t digit = 0;
    if (c >= '0' && c <= '9') {
      digit = static_cast<std::uint32_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<std::uint32_t>(c - 'a' + 10);
    } else if (c >= 'A' && c <= 'F') {
      digit = static_cast<std::uint32_t>(c - 'A' + 10);
    } else {
      return std::nullopt;
    }
    v = v * 16 + digit;
  }
  return v;
}

// Takes the escapes out; nothing for a bad \u.
std::optional<std::string> unescape(std::string_view s) {
  std::string out;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '\\' || i + 1 == s.size()) {
      if (s[i] != '\\') out += s[i];
      continue;
    }
    switch (char c = s[++i]) {
      case 't': out += '\t'; break;
      case 'n': out += '\n'; break;
      case 'r': out += '\r'; break;
      case 'f': out += '\f'; break;
      case 'u': {
        auto unit = hex4(s.substr(i + 1));
        if (!unit) return std::nullopt;
        i += 4;
        // Two escapes of a surrogate pair are one character; a lonely half has none.
        if (*unit >= 0xD800 && *unit < 0xDC00 && s.substr(i + 1).starts_with("\\u")) {
          if (auto low = hex4(s.substr(i + 3)); low && *low >= 0xDC00 && *low < 0xE000) {
            put_utf8(out, 0x10000 + ((*unit - 0xD800) << 10) + (*low - 0xDC00));
            i += 6;
            break;
          }
        }
        put_utf8(out, *unit >= 0xD800 && *unit < 0xE000 ? 0xFFFD : *unit);
        break;
      }
      default: out += c;
    }
  }
  return out;
}

}  // namespace

std::expected<Properties, std::string> parse_properties(std::string_view text) {
  std::string converted;
  if (!is_utf8(text)) {
    for (char c : text) put_utf8(converted, static_cast<unsigned char>(c));
    text = converted;
  } else if (text.starts_with("\xEF\xBB\xBF")) {
    text.remove_prefix(3);
  }
  Properties properties;
  Lines lines(text);
  std::string line;
  std::size_t number = 0;
  while (lines.next(line, number)) {
    std::size_t end = 0;
    while (end < line.size() && line[end] != '=' && line[end] != ':' && !is_blank(line[end])) {
      end += line[end] == '\\' ? 2 : 1;
    }
    end = std::min(end, line.size());
    std::size_t value = end;
    while (value < line.size() && is_blank(line[value])) ++value;
    if (value < line.size() && (line[value] == '=' || line[value] == ':')) {
      ++value;
      while (value < line.size() && is_blank(line[value])) ++value;
    }
    auto key_text = unescape(std::string_view(line).substr(0, end));
    auto value_text = unescape(std::string_view(line).substr(value));
    if (!key_text || !value_text) {
      return std::unexpected(fmt::format("line {}: \\u needs four hexadecimal digits", number));
    }
    properties.insert_or_assign(std::move(*key_text), std::move(*value_text));
  }
  return properties;
}

std::string to_text(const Properties& properties) {
  std::string out;
  auto put = [&](std::string_view s, bool key) {
    for (std::size_t i = 0; i < s.size(); ++i) {
      switch (char c = s[i]) {
        case '\\': out += "\\\\"; break;
        case '\t': out += "\\t"; break;
        case '\n': out += "\\n"; break;
        case '\r': out += "\\r"; break;
        case '\f': out += "\\f"; break;
        case ' ': out += key || i == 0 ? "\\ " : " "; break;
        case '=':
        case ':':
        case '#':
        case '!':
          if (key) out += '\\';
          out += c;
          break;
        default: out += c;
      }
    }
  };
  for (const auto& [key, value] : properties) {
    put(key, true);
    out += '=';
    put(value, false);
    out += '\n';
  }
  return out;
}

}  // namespace weir::config
