// What goes wrong in a simulated cluster, drawn from its seed: one thing after another, often several at a time. All of
// it passes, and heal() ends what has not.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cluster.h"

namespace weir::sim {

enum class Fault : std::uint8_t {
  kill,    // a process ends; also in the middle of a file operation
  power,   // a machine loses power; also in the middle of a file operation
  stop,    // a clean stop
  cut,     // a link, both ways or one way; a broker from all; a broker from the coordination service
  reset,   // connections break
  slow,    // a link with delays up to half a second
  pause,   // a process stands still
  clock,   // the wall clock jumps
  disk,    // a slow disk
  broken,  // a log directory fails; later its broker is started again with it mended
  zk,      // the coordination service breaks connections, or is not there for a while
};
inline constexpr std::string_view all_faults = "kill,power,stop,cut,reset,slow,pause,clock,disk,broken,zk";
// Nothing: a name that is none. "all" is all of them.
bool parse_faults(std::string_view text, std::set<Fault>& out);

class Faults {
 public:
  Faults(Cluster& cluster, std::set<Fault> kinds);

  // From now on until heal(), something every `every` on average.
  void start(nanoseconds every);
  void heal();
  std::size_t count() const { return count_; }

 private:
  void next();
  void strike();
  void down(Node& node, Fault how);
  void bring_back(Node& node, nanoseconds in);
  void cut();
  void slow();
  void break_directory(Node& node);
  void zk();
  // Undone after a time; at once by heal().
  void undo_after(nanoseconds time, std::function<void()> undo);
  Node& any();
  std::string any_host();
  nanoseconds between(milliseconds least, milliseconds most);
  bool chance(unsigned percent) { return random_.below(100) < percent; }
  void set_links(const std::vector<std::pair<std::string, std::string>>& links, bool cut, nanoseconds delay);

  Cluster& cluster_;
  runtime::Random& random_;
  const std::vector<Fault> kinds_;
  nanoseconds every_{};
  bool active_ = false;
  std::set<BrokerId> broken_;  // those with a failing directory
  std::size_t count_ = 0;
  std::uint64_t last_undo_ = 0;
  std::map<std::uint64_t, std::function<void()>> undo_;
};

}  // namespace weir::sim
