#include "provision/watcher.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>
#include <vector>

namespace weir::provision {

Watcher::Watcher(Hooks hooks) : hooks_(std::move(hooks)) {
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  inotify_ = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (wake_ < 0 || inotify_ < 0) throw std::system_error(errno, std::generic_category(), "inotify");
  // Signals are for the threads that ask for them.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Watcher::~Watcher() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  eventfd_write(wake_, 1);
  thread_.join();
  for (auto& [pid, entry] : watched_) close(entry.second.pidfd);
  close(inotify_);
  close(wake_);
}

void Watcher::watch(const ProcessId& process, const std::string& ready_path) {
  {
    const std::lock_guard lock(mutex_);
    added_[process.pid] = {process, ready_path};
  }
  eventfd_write(wake_, 1);
}

void Watcher::forget_file(Watched& watched) {
  if (watched.inotify >= 0) inotify_rm_watch(inotify_, watched.inotify);
  watched.inotify = -1;
}

void Watcher::look_for_word(const ProcessId& process, Watched& watched) {
  if (watched.inotify < 0) return;
  std::stringstream text;
  text << std::ifstream(watched.ready_path).rdbuf();
  if (text.str() != ready_word) return;
  forget_file(watched);
  hooks_.ready(process);
}

void Watcher::take_end(const ProcessId& process, const Watched& watched) {
  siginfo_t info{};
  std::optional<int> status;
  // P_PIDFD is only for children; one that another started is nobody's that could be asked.
  if (waitid(P_PIDFD, static_cast<id_t>(watched.pidfd), &info, WEXITED) == 0) {
    status = info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8 : info.si_status;
  }
  hooks_.ended(process, status);
}

void Watcher::run() {
  for (;;) {
    std::vector<pollfd> polled{{wake_, POLLIN, 0}, {inotify_, POLLIN, 0}};
    std::vector<std::int32_t> pids;
    for (const auto& [pid, entry] : watched_) {
      polled.push_back({entry.second.pidfd, POLLIN, 0});
      pids.push_back(pid);
    }
    if (poll(polled.data(), polled.size(), -1) < 0) continue;
    if (polled[1].revents != 0) {
      alignas(inotify_event) char buffer[4096];
      while (read(inotify_, buffer, sizeof buffer) > 0) {
      }
      for (auto& [pid, entry] : watched_) look_for_word(entry.first, entry.second);
    }
    for (std::size_t i = 0; i < pids.size(); ++i) {
      if (polled[i + 2].revents == 0) continue;
      auto node = watched_.extract(pids[i]);
      auto& [process, watched] = node.mapped();
      look_for_word(process, watched);
      forget_file(watched);
      take_end(process, watched);
      close(watched.pidfd);
    }
    if (polled[0].revents == 0) continue;
    eventfd_t count = 0;
    eventfd_read(wake_, &count);
    std::map<std::int32_t, std::pair<ProcessId, std::string>> added;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      added.swap(added_);
    }
    for (auto& [pid, entry] : added) {
      auto& [process, ready_path] = entry;
      Watched watched;
      watched.pidfd = open_process(process);
      if (watched.pidfd < 0) {
        hooks_.ended(process, std::nullopt);
        continue;
      }
      watched.ready_path = std::move(ready_path);
      watched.inotify = inotify_add_watch(inotify_, watched.ready_path.c_str(), IN_CLOSE_WRITE);
      look_for_word(process, watched);
      watched_[pid] = {process, std::move(watched)};
    }
  }
}

}  // namespace weir::provision
