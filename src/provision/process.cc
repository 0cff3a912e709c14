#include "provision/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <system_error>

#include "runtime/clock.h"

namespace weir::provision {

namespace {

struct Stat {
  char state = '?';
  std::uint64_t started = 0;
};

std::optional<Stat> read_stat(std::int32_t pid) {
  std::stringstream text;
  text << std::ifstream("/proc/" + std::to_string(pid) + "/stat").rdbuf();
  const std::string line = text.str();
  // PID (NAME) STATE ...; the name may hold blanks and brackets. The start time is field 22.
  const auto bracket = line.rfind(')');
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

}  // namespace

ProcessId identify(std::int32_t pid) {
  const auto stat = read_stat(pid);
  if (!stat) return {};
  return {pid, stat->started};
}

bool alive(const ProcessId& process) {
  if (process.pid <= 0) return false;
  const auto stat = read_stat(process.pid);
  return stat && stat->started == process.started && stat->state != 'Z' && stat->state != 'X';
}

std::string boot_id() {
  std::string id;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id") >> std::ws, id);
  return id;
}

int open_process(const ProcessId& process) {
  if (process.pid <= 0) return -1;
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0));
  if (fd < 0) return -1;
  // The number may belong to another by now. A zombie is still this process: its end can be read from the descriptor.
  const auto stat = read_stat(process.pid);
  if (!stat || stat->started != process.started) {
    close(fd);
    return -1;
  }
  return fd;
}

bool signal_process(const ProcessId& process, int signal) {
  if (!alive(process)) return false;
  const int fd = open_process(process);
  if (fd < 0) return false;
  const bool sent = syscall(SYS_pidfd_send_signal, fd, signal, nullptr, 0) == 0;
  close(fd);
  return sent;
}

bool wait_for_end(const ProcessId& process, milliseconds timeout) {
  if (!alive(process)) return true;
  const int fd = open_process(process);
  if (fd < 0) return true;
  const auto end = runtime::system_clock().mono() + timeout;
  bool ended = false;
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(end - runtime::system_clock().mono());
    pollfd p{fd, POLLIN, 0};
    const int n = poll(&p, 1, left.count() > 0 ? static_cast<int>(left.count()) : 0);
    if (n > 0) {
      ended = true;
      break;
    }
    if (n == 0 || errno != EINTR) break;
  }
  close(fd);
  return ended;
}

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status)) {
    return fmt::format("was killed by signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  }
  return fmt::format("ended with exit code {}", WEXITSTATUS(status));
}

std::expected<ProcessId, std::string> spawn(const Spawn& how) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, how.log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  if (how.ready_fd >= 0) posix_spawn_file_actions_adddup2(&actions, how.ready_fd, 3);
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  std::vector<std::string> words = how.argv;
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int failed = posix_spawn(&pid, how.program.c_str(), &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0) {
    return std::unexpected(fmt::format("cannot start {}: {}", how.program, std::generic_category().message(failed)));
  }
  return identify(pid);  // it cannot be reaped by another: even one that ended at once is a zombie still
}

ProcessId find_by_arguments(const std::string& first, const std::string& second) {
  const std::string wanted = '\0' + first + '\0' + second + '\0';
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(opendir("/proc"), closedir);
  if (!proc) return {};
  while (const dirent* entry = readdir(proc.get())) {
    const std::string_view name = entry->d_name;
    std::int32_t pid = 0;
    const auto read = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (read.ec != std::errc() || read.ptr != name.data() + name.size()) continue;
    std::stringstream text;
    text << std::ifstream(fmt::format("/proc/{}/cmdline", pid), std::ios::binary).rdbuf();
    if (text.str().find(wanted) == std::string::npos) continue;
    if (const auto process = identify(pid); alive(process)) return process;
  }
  return {};
}

namespace {

// The message of a line of a JSON log, as far as it is one (base/log.h writes it last).
std::string message_of(std::string_view line) {
  constexpr std::string_view key = "\"message\":\"";
  const auto begin = line.find(key);
  if (!line.starts_with('{') || begin == std::string_view::npos) return std::string(line);
  std::string out;
  for (auto at = begin + key.size(); at < line.size() && line[at] != '"'; ++at) {
    if (line[at] == '\\' && at + 1 < line.size()) ++at;
    out += line[at];
  }
  return out;
}

}  // namespace

std::string last_words(const std::string& path, std::int64_t from) {
  constexpr std::streamoff bytes_max = 64 * 1024;
  constexpr std::size_t words_max = 1000;
  std::ifstream file(path, std::ios::binary);
  file.seekg(0, std::ios::end);
  const auto size = static_cast<std::streamoff>(file.tellg());
  file.seekg(std::clamp<std::streamoff>(from, std::max<std::streamoff>(0, size - bytes_max),
                                        std::max<std::streamoff>(0, size)));
  std::string words;
  for (std::string text; std::getline(file, text);) {
    const auto line = message_of(text);
    if (!line.starts_with("weir ")) continue;
    const auto colon = line.find(": ");
    if (colon != std::string::npos && colon < 30) words = line.substr(colon + 2, words_max);
  }
  return words;
}

}  // namespace weir::provision
