// Waits for the ends of processes and for their word that they serve, on a thread of its own: what is waited for are
// descriptors (pidfd, inotify) that no event loop of runtime/ knows.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "provision/process.h"

namespace weir::provision {

// What a child wrote to its ready file when it serves; it is closed then.
inline constexpr const char* ready_word = "ready\n";

class Watcher {
 public:
  struct Hooks {
    // `status` is waitpid's; nothing for a process that is another's child.
    std::function<void(ProcessId process, std::optional<int> status)> ended;
    std::function<void(ProcessId process)> ready;
  };
  // The hooks are called on the watcher's thread. Throws std::system_error.
  explicit Watcher(Hooks hooks);
  ~Watcher();  // joins; no hook is called afterwards
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // Tells of its end once, and before of its word in `ready_path` once, also when both were before the call.
  // From any thread.
  void watch(const ProcessId& process, const std::string& ready_path);

 private:
  struct Watched {
    int pidfd = -1;
    std::string ready_path;
    int inotify = -1;  // the watch's number; -1: it has spoken, or never will
  };

  void run();
  void look_for_word(const ProcessId& process, Watched& watched);
  void take_end(const ProcessId& process, const Watched& watched);
  void forget_file(Watched& watched);

  Hooks hooks_;
  int wake_ = -1;
  int inotify_ = -1;
  std::mutex mutex_;  // of the two below: other threads add
  std::map<std::int32_t, std::pair<ProcessId, std::string>> added_;
  bool stopping_ = false;
  std::map<std::int32_t, std::pair<ProcessId, Watched>> watched_;  // by pid; the thread's own
  std::thread thread_;
};

}  // namespace weir::provision
