// Keeps child processes: starts them in order, waits until each is ready, starts again what dies, and stops all in
// the reverse order.
//
// Single-threaded; the calling process has no other threads. Children die with it (PR_SET_PDEATHSIG), are in process
// groups of their own (so that Ctrl-C reaches the supervisor alone), read nothing, and write to their log file. A
// child says that it is ready by writing to descriptor 3.
#pragma once

#include <csignal>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/units.h"
#include "cli/state.h"

namespace weir::apps {

inline constexpr int child_ready_fd = 3;

struct ChildSpec {
  cli::ProcessState state;        // role, id, addresses
  std::string program;            // the file to execute
  std::vector<std::string> argv;  // with the name that the process goes by first
  std::string log_path;           // appended to
  milliseconds ready_max{60'000};
  milliseconds stop_max{30'000};  // after SIGTERM; then SIGKILL
};

struct SupervisorHooks {
  std::function<void(const std::string&)> say;                         // a line for people
  std::function<void(const std::vector<cli::ProcessState>&)> changed;  // the children, in the order they start
};

class Supervisor {
 public:
  static constexpr milliseconds backoff_min{500};
  static constexpr milliseconds backoff_max{30'000};
  static constexpr milliseconds settled_after{60'000};  // a child that lived so long starts again with backoff_min

  // Blocks SIGTERM, SIGINT, SIGHUP and SIGCHLD of this process for good.
  Supervisor(std::vector<ChildSpec> children, SupervisorHooks hooks);
  ~Supervisor();  // stops what runs
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // All children, each after the one before it is ready. When one ends or is late, or a signal asks for the end, all
  // are stopped again and the error says why.
  std::expected<void, std::string> start();
  // Until SIGTERM, SIGINT or SIGHUP; then stops all.
  void run();
  // In the reverse order; a second signal kills at once.
  void stop();

 private:
  struct Child;

  void launch(Child& child);
  void set_state(Child& child, std::string_view state);
  // Waits for a signal or a word from a child, until `deadline` at the latest, and takes in what there is.
  void wait_until(nanoseconds deadline);
  void take_signals();
  void take_ready(Child& child);
  void reap();
  void ended(Child& child, int status);
  std::expected<void, std::string> wait_ready(Child& child);
  void stop_child(Child& child);
  nanoseconds now() const;

  std::vector<std::unique_ptr<Child>> children_;
  SupervisorHooks hooks_;
  int signals_ = -1;
  int ends_asked_ = 0;
  bool stopping_ = false;
};

// The last lines of a log, for an error text: at most `lines_max`, each indented by two blanks.
std::string tail_of(const std::string& path, std::size_t lines_max);

}  // namespace weir::apps
