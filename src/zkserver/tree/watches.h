// Who wants to hear of which path. A table knows connections by number and paths by text; what an event means is the
// tree's business, which keeps two: one for a node's data and existence, one for its children.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weir::zkserver {

using ConnId = std::uint64_t;

// Bits: one connection can watch one path in more than one way.
namespace watch_mode {
inline constexpr std::uint8_t none = 0;
inline constexpr std::uint8_t standard = 1;    // gone after the first event
inline constexpr std::uint8_t persistent = 2;  // stays
inline constexpr std::uint8_t recursive = 4;   // stays, and hears of all below
inline constexpr std::uint8_t any = 7;
}  // namespace watch_mode

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

class WatchTable {
 public:
  // The ways `conn` watches `path`, as bits.
  std::uint8_t modes(std::string_view path, ConnId conn) const;
  // Sets them; none removes the watch.
  void set(std::string_view path, ConnId conn, std::uint8_t modes);
  void remove(ConnId conn);

  struct Hit {
    ConnId conn = 0;
    std::string_view path;   // of the watch; valid until the table changes
    std::uint8_t modes = 0;  // before the event
    bool spent = false;      // a standard watch that this event uses up
  };
  // The watches an event at `path` concerns: those on it, and recursive ones above. Changes nothing.
  std::vector<Hit> hits(std::string_view path) const;

  std::size_t watches() const { return watches_; }
  std::size_t paths() const { return by_path_.size(); }
  std::size_t connections() const { return by_conn_.size(); }

  struct Own {
    std::set<std::string, std::less<>> paths;
    std::size_t bytes = 0;  // of those paths: what a connection makes us remember
  };
  const Own& of(ConnId conn) const;
  const std::map<ConnId, Own>& by_connection() const { return by_conn_; }
  const std::unordered_map<std::string, std::map<ConnId, std::uint8_t>, TextHash, std::equal_to<>>& by_path() const {
    return by_path_;
  }

 private:
  std::unordered_map<std::string, std::map<ConnId, std::uint8_t>, TextHash, std::equal_to<>> by_path_;
  std::map<ConnId, Own> by_conn_;
  std::size_t watches_ = 0;
  std::size_t recursive_ = 0;
};

}  // namespace weir::zkserver
