#include "apps/supervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <system_error>
#include <utility>

#include "apps/process.h"
#include "cli/text.h"
#include "runtime/clock.h"

namespace weir::apps {

namespace {

constexpr nanoseconds forever{std::numeric_limits<std::int64_t>::max()};

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status))
    return fmt::format("was killed by signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  return fmt::format("ended with exit code {}", WEXITSTATUS(status));
}

// In the child, between fork and exec: only calls that are safe there.
[[noreturn]] void become(const char* program, char* const* argv, int log, int ready, pid_t parent, int end) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, end);
  if (getppid() != parent) _exit(1);  // it died before the line above
  int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  if (ready == child_ready_fd) {
    fcntl(ready, F_SETFD, 0);
  } else {
    dup2(ready, child_ready_fd);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  execv(program, argv);
  constexpr char text[] = "weir: the program cannot be started\n";
  [[maybe_unused]] auto n = write(STDERR_FILENO, text, sizeof text - 1);
  _exit(127);
}

}  // namespace

struct Supervisor::Child {
  ChildSpec spec;
  cli::ProcessState state;
  int ready_fd = -1;  // read end; -1 once it has spoken or ended
  bool running = false;
  bool wanted = true;   // false: stopped by order
  bool ending = false;  // was asked to end
  bool died = false;    // ended unasked, and was not started again yet
  nanoseconds launched{0};
  nanoseconds launch_again{forever};  // while it waits
  nanoseconds kill_at{forever};       // it does not get ready, or does not end
  milliseconds backoff = backoff_min;
  pid_t clearing = 0;  // the process of clear_up
  nanoseconds clearing_kill_at{forever};
  std::string last_end;
  Done done;  // of an order that is being carried out

  std::string name() const { return cli::display_name(state); }
  bool may_get_ready() const { return running && state.state == "starting"; }
  void finish(std::expected<std::string, std::string> how) {
    if (auto tell = std::exchange(done, nullptr)) tell(std::move(how));
  }
};

Supervisor::Supervisor(std::vector<ChildSpec> children, SupervisorHooks hooks) : hooks_(std::move(hooks)) {
  for (auto& spec : children) {
    auto child = std::make_unique<Child>();
    child->state = spec.state;
    child->state.state = "stopped";
    child->spec = std::move(spec);
    children_.push_back(std::move(child));
  }
  sigset_t set;
  sigemptyset(&set);
  for (int s : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) {
    struct sigaction now{};
    // Under nohup a hang-up stays ignored.
    if (s == SIGHUP && sigaction(s, nullptr, &now) == 0 && now.sa_handler == SIG_IGN) continue;
    sigaddset(&set, s);
  }
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signals_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals_ < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
}

Supervisor::~Supervisor() {
  stop();
  close(signals_);
}

nanoseconds Supervisor::now() const { return runtime::system_clock().mono(); }

void Supervisor::set_state(Child& child, std::string_view state) {
  child.state.state = state;
  std::vector<cli::ProcessState> all;
  for (const auto& c : children_) all.push_back(c->state);
  hooks_.changed(all);
}

void Supervisor::launch(Child& child) {
  if (child.spec.renew) {
    if (auto renewed = child.spec.renew(child.state); !renewed) {
      hooks_.say(fmt::format("{}: {}", child.name(), renewed.error()));
    }
  }
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  int log = open(child.spec.log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0) {
    int number = errno;
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    throw std::system_error(number, std::generic_category(), "cannot open " + child.spec.log_path);
  }
  std::vector<char*> argv;
  for (auto& word : child.spec.argv) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t parent = getpid();
  pid_t pid = fork();
  if (pid == 0) become(child.spec.program.c_str(), argv.data(), log, pipe_fds[1], parent, child.spec.stop_all_signal);
  int number = errno;
  close(log);
  close(pipe_fds[1]);
  if (pid < 0) {
    close(pipe_fds[0]);
    throw std::system_error(number, std::generic_category(), "fork");
  }
  fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
  child.ready_fd = pipe_fds[0];
  child.running = true;
  child.ending = false;
  child.launched = now();
  child.launch_again = forever;
  child.kill_at = child.launched + child.spec.ready_max;
  child.state.process = identify(pid);
  child.state.process.pid = pid;
  set_state(child, "starting");
}

void Supervisor::take_signals() {
  signalfd_siginfo info;
  while (read(signals_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo != SIGCHLD) ++ends_asked_;
  }
  reap();  // one SIGCHLD may stand for several
}

