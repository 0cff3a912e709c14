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
[[noreturn]] void become(const char* program, char* const* argv, int log, int ready, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
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
  nanoseconds launched{0};
  nanoseconds launch_again{forever};  // while it waits
  milliseconds backoff = backoff_min;
  std::string last_end;

  std::string name() const { return cli::display_name(state); }
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
  if (pid == 0) become(child.spec.program.c_str(), argv.data(), log, pipe_fds[1], parent);
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
  child.launched = now();
  child.launch_again = forever;
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
    if (!child->running) continue;
    int status = 0;
    if (waitpid(child->state.process.pid, &status, WNOHANG) == child->state.process.pid) ended(*child, status);
  }
}

void Supervisor::ended(Child& child, int status) {
  child.running = false;
  if (child.ready_fd >= 0) close(child.ready_fd);
  child.ready_fd = -1;
  child.last_end = how_it_ended(status);
  int pid = child.state.process.pid;
  child.state.process = {};
  if (stopping_) {
    set_state(child, "stopped");
    return;
  }
  if (now() - child.launched >= settled_after) child.backoff = backoff_min;
  child.launch_again = now() + child.backoff;
  hooks_.say(fmt::format("{} (pid {}) {}; it is started again in {:.1f} s; its log: {}", child.name(), pid,
                         child.last_end, static_cast<double>(child.backoff.count()) / 1000, child.spec.log_path));
  child.backoff = std::min(child.backoff * 2, backoff_max);
  set_state(child, "waiting");
}

void Supervisor::take_ready(Child& child) {
  char buffer[64];
  ssize_t n = read(child.ready_fd, buffer, sizeof buffer);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  close(child.ready_fd);
  child.ready_fd = -1;
  if (n > 0) set_state(child, "running");  // the end of the stream alone means that it ends: SIGCHLD says so
}

void Supervisor::wait_until(nanoseconds deadline) {
  std::vector<pollfd> polled{{signals_, POLLIN, 0}};
  std::vector<Child*> speakers;
  for (auto& child : children_) {
    if (child->ready_fd < 0) continue;
    polled.push_back({child->ready_fd, POLLIN, 0});
    speakers.push_back(child.get());
  }
  timespec limit{};
  if (deadline != forever) {
    auto left = std::max(deadline - now(), nanoseconds(0)).count();
    limit.tv_sec = left / 1'000'000'000;
    limit.tv_nsec = left % 1'000'000'000;
  }
  if (ppoll(polled.data(), polled.size(), deadline == forever ? nullptr : &limit, nullptr) <= 0) return;
  for (std::size_t i = 1; i < polled.size(); ++i) {
    if (polled[i].revents != 0) take_ready(*speakers[i - 1]);
  }
  if (polled[0].revents != 0) take_signals();
}

std::expected<void, std::string> Supervisor::wait_ready(Child& child) {
  auto deadline = now() + child.spec.ready_max;
  for (;;) {
    if (child.state.state == "running") return {};
    if (ends_asked_ > 0) return std::unexpected("asked to stop before all was ready");
    for (auto& other : children_) {
      if (other->state.state != "waiting") continue;
      return std::unexpected(fmt::format("{} {}; the end of {}:\n{}", other->name(), other->last_end,
                                         other->spec.log_path, tail_of(other->spec.log_path, 12)));
    }
    if (now() >= deadline) {
      return std::unexpected(fmt::format("{} is not ready after {} s; the end of {}:\n{}", child.name(),
                                         child.spec.ready_max.count() / 1000, child.spec.log_path,
                                         tail_of(child.spec.log_path, 12)));
    }
    wait_until(deadline);
  }
}

std::expected<void, std::string> Supervisor::start() {
  // What is said about a child that ends at once is the error itself.
  auto say = std::exchange(hooks_.say, [](const std::string&) {});
  std::expected<void, std::string> result;
  for (auto& child : children_) {
    launch(*child);
    result = wait_ready(*child);
    if (!result) break;
  }
  hooks_.say = std::move(say);
  if (!result) stop();
  return result;
}

void Supervisor::run() {
  while (ends_asked_ == 0) {
    nanoseconds next = forever;
    for (auto& child : children_) {
      if (child->launch_again <= now()) {
        ++child->state.restarts;
        launch(*child);
        hooks_.say(fmt::format("{} is started again (pid {})", child->name(), child->state.process.pid));
      }
      // One that never gets ready is no better than one that died.
      if (child->running && child->state.state == "starting") {
        auto late = child->launched + child->spec.ready_max;
        if (late <= now()) {
          hooks_.say(fmt::format("{} is not ready after {} s and is killed", child->name(),
                                 child->spec.ready_max.count() / 1000));
          signal_process(child->state.process, SIGKILL);
          child->launched = now();
        }
        next = std::min(next, child->launched + child->spec.ready_max);
      }
      next = std::min(next, child->launch_again);
    }
    wait_until(next);
  }
  stop();
}

void Supervisor::stop_child(Child& child) {
  child.launch_again = forever;
  if (!child.running) {
    if (child.state.state != "stopped") set_state(child, "stopped");
    return;
  }
  set_state(child, "stopping");
  kill(child.state.process.pid, SIGTERM);
  int ends_before = ends_asked_;
  auto deadline = now() + child.spec.stop_max;
  while (child.running && now() < deadline && ends_asked_ == ends_before) wait_until(deadline);
  if (!child.running) return;
  hooks_.say(ends_asked_ > ends_before ? fmt::format("{} (pid {}) is killed", child.name(), child.state.process.pid)
                                       : fmt::format("{} (pid {}) did not stop within {} s and is killed", child.name(),
                                                     child.state.process.pid, child.spec.stop_max.count() / 1000));
  kill(child.state.process.pid, SIGKILL);
  while (child.running) wait_until(forever);
}

void Supervisor::stop() {
  stopping_ = true;
  for (auto it = children_.rbegin(); it != children_.rend(); ++it) stop_child(**it);
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
