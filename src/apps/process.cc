#include "apps/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <system_error>
#include <vector>

#include "base/log.h"
#include "runtime/clock.h"

namespace weir::apps {

EndSignals::EndSignals() {
  sigemptyset(&set_);
  sigaddset(&set_, SIGTERM);
  sigaddset(&set_, SIGINT);
  sigaddset(&set_, stop_with_all_signal);
  pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

int EndSignals::wait() {
  int got = 0;
  while (sigwait(&set_, &got) != 0) {
  }
  return got;
}

EndBeforeReady::EndBeforeReady(const EndSignals& signals) {
  signals_ = signalfd(-1, &signals.set_, SFD_CLOEXEC);
  done_ = eventfd(0, EFD_CLOEXEC);
  if (signals_ < 0 || done_ < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
  thread_ = std::thread([this] {
    pollfd polled[] = {{signals_, POLLIN, 0}, {done_, POLLIN, 0}};
    while (poll(polled, 2, -1) < 0 && errno == EINTR) {
    }
    if (polled[1].revents != 0 || polled[0].revents == 0) return;  // a signal that came with the end is for wait()
    WEIR_LOG(info, "asked to stop before it was ready");
    _exit(0);
  });
}

EndBeforeReady::~EndBeforeReady() {
  eventfd_write(done_, 1);
  thread_.join();
  close(signals_);
  close(done_);
}

void notify_ready(int ready_fd) {
  if (ready_fd < 0) return;
  constexpr char word[] = "ready\n";
  while (write(ready_fd, word, sizeof word - 1) < 0 && errno == EINTR) {
  }
  close(ready_fd);
}

namespace {

struct Stat {
  char state = '?';
  std::uint64_t started = 0;
};

std::optional<Stat> read_stat(int pid) {
  std::stringstream text;
  text << std::ifstream("/proc/" + std::to_string(pid) + "/stat").rdbuf();
  std::string line = text.str();
  // PID (NAME) STATE ...; the name may hold blanks and brackets. The start time is field 22.
  auto bracket = line.rfind(')');
  if (bracket == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(bracket + 1));
  Stat stat;
  fields >> stat.state;
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  fields >> stat.started;
  if (!fields) return std::nullopt;
  return stat;
}

// A descriptor of just this process; -1 when it is gone.
int open_process(const cli::ProcessId& process) {
  if (process.pid <= 0) return -1;
  int fd = static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0));
  if (fd < 0) return -1;
  if (!alive(process)) {  // the number belongs to another by now
    close(fd);
    return -1;
  }
  return fd;
}

}  // namespace

cli::ProcessId identify(int pid) {
  auto stat = read_stat(pid);
  if (!stat) return {};
  return {pid, stat->started};
}

bool alive(const cli::ProcessId& process) {
  if (process.pid <= 0) return false;
  auto stat = read_stat(process.pid);
  return stat && stat->started == process.started && stat->state != 'Z' && stat->state != 'X';
}

std::string boot_id() {
  std::string id;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id") >> std::ws, id);
  return id;
}

bool signal_process(const cli::ProcessId& process, int signal) {
  int fd = open_process(process);
  if (fd < 0) return false;
  bool sent = syscall(SYS_pidfd_send_signal, fd, signal, nullptr, 0) == 0;
  close(fd);
  return sent;
}

bool wait_for_end(const cli::ProcessId& process, milliseconds timeout) {
  int fd = open_process(process);
  if (fd < 0) return true;
  auto end = runtime::system_clock().mono() + timeout;
  bool ended = false;
  for (;;) {
    auto left = std::chrono::ceil<milliseconds>(end - runtime::system_clock().mono());
    pollfd p{fd, POLLIN, 0};
    int n = poll(&p, 1, left.count() > 0 ? static_cast<int>(left.count()) : 0);
    if (n > 0) {
      ended = true;
      break;
    }
    if (n == 0 || errno != EINTR) break;
  }
  close(fd);
  return ended;
}

}  // namespace weir::apps