void Supervisor::reap() {
  for (auto& child : children_) {
    int status = 0;
    if (child->clearing > 0 && waitpid(child->clearing, nullptr, WNOHANG) == child->clearing) {
      child->clearing = 0;
      child->clearing_kill_at = forever;
    }
    if (!child->running) continue;
    if (waitpid(child->state.process.pid, &status, WNOHANG) == child->state.process.pid) ended(*child, status);
  }
}

void Supervisor::clear_up_behind(Child& child) {
  if (!child.spec.clear_up || child.clearing > 0) return;
  const pid_t pid = fork();
  if (pid == 0) {
    child.spec.clear_up();
    _exit(0);
  }
  if (pid < 0) {
    hooks_.say(fmt::format("cannot clear up behind {}: {}", child.name(), std::generic_category().message(errno)));
    return;
  }
  child.clearing = pid;
  child.clearing_kill_at = now() + child.spec.clear_up_max;
}

void Supervisor::ended(Child& child, int status) {
  child.running = false;
  child.kill_at = forever;
  if (child.ready_fd >= 0) close(child.ready_fd);
  child.ready_fd = -1;
  child.last_end = how_it_ended(status);
  const bool asked = std::exchange(child.ending, false);
  const int pid = std::exchange(child.state.process, {}).pid;
  if (stopping_) {
    set_state(child, "stopped");
    return;
  }
  clear_up_behind(child);
  if (asked && !child.wanted) {
    hooks_.say(fmt::format("{} (pid {}) is stopped", child.name(), pid));
    set_state(child, "stopped");
    child.finish(fmt::format("{} is stopped", child.name()));
    return;
  }
  if (asked) {
    child.launch_again = now();
    set_state(child, "waiting");
    return;
  }
  if (now() - child.launched >= settled_after) child.backoff = backoff_min;
  child.launch_again = now() + child.backoff;
  hooks_.say(fmt::format("{} (pid {}) {}; it is started again in {:.1f} s; its log: {}", child.name(), pid,
                         child.last_end, static_cast<double>(child.backoff.count()) / 1000, child.spec.log_path));
  child.backoff = std::min(child.backoff * 2, backoff_max);
  child.died = true;
  set_state(child, "waiting");
  child.finish(std::unexpected(failure_of(child)));
}

void Supervisor::take_ready(Child& child) {
  char buffer[64];
  ssize_t n = read(child.ready_fd, buffer, sizeof buffer);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  close(child.ready_fd);
  child.ready_fd = -1;
  if (n <= 0 || child.ending) return;  // the end of the stream alone means that it ends: SIGCHLD says so
  child.kill_at = forever;
  set_state(child, "running");
  child.finish(fmt::format("{} is ready (pid {})", child.name(), child.state.process.pid));
}

void Supervisor::wait_until(nanoseconds deadline) {
  std::vector<pollfd> polled{{signals_, POLLIN, 0}};
  std::vector<Child*> speakers;
  for (auto& child : children_) {
    if (child->ready_fd < 0) continue;
    polled.push_back({child->ready_fd, POLLIN, 0});
    speakers.push_back(child.get());
  }
  const auto first_watched = polled.size();
  if (watched_ && !starting_ && !stopping_) {
    for (const int fd : watched_()) polled.push_back({fd, POLLIN, 0});
  }
  timespec limit{};
  if (deadline != forever) {
    auto left = std::max(deadline - now(), nanoseconds(0)).count();
    limit.tv_sec = left / 1'000'000'000;
    limit.tv_nsec = left % 1'000'000'000;
  }
  if (ppoll(polled.data(), polled.size(), deadline == forever ? nullptr : &limit, nullptr) <= 0) return;
  for (std::size_t i = 1; i < first_watched; ++i) {
    if (polled[i].revents != 0) take_ready(*speakers[i - 1]);
  }
  if (polled[0].revents != 0) take_signals();
  const auto spoke = [](const pollfd& p) { return p.revents != 0; };
  if (std::any_of(polled.begin() + static_cast<std::ptrdiff_t>(first_watched), polled.end(), spoke)) take_watched_();
}

std::string Supervisor::failure_of(const Child& child) const {
  const auto why =
      child.running ? fmt::format("is not ready after {} s", child.spec.ready_max.count() / 1000) : child.last_end;
  return fmt::format("{} {}; the end of {}:\n{}", child.name(), why, child.spec.log_path,
                     tail_of(child.spec.log_path, 12));
}

