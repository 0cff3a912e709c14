// Maps of configuration strings, and the text form of Java's .properties files.
#pragma once

#include <expected>
#include <map>
#include <string>
#include <string_view>

namespace weir::config {

// Keys in order; values as written.
using Properties = std::map<std::string, std::string, std::less<>>;

// Reads text as java.util.Properties does: # and ! comments, '=' ':' or blanks after the key, continuation by a
// trailing backslash, \t \n \r \f and \uXXXX escapes; a later line of the same key wins. Bytes are taken as UTF-8
// where the whole text is valid UTF-8, as Latin-1 otherwise; values are UTF-8. The error is a sentence with the
// line number ("line 3: \u needs four hexadecimal digits").
std::expected<Properties, std::string> parse_properties(std::string_view text);

// Text that parse_properties (and Java) reads back as the same map: one line a key, in order; non-ASCII text stays
// UTF-8.
std::string to_text(const Properties& properties);

}  // namespace weir::config
