// Paths of nodes: what is a valid one, and its parts. "/" is the root; others start with '/' and do not end with it.
#pragma once

#include <string_view>

namespace weir::zkserver {

// As ZooKeeper's PathUtils: no empty or relative names, no control characters, nothing a client cannot name again.
bool valid_path(std::string_view path);
// "/a" of "/a/b"; "/" of "/a". The path has a '/'.
std::string_view parent_of(std::string_view path);
// "b" of "/a/b".
std::string_view name_of(std::string_view path);
// Nodes that are always there and are never deleted.
bool special_path(std::string_view path);

}  // namespace weir::zkserver