std::optional<std::string> Supervisor::stage_failure(int stage) const {
  if (ends_asked_ > 0) return "asked to stop before all was ready";
  bool hope = false;
  const Child* failed = nullptr;
  for (const auto& child : children_) {
    const bool here = child->spec.stage == stage;
    const bool late = child->running && child->kill_at <= now();
    if (child->state.state == "waiting" || late) {
      if (!here) return failure_of(*child);
      if (failed == nullptr && !child->spec.accessory) failed = child.get();
    } else if (here && !child->spec.accessory) {
      hope = true;
    }
  }
  if (hope || failed == nullptr) return std::nullopt;
  return failure_of(*failed);
}

void Supervisor::say_progress(int stage, nanoseconds since) {
  std::size_t all = 0;
  std::size_t ready = 0;
  std::string awaited;
  for (const auto& child : children_) {
    if (child->spec.stage != stage) continue;
    ++all;
    if (child->state.state == "running") {
      ++ready;
    } else {
      awaited += (awaited.empty() ? "" : ", ") + child->name();
    }
  }
  hooks_.progress(fmt::format("{} of {} are ready after {} s; waiting for {}", ready, all,
                              std::chrono::duration_cast<seconds>(now() - since).count(), awaited));
}

std::expected<void, std::string> Supervisor::start_stage(int stage) {
  const auto began = now();
  auto next_progress = began + progress_first;
  auto deadline = forever;
  for (auto& child : children_) {
    if (child->spec.stage != stage) continue;
    launch(*child);
    deadline = std::min(deadline, child->kill_at);
  }
  for (;;) {
    if (auto failure = stage_failure(stage)) return std::unexpected(*failure);
    const auto waits = [stage](const auto& child) { return child->spec.stage == stage && child->may_get_ready(); };
    if (std::ranges::none_of(children_, waits) || now() >= deadline) return {};
    wait_until(std::min(deadline, next_progress));
    if (now() >= next_progress && std::ranges::any_of(children_, waits)) {
      say_progress(stage, began);
      next_progress = now() + progress_every;
    }
  }
}

std::expected<void, std::string> Supervisor::start() {
  // What is said about a child that ends at once is the error itself.
  auto say = std::exchange(hooks_.say, [](const std::string&) {});
  starting_ = true;
  std::expected<void, std::string> result;
  for (int stage = 0; result && stage <= children_.back()->spec.stage; ++stage) result = start_stage(stage);
  hooks_.say = std::move(say);
  starting_ = false;
  if (!result) {
    stop();
    return result;
  }
  for (auto& child : children_) {
    if (child->state.state != "running") hooks_.say(failure_of(*child));
  }
  return {};
}

nanoseconds Supervisor::do_what_is_due() {
  nanoseconds next = forever;
  for (auto& child : children_) {
    if (child->clearing > 0 && child->clearing_kill_at <= now()) {
      kill(child->clearing, SIGKILL);
      child->clearing_kill_at = forever;
    }
    if (child->launch_again <= now() && child->clearing == 0) {
      if (std::exchange(child->died, false)) ++child->state.restarts;
      launch(*child);
      hooks_.say(fmt::format("{} is started again (pid {})", child->name(), child->state.process.pid));
    }
    // One that never gets ready is no better than one that died.
    if (child->running && child->kill_at <= now()) {
      const auto limit = child->ending ? child->spec.stop_max : child->spec.ready_max;
      hooks_.say(fmt::format("{} (pid {}) {} {} s and is killed", child->name(), child->state.process.pid,
                             child->ending ? "did not stop within" : "is not ready after", limit.count() / 1000));
      signal_process(child->state.process, SIGKILL);
      child->kill_at = forever;
    }
    // While it is cleared up behind a child, its end is the next event.
    if (child->clearing == 0) next = std::min(next, child->launch_again);
    next = std::min({next, child->kill_at, child->clearing_kill_at});
  }
  return next;
}

void Supervisor::run() {
  while (ends_asked_ == 0) wait_until(do_what_is_due());
  stop();
}

void Supervisor::watch(std::function<std::vector<int>()> fds, std::function<void()> take) {
  watched_ = std::move(fds);
  take_watched_ = std::move(take);
}

void Supervisor::ask_to_end(Child& child, int signal) {
  child.ending = true;
  child.kill_at = now() + child.spec.stop_max;
  set_state(child, "stopping");
  kill(child.state.process.pid, signal);
}

