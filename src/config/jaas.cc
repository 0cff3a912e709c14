#include "config/jaas.h"

#include <fmt/format.h>

#include <algorithm>

namespace weir::config {
namespace {

// A word, a quoted text, or one character of punctuation; kind 0 at the end.
struct Token {
  char kind = 0;  // 'w', '"', or the character
  std::string text;
};

class Tokens {
 public:
  explicit Tokens(std::string_view text) : left_(text) {}

  Result<Token> next() {
    if (auto skipped = skip(); !skipped) return std::unexpected(skipped.error());
    if (left_.empty()) return Token{};
    const char first = left_.front();
    if (first == '"') return quoted();
    const auto is_word = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
             c == '-' || c == '$' || c == '*' || c == '/' || c == ':' || c == '@' || c == '+' || c == ',' ||
             static_cast<unsigned char>(c) >= 0x80;
    };
    std::size_t n = 0;
    while (n < left_.size() && is_word(left_[n])) ++n;
    if (n == 0) {
      left_.remove_prefix(1);
      return Token{first, std::string(1, first)};
    }
    Token word{'w', std::string(left_.substr(0, n))};
    left_.remove_prefix(n);
    return word;
  }
  std::unexpected<Error> bad(std::string_view what) const {
    return fail(ErrorCode::INVALID_CONFIG, fmt::format("line {} of the JAAS configuration: {}", line_, what));
  }

 private:
  void drop(std::size_t n) {
    line_ += static_cast<int>(std::ranges::count(left_.substr(0, n), '\n'));
    left_.remove_prefix(std::min(n, left_.size()));
  }
  Result<> skip() {
    for (;;) {
      const auto blank = left_.find_first_not_of(" \t\r\n");
      drop(blank == std::string_view::npos ? left_.size() : blank);
      if (left_.starts_with("//") || left_.starts_with('#')) {
        drop(std::min(left_.find('\n'), left_.size()));
      } else if (left_.starts_with("/*")) {
        const auto end = left_.find("*/");
        if (end == std::string_view::npos) return bad("a comment does not end");
        drop(end + 2);
      } else {
        return {};
      }
    }
  }
  Result<Token> quoted() {
    Token out{'"', {}};
    std::size_t at = 1;
    for (; at < left_.size() && left_[at] != '"' && left_[at] != '\n'; ++at) {
      char c = left_[at];
      if (c == '\\' && at + 1 < left_.size()) {
        c = left_[++at];
        if (c == 'n') c = '\n';
        if (c == 't') c = '\t';
        if (c == 'r') c = '\r';
      }
      out.text += c;
    }
    if (at >= left_.size() || left_[at] != '"') return bad("a quotation mark is missing");
    drop(at + 1);
    return out;
  }

  std::string_view left_;
  int line_ = 1;
};

// "MODULE CONTROL NAME=VALUE ...;" whose first token is `first`.
Result<JaasLogin> read_login(Tokens& tokens, const Token& first) {
  JaasLogin login;
  login.module = first.text;
  auto control = tokens.next();
  if (!control) return std::unexpected(control.error());
  if (control->kind != 'w')
    return tokens.bad("after the module's name comes required, requisite, sufficient or optional");
  login.control = control->text;
  for (;;) {
    auto name = tokens.next();
    if (!name) return std::unexpected(name.error());
    if (name->kind == ';') return login;
    if (name->kind != 'w') return tokens.bad("the options end with a semicolon");
    auto equals = tokens.next();
    if (!equals) return std::unexpected(equals.error());
    if (equals->kind != '=') return tokens.bad(fmt::format("after the option's name '{}' comes =", name->text));
    auto value = tokens.next();
    if (!value) return std::unexpected(value.error());
    if (value->kind != 'w' && value->kind != '"')
      return tokens.bad(fmt::format("option '{}' has no value", name->text));
    login.options.insert_or_assign(name->text, value->text);
  }
}

}  // namespace

Result<std::optional<JaasLogin>> parse_jaas(std::string_view text, std::string_view section) {
  Tokens tokens(text);
  std::optional<JaasLogin> found;
  for (;;) {
    auto name = tokens.next();
    if (!name) return std::unexpected(name.error());
    if (name->kind == 0) return found;
    if (name->kind != 'w' && name->kind != '"') return tokens.bad("a section's name is missing");
    auto open = tokens.next();
    if (!open) return std::unexpected(open.error());
    if (open->kind != '{') return tokens.bad(fmt::format("after the section's name '{}' comes {{", name->text));
    for (;;) {
      auto first = tokens.next();
      if (!first) return std::unexpected(first.error());
      if (first->kind == '}') break;
      if (first->kind != 'w') return tokens.bad("a login module's name is missing");
      auto login = read_login(tokens, *first);
      if (!login) return std::unexpected(login.error());
      if (name->text == section && !found) found = std::move(*login);
    }
    auto end = tokens.next();
    if (!end) return std::unexpected(end.error());
    if (end->kind != ';') return tokens.bad("a section ends with };");
  }
}

}  // namespace weir::config
