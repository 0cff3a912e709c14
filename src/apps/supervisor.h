// Keeps child processes: starts them stage by stage, those of one stage together, waits until each is ready, starts
// again what dies, stops or restarts one when asked, and stops all in the reverse order.
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
#include <string_view>
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
  int stage = 0;                  // what starts together; in ascending order in the list of children
  bool accessory = false;         // its stage has failed when all others of it have, and never because of this one
  milliseconds ready_max{60'000};
  milliseconds stop_max{30'000};  // after SIGTERM; then SIGKILL
  int stop_all_signal = SIGTERM;  // instead of SIGTERM, when all children stop
  // Clears up behind the child when it has ended, while the others go on: runs at once, in a process of its own (it
  // may block and make threads), and is over before the child is started again.
  std::function<void()> clear_up;
  milliseconds clear_up_max{10'000};  // then it is killed
  // Before each start: what it is started with may be another by now, and its addresses with it. An error is said.
  std::function<std::expected<void, std::string>(cli::ProcessState& state)> renew;
};

struct SupervisorHooks {
  std::function<void(const std::string&)> say;                         // a line for people
  std::function<void(const std::string&)> progress;                    // the same, while start() takes long
  std::function<void(const std::vector<cli::ProcessState>&)> changed;  // the children, in the order they start
};

class Supervisor {
 public:
  static constexpr milliseconds backoff_min{500};
  static constexpr milliseconds backoff_max{30'000};
  static constexpr milliseconds settled_after{60'000};  // a child that lived so long starts again with backoff_min
  static constexpr milliseconds progress_first{1000};
  static constexpr milliseconds progress_every{5000};

  using Done = std::function<void(std::expected<std::string, std::string>)>;  // sentences

  // Blocks SIGTERM, SIGINT, SIGHUP and SIGCHLD of this process for good.
  Supervisor(std::vector<ChildSpec> children, SupervisorHooks hooks);
  ~Supervisor();  // stops what runs
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // All children, each stage after the one before it is ready. When a child that is alone in its stage, or all of a
  // stage but accessories, end or are late, or a signal asks for the end, all are stopped again and the error says why.
  // When some of a stage do, the others go on: it is said, and run() starts it again.
  std::expected<void, std::string> start();
  // Until SIGTERM, SIGINT or SIGHUP; then stops all.
  void run();
  // In the reverse order; a second signal kills at once.
  void stop();

  // Between start() and stop(), from the hooks of run(). `done` is called once: when the child is ready again, or has
  // ended, or when that failed. A child that was stopped stays so until restart(). One order a child at a time.
  void restart_child(const std::string& role, std::int32_t id, Done done);
  void stop_child(const std::string& role, std::int32_t id, Done done);
  // One that runs is left alone; one that is on its way is waited for.
  void start_child(const std::string& role, std::int32_t id, Done done);
  // One more, behind the others of its role; stopped until it is ordered to start.
  void add_child(ChildSpec spec);
  // For good; only of one that is stopped.
  std::expected<void, std::string> remove_child(const std::string& role, std::int32_t id);
  // The end of an order's error when another one of the same child is being carried out.
  static constexpr std::string_view busy_text = "is being stopped or restarted already";
  static constexpr std::string_view ending_text = "all is being stopped";

  // Descriptors that run() watches beside its own: `fds` names them, `take` is called when one can be read.
  void watch(std::function<std::vector<int>()> fds, std::function<void()> take);

 private:
  struct Child;

  void launch(Child& child);
  void clear_up_behind(Child& child);
  void set_state(Child& child, std::string_view state);
  // Waits for a signal or a word from a child, until `deadline` at the latest, and takes in what there is.
  void wait_until(nanoseconds deadline);
  void take_signals();
  void take_ready(Child& child);
  void reap();
  void ended(Child& child, int status);
  // Launches, and kills, what is due; gives the next time to do so.
  nanoseconds do_what_is_due();
  std::expected<void, std::string> start_stage(int stage);
  // What keeps this stage from being ready; nothing when it may still come.
  std::optional<std::string> stage_failure(int stage) const;
  void say_progress(int stage, nanoseconds since);
  void ask_to_end(Child& child, int signal);
  void stop_stage(int stage);
  void order(const std::string& role, std::int32_t id, bool again, Done done);
  Child* find(const std::string& role, std::int32_t id) const;
  std::string failure_of(const Child& child) const;
  nanoseconds now() const;

  std::vector<std::unique_ptr<Child>> children_;
  SupervisorHooks hooks_;
  std::function<std::vector<int>()> watched_;
  std::function<void()> take_watched_;
  int signals_ = -1;
  int ends_asked_ = 0;
  bool starting_ = false;
  bool stopping_ = false;
};

// The last lines of a log, for an error text: at most `lines_max`, each indented by two blanks.
std::string tail_of(const std::string& path, std::size_t lines_max);

}  // namespace weir::apps