void Supervisor::order(const std::string& role, std::int32_t id, bool again, Done done) {
  auto* found = find(role, id);
  if (found == nullptr) return done(std::unexpected(fmt::format("there is no {} {} here", role, id)));
  Child& child = *found;
  if (child.done) return done(std::unexpected(fmt::format("{} {}", child.name(), busy_text)));
  child.wanted = again;
  if (child.running) {
    child.done = std::move(done);
    if (!child.ending) ask_to_end(child, SIGTERM);
    return;
  }
  child.launch_again = again ? now() : forever;
  if (again) {
    child.done = std::move(done);
    return;
  }
  set_state(child, "stopped");
  done(fmt::format("{} is stopped", child.name()));
}

Supervisor::Child* Supervisor::find(const std::string& role, std::int32_t id) const {
  const auto is_it = [&](const auto& child) { return child->state.role == role && child->state.id == id; };
  const auto it = std::ranges::find_if(children_, is_it);
  return it == children_.end() ? nullptr : it->get();
}

void Supervisor::start_child(const std::string& role, std::int32_t id, Done done) {
  auto* child = find(role, id);
  if (child != nullptr && child->state.state == "running") return done(fmt::format("{} runs already", child->name()));
  if (child == nullptr || !child->may_get_ready() || child->done) return order(role, id, true, std::move(done));
  child->done = std::move(done);
}

void Supervisor::add_child(ChildSpec spec) {
  auto child = std::make_unique<Child>();
  child->state = spec.state;
  child->spec = std::move(spec);
  child->wanted = false;
  const auto same = [&](const auto& other) { return other->state.role == child->state.role; };
  const auto last = std::find_if(children_.rbegin(), children_.rend(), same);
  auto& added = **children_.insert(last.base(), std::move(child));
  set_state(added, "stopped");
}

std::expected<void, std::string> Supervisor::remove_child(const std::string& role, std::int32_t id) {
  auto* child = find(role, id);
  if (child == nullptr) return {};
  if (child->running || child->done || child->clearing > 0 || child->launch_again != forever) {
    return std::unexpected(fmt::format("{} {}", child->name(), busy_text));
  }
  std::erase_if(children_, [child](const auto& one) { return one.get() == child; });
  set_state(*children_.front(), std::string(children_.front()->state.state));
  return {};
}

void Supervisor::restart_child(const std::string& role, std::int32_t id, Done done) {
  order(role, id, true, std::move(done));
}

void Supervisor::stop_child(const std::string& role, std::int32_t id, Done done) {
  order(role, id, false, std::move(done));
}

void Supervisor::stop_stage(int stage) {
  const auto ends_before = ends_asked_;
  for (auto& child : children_) {
    if (child->spec.stage != stage) continue;
    child->launch_again = forever;
    if (child->running) {
      if (!child->ending) ask_to_end(*child, child->spec.stop_all_signal);
    } else if (child->state.state != "stopped") {
      set_state(*child, "stopped");
    }
  }
  for (;;) {
    auto next = forever;
    bool runs = false;
    for (auto& child : children_) {
      if (child->spec.stage != stage || !child->running) continue;
      runs = true;
      if (child->kill_at <= now() || ends_asked_ > ends_before) {
        const auto why = ends_asked_ > ends_before
                             ? std::string()
                             : fmt::format(" did not stop within {} s and", child->spec.stop_max.count() / 1000);
        if (child->kill_at != forever)
          hooks_.say(fmt::format("{} (pid {}){} is killed", child->name(), child->state.process.pid, why));
        kill(child->state.process.pid, SIGKILL);
        child->kill_at = forever;
      }
      next = std::min(next, child->kill_at);
    }
    if (!runs) return;
    wait_until(next);
  }
}

void Supervisor::stop() {
  stopping_ = true;
  for (auto& child : children_) child->finish(std::unexpected(std::string(ending_text)));
  for (int stage = children_.back()->spec.stage; stage >= 0; --stage) stop_stage(stage);
  for (auto& child : children_) {
    if (child->clearing <= 0) continue;
    kill(child->clearing, SIGKILL);
    waitpid(child->clearing, nullptr, 0);
    child->clearing = 0;
  }
}

std::string tail_of(const std::string& path, std::size_t lines_max) {
  std::ifstream file(path, std::ios::binary);
  constexpr std::streamoff bytes_max = 8192;
  file.seekg(0, std::ios::end);
  auto size = static_cast<std::streamoff>(file.tellg());
  file.seekg(std::max<std::streamoff>(0, size - bytes_max));
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  std::string out;
  for (std::size_t i = lines.size() > lines_max ? lines.size() - lines_max : 0; i < lines.size(); ++i) {
    out += "  " + lines[i] + "\n";
  }
  return out;
}

}  // namespace weir::apps
