// What others wrote, shown to people: in a line of log, in an error.
#pragma once

#include <string>
#include <string_view>

namespace weir {

// `text` as one line of UTF-8 without control characters: those become \n or \x1b, \u009b where they take two bytes,
// and a byte that is part of no character becomes \xff.
std::string printable(std::string_view text);

}  // namespace weir
