#include "apps/process.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "base/log.h"
#include "provision/process.h"

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
provision::ProcessId of(const cli::ProcessId& process) { return {process.pid, process.started}; }
}  // namespace

cli::ProcessId identify(int pid) {
  const auto found = provision::identify(pid);
  return {found.pid, found.started};
}

bool alive(const cli::ProcessId& process) { return provision::alive(of(process)); }

std::string boot_id() { return provision::boot_id(); }

bool signal_process(const cli::ProcessId& process, int signal) {
  return provision::signal_process(of(process), signal);
}

bool wait_for_end(const cli::ProcessId& process, milliseconds timeout) {
  return provision::wait_for_end(of(process), timeout);
}

}  // namespace weir::apps
