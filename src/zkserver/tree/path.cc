#include "zkserver/tree/path.h"

#include <cstdint>

namespace weir::zkserver {
namespace {

// The next code point of valid UTF-8; -1 at a byte that is none.
std::int32_t next_code_point(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(at++);
  if (lead < 0x80) return static_cast<std::int32_t>(lead);
  const int more = lead >= 0xf0 && lead < 0xf8   ? 3
                   : lead >= 0xe0 && lead < 0xf0 ? 2
                   : lead >= 0xc2 && lead < 0xe0 ? 1
                                                 : 0;
  if (more == 0 || text.size() - at < static_cast<std::size_t>(more)) return -1;
  auto point = static_cast<std::int32_t>(lead & (0x3fU >> more));
  for (int i = 0; i < more; ++i) {
    const unsigned next = byte(at++);
    if ((next & 0xc0) != 0x80) return -1;
    point = point << 6 | static_cast<std::int32_t>(next & 0x3f);
  }
  return point;
}

// Not: control characters, surrogates and private use, specials, and what lies beyond 16 bits (two surrogates in
// Java, which no Java client could name).
bool allowed(std::int32_t point) {
  if (point <= 0x1f || (point >= 0x7f && point <= 0x9f)) return false;
  if (point >= 0xd800 && point <= 0xf8ff) return false;
  return point < 0xfff0;
}

bool allowed_name(std::string_view name) { return !name.empty() && name != "." && name != ".."; }

}  // namespace

bool valid_path(std::string_view path) {
  if (path.empty() || path.front() != '/') return false;
  if (path == "/") return true;
  if (path.back() == '/') return false;
  for (std::size_t at = 0; at < path.size();) {
    if (!allowed(next_code_point(path, at))) return false;
  }
  for (std::size_t from = 1; from <= path.size();) {
    const auto to = path.find('/', from);
    if (!allowed_name(path.substr(from, to == path.npos ? path.npos : to - from))) return false;
    if (to == path.npos) break;
    from = to + 1;
  }
  return true;
}

std::string_view parent_of(std::string_view path) {
  const auto slash = path.rfind('/');
  return slash == 0 || slash == path.npos ? std::string_view("/") : path.substr(0, slash);
}

std::string_view name_of(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool special_path(std::string_view path) {
  return path == "/" || path == "/zookeeper" || path == "/zookeeper/quota" || path == "/zookeeper/config";
}

}  // namespace weir::zkserver
